/*
 * mime_envelope: a header as IMAP's ENVELOPE (RFC 3501, 7.4.2), ready to send.
 *
 * Strings are quoted, or literals where they hold 8-bit octets; NUL, bare CR and LF never get into
 * them, so what is appended is always valid syntax, whatever the header holds. Encoded words stay
 * encoded. Pure; any thread.
 */
#ifndef CHAPAR_MAIL_MIME_ENVELOPE_H
#define CHAPAR_MAIL_MIME_ENVELOPE_H

#include "base/buffer.h"

#define MIME_ADDRESSES_MAX 10000 /* of one field; the others are not seen */
/* Bytes of one text, and of the addresses of one kind; what is beyond is not seen. */
#define MIME_ENVELOPE_TEXT_SIZE_MAX (64u * 1024)
#define MIME_ENVELOPE_LIST_SIZE_MAX (1024u * 1024)

/*
 * Appends the parenthesised envelope of the header. Sender and Reply-To that are missing or empty
 * are those of From. Of a field that occurs twice the first counts, but address lists are joined.
 */
void mime_envelope_write(struct bytes header, struct buffer *out);

/*
 * Appends the addresses of one field's value as a parenthesised list, or NIL if there are none.
 * Groups are (NIL NIL "name" NIL) ... (NIL NIL NIL NIL); a comment after an address without a
 * phrase is its name; an address without a domain has the empty host "" (NIL would begin a group).
 */
void mime_addresses_write(struct bytes value, struct buffer *out);

/* Appends an IMAP nstring: NIL if .ptr is NULL; line ends and folding become one space each. */
void mime_nstring_write(struct bytes value, struct buffer *out);

#endif
