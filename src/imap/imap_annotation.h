/*
 * imap_annotation: annotations of messages (RFC 5257) in FETCH, STORE, SEARCH, SORT and APPEND.
 *
 * Private ones are the user's own, also in mailboxes of other accounts (mail/annotation.h). To set
 * shared ones takes the right to write.
 */
#ifndef CHAPAR_IMAP_ANNOTATION_H
#define CHAPAR_IMAP_ANNOTATION_H

#include "imap/imap_session.h"

#include "mail/annotation.h"

#define IMAP_ANNOTATION_ENTRY_MAX 100 /* of one command */

enum imap_annotation_attribute { /* a set of bits */
	ANNOTATION_VALUE_PRIVATE = 1,
	ANNOTATION_VALUE_SHARED = 2,
	ANNOTATION_SIZE_PRIVATE = 4,
	ANNOTATION_SIZE_SHARED = 8
};

struct imap_annotation_wish { /* lives in an arena */
	struct bytes *patterns;
	size_t pattern_count;
	unsigned attributes;
};

/* What follows the word ANNOTATION and its blank: "(/comment (value.priv size))" in FETCH ... */
int imap_parse_annotation_wish(struct imap_parser *args, struct imap_annotation_wish *wish_r);
/* ... "/comment value" in SEARCH, before the value, and in SORT, where no pattern is possible ...
 */
int imap_parse_annotation_match(
	struct imap_parser *args, struct bytes *pattern_r, unsigned *attributes_r);
/* ... and "(/comment (value.priv NIL))" in STORE and APPEND. */
int imap_parse_annotations(
	struct imap_parser *args, struct annotation **changes_r, size_t *count_r);

/* "ANNOTATION (/comment (value.priv NIL))"; nothing if no entry is asked for by name or there. */
int imap_put_annotations(struct imap_session *session, struct kv_txn *kv, uint32_t account,
	const struct message_record *message, const struct imap_annotation_wish *wish);
/* " ANNOTATION (/comment)": the entries that changed after `modseq`, or nothing. */
int imap_put_annotation_names(struct imap_session *session, struct kv_txn *kv, uint32_t account,
	const struct message_record *message, uint64_t modseq);

/* Whether a value of an entry that matches holds `folded` (as mime_casemap() has it); with
 * `is_nil`, whether there is no such value. */
int imap_annotation_matches(struct imap_session *session, struct kv_txn *kv, uint32_t account,
	const struct message_record *message, struct bytes pattern, unsigned attributes,
	struct bytes folded, bool is_nil);
/* Appends the value for sorting; nothing if there is none. */
int imap_annotation_sort_text(struct imap_session *session, struct kv_txn *kv, uint32_t account,
	const struct message_record *message, struct bytes entry, unsigned attributes,
	struct buffer *out);

#endif
