/* IDLE (RFC 2177): a watch on the selected mailbox wakes the session, which tells what changed. */
#include "imap/imap_commands.h"
#include "imap/imap_reply.h"
#include "imap/imap_watch.h"

static enum net_result idle_end(struct imap_session *session, struct bytes line)
{
	session->is_idling = false;
	if (!bytes_equal_string_nocase(line, "DONE"))
		return imap_bad(session, "Expected DONE");
	return imap_ok(session, "Idled");
}

enum net_result cmd_idle(struct imap_session *session, struct imap_parser *args)
{
	if (imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	imap_put(session, "+ idling\r\n");
	session->is_idling = true;
	session->answer = idle_end;
	imap_watch_adjust(session);
	/* NOTIFY may watch already, and hold back what IDLE lets through. */
	net_connection_wake(session->connection);
	return NET_DONE;
}
