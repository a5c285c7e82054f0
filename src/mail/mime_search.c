/*
 * Searching compares what i;unicode-casemap makes of texts. Where the raw octets of ASCII text are
 * what the reader sees (7bit or 8bit, a charset that extends ASCII) an ASCII needle is sought in
 * them first, upper-cased block by block, without any conversion: ASCII maps to ASCII, one octet to
 * one. Only where other octets are in the text can the conversion find more ("e" in "\u00e9").
 */
#include "mail/mime_text.h"

#include "base/arena.h"
#include "base/error.h"
#include "mail/mime_charset.h"
#include "mail/mime_header.h"

#define BLOCK_SIZE 65536 /* bytes upper-cased at once; always more than a needle */

static_assert(BLOCK_SIZE >= 2 * MIME_NEEDLE_SIZE_MAX, "most of a block must be new");

int mime_needle_init(struct mime_needle *needle, struct bytes text, struct bytes charset)
{
	struct buffer utf8 = { 0 };
	size_t i;
	int rc;

	if (text.len > MIME_NEEDLE_SIZE_MAX)
		return ERR_TOO_LARGE;
	*needle = (struct mime_needle){ .is_ascii = true };
	rc = mime_to_utf8_strictly(text, charset, &utf8);
	if (rc == 0)
		mime_casemap(buffer_bytes(&utf8), &needle->folded);
	buffer_deinit(&utf8);
	if (rc == 0 && needle->folded.len > MIME_NEEDLE_SIZE_MAX)
		rc = ERR_TOO_LARGE;
	for (i = 0; i < needle->folded.len; i++)
		needle->is_ascii = needle->is_ascii && needle->folded.data[i] < 0x80;
	if (rc < 0)
		mime_needle_deinit(needle);
	return rc;
}

void mime_needle_deinit(struct mime_needle *needle)
{
	buffer_deinit(&needle->folded);
}

struct bytes mime_needle_folded(const struct mime_needle *needle)
{
	return buffer_bytes(&needle->folded);
}

static bool found_in(struct bytes folded, const struct mime_needle *needle)
{
	if (needle->folded.len == 0)
		return true;
	return folded.len >= needle->folded.len &&
	       memmem(folded.ptr, folded.len, needle->folded.data, needle->folded.len) != NULL;
}

static bool utf8_has(struct bytes utf8, const struct mime_needle *needle)
{
	struct buffer folded = { 0 };
	bool found;

	mime_casemap(utf8, &folded);
	found = found_in(buffer_bytes(&folded), needle);
	buffer_deinit(&folded);
	return found;
}

/* An ASCII needle in octets, without regard to case; linear, as memmem() is. */
static bool octets_have(struct bytes octets, const struct mime_needle *needle)
{
	unsigned char block[BLOCK_SIZE];
	size_t overlap = needle->folded.len > 0 ? needle->folded.len - 1 : 0;

	for (;;) {
		size_t size = octets.len < BLOCK_SIZE ? octets.len : BLOCK_SIZE;

		mime_upper_copy(block, octets.ptr, size);
		if (found_in(bytes_of(block, size), needle))
			return true;
		if (size == octets.len)
			return false;
		bytes_skip(&octets, size - overlap);
	}
}

static bool is_ascii(struct bytes text)
{
	return bytes_ascii_len(text) == text.len;
}

static bool is_plain(struct bytes value)
{
	size_t i;

	for (i = 0; i < value.len; i++) {
		if (value.ptr[i] >= 0x80 || value.ptr[i] == '\n')
			return false;
	}
	return value.len < 2 || memmem(value.ptr, value.len, "=?", 2) == NULL;
}

static bool value_has(struct bytes value, const struct mime_needle *needle)
{
	struct buffer utf8 = { 0 };
	bool found;

	if (is_plain(value))
		return needle->is_ascii && octets_have(value, needle);
	mime_header_decode(value, &utf8);
	found = utf8_has(buffer_bytes(&utf8), needle);
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
		found = params.len > 0 && utf8_has(buffer_bytes(&params), needle);
		buffer_deinit(&params);
	}
	return found;
}

bool mime_search_header(
	struct bytes message, struct bytes field_name, const struct mime_needle *needle)
{
	struct mime_field field;

	while (mime_field_next(&message, &field)) {
		if (bytes_equal_nocase(field.name, field_name) &&
			field_has(&field, field.value, needle))
			return true;
	}
	return false;
}

void mime_search_fold(struct bytes message, struct bytes field_name, struct buffer *out)
{
	struct buffer params = { 0 };
	struct mime_field field;

	while (mime_field_next(&message, &field)) {
		if (!bytes_equal_nocase(field.name, field_name))
			continue;
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

/* Each field with its name; what is found may not go over the end of a field. */
static bool header_has(struct bytes header, const struct mime_needle *needle)
{
	struct mime_field field;

	while (mime_field_next(&header, &field)) {
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
	bool found;

	if (needle->is_ascii && is_identity(part->encoding) &&
		mime_charset_extends_ascii(charset)) {
		if (octets_have(body, needle))
			return true;
		if (is_ascii(body))
			return false;
	}
	(void)mime_transfer_decode(body, part->encoding, &decoded);
	if (mime_charset_is_utf8(charset)) {
		found = utf8_has(buffer_bytes(&decoded), needle);
		buffer_deinit(&decoded);
		return found;
	}
	if (mime_to_utf8(buffer_bytes(&decoded), charset, &utf8) < 0)
		mime_guess_utf8(buffer_bytes(&decoded), &utf8);
	found = utf8_has(buffer_bytes(&utf8), needle);
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
	bool found = needle->folded.len == 0 ||
		     part_has(message, mime_structure_parse(message, arena), needle);

	arena_free(&arena);
	return found;
}

bool mime_search_text(struct bytes message, const struct mime_needle *needle)
{
	return needle->folded.len == 0 || header_has(message, needle) ||
	       mime_search_body(message, needle);
}
