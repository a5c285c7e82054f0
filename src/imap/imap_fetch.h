/*
 * imap_fetch: what FETCH asks for, and the writing of one message's answer (RFC 3501, 6.4.5 and
 * 7.4.2; RFC 3516; RFC 7162; RFC 8474; RFC 8514; RFC 8970; RFC 9394).
 */
#ifndef CHAPAR_IMAP_FETCH_H
#define CHAPAR_IMAP_FETCH_H

#include "imap/imap_annotation.h"
#include "imap/imap_body.h"
#include "imap/imap_columns.h"
#include "imap/imap_returns.h"
#include "imap/imap_sequence.h"
#include "imap/imap_session.h"

#include "mail/mime_section.h"
#include "mail/mime_summary.h"

#define IMAP_FETCH_ITEM_MAX 100 /* items of one FETCH */

enum imap_fetch_kind {
	FETCH_FLAGS,
	FETCH_ANNOTATION,
	FETCH_UID,
	FETCH_MODSEQ,
	FETCH_INTERNALDATE,
	FETCH_SIZE,
	FETCH_ENVELOPE,
	FETCH_BODY,
	FETCH_BODYSTRUCTURE,
	FETCH_EMAILID,
	FETCH_THREADID,
	FETCH_SAVEDATE,
	FETCH_PREVIEW,
	FETCH_PREVIEW_LAZY, /* only if it is at hand (RFC 8970) */
	FETCH_BINARY,
	FETCH_BINARY_SIZE,
	FETCH_SECTION /* RFC822, RFC822.HEADER and RFC822.TEXT too */
};

struct imap_fetch_item {
	enum imap_fetch_kind kind;
	/* Of a section: */
	struct mime_section section;
	struct bytes label; /* as the answer names it, with <origin> */
	bool is_partial;
	uint32_t offset;
	uint32_t size_max;
	struct imap_annotation_wish *annotation;
};

struct imap_fetch { /* lives in an arena */
	struct imap_fetch_item *items;
	size_t item_count;
	bool sets_seen;
	bool has_flags;
	bool has_modseq;
	bool has_partial;
	size_t section_count; /* items that may need the body */
	bool needs_summary;
	bool tells_subjects;          /* ENVELOPE, or the field Subject */
	struct imap_column *subjects; /* filled with those of the messages that are told; or NULL */
	bool has_size;
	bool in_pieces; /* large sections are left to imap_large_send(), where they are long */
	bool has_changedsince;
	uint64_t changedsince;
	bool wants_vanished;
	bool is_paged; /* of the messages that would be told, only those (RFC 9394, 3.3) */
	struct imap_partial page;
};

/* All after the sequence set and its blank. */
int imap_parse_fetch(struct imap_parser *args, struct imap_fetch *fetch_r);
/* A parenthesised list of items alone, as NOTIFY has it. */
int imap_parse_fetch_list(struct imap_parser *args, struct imap_fetch *fetch_r);
/* "HEADER.FIELDS (From)]" after "[". *label gets the canonical text with "]" at its end. */
int imap_parse_section(
	struct imap_parser *args, struct mime_section *section_r, struct buffer *label);

/*
 * Appends the FETCH response for a message to session->out; with fetch->in_pieces perhaps without
 * some sections, which are noted in session->large. `with_flags`: the flags too, as they
 * were just changed. Returns 1 if what it told is of a surrogate, since the client has not enabled
 * UTF-8 (RFC 6858), else 0. On an error nothing is appended. Errors are those of reading bodies,
 * and ERR_INVALID: a part of which BINARY was asked has an encoding that is not known;
 * ERR_TOO_LARGE: the answer would be many times as large as the message.
 */
int imap_fetch_write(struct imap_session *session, const struct imap_fetch *fetch,
	struct kv_txn *kv, const struct message_record *message, bool with_flags);

#endif
