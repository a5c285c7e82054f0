/*
 * seen: a user's private \Seen in mailboxes of other accounts (RFC 4314, right "s").
 *
 * It lives in the user's own account, one register per message (kind RECORD_SEEN; mailbox: the
 * other account's; key: the message's instance), so that copies of it merge message by message
 * (P7). What a message's record says of \Seen is the owner's, and not shown to others.
 *
 * So that cursors (CONDSTORE, QRESYNC) are exact for each user:
 * (1) To him a message's modseq is the greater of its record's and its register's.
 * (2) A change of \Seen has a modseq above the mailbox's HIGHESTMODSEQ, and raises that in the same
 *     commit (account_announce()); so no later change of the mailbox has a smaller one.
 * (3) Where the register came by replication before the mailbox's account did, HIGHESTMODSEQ may
 * lie below it. Before a cursor is told to him, seen_settle() raises it.
 *
 * "seen account" is the number of the account that holds a user's \Seen; 0: the messages themselves
 * do (his own mailboxes), and all functions do what their namesakes in account.h do.
 */
#ifndef CHAPAR_MAIL_SEEN_H
#define CHAPAR_MAIL_SEEN_H

#include "mail/mail.h"

/* As account_each_message(), with flags and modseqs as the user is to see them. */
int seen_each_message(struct kv_txn *kv, uint32_t seen_account, uint32_t account,
	struct id128 mailbox, uint32_t first, uint32_t last, struct arena *arena,
	account_message_function *function, void *context);
/* Makes of a message what the user is to see; its flags move to `arena`. */
int seen_apply(struct kv_txn *kv, uint32_t seen_account, struct id128 mailbox, struct arena *arena,
	struct message_record *message);

/* As account_each_uid_change() or, if `is_roaming`, account_each_uid_change_roaming(). A UID may be
 * told twice; the changes of \Seen come after the others. */
int seen_each_uid_change(struct kv_txn *kv, uint32_t seen_account, uint32_t account,
	struct id128 mailbox, uint64_t after, bool is_roaming, account_uid_function *function,
	void *context);

/* How many of the mailbox's messages he has not seen. Costs what he has ever seen there. */
int seen_count_unseen(struct kv_txn *kv, uint32_t seen_account, uint32_t account,
	const struct mailbox_record *mailbox, uint32_t *count_r);

/* 1 if (3) is to be done before a cursor is told, 0 if not. */
int seen_is_ahead(struct kv_txn *kv, uint32_t seen_account, const struct mailbox_record *mailbox);
/* (3). Afterwards read again, at *position_r or later. */
int seen_settle(struct mail *mail, uint32_t seen_account, uint32_t account, struct id128 mailbox,
	struct error *error, uint64_t *position_r);

/* Inside a commit, of the user's account: \Seen of one message, as of `stamp`. */
int seen_put(struct account_write *own, struct id128 mailbox, struct stamp instance, bool is_seen,
	struct stamp stamp);

#endif
