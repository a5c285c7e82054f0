/*
 * imap_returns: what a searching command is to return (RFC 4466, 4731, 5182, 5267, 9394), and the
 * ESEARCH response.
 */
#ifndef CHAPAR_IMAP_RETURNS_H
#define CHAPAR_IMAP_RETURNS_H

#include "imap/imap_look.h"

enum imap_return { /* a set of bits */
	RETURN_MIN = 1,
	RETURN_MAX = 2,
	RETURN_ALL = 4,
	RETURN_COUNT = 8,
	RETURN_SAVE = 16,
	RETURN_PARTIAL = 32,
	RETURN_UPDATE = 64,
	RETURN_CONTEXT = 128 /* a hint, which is not needed */
};

/* "1:500", or "-1:-100", which counts from the end. As it was written, in either order. */
struct imap_partial {
	bool is_from_end;
	uint32_t first;
	uint32_t last;
};

struct imap_returns {
	bool is_extended; /* RETURN was there: the answer is ESEARCH */
	unsigned options; /* of enum imap_return */
	struct imap_partial partial;
	struct bytes update_items; /* of UPDATE: "(UID FLAGS)" (RFC 5465, section 7), as written */
};

/* " RETURN (MIN COUNT)" and the blank behind it, if it is there, after the command's own blank. */
int imap_parse_returns(struct imap_parser *args, struct imap_returns *returns);
int imap_parse_partial(struct imap_parser *args, struct imap_partial *partial_r);
/* Which of `count` results are meant: [*begin_r, *end_r), maybe none. */
void imap_partial_resolve(
	const struct imap_partial *partial, size_t count, size_t *begin_r, size_t *end_r);
void imap_put_partial(struct imap_session *session, const struct imap_partial *partial);

/* The results in their order, with where they were found. */
struct imap_results {
	const struct imap_view *view;
	struct imap_match *matches;
	size_t count;
	bool is_uid; /* tell UIDs, not numbers */
	bool tells_modseq;
	struct bytes mailbox; /* its name, for ESEARCH of several (RFC 7377); .ptr NULL: not told */
};

uint32_t imap_result_number(const struct imap_results *results, uint32_t uid);
/* Appends numbers in their order; only what ascends one by one is written as a range. */
void imap_put_ordered(
	struct buffer *out, const struct imap_results *results, size_t begin, size_t end);
/* "* ESEARCH (TAG "A282") UID", for `tag`. */
void imap_put_correlator(
	struct imap_session *session, const char *tag, const struct imap_results *results);
void imap_put_esearch(struct imap_session *session, const struct imap_returns *returns,
	const struct imap_results *results);
/* The greatest modseq of what is returned (RFC 4731, 3.2). */
uint64_t imap_results_modseq(
	const struct imap_returns *returns, const struct imap_results *results);
/* What "$" means from now on (RFC 5182, 2.1; RFC 9394, 3.2). */
void imap_save_results(struct imap_session *session, const struct imap_returns *returns,
	const struct imap_results *results);

#endif
