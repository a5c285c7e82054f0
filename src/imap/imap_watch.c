#include "imap/imap_watch.h"

#include "imap/imap_notify.h"

static void changed(void *context)
{
	net_connection_wake(context);
}

struct watch_set *imap_watch_set(struct imap_session *session)
{
	if (session->watches == NULL)
		session->watches = watch_set_new(session->mail, changed, session->connection);
	return session->watches;
}

static bool wants_selected(const struct imap_session *session)
{
	if (session->view == NULL)
		return false;
	if (session->notify != NULL)
		return session->notify->selected_events != 0;
	return session->is_idling;
}

void imap_watch_adjust(struct imap_session *session)
{
	const struct imap_view *view = session->view;
	bool is_wanted = wants_selected(session);

	if (session->selected_watch != NULL &&
		(!is_wanted || session->watched_account != view->account ||
			!id128_equal(session->watched_mailbox, view->mailbox))) {
		watch_remove(&session->selected_watch);
		watch_remove(&session->seen_watch);
	}
	if (is_wanted && session->selected_watch == NULL) {
		session->watched_account = view->account;
		session->watched_mailbox = view->mailbox;
		session->selected_watch = watch_add(
			imap_watch_set(session), view->account, WATCH_MAILBOX, view->mailbox);
		/* His own \Seen there is in his account, and may come by replication too. */
		if (view->seen_account != 0)
			session->seen_watch = watch_add(imap_watch_set(session), view->seen_account,
				WATCH_MAILBOX, view->owner);
		/* What changed before the watch began is told through a wake of our own. */
		net_connection_wake(session->connection);
	}
	if (session->tells_metadata && session->notify == NULL)
		imap_notify_watch_metadata(session);
	else if (session->selected_watch == NULL && session->notify == NULL)
		watch_set_free(&session->watches);
}

void imap_watch_end(struct imap_session *session)
{
	imap_notify_free(&session->notify);
	session->selected_watch = NULL;
	session->seen_watch = NULL;
	watch_set_free(&session->watches);
}
