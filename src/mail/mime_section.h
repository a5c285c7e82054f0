/*
 * mime_section: the sections of FETCH BODY[...] (RFC 3501, 6.4.5) as bytes of a message.
 * Pure; any thread.
 */
#ifndef CHAPAR_MAIL_MIME_SECTION_H
#define CHAPAR_MAIL_MIME_SECTION_H

#include "base/buffer.h"
#include "mail/mime_structure.h"

#define MIME_SECTION_DEPTH_MAX MIME_DEPTH_MAX /* numbers in a section */
#define MIME_SECTION_NAMES_MAX 1000           /* names in HEADER.FIELDS */

enum mime_section_kind {
	MIME_SECTION_ALL,    /* BODY[] or BODY[1.2] */
	MIME_SECTION_HEADER, /* with the empty line that ends it, if it is there */
	MIME_SECTION_HEADER_FIELDS,
	MIME_SECTION_HEADER_FIELDS_NOT,
	MIME_SECTION_TEXT,
	MIME_SECTION_MIME /* only with numbers */
};

struct mime_section {
	enum mime_section_kind kind;
	const uint32_t *numbers; /* from 1; borrowed */
	size_t number_count;
	const struct bytes *names; /* of HEADER.FIELDS; borrowed */
	size_t name_count;
};

/*
 * Parses what stands between the brackets, such as "1.2.HEADER.FIELDS (From To)"; the names may be
 * atoms or quoted strings. For callers without a parser of their own. Lives in `arena` and `text`.
 * ERR_INVALID: not a section; ERR_TOO_LARGE: over a limit above.
 */
int mime_section_parse(struct bytes text, struct arena *arena, struct mime_section *section_r);

/* Whether it is the header of the message itself, or fields of it. */
static inline bool mime_section_is_header(const struct mime_section *section)
{
	return section->number_count == 0 &&
	       (section->kind == MIME_SECTION_HEADER ||
		       section->kind == MIME_SECTION_HEADER_FIELDS ||
		       section->kind == MIME_SECTION_HEADER_FIELDS_NOT);
}

/*
 * The section's octets, borrowed from `message`; those of HEADER.FIELDS and HEADER.FIELDS.NOT are
 * appended to *scratch instead, whole fields as stored and always a final empty line, and borrowed
 * from there (until its next change; it need not be empty). `root` is mime_structure_parse()'s of
 * this message; where mime_section_is_header(), NULL will do, and so will the header for the
 * message. ERR_NOT_FOUND: no such part (IMAP answers NIL), or HEADER or TEXT of a part that is
 * no message.
 */
int mime_section_get(struct bytes message, const struct mime_part *root,
	const struct mime_section *section, struct buffer *scratch, struct bytes *octets_r);

/*
 * The content of BINARY[numbers] (RFC 3516) and BINARY.SIZE: the part's body with its transfer
 * encoding removed, appended to *out. ERR_NOT_FOUND: no such part; ERR_INVALID: an encoding that is
 * not known (IMAP answers NO [UNKNOWN-CTE]); *out is then as it was. Damaged base64 gives what can
 * be decoded.
 */
int mime_section_binary(struct bytes message, const struct mime_part *root, const uint32_t *numbers,
	size_t number_count, struct buffer *out);

/* Appends the fields of `header` that are (with `except`: are not) among the names, and an empty
 * line. */
void mime_header_fields(struct bytes header, const struct bytes *names, size_t name_count,
	bool except, struct buffer *out);

#endif
