#include "net/net_private.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

/* What to do next without going through the I/O thread; false: nothing that a worker can do. */
static bool work_find(struct net_connection *connection)
{
	bool is_idle;

	pthread_mutex_lock(&connection->mutex);
	is_idle = !connection->is_broken && !connection->kick_wanted &&
		  connection_pending(connection) < NET_OUTPUT_HIGH_WATER &&
		  !atomic_load(&connection->server->is_stopping);
	pthread_mutex_unlock(&connection->mutex);
	if (!is_idle || connection->pause_ms != 0)
		return false;
	if (atomic_exchange(&connection->wake_wanted, false) &&
		connection->protocol->wake != NULL) {
		connection->work = WORK_WAKE;
		return true;
	}
	if (connection_input(connection).len == 0)
		return false;
	connection->framed = connection_frame(connection);
	connection->work = WORK_COMMAND;
	return connection->framed == NET_FRAME_READY;
}

static enum net_result work_do(struct net_connection *connection)
{
	const struct net_protocol *protocol = connection->protocol;
	enum net_result result;
	struct bytes unit;

	switch (connection->work) {
	case WORK_COMMAND:
		atomic_fetch_add(&connection->server->command_count, 1);
		unit = connection_input(connection);
		unit.len = connection->unit_len;
		result = protocol->command(connection->session, unit);
		break;
	case WORK_RESUME:
		result = protocol->resume(connection->session);
		break;
	case WORK_WAKE:
		result = protocol->wake(connection->session);
		break;
	default:
		protocol->session_free(connection->session);
		connection->session = NULL;
		return NET_CLOSE;
	}
	assert(result != NET_AGAIN || protocol->resume != NULL);
	assert(result != NET_START_TLS || net_connection_can_start_tls(connection));
	connection->is_suspended = result == NET_AGAIN;
	if (result != NET_AGAIN && connection->unit_len > 0) {
		connection_consume(connection, connection->unit_len);
		connection->unit_len = 0;
	}
	return result;
}

/*
 * Gives the connection back. When nothing is left but to wait for the client, whom the armed read
 * event watches, the I/O thread need not be woken for that: the common case of a short command.
 */
static void connection_return(struct net_connection *connection, enum net_result result)
{
	bool is_quiet;

	if (connection->framed == NET_FRAME_BAD)
		result = NET_CLOSE;
	pthread_mutex_lock(&connection->mutex);
	if (!connection->is_blocked)
		connection_flush(connection);
	connection->activity_ms = clock_monotonic_ms();
	is_quiet = result == NET_DONE && !connection->wants_return && !connection->is_blocked &&
		   !connection->is_broken && !connection->kick_wanted &&
		   !connection->is_timer_changed && connection->pause_ms == 0 &&
		   connection->framed == NET_FRAME_MORE && connection->work != WORK_FREE &&
		   !net_stream_has_buffered(&connection->stream) &&
		   !atomic_load(&connection->server->is_stopping);
	connection->busy = false;
	if (!is_quiet) {
		connection->result = result;
		connection->is_returned = true;
		io_thread_post(connection->io, connection);
	}
	pthread_mutex_unlock(&connection->mutex);
	/* The I/O thread may have been told of a wake while `busy` was still set, and passed it
	 * over. */
	if (is_quiet && atomic_load(&connection->wake_wanted))
		connection_post(connection);
}

static void connection_work(struct net_connection *connection)
{
	unsigned round_count = 0;
	enum net_result result;

	do {
		result = work_do(connection);
		/* Unknown until work_find() has looked: what remains has not been framed. */
		connection->framed =
			connection_input(connection).len == 0 ? NET_FRAME_MORE : NET_FRAME_SKIP;
	} while (
		result == NET_DONE && ++round_count < NET_ROUND_COUNT_MAX && work_find(connection));
	connection_return(connection, result);
}

static void *worker_run(void *context)
{
	struct pool *pool = context;

	pthread_mutex_lock(&pool->mutex);
	for (;;) {
		struct net_connection *connection = pool->first;

		if (connection == NULL && pool->is_quitting)
			break;
		if (connection == NULL) {
			pthread_cond_wait(&pool->filled, &pool->mutex);
			continue;
		}
		pool->first = connection->queue_next;
		if (pool->first == NULL)
			pool->last = NULL;
		pool->queue_length--;
		pool->busy_count++;
		pthread_mutex_unlock(&pool->mutex);
		connection_work(connection);
		net_connection_unref(&connection);
		pthread_mutex_lock(&pool->mutex);
		pool->busy_count--;
	}
	pthread_mutex_unlock(&pool->mutex);
	return NULL;
}

void pool_init(struct pool *pool)
{
	pthread_mutex_init(&pool->mutex, NULL);
	pthread_cond_init(&pool->filled, NULL);
}

int pool_start(struct pool *pool, unsigned thread_count)
{
	pool->threads = mem_zalloc_array(thread_count, sizeof(*pool->threads));
	for (; pool->thread_count < thread_count; pool->thread_count++)
		if (pthread_create(&pool->threads[pool->thread_count], NULL, worker_run, pool) != 0)
			return ERR_IO;
	return 0;
}

void pool_submit(struct pool *pool, struct net_connection *connection)
{
	net_connection_ref(connection);
	pthread_mutex_lock(&pool->mutex);
	connection->queue_next = NULL;
	if (pool->last != NULL)
		pool->last->queue_next = connection;
	else
		pool->first = connection;
	pool->last = connection;
	pool->queue_length++;
	pthread_cond_signal(&pool->filled);
	pthread_mutex_unlock(&pool->mutex);
}

void pool_stop(struct pool *pool)
{
	pthread_mutex_lock(&pool->mutex);
	pool->is_quitting = true;
	pthread_cond_broadcast(&pool->filled);
	pthread_mutex_unlock(&pool->mutex);
	while (pool->thread_count > 0)
		pthread_join(pool->threads[--pool->thread_count], NULL);
	free(pool->threads);
	pool->threads = NULL;
}

void pool_deinit(struct pool *pool)
{
	pthread_mutex_destroy(&pool->mutex);
	pthread_cond_destroy(&pool->filled);
}
