/*
 * mime_structure: the parts of a message (RFC 5322, RFC 2045, RFC 2046) as offsets into its bytes.
 *
 * Nothing is decoded, copied or repaired: IMAP wants the octets as they were received. Lines may
 * end in CRLF or in a bare LF, mixed; sizes and line counts are those of the stored bytes. There is
 * no malformed message: what has no structure, or lies beyond a limit below, is a leaf. Time is
 * linear in the size of the message.
 *
 * Everything lives in the caller's arena or in the message itself, which must both outlive the
 * tree. Pure; any thread, each with its own arena.
 */
#ifndef CHAPAR_MAIL_MIME_STRUCTURE_H
#define CHAPAR_MAIL_MIME_STRUCTURE_H

#include "base/arena.h"
#include "base/bytes.h"

#include <stdint.h>

#define MIME_DEPTH_MAX 100   /* levels of multipart and message/rfc822; deeper is a leaf */
#define MIME_PARTS_MAX 10000 /* parts of a message; those beyond belong to the last one's bytes */
#define MIME_PARAMS_MAX 1000 /* parameters of one field; the others are not seen */
#define MIME_FIELD_SIZE_MAX                                                                        \
	65536 /* bytes of a field whose value is parsed; what follows is not seen */

enum mime_kind {
	MIME_LEAF,
	MIME_MULTIPART, /* has children, at least one */
	MIME_MESSAGE    /* message/rfc822 or message/global: has one child, the message in it */
};

/* As written, without quotes and comments; RFC 2231 forms (name*0*=) are not put together. */
struct mime_param {
	struct bytes name;
	struct bytes value;
	struct mime_param *next;
};

struct mime_part {
	enum mime_kind kind;
	uint32_t child_count;
	struct mime_part *parent; /* NULL: the whole message */
	struct mime_part *children;
	struct mime_part *next;

	/* Offsets into the message. The header ends with its empty line, if there is one. */
	size_t header_start;
	size_t header_size;
	size_t body_start; /* header_start + header_size */
	size_t body_size;
	size_t header_lines; /* line ends in the header and ... */
	size_t body_lines;   /* ... in the body, as BODYSTRUCTURE counts lines */

	/* Of Content-Type; where missing or not understood, the default (text/plain, or
	 * message/rfc822 in a multipart/digest) with charset us-ascii. As written; compare without
	 * regard to case. */
	struct bytes type;
	struct bytes subtype;
	struct mime_param *params;

	/* Empty (.ptr == NULL) if the field is missing. Values unfolded, without outer white space.
	 */
	struct bytes id;
	struct bytes description;
	struct bytes encoding; /* one token, as written */
	struct bytes md5;
	struct bytes location;
	struct bytes disposition;
	struct mime_param *disposition_params;
	struct mime_param *languages; /* each in .value; .name is empty */
};

/* Never NULL. The message itself is the outermost part; its child is not a copy of it. */
struct mime_part *mime_structure_parse(struct bytes message, struct arena *arena);

/* The value of the first parameter of that name, without regard to case; .ptr is NULL if none. */
struct bytes mime_param_find(const struct mime_param *params, const char *name);

bool mime_part_is(const struct mime_part *part, const char *type, const char *subtype);

static inline struct bytes mime_part_header(const struct mime_part *part, struct bytes message)
{
	return bytes_of(message.len > 0 ? message.ptr + part->header_start : message.ptr,
		part->header_size);
}

static inline struct bytes mime_part_body(const struct mime_part *part, struct bytes message)
{
	return bytes_of(
		message.len > 0 ? message.ptr + part->body_start : message.ptr, part->body_size);
}

#endif
