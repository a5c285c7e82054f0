/*
 * mime_header: the fields of a header block, as they stand in the message. For the mime_*.c files.
 * Lines end in CRLF or LF. What is not a field (no colon, such as the "From " line of an mbox file)
 * is passed over as a field without a name. Pure; any thread.
 */
#ifndef CHAPAR_MAIL_MIME_HEADER_H
#define CHAPAR_MAIL_MIME_HEADER_H

#include "base/buffer.h"

struct mime_field {
	struct bytes raw;   /* from the name to the last line end */
	struct bytes name;  /* empty: no field; without the white space before the colon */
	struct bytes value; /* after the colon, without outer white space and the last line end */
};

/* Takes the next field off *header. False at the empty line (which stays there) or the end. */
bool mime_field_next(struct bytes *header, struct mime_field *field_r);

/* The same, if no more is asked of it than where it ends. */
bool mime_field_take(struct bytes *header, struct bytes *raw_r);

/* The next field of that name; much faster than to take them all. */
bool mime_field_find(struct bytes *header, struct bytes name, struct mime_field *field_r);

/* The length of the line at the front with its line end, or of what there is without one. */
size_t mime_line_size(struct bytes text);

/* True for "\r\n" and "\n". */
bool mime_line_is_empty(struct bytes line);

/* The header block at the front of a message, with its empty line. */
struct bytes mime_header_block(struct bytes message);

/* Appends the value with each line end and the white space after it as one space. */
void mime_unfold(struct bytes value, struct buffer *out);

/* Both ends without space, tab, CR and LF. */
struct bytes mime_trim(struct bytes text);
struct bytes mime_trim_end(struct bytes text);

/*
 * Takes white space and comments off the front. If `comment` is not NULL and there was a comment,
 * it holds the text of the last one, without its parentheses and backslashes.
 */
void mime_skip_cfws(struct bytes *in, struct buffer *comment);

/* Takes a quoted string, which *in begins with, and appends its content. */
void mime_take_quoted(struct bytes *in, struct buffer *out);

static inline bool mime_is_space(int byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

#endif
