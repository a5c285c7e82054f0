/* repair: collecting the records that two copies compare; both halves of an exchange use it. */
#ifndef CHAPAR_SYNC_REPAIR_H
#define CHAPAR_SYNC_REPAIR_H

#include "sync/changes.h"

/* The sum of all set registers' terms, and how many there are. */
int repair_sum_registers(struct kv_txn *kv, uint32_t account, struct arena *arena,
	struct digest *digest_r, uint64_t *count_r);

/* Each adds to *set; records borrow from `arena`. was_common is told as of `since`. */
int repair_collect_registers(struct kv_txn *kv, uint32_t account, uint64_t since,
	struct arena *arena, struct change_set *set);
int repair_collect_mailboxes(
	struct kv_txn *kv, uint32_t account, struct arena *arena, struct change_set *set);
int repair_collect_messages(struct kv_txn *kv, uint32_t account, struct id128 mailbox,
	uint32_t first, uint32_t last, uint64_t since, struct arena *arena, struct change_set *set);
/* Nothing, if there is no record of the instance. */
int repair_collect_instance(struct kv_txn *kv, uint32_t account, struct stamp instance,
	uint64_t since, struct arena *arena, struct change_set *set);

#endif
