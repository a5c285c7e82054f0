/*
 * hold: accounts that are here and yet are not served to users for now.
 *
 * One that is being *filled* gets its first copy from a peer in parts (sync/fill.h). Its messages
 * come in the order in which they were written there, not in that of their UIDs and modseqs; so
 * nobody may look at it before it is whole (P3, P4), and then the floors that account_put_*() keep
 * do not bind it. How far it is stands in the store, in the same commit as each part.
 *
 * One that *returns* belongs to a store that is older than it was: restored from a backup, or
 * rebuilt without what was damaged. Clients may know of UIDs that were given after that and that
 * this copy would give again (P2). So a peer's copy is taken in first, which knows of them as far
 * as they had got there; whoever has ended an exchange with any peer has done so.
 *
 * IMAP, LMTP and users' changes of either are refused with ERR_UNAVAILABLE: try again later. One
 * that is *away* is not here at all (mail/away.h).
 */
#ifndef CHAPAR_MAIL_HOLD_H
#define CHAPAR_MAIL_HOLD_H

#include "mail/mail.h"

/* Where the first copy of an account stands. */
struct account_fill {
	uint64_t source;  /* the node that it comes from */
	uint64_t reached; /* the source's sequence up to which all of its records are here */
	uint64_t at_ms;   /* when the last part came, since 1970 */
	bool is_pulled;   /* this node asks for it; else the source sends it */
	bool is_mixed;    /* parts of another source, or a repair, came before */
	uint64_t view;    /* of some mailboxes only: which (sync/view.h), or 0 */
};

/* ERR_NOT_FOUND: the account is not being filled. ERR_CORRUPT, ERR_VERSION. */
int account_fill_get(struct kv_txn *kv, uint32_t account, struct account_fill *fill_r);
/* Within a commit: the account is being filled, and is there. */
int account_fill_put(struct account_write *write, const struct account_fill *fill);
/* Within a commit: it is served from now on, whatever held it. ERR_ILLEGAL: what came of a first
 * copy cannot be shown, as a mailbox is deleted that still shows messages. */
int account_hold_end(struct account_write *write);

/* 0, or ERR_UNAVAILABLE with the reason; ERR_REPLICA: it is away (mail/away.h). */
int account_hold_check(const struct account_header *header, struct error *error);
/* The same for fronts, of the account as it is now; errors of reading. */
int mail_hold_check(struct mail *mail, uint32_t account, struct error *error);
/* Serves it as it is: for operators, when no peer will ever bring the rest. Durable when it
 * returns. ERR_NOT_FOUND: it is served already. */
int mail_hold_end(struct mail *mail, uint32_t account, struct error *error);
/*
 * Within a commit: a peer remembers more of this copy than there is, so the store is older than it
 * was, and the account returns; unless it is held already.
 */
void account_hold_return(struct account_write *write);
/* The same, if its sequence is below `known`. */
int mail_hold_return(struct mail *mail, uint32_t account, uint64_t known, struct error *error);
/*
 * Before anyone is served: if the store has got a new id since it was served last, as one that was
 * restored from a backup must, mail_hold_returning() for all of it. *has_returned_r tells.
 */
int mail_hold_begin(struct mail *mail, bool *has_returned_r, struct error *error);
/*
 * The store is older than it was: all accounts that were ever common with a peer return. In steps;
 * *account, 0 at first, is moved on. ERR_NOT_FOUND: that was the last.
 */
int mail_hold_returning(struct mail *mail, uint32_t *account, struct error *error);

#endif
