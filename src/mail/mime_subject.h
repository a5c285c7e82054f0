/*
 * mime_subject: the base subject of a message (RFC 5256, 2.1), by which SORT orders and THREAD
 * gathers: without "Re:", "Fwd:", "[list]" and the like. Pure; any thread.
 */
#ifndef CHAPAR_MAIL_MIME_SUBJECT_H
#define CHAPAR_MAIL_MIME_SUBJECT_H

#include "base/buffer.h"

struct mime_subject_kind {
	bool is_reply;   /* or a forward, as what was taken off says */
	bool is_decoded; /* false: octets, as mime_header_decode_strictly() has them */
};

/*
 * Appends the base subject of a Subject field's value: UTF-8, in the letters that it was written
 * with; or octets.
 */
struct mime_subject_kind mime_base_subject(struct bytes value, struct buffer *out);

#endif
