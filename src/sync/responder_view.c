/* What of an account a session is about (view.h). */
#include "sync/responder_private.h"

#include "sync/integrate.h"

#include "mail/annotation.h"

static bool is_limited(const struct sync_session *session)
{
	return session->filter.mine != NULL && session->filter.mine[0] != '\0';
}

int session_view(const struct sync_session *session, struct kv_txn *kv, uint32_t account,
	struct view *view_r)
{
	return view_open(kv, account, &session->filter, session->peer, view_r);
}

bool session_may_see(
	const struct sync_session *session, const struct view *view, struct id128 mailbox)
{
	return !is_limited(session) || view_has(view, mailbox);
}

int session_view_of(const struct sync_session *session, struct kv_txn *kv, uint32_t account,
	struct id128 mailbox, struct view *view_r)
{
	int rc = session_view(session, kv, account, view_r);

	return rc < 0 || is_limited(session) ? rc : view_tell(kv, view_r, &mailbox, 1);
}

/* A mailbox that is new here must be named as the peer may name it. */
static int check_limit(const struct sync_session *session, struct kv_txn *kv,
	const struct change_set *changes, struct view *view, struct error *error)
{
	struct arena *arena = arena_new();
	int rc = 0;

	for (size_t i = 0; i < changes->mailbox_count && rc == 0; i++) {
		const struct mailbox_record *mailbox = &changes->mailboxes[i];
		struct mailbox_record mine;

		if (view_has(view, mailbox->id))
			continue;
		rc = account_get_mailbox(kv, view->account, mailbox->id, arena, &mine);
		if (rc == ERR_NOT_FOUND)
			rc = mailbox_filter_passes(session->filter.mine, mailbox->name)
				     ? view_tell(kv, view, &mailbox->id, 1)
				     : ERR_REFUSED;
		else if (rc == 0)
			rc = ERR_REFUSED;
	}
	for (size_t i = 0; i < changes->message_count && rc == 0; i++) {
		const struct message_record *message = &changes->messages[i].record;

		if (message_is_shown(message) && !view_has(view, message->mailbox))
			rc = ERR_REFUSED;
	}
	for (size_t i = 0; i < changes->register_count && rc == 0; i++) {
		struct stamp instance;

		if (annotation_instance(&changes->registers[i], &instance) &&
			change_set_message(changes, instance) != NULL)
			continue;
		rc = view_has_register(kv, view, &changes->registers[i], arena);
		rc = rc > 0 ? 0 : rc == 0 ? ERR_REFUSED : rc;
	}
	arena_free(&arena);
	return rc == ERR_REFUSED ? error_set(error, rc,
					   "this peer may not change these mailboxes (mailboxes)")
				 : rc;
}

int session_view_told(const struct sync_session *session, struct kv_txn *kv, uint32_t account,
	const struct change_set *changes, struct view *view_r, struct error *error)
{
	int rc = session_view(session, kv, account, view_r);

	if (rc < 0)
		return rc;
	return is_limited(session) ? check_limit(session, kv, changes, view_r, error)
				   : integrate_tell(kv, changes, view_r);
}
