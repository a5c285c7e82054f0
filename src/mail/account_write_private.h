/*
 * account_write_private: the working state of one account_write, shared by the files that write the
 * records of each kind (account_put_*.c).
 */
#ifndef CHAPAR_MAIL_ACCOUNT_WRITE_PRIVATE_H
#define CHAPAR_MAIL_ACCOUNT_WRITE_PRIVATE_H

#include "mail/account_private.h"

/* A mailbox in this write. */
struct account_floor {
	struct mailbox_record mailbox; /* as it is now; names in the write's arena */
	struct digest term;            /* what the mailbox record adds to the digests now */
	uint32_t uidnext_before;       /* what clients of this copy may know */
	uint32_t given_count;          /* UIDs at or above it that are shown now */
	uint64_t highest_before;
	bool exists;
	bool is_changed;    /* the record or its UIDNEXT: peers must hear of it */
	bool is_counted;    /* only local counts and the digest */
	bool has_lost_name; /* another mailbox took its name: it must get another, or go */

	/* For watches: as it was before, and what was done. */
	struct bytes name_before;
	uint32_t uidvalidity_before;
	bool was_live;
	unsigned changes; /* of enum watch_change */
	bool is_touched;
};

/* The mailbox as this write has it, loaded on first use; `exists` tells whether there is one. It
 * lives as long as the write. */
int account_floor_get(struct account_write *write, struct id128 id, struct account_floor **floor_r);
/* Takes `before` out of the digests of the mailbox and the account, and puts `after` in. */
void account_digest_replace(struct account_write *write, struct account_floor *floor,
	struct digest before, struct digest after);
/* Moves a record's row in the sequence index, which has this value, to a new sequence, which it
 * stores in *sequence. ERR_CORRUPT: the row was not there. */
int account_sequence_renew(struct account_write *write, uint64_t *sequence, struct bytes value);
/* What is shown in the mailbox was changed, at `modseq`: its HIGHESTMODSEQ is that at least. */
static inline void account_highest_raise(struct account_floor *floor, uint64_t modseq)
{
	if (modseq > floor->mailbox.highestmodseq)
		floor->mailbox.highestmodseq = modseq;
	floor->is_counted = true;
}
/* What a record's modseq means for the account: the clock and the greatest ever shown. */
void account_modseq_shown(struct account_write *write, uint64_t modseq);
/* The one place that holds users to the account's mode: whatever they change comes by here. */
int account_user_check(struct account_write *write);

#endif
