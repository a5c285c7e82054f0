/*
 * imap_search: SEARCH programs (RFC 3501, 6.4.4; RFC 5032, 7162, 8474, 8514): a tree of keys, and
 * whether a message matches it.
 *
 * The members of a list are put in order of what they cost, so that a body is read only for
 * messages that everything else lets through.
 */
#ifndef CHAPAR_IMAP_SEARCH_H
#define CHAPAR_IMAP_SEARCH_H

#include "imap/imap_sequence.h"
#include "imap/imap_session.h"

#include "mail/mime_summary.h"
#include "mail/mime_text.h"

#define IMAP_SEARCH_KEY_MAX 5000 /* keys of one search */

enum imap_search_cost {
	SEARCH_NEEDS_NOTHING, /* but the UID */
	SEARCH_NEEDS_RECORD,
	SEARCH_NEEDS_SUMMARY,
	SEARCH_NEEDS_BODY
};

enum imap_search_kind {
	SEARCH_AND, /* of its children; none: all */
	SEARCH_OR,
	SEARCH_NOT,
	SEARCH_SET, /* of UIDs */
	SEARCH_FLAG,
	SEARCH_RECENT,
	SEARCH_NEW,
	SEARCH_LARGER,
	SEARCH_SMALLER,
	SEARCH_DAY_BEFORE, /* of INTERNALDATE */
	SEARCH_DAY_ON,
	SEARCH_DAY_SINCE,
	SEARCH_SAVED_BEFORE, /* of SAVEDATE */
	SEARCH_SAVED_ON,
	SEARCH_SAVED_SINCE,
	SEARCH_OLDER, /* seconds */
	SEARCH_YOUNGER,
	SEARCH_MODSEQ,
	SEARCH_ANNOTATION,
	SEARCH_EMAILID,
	SEARCH_THREADID,
	SEARCH_SENT_BEFORE,
	SEARCH_SENT_ON,
	SEARCH_SENT_SINCE,
	SEARCH_HEADER,
	SEARCH_BODY,
	SEARCH_TEXT
};

struct imap_column;

struct imap_search_key {
	enum imap_search_kind kind;
	enum imap_search_cost cost; /* the greatest of its children's */
	struct imap_search_key *children;
	struct imap_search_key *next;  /* of the same parent */
	struct imap_search_key *older; /* of all keys made, for freeing */

	uint64_t number;   /* size, day, seconds, modseq */
	struct bytes text; /* flag, field name, id */
	struct mime_needle needle;
	bool has_needle;
	unsigned body_index;           /* of a key that asks the body: among these */
	unsigned attributes;           /* of an annotation: enum imap_annotation_attribute, ... */
	struct bytes value;            /* ... and its value as mime_casemap() has it ... */
	bool is_nil;                   /* ... or none */
	struct imap_sequence sequence; /* of a set, as it was written ... */
	bool is_uid;
	struct uid_set uids;        /* ... and what it means in the view that is searched */
	struct imap_column *column; /* filled with what is read for this key (imap_narrow.h) */
};

struct imap_search {
	struct imap_search_key *root; /* an AND */
	struct imap_search_key *newest;
	size_t key_count;
	unsigned body_key_count; /* that ask the body */
	bool has_modseq;
	bool has_numbers; /* message numbers, or "$" */
	bool has_ages;    /* OLDER or YOUNGER: the answer changes by itself */
	struct bytes charset;
	/* Set by the one who asks: */
	struct imap_session *session;
	uint64_t now_ms;
	/* Set by imap_search_bind(): */
	const struct imap_view *view;
	uint64_t body_bytes; /* read so far */
};

#define IMAP_BADCHARSET                                                                            \
	"[BADCHARSET (US-ASCII UTF-8 UTF-7 ISO-8859-1 ISO-8859-2 ISO-8859-3 ISO-8859-4 "           \
	"ISO-8859-5 ISO-8859-6 ISO-8859-7 ISO-8859-8 ISO-8859-9 ISO-8859-10 ISO-8859-13 "          \
	"ISO-8859-14 ISO-8859-15 ISO-8859-16 WINDOWS-1250 WINDOWS-1251 WINDOWS-1252 WINDOWS-1253 " \
	"WINDOWS-1254 WINDOWS-1255 WINDOWS-1256 WINDOWS-1257 WINDOWS-1258 KOI8-R KOI8-U GB2312 "   \
	"GBK GB18030 BIG5 BIG5-HKSCS SHIFT_JIS EUC-JP EUC-KR EUC-TW ISO-2022-JP ISO-2022-KR "      \
	"TIS-620 MACINTOSH)] Unknown charset"

/*
 * Reads all keys up to the end of the command, with a CHARSET before them if there is one (it has
 * to be there, without that word, if `needs_charset`). Errors: ERR_INVALID, ERR_TOO_LARGE (BAD);
 * ERR_NOT_FOUND: the charset is not known (NO, IMAP_BADCHARSET). Free it in any case.
 */
int imap_parse_search(struct imap_parser *args, bool needs_charset, struct imap_search *search);
/* Says in which view it is to search, which must live as long as it does. May be done again. */
void imap_search_bind(struct imap_search *search, const struct imap_view *view);
void imap_search_deinit(struct imap_search *search);

/*
 * 1 if the message matches, 0 if not, or an error of reading its summary or body. `message` needs
 * no more than its UID if root->cost is SEARCH_NEEDS_NOTHING.
 */
int imap_search_match(
	struct imap_search *search, struct kv_txn *kv, const struct message_record *message);

/*
 * The same in three steps, so that bodies can be read and searched by other threads: what can be
 * decided without the body; what the body answers; and what follows. For searches with no more than
 * IMAP_SEARCH_BODY_KEY_MAX of the keys that ask bodies.
 */
#define IMAP_SEARCH_BODY_KEY_MAX 8
#define IMAP_SEARCH_UNDECIDED 2 /* the body has to be asked */
int imap_search_decide(
	struct imap_search *search, struct kv_txn *kv, const struct message_record *message);
/* Pure; any thread. */
uint64_t imap_search_ask(const struct imap_search *search, struct bytes raw);
int imap_search_conclude(struct imap_search *search, struct kv_txn *kv,
	const struct message_record *message, uint64_t answers);

#endif
