#include "net/net_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "net/net_tls_private.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

static unsigned number_or(unsigned number, unsigned otherwise)
{
	return number != 0 ? number : otherwise;
}

static void numbers_take(struct net_server *server, const struct net_server_options *options)
{
	server->io_thread_count = number_or(options->io_thread_count, 2);
	server->worker_count = number_or(options->worker_count, 32);
	server->connection_count_max = number_or(options->connection_count_max, 12000);
	server->address_connection_max = options->address_connection_max;
	server->counts_loopback = options->counts_loopback;
	server->idle_timeout_s = number_or(options->idle_timeout_s, 1800);
	server->input_size_max =
		options->input_size_max != 0 ? options->input_size_max : 1024ull * 1024 * 1024;
	server->tls_handshake_s = number_or(options->tls_handshake_s, 60);
}

static int tls_load(struct net_server *server, struct error *error)
{
	struct net_tls_server tls = { .certificate_path = server->certificate_path,
		.key_path = server->key_path,
		.client_ca_path = server->client_ca_path,
		.wants_certificate = server->wants_certificate };
	SSL_CTX *context = NULL, *old;
	int rc = net_tls_server_context(&tls, &context, error);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&server->mutex);
	old = server->tls_context;
	server->tls_context = context;
	pthread_mutex_unlock(&server->mutex);
	SSL_CTX_free(old);
	return 0;
}

int net_server_new(
	const struct net_server_options *options, struct net_server **server_r, struct error *error)
{
	struct net_server *server = mem_zalloc(sizeof(*server));
	pthread_condattr_t attributes;
	int rc = 0;

	numbers_take(server, options);
	pthread_mutex_init(&server->mutex, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&server->emptied, &attributes);
	pthread_condattr_destroy(&attributes);
	pool_init(&server->pool);
	net_penalties_init(&server->penalties);
	net_crowd_init(&server->crowd);
	server->bio_method = net_stream_bio_method_new();
	random_bytes(&server->id_prefix, sizeof(server->id_prefix));
	if (server->io_thread_count > NET_IO_THREAD_COUNT_MAX ||
		server->worker_count > NET_WORKER_COUNT_MAX)
		rc = error_set(error, ERR_INVALID, "too many threads");
	if (rc == 0 && options->tls_certificate_path != NULL) {
		server->certificate_path = mem_strdup(options->tls_certificate_path);
		if (options->tls_key_path != NULL)
			server->key_path = mem_strdup(options->tls_key_path);
		if (options->tls_client_ca_path != NULL)
			server->client_ca_path = mem_strdup(options->tls_client_ca_path);
		server->wants_certificate = options->tls_wants_certificate;
		rc = tls_load(server, error);
	}
	if (rc < 0) {
		net_server_free(&server);
		return rc;
	}
	*server_r = server;
	return 0;
}

int net_server_reload_tls(struct net_server *server, struct error *error)
{
	if (server->certificate_path == NULL)
		return error_set(error, ERR_NOT_FOUND, "no certificate is configured");
	return tls_load(server, error);
}

static void io_threads_free(struct net_server *server)
{
	for (unsigned i = 0; server->io_threads != NULL && i < server->io_thread_count; i++)
		io_thread_deinit(&server->io_threads[i]);
	free(server->io_threads);
	server->io_threads = NULL;
}

static int threads_start(struct net_server *server)
{
	int rc = pool_start(&server->pool, server->worker_count);

	for (unsigned i = 0; i < server->listener_count && rc == 0; i++)
		rc = listener_arm(server->listeners[i], server->io_threads[0].base);
	for (unsigned i = 0; i < server->io_thread_count && rc == 0; i++)
		rc = io_thread_start(&server->io_threads[i]);
	return rc;
}

int net_server_start(struct net_server *server, struct error *error)
{
	sigset_t all, before;
	int rc = 0;

	assert(!server->is_started);
	server->io_threads = mem_zalloc_array(server->io_thread_count, sizeof(*server->io_threads));
	for (unsigned i = 0; i < server->io_thread_count; i++) {
		int io_rc = io_thread_init(&server->io_threads[i], server);

		if (io_rc < 0)
			rc = io_rc;
	}
	server->is_started = true;
	/* Signals are the main thread's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (rc == 0)
		rc = threads_start(server);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc < 0) {
		net_server_stop(server, 0);
		return error_set_errno(error, rc, errno, "cannot start the server's threads");
	}
	return 0;
}

static void io_threads_nudge(struct net_server *server)
{
	for (unsigned i = 0; i < server->io_thread_count; i++)
		io_thread_nudge(&server->io_threads[i]);
}

/* Whether no connection is left, or none was before `limit_ms` passed; UINT64_MAX: for ever. */
static bool empty_wait(struct net_server *server, uint64_t limit_ms)
{
	uint64_t until_ms = clock_monotonic_ms() + limit_ms;
	struct timespec until = { (time_t)(until_ms / 1000), (long)(until_ms % 1000 * 1000000) };
	bool is_empty;
	int rc = 0;

	pthread_mutex_lock(&server->mutex);
	while (server->connection_count > 0 && rc == 0) {
		if (limit_ms == UINT64_MAX)
			pthread_cond_wait(&server->emptied, &server->mutex);
		else
			rc = pthread_cond_timedwait(&server->emptied, &server->mutex, &until);
	}
	is_empty = server->connection_count == 0;
	pthread_mutex_unlock(&server->mutex);
	return is_empty;
}

void net_server_stop(struct net_server *server, unsigned grace_ms)
{
	if (!server->is_started)
		return;
	pthread_mutex_lock(&server->mutex);
	atomic_store(&server->is_stopping, true);
	pthread_mutex_unlock(&server->mutex);
	io_threads_nudge(server);
	if (grace_ms == 0 || !empty_wait(server, grace_ms)) {
		atomic_store(&server->is_forced, true);
		io_threads_nudge(server);
		if (server->io_threads[0].is_started)
			empty_wait(server, UINT64_MAX);
	}
	for (unsigned i = 0; i < server->io_thread_count; i++)
		io_thread_stop(&server->io_threads[i]);
	pool_stop(&server->pool);
	for (; server->listener_count > 0; server->listener_count--)
		listener_close(&server->listeners[server->listener_count - 1]);
	io_threads_free(server);
	server->is_started = false;
}

void net_server_free(struct net_server **server)
{
	struct net_server *old = *server;

	*server = NULL;
	if (old == NULL)
		return;
	net_server_stop(old, 0);
	for (; old->listener_count > 0; old->listener_count--)
		listener_close(&old->listeners[old->listener_count - 1]);
	pool_deinit(&old->pool);
	SSL_CTX_free(old->tls_context);
	BIO_meth_free(old->bio_method);
	net_penalties_deinit(&old->penalties);
	net_crowd_deinit(&old->crowd);
	pthread_cond_destroy(&old->emptied);
	pthread_mutex_destroy(&old->mutex);
	free(old->certificate_path);
	free(old->key_path);
	free(old->client_ca_path);
	free(old);
}

void net_server_stats(struct net_server *server, struct net_server_stats *stats_r)
{
	struct net_server_stats stats = {
		.accepted_count = atomic_load(&server->accepted_count),
		.refused_count = atomic_load(&server->refused_count),
		.tls_failed_count = atomic_load(&server->tls_failed_count),
		.command_count = atomic_load(&server->command_count),
		.input_size = atomic_load(&server->input_size),
		.output_size = atomic_load(&server->output_size),
	};

	pthread_mutex_lock(&server->mutex);
	stats.connection_count = server->connection_count;
	pthread_mutex_unlock(&server->mutex);
	pthread_mutex_lock(&server->pool.mutex);
	stats.worker_busy_count = server->pool.busy_count;
	stats.worker_queue_length = server->pool.queue_length;
	pthread_mutex_unlock(&server->pool.mutex);
	*stats_r = stats;
}
