/*
 * mime_sort: what SORT and THREAD ask about a header (RFC 5256, RFC 5957), kept in the summary so
 * that neither reads bodies. Texts are in the form of mime_casemap(), without NUL, and bounded; one
 * that could not be decoded is MIME_SORT_OCTETS and its octets, and so is ordered after all that
 * could, and by i;octet (RFC 5255, 4.6). Summaries made before that was so have such texts with
 * U+FFFD, or by a guess, until they are made anew. Pure; any thread.
 */
#ifndef CHAPAR_MAIL_MIME_SORT_H
#define CHAPAR_MAIL_MIME_SORT_H

#include "base/buffer.h"
#include "base/hash.h"

#define MIME_SORT_TEXT_SIZE_MAX 512  /* bytes of a text; what is beyond does not count */
#define MIME_SORT_OCTETS 0xff        /* no octet of UTF-8 */
#define MIME_REFERENCE_COUNT_MAX 100 /* of a message: the first one and the last ones */

struct mime_sort {            /* borrowed from the blob */
	struct bytes subject; /* the base subject */
	bool is_reply;        /* or a forward, as its subject says */
	/* Local parts of the first addresses; "" if there is none. */
	struct bytes from;
	struct bytes to;
	struct bytes cc;
	/* Their names, or else addresses in full (RFC 5957, 3). */
	struct bytes display_from;
	struct bytes display_to;
	bool has_message_id;
	struct digest message_id;
	/* Of References, or else the first of In-Reply-To; oldest first. */
	size_t reference_count;
	struct bytes references; /* see mime_sort_reference() */
};

/* Appends the stored form for a header. */
void mime_sort_make(struct bytes header, struct buffer *out);
/* ERR_CORRUPT. */
int mime_sort_open(struct bytes blob, struct mime_sort *sort_r);
struct digest mime_sort_reference(const struct mime_sort *sort, size_t index);

/*
 * Takes the next valid message id off *in and appends it in the one form of all its spellings (RFC
 * 5256, 2: without quotes that it does not need, comments and white space). False if there is none.
 */
bool mime_message_id_next(struct bytes *in, struct buffer *out);

#endif
