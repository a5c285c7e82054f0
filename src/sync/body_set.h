/*
 * body_set: message bodies that came from a peer and wait for the records that show them. Each is
 * checked against its GUID on arrival. Small batches wait in memory; larger ones are brought to
 * disk at once (store_body_hold()), so that an interrupted first exchange does not send them again.
 */
#ifndef CHAPAR_SYNC_BODY_SET_H
#define CHAPAR_SYNC_BODY_SET_H

#include "mail/mail.h"

#include "base/map.h"

struct body_item {
	struct guid guid; /* as the peer names it */
	struct bytes raw;
	struct bytes packed; /* as it came, if it came compressed (store_body_prepare_packed()) */
};

struct waiting_body;

struct body_set { /* a zeroed one is empty */
	struct waiting_body **bodies;
	size_t count, room;
	struct map by_guid;
	uint64_t memory_size; /* bytes of those in memory */
	size_t memory_count;
};

void body_set_deinit(struct body_set *set);
bool body_set_has(const struct body_set *set, struct kv_txn *kv, const struct guid *guid);
/* How many bytes the body has, be it in the set or in the store. ERR_NOT_FOUND; errors of kv_get().
 */
int body_set_find(
	const struct body_set *set, struct kv_txn *kv, const struct guid *guid, uint64_t *size_r);
/*
 * Takes copies of the bodies, or brings them to disk; those it has already are passed over.
 * ERR_ILLEGAL if the GUID of one is another (those before it are taken); ERR_TOO_LARGE; errors of
 * store_commit().
 */
int body_set_add(struct body_set *set, struct mail *mail, const struct body_item *items,
	size_t count, struct error *error);
/* Makes those in memory known to a commit, after which account_put_message() finds them. */
void body_set_offer(const struct body_set *set, struct account_write *write);

#endif
