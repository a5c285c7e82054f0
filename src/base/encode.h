/*
 * encode: text forms of bytes: hexadecimal (lower case) and base64 (RFC 4648, section 4).
 * Decoders accept the exact form only. Pure; any thread.
 */
#ifndef CHAPAR_BASE_ENCODE_H
#define CHAPAR_BASE_ENCODE_H

#include "base/buffer.h"

void encode_hex(struct buffer *out, struct bytes in);
void encode_base64(struct buffer *out, struct bytes in);
/* Append the decoded bytes to *out. ERR_INVALID leaves *out as it was. */
int decode_hex(struct buffer *out, struct bytes in);
int decode_base64(struct buffer *out, struct bytes in);

#endif
