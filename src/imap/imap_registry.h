/*
 * imap_registry: the sessions that are logged in, by user: how many a user has, and which must end
 * because his login was disabled. Any thread.
 */
#ifndef CHAPAR_IMAP_IMAP_REGISTRY_H
#define CHAPAR_IMAP_IMAP_REGISTRY_H

#include "imap/imap_session.h"

struct imap_registry;
/* One session in it. */
struct imap_registration;

struct imap_registry *imap_registry_new(struct mail *mail);
/* After all sessions are gone. Sets *registry to NULL. */
void imap_registry_free(struct imap_registry **registry);

/*
 * Adds a session of the user, whose account is `account` (0: he has none); one that is `kept` is
 * not closed when his login is disabled. ERR_TOO_LARGE: he has `count_max` already (0: no limit).
 */
int imap_registry_add(struct imap_registry *registry, const char *user, uint32_t account,
	struct net_connection *connection, bool is_kept, unsigned count_max,
	struct imap_registration **registration_r);
/* Sets *registration to NULL. A NULL *registration is allowed. */
void imap_registry_remove(struct imap_registry *registry, struct imap_registration **registration);

/* Closes the sessions of users whose login was disabled since it was last called; one thread. */
void imap_registry_sweep(struct imap_registry *registry);

#endif
