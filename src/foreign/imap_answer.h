/*
 * imap_answer: what an IMAP server says to a client, read from one response with its literals
 * (RFC 3501, section 7; RFC 7162 for mod-sequences; those named below). Pure; cannot overrun; what
 * is read borrows from the response or lives in `arena`. Servers are many: what is not understood
 * is passed over where the grammar lets us know where it ends.
 */
#ifndef CHAPAR_FOREIGN_IMAP_ANSWER_H
#define CHAPAR_FOREIGN_IMAP_ANSWER_H

#include "base/arena.h"
#include "foreign/source.h"

enum answer_kind {
	ANSWER_OTHER,
	ANSWER_CONTINUE,   /* "+": text */
	ANSWER_TAGGED,     /* tag, status, text */
	ANSWER_STATUS,     /* untagged OK, NO, BAD, BYE, PREAUTH: status, text */
	ANSWER_CAPABILITY, /* text */
	ANSWER_LIST,       /* LIST and LSUB: mailbox */
	ANSWER_NAMESPACE,
	ANSWER_EXISTS,   /* number */
	ANSWER_FETCH,    /* fetch */
	ANSWER_VANISHED, /* text: a sequence set */
	ANSWER_SEARCH,   /* text: numbers */
	ANSWER_ACL,      /* pairs: an identifier, its rights (RFC 4314) */
	ANSWER_METADATA, /* pairs: an entry, its value (RFC 5464); of the server: no mailbox */
	ANSWER_QUOTA     /* pairs: a resource, its limit (RFC 9208); no mailbox */
};

struct answer_list {
	bool is_lsub;
	struct bytes attributes; /* with blanks between them */
	int separator;           /* 0: NIL */
	struct bytes name;       /* as on the wire */
};

struct answer_namespaces {
	bool has_personal;
	struct bytes personal;    /* prefix of the first one of one's own */
	struct bytes foreign[16]; /* prefixes of others' and of shared ones */
	size_t foreign_count;
};

struct answer_fetch {
	uint32_t uid; /* 0: not told */
	bool has_flags, has_date, has_body;
	struct bytes *flags; /* system flags in their spelling, valid keywords; no \Recent */
	size_t flag_count;
	int64_t date;
	int32_t zone;
	uint64_t size, modseq; /* 0: not told */
	struct bytes body;
};

#define ANSWER_PAIR_COUNT_MAX 1024 /* further ones are left out */

struct answer_pairs {
	struct bytes mailbox; /* as on the wire */
	struct answer_pair {
		struct bytes name, value;
	} * list;
	size_t count;
};

struct answer {
	enum answer_kind kind;
	struct bytes tag, status; /* status in capitals: "OK" */
	struct bytes code;        /* inside of [...], or empty */
	struct bytes text;
	uint32_t number;
	struct answer_list list;
	struct answer_namespaces namespaces;
	struct answer_fetch fetch;
	struct answer_pairs pairs;
};

/* One response without its last CRLF. ERR_INVALID: it is none. */
int answer_parse(struct bytes response, struct arena *arena, struct answer *answer_r);

/* Whether a list of words, such as capabilities or attributes, holds one; in any case. */
bool answer_has_word(struct bytes words, const char *word);
/* The number after a word of a response code: "UIDNEXT 5". */
bool answer_code_number(struct bytes code, const char *word, uint64_t *number_r);

/*
 * Calls `function` for each number of a sequence set such as "1:3,7" or of words "1 2 3".
 * ERR_TOO_LARGE: more than `count_max`; ERR_INVALID.
 */
int answer_numbers(struct bytes text, size_t count_max,
	void (*function)(void *context, uint32_t number), void *context);

#endif
