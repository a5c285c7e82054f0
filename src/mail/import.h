/*
 * import: mail that comes out of a store of another kind (foreign/), written as acts of that
 * source.
 *
 * Each mailbox of a source has a node id of its own, derived from its name, and what the source did
 * has stamps of that node, as what a peer did has the peer's. From that follows:
 * (1) A message of the source is one instance for ever, on all nodes: (its key there, that node).
 * It is taken in once, whoever imports it, however often, and whatever has become of it here (P8).
 * (2) A flag, a placement or a subscription whose stamp is still the source's may be changed by the
 *     source. What a user changed here stays as he left it.
 * (3) UIDs stay what they were at the source if this copy may still show them (P2, P3); UIDVALIDITY
 *     stays if the mailbox is new here, or is one that has never held a message and whose
 *     UIDVALIDITY is smaller (P5).
 *
 * Writing functions are one durable commit each, errors those of mail.h; ERR_REPLICA and
 * ERR_OVERQUOTA as for users, the latter not if the operator says so.
 */
#ifndef CHAPAR_MAIL_IMPORT_H
#define CHAPAR_MAIL_IMPORT_H

#include "mail/mail.h"

#define IMPORT_KEY_MAX (((uint64_t)1 << 50) - 1) /* well below any modseq of this century */
#define IMPORT_COMMIT_COUNT_MAX 1000             /* messages written in one commit */

/* Where something is to go. */
struct import_target {
	struct mail *mail;
	uint32_t account;
	bool is_over_quota;   /* quotas do not bind */
	struct bytes source;  /* what the source is called; borrowed */
	struct bytes name;    /* the mailbox's name there, as UTF-8 with '/'; borrowed */
	uint32_t uidvalidity; /* there; 0: it has none */
	bool keys_are_uids; /* keys name messages for as long as this UIDVALIDITY; else for ever */

	/* Set by import_mailbox_find() and import_mailbox_open(). */
	uint64_t node; /* of the source's mailbox */
	struct id128 mailbox;
	uint32_t uidvalidity_here;
};

enum import_mailbox_state {
	IMPORT_MAILBOX_THERE,
	IMPORT_MAILBOX_NEW,    /* import_mailbox_open() makes it */
	IMPORT_MAILBOX_DELETED /* it was here, and a user has deleted it: leave it alone */
};

/* Finds out where the mailbox is, or will be. */
int import_mailbox_find(
	struct kv_txn *kv, struct import_target *target, enum import_mailbox_state *state_r);
/* The same, and makes it if it is new. `special_use` is canonical or empty, and given to a new one
 * if no other mailbox has it. */
int import_mailbox_open(struct import_target *target, struct bytes special_use,
	enum import_mailbox_state *state_r, struct error *error);

struct import_message {
	uint64_t key; /* names it in its mailbox at the source; 1 to IMPORT_KEY_MAX */
	uint32_t uid; /* the UID it should have; 0: any */
	const struct bytes *flags;
	size_t flag_count;
	int64_t internaldate;         /* seconds since 1970 UTC */
	int32_t internaldate_zone;    /* minutes east */
	uint64_t size;                /* bytes; 0: not known yet */
	const struct mail_body *body; /* for import_append() only */
};

enum import_state {
	IMPORT_NEW,
	IMPORT_SAME,
	IMPORT_GONE,    /* it was here, and is deleted: so it stays */
	IMPORT_CHANGED, /* its flags are to be changed */
};

/* What there is to do about a message. A message with that UID, UIDVALIDITY, date and size that
 * came from the same mailbox by another way counts as this one. */
int import_look(struct kv_txn *kv, const struct import_target *target,
	const struct import_message *message, struct arena *arena, enum import_state *state_r);

struct import_counts {
	uint64_t new_count, new_bytes;
	uint64_t renumbered_count; /* of the new ones: they have another UID here */
	uint64_t changed_count, gone_count;
};

/* Appends those that are not here. In order of UID; adds to *counts. */
int import_append(const struct import_target *target, const struct import_message *messages,
	size_t count, struct import_counts *counts, struct error *error);
/* Changes flags where import_look() tells so. */
int import_change(const struct import_target *target, const struct import_message *messages,
	size_t count, struct import_counts *counts, struct error *error);
/* Expunges those that are still where the source had put them. */
int import_expunge(const struct import_target *target, const uint64_t *keys, size_t count,
	struct import_counts *counts, struct error *error);

/*
 * The keys of messages of the source that are still where it had put them, of those with UIDs from
 * *uid on, at most IMPORT_COMMIT_COUNT_MAX; sets *uid to where to go on, 0: no more.
 */
int import_each_key(struct kv_txn *kv, const struct import_target *target, uint32_t *uid,
	struct arena *arena, void (*function)(void *context, uint64_t key), void *context);

/* How far the source's mailbox was taken in: all that it held at this point is here. */
struct import_point {
	bool exists;          /* it was taken in at some time */
	uint32_t uidvalidity; /* 0: it has no UIDs */
	uint32_t uidnext;
	uint64_t highestmodseq; /* 0: it has none */
};
int import_point_get(struct kv_txn *kv, const struct import_target *target, struct arena *arena,
	struct import_point *point_r);
/* Keeps the point, and raises UIDNEXT to it where UIDVALIDITY is the same. */
int import_finish(
	const struct import_target *target, const struct import_point *point, struct error *error);
/* Names of mailboxes of the source that have a point. */
int import_each_point(struct kv_txn *kv, const struct import_target *target, struct arena *arena,
	int (*function)(void *context, struct bytes name, const struct import_point *point),
	void *context);
/* The mailbox is no more at the source: forgets its point, and deletes it if nothing is in it and
 * it is still what the source made. */
int import_forget(const struct import_target *target, struct error *error);

/*
 * What belongs to a mailbox besides its messages (rights: an identifier and letters; metadata:
 * "/shared/comment" and its value), or to the account (scripts: a name and its text, and with an
 * empty name that of the active one; limits: "STORAGE" and a number in its unit).
 */
enum import_extra { IMPORT_RIGHTS, IMPORT_METADATA, IMPORT_SCRIPTS, IMPORT_LIMITS };
struct import_entry {
	struct bytes name, value;
};
struct import_extra_counts {
	uint64_t changed_count;  /* written or taken away */
	uint64_t left_out_count; /* no such thing can be here */
};
/*
 * Makes the source's entries what it tells now, all of which are in `entries`: those that are
 * missing are written, those that it tells no more taken away (not limits). What a user decided
 * stays. For rights and metadata import_mailbox_open() came before. With `is_dry_run` it only
 * counts. ERR_TOO_LARGE: more metadata than a mailbox may have.
 */
int import_extra_set(const struct import_target *target, enum import_extra extra,
	const struct import_entry *entries, size_t count, bool is_dry_run,
	struct import_extra_counts *counts, struct error *error);

/* The names that the source has subscribed to. */
int import_each_subscription(struct kv_txn *kv, const struct import_target *target,
	struct arena *arena, void (*function)(void *context, struct bytes name), void *context);
/* Subscribes to the name, or the contrary, unless a user has decided about it here. */
int import_subscribe(const struct import_target *target, bool is_subscribed, bool *is_changed_r,
	struct error *error);

#endif
