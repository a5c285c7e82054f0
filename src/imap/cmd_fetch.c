/*
 * FETCH (RFC 3501, 6.4.5; RFC 7162): an iterator over UIDs. Each step reads some messages in one
 * snapshot and stops when the client is slow.
 */
#include "imap/imap_commands.h"
#include "imap/imap_fetch.h"
#include "imap/imap_narrow.h"
#include "imap/imap_qresync.h"
#include "imap/imap_reply.h"
#include "imap/imap_select_set.h"
#include "imap/imap_update.h"

#define STEP_COUNT 500          /* messages per snapshot */
#define STEP_SIZE (256u * 1024) /* bytes of output after which a snapshot ends */
/* What is marked \Seen by one commit, and then sent in any case. */
#define STEP_SEEN_COUNT 50
#define STEP_SEEN_SIZE (4u * 1024 * 1024)

#define DOWNGRADED_RANGE_MAX 1000 /* named by the code DOWNGRADED, which need not name all */

struct fetch_work {
	struct imap_fetch fetch;
	struct uid_set uids;
	uint64_t next_uid;   /* below it all is done */
	struct uid_set seen; /* marked by this step ... */
	uint32_t step_last;  /* ... which goes up to this UID */
	size_t step_count;
	uint64_t step_size;
	size_t missing_count;      /* messages that the client knows of and that are gone */
	struct uid_set downgraded; /* told by a surrogate (RFC 6858, section 3) */
	int rc;                    /* the first failure to read a message */
	bool is_of_all;            /* messages of the mailbox, and has not begun */
	struct imap_noting noting;
	/* Of the step that runs: */
	struct imap_session *session;
	struct kv_txn *kv;
};

static void work_free(void *context)
{
	struct fetch_work *work = context;

	uid_set_deinit(&work->uids);
	uid_set_deinit(&work->seen);
	uid_set_deinit(&work->downgraded);
	imap_noting_end(&work->noting, work->session, false);
}

/* Calls `function` for the messages of the set from next_uid on, until it returns other than 0. */
static int each_message(
	struct fetch_work *work, struct arena *arena, account_message_function *function)
{
	const struct imap_session *session = work->session;

	for (size_t i = 0; i < work->uids.count; i++) {
		const struct uid_range *range = &work->uids.ranges[i];
		uint64_t first = range->first > work->next_uid ? range->first : work->next_uid;
		int rc;

		if (first > range->last)
			continue;
		rc = imap_view_each_message(session->view, work->kv, (uint32_t)first, range->last,
			arena, function, work);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int collect_unseen(void *context, const struct message_record *message)
{
	struct fetch_work *work = context;

	if (!message_has_flag(message, BYTES_LITERAL("\\Seen")))
		uid_set_add(&work->seen, message->uid, message->uid);
	work->step_last = message->uid;
	work->step_size += message->size;
	/* One that is sent in pieces ends a step. */
	return ++work->step_count == STEP_SEEN_COUNT || work->step_size > STEP_SEEN_SIZE ||
			       message->size >= IMAP_LARGE_SIZE_MIN
		       ? 1
		       : 0;
}

/* Sets \Seen of the messages that the next step will send. */
static int mark_seen(struct imap_session *session, struct fetch_work *work)
{
	const struct bytes flag = BYTES_LITERAL("\\Seen");
	struct shared_place place = imap_view_place(session->view);
	struct arena *arena = arena_new();
	struct uid_set modified = { 0 };
	uint64_t position = 0;
	int rc;

	uid_set_deinit(&work->seen);
	work->step_count = 0;
	work->step_size = 0;
	rc = imap_read_begin(session, &work->kv);
	if (rc == 0) {
		rc = each_message(work, arena, collect_unseen);
		mail_read_end(&work->kv);
	}
	if (rc == 0)
		work->step_last = UINT32_MAX;
	if (rc >= 0 && work->seen.count > 0) {
		rc = shared_store(session->mail, &place, &work->seen, FLAGS_ADD, &flag, 1,
			UINT64_MAX, NULL, &session->view->told, &modified, &position);
		imap_wrote(session, position);
	}
	uid_set_deinit(&modified);
	arena_free(&arena);
	return rc < 0 ? rc : 0;
}

static int send_message(void *context, const struct message_record *message)
{
	struct fetch_work *work = context;
	struct imap_session *session = work->session;
	bool is_seen = uid_set_has(&work->seen, message->uid);
	bool is_marking = work->fetch.sets_seen && imap_view_marks_seen(session->view);
	size_t index;
	int rc;

	work->next_uid = (uint64_t)message->uid + 1;
	work->step_count++;
	if (!imap_view_has(session->view, message->uid, &index))
		return 0;
	work->missing_count--;
	if (work->noting.flags != NULL)
		imap_column_add_flags(work->noting.flags, message);
	if (!work->fetch.has_changedsince || message->modseq > work->fetch.changedsince) {
		rc = imap_fetch_write(session, &work->fetch, work->kv, message, is_seen);
		if (rc < 0 && work->rc == 0)
			work->rc = rc;
		if (rc > 0 && work->downgraded.count < DOWNGRADED_RANGE_MAX)
			uid_set_add(&work->downgraded, message->uid, message->uid);
	}
	if (imap_large_pending(&session->large) > 0)
		return 1;
	if (is_marking)
		return message->uid >= work->step_last ? 1 : 0;
	return work->step_count == STEP_COUNT || session->out.len >= STEP_SIZE ? 1 : 0;
}

static enum net_result fetched_downgraded(struct imap_session *session, struct fetch_work *work)
{
	struct buffer uids = { NULL, 0, 0 };
	enum net_result result;

	imap_set_write(&uids, &work->downgraded);
	result = imap_ok(
		session, "[DOWNGRADED %s] Fetched, without UTF-8 in headers", buffer_string(&uids));
	buffer_deinit(&uids);
	return result;
}

static enum net_result fetch_end(struct imap_session *session, struct fetch_work *work)
{
	bool is_missing = work->missing_count > 0 &&
			  (session->command->flags & COMMAND_IS_UID) == 0 &&
			  !work->fetch.has_changedsince;

	imap_noting_end(&work->noting, session, work->rc == 0);
	if (!work->fetch.has_partial || session->body.raw.len > IMAP_BODY_KEEP_MAX)
		imap_body_deinit(&session->body);
	if (work->fetch.has_partial)
		imap_large_sleep(&session->large);
	else
		imap_large_deinit(&session->large);
	if (work->rc == ERR_INVALID)
		return imap_no(session, "[UNKNOWN-CTE] A part has an encoding that is not known");
	if (work->rc < 0)
		return imap_fail(session, work->rc, NULL);
	if (is_missing)
		return imap_ok(session, "[EXPUNGEISSUED] Some messages are gone");
	if (work->downgraded.count > 0)
		return fetched_downgraded(session, work);
	return imap_ok(session, "Fetched");
}

/*
 * Some of the answer went out, and the rest cannot be had. Whatever was said now would be taken for
 * the rest of a literal; that it ends too early, the client cannot miss.
 */
static enum net_result fetch_break(struct imap_session *session, int rc)
{
	imap_log_failure(session, rc, NULL);
	return NET_CLOSE;
}

static void note_columns(struct fetch_work *work)
{
	if (!work->is_of_all)
		return;
	work->is_of_all = false;
	imap_noting_begin(&work->noting, work->session, work->kv, work->fetch.tells_subjects);
	work->fetch.subjects = work->noting.subjects;
}

static enum net_result fetch_run(struct imap_session *session)
{
	struct fetch_work *work = session->work;
	bool is_marking = work->fetch.sets_seen && imap_view_marks_seen(session->view);
	int rc = 1;

	while (rc > 0) {
		struct arena *arena;

		rc = imap_large_send(session);
		if (rc < 0)
			return fetch_break(session, rc);
		if (rc > 0)
			break;
		arena = arena_new();
		rc = is_marking ? mark_seen(session, work) : 0;
		if (rc == 0)
			rc = imap_read_begin(session, &work->kv);
		if (rc == 0) {
			work->step_count = 0;
			note_columns(work);
			rc = each_message(work, arena, send_message);
			mail_read_end(&work->kv);
			mail_summaries_keep(session->mail);
		}
		arena_free(&arena);
		if (rc > 0 && imap_large_pending(&session->large) == 0 && imap_is_full(session))
			break;
	}
	if (rc > 0) {
		/* What the client is to get of it stands in the buffer. */
		if (session->body.raw.len >= IMAP_LARGE_SIZE_MIN)
			imap_body_deinit(&session->body);
		session->resume = fetch_run;
		return NET_AGAIN;
	}
	if (rc < 0)
		work->rc = rc;
	return fetch_end(session, work);
}

/* CHANGEDSINCE asks the mailbox for what changed, which costs what changed. */
static int narrow_to_changes(struct imap_session *session, struct fetch_work *work)
{
	struct uid_set changed = { 0 };
	struct kv_txn *kv;
	int rc = imap_read_begin(session, &kv);

	if (rc < 0)
		return rc;
	rc = imap_find_earlier(session, kv, work->fetch.changedsince, &work->uids,
		work->fetch.wants_vanished, &changed);
	mail_read_end(&kv);
	uid_set_deinit(&work->uids);
	work->uids = changed;
	return rc;
}

/* Leaves those of the set that are on the page. */
static void narrow_to_page(const struct imap_view *view, struct fetch_work *work)
{
	struct uid_set page = { 0 };
	size_t begin, end, at = 0;

	imap_partial_resolve(
		&work->fetch.page, imap_view_count_in(view, &work->uids), &begin, &end);
	for (size_t i = 0; i < work->uids.count && at < end; i++) {
		const struct uid_range *range = &work->uids.ranges[i];
		size_t index = imap_view_find(view, range->first);

		for (; index < view->count && view->uids[index] <= range->last && at < end;
			index++, at++) {
			if (at >= begin)
				uid_set_add(&page, view->uids[index], view->uids[index]);
		}
	}
	uid_set_deinit(&work->uids);
	work->uids = page;
}

static enum net_result fetch_begin(
	struct imap_session *session, struct fetch_work *work, struct imap_sequence *sequence)
{
	bool is_uid = (session->command->flags & COMMAND_IS_UID) != 0;

	if (work->fetch.wants_vanished && (!is_uid || !session->is_qresync))
		return imap_bad(session, "VANISHED needs UID FETCH and QRESYNC enabled");
	if (work->fetch.is_paged && !is_uid)
		return imap_bad(session, "PARTIAL needs UID FETCH");
	if (work->fetch.has_modseq)
		imap_enable_condstore(session);
	session->work = work;
	session->work_free = work_free;
	work->session = session;
	work->fetch.in_pieces = true;
	/* What vanished is told of UIDs that this session never saw, too. */
	if (work->fetch.wants_vanished)
		imap_sequence_resolve(sequence,
			session->view->count > 0 ? session->view->uids[session->view->count - 1]
						 : 1,
			&work->uids);
	else if (imap_select_uids(session, sequence, is_uid, &work->uids) < 0)
		return imap_bad(session, "Invalid message number");
	if (work->fetch.has_changedsince)
		work->rc = narrow_to_changes(session, work);
	if (work->rc < 0)
		return fetch_end(session, work);
	if (work->fetch.is_paged)
		narrow_to_page(session->view, work);
	work->missing_count = imap_view_count_in(session->view, &work->uids);
	work->is_of_all = work->missing_count == session->view->count &&
			  !work->fetch.has_changedsince && !work->fetch.sets_seen;
	return fetch_run(session);
}

enum net_result cmd_fetch(struct imap_session *session, struct imap_parser *args)
{
	struct fetch_work *work = arena_zalloc(session->arena, sizeof(*work));
	struct imap_sequence sequence;

	if (imap_parse_space(args) < 0 || imap_parse_sequence(args, &sequence) < 0 ||
		imap_parse_space(args) < 0 || imap_parse_fetch(args, &work->fetch) < 0)
		return imap_bad_args(session, args);
	return fetch_begin(session, work, &sequence);
}
