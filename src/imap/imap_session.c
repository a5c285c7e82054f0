#include "imap/imap_session.h"

#include "imap/imap_capability.h"
#include "imap/imap_group.h"
#include "imap/imap_notify.h"
#include "imap/imap_registry.h"
#include "imap/imap_reply.h"
#include "imap/imap_server_private.h"
#include "imap/imap_update.h"
#include "imap/imap_watch.h"

#include "backup/object_serve.h"
#include "base/log.h"
#include "base/mem.h"
#include "mail/away.h"

#include <stdio.h>
#include <stdlib.h>

#define OUTPUT_KEEP_SIZE 256 /* bytes of output memory between commands */

/* To keep the UIDs of a view costs about as much as to read a change for each so many of them. */
#define KEEP_CHANGED_PART 64
#define KEEP_CHANGED_MIN 10

int imap_read_begin(struct imap_session *session, struct kv_txn **kv_r)
{
	return mail_read_begin(session->mail, session->position, kv_r);
}

void imap_wrote(struct imap_session *session, uint64_t position)
{
	if (position > session->position)
		session->position = position;
	if ((session->notify != NULL || session->tells_metadata) && position != 0)
		watch_own_add(&session->own, position);
}

void imap_catch_up(struct imap_session *session)
{
	uint64_t position = mail_position(session->mail);

	if (position > session->position)
		session->position = position;
}

const char *imap_login_is_over(struct imap_session *session)
{
	struct account_header header;
	struct error error = { 0 };
	struct kv_txn *kv = NULL;
	int rc;

	if (session->identity.account == 0 || session->is_peer)
		return NULL;
	rc = mail_read_begin(session->mail, session->position, &kv);
	if (rc == 0)
		rc = account_load(kv, session->identity.account, &header);
	if (rc == 0 && header.hold == ACCOUNT_AWAY)
		rc = account_away_refuse(kv, &header, &error);
	mail_read_end(&kv);
	if (rc == ERR_REPLICA)
		return imap_referral(session, session->identity.name, &error);
	if (rc == 0 && header.is_deleted)
		return "This account was deleted";
	if (rc == 0 && header.hold != ACCOUNT_SERVED)
		return "[UNAVAILABLE] This account is being brought up to date, connect again";
	return NULL;
}

bool imap_session_is_private(const struct imap_session *session)
{
	const struct imap_server_options *options = session->options;

	return net_connection_is_tls(session->connection) || options->allow_plaintext ||
	       (options->allow_plaintext_loopback &&
		       net_connection_is_loopback(session->connection));
}

/* So that who selects it next need not read all that changed while it was selected here. */
static void keep_uids(struct imap_session *session)
{
	struct imap_view *view = session->view;

	if (session->state != IMAP_SELECTED || view == NULL ||
		view->gathered_count < view->count / KEEP_CHANGED_PART + KEEP_CHANGED_MIN)
		return;
	view->looked_modseq = 0; /* keywords came from elsewhere, too */
	imap_uid_cache_put(session->server->uid_cache, view);
}

void imap_session_unselect(struct imap_session *session)
{
	keep_uids(session);
	imap_view_free(&session->view);
	if (session->state == IMAP_SELECTED)
		session->state = IMAP_AUTHENTICATED;
}

/* Empties the arena, and ends the work. */
void imap_command_end(struct imap_session *session)
{
	if (session->work != NULL && session->work_free != NULL)
		session->work_free(session->work);
	session->work = NULL;
	session->work_free = NULL;
	session->resume = NULL;
	if (session->answer == NULL) {
		session->command = NULL;
		session->holds_expunges = false;
		imap_watch_adjust(session);
	}
	/* Most sessions are idle most of the time, and there are many. */
	arena_clear(session->arena);
	if (session->out.room > OUTPUT_KEEP_SIZE)
		buffer_deinit(&session->out);
}

/* ---- callbacks of net_protocol ---- */

static void *session_new(struct net_connection *connection, void *context)
{
	struct imap_session *session = mem_zalloc(sizeof(*session));
	struct imap_server *server = context;

	session->server = server;
	session->options = &server->options;
	session->mail = server->options.mail;
	session->connection = connection;
	session->state = IMAP_NOT_AUTHENTICATED;
	session->arena = arena_new();
	net_connection_set_idle_timeout(connection, server->options.login_timeout_s);
	net_connection_set_deadline(connection, server->options.login_timeout_s);
	imap_put(session, "* OK [CAPABILITY ");
	imap_put_capabilities(session);
	imap_printf(session, "] %s ready\r\n", server->options.name);
	imap_flush(session);
	return session;
}

static enum net_frame session_frame(void *context, struct bytes input, struct net_unit *unit_r)
{
	struct imap_session *session = context;
	size_t append_size_max = session->options->append_size_max;
	size_t sync_size_max = session->is_peer ? SYNC_REQUEST_SIZE_MAX : append_size_max;
	struct imap_frame_limits limits = {
		.is_line_only = session->answer != NULL,
		.is_authenticated = session->state != IMAP_NOT_AUTHENTICATED,
		.append_size_max = append_size_max,
		.sync_size_max = sync_size_max,
		.unit_size_max =
			IMAP_UNIT_SIZE_SLACK +
			(sync_size_max > append_size_max ? sync_size_max : append_size_max),
	};
	enum net_frame frame = imap_frame_next(&session->frame, &limits, input, unit_r);

	if (frame == NET_FRAME_BAD)
		session->output_size += unit_r->reply.len;
	for (; session->frame.late_prompt_count > 0; session->frame.late_prompt_count--)
		net_connection_write_string(session->connection, IMAP_PROMPT);
	return frame;
}

/* After any callback that ran a piece of a command. */
static enum net_result piece_end(struct imap_session *session, enum net_result result)
{
	imap_flush(session);
	if (result != NET_AGAIN)
		imap_command_end(session);
	return result;
}

static enum net_result session_command(void *context, struct bytes unit)
{
	struct imap_session *session = context;
	enum net_result (*answer)(struct imap_session * session, struct bytes line);

	session->input_size += unit.len;
	if (session->answer == NULL)
		return piece_end(session, imap_dispatch(session, unit));
	answer = session->answer;
	session->answer = NULL;
	if (unit.len > 0 && unit.ptr[unit.len - 1] == '\n')
		unit.len--;
	if (unit.len > 0 && unit.ptr[unit.len - 1] == '\r')
		unit.len--;
	/* Neither base64 nor DONE, so that it is refused by whoever waits for it. */
	if (session->frame.refusal != IMAP_REFUSED_NOT)
		unit = BYTES_LITERAL("!");
	return piece_end(session, answer(session, unit));
}

static enum net_result session_resume(void *context)
{
	struct imap_session *session = context;

	assert(session->resume != NULL);
	if (net_connection_is_gone(session->connection))
		return piece_end(session, NET_CLOSE);
	return piece_end(session, session->resume(session));
}

static enum net_result session_round_end(void *context, enum net_result result)
{
	struct imap_session *session = context;

	if (imap_group_leave(session) == 0)
		return result;
	result = imap_bye(session, IMAP_GROUP_LOST_TEXT);
	imap_flush(session);
	return result;
}

/* The client reads on: so does what was to be told of SYNC, and then the rest. */
static enum net_result tell_news(struct imap_session *session)
{
	session->resume = tell_news;
	if (!imap_sync_tell(session))
		return NET_AGAIN;
	session->resume = NULL;
	if (session->watches == NULL)
		return NET_DONE;
	imap_notify_tell(session);
	return session->selected_watch != NULL ? imap_update_begin(session) : NET_DONE;
}

/* Only IDLE and both NOTIFYs watch, so only there news are wanted. */
static enum net_result session_wake(void *context)
{
	struct imap_session *session = context;
	enum net_result result;
	const char *end;

	if (session->watches == NULL && !sync_is_watching(session->sync))
		return NET_DONE;
	end = imap_group_leave(session) < 0 ? IMAP_GROUP_LOST_TEXT : imap_login_is_over(session);
	if (end != NULL)
		result = imap_bye(session, end);
	else
		result = tell_news(session);
	imap_flush(session);
	return result;
}

static void session_goodbye(void *context, enum net_goodbye reason)
{
	struct imap_session *session = context;
	const char *text = "* BYE Connection closed\r\n";

	if (reason == NET_GOODBYE_IDLE)
		text = "* BYE Autologout, idle for too long\r\n";
	else if (reason == NET_GOODBYE_DEADLINE)
		text = "* BYE Too slow to log in\r\n";
	else if (reason == NET_GOODBYE_STOP)
		text = "* BYE [UNAVAILABLE] Server is shutting down\r\n";
	imap_put(session, text);
	imap_flush(session);
}

static void log_logout(const struct imap_session *session)
{
	char input[24], output[24];

	if (session->identity.name[0] == '\0')
		return;
	snprintf(input, sizeof(input), "%llu", (unsigned long long)session->input_size);
	snprintf(output, sizeof(output), "%llu", (unsigned long long)session->output_size);
	log_event(LOG_LEVEL_INFO, "logout", "protocol", "imap", "account", session->identity.name,
		"peer", net_connection_peer(session->connection), "session",
		net_connection_id(session->connection), "in", input, "out", output, NULL);
}

/* What has to do with the user, and not with the connection. */
static void user_deinit(struct imap_session *session)
{
	log_logout(session);
	session->is_idling = false;
	imap_session_unselect(session);
	imap_watch_end(session);
	session->own = (struct watch_own){ 0 };
	sasl_server_free(&session->sasl);
	imap_registry_remove(session->server->registry, &session->registration);
	sync_session_free(&session->sync);
	object_server_free(&session->objects);
	imap_body_deinit(&session->body);
	imap_large_deinit(&session->large);
}

void imap_session_forget_user(struct imap_session *session)
{
	const struct imap_server_options *options = session->options;

	user_deinit(session);
	session->identity = (struct identity){ .account = 0 };
	session->is_peer = false;
	session->sync_rights = (struct sync_rights){ 0 };
	session->is_condstore = session->is_qresync = session->is_uidonly = false;
	session->tells_metadata = false;
	session->is_rev2 = session->is_utf8 = session->is_utf8_only = false;
	session->position = 0;
	session->input_size = session->output_size = 0;
	session->state = IMAP_NOT_AUTHENTICATED;
	net_connection_set_idle_timeout(session->connection, options->login_timeout_s);
	net_connection_set_deadline(session->connection, options->login_timeout_s);
}

static void session_free(void *context)
{
	struct imap_session *session = context;

	session->answer = NULL;
	session->is_idling = false;
	imap_session_unselect(session);
	imap_command_end(session);
	user_deinit(session);
	buffer_deinit(&session->certificate_name);
	buffer_deinit(&session->out);
	buffer_deinit(&session->ending);
	arena_free(&session->arena);
	free(session);
}

const struct net_protocol imap_session_protocol = {
	.name = "imap",
	.busy_text = "* BYE [UNAVAILABLE] Too many connections, try again later\r\n",
	.session_new = session_new,
	.frame = session_frame,
	.command = session_command,
	.resume = session_resume,
	.round_end = session_round_end,
	.wake = session_wake,
	.goodbye = session_goodbye,
	.session_free = session_free,
};
