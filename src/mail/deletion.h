/*
 * deletion: accounts that are deleted, and bringing back what was deleted within the horizon
 * (mail/expiry.h): messages, mailboxes and accounts.
 *
 * One act of deletion has one stamp: all that a mailbox showed goes with the stamp of its deletion.
 * An account is deleted by expunging all that it shows, deleting its mailboxes (INBOX is emptied),
 * clearing all its registers, and setting ACCOUNT_DELETED_KEY; as records replicate, so does that,
 * and mail that arrives elsewhere before a node has heard of it revives the account (sync/merge.h).
 */
#ifndef CHAPAR_MAIL_DELETION_H
#define CHAPAR_MAIL_DELETION_H

#include "mail/mail.h"

/*
 * Deletes the account, in steps. ERR_NOT_FOUND if it is deleted already. If the process ends
 * between two of them the account remains with the rest; deleting it again goes on with the same
 * act, which can be undone as one.
 */
int mail_account_delete(struct mail *mail, uint32_t account, struct error *error);

/* The account of that name, even if it is deleted. ERR_NOT_FOUND. */
int mail_account_find(
	struct mail *mail, struct bytes name, struct error *error, uint32_t *number_r);

/* ---- what can be brought back ---- */

/* Calls `function` for each message of the account that is gone and whose body is kept, in order of
 * instance, until it returns other than 0, which is returned. The record is borrowed. */
int mail_each_gone(struct mail *mail, uint32_t account, account_message_function *function,
	void *context, struct error *error);

struct undelete {
	struct bytes mailbox; /* only what was shown in the mailbox of this name; empty: in any */
	struct bytes to;      /* into this mailbox, made if there is none; empty: where it was */
	uint64_t since_ms;    /* only what went since then, by this node's clock */
	const struct stamp *instances; /* only these ... */
	size_t instance_count;         /* ... or 0: all */

	uint64_t message_count; /* results */
	bool has_account;       /* the account itself was deleted, and is no more */
};

/*
 * Brings messages back as new instances with their INTERNALDATE and the flags that they had,
 * \Deleted apart; in steps. If `mailbox` names one that was deleted, it is made again and gets what
 * it showed then. If the account is deleted and the request is for all of it, what its deletion
 * deleted comes back: mailboxes, messages and registers. ERR_NOT_FOUND: there is no such mailbox,
 * and was none.
 */
int mail_undelete(
	struct mail *mail, uint32_t account, struct undelete *undelete, struct error *error);

#endif
