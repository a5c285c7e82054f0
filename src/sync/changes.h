/*
 * changes: a set of records that changed on one copy since a point, with what the receiver must
 * know of the sender to judge them. The currency of every exchange, bundle and merge.
 */
#ifndef CHAPAR_SYNC_CHANGES_H
#define CHAPAR_SYNC_CHANGES_H

#include "mail/account.h"

/* A message record and what its sender knows of it. */
struct message_change {
	struct message_record record; /* local fields are 0 when it came from elsewhere */
	bool was_common; /* its placement was part of the common point the set starts from */
};

struct change_set {
	struct id128 account;
	uint64_t since;     /* the sender's sequence the set starts after; 0: everything */
	uint64_t sequence;  /* the sender's sequence the set reaches */
	uint64_t highest;   /* greatest modseq the sender has shown in the account */
	bool has_forgotten; /* expunges since the common point are not among these: they expired */
	struct mailbox_record *mailboxes; /* each with the sender's present UIDNEXT */
	size_t mailbox_count;
	struct message_change *messages;
	size_t message_count;
	struct register_record *registers;
	size_t register_count;
	size_t mailbox_room, message_room, register_room;
};

/*
 * A zeroed set is empty. Its arrays are its own, freed by change_set_deinit(); what the records
 * borrow (names, flags, values) stays where it is.
 */
void change_set_deinit(struct change_set *set);
void change_set_add_mailbox(struct change_set *set, const struct mailbox_record *mailbox);
void change_set_add_message(
	struct change_set *set, const struct message_record *message, bool was_common);
void change_set_add_register(struct change_set *set, const struct register_record *record);

/* Sorts each array by its records' keys; of records that are there twice, the one added last stays.
 */
void change_set_normalize(struct change_set *set);
/*
 * Of own changes since a sorted-out common point (point.h), or compared as of it: messages count as
 * placed and shown when they were written once more behind it.
 */
void change_set_sort_out(struct change_set *set, uint64_t point);
/* None of its records counts as there before: who lacks one has not deleted it. */
void change_set_all_new(struct change_set *set);
/* Finds a record in a normalized set, or NULL. */
const struct mailbox_record *change_set_mailbox(const struct change_set *set, struct id128 id);
const struct message_change *change_set_message(
	const struct change_set *set, struct stamp instance);
const struct register_record *change_set_register(
	const struct change_set *set, const struct register_record *key);

/*
 * Reads what an account's records have become since its sequence `since`, at most `count_max`
 * records: if there were more, set_r->sequence is that of the last one read, and the rest are the
 * changes since then. The set is normalized; was_common is told as of `common`, our sequence at the
 * common point, which is not later than `since`. Records borrow from `arena`. On errors *set_r is
 * empty.
 */
int change_set_read(struct kv_txn *kv, const struct account_header *header, uint64_t since,
	uint64_t common, size_t count_max, struct arena *arena, struct change_set *set_r);

#endif
