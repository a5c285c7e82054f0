/* IDLE (RFC 2177): a watch on the account wakes the session, which tells what changed. */
#include "imap/imap_commands.h"
#include "imap/imap_reply.h"

static void account_changed(void *context)
{
	net_connection_wake(context);
}

static enum net_result idle_end(struct imap_session *session, struct bytes line)
{
	mail_watch_free(session->mail, &session->watch);
	if (!bytes_equal_string_nocase(line, "DONE"))
		return imap_bad(session, "Expected DONE");
	return imap_ok(session, "Idled");
}

enum net_result cmd_idle(struct imap_session *session, struct imap_parser *args)
{
	if (imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	imap_put(session, "+ idling\r\n");
	session->watch = mail_watch_new(session->mail,
		session->view != NULL ? session->view->account : session->identity.account,
		account_changed, session->connection);
	/* What changed before the watch began is told now, through a wake of our own. */
	net_connection_wake(session->connection);
	session->answer = idle_end;
	return NET_DONE;
}
