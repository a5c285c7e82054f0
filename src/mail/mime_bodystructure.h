/*
 * mime_bodystructure: a part tree as IMAP's BODY and BODYSTRUCTURE (RFC 3501, 7.4.2), ready to
 * send. Always valid syntax, as in mime_envelope.h. Pure; any thread.
 */
#ifndef CHAPAR_MAIL_MIME_BODYSTRUCTURE_H
#define CHAPAR_MAIL_MIME_BODYSTRUCTURE_H

#include "base/buffer.h"
#include "mail/mime_structure.h"

/* Appends BODYSTRUCTURE, or BODY if not `extended`. `root` is mime_structure_parse()'s of this
 * message. */
void mime_bodystructure_write(
	struct bytes message, const struct mime_part *root, bool extended, struct buffer *out);

#endif
