/*
 * seen: a user's private \Seen in mailboxes of other accounts (RFC 4314, right "s").
 *
 * It lives in the user's own account, one register per message, so that copies of it merge message
 * by message (P7): kind RECORD_SEEN; in the place of a mailbox the id of the account that the
 * message is in, its "owner"; key: 'm' and the message's instance. So it follows the message into
 * whatever mailbox of that account it is moved. What a message's record says of \Seen is the
 * owner's, and not shown to others.
 *
 * So that cursors (CONDSTORE, QRESYNC) are exact for each user:
 * (1) To him a message's modseq is the greater of its record's and its register's.
 * (2) A change of \Seen has a modseq above the mailbox's HIGHESTMODSEQ, and raises that in the same
 *     commit (account_announce()); so no later change of the mailbox has a smaller one.
 * (3) What came by replication may have a smaller one, or come before the message does. It is noted
 *     when it comes. Before a cursor is told to him, seen_settle() sees to (2): HIGHESTMODSEQ is
 *     raised; and a register that brought news, where cursors were told already that were not below
 *     it, gets a new modseq. That another node did so is no news: so nodes never chase each other.
 *     Where users may change nothing (mail/account_mode.h), this is put off, and a client may not
 *     hear by its cursor of what was read at the master.
 * (4) When the tombstone of a message is forgotten, its registers become tombstones of their own
 *     (cleared, with a value), which expire as others do. Until then cleared ones stay.
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
/* Makes of a message of `owner` what the user is to see; its flags move to `arena`. */
int seen_apply(struct kv_txn *kv, uint32_t seen_account, struct id128 owner, struct arena *arena,
	struct message_record *message);

/* As account_each_uid_change() or, if `is_roaming`, account_each_uid_change_roaming(). A UID may be
 * told twice; the changes of \Seen come after the others. Costs also what he has seen since in
 * other mailboxes of the account. */
int seen_each_uid_change(struct kv_txn *kv, uint32_t seen_account, uint32_t account,
	struct id128 mailbox, uint64_t after, bool is_roaming, account_uid_function *function,
	void *context);

/* How many of the mailbox's messages he has not seen. Costs what he has ever seen in the account or
 * the mailbox's messages, whichever is less. */
int seen_count_unseen(struct kv_txn *kv, uint32_t seen_account, uint32_t account,
	const struct mailbox_record *mailbox, uint32_t *count_r);

/* 1 if (3) is to be done in the account before a cursor is told, 0 if not. */
int seen_is_ahead(struct mail *mail, struct kv_txn *kv, uint32_t seen_account, uint32_t account);
/* (3). Afterwards read again, at *position_r or later. */
int seen_settle(struct mail *mail, uint32_t seen_account, uint32_t account, struct error *error,
	uint64_t *position_r);

/* Inside a commit, of the user's account: \Seen of one message of `owner`, as of `stamp`. */
int seen_put(struct account_write *own, struct id128 owner, struct stamp instance, bool is_seen,
	struct stamp stamp);

/* (4), of messages of an account of this node that are about to be forgotten. */
int seen_forget(struct mail *mail, uint32_t account, const struct stamp *instances, size_t count,
	struct error *error);

#define SEEN_REGISTER_KEY_SIZE 17
/* The key of a message's register, in `at`. */
struct bytes seen_register_key(unsigned char at[SEEN_REGISTER_KEY_SIZE], struct stamp instance);
/* The message that a register is about; false: it is none of these. Foreign input can bring seen
 * registers with other keys: they mean nothing. */
bool seen_instance(const struct register_record *record, struct stamp *instance_r);
/* A tombstone of (4). */
bool seen_is_gone(const struct register_record *record);

#endif
