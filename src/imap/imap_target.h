/*
 * imap_target: what a mailbox name of the client's means: which account it is in, what it is called
 * there, and what this session's user may do with it.
 *
 * Every command finds its mailboxes here and says which rights it needs. Who lacks them is told
 * NOPERM if he may know of the mailbox (`l`), else NONEXISTENT, as of any name that is not there
 * (RFC 4314, section 6).
 *
 * Namespaces (RFC 2342): names are those of the user's own mailboxes; but PREFIX/NAME is the INBOX
 * of the account NAME, and PREFIX/NAME/REST its mailbox REST, with one prefix for other users'
 * accounts and one for shared ones. A mailbox of his own that has such a name hides the other.
 */
#ifndef CHAPAR_IMAP_TARGET_H
#define CHAPAR_IMAP_TARGET_H

#include "imap/imap_session.h"

#include "mail/acl.h"
#include "mail/shared.h"

struct imap_target {
	uint32_t account;      /* its number */
	bool is_own;           /* the user's own account */
	bool is_shared;        /* an account that belongs to nobody */
	unsigned rights;       /* of enum acl_right: what the user may do */
	uint32_t seen_account; /* where his \Seen is (mail/seen.h) */
	struct bytes name;     /* inside the account: UTF-8, INBOX as "INBOX" */
	bool exists;
	struct mailbox_record mailbox; /* if it exists; lives in the session's arena */
};

/*
 * Finds an existing mailbox of which the user has all rights in `needs` (of enum acl_right). `kv`
 * NULL: in a snapshot of its own, with all that was acknowledged to anyone. ERR_NOT_FOUND,
 * ERR_REFUSED, both with their text in *error (which may be NULL), and the errors of reading.
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
/* The same of the selected mailbox, of which he knows. */
int imap_view_check(const struct imap_session *session, unsigned needs, struct error *error);

/*
 * NO: there is no mailbox `name` to put messages into. [TRYCREATE], unless it is certain that there
 * can be none (RFC 3501, 6.3.11).
 */
enum net_result imap_no_destination(struct imap_session *session, struct bytes name);

/* Fills in what follows from the mailbox being there: rights, and where \Seen is. */
int imap_target_complete(
	struct imap_session *session, struct kv_txn *kv, struct imap_target *target);
struct shared_place imap_target_place(const struct imap_target *target);

/*
 * Looks anew what the user may do with the selected mailbox, and tells of it if it changed. 1: he
 * may read it no more. ERR_NOT_FOUND: it is gone (imap_view_verify()).
 */
int imap_view_refresh(struct imap_session *session);

/* The client's name for a mailbox of another account; lives in the session's arena. */
struct bytes imap_target_foreign_name(
	struct imap_session *session, const char *account_name, bool is_shared, struct bytes name);

#endif
