/*
 * record: what an account consists of (docs/replication.md). Every record has a key, a value, a
 * modseq and, when deleted, remains as a tombstone; nothing of an account lives outside a record.
 *
 * What users did (flags, placement, names) is kept in registers, each with the stamp of the act
 * that set it; a register's later stamp wins, wherever it was made. What a message is called
 * (mailbox, UID) is only a name for clients, given by whoever shows it.
 *
 * The structs borrow their names, flags and values from the arena or buffer they were decoded into.
 * Encodings are versioned by their first byte. All functions are pure.
 */
#ifndef CHAPAR_MAIL_RECORD_H
#define CHAPAR_MAIL_RECORD_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/hash.h"

#include <stdint.h>

#define MODSEQ_MAX (((uint64_t)1 << 53) - 1) /* every client language can hold it */
#define MODSEQ_PER_MS 1024                   /* the hybrid clock's steps in a millisecond */
#define MAILBOX_NAME_SIZE_MAX 400            /* bytes of UTF-8; fits an index key */
#define FLAG_NAME_SIZE_MAX 200               /* bytes */
#define MESSAGE_FLAG_COUNT_MAX 256           /* flags with a history, of one message */
#define REGISTER_KEY_SIZE_MAX 400            /* bytes */
#define REGISTER_VALUE_SIZE_MAX (64 * 1024)  /* bytes */

static inline uint64_t modseq_of_ms(uint64_t ms)
{
	return ms * MODSEQ_PER_MS;
}

/* When and where a user's change was made: totally ordered, never rewritten. */
struct stamp {
	uint64_t modseq;
	uint64_t node;
};

static inline int stamp_compare(struct stamp a, struct stamp b)
{
	if (a.modseq != b.modseq)
		return a.modseq < b.modseq ? -1 : 1;
	return a.node < b.node ? -1 : a.node > b.node;
}

static inline bool stamp_is_none(struct stamp stamp)
{
	return stamp.modseq == 0 && stamp.node == 0;
}

/* The order of record kinds is also the order in which a batch applies them. */
enum record_kind {
	RECORD_ACCOUNT = 1, /* an account-level register: credentials, quota limits, options */
	RECORD_MAILBOX = 2,
	RECORD_ACL = 3,
	RECORD_MESSAGE = 4,
	RECORD_ANNOTATION = 5,
	RECORD_SUBSCRIPTION = 6,
	RECORD_SEEN = 7,
	RECORD_SCRIPT = 8
};

struct mailbox_record {
	struct id128 id;
	struct stamp name_stamp;
	struct bytes name; /* UTF-8, '/' between levels; INBOX as "INBOX" */
	uint32_t uidvalidity;
	struct stamp special_use_stamp; /* none: never set */
	struct bytes special_use;       /* "\Sent" or "" */
	struct stamp deleted;           /* none: live. Deletion is final */
	struct id128 forward;           /* the mailbox that took a deleted one's mail, or none */
	uint64_t modseq;
	uint32_t uidnext; /* travels with the record; joined by the greater */

	/* Local to this copy, not part of the canonical form. */
	uint64_t sequence;           /* of this record's last write, UIDNEXT included */
	uint64_t highestmodseq;      /* greatest ever shown in it, vanished UIDs included */
	uint32_t message_count;      /* shown now */
	uint32_t unseen_count;       /* of them without \Seen */
	uint32_t deleted_count;      /* of them with \Deleted */
	uint64_t byte_count;         /* sum of their sizes */
	uint64_t deleted_byte_count; /* of those with \Deleted */
	struct digest digest;        /* this record's and its shown messages' */
};

/* In deleted_byte_count of what was stored before it was counted, until account_get_mailbox() and
 * its like have counted it. */
#define MAILBOX_BYTES_UNKNOWN UINT64_MAX

static inline bool mailbox_is_live(const struct mailbox_record *mailbox)
{
	return stamp_is_none(mailbox->deleted);
}

/* One flag that was ever set or cleared; flags given at append carry the instance as their stamp.
 */
struct flag_state {
	struct bytes name; /* "\Seen" (system flags in this spelling) or a keyword */
	struct stamp stamp;
	bool is_set;
};

struct message_record {
	struct stamp instance; /* the identity: stamp of the append or copy */
	struct guid guid;
	uint64_t size;             /* bytes */
	int64_t internaldate;      /* seconds since 1970 UTC */
	int32_t internaldate_zone; /* minutes east of UTC, as the client gave it */
	uint64_t savedate_ms;      /* when it came to its mailbox, milliseconds since 1970 */
	struct id128 thread;

	struct stamp placed;    /* the placement register: last append, MOVE or EXPUNGE ... */
	struct id128 placed_in; /* ... and where to; none: expunged */

	struct id128 mailbox; /* shown as: none and UID 0 when not shown */
	uint32_t uid;

	struct flag_state *flags; /* sorted by name, bytewise, each name once */
	size_t flag_count;
	uint64_t modseq;

	/* Local to this copy. */
	uint64_t sequence;        /* of this record's last write */
	uint64_t placed_sequence; /* at which the present placement arrived here */
	uint64_t shown_sequence;  /* at which the present (mailbox, UID) was given here */
	/* 0, or when these were written once more behind a sorted-out common point (sync/point.h):
	 * towards that point they count as having come then. Of shown messages only. */
	uint64_t placed_again, shown_again;
	/* And of one that is not shown: */
	uint64_t
		gone_ms; /* when it went, by this node's clock; ms since 1970. It expires by that */
	struct id128 gone_from; /* the mailbox that it was shown in, or none: it never was, here */
	bool has_body;          /* its body is kept, so that it can be brought back */
};

/*
 * Which of two placements of one message is the later: that of the append comes before all others,
 * also where the clock of a guest who appended was ahead (mail.h, is_of_guest).
 */
static inline int placement_compare(struct stamp instance, struct stamp a, struct stamp b)
{
	bool is_first_a = stamp_compare(a, instance) == 0;
	bool is_first_b = stamp_compare(b, instance) == 0;

	if (is_first_a != is_first_b)
		return is_first_a ? -1 : 1;
	return stamp_compare(a, b);
}

static inline bool message_is_shown(const struct message_record *message)
{
	return message->uid != 0;
}

/* Any record that is one register: kind, mailbox id (or none) and key name it. */
struct register_record {
	enum record_kind kind;
	struct id128 mailbox;
	struct bytes key;
	struct stamp stamp;
	bool is_set;        /* false: a tombstone */
	struct bytes value; /* of a tombstone: what it was, where it is to be brought back */
	uint64_t modseq;
	bool was_common; /* in a repair: unchanged since the last common point */

	/* Local to this copy. */
	uint64_t sequence;
	uint64_t gone_ms; /* of a cleared one: when that came here, as of messages */
};

/* The flag's state, or NULL if it never changed. */
const struct flag_state *message_flag(const struct message_record *message, struct bytes name);
/* True if the flag is set. */
bool message_has_flag(const struct message_record *message, struct bytes name);
/*
 * Sets the register of one flag in message->flags (which moves to `arena`); an equal or later stamp
 * that is there already stays. ERR_TOO_LARGE over MESSAGE_FLAG_COUNT_MAX.
 */
int message_flag_put(struct message_record *message, struct arena *arena, struct flag_state flag);

/* Same content for clients and users (modseq and local fields aside). */
bool mailbox_same(const struct mailbox_record *a, const struct mailbox_record *b);
bool message_same(const struct message_record *a, const struct message_record *b);
bool register_same(const struct register_record *a, const struct register_record *b);

/* Stored forms. Decoding borrows names from `in`; that of messages copies them, and arrays, to
 * `arena`. ERR_CORRUPT, ERR_VERSION. */
void mailbox_encode(struct buffer *out, const struct mailbox_record *mailbox);
int mailbox_decode(struct bytes in, struct mailbox_record *mailbox_r);
void message_encode(struct buffer *out, const struct message_record *message);
int message_decode(struct bytes in, struct arena *arena, struct message_record *message_r);
void register_encode(struct buffer *out, const struct register_record *record);
int register_decode(struct bytes in, struct register_record *record_r);

/*
 * The term that a live record adds to its mailbox's and account's digest: a hash of the canonical
 * form (docs/replication.md). A deleted mailbox, a message not shown and a cleared register add
 * nothing (zero).
 */
struct digest mailbox_term(const struct mailbox_record *mailbox);
struct digest message_term(const struct message_record *message);
struct digest register_term(const struct register_record *record);

#endif
