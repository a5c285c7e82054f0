#include "chapard/control.h"

#include "base/mem.h"
#include "sync/responder.h"

#include <stdlib.h>

struct control_session {
	struct net_connection *connection;
	struct admin *admin;
	struct admin_call *call;   /* the running command */
	size_t scanned;            /* bytes of the input without a line's end */
	struct sync_session *sync; /* NULL: requests are lines */
};

#define SIZE_LINE_MAX 20 /* bytes */

char *control_path(const char *store_path)
{
	struct buffer path = { 0 };
	char *copy;

	buffer_printf(&path, "%s/" CONFIG_CONTROL_SOCKET_NAME, store_path);
	copy = mem_strdup(buffer_string(&path));
	buffer_deinit(&path);
	return copy;
}

static void *session_new(struct net_connection *connection, void *context)
{
	struct control_session *session = mem_zalloc(sizeof(*session));

	session->connection = connection;
	session->admin = context;
	return session;
}

static void session_free(void *context)
{
	struct control_session *session = context;

	admin_call_free(&session->call);
	sync_session_free(&session->sync);
	free(session);
}

/* ---- SYNC ---- */

int control_size_parse(struct bytes line, size_t *size_r)
{
	size_t size = 0;

	if (line.len == 0 || line.len >= SIZE_LINE_MAX)
		return ERR_INVALID;
	for (; line.len > 0; bytes_skip(&line, 1)) {
		int byte = bytes_peek(line);

		if (byte < '0' || byte > '9')
			return ERR_INVALID;
		size = size * 10 + (size_t)(byte - '0');
		if (size > SYNC_REQUEST_SIZE_MAX)
			return ERR_TOO_LARGE;
	}
	*size_r = size;
	return 0;
}

static enum net_frame sync_frame(struct bytes input, struct net_unit *unit_r)
{
	size_t end = bytes_find(input, '\n'), size;

	if (end == input.len && input.len < SIZE_LINE_MAX)
		return NET_FRAME_MORE;
	if (end == input.len || control_size_parse(bytes_of(input.ptr, end), &size) < 0) {
		unit_r->reply = BYTES_LITERAL("0\n");
		return NET_FRAME_BAD;
	}
	unit_r->wanted = end + 1 + size;
	if (input.len < unit_r->wanted)
		return NET_FRAME_MORE;
	unit_r->len = unit_r->wanted;
	return NET_FRAME_READY;
}

static enum net_result sync_command(struct control_session *session, struct bytes unit)
{
	struct buffer answer = { 0 };
	struct error error = { 0 };

	bytes_skip(&unit, bytes_find(unit, '\n') + 1);
	/* What was wrong is in the answer, too. */
	(void)sync_respond(session->sync, unit, &answer, &error);
	net_connection_printf(session->connection, "%zu\n", answer.len);
	net_connection_write(session->connection, buffer_bytes(&answer));
	buffer_deinit(&answer);
	return NET_DONE;
}

static enum net_result sync_begin(struct control_session *session)
{
	struct sync_rights rights = { .is_full = true };

	session->sync = sync_session_new(session->admin->mail, &rights);
	if (session->admin->live != NULL && session->admin->live->trace != NULL)
		sync_session_trace(session->sync, session->admin->live->trace, "control",
			net_connection_peer(session->connection));
	net_connection_set_idle_timeout(session->connection, 0);
	net_connection_write_string(session->connection, "OK\n");
	return NET_DONE;
}

/* ---- lines ---- */

static enum net_frame session_frame(void *context, struct bytes input, struct net_unit *unit_r)
{
	struct control_session *session = context;
	struct bytes rest = input;
	size_t end;

	if (session->sync != NULL)
		return sync_frame(input, unit_r);
	bytes_skip(&rest, session->scanned);
	end = session->scanned + bytes_find(rest, '\n');
	if (end == input.len) {
		session->scanned = end;
		if (input.len < ADMIN_REQUEST_SIZE_MAX)
			return NET_FRAME_MORE;
		unit_r->reply = BYTES_LITERAL("FAIL -8 the request is too long\n");
		return NET_FRAME_BAD;
	}
	session->scanned = 0;
	unit_r->len = end + 1;
	return NET_FRAME_READY;
}

/* Puts '=' before each line. */
static void output_write(struct control_session *session, struct bytes output)
{
	while (output.len > 0) {
		size_t len = bytes_find(output, '\n');
		struct bytes line = bytes_take(&output, len);

		net_connection_write(session->connection, BYTES_LITERAL("="));
		net_connection_write(session->connection, line);
		net_connection_write(session->connection, BYTES_LITERAL("\n"));
		if (output.len > 0)
			bytes_skip(&output, 1);
	}
}

static enum net_result session_finish(
	struct control_session *session, int rc, const struct error *error)
{
	admin_call_free(&session->call);
	if (rc < 0)
		net_connection_printf(session->connection, "FAIL %d %s\n", rc,
			error->code != 0 ? error->text : error_name(rc));
	else
		net_connection_write_string(session->connection, "OK\n");
	return NET_DONE;
}

/* Runs steps until the command is done, or there is output enough to send first. */
static enum net_result session_resume(void *context)
{
	struct control_session *session = context;
	struct buffer output = { 0 };
	struct error error = { 0 };
	int rc;

	do {
		rc = admin_call_step(session->call, &output, &error);
		output_write(session, buffer_bytes(&output));
		buffer_clear(&output);
		if (net_connection_is_gone(session->connection))
			rc = ERR_CLOSED;
	} while (rc == ADMIN_MORE && !net_connection_is_full(session->connection));
	buffer_deinit(&output);
	if (rc == ADMIN_MORE)
		return NET_AGAIN;
	if (rc == ADMIN_WAIT) {
		net_connection_set_idle_timeout(session->connection, 0);
		/* A client that does not read is not woken for. */
		return net_connection_is_full(session->connection) ? NET_AGAIN : NET_DONE;
	}
	return session_finish(session, rc, &error);
}

static void news_came(void *context)
{
	net_connection_wake(context);
}

/* A command that waits has something to tell. */
static enum net_result session_wake(void *context)
{
	struct control_session *session = context;

	return session->call != NULL ? session_resume(session) : NET_DONE;
}

static enum net_result session_command(void *context, struct bytes unit)
{
	struct control_session *session = context;
	struct error error = { 0 };
	int rc;

	if (session->sync != NULL)
		return sync_command(session, unit);
	/* Whatever comes while a command waits ends that. */
	if (session->call != NULL)
		return session_finish(session, 0, &error);
	unit.len--; /* the line's end */
	if (bytes_equal_string(unit, CONTROL_SYNC))
		return sync_begin(session);
	rc = admin_call_new(session->admin, unit, &session->call, &error);
	if (rc < 0)
		return session_finish(session, rc, &error);
	admin_call_on_news(session->call, news_came, session->connection);
	return session_resume(session);
}

static void session_goodbye(void *context, enum net_goodbye reason)
{
	struct control_session *session = context;

	(void)reason;
	net_connection_printf(session->connection, "FAIL %d the daemon stops\n", ERR_CLOSED);
}

const struct net_protocol control_protocol = {
	.name = "control",
	.input_max = SYNC_REQUEST_SIZE_MAX + SIZE_LINE_MAX,
	.busy_text = "FAIL -14 too many connections\n",
	.session_new = session_new,
	.frame = session_frame,
	.command = session_command,
	.resume = session_resume,
	.wake = session_wake,
	.goodbye = session_goodbye,
	.session_free = session_free,
};

int control_result_parse(struct bytes line, struct error *error)
{
	int code = 0;
	size_t digit_count = 0;

	if (bytes_equal_string(line, "OK"))
		return 0;
	if (!bytes_start_with(line, BYTES_LITERAL("FAIL -")))
		return error_set(
			error, ERR_INVALID, "the daemon gave an answer that is not understood");
	bytes_skip(&line, strlen("FAIL -"));
	for (; bytes_peek(line) >= '0' && bytes_peek(line) <= '9' && digit_count < 4;
		digit_count++) {
		code = code * 10 + (bytes_peek(line) - '0');
		bytes_skip(&line, 1);
	}
	if (code == 0 || bytes_peek(line) != ' ')
		return error_set(
			error, ERR_INVALID, "the daemon gave an answer that is not understood");
	bytes_skip(&line, 1);
	return error_set(error, -code, "%.*s", BYTES_ARGS(line));
}
