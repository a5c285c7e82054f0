/* imap_server_private: what the sessions see of their server. */
#ifndef CHAPAR_IMAP_SERVER_PRIVATE_H
#define CHAPAR_IMAP_SERVER_PRIVATE_H

#include "imap/imap_columns.h"
#include "imap/imap_guard.h"
#include "imap/imap_recent.h"
#include "imap/imap_registry.h"
#include "imap/imap_server.h"
#include "imap/imap_uid_cache.h"

#include <stdatomic.h>

struct imap_server {
	struct imap_server_options options; /* defaults filled in */
	struct net_protocol protocol;
	struct imap_recent *recent;
	uint64_t recent_save_ms; /* by the monotonic clock: when it is to be written next */
	struct imap_uid_cache *uid_cache;
	struct imap_columns *columns;
	struct imap_guard *guard;
	struct imap_registry *registry;
	atomic_flag *has_helpers; /* a session's command runs on several threads */
};

/*
 * Whether a command may have threads help it (base/parallel.h) for a step of it: one at a time may.
 * To be given back. Any thread.
 */
bool imap_helpers_take(const struct imap_server *server);
void imap_helpers_give(const struct imap_server *server);

/* The session's callbacks (imap_session.c). */
extern const struct net_protocol imap_session_protocol;

#endif
