/*
 * integrate: the commit in which one side brings the other's changes into its own copy (merge.h),
 * be it the initiator after a refused push or a responder who was asked to. Reads the own changes
 * and writes the result in the same transaction, so local clients never race it.
 */
#ifndef CHAPAR_SYNC_INTEGRATE_H
#define CHAPAR_SYNC_INTEGRATE_H

#include "sync/body_set.h"
#include "sync/changes.h"
#include "sync/view.h"

#include "base/error.h"

struct integrate {
	const struct change_set *theirs; /* normalized */
	uint64_t since;                  /* our sequence at the common point ... */
	bool is_sorted_out;              /* ... which is a sorted-out one */
	uint64_t peer;                   /* whose changes they are */
	uint64_t skew_ms;
	const struct body_set *bodies;
	const struct view_filter *filter; /* NULL: the whole account is exchanged */
	bool is_limited;                  /* the peer may be told of nothing else (view.h) */
	struct view_also also;            /* mailboxes that the peer told of before; borrowed */
	/*
	 * A repair: our records of the compared ranges, as of our sequence `expect`; if we are
	 * elsewhere by now, it fails with ERR_CHANGED. Else NULL.
	 */
	const struct change_set *compared;
	uint64_t expect;
	/*
	 * Our sequence up to which the peer has merged our changes before it told `theirs`; 0: it
	 * has not. Then what is written here is put in order: first what is now as the peer has it,
	 * then the rest.
	 */
	uint64_t merged_at;

	size_t conflict_count; /* results */
	/* If merged_at was given: our sequence at which our copy, without what was written later,
	 * is the peer's at theirs->sequence: a common point. */
	uint64_t common;
};

/*
 * Runs inside mail_commit(). ERR_ILLEGAL with the reason: their changes cannot be taken;
 * ERR_NOT_FOUND: a body is missing; ERR_CHANGED (above).
 */
int integrate_run(struct account_write *write, struct integrate *integrate, struct error *error);

/* The greatest modseq that is legal at a time, given the skew allowed (0: the usual). */
uint64_t integrate_modseq_limit(uint64_t now_ms, uint64_t skew_ms);
/* Whether the bodies of all shown messages, so far as they are here, have the sizes told.
 * ERR_ILLEGAL. */
int integrate_check_sizes(struct kv_txn *kv, const struct body_set *bodies,
	const struct change_set *theirs, struct error *error);
/* Tells the view of the mailboxes that a peer's changes name. */
int integrate_tell(struct kv_txn *kv, const struct change_set *theirs, struct view *view);
/* Checks the form and the modseqs of a peer's records. ERR_ILLEGAL with the reason. */
int integrate_check(const struct change_set *theirs, uint64_t modseq_limit, struct error *error);

#endif
