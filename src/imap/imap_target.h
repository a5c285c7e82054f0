/*
 * imap_target: what a mailbox name of the client's means: which account it is in, what it is called
 * there, and what this session's user may do with it.
 *
 * Every command finds its mailboxes here and says which rights it needs. Who lacks them is told
 * NOPERM if he may know of the mailbox (`l`), else NONEXISTENT, as of any name that is not there
 * (RFC 4314, section 6).
 */
#ifndef CHAPAR_IMAP_TARGET_H
#define CHAPAR_IMAP_TARGET_H

#include "imap/imap_session.h"

#include "mail/acl.h"

struct imap_target {
	uint32_t account;  /* its number */
	bool is_own;       /* the user's own account */
	unsigned rights;   /* of enum acl_right: what the user may do */
	struct bytes name; /* inside the account: UTF-8, INBOX as "INBOX" */
	bool exists;
	struct mailbox_record mailbox; /* if it exists; lives in the session's arena */
};

/*
 * Finds an existing mailbox of which the user has all rights in `needs` (of enum acl_right). `kv`
 * NULL: in a snapshot of its own. ERR_NOT_FOUND, ERR_REFUSED, both with their text in *error (which
 * may be NULL), and the errors of reading.
 */
int imap_target_find(struct imap_session *session, struct kv_txn *kv, struct bytes name,
	unsigned needs, struct imap_target *target_r, struct error *error);

/*
 * Finds where a mailbox is, or would be if there were one; `rights` are those to the mailbox, or,
 * if it does not exist, to the nearest one above it. Nothing is asked of them. ERR_NOT_FOUND: no
 * account is behind that name.
 */
int imap_target_resolve(struct imap_session *session, struct kv_txn *kv, struct bytes name,
	struct imap_target *target_r);
/* 0 if the rights suffice, else ERR_NOT_FOUND or ERR_REFUSED with its text. */
int imap_target_check(const struct imap_target *target, unsigned needs, struct error *error);

#endif
