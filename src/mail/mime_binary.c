#include "mail/mime_binary.h"

#include "base/encode.h"
#include "base/error.h"
#include "mail/mime_header.h"
#include "mail/mime_structure.h"

#define LINE_INPUT_SIZE 57 /* bytes that make a line of 76 (RFC 2045, 6.8) */

struct encoding {
	struct bytes message;
	size_t at; /* what is before it was written */
	struct buffer *out;
};

static bool has_nul(struct bytes bytes)
{
	return bytes_find(bytes, '\0') < bytes.len;
}

/* Whether the content is what it stands for, so that it can be encoded in another way. */
static bool is_identity(struct bytes encoding)
{
	static const char *const names[] = { "", "7bit", "8bit", "binary" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (bytes_equal_string_nocase(encoding, names[i]))
			return true;
	}
	return false;
}

static void copy_up_to(struct encoding *encoding, size_t end)
{
	buffer_append(encoding->out, encoding->message.ptr + encoding->at, end - encoding->at);
	encoding->at = end;
}

/* The header with another Content-Transfer-Encoding, and its empty line. */
static void write_header(struct encoding *encoding, const struct mime_part *part)
{
	struct bytes header = mime_part_header(part, encoding->message);
	bool has_version = part->parent != NULL; /* only the message's own header names it */
	struct mime_field field;

	while (mime_field_next(&header, &field)) {
		has_version = has_version || bytes_equal_string_nocase(field.name, "mime-version");
		if (!bytes_equal_string_nocase(field.name, "content-transfer-encoding"))
			buffer_append_bytes(encoding->out, field.raw);
	}
	if (!has_version)
		buffer_append_string(encoding->out, "MIME-Version: 1.0\r\n");
	buffer_append_string(encoding->out, "Content-Transfer-Encoding: base64\r\n\r\n");
	encoding->at = part->body_start;
}

/* The line end behind the last line belongs to the delimiter, if one follows. */
static void write_body(struct encoding *encoding, const struct mime_part *part)
{
	struct bytes body = mime_part_body(part, encoding->message);

	while (body.len > 0) {
		size_t size = body.len < LINE_INPUT_SIZE ? body.len : LINE_INPUT_SIZE;

		encode_base64(encoding->out, bytes_take(&body, size));
		if (body.len > 0 || part->parent == NULL)
			buffer_append_string(encoding->out, "\r\n");
	}
	encoding->at = part->body_start + part->body_size;
}

/* Parts come in the order of the message; recursion is bounded by MIME_DEPTH_MAX. */
static int encode_part(struct encoding *encoding, const struct mime_part *part)
{
	const struct mime_part *child;
	int rc = 0;

	if (!has_nul(mime_part_body(part, encoding->message)))
		return 0;
	if (!is_identity(part->encoding))
		return ERR_INVALID;
	for (child = part->children; child != NULL && rc == 0; child = child->next)
		rc = encode_part(encoding, child);
	if (rc < 0 || part->kind != MIME_LEAF)
		return rc;
	copy_up_to(encoding, part->header_start);
	write_header(encoding, part);
	write_body(encoding, part);
	return 0;
}

int mime_binary_encode(struct bytes message, struct buffer *out)
{
	struct encoding encoding = { .message = message, .out = out };
	struct arena *arena = arena_new();
	size_t before = out->len;
	int rc = encode_part(&encoding, mime_structure_parse(message, arena));

	if (rc == 0)
		copy_up_to(&encoding, message.len);
	if (rc == 0 && has_nul(bytes_of(out->data + before, out->len - before)))
		rc = ERR_INVALID;
	if (rc < 0)
		buffer_truncate(out, before);
	arena_free(&arena);
	return rc;
}
