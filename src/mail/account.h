/*
 * account: the root of what belongs to one user; its records, their indexes, its clock and its
 * digest.
 *
 * Invariants, kept by account_put_*() in the same transaction as the record:
 * (1) A (mailbox, UID) names one instance for ever: a message is shown at a UID that it has already
 * or that is at or above UIDNEXT as of the beginning of the write (P2, P3); else ERR_ILLEGAL. (2)
 * What becomes visible in a mailbox has a modseq above its HIGHESTMODSEQ as of the beginning of the
 *     write (P4); a mere rise of an unchanged message's modseq is exempt; else ERR_ILLEGAL.
 * (3) No modseq, UIDVALIDITY or UIDNEXT decreases, nothing gone returns without a later placement
 * (P5). (4) The digests and counts equal what the records say (account_verify recomputes them). (5)
 * Every record is in the sequence index exactly once, at its last write; the account is in the
 * store's feed if it changed.
 *
 * Reading functions take any kv transaction; what they return borrows from `arena` (kept by the
 * caller) unless they say otherwise. A struct account_write lives inside one store_commit()
 * callback.
 */
#ifndef CHAPAR_MAIL_ACCOUNT_H
#define CHAPAR_MAIL_ACCOUNT_H

#include "mail/record.h"

#include "kv/kv.h"
#include "store/store.h"

struct mail_body;    /* mail/mail.h */
struct quota_limits; /* mail/quota.h */

#define ACCOUNT_NAME_SIZE_MAX 200 /* bytes */

/* Key of an account-level register that is written by each merge that changes something for both
 * sides. */
#define ACCOUNT_MERGED_KEY "merged"
/* Key of the account-level register that is set while the account is deleted (mail/deletion.h). */
#define ACCOUNT_DELETED_KEY "deleted"

/* Why users are not served an account that is here (mail/hold.h). */
enum account_hold {
	ACCOUNT_SERVED,    /* they are */
	ACCOUNT_FILLING,   /* its first copy is not whole yet */
	ACCOUNT_RETURNING, /* the store is older than it was: a peer's copy is to be taken in first
			    */
	ACCOUNT_AWAY /* it was moved to another node: its copy here was given up (mail/away.h) */
};

struct account_header {
	uint32_t number; /* this store's short name for it; never on the wire */
	struct id128 id; /* derives from the name: the same on all nodes */
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	uint64_t clock_last; /* the hybrid logical clock: greatest modseq given or seen */
	uint64_t highest;  /* greatest modseq of anything shown on this copy, or its floor below */
	uint64_t sequence; /* of the last write */
	uint32_t uidvalidity_last; /* greatest UIDVALIDITY ever used */
	uint64_t vanished_floor;   /* see account_each_uid_change_roaming() */
	uint64_t forgotten;        /* greatest sequence of a message's tombstone that has expired */
	uint64_t message_count;
	uint64_t byte_count;
	uint32_t mailbox_count;         /* live ones */
	uint64_t annotation_byte_count; /* values of annotations of messages (mail/annotation.h) */
	struct digest digest;           /* of all live records */
	uint64_t kept_count;            /* messages that are gone and whose bodies are kept ... */
	uint64_t kept_bytes;            /* ... and the sum of their sizes */
	bool is_deleted;                /* ACCOUNT_DELETED_KEY is set */
	enum account_hold hold;
	/* The sequence at which this copy began anew after it had been away; what peers remember of
	 * sequences before it means nothing. */
	uint64_t begun;
	/* The id by which acts here are stamped, in place of the node's own; 0: that. A clone's
	 * copy of another user's account has one (sync/foreign.h). */
	uint64_t writer;
};

/* ---- finding and reading ---- */

/* Lower case, no domain rules: what every front uses. ERR_INVALID for empty, too long, control
 * characters, '/'. */
int account_name_normalize(struct bytes name, char name_r[ACCOUNT_NAME_SIZE_MAX + 1]);
int account_find(struct kv_txn *kv, struct bytes name, uint32_t *number_r);
int account_load(struct kv_txn *kv, uint32_t number, struct account_header *header_r);
/* The first account with a number above `after`; ERR_NOT_FOUND at the end. Start with 0. */
int account_next(struct kv_txn *kv, uint32_t after, struct account_header *header_r);

int account_get_mailbox(struct kv_txn *kv, uint32_t account, struct id128 id, struct arena *arena,
	struct mailbox_record *mailbox_r);
/* A live mailbox by its name (INBOX in any case). */
int account_find_mailbox(struct kv_txn *kv, uint32_t account, struct bytes name,
	struct arena *arena, struct mailbox_record *mailbox_r);
int account_get_message(struct kv_txn *kv, uint32_t account, struct stamp instance,
	struct arena *arena, struct message_record *message_r);
int account_get_message_at(struct kv_txn *kv, uint32_t account, struct id128 mailbox, uint32_t uid,
	struct arena *arena, struct message_record *message_r);
int account_get_register(struct kv_txn *kv, uint32_t account, enum record_kind kind,
	struct id128 mailbox, struct bytes key, struct arena *arena,
	struct register_record *record_r);
/* Where a message is shown; ERR_NOT_FOUND if it is not. */
int account_find_shown(struct kv_txn *kv, uint32_t account, struct stamp instance,
	struct id128 *mailbox_r, uint32_t *uid_r);

/*
 * Iterations call back once per record, in key order, until the callback returns other than 0,
 * which they return. The record borrows from `arena`, which is NOT reset between calls.
 */
typedef int account_mailbox_function(void *context, const struct mailbox_record *mailbox);
typedef int account_message_function(void *context, const struct message_record *message);
typedef int account_register_function(void *context, const struct register_record *record);

/* All mailboxes, deleted ones too. */
int account_each_mailbox(struct kv_txn *kv, uint32_t account, struct arena *arena,
	account_mailbox_function *function, void *context);
/* Live ones whose names begin with `prefix`, in order of name. */
int account_each_mailbox_of(struct kv_txn *kv, uint32_t account, struct bytes prefix,
	struct arena *arena, account_mailbox_function *function, void *context);
/* Messages shown in a mailbox with first <= UID <= last, in UID order. */
int account_each_message(struct kv_txn *kv, uint32_t account, struct id128 mailbox, uint32_t first,
	uint32_t last, struct arena *arena, account_message_function *function, void *context);
/* Registers of one kind, cleared ones too. */
int account_each_register(struct kv_txn *kv, uint32_t account, enum record_kind kind,
	struct arena *arena, account_register_function *function, void *context);
/* The same of one mailbox only. */
int account_each_mailbox_register(struct kv_txn *kv, uint32_t account, enum record_kind kind,
	struct id128 mailbox, struct arena *arena, account_register_function *function,
	void *context);

/* Those of them that are of one mailbox (or of none) and whose key begins with `prefix`, cleared
 * ones too. */
int account_each_register_of(struct kv_txn *kv, uint32_t account, enum record_kind kind,
	struct id128 mailbox, struct bytes prefix, struct arena *arena,
	account_register_function *function, void *context);

/* Records last written at a sequence above `after`, in sequence order; costs what changed. Those
 * for which there is no function (NULL) are passed over unread. */
struct account_change_functions {
	account_mailbox_function *mailbox;
	account_message_function *message; /* tombstones too */
	account_register_function *record;
};
int account_each_change(struct kv_txn *kv, uint32_t account, uint64_t after, struct arena *arena,
	const struct account_change_functions *functions, void *context);

/* UIDs of a mailbox shown or vanished with a modseq above `after`, in modseq order (CONDSTORE,
 * QRESYNC). */
typedef int account_uid_function(void *context, uint32_t uid, uint64_t modseq, bool is_vanished);
int account_each_uid_change(struct kv_txn *kv, uint32_t account, struct id128 mailbox,
	uint64_t after, account_uid_function *function, void *context);

/*
 * The same for a cursor that a client may have got from another copy (P4). That copy may have shown
 * UIDs that were never noted here: used and given up there before this copy heard of it, or noted
 * with modseqs that cursors of that copy were already above. So whenever UIDNEXT leaps over UIDs
 * that this copy does not show, or a merge joined changes of two sides, the clock is kept in the
 * account's `vanished_floor`; for a cursor below that, all UIDs below UIDNEXT that are not shown
 * are told as vanished, first and in order.
 */
int account_each_uid_change_roaming(struct kv_txn *kv, uint32_t account, struct id128 mailbox,
	uint64_t after, account_uid_function *function, void *context);

/* 1 if a UID of the mailbox vanished at exactly that modseq, and that is noted still; 0 if not. */
int account_has_vanished(
	struct kv_txn *kv, uint32_t account, struct id128 mailbox, uint64_t modseq);

/*
 * Messages that are not shown any more, in order of instance, after *after, which is moved on. At
 * most `row_count` rows are looked at; returns 1 if there are more, or what the callback returned.
 */
int account_each_gone(struct kv_txn *kv, uint32_t account, struct stamp *after, size_t row_count,
	struct arena *arena, account_message_function *function, void *context);

/* Sum of message terms of the UIDs first..last of a mailbox, and how many there are. */
int account_range_digest(struct kv_txn *kv, uint32_t account, struct id128 mailbox, uint32_t first,
	uint32_t last, struct digest *digest_r, uint32_t *count_r);

/* ---- writing: inside a store_commit() callback only ---- */

struct account_write {
	struct store_write *store;
	struct kv_txn *kv;
	struct arena *arena; /* scratch of this write; freed by account_write_end() */
	uint64_t node;       /* this node's id, for stamps */
	uint64_t now_ms;
	struct account_header header;
	struct account_floor *
		*floors; /* each touched mailbox: as it was before this write, and as it is */
	size_t floor_count, floor_room;
	const struct mail_body *
		*bodies; /* brought in by mail_body_add(), stored when first named */
	size_t body_count, body_room;
	struct guid *releases; /* of bodies no more shown: given up at the end, for the same commit
				  may show them elsewhere */
	size_t release_count, release_room;
	bool is_merge;   /* ACCOUNT_MERGED_KEY was written */
	bool is_counted; /* the header changed in what only this copy knows */
	/* Set by merges: account_put_message() notes that the placement, or (mailbox, UID), was
	 * written once more, though it stays as it is (placed_again, shown_again). */
	bool renews_placed, renews_shown;
	/* account_put_message(): the placement counts as new to this copy, though it stays as it
	 * is. */
	bool counts_as_placed;
	/* For quota_enforce(): what the account held before, and the limits of those that have none
	 * of their own (NULL: no limits). */
	struct {
		uint64_t message_count, byte_count, annotation_byte_count;
		uint32_t mailbox_count;
	} before;
	const struct quota_limits *quota_defaults;
	bool is_dirty;
	/* Set for what users do: why they may not, once account_put_*() has returned ERR_REPLICA.
	 * NULL: it is the node's own doing, or a peer's. */
	struct error *user_error;
	bool user_is_checked;
	struct buffer notes; /* of registers, for watches (mail/watch_note.h) */
	size_t note_count;
};

int account_write_begin(struct account_write *write, struct store_write *store, uint64_t node,
	uint64_t now_ms, uint32_t account);
/* Stores the header and feeds the account if anything was written. Always call it, with the result
 * so far; returns that or its own error. */
int account_write_end(struct account_write *write, int rc);
/* Makes the account and its INBOX (both with ids derived from `name`). ERR_EXISTS, ERR_INVALID. */
int account_create(struct store_write *store, uint64_t node, uint64_t now_ms, struct bytes name,
	uint32_t *number_r);

/*
 * Writes the mailbox rows whose counts, UIDNEXT or digest changed, and brings header.digest up to
 * date. account_write_end() does it too; call it earlier to read mailboxes or header.digest within
 * the write. ERR_ILLEGAL: two live mailboxes have one name, or a deleted one still shows messages.
 */
int account_write_flush(struct account_write *write);

/* The next clock value: above everything this account has seen, and above `floor`. */
uint64_t account_tick(struct account_write *write, uint64_t floor);
struct stamp account_stamp(struct account_write *write);
/* A UIDVALIDITY above all that this account ever used. */
uint32_t account_uidvalidity_new(struct account_write *write);

/* Write a record as it is (modseq given by the caller); local fields are filled in here.
 * ERR_ILLEGAL. */
int account_put_mailbox(struct account_write *write, const struct mailbox_record *mailbox);
/* ERR_NOT_FOUND if the body of a message to be shown is not in the store; add it before. */
int account_put_message(struct account_write *write, const struct message_record *message);
int account_put_register(struct account_write *write, const struct register_record *record);
/*
 * Gives the mailbox a new UIDVALIDITY, under which UIDs go on from `uidnext`: for a copy that has
 * to show other messages at UIDs that it gave by itself. ERR_ILLEGAL: it shows something at or
 * above that; ERR_NOT_FOUND.
 */
int account_restart_uids(struct account_write *write, struct id128 mailbox, uint32_t uidnext);
/* Raises UIDNEXT of a mailbox to at least `uidnext`. */
int account_raise_uidnext(struct account_write *write, struct id128 mailbox, uint32_t uidnext);
/* Raises the clock to at least `modseq` (seen from a peer). */
void account_observe(struct account_write *write, uint64_t modseq);
/*
 * Raises the mailbox's HIGHESTMODSEQ, its record's modseq and the clock to at least `modseq`,
 * though nothing in it changed: a user's private \Seen there did (mail/seen.h). What changes later,
 * on this copy or on one that has synced, has a greater modseq. ERR_NOT_FOUND; ERR_ILLEGAL.
 */
int account_announce(struct account_write *write, struct id128 mailbox, uint64_t modseq);
/* Gives up the body that is kept for a message that is gone. */
int account_give_up_kept(struct account_write *write, const struct message_record *message);

#endif
