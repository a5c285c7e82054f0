/* imap_match: LIST patterns (RFC 3501, 6.3.8): '*' is anything, '%' anything but '/'. Pure. */
#ifndef CHAPAR_IMAP_MATCH_H
#define CHAPAR_IMAP_MATCH_H

#include "base/bytes.h"

#define IMAP_PATTERN_SIZE_MAX 1024 /* bytes; longer ones match nothing */

/* In time proportional to the product of both lengths. "INBOX" matches in any case. */
bool imap_match(struct bytes pattern, struct bytes name);

#endif
