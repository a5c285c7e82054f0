/*
 * imap_utf7: mailbox names on the wire: modified UTF-7 (RFC 3501, section 5.1.3), and the one form
 * of INBOX. Pure; what is returned lives in `arena` or is `in` itself.
 */
#ifndef CHAPAR_IMAP_UTF7_H
#define CHAPAR_IMAP_UTF7_H

#include "base/arena.h"
#include "base/buffer.h"

/*
 * To UTF-8. ERR_INVALID for 8-bit bytes, control characters, unpaired surrogates, and for what an
 * encoder would have written otherwise, so that a name has one form only.
 */
int imap_utf7_decode(struct arena *arena, struct bytes in, struct bytes *utf8_r);
/* Appends the encoded form of valid UTF-8. Bytes that are not UTF-8 come out as U+FFFD. */
void imap_utf7_encode(struct buffer *out, struct bytes utf8);

/* Takes one character off *in; -1 if it is not well-formed UTF-8. */
int imap_utf8_take(struct bytes *in);
/* Whether all of it is well-formed. */
bool imap_utf8_is_valid(struct bytes in);

/* "INBOX", and "INBOX" as a first level, in capitals; other names as they are. */
struct bytes imap_name_canonical(struct arena *arena, struct bytes name);

#endif
