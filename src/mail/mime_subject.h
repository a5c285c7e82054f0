/*
 * mime_subject: the base subject of a message (RFC 5256, 2.1), by which SORT orders and THREAD
 * gathers: without "Re:", "Fwd:", "[list]" and the like. Pure; any thread.
 */
#ifndef CHAPAR_MAIL_MIME_SUBJECT_H
#define CHAPAR_MAIL_MIME_SUBJECT_H

#include "base/buffer.h"

/*
 * Appends the base subject of a Subject field's value: UTF-8, in the letters that it was written
 * with. True if what was taken off says that the message is a reply or a forward.
 */
bool mime_base_subject(struct bytes value, struct buffer *out);

#endif
