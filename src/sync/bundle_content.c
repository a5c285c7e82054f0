/* What the frames of a bundle hold. */
#include "sync/bundle_private.h"

#include "mail/deletion.h"
#include "sync/sync_limits.h"
#include "sync/wire.h"

#include <stdio.h>

void bundle_about_write(const struct bundle_about *about, struct buffer *out)
{
	struct dlist_writer writer = wire_begin(out, DLIST_REQUEST, "BUNDLE");

	wire_put_node_of(&writer, "NODE", about->node);
	if (about->name.name[0] != '\0')
		dlist_put_text_of(&writer, "NAME", bytes_of_string(about->name.name));
	dlist_put_number_of(&writer, "CREATED", about->created_ms);
	if (about->is_reply)
		wire_put_node_of(&writer, "REPLY", about->peer);
	dlist_end_map(&writer);
}

static int frame_parse(struct bytes text, const char *wanted, struct arena *arena,
	const struct dlist **map_r, struct error *error)
{
	struct bytes verb;
	int rc = wire_parse(text, arena, &verb, map_r, error);

	if (rc == 0 && !bytes_equal_string(verb, wanted))
		rc = error_set(error, ERR_INVALID, "%s is missing", wanted);
	return rc;
}

int bundle_about_read(struct bytes text, struct bundle_about *about_r, struct error *error)
{
	struct arena *arena = arena_new();
	struct bundle_about about = { 0 };
	const struct dlist *map;
	struct bytes name;
	int rc = frame_parse(text, "BUNDLE", arena, &map, error);

	if (rc == 0 && (wire_get_node(map, "NODE", &about.node) < 0 || about.node == 0 ||
			       dlist_get_number(map, "CREATED", MODSEQ_MAX, &about.created_ms) < 0))
		rc = error_set(error, ERR_INVALID, "bad NODE or CREATED in a bundle");
	if (rc == 0 && dlist_get(map, "REPLY") != NULL) {
		about.is_reply = true;
		if (wire_get_node(map, "REPLY", &about.peer) < 0)
			rc = error_set(error, ERR_INVALID, "bad REPLY in a bundle");
	}
	if (rc == 0 && dlist_get_text(map, "NAME", &name) == 0 &&
		name.len < sizeof(about.name.name))
		snprintf(about.name.name, sizeof(about.name.name), "%.*s", BYTES_ARGS(name));
	arena_free(&arena);
	if (rc == 0)
		*about_r = about;
	return rc;
}

void bundle_account_write(const struct bundle_account *account, struct buffer *out)
{
	struct dlist_writer writer = wire_begin(out, DLIST_REQUEST, "ACCOUNT");

	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(account->name));
	dlist_put_number_of(&writer, "SINCE", account->since);
	if (account->common != 0)
		dlist_put_number_of(&writer, "COMMON", account->common);
	if (account->has_from)
		wire_put_digest_of(&writer, "FROM", account->from);
	if (account->is_merged)
		dlist_put_number_of(&writer, "MERGED", 1);
	dlist_put_number_of(&writer, "SEQUENCE", account->sequence);
	dlist_put_number_of(&writer, "HIGHEST", account->highest);
	wire_put_digest_of(&writer, "DIGEST", account->digest);
	if (account->is_changed)
		dlist_put_number_of(&writer, "CHANGED", 1);
	dlist_end_map(&writer);
}

static int flag_read(const struct dlist *map, const char *key, bool *flag_r)
{
	uint64_t number = 0;
	int rc = dlist_get_number(map, key, 1, &number);

	*flag_r = number != 0;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int account_fields_read(
	const struct dlist *map, struct bundle_account *account, struct error *error)
{
	struct bytes name;
	int rc;

	if (dlist_get_text(map, "ACCOUNT", &name) < 0 ||
		account_name_normalize(name, account->name) < 0)
		return error_set(error, ERR_INVALID, "bad ACCOUNT in a bundle");
	rc = dlist_get_number(map, "COMMON", UINT64_MAX, &account->common);
	if (rc == ERR_NOT_FOUND)
		rc = 0;
	if (rc == 0)
		rc = wire_get_digest(map, "FROM", &account->from);
	account->has_from = rc == 0;
	if (rc == ERR_NOT_FOUND)
		rc = 0;
	if (rc < 0 || dlist_get_number(map, "SINCE", UINT64_MAX, &account->since) < 0 ||
		dlist_get_number(map, "SEQUENCE", UINT64_MAX, &account->sequence) < 0 ||
		dlist_get_number(map, "HIGHEST", MODSEQ_MAX, &account->highest) < 0 ||
		wire_get_digest(map, "DIGEST", &account->digest) < 0 ||
		flag_read(map, "CHANGED", &account->is_changed) < 0 ||
		flag_read(map, "MERGED", &account->is_merged) < 0)
		return error_set(error, ERR_INVALID, "%s: bad numbers in a bundle", account->name);
	return 0;
}

int bundle_account_read(struct bytes text, struct bundle_account *account_r, struct error *error)
{
	struct arena *arena = arena_new();
	struct bundle_account account = { 0 };
	const struct dlist *map;
	int rc = frame_parse(text, "ACCOUNT", arena, &map, error);

	if (rc == 0)
		rc = account_fields_read(map, &account, error);
	arena_free(&arena);
	if (rc == 0)
		*account_r = account;
	return rc;
}

/* ---- changes on their way into a file ---- */

int bundle_content_begin(struct bundle_content *content, struct mail *mail,
	struct bundle_account *account, struct error *error)
{
	struct account_header header;
	struct kv_txn *kv = NULL;
	uint32_t number;
	int rc = mail_account_find(mail, bytes_of_string(account->name), error, &number);

	*content = (struct bundle_content){ .arena = arena_new() };
	if (rc == 0)
		rc = mail_read_begin(mail, mail_position(mail), &kv);
	if (rc == 0)
		rc = account_load(kv, number, &header);
	if (rc == 0 && account->since > header.sequence)
		account->since = account->common = 0; /* this copy never was there */
	if (rc == 0)
		rc = change_set_read(kv, &header, account->since, account->since, SIZE_MAX,
			content->arena, &content->changes);
	mail_read_end(&kv);
	if (rc < 0) {
		bundle_content_end(content);
		return rc == ERR_NOT_FOUND ? rc
					   : error_set(error, rc, "%s cannot be read: %s",
						     account->name, error_name(rc));
	}
	content->since = account->since;
	account->sequence = header.sequence;
	account->highest = header.highest;
	account->digest = header.digest;
	account->is_changed = content->changes.mailbox_count + content->changes.message_count +
				      content->changes.register_count >
			      0;
	return 0;
}

void bundle_content_end(struct bundle_content *content)
{
	change_set_deinit(&content->changes);
	arena_free(&content->arena);
}

/* Whether the reader is likely to see it for the first time: then its body goes along. */
static bool is_new(const struct bundle_content *content, const struct message_record *message)
{
	return message_is_shown(message) &&
	       (content->since == 0 ||
		       (message->placed_sequence > content->since &&
			       stamp_compare(message->placed, message->instance) == 0));
}

static int body_put(struct bundle_content *content, struct mail *mail, struct kv_txn *kv,
	struct dlist_writer *writer, struct bundle_summary *summary)
{
	const struct message_record *message =
		&content->changes.messages[content->body_next++].record;
	struct buffer raw = { 0 };
	int rc = 0;

	if (!is_new(content, message))
		return 0;
	rc = message_body(mail, kv, &message->guid, &raw);
	if (rc == 0) {
		dlist_put_hex(writer, bytes_of(message->guid.bytes, sizeof(message->guid.bytes)));
		dlist_put_literal(writer, buffer_bytes(&raw));
		summary->body_count++;
		summary->body_bytes += raw.len;
	}
	buffer_deinit(&raw);
	return rc;
}

/* The message that was read last, if any was. */
static int not_readable(const struct bundle_content *content, int rc, struct error *error)
{
	const struct message_record *message;

	if (content->body_next == 0)
		return error_set(error, rc, "a message cannot be read: %s", error_name(rc));
	message = &content->changes.messages[content->body_next - 1].record;
	return error_set(error, rc, "message %llu.%016llx cannot be read: %s",
		(unsigned long long)message->instance.modseq,
		(unsigned long long)message->instance.node, error_name(rc));
}

static int bodies_step(struct bundle_content *content, struct mail *mail, struct bundle_writer *out,
	struct bundle_summary *summary, struct error *error)
{
	const struct change_set *changes = &content->changes;
	uint64_t count_before = summary->body_count;
	struct buffer request = { 0 };
	struct dlist_writer writer = wire_begin(&request, DLIST_REQUEST, "PUT");
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, 0, &kv);

	dlist_put_atom(&writer, "BODIES");
	dlist_begin_list(&writer);
	while (rc == 0 && content->body_next < changes->message_count &&
		summary->body_count - count_before < EXCHANGE_GET_BATCH &&
		request.len + changes->messages[content->body_next].record.size <= SYNC_BATCH_SIZE)
		rc = body_put(content, mail, kv, &writer, summary);
	/* One that is larger than a batch goes alone. */
	if (rc == 0 && summary->body_count == count_before &&
		content->body_next < changes->message_count)
		rc = body_put(content, mail, kv, &writer, summary);
	dlist_end_list(&writer);
	dlist_end_map(&writer);
	mail_read_end(&kv);
	if (rc < 0)
		not_readable(content, rc, error);
	else if (summary->body_count > count_before)
		rc = bundle_writer_put(out, BUNDLE_BODIES, buffer_bytes(&request), error);
	buffer_deinit(&request);
	return rc;
}

/* What of an array lies in a window of `count` records from `from`, which is moved on. */
static size_t window(size_t *from, size_t *count, size_t length, size_t *begin_r)
{
	size_t taken = 0;

	*begin_r = 0;
	if (*from >= length) {
		*from -= length;
		return 0;
	}
	*begin_r = *from;
	taken = length - *from < *count ? length - *from : *count;
	*from = 0;
	*count -= taken;
	return taken;
}

static int records_step(struct bundle_content *content, struct bundle_writer *out,
	struct bundle_summary *summary, struct error *error)
{
	const struct change_set *all = &content->changes;
	struct change_set part = *all;
	size_t from = content->record_next, count = EXCHANGE_STAGE_BATCH, begin;
	struct buffer request = { 0 };
	struct dlist_writer writer = wire_begin(&request, DLIST_REQUEST, "STAGE");
	int rc;

	dlist_put_number_of(&writer, "PART", ++content->part_count);
	part.mailbox_count = window(&from, &count, all->mailbox_count, &begin);
	part.mailboxes = part.mailbox_count > 0 ? all->mailboxes + begin : NULL;
	part.message_count = window(&from, &count, all->message_count, &begin);
	part.messages = part.message_count > 0 ? all->messages + begin : NULL;
	part.register_count = window(&from, &count, all->register_count, &begin);
	part.registers = part.register_count > 0 ? all->registers + begin : NULL;
	wire_put_changes(&writer, &part);
	dlist_end_map(&writer);
	rc = bundle_writer_put(out, BUNDLE_RECORDS, buffer_bytes(&request), error);
	content->record_next += EXCHANGE_STAGE_BATCH - count;
	summary->record_count += EXCHANGE_STAGE_BATCH - count;
	buffer_deinit(&request);
	return rc;
}

int bundle_content_step(struct bundle_content *content, struct mail *mail,
	struct bundle_writer *writer, struct bundle_summary *summary, struct error *error)
{
	const struct change_set *changes = &content->changes;
	int rc;

	if (content->body_next < changes->message_count)
		rc = bodies_step(content, mail, writer, summary, error);
	else if (content->record_next <
		 changes->mailbox_count + changes->message_count + changes->register_count)
		rc = records_step(content, writer, summary, error);
	else
		return BUNDLE_DONE;
	return rc < 0 ? rc : BUNDLE_MORE;
}
