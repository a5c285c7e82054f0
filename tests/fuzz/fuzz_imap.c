/*
 * An IMAP session over a connection that is not there, with a mailbox of a few messages in memory.
 * The first byte says how the input is cut into pieces, how often the client is slow, and whether
 * the session begins logged in or with INBOX selected; the rest is what the client sends. All that
 * is answered must be lines, with literals of the size they announce, and begin as answers do.
 */
#include "imap/imap_server.h"

#include "base/log.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_SIZE_MAX 20000
#define APPEND_SIZE_MAX 5000
#define RESUME_COUNT_MAX 100000 /* of one command: more is an endless loop */

struct net_connection {
	struct buffer output;
	bool is_woken;
	unsigned slow; /* every so many looks the client is slow; 0: never */
	unsigned look_count;
};

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* ---- what the session asks of its connection ---- */

void net_connection_write(struct net_connection *connection, struct bytes bytes)
{
	buffer_append_bytes(&connection->output, bytes);
}

void net_connection_write_string(struct net_connection *connection, const char *text)
{
	buffer_append_string(&connection->output, text);
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

static void check_output(struct bytes output)
{
	bool is_first_piece = true;

	while (output.len > 0) {
		size_t end = bytes_find(output, '\n'), size;
		struct bytes line;

		if (end == output.len || end == 0 || output.ptr[end - 1] != '\r')
			abort();
		line = bytes_take(&output, end - 1);
		bytes_skip(&output, 2);
		if (bytes_find(line, '\r') < line.len || bytes_find(line, '\0') < line.len)
			abort();
		if (is_first_piece && (bytes_find(line, ' ') == line.len || line.ptr[0] == ' '))
			abort();
		is_first_piece = true;
		/* People's text may end in anything, so only data are looked at. */
		if (!bytes_start_with(line, BYTES_LITERAL("* ")) && line.len > 0 &&
			line.ptr[0] != ' ' && line.ptr[0] != ')' && line.ptr[0] != '(')
			continue;
		if (!announces_literal(line, &size))
			continue;
		if (size > output.len)
			abort();
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

static bool is_peer(void *context, const char *user)
{
	(void)context;
	(void)user;
	return true;
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

struct run {
	const struct net_protocol *protocol;
	void *session;
	struct net_connection connection;
	struct buffer input;
	bool is_over;
};

static enum net_result finish(struct run *run, enum net_result result)
{
	for (unsigned i = 0; result == NET_AGAIN; i++) {
		if (i == RESUME_COUNT_MAX)
			abort();
		result = run->protocol->resume(run->session);
	}
	return result;
}

/* One look at the input, as the server does it. False: no more can be done with what is there. */
static bool run_step(struct run *run)
{
	size_t len = run->input.len;
	unsigned char *exact = malloc(len > 0 ? len : 1);
	enum net_result result = NET_DONE;
	struct net_unit unit = { 0 };
	enum net_frame frame;

	if (len > 0)
		memcpy(exact, run->input.data, len);
	frame = len == 0 ? NET_FRAME_MORE
			 : run->protocol->frame(run->session, bytes_of(exact, len), &unit);
	if (frame != NET_FRAME_MORE && frame != NET_FRAME_BAD && (unit.len == 0 || unit.len > len))
		abort();
	buffer_append_bytes(&run->connection.output, unit.reply);
	if (frame == NET_FRAME_READY)
		result = finish(
			run, run->protocol->command(run->session, bytes_of(exact, unit.len)));
	free(exact);
	if (result == NET_DONE && run->connection.is_woken) {
		run->connection.is_woken = false;
		result = finish(run, run->protocol->wake(run->session));
	}
	if (frame == NET_FRAME_READY || frame == NET_FRAME_SKIP)
		buffer_consume(&run->input, unit.len);
	run->is_over = result == NET_CLOSE || frame == NET_FRAME_BAD;
	return !run->is_over && (frame == NET_FRAME_READY || frame == NET_FRAME_SKIP);
}

static void feed(struct run *run, struct bytes data, size_t piece_size)
{
	while (data.len > 0 && !run->is_over) {
		size_t n = data.len < piece_size ? data.len : piece_size;

		buffer_append_bytes(&run->input, bytes_take(&data, n));
		while (run_step(run))
			;
	}
}

static void begin(struct run *run, unsigned mode)
{
	static const char *const steps[] = { "a LOGIN alice secret\r\n",
		"a APPEND INBOX (\\Seen x) {23+}\r\nSubject: a\r\nTo: b\r\n\r\ntext"
		" {87+}\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\none\r\n"
		"--x\r\nSubject: y\r\n\r\ntwo\r\n--x--\r\n {1+}\r\nz\r\n",
		"a CREATE a/b\r\na SUBSCRIBE a\r\na ENABLE QRESYNC\r\n", "a SELECT INBOX\r\n" };

	for (unsigned i = 0; i < mode; i++)
		feed(run, bytes_of_string(steps[i]), SIZE_MAX);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct imap_server_options options = { .authority = authority_get(),
		.is_peer = is_peer,
		.may_create = may_create,
		.append_size_max = APPEND_SIZE_MAX,
		.allow_plaintext = true };
	struct imap_server *server;
	struct run run = { 0 };
	struct store *store;

	if (size < 1 || size > INPUT_SIZE_MAX)
		return 0;
	if (store_open_memory(&store) < 0 || mail_open(store, clock_system(), &options.mail) < 0)
		abort();
	server = imap_server_new(&options);
	run.protocol = imap_server_protocol(server);
	run.session = run.protocol->session_new(&run.connection, server);
	begin(&run, data[0] % 5);
	run.connection.slow = data[0] / 5 % 3;
	feed(&run, bytes_of(data + 1, size - 1), data[0] < 128 ? SIZE_MAX : data[0] % 32 + 1u);
	run.protocol->goodbye(run.session, NET_GOODBYE_STOP);
	run.protocol->session_free(run.session);
	check_output(buffer_bytes(&run.connection.output));
	buffer_deinit(&run.input);
	buffer_deinit(&run.connection.output);
	imap_server_free(&server);
	mail_close(&options.mail);
	store_close(&store);
	return 0;
}
