#include "net/net_private.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

void io_thread_post(struct io_thread *io, struct net_connection *connection)
{
	bool was_empty;

	pthread_mutex_lock(&io->mutex);
	if (connection->is_posted) {
		pthread_mutex_unlock(&io->mutex);
		return;
	}
	connection->is_posted = true;
	was_empty = io->inbox == NULL;
	connection->inbox_next = io->inbox;
	io->inbox = net_connection_ref(connection);
	if (was_empty)
		eventfd_write(io->inbox_fd, 1);
	pthread_mutex_unlock(&io->mutex);
}

void io_thread_nudge(struct io_thread *io)
{
	eventfd_write(io->inbox_fd, 1);
}

/* Takes all that is in the inbox. */
static struct net_connection *inbox_take(struct io_thread *io)
{
	struct net_connection *connection;

	pthread_mutex_lock(&io->mutex);
	connection = io->inbox;
	io->inbox = NULL;
	pthread_mutex_unlock(&io->mutex);
	return connection;
}

/* The one after `connection` in what was taken; from here on it can be posted again. */
static struct net_connection *inbox_next(struct io_thread *io, struct net_connection *connection)
{
	struct net_connection *next;

	pthread_mutex_lock(&io->mutex);
	next = connection->inbox_next;
	connection->inbox_next = NULL;
	connection->is_posted = false;
	pthread_mutex_unlock(&io->mutex);
	return next;
}

/* All connections look at the server's stop flags, each flag once. */
static void stop_see(struct io_thread *io)
{
	bool is_stopping = atomic_load(&io->server->is_stopping);
	bool is_forced = atomic_load(&io->server->is_forced);
	struct net_connection *connection, *next;

	if ((!is_stopping || io->is_stop_seen) && (!is_forced || io->is_force_seen))
		return;
	io->is_stop_seen = is_stopping;
	io->is_force_seen = is_forced;
	for (connection = io->connections; connection != NULL; connection = next) {
		next = connection->next;
		connection_advance(connection);
	}
}

static void inbox_handle(evutil_socket_t fd, short events, void *context)
{
	struct io_thread *io = context;
	struct net_connection *connection, *next;
	eventfd_t count;
	bool is_quitting;

	(void)events;
	eventfd_read(fd, &count);
	for (connection = inbox_take(io); connection != NULL; connection = next) {
		next = inbox_next(io, connection);
		if (connection->phase == PHASE_NEW)
			connection_open(connection);
		else if (connection->is_registered)
			connection_advance(connection);
		net_connection_unref(&connection);
	}
	stop_see(io);
	pthread_mutex_lock(&io->mutex);
	is_quitting = io->is_quitting;
	pthread_mutex_unlock(&io->mutex);
	if (is_quitting)
		event_base_loopbreak(io->base);
}

int io_thread_init(struct io_thread *io, struct net_server *server)
{
	io->server = server;
	pthread_mutex_init(&io->mutex, NULL);
	io->inbox_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	io->base = event_base_new();
	if (io->inbox_fd == -1 || io->base == NULL)
		return ERR_IO;
	io->inbox_event = event_new(io->base, io->inbox_fd, EV_READ | EV_PERSIST, inbox_handle, io);
	if (io->inbox_event == NULL || event_add(io->inbox_event, NULL) != 0)
		return ERR_IO;
	return 0;
}

static void *io_thread_run(void *context)
{
	struct io_thread *io = context;

	event_base_loop(io->base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

int io_thread_start(struct io_thread *io)
{
	if (pthread_create(&io->thread, NULL, io_thread_run, io) != 0)
		return ERR_IO;
	io->is_started = true;
	return 0;
}

void io_thread_stop(struct io_thread *io)
{
	if (!io->is_started)
		return;
	pthread_mutex_lock(&io->mutex);
	io->is_quitting = true;
	pthread_mutex_unlock(&io->mutex);
	io_thread_nudge(io);
	pthread_join(io->thread, NULL);
	io->is_started = false;
}

void io_thread_deinit(struct io_thread *io)
{
	struct net_connection *connection, *next;

	assert(io->connections == NULL);
	for (connection = inbox_take(io); connection != NULL; connection = next) {
		next = inbox_next(io, connection);
		net_connection_unref(&connection);
	}
	if (io->inbox_event != NULL)
		event_free(io->inbox_event);
	if (io->base != NULL)
		event_base_free(io->base);
	if (io->inbox_fd != -1)
		close(io->inbox_fd);
	pthread_mutex_destroy(&io->mutex);
}
