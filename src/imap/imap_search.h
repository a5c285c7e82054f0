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
	SEARCH_EMAILID,
	SEARCH_THREADID,
	SEARCH_SENT_BEFORE,
	SEARCH_SENT_ON,
	SEARCH_SENT_SINCE,
	SEARCH_HEADER,
	SEARCH_BODY,
	SEARCH_TEXT
};

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
	struct uid_set uids;
};

struct imap_search {
	struct imap_search_key *root; /* an AND */
	struct imap_search_key *newest;
	size_t key_count;
	bool has_modseq;
	struct bytes charset;
	/* Set by the one who asks: */
	struct imap_session *session;
	uint64_t now_ms;
};

/*
 * Reads all keys up to the end of the command. Errors: ERR_INVALID, ERR_TOO_LARGE (BAD);
 * ERR_NOT_FOUND: the charset is not known (NO [BADCHARSET]). Free it in any case.
 */
int imap_parse_search(struct imap_parser *args, struct imap_search *search);
void imap_search_deinit(struct imap_search *search);

/*
 * 1 if the message matches, 0 if not, or an error of reading its summary or body. `message` needs
 * no more than its UID if root->cost is SEARCH_NEEDS_NOTHING.
 */
int imap_search_match(
	struct imap_search *search, struct kv_txn *kv, const struct message_record *message);

#endif
