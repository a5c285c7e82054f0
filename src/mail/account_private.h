/* account_private: stored forms that only the account_*.c files know. */
#ifndef CHAPAR_MAIL_ACCOUNT_PRIVATE_H
#define CHAPAR_MAIL_ACCOUNT_PRIVATE_H

#include "mail/account.h"
#include "mail/tables.h"

/* Values of MAIL_TABLE_INSTANCE begin with one of these, values of MAIL_TABLE_MODSEQ are one. */
#define ENTRY_SHOWN 'S'
#define ENTRY_TOMBSTONE 'T'
#define ENTRY_VANISHED 'V'

void account_header_encode(struct buffer *out, const struct account_header *header);
/* The version of what was read (1 lacks the counts of mailboxes and annotations), or an error. */
int account_header_decode(struct bytes in, struct account_header *header_r);
/* A row of MAIL_TABLE_MAILBOX; what an older version did not count is counted now. Borrows from
 * `value`. ERR_CORRUPT, ERR_VERSION; errors of reading. */
int account_mailbox_decode(
	struct kv_txn *kv, uint32_t account, struct bytes value, struct mailbox_record *mailbox_r);

/*
 * Keeps the indexes of registers (MAIL_TABLE_GRANT, MAIL_TABLE_SEEN) in step. `before` has modseq 0
 * if there was none.
 */
int register_index_change(struct account_write *write, const struct register_record *before,
	const struct register_record *after);
/* Whether the rows of a register are there as they should be. ERR_CORRUPT; errors of reading. */
int register_index_check(struct kv_txn *kv, uint32_t account, const struct register_record *record);

/* Keys in MAIL_TABLE_SEQUENCE's values: a kind byte, then the record's key without the account. */
struct bytes sequence_value_mailbox(unsigned char at[17], struct id128 id);
struct bytes sequence_value_message(unsigned char at[17], struct stamp instance);

/*
 * Inside account_put_*(): fills the record's gone_* fields and keeps the index of what is gone.
 * `before` is the record that is replaced; NULL if there is none (of a register: zeroed).
 */
int expiry_note_message(struct account_write *write, const struct message_record *before,
	struct message_record *after);
int expiry_note_register(struct account_write *write, const struct register_record *before,
	struct register_record *after);
/* Nobody has seen anything of it yet (mail/hold.h): no floor binds it, and no UID vanishes. */
static inline bool account_is_unseen(const struct account_write *write)
{
	return write->header.hold == ACCOUNT_FILLING;
}
/* The tombstone has its row in the index. */
bool expiry_has_message(struct kv_txn *kv, uint32_t account, const struct message_record *message);
/* Takes a tombstone out as if its time had come. ERR_CORRUPT: it is none. */
int expiry_forget_message(struct account_write *write, const struct message_record *message);
int expiry_forget_register(struct account_write *write, const struct register_record *record);
/* The INBOX that an account of that name is made with. */
struct mailbox_record account_inbox(struct bytes account_name);
/* Writes the row by which a message is found: where it is shown, or, if it is not, all of it. */
int account_instance_put(struct account_write *write, const struct message_record *message);
/* Gives up the body kept for a tombstone, if any, at the end of the commit; the record stays as it
 * is. */
int account_release_kept(struct account_write *write, const struct message_record *message);

#endif
