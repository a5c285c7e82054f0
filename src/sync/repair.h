/* repair: collecting the records that two copies compare; both halves of an exchange use it. */
#ifndef CHAPAR_SYNC_REPAIR_H
#define CHAPAR_SYNC_REPAIR_H

#include "sync/view.h"

/* The sum of the terms of all set registers in the view, and how many there are. */
int repair_sum_registers(struct kv_txn *kv, const struct view *view, struct arena *arena,
	struct digest *digest_r, uint64_t *count_r);

/* Each adds to *set what is in the view (mailboxes with digest and count of that); records borrow
 * from `arena`. was_common is told as of `since`. */
int repair_collect_registers(struct kv_txn *kv, const struct view *view, uint64_t since,
	struct arena *arena, struct change_set *set);
int repair_collect_mailboxes(
	struct kv_txn *kv, const struct view *view, struct arena *arena, struct change_set *set);
int repair_collect_messages(struct kv_txn *kv, const struct view *view, struct id128 mailbox,
	uint32_t first, uint32_t last, uint64_t since, struct arena *arena, struct change_set *set);
/* Nothing, if there is no record of the instance; as not shown, if that is outside of the view. */
int repair_collect_instance(struct kv_txn *kv, const struct view *view, struct stamp instance,
	uint64_t since, struct arena *arena, struct change_set *set);

#endif
