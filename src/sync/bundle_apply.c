/*
 * Applying a bundle: its frames are requests to a responder of our own store, in the place of the
 * node that made it. What the file cannot know, our own sequences, is filled in here.
 */
#include "sync/bundle_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "mail/deletion.h"
#include "sync/point.h"
#include "sync/wire.h"

#include <stdlib.h>

/* Beside the common points: up to where a node's changes were merged from its replies. Replies make
 * no common point, and must not be merged twice. */
#define MERGED_PART UINT64_MAX

/* An account that the file told, for the reply. */
struct outcome {
	struct bundle_account account; /* of the reply: in our own numbers */
	bool has_changes;              /* ours, which the maker is to have */
};

struct bundle_apply {
	struct mail *mail;
	struct bundle_apply_options options;
	struct bundle_reader *reader;
	struct sync_session *session;
	struct bundle_about about;
	struct buffer request, answer;

	struct bundle_account account; /* the one under way */
	bool has_account, is_taken;    /* its frames go to the session */
	uint64_t expect, known, common;
	uint64_t part_count;
	struct error failure; /* of the account: its frames were not taken */

	struct outcome *outcomes;
	size_t outcome_count, outcome_room;
	bool is_refused;
	struct error first_error;
};

/* ---- the session ---- */

static int ask(struct bundle_apply *apply, struct bytes request, struct error *error)
{
	buffer_clear(&apply->answer);
	return sync_respond(apply->session, request, &apply->answer, error);
}

static int meet(struct bundle_apply *apply, struct error *error)
{
	struct sync_rights rights = { .is_full = true };
	struct dlist_writer writer;

	apply->session = sync_session_new(apply->mail, &rights);
	buffer_clear(&apply->request);
	writer = wire_begin(&apply->request, DLIST_REQUEST, "HELLO");
	wire_put_node_of(&writer, "NODE", apply->about.node);
	dlist_put_number_of(&writer, "VERSION", SYNC_VERSION);
	dlist_end_map(&writer);
	return ask(apply, buffer_bytes(&apply->request), error);
}

static int about_take(struct bundle_apply *apply, struct bytes text, struct error *error)
{
	int rc = bundle_about_read(text, &apply->about, error);

	if (rc < 0)
		return rc;
	if (apply->about.node == mail_node(apply->mail))
		return error_set(error, ERR_REFUSED, "this node made the bundle itself");
	if (apply->about.is_reply && apply->about.peer != mail_node(apply->mail))
		return error_set(error, ERR_REFUSED, "this reply is for another node");
	return meet(apply, error);
}

/* ---- what becomes of an account ---- */

static void tell(struct bundle_apply *apply, enum bundle_outcome outcome, struct error *error)
{
	if (outcome == BUNDLE_FAILED && apply->first_error.code == 0) {
		apply->first_error = *error;
		error_prefix(&apply->first_error, "%s", apply->account.name);
	}
	apply->is_refused |= outcome == BUNDLE_REFUSED;
	if (apply->options.tell != NULL)
		apply->options.tell(apply->options.context, apply->account.name, outcome, error);
}

/* Our copy as it is, and where it was equal to the maker's last. */
static int own_read(
	struct bundle_apply *apply, struct account_header *header_r, struct common_point *point_r)
{
	struct kv_txn *kv = NULL;
	uint32_t number;
	int rc =
		mail_account_find(apply->mail, bytes_of_string(apply->account.name), NULL, &number);

	*header_r = (struct account_header){ 0 };
	*point_r = (struct common_point){ 0 };
	if (rc == 0)
		rc = mail_read_begin(apply->mail, mail_position(apply->mail), &kv);
	if (rc == 0)
		rc = account_load(kv, number, header_r);
	if (rc == 0)
		rc = point_get(kv, number, apply->about.node, point_r);
	mail_read_end(&kv);
	return rc;
}

/*
 * What the reply says of it: where we are, and what has changed here since both were equal. If the
 * changes of the file were taken, that is now.
 */
static void note_outcome(struct bundle_apply *apply, bool is_equal)
{
	struct account_header header;
	struct common_point point;
	struct outcome *outcome;

	if (apply->about.is_reply || own_read(apply, &header, &point) == ERR_IO)
		return;
	mem_grow((void **)&apply->outcomes, &apply->outcome_room, apply->outcome_count + 1,
		sizeof(*apply->outcomes));
	outcome = &apply->outcomes[apply->outcome_count++];
	*outcome = (struct outcome){ .account = { .since = point.mine,
					     .common = point.theirs,
					     .sequence = header.sequence,
					     .highest = header.highest,
					     .digest = header.digest },
		.has_changes = !is_equal && header.sequence > 0 };
	memcpy(outcome->account.name, apply->account.name, sizeof(outcome->account.name));
}

static int point_keep(
	struct bundle_apply *apply, const struct account_header *header, struct error *error)
{
	struct common_point point = { header->sequence, apply->account.sequence };

	return point_save(apply->mail, header->number, apply->about.node, point, error);
}

/* Whether the file's changes begin where our copy is; sets what the request must say. */
static bool is_at_point(struct bundle_apply *apply, const struct account_header *header,
	const struct common_point *point)
{
	const struct bundle_account *account = &apply->account;
	/* INBOX as every node makes it: as good as no account. */
	bool is_new = header->sequence == 0 || header->highest <= 1;

	apply->expect = apply->known = apply->common = 0;
	if (account->since == 0 && !account->has_from)
		return is_new;
	if (is_new || !account->has_from || !digest_equal(account->from, header->digest))
		return false;
	apply->expect = apply->known = header->sequence;
	apply->common = point->theirs == account->since ? point->mine
			: account->is_merged            ? 0
							: header->sequence;
	return true;
}

struct merged {
	uint64_t peer, sequence;
};

static int merged_run(struct account_write *write, void *context)
{
	const struct merged *merged = context;
	struct common_point point = { write->header.sequence, merged->sequence };

	return point_put_of(write->store, write->header.number, merged->peer, MERGED_PART, point);
}

static void merged_keep(struct bundle_apply *apply, struct error *error)
{
	struct merged merged = { apply->about.node, apply->account.sequence };
	uint64_t position;
	uint32_t number;
	int rc = mail_account_find(
		apply->mail, bytes_of_string(apply->account.name), error, &number);

	if (rc == 0)
		rc = mail_node_commit(apply->mail, number, merged_run, &merged, error, &position);
	tell(apply, rc < 0 ? BUNDLE_FAILED : BUNDLE_MERGED, rc < 0 ? error : NULL);
}

static bool is_merged(struct bundle_apply *apply, uint32_t number)
{
	struct common_point point = { 0 };
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(apply->mail, mail_position(apply->mail), &kv);

	if (rc == 0)
		rc = point_get_of(kv, number, apply->about.node, MERGED_PART, &point);
	mail_read_end(&kv);
	return rc == 0 && point.theirs > 0 && point.theirs >= apply->account.sequence;
}

static int account_take(struct bundle_apply *apply, struct error *error)
{
	const struct bundle_account *account = &apply->account;
	struct account_header header;
	struct common_point point;
	int rc = own_read(apply, &header, &point);

	apply->is_taken = false;
	apply->part_count = 0;
	apply->failure = (struct error){ 0 };
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return error_set(error, rc, "%s cannot be read: %s", account->name, error_name(rc));
	if (header.sequence > 0 && digest_equal(header.digest, account->digest)) {
		tell(apply, BUNDLE_HAD, NULL);
		rc = point_keep(apply, &header, error);
		note_outcome(apply, true);
		return rc;
	}
	if ((point.theirs >= account->sequence && point.theirs > 0) ||
		(header.sequence > 0 && is_merged(apply, header.number))) {
		tell(apply, BUNDLE_HAD, NULL);
		note_outcome(apply, false);
		return 0;
	}
	if (!account->is_changed) {
		tell(apply, BUNDLE_NOTHING, NULL);
		note_outcome(apply, false);
		return 0;
	}
	if (apply->about.is_reply) {
		apply->common = account->common <= header.sequence ? account->common : 0;
		apply->is_taken = true;
		return 0;
	}
	apply->is_taken = is_at_point(apply, &header, &point);
	if (!apply->is_taken) {
		tell(apply, BUNDLE_REFUSED, NULL);
		note_outcome(apply, false);
	}
	return 0;
}

static void request_write(struct bundle_apply *apply)
{
	const struct bundle_account *account = &apply->account;
	bool is_reply = apply->about.is_reply;
	struct dlist_writer writer;

	buffer_clear(&apply->request);
	writer = wire_begin(&apply->request, DLIST_REQUEST, is_reply ? "INTEGRATE" : "APPLY");
	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(account->name));
	if (!is_reply) {
		dlist_put_number_of(&writer, "EXPECT", apply->expect);
		dlist_put_number_of(&writer, "COMMON", apply->common);
		wire_put_digest_of(&writer, "RESULT", account->digest);
	}
	dlist_put_number_of(&writer, "SINCE", is_reply ? apply->common : apply->known);
	dlist_put_number_of(&writer, "SEQUENCE", account->sequence);
	dlist_put_number_of(&writer, "HIGHEST", account->highest);
	if (apply->part_count > 0)
		dlist_put_number_of(&writer, "PARTS", apply->part_count);
	dlist_end_map(&writer);
}

static void answer_take(struct bundle_apply *apply)
{
	struct arena *arena = arena_new();
	const struct dlist *map;
	struct error error = { 0 };
	struct bytes verb = { 0 };
	int rc = wire_parse(buffer_bytes(&apply->answer), arena, &verb, &map, &error);

	if (rc < 0) {
		tell(apply, BUNDLE_FAILED, &error);
	} else if (bytes_equal_string(verb, "APPLIED")) {
		tell(apply, BUNDLE_APPLIED, NULL);
		note_outcome(apply, true);
	} else if (bytes_equal_string(verb, "INTEGRATED")) {
		merged_keep(apply, &error);
	} else if (bytes_equal_string(verb, "CHANGED")) {
		tell(apply, BUNDLE_REFUSED, NULL);
		note_outcome(apply, false);
	} else {
		error_set(&error, ERR_CHANGED, "%s",
			bytes_equal_string(verb, "MISSING")
				? "messages are missing here that the bundle takes for granted: "
				  "apply the ones before it"
				: "the result would not be the copy that the bundle tells of");
		tell(apply, BUNDLE_FAILED, &error);
		note_outcome(apply, false);
	}
	arena_free(&arena);
}

/* All of the account's frames are there. */
static void account_end(struct bundle_apply *apply)
{
	struct error error = { 0 };
	bool is_ready = apply->has_account && apply->is_taken;

	apply->has_account = false;
	if (!is_ready)
		return;
	if (apply->failure.code != 0) {
		tell(apply, BUNDLE_FAILED, &apply->failure);
		note_outcome(apply, false);
		return;
	}
	request_write(apply);
	if (ask(apply, buffer_bytes(&apply->request), &error) < 0) {
		tell(apply, BUNDLE_FAILED, &error);
		note_outcome(apply, false);
		return;
	}
	answer_take(apply);
}

/* ---- the reply ---- */

static int outcome_put(struct bundle_apply *apply, struct bundle_writer *writer,
	struct outcome *outcome, struct error *error)
{
	struct bundle_content content = { 0 };
	struct bundle_summary summary = { 0 };
	struct buffer text = { 0 };
	int rc = 0;

	if (outcome->has_changes)
		rc = bundle_content_begin(&content, apply->mail, &outcome->account, error);
	if (rc < 0)
		return rc;
	bundle_account_write(&outcome->account, &text);
	rc = bundle_writer_put(writer, BUNDLE_ACCOUNT, buffer_bytes(&text), error);
	while (rc == 0 && outcome->has_changes) {
		rc = bundle_content_step(&content, apply->mail, writer, &summary, error);
		if (rc == BUNDLE_DONE)
			break;
		rc = rc == BUNDLE_MORE ? 0 : rc;
	}
	if (outcome->has_changes)
		bundle_content_end(&content);
	buffer_deinit(&text);
	return rc;
}

static int reply_put(struct bundle_apply *apply, struct error *error)
{
	struct bundle_about about = { .node = mail_node(apply->mail),
		.name = *mail_node_name(apply->mail),
		.created_ms = clock_now_ms(mail_clock(apply->mail)),
		.is_reply = true,
		.peer = apply->about.node };
	struct bundle_writer *writer = NULL;
	struct buffer text = { 0 };
	int rc = bundle_writer_open(apply->options.reply, &apply->options.secret, &writer, error);

	bundle_about_write(&about, &text);
	if (rc == 0)
		rc = bundle_writer_put(writer, BUNDLE_ABOUT, buffer_bytes(&text), error);
	for (size_t i = 0; i < apply->outcome_count && rc == 0; i++)
		rc = outcome_put(apply, writer, &apply->outcomes[i], error);
	buffer_clear(&text);
	buffer_printf(&text, "END %%(ACCOUNTS %zu)", apply->outcome_count);
	if (rc == 0)
		rc = bundle_writer_finish(writer, buffer_bytes(&text), error);
	bundle_writer_free(&writer);
	buffer_deinit(&text);
	return rc;
}

/* ---- the steps ---- */

int bundle_apply_new(struct mail *mail, const struct bundle_apply_options *options,
	struct bundle_apply **apply_r, struct error *error)
{
	struct bundle_apply *apply = mem_zalloc(sizeof(*apply));
	struct bundle_summary summary;
	int rc;

	apply->mail = mail;
	apply->options = *options;
	rc = bundle_check(options->path, &options->secret, NULL, NULL, &summary, error);
	if (rc == 0)
		rc = bundle_reader_open(options->path, &options->secret, &apply->reader, error);
	if (rc < 0)
		bundle_apply_free(&apply);
	else
		*apply_r = apply;
	return rc;
}

static int all_end(struct bundle_apply *apply, struct error *error)
{
	int rc = 0;

	account_end(apply);
	if (apply->is_refused && apply->options.reply != NULL)
		rc = reply_put(apply, error);
	if (rc < 0)
		return rc;
	if (apply->first_error.code != 0) {
		*error = apply->first_error;
		return error->code;
	}
	if (apply->is_refused)
		return error_set(error, ERR_CHANGED, "%s%s",
			apply->options.reply != NULL
				? "refused: copies changed here since; give the reply to the "
				  "node that made the bundle: "
				: "refused: copies changed here since",
			apply->options.reply != NULL ? apply->options.reply : "");
	return BUNDLE_DONE;
}

/* What is not taken is passed over, also after an error: the other accounts go on. */
static void request_take(struct bundle_apply *apply, struct bytes request, bool is_part)
{
	if (!apply->has_account || !apply->is_taken || apply->failure.code != 0)
		return;
	apply->part_count += is_part;
	if (ask(apply, request, &apply->failure) < 0 && apply->failure.code == 0)
		error_set(&apply->failure, ERR_IO, "it cannot be taken");
}

int bundle_apply_step(struct bundle_apply *apply, struct error *error)
{
	struct bytes text;
	int type, rc = bundle_reader_next(apply->reader, &type, &text, error);

	if (rc < 0)
		return rc;
	switch (type) {
	case BUNDLE_ABOUT:
		rc = about_take(apply, text, error);
		break;
	case BUNDLE_ACCOUNT:
		account_end(apply);
		rc = bundle_account_read(text, &apply->account, error);
		apply->has_account = rc == 0;
		if (rc == 0)
			rc = account_take(apply, error);
		break;
	case BUNDLE_BODIES:
		request_take(apply, text, false);
		break;
	case BUNDLE_RECORDS:
		request_take(apply, text, true);
		break;
	case BUNDLE_END:
		return all_end(apply, error);
	default:
		break; /* of a later version, which does not matter to us */
	}
	return rc < 0 ? rc : BUNDLE_MORE;
}

void bundle_apply_free(struct bundle_apply **apply)
{
	if (*apply == NULL)
		return;
	bundle_reader_free(&(*apply)->reader);
	sync_session_free(&(*apply)->session);
	buffer_deinit(&(*apply)->request);
	buffer_deinit(&(*apply)->answer);
	free((*apply)->outcomes);
	free(*apply);
	*apply = NULL;
}

void bundle_apply_progress(const struct bundle_apply *apply, uint64_t *done_r, uint64_t *total_r)
{
	*done_r = bundle_reader_position(apply->reader);
	*total_r = bundle_reader_size(apply->reader);
}
