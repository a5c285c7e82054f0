/*
 * imap_sequence: sequence sets ("1:4,7,*") as clients write them, sets of UIDs as the mail layer
 * takes them, and the writing of sets. Pure.
 */
#ifndef CHAPAR_IMAP_SEQUENCE_H
#define CHAPAR_IMAP_SEQUENCE_H

#include "imap/imap_parse.h"
#include "mail/mail.h"

#define IMAP_RANGE_COUNT_MAX 32768 /* ranges of one set; a line holds no more */
#define IMAP_STAR 0                /* "*" in a range that was read: the greatest there is */

struct imap_range {
	uint32_t first;
	uint32_t last;
};

/* In the order given, of any direction; lives in the parser's arena. */
struct imap_sequence {
	struct imap_range *ranges;
	size_t count;
	bool is_saved; /* "$" (RFC 5182); then without ranges */
};

/* Reads a set, or "$". Numbers are 1 or more. ERR_TOO_LARGE over IMAP_RANGE_COUNT_MAX ranges. */
int imap_parse_sequence(struct imap_parser *parser, struct imap_sequence *sequence_r);
/* As above, without "*" and "$": known UIDs of QRESYNC, and the like. */
int imap_parse_plain_sequence(struct imap_parser *parser, struct imap_sequence *sequence_r);

/* Adds the numbers to *set, with `star` for "*". Ranges are put in order first. */
void imap_sequence_resolve(struct imap_sequence *sequence, uint32_t star, struct uid_set *set);
/* The greatest number in it, "*" taken as `star`. */
uint32_t imap_sequence_greatest(const struct imap_sequence *sequence, uint32_t star);

/* Writes "1:4,7"; nothing for an empty set. */
void imap_set_write(struct buffer *out, const struct uid_set *set);

#endif
