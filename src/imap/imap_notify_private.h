/* imap_notify_private: the LIST responses of NOTIFY (RFC 5465, 5.4 and 5.5), for imap_notify*.c. */
#ifndef CHAPAR_IMAP_NOTIFY_PRIVATE_H
#define CHAPAR_IMAP_NOTIFY_PRIVATE_H

#include "imap/imap_notify.h"
#include "imap/imap_target.h"

#include "base/map.h"

struct imap_notify_name {
	struct bytes name;                /* the client's */
	const struct imap_target *target; /* its mailbox; NULL: there is none that he may know of */
	struct bytes old_name;            /* before a renaming; else empty */
};

int imap_notify_is_subscribed(
	struct imap_session *session, struct kv_txn *kv, struct bytes name, bool *answer_r);

/*
 * LIST of that name. `told` has the names that were told in this snapshot: of one of them nothing
 * new can be said, unless it is the old name.
 */
int imap_notify_put_name(struct imap_session *session, struct kv_txn *kv, struct map *told,
	const struct imap_notify_name *name);
/* LIST of the level above a name that came or went, mailbox or not, if that was asked for. */
int imap_notify_put_parent(
	struct imap_session *session, struct kv_txn *kv, struct map *told, struct bytes name);
/* The level above; empty: there is none. */
struct bytes imap_notify_parent(struct bytes name);

#endif
