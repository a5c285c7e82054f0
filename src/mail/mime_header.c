#include "mail/mime_header.h"

size_t mime_line_size(struct bytes text)
{
	size_t size = bytes_find(text, '\n');

	return size < text.len ? size + 1 : size;
}

bool mime_line_is_empty(struct bytes line)
{
	return bytes_equal(line, BYTES_LITERAL("\r\n")) || bytes_equal(line, BYTES_LITERAL("\n"));
}

struct bytes mime_trim_end(struct bytes text)
{
	while (text.len > 0 && mime_is_space(text.ptr[text.len - 1]))
		text.len--;
	return text;
}

struct bytes mime_trim(struct bytes text)
{
	while (mime_is_space(bytes_peek(text)))
		bytes_skip(&text, 1);
	return mime_trim_end(text);
}

/* The size of the field at the front: its first line and all that begin with white space. */
static size_t field_size(struct bytes header)
{
	size_t size = mime_line_size(header);

	while (size < header.len && (header.ptr[size] == ' ' || header.ptr[size] == '\t'))
		size += mime_line_size(bytes_of(header.ptr + size, header.len - size));
	return size;
}

/* What is before the colon, if that is a name. */
static struct bytes field_name(struct bytes raw, size_t colon)
{
	struct bytes name = bytes_of(raw.ptr, colon);

	if (colon == raw.len)
		return bytes_of(raw.ptr, 0);
	while (name.len > 0 && (name.ptr[name.len - 1] == ' ' || name.ptr[name.len - 1] == '\t'))
		name.len--;
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] <= ' ' || name.ptr[i] == 0x7f)
			return bytes_of(raw.ptr, 0);
	}
	return name;
}

static bool starts_with_empty_line(struct bytes text)
{
	if (bytes_peek(text) == '\r')
		bytes_skip(&text, 1);
	return bytes_peek(text) == '\n';
}

bool mime_field_take(struct bytes *header, struct bytes *raw_r)
{
	if (header->len == 0 || starts_with_empty_line(*header))
		return false;
	*raw_r = bytes_take(header, field_size(*header));
	return true;
}

bool mime_field_next(struct bytes *header, struct mime_field *field_r)
{
	size_t colon;

	if (!mime_field_take(header, &field_r->raw))
		return false;
	colon = bytes_find(field_r->raw, ':');
	field_r->name = field_name(field_r->raw, colon);
	field_r->value = field_r->raw;
	if (field_r->name.len > 0)
		bytes_skip(&field_r->value, colon + 1);
	field_r->value = mime_trim(field_r->value);
	return true;
}

static bool may_be_named(struct bytes line, struct bytes name)
{
	return line.len > name.len && name.len > 0 && ((line.ptr[0] ^ name.ptr[0]) & ~0x20) == 0 &&
	       bytes_equal_nocase(bytes_of(line.ptr, name.len), name);
}

bool mime_field_find(struct bytes *header, struct bytes name, struct mime_field *field_r)
{
	while (header->len > 0) {
		struct bytes rest = *header;

		if (starts_with_empty_line(rest))
			return false;
		if (may_be_named(rest, name) && mime_field_next(&rest, field_r) &&
			field_r->name.len == name.len) {
			*header = rest;
			return true;
		}
		bytes_skip(header, mime_line_size(*header));
	}
	return false;
}

struct bytes mime_header_block(struct bytes message)
{
	struct bytes rest = message;

	while (rest.len > 0) {
		struct bytes line = bytes_take(&rest, mime_line_size(rest));

		if (mime_line_is_empty(line))
			break;
	}
	return bytes_of(message.ptr, message.len - rest.len);
}

void mime_unfold(struct bytes value, struct buffer *out)
{
	while (value.len > 0) {
		struct bytes line = bytes_take(&value, mime_line_size(value));
		size_t size = line.len;

		if (size > 0 && line.ptr[size - 1] == '\n')
			size -= size > 1 && line.ptr[size - 2] == '\r' ? 2 : 1;
		buffer_append(out, line.ptr, size);
		if (size == line.len)
			continue;
		buffer_append_byte(out, ' ');
		while (bytes_peek(value) == ' ' || bytes_peek(value) == '\t')
			bytes_skip(&value, 1);
	}
}

/* Takes a comment, which *in begins with; an unclosed one goes to the end (RFC 5322, 3.2.2). */
static void take_comment(struct bytes *in, struct buffer *comment)
{
	size_t depth = 0;

	do {
		int byte = bytes_take(in, 1).ptr[0];

		if (byte == '(' && depth++ == 0)
			continue;
		if (byte == ')' && --depth == 0)
			break;
		if (byte == '\\' && in->len > 0)
			byte = bytes_take(in, 1).ptr[0];
		if (comment != NULL)
			buffer_append_byte(comment, byte);
	} while (in->len > 0);
}

void mime_skip_cfws(struct bytes *in, struct buffer *comment)
{
	for (;;) {
		while (mime_is_space(bytes_peek(*in)))
			bytes_skip(in, 1);
		if (bytes_peek(*in) != '(')
			return;
		if (comment != NULL)
			buffer_clear(comment);
		take_comment(in, comment);
	}
}

void mime_take_quoted(struct bytes *in, struct buffer *out)
{
	bytes_skip(in, 1);
	while (in->len > 0) {
		int byte = bytes_take(in, 1).ptr[0];

		if (byte == '"')
			return;
		if (byte == '\\' && in->len > 0)
			byte = bytes_take(in, 1).ptr[0];
		buffer_append_byte(out, byte);
	}
}
