/*
 * mime_downgrade: messages for clients that do not know UTF-8 in headers (RFC 6858): a message of
 * which all headers, also those of parts and of messages in it, are ASCII.
 *
 * - Addresses whose domain alone is not ASCII get its A-labels (RFC 5890). Others that are not
 *   ASCII become "name <invalid@internationalized-address.invalid>".
 * - Texts and display names become encoded words (RFC 2047), parameters the form of RFC 2231;
 *   message/global becomes message/rfc822.
 * - Fields that can be none of this (Message-ID, Received, ...) are left out.
 *
 * Fields without UTF-8 stay octet by octet, also those with 8-bit octets of other charsets, and so
 * does all that is no header. Pure; any thread. Time is linear in the size of the message.
 */
#ifndef CHAPAR_MAIL_MIME_DOWNGRADE_H
#define CHAPAR_MAIL_MIME_DOWNGRADE_H

#include "base/buffer.h"
#include "mail/mime_structure.h"

/* Bytes that headers may grow by in all; fields with UTF-8 beyond are left out. */
#define MIME_DOWNGRADE_GROWTH_MAX (4u * 1024 * 1024)

/* True if a header of the message has UTF-8 beyond ASCII. `root` is mime_structure_parse()'s. */
bool mime_has_utf8_header(struct bytes message, const struct mime_part *root);

/*
 * Appends the message in that form, or returns false and appends nothing if no header has UTF-8.
 */
bool mime_downgrade(struct bytes message, const struct mime_part *root, struct buffer *out);

#endif
