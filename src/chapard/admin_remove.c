/*
 * The end of a move that leaves nothing behind: the copy here is given up (mail/away.h), once it is
 * proven that the other node has all of it.
 * (1) The other node's digest of the account is that of the copy here, which tells that it is the
 *     master (what it answers is on its disk), and it has the bytes of each message that is shown
 *     here.
 * (2) Between that and the commit in which the account goes nothing of it has changed here: it is
 *     at the sequence whose digest was compared, and users may write on the other node only. Else
 *     all of (1) is done again.
 * (3) What is cleared away afterwards is nobody's any more. So whatever ends this in whatever step,
 *     one node has all of the account, and the same command goes on.
 */
#include "chapard/admin_private.h"

#include "base/clock.h"
#include "mail/away.h"
#include "sync/survey.h"
#include "sync/wire.h"

#include <limits.h>
#include <unistd.h>

#define LACKS_COUNT 2000        /* messages asked about in one step */
#define DIFFERS_MS 15000        /* copies that stand still so long, and differ, do so for good */
#define DIFFERS_PAUSE_US 100000 /* from one look at digests to the next */
#define BATCH_FULL INT_MAX      /* never seen by callers */

bool admin_removal_is_on(const struct admin_removal *removal)
{
	return removal->stage != REMOVAL_COMPARES;
}

static int ask(struct admin_call *call, const struct buffer *request, struct buffer *answer,
	struct error *error)
{
	const struct admin_live *live = call->admin->live;

	return live->peer_ask(
		live->context, call->arguments[1], buffer_bytes(request), answer, error);
}

static int read_header(
	struct admin_call *call, struct account_header *header_r, struct error *error)
{
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->admin->mail, mail_position(call->admin->mail), &kv);

	if (rc == 0)
		rc = account_load(kv, call->account, header_r);
	mail_read_end(&kv);
	return rc < 0 ? error_set(error, rc, "the account cannot be read: %s", error_name(rc)) : 0;
}

/* ---- (1) digests ---- */

static int ask_digest(struct admin_call *call, const struct account_header *header,
	struct survey_account *theirs_r, struct error *error)
{
	struct bytes name = bytes_of_string(header->name);
	struct arena *arena = arena_new();
	struct buffer request = { 0 }, answer = { 0 };
	struct survey_account *theirs;
	uint64_t cursor;
	size_t count = 0;
	int rc;

	survey_request(&name, 1, &request);
	rc = ask(call, &request, &answer, error);
	if (rc == 0)
		rc = survey_answer(buffer_bytes(&answer), arena, &theirs, &count, &cursor, error);
	if (rc == 0 && (count != 1 || !theirs[0].exists))
		rc = error_set(error, ERR_UNAVAILABLE, "the node says that it has no account %s",
			header->name);
	if (rc == 0)
		*theirs_r = theirs[0];
	buffer_deinit(&request);
	buffer_deinit(&answer);
	arena_free(&arena);
	return rc;
}

/*
 * The other node has what is here, so it has more: what users changed there. That is to come here
 * first, by an exchange; a channel that was down has it to do yet. ERR_CHANGED: look again.
 */
static int wait_for_rest(struct admin_call *call, struct admin_removal *removal, struct digest ours,
	struct digest theirs, struct error *error)
{
	uint64_t now_ms = clock_monotonic_ms();
	int rc = 0;

	if (call->admin->live->is_stopping(call->admin->live->context))
		return error_set(
			error, ERR_UNAVAILABLE, "the daemon ends; give the command again to go on");
	if (removal->differs_since_ms == 0 || !digest_equal(removal->ours, ours) ||
		!digest_equal(removal->theirs, theirs)) {
		removal->differs_since_ms = now_ms;
		removal->ours = ours;
		removal->theirs = theirs;
		rc = admin_account_touch(call, error);
	} else if (now_ms - removal->differs_since_ms > DIFFERS_MS) {
		rc = error_set(error, ERR_CORRUPT,
			"the copies differ, and the one here stays: see \"chapar verify --peer\"");
	}
	if (rc < 0)
		return rc;
	usleep(DIFFERS_PAUSE_US);
	return ERR_CHANGED;
}

/* ERR_CHANGED: they are not equal, as yet. */
static int compare(struct admin_call *call, struct admin_removal *removal, struct error *error)
{
	struct account_header header;
	struct survey_account theirs = { 0 };
	int rc = read_header(call, &header, error);

	if (rc == 0)
		rc = ask_digest(call, &header, &theirs, error);
	if (rc < 0)
		return rc;
	if (!digest_equal(header.digest, theirs.digest))
		return wait_for_rest(call, removal, header.digest, theirs.digest, error);
	removal->sequence = header.sequence;
	removal->message_count = header.message_count;
	removal->kept_count = header.kept_count;
	removal->asked = 0;
	removal->stage = REMOVAL_ASKS;
	return ADMIN_MORE;
}

/* ---- (1) bodies ---- */

struct batch {
	struct dlist_writer writer;
	uint64_t reached;
	size_t count;
};

static int pass_mailbox(void *context, const struct mailbox_record *mailbox)
{
	((struct batch *)context)->reached = mailbox->sequence;
	return 0;
}

static int pass_register(void *context, const struct register_record *record)
{
	((struct batch *)context)->reached = record->sequence;
	return 0;
}

static int add_message(void *context, const struct message_record *message)
{
	struct batch *batch = context;

	if (batch->count == LACKS_COUNT)
		return BATCH_FULL;
	batch->reached = message->sequence;
	if (!message_is_shown(message))
		return 0;
	dlist_put_hex(&batch->writer, bytes_of(message->guid.bytes, sizeof(message->guid.bytes)));
	batch->count++;
	return 0;
}

/* 1: there are more. */
static int batch_write(struct admin_call *call, struct admin_removal *removal,
	struct buffer *request, struct error *error)
{
	static const struct account_change_functions functions = { pass_mailbox, add_message,
		pass_register };
	struct batch batch = { .writer = wire_begin(request, DLIST_REQUEST, "LACKS"),
		.reached = removal->asked };
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	int rc;

	dlist_put_text_of(&batch.writer, "ACCOUNT", bytes_of_string(removal->name));
	dlist_put_atom(&batch.writer, "GUIDS");
	dlist_begin_list(&batch.writer);
	rc = mail_read_begin(call->admin->mail, mail_position(call->admin->mail), &kv);
	if (rc == 0)
		rc = account_each_change(
			kv, call->account, removal->asked, arena, &functions, &batch);
	mail_read_end(&kv);
	dlist_end_list(&batch.writer);
	dlist_end_map(&batch.writer);
	arena_free(&arena);
	removal->asked = batch.reached;
	if (rc < 0)
		return error_set(error, rc, "the account cannot be read: %s", error_name(rc));
	return rc == BATCH_FULL;
}

static int lacks_read(struct bytes answer, struct error *error)
{
	struct arena *arena = arena_new();
	const struct dlist *map, *list;
	int rc = wire_answer_as(answer, "LACKS", "LACKS", arena, &map, error);

	if (rc == 0 && dlist_get_list(map, "GUIDS", &list) < 0)
		rc = wire_unanswered("LACKS", error);
	else if (rc == 0 && list->count > 0)
		rc = error_set(error, ERR_CORRUPT,
			"the node lacks the bytes of %zu messages that it shows; the copy here "
			"stays",
			list->count);
	arena_free(&arena);
	return rc;
}

static int ask_bodies(struct admin_call *call, struct admin_removal *removal, struct error *error)
{
	struct buffer request = { 0 }, answer = { 0 };
	struct account_header header;
	int more, rc = read_header(call, &header, error);

	memcpy(removal->name, header.name, sizeof(removal->name));
	more = rc < 0 ? rc : batch_write(call, removal, &request, error);
	rc = more < 0 ? more : ask(call, &request, &answer, error);
	if (rc == 0)
		rc = lacks_read(buffer_bytes(&answer), error);
	if (rc == 0 && more == 0)
		removal->stage = REMOVAL_LETS_GO;
	buffer_deinit(&request);
	buffer_deinit(&answer);
	return rc < 0 ? rc : ADMIN_MORE;
}

/* ---- (2), (3) ---- */

static int let_go(struct admin_call *call, struct admin_removal *removal, struct buffer *out,
	struct error *error)
{
	int rc = account_away_begin(call->admin->mail, call->account, removal->sequence, error);

	if (rc < 0)
		return rc;
	buffer_printf(out, "%s: node %s has proven to have all %llu messages; the copy here goes\n",
		call->arguments[0], call->arguments[1], (unsigned long long)removal->message_count);
	if (removal->kept_count > 0)
		buffer_printf(out,
			"%s: %llu messages that were expunged here can be brought back on other "
			"nodes only, as far as these keep them\n",
			call->arguments[0], (unsigned long long)removal->kept_count);
	removal->stage = REMOVAL_CLEARS;
	return ADMIN_MORE;
}

static int clear(struct admin_call *call, struct admin_removal *removal, struct buffer *out,
	struct error *error)
{
	int rc;

	removal->stage = REMOVAL_CLEARS;
	removal->clearing.account = call->account;
	rc = account_clearing_step(call->admin->mail, &removal->clearing, error);
	if (rc != 0)
		return rc < 0 ? rc : ADMIN_MORE;
	buffer_printf(out,
		"%s: moved to node %s; there is no copy here any more (who exchanged it with this "
		"node only needs a channel to %s)\n",
		call->arguments[0], call->arguments[1], call->arguments[1]);
	return ADMIN_DONE;
}

int admin_removal_step(struct admin_call *call, struct admin_removal *removal, struct buffer *out,
	struct error *error)
{
	struct account_header header;
	int rc = read_header(call, &header, error);

	if (rc < 0)
		return rc;
	if (header.hold == ACCOUNT_AWAY)
		return clear(call, removal, out, error);
	/* What was proven is of another state of it. */
	if (removal->stage != REMOVAL_COMPARES && header.sequence != removal->sequence) {
		removal->stage = REMOVAL_COMPARES;
		return ERR_CHANGED;
	}
	switch (removal->stage) {
	case REMOVAL_COMPARES:
		return compare(call, removal, error);
	case REMOVAL_ASKS:
		return ask_bodies(call, removal, error);
	default:
		rc = let_go(call, removal, out, error);
		if (rc == ERR_CHANGED)
			removal->stage = REMOVAL_COMPARES;
		return rc;
	}
}
