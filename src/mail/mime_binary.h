/*
 * mime_binary: messages with binary content (RFC 3516) in a form that every IMAP client can take.
 * Pure; any thread.
 */
#ifndef CHAPAR_MAIL_MIME_BINARY_H
#define CHAPAR_MAIL_MIME_BINARY_H

#include "base/buffer.h"

/*
 * Appends the message with the content of each part that holds NUL in base64; no octet of a content
 * is lost, all other parts are as they were. ERR_INVALID: NUL stands outside of a part's content,
 * or in one that says of itself that it is encoded; *out is then as it was.
 */
int mime_binary_encode(struct bytes message, struct buffer *out);

#endif
