/*
 * conflict: the journal of what merges decided by more than "the later change of one flag wins",
 * for users and operators to read. Nothing in it needs anyone to act. It is no record: who merged
 * tells the other side of that exchange, and nobody else.
 */
#ifndef CHAPAR_SYNC_CONFLICT_H
#define CHAPAR_SYNC_CONFLICT_H

#include "sync/merge.h"
#include "sync/wire.h"

#define CONFLICT_COUNT_MAX 1000 /* entries kept for an account: the latest ... */
#define CONFLICT_MERGE_MAX 500  /* ... and of one merge: the first */

struct conflict_entry {
	uint64_t modseq; /* the account's clock at the merge; its time is modseq / 1024 milliseconds
			    since 1970 */
	uint32_t counter;               /* among those of that modseq */
	uint64_t peer;                  /* node whose changes were merged */
	struct merge_conflict conflict; /* its name is borrowed */
};

/* Adds entries, as part of the merge's commit; those of an act that lost and is in the journal
 * already are left out. */
int conflict_put(struct account_write *write, uint64_t peer, const struct merge_conflict *conflicts,
	size_t count);
/* Calls `function` for each entry after `modseq`, oldest first, until it returns other than 0,
 * which it returns. */
int conflict_each(struct kv_txn *kv, uint32_t account, uint64_t modseq,
	int (*function)(void *context, const struct conflict_entry *entry), void *context);
/*
 * Puts CONFLICTS, what merges with `peer` have noted since the account's clock was at `modseq`, in
 * a request or answer: at most CONFLICT_TOLD_MAX entries, and no key if there are none. Errors of
 * reading.
 */
#define CONFLICT_TOLD_MAX 100
int conflict_tell(struct kv_txn *kv, uint32_t account, uint64_t peer, uint64_t modseq,
	struct dlist_writer *writer);
/* Takes them into the journal, as part of a commit. ERR_INVALID with the reason; what is of a kind
 * that is not known here is left out. */
int conflict_take(
	struct account_write *write, uint64_t peer, const struct dlist *map, struct error *error);
/* A short English phrase of what was done. */
const char *conflict_text(enum merge_conflict_kind kind);

#endif
