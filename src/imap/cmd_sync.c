/* SYNC (docs/protocol.md): replication, carried by IMAP's connections, logins and TLS. */
#include "imap/imap_commands.h"
#include "imap/imap_reply.h"

static struct sync_session *open_sync(struct imap_session *session)
{
	struct sync_rights rights = session->sync_rights;

	if (session->sync == NULL) {
		memcpy(rights.account, session->identity.name, sizeof(rights.account));
		session->sync = sync_session_new(session->mail, &rights);
	}
	return session->sync;
}

static struct bytes without_line_end(struct bytes text)
{
	if (text.len > 0 && text.ptr[text.len - 1] == '\n')
		text.len--;
	if (text.len > 0 && text.ptr[text.len - 1] == '\r')
		text.len--;
	return text;
}

enum net_result cmd_sync(struct imap_session *session, struct imap_parser *args)
{
	struct buffer answer = { NULL, 0, 0 };
	struct error error = { 0 };
	enum net_result result;
	int rc;

	if (imap_parse_space(args) < 0)
		return imap_bad_args(session, args);
	rc = sync_respond(open_sync(session), without_line_end(args->rest), &answer, &error);
	imap_put(session, "* SYNC ");
	imap_put_bytes(session, buffer_bytes(&answer));
	imap_put(session, "\r\n");
	buffer_deinit(&answer);
	if (rc == ERR_INVALID)
		return imap_bad(
			session, "%s", error.text[0] != '\0' ? error.text : "Malformed request");
	/* A refusal is an answer like others: the peer knows what to do. */
	if (rc == ERR_CHANGED || rc == ERR_REFUSED)
		result =
			imap_no(session, "%s", error.text[0] != '\0' ? error.text : error_name(rc));
	else
		result = rc < 0 ? imap_fail(session, rc, &error) : imap_ok(session, "Done");
	return result;
}
