/*
 * An LMTP session over a connection that is not there. The input is what the client sends; each
 * input is given twice, at once and in pieces, and both must have the same answers and deliveries.
 * What frame() and command() see lies in a block of its exact size.
 */
#include "lmtp/lmtp_server.h"

#include <stdio.h>
#include <stdlib.h>

#define INPUT_SIZE_MAX 40000
#define MESSAGE_SIZE_MAX 2000

struct net_connection {
	struct buffer output;
	bool is_tls;
};

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

/* ---- What the session asks of its connection ---- */

void net_connection_write(struct net_connection *connection, struct bytes bytes)
{
	buffer_append_bytes(&connection->output, bytes);
}

void net_connection_set_idle_timeout(struct net_connection *connection, unsigned seconds)
{
	(void)connection;
	(void)seconds;
}

const char *net_connection_peer_address(const struct net_connection *connection)
{
	(void)connection;
	return "192.0.2.1";
}

const char *net_connection_id(const struct net_connection *connection)
{
	(void)connection;
	return "fuzz";
}

bool net_connection_is_tls(const struct net_connection *connection)
{
	return connection->is_tls;
}

bool net_connection_can_start_tls(const struct net_connection *connection)
{
	return !connection->is_tls;
}

/* ---- The backend: notes what it was given, at the end of the output ---- */

static int recipient_check(void *context, struct bytes account, uint64_t size, uint32_t *handle_r)
{
	(void)size;
	(void)context;
	*handle_r = (uint32_t)account.len;
	return account.len % 7 == 6 ? ERR_NOT_FOUND : 0;
}

static int deliver(void *context, struct bytes message, const struct lmtp_recipient *recipients,
	size_t count, int *results_r)
{
	struct net_connection *connection = *(struct net_connection **)context;
	struct bytes rest = message;

	if (count == 0 || bytes_find(message, '\0') != message.len)
		abort();
	for (size_t i = 0; i < count; i++) {
		if (recipients[i].handle != recipients[i].account.len)
			abort();
		results_r[i] = recipients[i].account.len % 5 == 4 ? ERR_FULL : 0;
	}
	for (int line = 0; line < 4; line++) { /* our headers: the last one holds the time */
		size_t len = bytes_find(rest, '\n');

		if (len == rest.len)
			abort();
		if (line < 3)
			buffer_append_bytes(&connection->output, bytes_of(rest.ptr, len));
		bytes_skip(&rest, len + 1);
	}
	if (rest.len > MESSAGE_SIZE_MAX)
		abort();
	buffer_append_bytes(&connection->output, rest);
	return 0;
}

/* ---- The run ---- */

struct run {
	const struct net_protocol *protocol;
	void *session;
	struct net_connection *connection;
	struct buffer input;
};

/* One look at the input, as the server does it. False: no more can be done with what is there. */
static bool run_step(struct run *run, bool *is_over)
{
	size_t len = run->input.len;
	unsigned char *exact = malloc(len > 0 ? len : 1);
	struct net_unit unit = { 0 };
	enum net_result result = NET_DONE;
	enum net_frame frame;

	if (len > 0)
		memcpy(exact, run->input.data, len);
	frame = len == 0 ? NET_FRAME_MORE
			 : run->protocol->frame(run->session, bytes_of(exact, len), &unit);
	if (frame != NET_FRAME_MORE && (unit.len == 0 || unit.len > len))
		abort();
	if (frame == NET_FRAME_MORE && len >= run->protocol->input_max)
		abort();
	if (frame == NET_FRAME_READY)
		result = run->protocol->command(run->session, bytes_of(exact, unit.len));
	free(exact);
	if (frame == NET_FRAME_READY || frame == NET_FRAME_SKIP)
		buffer_consume(&run->input, unit.len);
	if (result == NET_START_TLS)
		run->connection->is_tls = true;
	*is_over = result == NET_CLOSE || frame == NET_FRAME_BAD;
	return frame == NET_FRAME_READY || frame == NET_FRAME_SKIP;
}

static void run_all(const struct lmtp_server *server, struct net_connection *connection,
	struct bytes data, size_t piece_size)
{
	struct run run = { lmtp_server_protocol(server), NULL, connection, { 0 } };
	bool is_over = false;

	run.session = run.protocol->session_new(connection, (void *)server);
	while (data.len > 0 && !is_over) {
		size_t n = data.len < piece_size ? data.len : piece_size;

		if (n > run.protocol->input_max - run.input.len)
			n = run.protocol->input_max - run.input.len;
		buffer_append_bytes(&run.input, bytes_take(&data, n));
		while (!is_over && run_step(&run, &is_over))
			;
	}
	run.protocol->goodbye(run.session, NET_GOODBYE_STOP);
	run.protocol->session_free(run.session);
	buffer_deinit(&run.input);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct net_connection whole = { 0 }, pieces = { 0 }, *present = &whole;
	struct lmtp_options options = { .backend = { .context = &present,
						.recipient_check = recipient_check,
						.deliver = deliver },
		.host_name = "mx.example",
		.message_size_max = MESSAGE_SIZE_MAX };
	struct lmtp_server *server;
	size_t piece_size;

	if (size < 1 || size > INPUT_SIZE_MAX)
		return 0;
	piece_size = data[0] % 16 + 1u;
	if (size > 4000)
		piece_size *= 50;
	server = lmtp_server_new(&options);
	run_all(server, &whole, bytes_of(data + 1, size - 1), SIZE_MAX);
	present = &pieces;
	run_all(server, &pieces, bytes_of(data + 1, size - 1), piece_size);
	if (!bytes_equal(buffer_bytes(&whole.output), buffer_bytes(&pieces.output)))
		abort();
	lmtp_server_free(&server);
	buffer_deinit(&whole.output);
	buffer_deinit(&pieces.output);
	return 0;
}
