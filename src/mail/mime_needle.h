/*
 * mime_needle: a string that is sought in texts, without regard to case: what i;unicode-casemap
 * makes of it is sought in what that makes of the text (RFC 5051).
 *
 * The time is linear in the text, whatever the needle and the text. Pure; any thread.
 */
#ifndef CHAPAR_MAIL_MIME_NEEDLE_H
#define CHAPAR_MAIL_MIME_NEEDLE_H

#include "base/buffer.h"

#define MIME_NEEDLE_SIZE_MAX 8192 /* bytes of a search string */

struct mime_needle {
	struct buffer folded; /* private, as all of these */
	bool is_ascii;
	size_t rare[2]; /* where in it are those two of its octets that texts have least */
};

/*
 * `charset` is IMAP's, "" or US-ASCII also takes UTF-8. On 0 the caller's until
 * mime_needle_deinit(). ERR_INVALID: unknown charset, or text not of it; ERR_TOO_LARGE.
 */
int mime_needle_init(struct mime_needle *needle, struct bytes text, struct bytes charset);
void mime_needle_deinit(struct mime_needle *needle);
/* As it is compared; borrowed. */
struct bytes mime_needle_folded(const struct mime_needle *needle);

/* An empty needle is in everything. */

/* Whether it is in text that is folded. */
bool mime_needle_in_folded(const struct mime_needle *needle, struct bytes folded);
/* Whether it is in octets of which those that are ASCII mean that; others are equal to nothing. The
 * needle is ASCII. */
bool mime_needle_in_octets(const struct mime_needle *needle, struct bytes octets);
bool mime_needle_in_utf8(const struct mime_needle *needle, struct bytes utf8);

#endif
