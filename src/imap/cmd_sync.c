/* SYNC (docs/protocol.md): replication, carried by IMAP's connections, logins and TLS. */
#include "backup/object_serve.h"
#include "imap/imap_commands.h"
#include "imap/imap_group.h"
#include "imap/imap_reply.h"

static void news_came(void *context)
{
	net_connection_wake(context);
}

static struct sync_session *open_sync(struct imap_session *session)
{
	struct sync_rights rights = session->sync_rights;

	if (session->sync == NULL) {
		memcpy(rights.account, session->identity.name, sizeof(rights.account));
		rights.identity = session->identity;
		rights.other_users_prefix = session->options->other_users_prefix;
		rights.shared_prefix = session->options->shared_prefix;
		session->sync = sync_session_new(session->mail, &rights);
		sync_session_on_news(session->sync, news_came, session->connection);
		if (session->options->trace != NULL)
			sync_session_trace(session->sync, session->options->trace, rights.account,
				net_connection_peer(session->connection));
		if (rights.backup_folder != NULL) {
			session->objects =
				object_server_new(rights.backup_folder, rights.may_prune);
			sync_session_divert(session->sync, object_server_respond, session->objects);
		}
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

/* While the client does not read, nothing is put out, and nothing is kept (NOTIFY). */
bool imap_sync_tell(struct imap_session *session)
{
	struct buffer news = { 0 };
	bool is_done = false;

	while (!is_done && !net_connection_is_full(session->connection)) {
		int rc = sync_news(session->sync, &news);

		if (rc < 0)
			imap_log_failure(session, rc, NULL);
		is_done = rc <= 0;
		if (rc > 0) {
			imap_put(session, "* SYNC ");
			imap_put_bytes(session, buffer_bytes(&news));
			imap_put(session, "\r\n");
			imap_flush(session);
		}
		buffer_clear(&news);
	}
	buffer_deinit(&news);
	return is_done;
}

/* What a peer pushes of several accounts is brought to disk together. */
static int join_or_leave(struct imap_session *session, struct bytes request)
{
	bool is_small = request.len <= IMAP_GROUP_REQUEST_SIZE_MAX && sync_is_push(request);

	return is_small ? imap_group_join(session) : imap_group_leave(session);
}

enum net_result cmd_sync(struct imap_session *session, struct imap_parser *args)
{
	struct bytes request;
	struct buffer answer = { NULL, 0, 0 };
	struct error error = { 0 };
	enum net_result result;
	int rc;

	if (imap_parse_space(args) < 0)
		return imap_bad_args(session, args);
	request = without_line_end(args->rest);
	if (join_or_leave(session, request) < 0)
		return imap_bye(session, IMAP_GROUP_LOST_TEXT);
	rc = sync_respond(open_sync(session), request, &answer, &error);
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
