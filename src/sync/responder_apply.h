/*
 * responder_apply: what the requests that write have in common: APPLY (responder_apply.c),
 * INTEGRATE and FILL (responder_integrate.c). Each has one struct apply, from apply_read() to
 * apply_deinit(); apply_put_outcome() makes the answer of it.
 *
 * All functions return 0 or an error; within a commit an error undoes it.
 */
#ifndef CHAPAR_SYNC_RESPONDER_APPLY_H
#define CHAPAR_SYNC_RESPONDER_APPLY_H

#include "sync/fill.h"
#include "sync/responder_private.h"

enum outcome {
	OUTCOME_APPLIED,
	OUTCOME_CHANGED,
	OUTCOME_MISSING,
	OUTCOME_DIFFERS,
	OUTCOME_INTEGRATED,
	OUTCOME_FILLED
};

struct apply {
	struct sync_call *call;
	struct change_set changes; /* of the peer; the staged ones too */
	bool is_staged;            /* it said PARTS: what is staged goes with it */
	uint64_t expect;           /* the sequence we are to be at */
	uint64_t since;            /* our sequence up to which the peer knows our changes */
	uint64_t common;           /* our sequence at the last common point */
	uint64_t sequence;         /* the peer's, that its changes reach */
	struct fill_part part;     /* of FILL */
	struct digest result;      /* of the account afterwards ... */
	bool is_part;              /* ... which is not told of a part that others follow */
	uint64_t clock_before;     /* INTEGRATE: before the merge, if that noted conflicts; or 0 */
	uint64_t told_behind;      /* the peer knows that its copy was there once, and is not now */
	struct error checked;      /* what merge_check_*() and merge_integrate() found */
	struct view view;          /* of the commit: as we are, with what the peer told of */
	struct digest digest;      /* when CHANGED or DIFFERS: ours, of what is exchanged */
	struct error illegal;      /* why a change, though legal, could not be taken as it is */

	enum outcome outcome;
	struct account_header header; /* when CHANGED or DIFFERS: as we are */
	struct change_set ours;       /* when CHANGED */
	struct change_set reminders;  /* ours of what the peer knew an earlier state of */
	bool is_reset;                /* when CHANGED: we were never at `since` */
	uint64_t behind; /* when CHANGED: the peer's copy was at this sequence once; 0: it is not
			    behind that */
	struct stamp *missing; /* when MISSING */
	size_t missing_count;
};

/* Reads what all of them have: SINCE, SEQUENCE, HIGHEST, and the records, with the staged ones. */
int apply_read(struct apply *apply);
/* Also after errors. */
void apply_deinit(struct apply *apply);
/* `create`: makes the account if it is not there. */
int apply_find_account(struct apply *apply, bool create, uint32_t *number_r);
void apply_put_outcome(struct apply *apply);

/* ---- within a commit ---- */

/* As we are, with what the peer told of. ERR_REFUSED: it may not change that. */
int apply_open_view(struct apply *apply, struct account_write *write);
/* After the changes were made: names may be others now, but what the peer might tell of stays in
 * the view. */
int apply_open_view_again(struct apply *apply, struct account_write *write);
/* Sets the outcome to MISSING if bodies are. */
int apply_find_missing(struct apply *apply, struct account_write *write);
/* What we had in common with a copy that was restored since is true no more. */
int apply_forget_point(struct apply *apply, struct account_write *write);
/* Part (2) of APPLY. Returns how many records the peer must be told of first. */
int apply_remind_peer(struct apply *apply, struct account_write *write);
/* Part (4): writes the peer's records as they are. */
int apply_changes(struct apply *apply, struct account_write *write);

#endif
