/*
 * replica: finding what users did to a copy whose account has a master elsewhere. Nodes refuse such
 * changes (mail/account_mode.h), but one that has not heard of a new master, or that was cut off
 * when it was taken over from, takes them. They are merged as any others, never overwritten, and
 * the journal says so.
 */
#ifndef CHAPAR_SYNC_REPLICA_H
#define CHAPAR_SYNC_REPLICA_H

#include "sync/changes.h"

/*
 * Adds an entry to the journal for each mailbox in which `changes` have acts of users on nodes that
 * were not the master, later than it became so; for each such node. `peer`: between whom and us the
 * changes went. Within the commit that takes the changes, after them.
 */
int replica_report(struct account_write *write, uint64_t peer, const struct change_set *changes);

#endif
