/*
 * imap_sort: the orders of SORT (RFC 5256, 2.2; RFC 5957). A message gets one key for all criteria,
 * so that comparing is one memcmp(): numbers big-endian, texts ended by NUL, reversed ones
 * complemented. Equal keys are in the mailbox's order, whatever is reversed.
 */
#ifndef CHAPAR_IMAP_SORT_H
#define CHAPAR_IMAP_SORT_H

#include "imap/imap_session.h"

#include "mail/mime_sort.h"
#include "mail/mime_summary.h"

#define IMAP_SORT_ANNOTATION_MAX 8 /* criteria of one SORT */

enum imap_sort_field {
	SORT_ANNOTATION,
	SORT_ARRIVAL,
	SORT_CC,
	SORT_DATE,
	SORT_DISPLAYFROM,
	SORT_DISPLAYTO,
	SORT_FROM,
	SORT_SIZE,
	SORT_SUBJECT,
	SORT_TO,
	SORT_FIELD_COUNT
};

struct imap_sort {
	struct {
		enum imap_sort_field field;
		bool is_reversed;
		struct bytes entry;  /* of an annotation (RFC 5257, 4.9) ... */
		unsigned attributes; /* ... and which: enum imap_annotation_attribute */
	} criteria[SORT_FIELD_COUNT + IMAP_SORT_ANNOTATION_MAX];
	size_t count;
	bool needs_summary;
};

/* "(REVERSE DATE SUBJECT)". What is named again orders nothing more, and is left out. */
int imap_parse_sort(struct imap_parser *args, struct imap_sort *sort_r);

/* Appends the key of a message of that account. Errors are those of message_summary(). */
int imap_sort_key(const struct imap_sort *sort, struct imap_session *session, struct kv_txn *kv,
	uint32_t account, const struct message_record *message, struct buffer *out);

/* The sent date, or else when it arrived (RFC 5256, 2.2): seconds since 1970. */
int64_t imap_sent_date(const struct mime_summary *summary, const struct message_record *message);

#endif
