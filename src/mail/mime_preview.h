/*
 * mime_preview: the first words of a message (RFC 8970). Pure; any thread.
 */
#ifndef CHAPAR_MAIL_MIME_PREVIEW_H
#define CHAPAR_MAIL_MIME_PREVIEW_H

#include "mail/mime_structure.h"

#include "base/buffer.h"

#define MIME_PREVIEW_LENGTH_MAX 200 /* characters */

/*
 * Appends what the message's first text part says, as one line of UTF-8: without quoted lines
 * (where others are left), HTML without its tags, styles and scripts, and characters that are
 * written as entities. Empty if there is no text, or the message is encrypted. Looks at no more
 * than some ten thousand bytes of the part.
 */
void mime_preview_make(struct bytes message, const struct mime_part *root, struct buffer *out);

#endif
