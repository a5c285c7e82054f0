#include "net/net_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/net_tls_private.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#define KEEPALIVE_IDLE_S                                                                           \
	600 /* so that a client that vanished is noticed, without waking phones often */
#define KEEPALIVE_INTERVAL_S 60
#define KEEPALIVE_COUNT 5

static void socket_tune(int fd)
{
	int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S,
	    count = KEEPALIVE_COUNT;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

static void peer_find(struct net_connection *connection, const struct listener *listener, int fd)
{
	struct sockaddr_storage address = { 0 };
	socklen_t len = sizeof(address);
	struct ucred credentials;
	socklen_t credentials_len = sizeof(credentials);

	if (listener->path != NULL) {
		snprintf(connection->peer, sizeof(connection->peer), "unix:%s", listener->path);
		snprintf(connection->peer_address, sizeof(connection->peer_address), "unix");
		connection->is_loopback = true;
		connection->has_uid = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials,
					      &credentials_len) == 0;
		connection->uid = connection->has_uid ? credentials.uid : 0;
		return;
	}
	socket_tune(fd);
	/* A client that has gone already has no address: it is noticed on the first read. */
	if (getpeername(fd, (struct sockaddr *)&address, &len) != 0)
		address.ss_family = AF_INET;
	net_address_text((struct sockaddr *)&address, connection->peer);
	net_address_host((struct sockaddr *)&address, connection->peer_address);
	connection->is_loopback = net_address_is_loopback((struct sockaddr *)&address);
	connection->penalty_key =
		net_penalty_key(&connection->server->penalties, (struct sockaddr *)&address);
	net_connection_pause(connection, net_penalty_get(&connection->server->penalties,
						 connection->penalty_key, clock_monotonic_ms()));
}

struct net_connection *connection_new(
	struct net_server *server, const struct listener *listener, int fd)
{
	struct net_connection *connection = mem_zalloc(sizeof(*connection));

	atomic_init(&connection->ref_count, 1);
	connection->server = server;
	connection->protocol = listener->protocol;
	connection->context = listener->context;
	connection->tls_mode = listener->tls;
	connection->idle_timeout_s = server->idle_timeout_s;
	connection->phase = PHASE_NEW;
	connection->stream.fd = fd;
	connection->activity_ms = clock_monotonic_ms();
	pthread_mutex_init(&connection->mutex, NULL);
	pthread_mutex_init(&connection->post_mutex, NULL);
	peer_find(connection, listener, fd);
	return connection;
}

struct net_connection *net_connection_ref(struct net_connection *connection)
{
	atomic_fetch_add(&connection->ref_count, 1);
	return connection;
}

void net_connection_unref(struct net_connection **connection)
{
	struct net_connection *last = *connection;

	*connection = NULL;
	if (last == NULL || atomic_fetch_sub(&last->ref_count, 1) != 1)
		return;
	net_stream_close(&last->stream);
	net_certificate_free(&last->certificate);
	buffer_deinit(&last->input);
	buffer_deinit(&last->output);
	pthread_mutex_destroy(&last->mutex);
	pthread_mutex_destroy(&last->post_mutex);
	free(last);
}

void connection_post(struct net_connection *connection)
{
	pthread_mutex_lock(&connection->post_mutex);
	if (!connection->is_deaf)
		io_thread_post(connection->io, connection);
	pthread_mutex_unlock(&connection->post_mutex);
}

size_t connection_pending(const struct net_connection *connection)
{
	return connection->output.len - connection->output_start +
	       net_stream_unsent(&connection->stream);
}

static void output_drop(struct net_connection *connection)
{
	connection->output_start = 0;
	buffer_clear(&connection->output);
	buffer_deinit(&connection->output);
}

/* Sends as much of *rest as goes now, and takes it off. */
static void send_now(struct net_connection *connection, struct bytes *rest)
{
	size_t size = rest->len;

	while ((rest->len > 0 || net_stream_unsent(&connection->stream) > 0) &&
		!connection->is_broken) {
		enum net_io io;
		size_t n;

		io = net_stream_write(&connection->stream, *rest, &n);
		if (io == NET_IO_WANT_WRITE || io == NET_IO_WANT_READ) {
			connection->is_blocked = true;
			break;
		}
		if (io != NET_IO_OK)
			connection->is_broken = true;
		bytes_skip(rest, n);
	}
	if (rest->len < size) {
		connection->activity_ms = clock_monotonic_ms();
		atomic_fetch_add(&connection->server->output_size, size - rest->len);
	}
}

void connection_flush(struct net_connection *connection)
{
	struct bytes rest = buffer_bytes(&connection->output);

	if (connection->is_held)
		return;
	if (connection->output_start > 0)
		bytes_skip(&rest, connection->output_start);
	send_now(connection, &rest);
	connection->output_start = connection->output.len - rest.len;
	if (connection_pending(connection) == 0 || connection->is_broken)
		output_drop(connection);
	else if (connection->output_start * 2 > connection->output.len) {
		buffer_consume(&connection->output, connection->output_start);
		connection->output_start = 0;
	}
}

void net_connection_write(struct net_connection *connection, struct bytes bytes)
{
	pthread_mutex_lock(&connection->mutex);
	if (!connection->is_broken && !connection->is_closed) {
		bool may_send = !connection->is_blocked && !connection->is_held;

		/* Much goes out from where it lies; only what the socket does not take is kept. */
		if (may_send && bytes.len >= NET_FLUSH_SIZE && connection_pending(connection) == 0)
			send_now(connection, &bytes);
		if (bytes.len > 0 && !connection->is_broken)
			buffer_append_bytes(&connection->output, bytes);
		if (may_send && connection_pending(connection) >= NET_FLUSH_SIZE &&
			!connection->is_blocked)
			connection_flush(connection);
		if (may_send && connection->is_blocked)
			connection_post(connection);
	}
	pthread_mutex_unlock(&connection->mutex);
}

bool net_connection_has_more(const struct net_connection *connection)
{
	return connection_input(connection).len > connection->unit_len;
}

void net_connection_hold(struct net_connection *connection)
{
	pthread_mutex_lock(&connection->mutex);
	if (!connection->is_held)
		connection->held_size = connection->output.len;
	connection->is_held = true;
	pthread_mutex_unlock(&connection->mutex);
}

void net_connection_release(struct net_connection *connection, bool keeps)
{
	pthread_mutex_lock(&connection->mutex);
	if (connection->is_held && !keeps)
		buffer_truncate(&connection->output, connection->held_size);
	connection->is_held = false;
	pthread_mutex_unlock(&connection->mutex);
}

void net_connection_write_string(struct net_connection *connection, const char *text)
{
	net_connection_write(connection, bytes_of_string(text));
}

void net_connection_printf(struct net_connection *connection, const char *format, ...)
{
	struct buffer text = { 0 };
	va_list args;

	va_start(args, format);
	buffer_vprintf(&text, format, args);
	va_end(args);
	net_connection_write(connection, buffer_bytes(&text));
	buffer_deinit(&text);
}

size_t net_connection_output_pending(struct net_connection *connection)
{
	size_t size;

	pthread_mutex_lock(&connection->mutex);
	size = connection_pending(connection);
	pthread_mutex_unlock(&connection->mutex);
	return size;
}

bool net_connection_is_full(struct net_connection *connection)
{
	return net_connection_output_pending(connection) >= NET_OUTPUT_HIGH_WATER;
}

bool net_connection_is_gone(struct net_connection *connection)
{
	bool is_gone;

	pthread_mutex_lock(&connection->mutex);
	is_gone = connection->is_broken || connection->is_closed || connection->kick_wanted;
	pthread_mutex_unlock(&connection->mutex);
	return is_gone;
}

void net_connection_set_idle_timeout(struct net_connection *connection, unsigned seconds)
{
	connection->idle_timeout_s = seconds;
	connection->is_timer_changed = true;
}

void net_connection_set_deadline(struct net_connection *connection, unsigned seconds)
{
	connection->deadline_ms = seconds == 0 ? 0 : clock_monotonic_ms() + seconds * 1000ull;
	connection->is_timer_changed = true;
}

void net_connection_pause(struct net_connection *connection, unsigned milliseconds)
{
	uint64_t until_ms = clock_monotonic_ms() + milliseconds;

	if (milliseconds > 0 && until_ms > connection->pause_ms)
		connection->pause_ms = until_ms;
}

void net_connection_penalize(struct net_connection *connection)
{
	net_connection_pause(connection, net_penalty_add(&connection->server->penalties,
						 connection->penalty_key, clock_monotonic_ms()));
}

void net_connection_forgive(struct net_connection *connection)
{
	net_penalty_forgive(&connection->server->penalties, connection->penalty_key);
}

const char *net_connection_peer(const struct net_connection *connection)
{
	return connection->peer;
}

const char *net_connection_peer_address(const struct net_connection *connection)
{
	return connection->peer_address;
}

const char *net_connection_id(const struct net_connection *connection)
{
	return connection->id;
}

bool net_connection_is_loopback(const struct net_connection *connection)
{
	return connection->is_loopback;
}

bool net_connection_is_tls(const struct net_connection *connection)
{
	return atomic_load(&connection->is_tls);
}

bool net_connection_can_start_tls(const struct net_connection *connection)
{
	return connection->tls_mode == NET_TLS_START && !atomic_load(&connection->is_tls) &&
	       connection->stream.deflate == NULL && connection->server->certificate_path != NULL;
}

bool net_connection_is_compressed(const struct net_connection *connection)
{
	const struct net_stream *stream = &connection->stream;

	return stream->deflate != NULL ||
	       (stream->ssl != NULL && SSL_get_current_compression(stream->ssl) != NULL);
}

int net_connection_start_compression(struct net_connection *connection)
{
	struct bytes early = connection_input(connection);
	int rc;

	bytes_skip(&early, connection->unit_len);
	pthread_mutex_lock(&connection->mutex);
	rc = net_stream_compress(&connection->stream, early, connection_pending(connection));
	pthread_mutex_unlock(&connection->mutex);
	if (rc == 0)
		buffer_truncate(&connection->input, connection->input.len - early.len);
	return rc;
}

const char *net_connection_tls_text(const struct net_connection *connection)
{
	return connection->tls_text;
}

const struct net_certificate *net_connection_certificate(const struct net_connection *connection)
{
	return connection->certificate;
}

int net_connection_binding(struct net_connection *connection, const char *type, struct buffer *out)
{
	int rc = ERR_NOT_FOUND;

	pthread_mutex_lock(&connection->mutex);
	if (atomic_load(&connection->is_tls) && connection->stream.ssl != NULL)
		rc = net_tls_binding(connection->stream.ssl, type, out);
	pthread_mutex_unlock(&connection->mutex);
	return rc;
}

int net_connection_peer_uid(const struct net_connection *connection, uid_t *uid_r)
{
	if (!connection->has_uid)
		return ERR_NOT_FOUND;
	*uid_r = connection->uid;
	return 0;
}

void net_connection_wake(struct net_connection *connection)
{
	/* If a worker has the connection, it looks at the flag after it has given it back. */
	if (!atomic_exchange(&connection->wake_wanted, true))
		connection_post(connection);
}

void net_connection_close(struct net_connection *connection)
{
	pthread_mutex_lock(&connection->mutex);
	connection->kick_wanted = true;
	pthread_mutex_unlock(&connection->mutex);
	connection_post(connection);
}

struct bytes connection_input(const struct net_connection *connection)
{
	struct bytes input = buffer_bytes(&connection->input);

	bytes_skip(&input, connection->input_start);
	return input;
}

void connection_consume(struct net_connection *connection, size_t len)
{
	connection->input_start += len;
	assert(connection->input_start <= connection->input.len);
	if (connection->input_start == connection->input.len)
		connection_input_drop(connection); /* most are idle most of the time */
}

void connection_input_drop(struct net_connection *connection)
{
	connection->input_start = 0;
	buffer_deinit(&connection->input);
	connection_count_input(connection);
}

bool connection_count_input(struct net_connection *connection)
{
	atomic_uint_fast64_t *all = &connection->server->input_held;
	size_t held = connection->input.len > NET_SMALL_SIZE ? connection->input.len : 0;

	if (held != connection->input_held)
		atomic_fetch_add(all, (uint64_t)held - connection->input_held);
	connection->input_held = held;
	return held == 0 || atomic_load(all) <= connection->server->input_size_max;
}

enum net_frame connection_frame(struct net_connection *connection)
{
	for (;;) {
		struct bytes input = connection_input(connection);
		struct net_unit unit = { 0 };
		enum net_frame frame;

		if (input.len == 0)
			return NET_FRAME_MORE;
		frame = connection->protocol->frame(connection->session, input, &unit);
		switch (frame) {
		case NET_FRAME_READY:
			assert(unit.len > 0 && unit.len <= input.len);
			connection->unit_len = unit.len;
			return frame;
		case NET_FRAME_SKIP:
			assert(unit.len > 0 && unit.len <= input.len);
			connection_consume(connection, unit.len);
			break;
		case NET_FRAME_BAD:
			net_connection_write(connection, unit.reply);
			return frame;
		case NET_FRAME_MORE:
			net_connection_write(connection, unit.reply);
			if (input.len >= connection->protocol->input_max)
				return NET_FRAME_BAD;
			connection->input_wanted = unit.wanted;
			return frame;
		}
	}
}
