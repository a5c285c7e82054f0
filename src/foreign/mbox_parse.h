/*
 * mbox_parse: messages in a file of the mbox family: mboxo, mboxrd (RFC 4155, appendix A, and
 * ">From " quoted at any depth), mboxcl2 (Content-Length). Pure; what is read borrows from the
 * input.
 */
#ifndef CHAPAR_FOREIGN_MBOX_PARSE_H
#define CHAPAR_FOREIGN_MBOX_PARSE_H

#include "base/arena.h"
#include "base/buffer.h"

#include <stdint.h>

/* A line that begins a message, without its end: "From anna@example.org Sat Jan  3 01:05:34 1996",
 * also with a zone or without seconds. Times without a zone are taken as UTC. */
bool mbox_from_line(struct bytes line, int64_t *date_r, int32_t *zone_r);

struct mbox_header { /* what mail programs note in it about the message */
	bool is_seen, is_answered, is_flagged, is_draft, is_deleted;
	struct bytes keywords; /* words */
	uint32_t uid;          /* 0: none */
	uint32_t uidvalidity, uid_last;
	bool has_length;
	uint64_t length;  /* of the body, if it is right */
	bool is_internal; /* no message, but a place for notes of c-client and Dovecot */
};
/* `text` is the header, to its empty line. */
void mbox_header_parse(struct bytes text, struct mbox_header *header_r);

/* Appends the message as it was before it was put into the file: without such fields, without a '>'
 * of lines ">From " if `is_quoted`; ends of lines stay. */
void mbox_message_restore(struct bytes message, bool is_quoted, struct buffer *out);

#endif
