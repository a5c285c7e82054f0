#include "imap/imap_server.h"

#include "imap/imap_server_private.h"
#include "imap/imap_session.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>

#define APPEND_SIZE_MAX_DEFAULT (64u * 1024 * 1024)
#define IDLE_TIMEOUT_S_DEFAULT 1800
#define LOGIN_TIMEOUT_S_DEFAULT 60
#define PROGRESS_INTERVAL_MS_DEFAULT 10000
#define SEARCH_CACHE_SIZE_DEFAULT (16u * 1024 * 1024)
#define SEARCH_CACHE_COUNT_MIN_DEFAULT 200
#define RECENT_SAVE_MS 60000

/* A file that cannot be read is as good as none: \Recent is a hint. */
static void recent_load(struct imap_server *server)
{
	const char *path = server->options.recent_path;
	int rc = path != NULL ? imap_recent_load(server->recent, path) : 0;

	if (rc < 0)
		log_event(LOG_LEVEL_WARNING, "recent-unread", "file", path, "error", error_name(rc),
			NULL);
}

static void recent_save(struct imap_server *server)
{
	const char *path = server->options.recent_path;
	int rc = path != NULL ? imap_recent_save(server->recent, path) : 0;

	if (rc < 0)
		log_event(LOG_LEVEL_WARNING, "recent-unwritten", "file", path, "error",
			error_name(rc), NULL);
}

bool imap_helpers_take(const struct imap_server *server)
{
	return !atomic_flag_test_and_set(server->has_helpers);
}

void imap_helpers_give(const struct imap_server *server)
{
	atomic_flag_clear(server->has_helpers);
}

struct imap_server *imap_server_new(const struct imap_server_options *options)
{
	struct imap_server *server = mem_zalloc(sizeof(*server));
	struct imap_server_options *own = &server->options;
	size_t unit_size_max;

	server->has_helpers = mem_zalloc(sizeof(*server->has_helpers));
	atomic_flag_clear(server->has_helpers);
	*own = *options;
	if (own->append_size_max == 0)
		own->append_size_max = APPEND_SIZE_MAX_DEFAULT;
	if (own->idle_timeout_s == 0)
		own->idle_timeout_s = IDLE_TIMEOUT_S_DEFAULT;
	if (own->login_timeout_s == 0)
		own->login_timeout_s = LOGIN_TIMEOUT_S_DEFAULT;
	if (own->progress_interval_ms == 0)
		own->progress_interval_ms = PROGRESS_INTERVAL_MS_DEFAULT;
	if (own->search_cache_size == 0)
		own->search_cache_size = SEARCH_CACHE_SIZE_DEFAULT;
	if (own->search_cache_count_min == 0)
		own->search_cache_count_min = SEARCH_CACHE_COUNT_MIN_DEFAULT;
	if (own->name == NULL)
		own->name = "Chapar";
	if (own->other_users_prefix == NULL)
		own->other_users_prefix = "Other Users";
	if (own->shared_prefix == NULL)
		own->shared_prefix = "Shared";
	server->recent = imap_recent_new();
	recent_load(server);
	server->uid_cache = imap_uid_cache_new();
	server->columns = imap_columns_new(own->search_cache_size);
	server->guard = imap_guard_new();
	server->registry = imap_registry_new(options->mail);
	server->protocol = imap_session_protocol;
	unit_size_max = own->append_size_max > SYNC_REQUEST_SIZE_MAX ? own->append_size_max
								     : SYNC_REQUEST_SIZE_MAX;
	server->protocol.input_max = unit_size_max + 2 * IMAP_UNIT_SIZE_SLACK;
	return server;
}

void imap_server_free(struct imap_server **server)
{
	if (*server == NULL)
		return;
	recent_save(*server);
	imap_recent_free(&(*server)->recent);
	imap_uid_cache_free(&(*server)->uid_cache);
	imap_columns_free(&(*server)->columns);
	imap_guard_free(&(*server)->guard);
	imap_registry_free(&(*server)->registry);
	free((*server)->has_helpers);
	free(*server);
	*server = NULL;
}

void imap_server_sweep(struct imap_server *server)
{
	imap_registry_sweep(server->registry);
	if (clock_monotonic_ms() < server->recent_save_ms)
		return;
	recent_save(server);
	server->recent_save_ms = clock_monotonic_ms() + RECENT_SAVE_MS;
}

const struct net_protocol *imap_server_protocol(const struct imap_server *server)
{
	return &server->protocol;
}
