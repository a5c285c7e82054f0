#include "imap/imap_update.h"

#include "imap/imap_annotation.h"
#include "imap/imap_context.h"
#include "imap/imap_notify.h"
#include "imap/imap_reply.h"
#include "imap/imap_sequence.h"
#include "imap/imap_server_private.h"

#include "mail/annotation.h"

#define SYSTEM_FLAGS "\\Answered \\Flagged \\Deleted \\Seen \\Draft"
#define STEP_COUNT 500          /* messages per snapshot */
#define STEP_SIZE (256u * 1024) /* bytes of output after which a snapshot ends */

void imap_put_flags(struct imap_session *session, const struct message_record *message)
{
	const char *blank = "";

	imap_put(session, "FLAGS (");
	for (size_t i = 0; i < message->flag_count; i++) {
		if (!message->flags[i].is_set)
			continue;
		imap_put(session, blank);
		imap_put_bytes(session, message->flags[i].name);
		blank = " ";
	}
	if (imap_view_is_recent(session->view, message->uid))
		imap_printf(session, "%s\\Recent", blank);
	imap_put(session, ")");
}

static void put_keywords(struct imap_session *session)
{
	for (size_t i = 0; i < session->view->keyword_count; i++)
		imap_printf(session, " %s", session->view->keywords[i]);
}

/* RFC 4314, 5.1.1: as the rights have it. */
static void put_permitted(struct imap_session *session)
{
	static const struct {
		const char *flag;
		unsigned right;
	} flags[] = { { "\\Answered", ACL_WRITE }, { "\\Flagged", ACL_WRITE },
		{ "\\Deleted", ACL_MARK }, { "\\Seen", ACL_SEEN }, { "\\Draft", ACL_WRITE } };
	unsigned rights = session->view->rights;
	const char *blank = "";

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if ((rights & flags[i].right) == 0)
			continue;
		imap_printf(session, "%s%s", blank, flags[i].flag);
		blank = " ";
	}
	if ((rights & ACL_WRITE) == 0)
		return;
	put_keywords(session);
	imap_put(session, " \\*");
}

void imap_put_mailbox_flags(struct imap_session *session)
{
	imap_put(session, "* FLAGS (" SYSTEM_FLAGS);
	put_keywords(session);
	imap_put(session, ")\r\n");
	if (session->view->is_read_only) {
		imap_put(session, "* OK [PERMANENTFLAGS ()] Read-only mailbox\r\n");
		return;
	}
	imap_put(session, "* OK [PERMANENTFLAGS (");
	put_permitted(session);
	imap_put(session, ")] Flags permitted\r\n");
}

void imap_tell_keywords(struct imap_session *session, const struct message_record *message)
{
	if (imap_view_note_keywords(session->view, message))
		imap_put_mailbox_flags(session);
}

/* ---- messages that went, and that came ---- */

static void tell_expunges(struct imap_session *session)
{
	struct imap_view *view = session->view;

	/* From the end, so that each number is right whatever was told before it. */
	for (size_t i = view->vanished.count; i-- > 0;) {
		size_t first, end = imap_view_range(view, &view->vanished.ranges[i], &first);

		for (; end > first; end--)
			imap_printf(session, "* %zu EXPUNGE\r\n", end);
	}
}

static void tell_vanished(struct imap_session *session)
{
	struct imap_view *view = session->view;

	if (view->vanished.count == 0)
		return;
	if (session->is_qresync || session->is_uidonly) {
		imap_put(session, "* VANISHED ");
		imap_set_write(&session->out, &view->vanished);
		imap_put(session, "\r\n");
	} else {
		tell_expunges(session);
	}
	imap_view_remove(view, &view->vanished);
	uid_set_deinit(&view->vanished);
}

static bool has_new_items(const struct imap_session *session)
{
	return session->notify != NULL && session->notify->fetch.item_count > 0;
}

static void tell_counts(struct imap_session *session, size_t told_before)
{
	struct imap_view *view = session->view;
	size_t recent_count = imap_view_recent_count(view);

	if (view->count > told_before && view->recent_first != 0 && !view->is_read_only)
		imap_recent_first(session->server->recent, view->mailbox,
			view->uids[view->count - 1] + 1, true);
	if (view->count != told_before)
		imap_printf(session, "* %zu EXISTS\r\n", view->count);
	if (recent_count != view->recent_told)
		imap_printf(session, "* %zu RECENT\r\n", recent_count);
	if (view->count > told_before && has_new_items(session) && view->new_next == 0)
		view->new_next = view->uids[told_before];
	if (view->count > told_before && imap_contexts_fetch(view) && view->context_next == 0)
		view->context_next = view->uids[told_before];
	view->told_count = view->count;
	view->recent_told = recent_count;
}

/* Between commands a client may be about to use message numbers, unless he said that he does not.
 */
static bool may_expunge(const struct imap_session *session)
{
	if (session->command == NULL)
		return session->notify != NULL && session->notify->is_immediate;
	return (session->command->flags & COMMAND_USES_SEQ) == 0 && !session->holds_expunges;
}

/* What NOTIFY left out is told with the next command: then the client asks for the whole state. */
static unsigned told_changes(const struct imap_session *session)
{
	const struct imap_notify *notify = session->notify;

	if (notify == NULL || (session->command != NULL && !session->is_idling))
		return NOTIFY_CHANGE_EVENTS;
	return notify->selected_events & NOTIFY_CHANGE_EVENTS;
}

bool imap_tells_uid(const struct imap_session *session)
{
	if (session->is_uidonly)
		return false; /* it stands where the number did */
	return session->is_condstore || session->notify != NULL ||
	       (session->command != NULL && (session->command->flags & COMMAND_IS_UID) != 0);
}

void imap_enable_condstore(struct imap_session *session)
{
	const struct imap_view *view = session->view;

	if (!session->is_condstore && view != NULL)
		imap_printf(session, "* OK [HIGHESTMODSEQ %llu] Modseqs are told from now on\r\n",
			(unsigned long long)(view->modseq > 0 ? view->modseq : 1));
	session->is_condstore = true;
}

/* ---- what NOTIFY asked for of new messages ---- */

struct new_messages {
	struct imap_session *session;
	struct kv_txn *kv;
	size_t count;
};

/* It is there all the same, and can be asked for, if it cannot be told. */
static int told_new(struct new_messages *new_messages, int rc)
{
	struct imap_session *session = new_messages->session;

	if (rc < 0)
		imap_log_failure(session, rc, NULL);
	return ++new_messages->count == STEP_COUNT || session->out.len >= STEP_SIZE ? 1 : 0;
}

static int tell_new(void *context, const struct message_record *message)
{
	struct new_messages *new_messages = context;
	struct imap_session *session = new_messages->session;
	struct imap_view *view = session->view;
	size_t index;
	int rc = 0;

	view->new_next = (uint64_t)message->uid + 1;
	if (imap_view_has(view, message->uid, &index))
		rc = imap_fetch_write(
			session, &session->notify->fetch, new_messages->kv, message, false);
	return told_new(new_messages, rc);
}

static int tell_new_result(void *context, const struct message_record *message)
{
	struct new_messages *new_messages = context;
	struct imap_session *session = new_messages->session;
	struct imap_view *view = session->view;
	size_t index;
	int rc = 0;

	view->context_next = (uint64_t)message->uid + 1;
	if (imap_view_has(view, message->uid, &index))
		rc = imap_contexts_tell_new(session, new_messages->kv, message);
	return told_new(new_messages, rc);
}

/* `next`: view->new_next or view->context_next; 0 at the end. */
static int new_step(struct imap_session *session, struct kv_txn *kv, struct arena *arena,
	uint64_t *next, account_message_function *function)
{
	struct new_messages new_messages = { .session = session, .kv = kv };
	struct imap_view *view = session->view;
	int rc = 0;

	if (view->count > 0 && *next <= view->uids[view->count - 1])
		rc = imap_view_each_message(view, kv, (uint32_t)*next, view->uids[view->count - 1],
			arena, function, &new_messages);
	if (rc != 1) {
		*next = 0;
		imap_body_deinit(&session->body);
	}
	return rc < 0 ? rc : 1;
}

/* ---- flags ---- */

/* Whether all that changed since was one write of this node: ours, as `told` and `silent` say. */
static bool only_own_change(struct imap_session *session, const struct message_record *message)
{
	uint64_t node = mail_node(session->mail);

	for (size_t i = 0; i < message->flag_count; i++) {
		struct stamp stamp = message->flags[i].stamp;

		if (stamp.modseq > session->view->told_since &&
			(stamp.modseq != message->modseq || stamp.node != node))
			return false;
	}
	return true;
}

static unsigned changes_of(const struct imap_view *view, const struct message_record *message)
{
	unsigned changes = 0;

	for (size_t i = 0; i < message->flag_count; i++) {
		const struct flag_state *flag = &message->flags[i];

		if (flag->stamp.modseq <= view->told_since)
			continue;
		changes |= bytes_equal_string(flag->name, ANNOTATION_FLAG)
				   ? NOTIFY_ANNOTATION_CHANGE
				   : NOTIFY_FLAG_CHANGE;
	}
	/* A merge may bring what was changed long ago: better told than not. */
	return changes != 0 ? changes : NOTIFY_CHANGE_EVENTS;
}

static bool tells_annotations(const struct imap_session *session)
{
	return session->view->wants_annotations ||
	       (session->notify != NULL &&
		       (session->notify->selected_events & NOTIFY_ANNOTATION_CHANGE) != 0);
}

static int tell_message(void *context, const struct message_record *message)
{
	struct imap_session *session = context;
	struct imap_view *view = session->view;
	bool is_told = uid_set_has(&view->told, message->uid);
	bool is_silent = uid_set_has(&view->silent, message->uid);
	size_t index;
	int rc = 0;

	view->announce_next = (uint64_t)message->uid + 1;
	view->announce_count++;
	if (!uid_set_has(&view->changed, message->uid) ||
		!imap_view_has(view, message->uid, &index))
		return 0;
	if ((told_changes(session) & changes_of(view, message)) == 0) {
		uid_set_add(&view->held, message->uid, message->uid);
		return view->announce_count >= STEP_COUNT ? 1 : 0;
	}
	if (is_told || is_silent)
		is_silent = only_own_change(session, message);
	if (is_silent && (is_told || !session->is_condstore))
		return 0;
	if (!is_silent)
		imap_tell_keywords(session, message);
	imap_put_fetch(session, index, message->uid);
	/* RFC 9051, 7.5.2: in IMAP4rev2, what was not asked for names the UID. */
	if (imap_tells_uid(session) || (session->is_rev2 && !session->is_uidonly))
		imap_printf(session, "UID %u ", message->uid);
	if (session->is_condstore)
		imap_printf(session, "MODSEQ (%llu)%s", (unsigned long long)message->modseq,
			is_silent ? "" : " ");
	if (!is_silent) {
		imap_put_flags(session, message);
		if (tells_annotations(session))
			rc = imap_put_annotation_names(session, view->announce_kv, view->account,
				message, view->told_since);
	}
	imap_put(session, ")\r\n");
	if (rc < 0)
		return rc;
	return view->announce_count >= STEP_COUNT ? 1 : 0;
}

/* Tells the flags of the next changed messages, at most STEP_COUNT. Returns 1 if there are more. */
static int tell_step(struct imap_session *session, struct kv_txn *kv, struct arena *arena)
{
	struct imap_view *view = session->view;

	view->announce_count = 0;
	view->announce_kv = kv;
	for (size_t i = 0; i < view->changed.count; i++) {
		const struct uid_range *range = &view->changed.ranges[i];
		uint64_t first = range->first;
		int rc;

		first = first > view->announce_next ? first : view->announce_next;
		if (first > range->last)
			continue;
		rc = imap_view_each_message(
			view, kv, (uint32_t)first, range->last, arena, tell_message, session);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* Whether an OK without a code is to say that expunges wait to be told (RFC 5530). */
static bool hints_at_expunges(const struct imap_session *session, struct bytes ending)
{
	if (session->view == NULL || session->view->vanished.count == 0 ||
		session->command == NULL || may_expunge(session))
		return false;
	bytes_skip(&ending, ending.len < strlen(session->tag) ? ending.len : strlen(session->tag));
	return bytes_start_with(ending, BYTES_LITERAL(" OK ")) &&
	       !bytes_start_with(ending, BYTES_LITERAL(" OK ["));
}

static void put_ending(struct imap_session *session)
{
	struct bytes ending = buffer_bytes(&session->ending);

	if (session->ending_modseq_at == 0 && hints_at_expunges(session, ending)) {
		imap_put_bytes(session, bytes_take(&ending, strlen(session->tag) + strlen(" OK ")));
		imap_put(session, "[EXPUNGEISSUED] ");
	}
	if (session->ending_modseq_at > 0 && session->view != NULL) {
		imap_put_bytes(session, bytes_take(&ending, session->ending_modseq_at));
		imap_printf(session, "[HIGHESTMODSEQ %llu] ",
			(unsigned long long)session->view->modseq);
	}
	imap_put_bytes(session, ending);
	buffer_clear(&session->ending);
	session->ending_modseq_at = 0;
}

/*
 * A client takes the greatest MODSEQ that it was told for what it knows all changes up to. While
 * expunges wait it does not, and must be told so (RFC 7162, 3.2 and 6).
 */
static void tell_lower_modseq(struct imap_session *session)
{
	struct imap_view *view = session->view;

	if (!session->is_condstore)
		return;
	if (view->vanished.count > 0) {
		imap_printf(session, "* OK [HIGHESTMODSEQ %llu] Expunges are still to be told\r\n",
			(unsigned long long)(view->vanished_since > 0 ? view->vanished_since : 1));
		view->is_modseq_lower = true;
	} else if (view->is_modseq_lower && view->changed.count == 0) {
		imap_printf(session, "* OK [HIGHESTMODSEQ %llu] All is told\r\n",
			(unsigned long long)view->modseq);
		view->is_modseq_lower = false;
	}
}

static enum net_result update_end(struct imap_session *session)
{
	struct imap_view *view = session->view;

	if (view != NULL) {
		if (told_changes(session) != 0) {
			uid_set_deinit(&view->changed);
			view->changed = view->held;
			view->held = (struct uid_set){ 0 };
		}
		uid_set_deinit(&view->told);
		uid_set_deinit(&view->silent);
		uid_set_deinit(&view->recheck);
		view->announce_next = view->recheck_next = 0;
		view->new_next = view->context_next = 0;
		view->is_announced = false;
		tell_lower_modseq(session);
	}
	session->resume = NULL;
	put_ending(session);
	return NET_DONE;
}

/* What contexts have to look at: what changed, and what came. */
static void note_recheck(struct imap_view *view, size_t told_before)
{
	if (view->contexts == NULL)
		return;
	for (size_t i = 0; i < view->changed.count; i++)
		uid_set_add(&view->recheck, view->changed.ranges[i].first,
			view->changed.ranges[i].last);
	for (size_t i = told_before; i < view->count; i++)
		uid_set_add(&view->recheck, view->uids[i], view->uids[i]);
}

/* One step of flags and new messages. */
static int messages_step(struct imap_session *session, bool is_flags)
{
	struct imap_view *view = session->view;
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	int rc = imap_read_begin(session, &kv);

	if (rc == 0 && is_flags)
		rc = tell_step(session, kv, arena);
	else if (rc == 0 && view->context_next != 0)
		rc = new_step(session, kv, arena, &view->context_next, tell_new_result);
	else if (rc == 0)
		rc = new_step(session, kv, arena, &view->new_next, tell_new);
	mail_read_end(&kv);
	arena_free(&arena);
	return rc;
}

/*
 * The order is that of RFC 5465: new messages as contexts asked for them (section 7), flags (5.1),
 * then what is said of the contexts, then new messages as NOTIFY asked for them (5.2). What fails
 * is logged and passed over. 1: call again; 0: that was all.
 */
static int update_step(struct imap_session *session)
{
	struct imap_view *view = session->view;
	int rc;

	if (view->context_next != 0) {
		rc = messages_step(session, false);
		if (rc < 0)
			view->context_next = 0;
	} else if (!view->is_announced) {
		rc = view->changed.count > 0 && told_changes(session) != 0
			     ? messages_step(session, true)
			     : 0;
		view->is_announced = rc <= 0;
	} else if (view->recheck.count > 0) {
		rc = imap_contexts_step(session);
		if (rc <= 0)
			uid_set_deinit(&view->recheck);
	} else if (view->new_next != 0 && has_new_items(session)) {
		rc = messages_step(session, false);
		if (rc < 0)
			view->new_next = 0;
	} else {
		return 0;
	}
	if (rc < 0)
		imap_log_failure(session, rc, NULL);
	return 1;
}

static enum net_result update_run(struct imap_session *session)
{
	/* Looking at contexts again may read bodies: the worker is given back in between. */
	while (update_step(session) > 0) {
		bool is_looking = session->view->is_announced && session->view->recheck_next != 0 &&
				  session->view->recheck.count > 0;

		if (is_looking || imap_is_full(session)) {
			session->resume = update_run;
			return NET_AGAIN;
		}
	}
	return update_end(session);
}

/*
 * The selected mailbox is gone, or another. Every client survives a BYE: it connects again and
 * finds what there is now. But a BYE beside the answer to what was done makes some forget the
 * answer, and do it again; so they hear of it with the next command that has to do with messages.
 * What was read of them may be incomplete, and its answer is not given.
 */
static enum net_result tell_gone(struct imap_session *session)
{
	const struct imap_command *command = session->command;
	bool is_news = command == NULL || session->ending.len == 0 ||
		       (command->flags & COMMAND_ASKS_NEWS) != 0;
	bool is_reading = !is_news && command->states == IMAP_SELECTED &&
			  (command->flags & COMMAND_HARMLESS) != 0 &&
			  (command->flags & COMMAND_NAMES_MESSAGES) != 0;

	if (is_reading)
		buffer_clear(&session->ending);
	update_end(session);
	return is_news || is_reading ? imap_bye(session, IMAP_MAILBOX_GONE_TEXT) : NET_DONE;
}

int imap_update_gather(struct imap_session *session, struct imap_view *view)
{
	uint64_t position = 0;
	struct kv_txn *kv;
	int rc;

	do {
		rc = imap_read_begin(session, &kv);
		if (rc < 0)
			return rc;
		rc = imap_view_gather(view, session->mail, kv);
		mail_read_end(&kv);
		if (rc != ERR_CHANGED)
			return rc;
		rc = imap_view_settle(view, session->mail, &position);
		imap_wrote(session, position);
	} while (rc == 0);
	return rc;
}

enum net_result imap_update_begin(struct imap_session *session)
{
	struct imap_view *view = session->view;
	size_t told_before;
	int rc;

	if (view == NULL)
		return update_end(session);
	told_before = view->told_count;
	rc = imap_update_gather(session, view);
	if (rc == ERR_NOT_FOUND)
		return tell_gone(session);
	if (rc < 0) {
		imap_log_failure(session, rc, NULL);
		return update_end(session);
	}
	if (may_expunge(session) && view->vanished.count > 0) {
		size_t count = view->count;

		imap_contexts_tell_vanished(session);
		tell_vanished(session);
		/* The client counts down with each EXPUNGE. */
		told_before -= count - view->count;
	}
	tell_counts(session, told_before);
	note_recheck(view, told_before);
	return update_run(session);
}
