/*
 * What a connection does next, decided on its I/O thread: the phases of net_private.h.
 * connection_advance() may be called at any time and does what is possible now. Each step either
 * changes something (and the next step is looked for) or waits for an event that is armed: the
 * socket, the timer, a worker's return, or a post to the inbox.
 */
#include "net/net_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "net/net_tls_private.h"

#include <openssl/err.h>
#include <stdio.h>

static void read_arm(struct net_connection *connection, bool is_wanted)
{
	if (connection->is_read_armed == is_wanted)
		return;
	connection->is_read_armed = is_wanted;
	if (is_wanted)
		event_add(&connection->read_event, NULL);
	else
		event_del(&connection->read_event);
}

static void write_arm(struct net_connection *connection)
{
	bool is_wanted;

	pthread_mutex_lock(&connection->mutex);
	is_wanted = connection->is_blocked && !connection->is_closed;
	pthread_mutex_unlock(&connection->mutex);
	if (connection->is_write_armed == is_wanted)
		return;
	connection->is_write_armed = is_wanted;
	if (is_wanted)
		event_add(&connection->write_event, NULL);
	else
		event_del(&connection->write_event);
}

/* ---- Time ---- */

static uint64_t activity_ms(struct net_connection *connection)
{
	uint64_t at_ms;

	pthread_mutex_lock(&connection->mutex);
	at_ms = connection->activity_ms;
	pthread_mutex_unlock(&connection->mutex);
	return at_ms > connection->phase_since_ms ? at_ms : connection->phase_since_ms;
}

/* When the present phase ends if nothing happens; 0: never. */
static uint64_t due_find(struct net_connection *connection, enum net_goodbye *reason_r)
{
	uint64_t idle_ms = connection->idle_timeout_s * 1000ull;
	uint64_t due_ms = 0;

	*reason_r = NET_GOODBYE_IDLE;
	switch (connection->phase) {
	case PHASE_HANDSHAKE:
		return connection->phase_since_ms + connection->server->tls_handshake_s * 1000ull;
	case PHASE_DRAIN:
	case PHASE_TLS_DRAIN:
		return activity_ms(connection) + NET_DRAIN_MS;
	case PHASE_LINGER:
		return connection->phase_since_ms + NET_LINGER_MS;
	case PHASE_OPEN:
		break;
	default:
		return 0;
	}
	if (idle_ms > 0)
		due_ms = activity_ms(connection) + idle_ms;
	if (connection->deadline_ms > 0 && (due_ms == 0 || connection->deadline_ms < due_ms)) {
		due_ms = connection->deadline_ms;
		*reason_r = NET_GOODBYE_DEADLINE;
	}
	return due_ms;
}

/* A timer that fires early is set again; so activity need not touch it. */
static void timer_arm(struct net_connection *connection)
{
	uint64_t now_ms = clock_monotonic_ms();
	enum net_goodbye reason;
	uint64_t due_ms = due_find(connection, &reason);
	struct timeval delay;

	connection->is_timer_changed = false;
	if (connection->phase == PHASE_OPEN && connection->pause_ms != 0 &&
		(due_ms == 0 || connection->pause_ms < due_ms))
		due_ms = connection->pause_ms;
	if (due_ms == 0 && connection->timer_due_ms == 0)
		connection->timer_due_ms = UINT64_MAX;
	if (due_ms == 0 || (connection->timer_due_ms != 0 && connection->timer_due_ms <= due_ms))
		return;
	connection->timer_due_ms = due_ms;
	due_ms = due_ms > now_ms ? due_ms - now_ms : 0;
	delay.tv_sec = (time_t)(due_ms / 1000);
	delay.tv_usec = (suseconds_t)(due_ms % 1000 * 1000);
	event_add(&connection->timer_event, &delay);
}

/* ---- The end ---- */

static void phase_set(struct net_connection *connection, enum connection_phase phase)
{
	connection->phase = phase;
	connection->phase_since_ms = clock_monotonic_ms();
}

static void connection_destroy(struct net_connection *connection)
{
	struct net_server *server = connection->server;

	event_del(&connection->read_event);
	event_del(&connection->write_event);
	event_del(&connection->timer_event);
	connection_input_drop(connection);
	pthread_mutex_lock(&connection->mutex);
	connection->is_closed = true;
	net_stream_close(&connection->stream);
	pthread_mutex_unlock(&connection->mutex);
	pthread_mutex_lock(&connection->post_mutex);
	connection->is_deaf = true;
	pthread_mutex_unlock(&connection->post_mutex);
	connection->is_registered = false;
	if (connection->previous != NULL)
		connection->previous->next = connection->next;
	else
		connection->io->connections = connection->next;
	if (connection->next != NULL)
		connection->next->previous = connection->previous;
	net_crowd_leave(&server->crowd, connection->crowd_key);
	net_connection_unref(&connection);
	pthread_mutex_lock(&server->mutex);
	if (--server->connection_count == 0)
		pthread_cond_broadcast(&server->emptied);
	pthread_mutex_unlock(&server->mutex);
}

static void dispatch(struct net_connection *connection, enum connection_work work)
{
	connection->work = work;
	pthread_mutex_lock(&connection->mutex);
	connection->busy = true;
	connection->wants_return = !connection->is_read_armed || connection->timer_due_ms == 0;
	pthread_mutex_unlock(&connection->mutex);
	pool_submit(&connection->server->pool, connection);
}

/* Nothing more goes out. The session is freed by a worker; then the socket may linger. */
static void connection_end(struct net_connection *connection)
{
	read_arm(connection, false);
	pthread_mutex_lock(&connection->mutex);
	connection->is_closed = true;
	connection->is_blocked = false;
	net_stream_shutdown(&connection->stream);
	if (!connection->needs_linger || connection->is_broken || connection->is_end_of_input)
		net_stream_close(&connection->stream);
	pthread_mutex_unlock(&connection->mutex);
	write_arm(connection);
	phase_set(connection, PHASE_ENDED);
	if (connection->session != NULL)
		dispatch(connection, WORK_FREE);
}

static bool step_ended(struct net_connection *connection)
{
	bool is_socket_open;

	pthread_mutex_lock(&connection->mutex);
	is_socket_open = connection->stream.fd != -1;
	pthread_mutex_unlock(&connection->mutex);
	if (is_socket_open && !atomic_load(&connection->server->is_stopping)) {
		phase_set(connection, PHASE_LINGER);
		read_arm(connection, true);
		return false;
	}
	connection_destroy(connection);
	return false;
}

static void drain_begin(struct net_connection *connection)
{
	connection->needs_linger = true;
	phase_set(connection, PHASE_DRAIN);
}

static void goodbye(struct net_connection *connection, enum net_goodbye reason)
{
	/* In the middle of a command's output, no text would be understood. */
	if (connection->is_suspended) {
		connection->needs_linger = false;
		connection_end(connection);
		return;
	}
	if (connection->protocol->goodbye != NULL)
		connection->protocol->goodbye(connection->session, reason);
	drain_begin(connection);
}

/* ---- TLS ---- */

static bool handshake_begin(struct net_connection *connection)
{
	struct net_server *server = connection->server;
	SSL *ssl = NULL;

	pthread_mutex_lock(&server->mutex);
	if (server->tls_context != NULL)
		ssl = SSL_new(server->tls_context);
	pthread_mutex_unlock(&server->mutex);
	if (ssl == NULL) {
		connection_end(connection);
		return true;
	}
	SSL_set_accept_state(ssl);
	pthread_mutex_lock(&connection->mutex);
	net_stream_set_ssl(&connection->stream, ssl, server->bio_method);
	pthread_mutex_unlock(&connection->mutex);
	phase_set(connection, PHASE_HANDSHAKE);
	return true;
}

static void handshake_note(struct net_connection *connection)
{
	struct error error;

	net_tls_error(&error, ERR_REFUSED, "handshake");
	log_event(LOG_LEVEL_INFO, "tls-failed", "protocol", connection->protocol->name, "peer",
		connection->peer, "session", connection->id, "error", error.text, NULL);
	atomic_fetch_add(&connection->server->tls_failed_count, 1);
}

static void session_begin(struct net_connection *connection)
{
	phase_set(connection, PHASE_OPEN);
	if (connection->session != NULL)
		return;
	connection->session = connection->protocol->session_new(connection, connection->context);
	assert(connection->session != NULL);
}

static bool step_handshake(struct net_connection *connection)
{
	SSL *ssl = connection->stream.ssl;
	enum net_io io;

	pthread_mutex_lock(&connection->mutex);
	io = net_stream_handshake(&connection->stream);
	connection->is_blocked = io == NET_IO_WANT_WRITE;
	pthread_mutex_unlock(&connection->mutex);
	read_arm(connection, io == NET_IO_WANT_READ);
	if (io == NET_IO_FAILED)
		handshake_note(connection);
	if (io == NET_IO_FAILED || io == NET_IO_END ||
		atomic_load(&connection->server->is_stopping)) {
		connection_end(connection);
		return true;
	}
	if (io != NET_IO_OK)
		return false;
	snprintf(connection->tls_text, sizeof(connection->tls_text), "%s %s", SSL_get_version(ssl),
		SSL_get_cipher_name(ssl));
	connection->certificate = net_certificate_of(ssl);
	atomic_store(&connection->is_tls, true);
	session_begin(connection);
	return true;
}

/* ---- Input ---- */

/*
 * Makes room for `size` bytes, or for all that is expected; but a client who only announces much
 * gets no more than a few times what he has sent.
 */
static void input_reserve(struct net_connection *connection, size_t size)
{
	size_t held = connection->input.len;
	size_t more = connection->input_wanted > held ? connection->input_wanted - held : 0;

	if (more > held * 3)
		more = held * 3;
	buffer_reserve(&connection->input, more > size ? more : size);
}

/* Reads once. Whether something came of it that the next step must look at. */
static bool connection_read(struct net_connection *connection)
{
	size_t held = connection->input.len - connection->input_start;
	size_t room = held < NET_READ_SIZE_MIN ? NET_READ_SIZE_MIN : NET_READ_SIZE_MAX;
	struct buffer *input = &connection->input;
	enum net_io io;
	size_t n;

	if (connection->input_start > 0) {
		buffer_consume(input, connection->input_start);
		connection->input_start = 0;
	}
	assert(held < connection->protocol->input_max);
	if (room > connection->protocol->input_max - held)
		room = connection->protocol->input_max - held;
	input_reserve(connection, room);
	pthread_mutex_lock(&connection->mutex);
	io = net_stream_read(&connection->stream, input->data + held, room, &n);
	input->len = held + n;
	connection->is_read_full = n == room;
	if (io == NET_IO_OK)
		connection->activity_ms = clock_monotonic_ms();
	if (io == NET_IO_FAILED)
		connection->is_broken = true;
	pthread_mutex_unlock(&connection->mutex);
	if (io == NET_IO_END)
		connection->is_end_of_input = true;
	if (input->len == 0)
		buffer_deinit(input);
	connection->is_too_much = !connection_count_input(connection);
	atomic_fetch_add(&connection->server->input_size, n);
	return io != NET_IO_WANT_READ && io != NET_IO_WANT_WRITE;
}

static bool linger_read(struct net_connection *connection)
{
	unsigned char dropped[4096];
	enum net_io io;
	size_t n;

	pthread_mutex_lock(&connection->mutex);
	io = net_stream_read(&connection->stream, dropped, sizeof(dropped), &n);
	pthread_mutex_unlock(&connection->mutex);
	connection->linger_size += n;
	if ((io == NET_IO_WANT_READ || io == NET_IO_WANT_WRITE) &&
		!atomic_load(&connection->server->is_stopping))
		return false;
	if (io == NET_IO_OK && connection->linger_size < NET_LINGER_SIZE_MAX)
		return true;
	connection_destroy(connection);
	return false;
}

/* ---- Steps ---- */

struct look { /* the shared fields, seen at one moment */
	size_t pending;
	bool is_broken, kick_wanted;
};

static struct look connection_look(struct net_connection *connection)
{
	struct look look;

	pthread_mutex_lock(&connection->mutex);
	if (!connection->is_blocked)
		connection_flush(connection);
	look.pending = connection_pending(connection);
	look.is_broken = connection->is_broken;
	look.kick_wanted = connection->kick_wanted;
	pthread_mutex_unlock(&connection->mutex);
	return look;
}

static bool is_short(struct net_connection *connection)
{
	struct bytes unit = connection_input(connection);

	unit.len = connection->unit_len;
	return connection->protocol->is_short != NULL &&
	       connection->protocol->is_short(connection->session, unit);
}

/* Does what is short right here, and frames what follows. BAD: it is to be the end; SKIP: to be
 * looked at anew. */
static enum net_frame frame_next(struct net_connection *connection)
{
	enum net_frame frame = connection_frame(connection);

	for (unsigned count = 0;
		count < NET_ROUND_COUNT_MAX && frame == NET_FRAME_READY && is_short(connection);
		count++) {
		connection->work = WORK_COMMAND;
		if (connection_do(connection) != NET_DONE)
			return NET_FRAME_BAD;
		if (connection->pause_ms != 0)
			return NET_FRAME_SKIP;
		frame = connection_frame(connection);
	}
	return frame;
}

static bool step_input(struct net_connection *connection)
{
	bool has_buffered;

	switch (frame_next(connection)) {
	case NET_FRAME_READY:
		dispatch(connection, WORK_COMMAND);
		return false;
	case NET_FRAME_MORE:
		break;
	case NET_FRAME_SKIP:
		return true;
	default:
		drain_begin(connection);
		return true;
	}
	if (connection->is_too_much) {
		goodbye(connection, NET_GOODBYE_MEMORY);
		return true;
	}
	if (connection->is_end_of_input) {
		drain_begin(connection);
		return true;
	}
	pthread_mutex_lock(&connection->mutex);
	if (!connection->is_blocked)
		connection_flush(connection); /* a continuation */
	has_buffered = net_stream_has_buffered(&connection->stream);
	pthread_mutex_unlock(&connection->mutex);
	read_arm(connection, true);
	return (has_buffered || connection->is_read_full) && connection_read(connection);
}

/* The timer wakes it: see timer_arm(). */
static bool is_paused(struct net_connection *connection)
{
	if (connection->pause_ms == 0)
		return false;
	if (connection->pause_ms > clock_monotonic_ms())
		return true;
	connection->pause_ms = 0;
	return false;
}

static bool step_open(struct net_connection *connection)
{
	struct look look = connection_look(connection);

	if (look.is_broken) {
		connection_end(connection);
		return true;
	}
	if (connection->is_suspended && !look.kick_wanted) {
		if (look.pending <= NET_OUTPUT_LOW_WATER && !is_paused(connection))
			dispatch(connection, WORK_RESUME);
		return false;
	}
	if (look.kick_wanted || atomic_load(&connection->server->is_stopping)) {
		goodbye(connection, look.kick_wanted ? NET_GOODBYE_KICKED : NET_GOODBYE_STOP);
		return true;
	}
	if (look.pending >= NET_OUTPUT_HIGH_WATER || is_paused(connection))
		return false;
	if (atomic_exchange(&connection->wake_wanted, false) &&
		connection->protocol->wake != NULL) {
		dispatch(connection, WORK_WAKE);
		return false;
	}
	return step_input(connection);
}

static bool step_drain(struct net_connection *connection)
{
	struct look look = connection_look(connection);

	if (look.is_broken || (look.pending == 0 && connection->phase == PHASE_DRAIN)) {
		connection_end(connection);
		return true;
	}
	if (look.pending > 0)
		return false;
	/* What came in plain text before the handshake must not pass for what the client said in
	 * it. */
	connection_input_drop(connection);
	return handshake_begin(connection);
}

static bool connection_step(struct net_connection *connection)
{
	switch (connection->phase) {
	case PHASE_HANDSHAKE:
		return step_handshake(connection);
	case PHASE_OPEN:
		return step_open(connection);
	case PHASE_DRAIN:
	case PHASE_TLS_DRAIN:
		return step_drain(connection);
	case PHASE_ENDED:
		return step_ended(connection);
	case PHASE_LINGER:
		return linger_read(connection);
	default:
		return false;
	}
}

/*
 * Takes a worker's answer, which must come before anything else is done: after NET_START_TLS, for
 * one, what can be read next is no longer plain text. False while the connection belongs to a
 * worker, who is then told to report back if `wants_return`.
 */
static bool connection_claim(struct net_connection *connection, bool wants_return)
{
	bool is_busy, is_returned;
	enum net_result result;

	pthread_mutex_lock(&connection->mutex);
	is_busy = connection->busy;
	is_returned = connection->is_returned;
	result = connection->result;
	if (!is_busy)
		connection->is_returned = false;
	else if (wants_return)
		connection->wants_return = true;
	pthread_mutex_unlock(&connection->mutex);
	if (is_busy)
		return false;
	if (is_returned && connection->phase == PHASE_OPEN) {
		if (result == NET_CLOSE)
			drain_begin(connection);
		if (result == NET_START_TLS)
			phase_set(connection, PHASE_TLS_DRAIN);
	}
	return true;
}

static bool is_busy_now(struct net_connection *connection)
{
	bool is_busy;

	pthread_mutex_lock(&connection->mutex);
	is_busy = connection->busy;
	pthread_mutex_unlock(&connection->mutex);
	return is_busy;
}

static bool connection_step_or_force(struct net_connection *connection)
{
	if (atomic_load(&connection->server->is_forced) && connection->phase != PHASE_ENDED) {
		connection->needs_linger = false;
		connection_end(connection);
		return true;
	}
	return connection_step(connection);
}

void connection_advance(struct net_connection *connection)
{
	struct net_connection *held = net_connection_ref(connection);

	while (connection->is_registered && connection_claim(connection, false))
		if (!connection_step_or_force(connection))
			break;
	if (connection->is_registered) {
		write_arm(connection);
		if (!is_busy_now(connection))
			timer_arm(connection);
	}
	net_connection_unref(&held);
}

/* ---- Events ---- */

static void read_handle(evutil_socket_t fd, short events, void *context)
{
	struct net_connection *connection = context;

	(void)fd;
	(void)events;
	if (!connection_claim(connection, true)) {
		read_arm(connection, false);
		return;
	}
	if (connection->phase == PHASE_OPEN) {
		if (connection->is_suspended || connection->pause_ms != 0 ||
			net_connection_is_full(connection))
			read_arm(connection, false);
		else if (connection_input(connection).len < connection->protocol->input_max &&
			 !connection_read(connection))
			return;
	} else if (connection->phase == PHASE_DRAIN || connection->phase == PHASE_TLS_DRAIN) {
		read_arm(connection, false);
	}
	connection_advance(connection);
}

static void write_handle(evutil_socket_t fd, short events, void *context)
{
	struct net_connection *connection = context;

	(void)fd;
	(void)events;
	pthread_mutex_lock(&connection->mutex);
	connection->is_blocked = false;
	if (connection->phase != PHASE_HANDSHAKE)
		connection_flush(connection);
	pthread_mutex_unlock(&connection->mutex);
	connection_advance(connection);
}

static void timer_handle(evutil_socket_t fd, short events, void *context)
{
	struct net_connection *connection = context;
	enum net_goodbye reason;
	uint64_t due_ms;

	(void)fd;
	(void)events;
	connection->timer_due_ms = 0;
	if (!connection_claim(connection, true))
		return;
	due_ms = due_find(connection, &reason);
	if (due_ms != 0 && due_ms <= clock_monotonic_ms()) {
		if (connection->phase == PHASE_OPEN) {
			goodbye(connection, reason);
		} else if (connection->phase == PHASE_LINGER) {
			connection_destroy(connection);
			return;
		} else {
			connection->needs_linger = false;
			connection_end(connection);
		}
	}
	connection_advance(connection);
}

void connection_open(struct net_connection *connection)
{
	struct io_thread *io = connection->io;
	int fd = connection->stream.fd;

	event_assign(&connection->read_event, io->base, fd, EV_READ | EV_PERSIST, read_handle,
		connection);
	event_assign(&connection->write_event, io->base, fd, EV_WRITE | EV_PERSIST, write_handle,
		connection);
	event_assign(&connection->timer_event, io->base, -1, 0, timer_handle, connection);
	connection->next = io->connections;
	if (connection->next != NULL)
		connection->next->previous = connection;
	io->connections = net_connection_ref(connection);
	connection->is_registered = true;
	if (connection->tls_mode == NET_TLS_IMPLICIT)
		handshake_begin(connection);
	else
		session_begin(connection);
	connection_advance(connection);
}
