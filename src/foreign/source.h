/*
 * source: a store of another kind that mail is taken out of: a Maildir, files of mboxes, an IMAP
 * server. Each kind is a struct source_class; a source never changes what it reads.
 *
 * One thread uses a source. What functions put into an arena stays until the caller resets it.
 * Errors of all: ERR_IO, ERR_CLOSED, ERR_TIMEOUT end the whole import; others that are told of one
 * mailbox leave the rest to be read. Every length and count that is read is bounded.
 */
#ifndef CHAPAR_FOREIGN_SOURCE_H
#define CHAPAR_FOREIGN_SOURCE_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "mail/import.h"

#include <stdint.h>

#define SOURCE_MAILBOX_COUNT_MAX 100000
#define SOURCE_MESSAGE_COUNT_MAX 20000000 /* in one mailbox */
#define SOURCE_FLAG_COUNT_MAX 128         /* of one message; further ones are left out */
#define SOURCE_BODY_SIZE_MAX ((uint64_t)64 << 20)

struct source_mailbox {
	struct bytes name;        /* UTF-8, '/' between levels; INBOX in capitals */
	struct bytes special_use; /* as "\Sent", or empty */
	bool is_subscribed;
	bool has_mail;      /* false: only a name, such as a level above others */
	struct bytes place; /* the source's own name of it */
};

struct source_list {
	struct source_mailbox *mailboxes; /* in any order */
	size_t count;
};

/* How far a mailbox was read; all zero: never. */
struct source_point {
	uint32_t uidvalidity, uidnext;
	uint64_t highestmodseq;
};

struct source_message {
	uint64_t key;        /* names it in this mailbox for ever: its UID if there are UIDs */
	uint32_t uid;        /* 0: it has none */
	int64_t date;        /* INTERNALDATE: seconds since 1970 UTC */
	int32_t zone;        /* minutes east */
	uint64_t size;       /* bytes, lines ending in CRLF; 0: not known before it is read */
	struct bytes *flags; /* system flags and keywords, each valid and once; no \Recent */
	size_t flag_count;
	struct bytes place; /* the source's own */
	uint64_t offset;
};

struct source_state {
	struct source_point point;       /* uidvalidity 0: there are no UIDs */
	struct source_message *messages; /* in order of UID; else as they lie there */
	size_t count;
	/* The mailbox was asked for what changed since a point: messages[] are those that did, and
	 * gone[] the keys of those that went (and perhaps of others that never were). */
	bool is_difference;
	uint64_t *gone;
	size_t gone_count;
	/* Of a difference that does not tell what went: the keys of all that is there. NULL: it
	 * does. */
	uint64_t *keys;
	size_t key_count;
};

/* What a mailbox has besides its messages, or an account besides its mailboxes. */
struct source_extras {
	/* Of enum import_extra: all that there is of it; `is_told` false: the source does not say.
	 */
	struct source_extra {
		bool is_told;
		struct import_entry *entries;
		size_t count;
	} of[IMPORT_LIMITS + 1];
};

struct source;

/* One message's bytes, with CRLF. A negative return ends the reading. */
typedef int source_body_function(void *context, size_t index, struct bytes body);

struct source_class {
	bool keys_are_uids; /* where there are UIDs; else keys are names that outlive UIDVALIDITY */
	/* Once, before all else: connects, looks whether there is anything. May take several steps:
	 * 1: call again. */
	int (*open)(struct source *source, struct error *error);
	int (*list)(struct source *source, struct arena *arena, struct source_list *list_r,
		struct error *error);
	/* Reads what is in a mailbox, or what changed since `since`, if the source can tell. */
	int (*read)(struct source *source, const struct source_mailbox *mailbox,
		const struct source_point *since, struct arena *arena, struct source_state *state_r,
		struct error *error);
	/*
	 * Calls `function` for each of these messages of the mailbox read last, in any order. Those
	 * that are gone by now are left out, and those over SOURCE_BODY_SIZE_MAX.
	 */
	int (*bodies)(struct source *source, const struct source_message *messages, size_t count,
		source_body_function *function, void *context, struct error *error);
	/*
	 * Of the mailbox read last; or, with NULL, of the account. May be NULL: it tells nothing.
	 * extras_r is empty before.
	 */
	int (*extras)(struct source *source, const struct source_mailbox *mailbox,
		struct arena *arena, struct source_extras *extras_r, struct error *error);
	void (*free)(struct source *source);
};

struct source {
	const struct source_class *class;
	const char *name; /* the same at every import: "imap:anna@mail.example.org" */
};

/* Sets *source to NULL. A NULL *source is allowed. */
static inline void source_free(struct source **source)
{
	if (*source != NULL)
		(*source)->class->free(*source);
	*source = NULL;
}

/* Whether IMAP can have a keyword of that name. */
bool source_keyword_is_valid(struct bytes name);
/*
 * Appends `raw` as an IMAP server has it: every line ends in CRLF, and for NUL, which IMAP has not,
 * there is the byte 0x80, as Dovecot does it.
 */
void source_body_normalize(struct bytes raw, struct buffer *out);
/* Adds an entry to what is told of `extra`; what it borrows must stay. */
void source_extra_add(struct source_extras *extras, enum import_extra extra, struct arena *arena,
	struct bytes name, struct bytes value);
/* A key for a message without a UID, from what is its own. Never 0, at most IMPORT_KEY_MAX. */
uint64_t source_key_of(struct bytes text);

#endif
