/*
 * Searching compares what i;unicode-casemap makes of texts. Where the raw octets are what the
 * reader sees (mail/mime_needle.h tells how they are searched) nothing is converted; headers are
 * searched as a whole first, since most fields of most messages need no decoding.
 */
#include "mail/mime_text.h"

#include "base/arena.h"
#include "mail/mime_charset.h"
#include "mail/mime_header.h"

static bool is_ascii(struct bytes text)
{
	return bytes_ascii_len(text) == text.len;
}

static bool has_encoded_word(struct bytes text)
{
	for (size_t size; (size = bytes_find(text, '=')) < text.len;) {
		bytes_skip(&text, size + 1);
		if (bytes_peek(text) == '?')
			return true;
	}
	return false;
}

/* Whether decoding leaves it as it is. */
static bool is_plain(struct bytes value)
{
	return is_ascii(value) && bytes_find(value, '\n') == value.len && !has_encoded_word(value);
}

static bool value_has(struct bytes value, const struct mime_needle *needle)
{
	struct buffer utf8 = { 0 };
	bool found;

	if (is_plain(value))
		return needle->is_ascii && mime_needle_in_octets(needle, value);
	mime_header_decode(value, &utf8);
	found = mime_needle_in_utf8(needle, buffer_bytes(&utf8));
	buffer_deinit(&utf8);
	return found;
}

static void value_fold(struct bytes value, struct buffer *out)
{
	struct buffer utf8 = { 0 };

	if (is_plain(value)) {
		mime_upper_copy(buffer_extend(out, value.len), value.ptr, value.len);
		return;
	}
	mime_header_decode(value, &utf8);
	mime_casemap(buffer_bytes(&utf8), out);
	buffer_deinit(&utf8);
}

static bool has_params(const struct mime_field *field)
{
	return bytes_equal_string_nocase(field->name, "content-type") ||
	       bytes_equal_string_nocase(field->name, "content-disposition");
}

/* `text` is the value, or the whole field. */
static bool field_has(
	const struct mime_field *field, struct bytes text, const struct mime_needle *needle)
{
	struct buffer params = { 0 };
	bool found = value_has(text, needle);

	if (!found && has_params(field)) {
		mime_params_decode(field->value, &params);
		found = params.len > 0 && mime_needle_in_utf8(needle, buffer_bytes(&params));
		buffer_deinit(&params);
	}
	return found;
}

bool mime_search_header(
	struct bytes message, struct bytes field_name, const struct mime_needle *needle)
{
	struct mime_field field;

	while (mime_field_find(&message, field_name, &field)) {
		if (field_has(&field, field.value, needle))
			return true;
	}
	return false;
}

void mime_search_fold(struct bytes message, struct bytes field_name, struct buffer *out)
{
	struct buffer params = { 0 };
	struct mime_field field;

	while (mime_field_find(&message, field_name, &field)) {
		value_fold(field.value, out);
		if (has_params(&field)) {
			buffer_clear(&params);
			mime_params_decode(field.value, &params);
			mime_casemap(buffer_bytes(&params), out);
		}
	}
	buffer_append_byte(out, '\n');
	buffer_deinit(&params);
}

/* Whether the needle is in no field if it is not in these octets: none needs decoding, and what a
 * fold is shown as, a blank, is not in the needle. */
static bool is_plain_for(struct bytes header, const struct mime_needle *needle)
{
	struct bytes folded = mime_needle_folded(needle);

	return is_ascii(header) && !has_encoded_word(header) &&
	       bytes_find(header, '*') == header.len && bytes_find(folded, ' ') == folded.len;
}

/* Each field with its name; what is found may not go over the end of a field. */
static bool header_has(struct bytes header, const struct mime_needle *needle)
{
	struct mime_field field;
	bool is_in_plain;

	header = mime_header_block(header);
	is_in_plain = needle->is_ascii && mime_needle_in_octets(needle, header);
	if (!is_in_plain && is_plain_for(header, needle))
		return false;
	while (mime_field_next(&header, &field)) {
		if (!is_in_plain && is_plain_for(field.raw, needle))
			continue;
		if (field_has(&field, mime_trim_end(field.raw), needle))
			return true;
	}
	return false;
}

static bool is_identity(struct bytes encoding)
{
	return !bytes_equal_string_nocase(encoding, "quoted-printable") &&
	       !bytes_equal_string_nocase(encoding, "base64");
}

static bool text_part_has(
	struct bytes body, const struct mime_part *part, const struct mime_needle *needle)
{
	struct bytes charset = mime_param_find(part->params, "charset");
	struct buffer decoded = { 0 }, utf8 = { 0 };
	bool extends_ascii = mime_charset_extends_ascii(charset), found;

	if (!is_identity(part->encoding)) {
		(void)mime_transfer_decode(body, part->encoding, &decoded);
		body = buffer_bytes(&decoded);
	}
	if (mime_charset_is_utf8(charset)) {
		found = mime_needle_in_utf8(needle, body);
	} else {
		found = extends_ascii && needle->is_ascii && mime_needle_in_octets(needle, body);
		if (!found && !(extends_ascii && is_ascii(body))) {
			if (mime_to_utf8(body, charset, &utf8) < 0)
				mime_guess_utf8(body, &utf8);
			found = mime_needle_in_utf8(needle, buffer_bytes(&utf8));
		}
	}
	buffer_deinit(&decoded);
	buffer_deinit(&utf8);
	return found;
}

/* Recursion is bounded by MIME_DEPTH_MAX. */
static bool part_has(
	struct bytes message, const struct mime_part *part, const struct mime_needle *needle)
{
	const struct mime_part *child;

	if (part->kind == MIME_LEAF)
		return bytes_equal_string_nocase(part->type, "text") &&
		       text_part_has(mime_part_body(part, message), part, needle);
	if (part->kind == MIME_MESSAGE &&
		header_has(mime_part_header(part->children, message), needle))
		return true;
	for (child = part->children; child != NULL; child = child->next) {
		if (part_has(message, child, needle))
			return true;
	}
	return false;
}

bool mime_search_body(struct bytes message, const struct mime_needle *needle)
{
	struct arena *arena = arena_new();
	bool found = mime_needle_folded(needle).len == 0 ||
		     part_has(message, mime_structure_parse(message, arena), needle);

	arena_free(&arena);
	return found;
}

bool mime_search_text(struct bytes message, const struct mime_needle *needle)
{
	return mime_needle_folded(needle).len == 0 || header_has(message, needle) ||
	       mime_search_body(message, needle);
}
