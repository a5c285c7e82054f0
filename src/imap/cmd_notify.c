/* NOTIFY (RFC 5465). */
#include "imap/imap_commands.h"
#include "imap/imap_list.h"
#include "imap/imap_notify.h"
#include "imap/imap_reply.h"
#include "imap/imap_status.h"
#include "imap/imap_watch.h"

#define EVENT_NAMES                                                                                \
	"MessageNew MessageExpunge FlagChange AnnotationChange MailboxName SubscriptionChange"     \
	" MailboxMetadataChange ServerMetadataChange"

struct notify_work {
	struct imap_list list;
	size_t next;
};

/* Listed, but nothing of it can be told (RFC 5465, section 3.1). */
static void put_no_access(
	struct imap_session *session, struct kv_txn *kv, const struct imap_list_entry *entry)
{
	if ((imap_notify_events(session, kv, session->notify, entry->name) &
		    NOTIFY_MESSAGE_EVENTS) == 0)
		return;
	imap_printf(session, "* LIST (\\%s \\NoAccess) \"/\" ",
		entry->has_children ? "HasChildren" : "HasNoChildren");
	imap_put_mailbox(session, entry->name);
	imap_put(session, "\r\n");
}

static int put_status(struct imap_session *session, struct kv_txn *kv, void *context,
	const struct imap_list_entry *entry)
{
	const struct imap_target *target = entry->target;
	const struct imap_view *view = session->view;
	unsigned events;

	(void)context;
	if (target == NULL)
		return 0;
	if ((target->rights & ACL_READ) == 0) {
		put_no_access(session, kv, entry);
		return 0;
	}
	if (!session->notify->wants_status ||
		(view != NULL && view->account == target->account &&
			id128_equal(view->mailbox, target->mailbox.id)))
		return 0;
	events = imap_notify_events(session, kv, session->notify, entry->name);
	if ((events & NOTIFY_MESSAGE_EVENTS) == 0)
		return 0;
	/* Section 3.1: HIGHESTMODSEQ too if changes of flags are to be told. */
	return imap_put_status(session, kv, entry->name, target,
		imap_status_brief(session, (events & NOTIFY_CHANGE_EVENTS) != 0));
}

/* The state of all mailboxes that messages are watched in, if it is wanted, and those that nothing
 * can be told of; what changes from here on is told. */
static enum net_result status_run(struct imap_session *session)
{
	struct notify_work *work = session->work;
	int rc = imap_list_walk(session, &work->list, &work->next, put_status, NULL);

	if (rc > 0) {
		session->resume = status_run;
		return NET_AGAIN;
	}
	return rc < 0 ? imap_fail(session, rc, NULL) : imap_ok(session, "Notifying");
}

static enum net_result notify_set(struct imap_session *session, struct imap_notify *notify)
{
	struct notify_work *work = arena_zalloc(session->arena, sizeof(*work));
	struct kv_txn *kv;
	int rc;

	imap_watch_end(session);
	session->notify = notify;
	/* First the watches, then the look: nothing is missed in between. */
	imap_catch_up(session);
	rc = imap_read_begin(session, &kv);
	if (rc == 0) {
		rc = imap_list_read(session, kv, true, &work->list);
		if (rc == 0)
			imap_notify_watch(session, kv, &work->list);
		mail_read_end(&kv);
	}
	for (size_t i = 0; notify->wants_status && i < work->list.count && rc == 0; i++)
		if (work->list.entries[i].target != NULL)
			rc = imap_status_settle(session, work->list.entries[i].target);
	if (rc < 0) {
		imap_watch_end(session);
		return imap_fail(session, rc, NULL);
	}
	session->work = work;
	return status_run(session);
}

enum net_result cmd_notify(struct imap_session *session, struct imap_parser *args)
{
	struct imap_notify *notify = NULL;
	int rc;

	if (imap_parse_space(args) < 0)
		return imap_bad_args(session, args);
	if (imap_parse_take_word(args, "NONE")) {
		if (imap_parse_end(args) < 0)
			return imap_bad_args(session, args);
		imap_watch_end(session);
		return imap_ok(session, "No notifications");
	}
	if (!imap_parse_take_word(args, "SET")) {
		imap_parse_fail(args, ERR_INVALID, "Expected SET or NONE");
		return imap_bad_args(session, args);
	}
	rc = imap_notify_parse(args, &notify);
	if (rc == ERR_REFUSED)
		return imap_no(session, "[BADEVENT (" EVENT_NAMES ")] Unknown event");
	if (rc < 0)
		return imap_bad_args(session, args);
	return notify_set(session, notify);
}
