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

enum net_result connection_do(struct net_connection *connection)
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
		result = connection_do(connection);
		/* Unknown until work_find() has looked: what remains has not been framed. */
		connection->framed =
			connection_input(connection).len == 0 ? NET_FRAME_MORE : NET_FRAME_SKIP;
	} while (
		result == NET_DONE && ++round_count < NET_ROUND_COUNT_MAX && work_find(connection));
	if (connection->session != NULL && connection->protocol->round_end != NULL)
		result = connection->protocol->round_end(connection->session, result);
	connection_return(connection, result);
}

static struct net_connection *queue_take(struct pool *pool)
{
	struct net_connection *connection = pool->first;

	if (connection == NULL)
		return NULL;
	pool->first = connection->queue_next;
	if (pool->first == NULL)
		pool->last = NULL;
	pool->queue_length--;
	return connection;
}

static void sem_wait_for(sem_t *sem)
{
	while (sem_wait(sem) < 0)
		continue; /* a signal came */
}

/* What to work on next; sleeps until there is something. NULL: no more. */
static struct net_connection *worker_next(struct pool_worker *worker, bool was_busy)
{
	struct pool *pool = worker->pool;
	struct net_connection *connection;

	pthread_mutex_lock(&pool->mutex);
	pool->busy_count -= was_busy;
	connection = queue_take(pool);
	if (connection != NULL) {
		pool->busy_count++;
	} else if (!pool->is_quitting) {
		worker->idle_next = pool->idle;
		pool->idle = worker;
		pthread_mutex_unlock(&pool->mutex);
		sem_wait_for(&worker->wake);
		return worker->given; /* the giver has counted it */
	}
	pthread_mutex_unlock(&pool->mutex);
	return connection;
}

static void *worker_run(void *context)
{
	struct pool_worker *worker = context;
	struct net_connection *connection = worker_next(worker, false);

	while (connection != NULL) {
		connection_work(connection);
		net_connection_unref(&connection);
		connection = worker_next(worker, true);
	}
	return NULL;
}

void pool_init(struct pool *pool)
{
	pthread_mutex_init(&pool->mutex, NULL);
}

int pool_start(struct pool *pool, unsigned worker_count)
{
	pool->workers = mem_zalloc_array(worker_count, sizeof(*pool->workers));
	for (; pool->worker_count < worker_count; pool->worker_count++) {
		struct pool_worker *worker = &pool->workers[pool->worker_count];

		worker->pool = pool;
		sem_init(&worker->wake, 0, 0);
		if (pthread_create(&worker->thread, NULL, worker_run, worker) != 0) {
			sem_destroy(&worker->wake);
			return ERR_IO;
		}
	}
	return 0;
}

/* With the lock. */
static struct pool_worker *idle_take(struct pool *pool)
{
	struct pool_worker *worker = pool->idle;

	if (worker != NULL)
		pool->idle = worker->idle_next;
	return worker;
}

void pool_submit(struct pool *pool, struct net_connection *connection)
{
	struct pool_worker *worker;

	net_connection_ref(connection);
	connection->queue_next = NULL;
	pthread_mutex_lock(&pool->mutex);
	worker = idle_take(pool);
	if (worker != NULL) {
		worker->given = connection;
		pool->busy_count++;
	} else {
		if (pool->last != NULL)
			pool->last->queue_next = connection;
		else
			pool->first = connection;
		pool->last = connection;
		pool->queue_length++;
	}
	pthread_mutex_unlock(&pool->mutex);
	if (worker != NULL)
		sem_post(&worker->wake); /* without the lock, for which it would wait */
}

void pool_stop(struct pool *pool)
{
	struct pool_worker *worker;

	pthread_mutex_lock(&pool->mutex);
	pool->is_quitting = true;
	while ((worker = idle_take(pool)) != NULL) {
		worker->given = NULL;
		sem_post(&worker->wake);
	}
	pthread_mutex_unlock(&pool->mutex);
	while (pool->worker_count > 0) {
		worker = &pool->workers[--pool->worker_count];
		pthread_join(worker->thread, NULL);
		sem_destroy(&worker->wake);
	}
	free(pool->workers);
	pool->workers = NULL;
}

void pool_deinit(struct pool *pool)
{
	pthread_mutex_destroy(&pool->mutex);
}
