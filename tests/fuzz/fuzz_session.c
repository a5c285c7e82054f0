#include "fuzz_session.h"

#include "fuzz_check.h"

#include "imap/imap_frame.h"
#include "imap/imap_server.h"

#include "base/log.h"
#include "base/mem.h"

#include <ctype.h>

#define APPEND_SIZE_MAX 5000
#define RESUME_COUNT_MAX 100000 /* of one command: more is an endless loop */

struct net_connection {
	struct buffer output;
	bool is_woken;
	bool is_compressed;
	bool has_more; /* input behind the unit that is looked at */
	bool is_held;
	size_t held_size;
	unsigned slow; /* every so many looks the client is slow; 0: never */
	unsigned look_count;
};

struct fuzz_server {
	struct imap_server_options options;
	struct imap_server *imap;
	struct store *store;
};

struct fuzz_session {
	const struct net_protocol *protocol;
	void *session;
	struct net_connection connection;
	struct buffer input;
	bool is_over;
};

/* ---- what the session asks of its connection ---- */

void net_connection_write(struct net_connection *connection, struct bytes bytes)
{
	buffer_append_bytes(&connection->output, bytes);
}

void net_connection_write_string(struct net_connection *connection, const char *text)
{
	buffer_append_string(&connection->output, text);
}

bool net_connection_has_more(const struct net_connection *connection)
{
	return connection->has_more;
}

void net_connection_hold(struct net_connection *connection)
{
	if (!connection->is_held)
		connection->held_size = connection->output.len;
	connection->is_held = true;
}

void net_connection_release(struct net_connection *connection, bool keeps)
{
	if (connection->is_held && !keeps)
		buffer_truncate(&connection->output, connection->held_size);
	connection->is_held = false;
}

bool net_connection_is_full(struct net_connection *connection)
{
	return connection->slow > 0 && ++connection->look_count % connection->slow == 0;
}

bool net_connection_is_gone(struct net_connection *connection)
{
	(void)connection;
	return false;
}

void net_connection_set_idle_timeout(struct net_connection *connection, unsigned seconds)
{
	(void)connection;
	(void)seconds;
}

void net_connection_penalize(struct net_connection *connection)
{
	(void)connection;
}

void net_connection_forgive(struct net_connection *connection)
{
	(void)connection;
}

void net_connection_set_deadline(struct net_connection *connection, unsigned seconds)
{
	(void)connection;
	(void)seconds;
}

const char *net_connection_peer(const struct net_connection *connection)
{
	(void)connection;
	return "192.0.2.1:143";
}

const char *net_connection_id(const struct net_connection *connection)
{
	(void)connection;
	return "fuzz";
}

bool net_connection_is_loopback(const struct net_connection *connection)
{
	(void)connection;
	return true;
}

bool net_connection_is_tls(const struct net_connection *connection)
{
	(void)connection;
	return false;
}

bool net_connection_can_start_tls(const struct net_connection *connection)
{
	(void)connection;
	return false;
}

const char *net_connection_tls_text(const struct net_connection *connection)
{
	(void)connection;
	return "";
}

/* What would be compressed is looked at before. */
int net_connection_start_compression(struct net_connection *connection)
{
	FUZZ_CHECK(!connection->is_compressed);
	connection->is_compressed = true;
	return 0;
}

bool net_connection_is_compressed(const struct net_connection *connection)
{
	return connection->is_compressed;
}

const char *net_connection_peer_address(const struct net_connection *connection)
{
	(void)connection;
	return "fuzz";
}

const struct net_certificate *net_connection_certificate(const struct net_connection *connection)
{
	(void)connection;
	return NULL;
}

int net_connection_binding(struct net_connection *connection, const char *type, struct buffer *out)
{
	(void)connection;
	(void)type;
	(void)out;
	return ERR_NOT_FOUND;
}

void net_connection_pause(struct net_connection *connection, unsigned milliseconds)
{
	(void)connection;
	(void)milliseconds;
}

void net_connection_close(struct net_connection *connection)
{
	(void)connection;
}

struct net_connection *net_connection_ref(struct net_connection *connection)
{
	return connection;
}

void net_connection_unref(struct net_connection **connection)
{
	*connection = NULL;
}

void net_connection_wake(struct net_connection *connection)
{
	connection->is_woken = true;
}

/* ---- the answers ---- */

/* The size of the literal that a line (without CRLF) ends in. */
static bool announces_literal(struct bytes line, size_t *size_r)
{
	size_t digits = 0, size = 0;

	if (line.len < 3 || line.ptr[line.len - 1] != '}')
		return false;
	while (digits + 2 < line.len && isdigit(line.ptr[line.len - 2 - digits]))
		digits++;
	if (digits == 0 || line.ptr[line.len - 2 - digits] != '{')
		return false;
	for (size_t i = line.len - 1 - digits; i < line.len - 1; i++)
		size = size * 10 + (size_t)(line.ptr[i] - '0');
	*size_r = size;
	return true;
}

void fuzz_check_answers(struct bytes output)
{
	bool is_first_piece = true;

	while (output.len > 0) {
		size_t end = bytes_find(output, '\n'), size;
		struct bytes line;

		FUZZ_CHECK(end < output.len && end > 0 && output.ptr[end - 1] == '\r');
		line = bytes_take(&output, end - 1);
		bytes_skip(&output, 2);
		FUZZ_CHECK(bytes_find(line, '\r') == line.len);
		FUZZ_CHECK(bytes_find(line, '\0') == line.len);
		if (is_first_piece)
			FUZZ_CHECK(bytes_find(line, ' ') < line.len && line.ptr[0] != ' ');
		is_first_piece = true;
		/* People's text may end in anything, so only data are looked at. */
		if (!bytes_start_with(line, BYTES_LITERAL("* ")) && line.len > 0 &&
			line.ptr[0] != ' ' && line.ptr[0] != ')' && line.ptr[0] != '(')
			continue;
		if (!announces_literal(line, &size))
			continue;
		FUZZ_CHECK(size <= output.len);
		bytes_skip(&output, size);
		is_first_piece = false;
	}
}

/* ---- the server ---- */

static int lookup(void *context, struct bytes name, struct buffer *blob)
{
	if (!bytes_equal_string(name, "alice"))
		return ERR_NOT_FOUND;
	buffer_append_bytes(blob, buffer_bytes(context));
	return 0;
}

static bool may_create(void *context, const char *user)
{
	(void)context;
	(void)user;
	return true;
}

static int authorize(
	void *context, const char *authcid, const char *user, struct imap_grant *grant_r)
{
	(void)context;
	(void)authcid;
	(void)user;
	*grant_r = (struct imap_grant){ .is_peer = true, .rights = { .is_full = true } };
	return 0;
}

struct sasl_setup {
	struct buffer blob;
	struct sasl_authority *authority;
};

/* Made once: checking a password costs more than all the rest. */
static struct sasl_authority *authority_get(void)
{
	static struct sasl_setup setup;
	struct password_parameters cheap = password_parameters_cheap();
	struct sasl_options options = {
		.lookup = lookup, .context = &setup.blob, .parameters = cheap
	};

	if (setup.authority != NULL)
		return setup.authority;
	log_level_set(LOG_LEVEL_ERROR);
	options.cache = password_cache_new(16, 1000000);
	credentials_make(BYTES_LITERAL("secret"), &cheap, &setup.blob, NULL);
	setup.authority = sasl_authority_new(&options);
	return setup.authority;
}

static enum net_result finish(struct fuzz_session *session, enum net_result result)
{
	for (unsigned i = 0; result == NET_AGAIN; i++) {
		FUZZ_CHECK(i < RESUME_COUNT_MAX);
		result = session->protocol->resume(session->session);
	}
	return result;
}

/* One look at the input, as the server does it. False: no more can be done with what is there. */
static bool run_step(struct fuzz_session *session)
{
	size_t len = session->input.len;
	unsigned char *exact = malloc(len > 0 ? len : 1);
	enum net_result result = NET_DONE;
	struct net_unit unit = { 0 };
	enum net_frame frame;

	if (len > 0)
		memcpy(exact, session->input.data, len);
	frame = len == 0 ? NET_FRAME_MORE
			 : session->protocol->frame(session->session, bytes_of(exact, len), &unit);
	FUZZ_CHECK(frame == NET_FRAME_MORE || frame == NET_FRAME_BAD ||
		   (unit.len > 0 && unit.len <= len));
	buffer_append_bytes(&session->connection.output, unit.reply);
	session->connection.has_more = len > unit.len;
	if (frame == NET_FRAME_READY)
		result = finish(session,
			session->protocol->command(session->session, bytes_of(exact, unit.len)));
	free(exact);
	if (result == NET_DONE && session->connection.is_woken) {
		session->connection.is_woken = false;
		result = finish(session, session->protocol->wake(session->session));
	}
	if (frame != NET_FRAME_READY || !session->connection.has_more || result == NET_CLOSE) {
		result = session->protocol->round_end(session->session, result);
		FUZZ_CHECK(!session->connection.is_held);
	}
	if (frame == NET_FRAME_READY || frame == NET_FRAME_SKIP)
		buffer_consume(&session->input, unit.len);
	session->is_over = result == NET_CLOSE || frame == NET_FRAME_BAD;
	return !session->is_over && (frame == NET_FRAME_READY || frame == NET_FRAME_SKIP);
}

struct bytes fuzz_session_send(struct fuzz_session *session, struct bytes data, size_t piece_size)
{
	buffer_clear(&session->connection.output);
	while (data.len > 0 && !session->is_over) {
		size_t n = data.len < piece_size ? data.len : piece_size;

		buffer_append_bytes(&session->input, bytes_take(&data, n));
		while (run_step(session))
			;
	}
	return buffer_bytes(&session->connection.output);
}

bool fuzz_session_is_over(const struct fuzz_session *session)
{
	return session->is_over;
}

struct fuzz_server *fuzz_server_new(void)
{
	struct fuzz_server *server = mem_zalloc(sizeof(*server));

	server->options = (struct imap_server_options){ .authority = authority_get(),
		.authorize = authorize,
		.may_create = may_create,
		.append_size_max = APPEND_SIZE_MAX,
		.allow_plaintext = true };
	FUZZ_CHECK(store_open_memory(&server->store) == 0);
	FUZZ_CHECK(mail_open(server->store, clock_system(), &server->options.mail) == 0);
	server->imap = imap_server_new(&server->options);
	return server;
}

void fuzz_server_free(struct fuzz_server **server)
{
	imap_server_free(&(*server)->imap);
	mail_close(&(*server)->options.mail);
	store_close(&(*server)->store);
	free(*server);
	*server = NULL;
}

struct fuzz_session *fuzz_session_new(struct fuzz_server *server, unsigned slow)
{
	struct fuzz_session *session = mem_zalloc(sizeof(*session));

	session->connection.slow = slow;
	session->protocol = imap_server_protocol(server->imap);
	session->session = session->protocol->session_new(&session->connection, server->imap);
	return session;
}

void fuzz_session_free(struct fuzz_session **session)
{
	buffer_clear(&(*session)->connection.output);
	(*session)->protocol->goodbye((*session)->session, NET_GOODBYE_STOP);
	fuzz_check_answers(buffer_bytes(&(*session)->connection.output));
	(*session)->protocol->session_free((*session)->session);
	buffer_deinit(&(*session)->input);
	buffer_deinit(&(*session)->connection.output);
	free(*session);
	*session = NULL;
}

bool fuzz_is_command(struct bytes text)
{
	struct imap_frame_limits limits = { .is_authenticated = true };
	struct imap_frame frame = { 0 };
	struct net_unit unit = { 0 };

	return imap_frame_next(&frame, &limits, text, &unit) == NET_FRAME_READY &&
	       unit.len == text.len && frame.refusal == IMAP_REFUSED_NOT;
}

bool fuzz_is_ok(struct bytes answer, const char *tag)
{
	struct buffer end = { 0 };
	const unsigned char *found;
	bool is_ok;

	buffer_printf(&end, "\r\n%s OK ", tag);
	found = answer.len == 0 ? NULL : memmem(answer.ptr, answer.len, end.data, end.len);
	is_ok = found != NULL || bytes_start_with(answer, bytes_of(end.data + 2, end.len - 2));
	buffer_deinit(&end);
	return is_ok;
}
