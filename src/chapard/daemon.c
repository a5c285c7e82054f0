#include "chapard/daemon_private.h"

#include "base/log.h"
#include "base/mem.h"
#include "chapard/privileges.h"
#include "chapard/storage.h"
#include "mail/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Descriptors beside those of clients: segments, index, channels, listeners. */
#define DESCRIPTOR_COUNT_EXTRA 256
#define STORE_WATCH_S 1 /* seconds between two looks whether the store still works */
#define HELD_SWEEP_MS                                                                              \
	((uint64_t)3600 * 1000) /* between two sweeps of bodies that were held ...                 \
				 */
#define HELD_AGE_MS                                                                                \
	((uint64_t)24 * 3600 * 1000) /* ... longer than this: their sync never went on */
#define MEMORY_TRIM_MS 5000
#define MEMORY_FREE_MAX ((size_t)8 << 20) /* bytes */

static void signals_mask(sigset_t *signals)
{
	sigemptyset(signals);
	sigaddset(signals, SIGTERM);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGHUP);
}

/* As many descriptors as the system gives: each client needs one. */
static void descriptors_raise(const struct config *config)
{
	rlim_t wanted = config->connections_max + DESCRIPTOR_COUNT_EXTRA;
	struct rlimit limit, more = { wanted, wanted };
	char has[32], needs[32];

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	/* Above the hard limit only root may go. */
	if (limit.rlim_max >= wanted || setrlimit(RLIMIT_NOFILE, &more) == 0)
		return;
	snprintf(has, sizeof(has), "%llu", (unsigned long long)limit.rlim_max);
	snprintf(needs, sizeof(needs), "%llu", (unsigned long long)wanted);
	log_event(LOG_LEVEL_WARNING, "few-descriptors", "limit", has, "needed", needs, "reason",
		"connections-max cannot be reached: raise LimitNOFILE= of the service, or ulimit "
		"-n",
		NULL);
}

static int pid_file_write(const struct daemon *daemon, struct error *error)
{
	const char *path = daemon->config->pid_file;
	FILE *out = fopen(path, "we");
	bool is_written;

	if (out == NULL)
		return error_set_errno(error, ERR_IO, errno, "%s", path);
	/* Scripts of other users may look for us. */
	is_written = fprintf(out, "%ld\n", (long)getpid()) > 0 && fchmod(fileno(out), 0644) == 0;
	if (fclose(out) != 0 || !is_written)
		return error_set_errno(error, ERR_IO, errno, "%s", path);
	return 0;
}

/* ---- starting ---- */

/* What belongs to the store's owner. */
static int store_side_open(struct daemon *daemon, struct error *error)
{
	struct node_name name;
	bool has_returned;
	int rc = storage_open(daemon->config, &daemon->store, error);

	if (rc < 0)
		return rc;
	rc = mail_open(daemon->store, clock_system(), &daemon->mail);
	if (rc < 0)
		return error_set(error, rc, "%s: %s", daemon->config->store_path, error_name(rc));
	rc = mail_hold_begin(daemon->mail, &has_returned, error);
	if (rc < 0)
		return rc;
	if (has_returned)
		log_event(LOG_LEVEL_WARNING, "store-returned", "store", daemon->config->store_path,
			NULL);
	daemon->admin = (struct admin){ .mail = daemon->mail,
		.node_name = daemon->config->node,
		.new_accounts_have_master = daemon->config->new_accounts == CONFIG_NEW_MASTER,
		.passwords = config_password_parameters(daemon->config),
		.origin = daemon->config->origin.address.text != NULL ? &daemon->config->origin
								      : NULL,
		.live = &daemon->live };
	config_node_name(daemon->config, &name);
	mail_set_node_name(daemon->mail, &name);
	mail_set_acknowledger(daemon->mail, daemon_acknowledge, daemon);
	mail_set_append_router(daemon->mail, daemon_route_append, daemon);
	daemon->trace = trace_new();
	daemon_status_init(daemon);
	rc = daemon_login_open(daemon, error);
	if (rc < 0)
		return rc;
	daemon_fronts_open(daemon);
	return daemon_listen_control(daemon, error);
}

/* Root binds the addresses; all else is done as the configured user, whose files they must be. */
static int parts_start(struct daemon *daemon, struct error *error)
{
	const char *user = daemon->config->user;
	int rc = daemon_server_new(daemon, error);

	if (rc == 0)
		rc = privileges_drop(user, true, error);
	if (rc == 0)
		rc = store_side_open(daemon, error);
	privileges_regain();
	if (rc == 0)
		rc = daemon_listen(daemon, error);
	if (rc == 0 && daemon->config->pid_file != NULL)
		rc = pid_file_write(daemon, error);
	daemon->has_pid_file = rc == 0 && daemon->config->pid_file != NULL;
	if (rc == 0)
		rc = privileges_drop(user, false, error);
	if (rc == 0)
		rc = daemon_peers_open(daemon, error);
	if (rc == 0)
		rc = net_server_start(daemon->server, error);
	return rc;
}

int daemon_start(const struct config *config, struct daemon **daemon_r, struct error *error)
{
	struct daemon *daemon = mem_zalloc(sizeof(*daemon));
	char node_id[17];
	sigset_t signals;
	int rc;

	daemon->config = config;
	pthread_mutex_init(&daemon->peers.lock, NULL);
	daemon->started_ms = clock_monotonic_ms();
	daemon->ports = mem_zalloc_array(config->listener_count, sizeof(*daemon->ports));
	signals_mask(&signals);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	umask(0077);
	descriptors_raise(config);
	daemon_ways_environment(config);
	rc = parts_start(daemon, error);
	if (rc < 0) {
		daemon_stop(&daemon);
		return rc;
	}
	daemon->is_ready = true;
	daemon_listeners_log(daemon);
	snprintf(node_id, sizeof(node_id), "%016llx", (unsigned long long)mail_node(daemon->mail));
	log_event(LOG_LEVEL_INFO, "ready", "node", config->node, "id", node_id, "store",
		config->store_path, "version", CHAPAR_VERSION, NULL);
	*daemon_r = daemon;
	return 0;
}

/* ---- running and stopping ---- */

static void tls_reload(struct daemon *daemon)
{
	struct error error = { 0 };
	int rc = net_server_reload_tls(daemon->server, &error);

	if (rc == 0)
		log_event(LOG_LEVEL_INFO, "tls-reloaded", NULL);
	else if (rc != ERR_NOT_FOUND)
		log_event(LOG_LEVEL_ERROR, "tls-reload-failed", "error", error.text, "reason",
			"the old certificate stays", NULL);
}

/* Bodies that came ahead of a sync that was given up take space for a day, not for ever. */
static void held_bodies_sweep(struct daemon *daemon, uint64_t *next_ms)
{
	int rc;

	if (clock_monotonic_ms() < *next_ms)
		return;
	*next_ms = clock_monotonic_ms() + HELD_SWEEP_MS;
	rc = store_body_drop_held(daemon->store, clock_now_ms(clock_system()) - HELD_AGE_MS);
	if (rc < 0)
		log_event(LOG_LEVEL_WARNING, "held-bodies-kept", "error", error_name(rc), NULL);
}

/*
 * What large commands have freed stays with the C library, scattered over an arena for each thread;
 * of much, the whole pages go back to the system.
 */
static void memory_trim(uint64_t *next_ms)
{
	if (clock_monotonic_ms() < *next_ms)
		return;
	*next_ms = clock_monotonic_ms() + MEMORY_TRIM_MS;
	if (mallinfo2().fordblks > MEMORY_FREE_MAX)
		malloc_trim(0);
}

int daemon_wait(struct daemon *daemon)
{
	uint64_t next_sweep_ms = 0, next_trim_ms = 0;
	struct timespec period = { .tv_sec = STORE_WATCH_S };
	struct store_status status;
	sigset_t signals;
	int number;

	signals_mask(&signals);
	for (;;) {
		number = sigtimedwait(&signals, NULL, &period);
		if (number == SIGTERM || number == SIGINT)
			break;
		if (number == SIGHUP)
			tls_reload(daemon);
		imap_server_sweep(daemon->imap);
		held_bodies_sweep(daemon, &next_sweep_ms);
		memory_trim(&next_trim_ms);
		daemon_expire(daemon);
		store_get_status(daemon->store, &status);
		if (status.failure != 0) {
			log_event(LOG_LEVEL_ERROR, "store-failed", "error",
				error_name(status.failure), "reason",
				"nothing more can be written: the daemon ends", NULL);
			return status.failure;
		}
	}
	log_event(LOG_LEVEL_INFO, "stopping", "signal", number == SIGTERM ? "SIGTERM" : "SIGINT",
		NULL);
	return 0;
}

void daemon_stop(struct daemon **daemon_p)
{
	struct daemon *daemon = *daemon_p;

	if (daemon == NULL)
		return;
	*daemon_p = NULL;
	atomic_store(&daemon->is_stopping, true);
	/* First who makes changes, then what they are made in; while clients finish, peers still
	 * hear of it. */
	if (daemon->server != NULL)
		net_server_stop(daemon->server, (unsigned)daemon->config->stop_timeout_s * 1000);
	net_server_free(&daemon->server);
	daemon_peers_close(daemon);
	daemon_fronts_close(daemon);
	daemon_login_close(daemon);
	mail_close(&daemon->mail);
	store_close(&daemon->store);
	trace_free(&daemon->trace);
	buffer_deinit(&daemon->expired_locally);
	if (daemon->has_pid_file)
		unlink(daemon->config->pid_file);
	if (daemon->is_ready)
		log_event(LOG_LEVEL_INFO, "stopped", NULL);
	pthread_mutex_destroy(&daemon->peers.lock);
	free(daemon->ports);
	free(daemon);
}

int daemon_check(const struct config *config, struct error *error)
{
	struct daemon daemon = { .config = config };
	int rc = daemon_server_new(&daemon, error);

	net_server_free(&daemon.server);
	if (rc == 0)
		rc = privileges_drop(config->user, true, error);
	if (rc == 0)
		rc = daemon_login_check(config, error);
	if (rc == 0)
		rc = daemon_peers_check(config, error);
	privileges_regain();
	return rc;
}
