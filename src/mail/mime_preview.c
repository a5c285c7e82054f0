#include "mail/mime_preview.h"

#include "mail/mime_charset.h"
#include "mail/mime_header.h"
#include "mail/mime_html.h"
#include "mail/mime_text.h"

#include <unicode/uchar.h>

#define RAW_SIZE_MAX (64u * 1024) /* bytes of a part that are looked at, as they are encoded */

/* The first text that a reader sees: no attachment, nothing encrypted, no attached message. */
static const struct mime_part *text_find(const struct mime_part *part)
{
	if (bytes_equal_string_nocase(part->disposition, "attachment"))
		return NULL;
	if (part->kind == MIME_LEAF)
		return mime_part_is(part, "text", "plain") || mime_part_is(part, "text", "html")
			       ? part
			       : NULL;
	if (part->kind == MIME_MESSAGE || mime_part_is(part, "multipart", "encrypted"))
		return NULL;
	for (const struct mime_part *child = part->children; child != NULL; child = child->next) {
		const struct mime_part *found = text_find(child);

		if (found != NULL)
			return found;
	}
	return NULL;
}

static void part_text(struct bytes message, const struct mime_part *part, struct buffer *out)
{
	struct bytes body = mime_part_body(part, message);
	struct buffer octets = { 0 }, utf8 = { 0 };
	struct bytes charset = mime_param_find(part->params, "charset");

	if (body.len > RAW_SIZE_MAX)
		body.len = RAW_SIZE_MAX;
	(void)mime_transfer_decode(body, part->encoding, &octets);
	if (mime_to_utf8(buffer_bytes(&octets), charset, &utf8) < 0)
		mime_guess_utf8(buffer_bytes(&octets), &utf8);
	if (mime_part_is(part, "text", "html"))
		mime_html_text(buffer_bytes(&utf8), out);
	else
		buffer_append_bytes(out, buffer_bytes(&utf8));
	buffer_deinit(&octets);
	buffer_deinit(&utf8);
}

/*
 * White space, and characters that show nothing and are used to fill previews; joiners only where
 * they join nothing.
 */
static bool is_blank(int character, bool is_parted)
{
	if (character == 0x200c || character == 0x200d)
		return is_parted;
	return u_isUWhiteSpace(character) || u_iscntrl(character) || character == 0xad ||
	       character == 0x34f || character == 0x200b || character == 0x200e ||
	       character == 0x200f || character == 0x2060 || character == 0xfeff;
}

/* Joins a character or a blank; false when the preview is full. */
static bool append_character(int character, bool *is_parted, size_t *length, struct buffer *out)
{
	if (is_blank(character, *is_parted)) {
		*is_parted = true;
		return true;
	}
	if (*is_parted && *length > 0) {
		if (*length + 2 > MIME_PREVIEW_LENGTH_MAX)
			return false;
		buffer_append_byte(out, ' ');
		++*length;
	}
	*is_parted = false;
	mime_utf8_append(out, character);
	return ++*length < MIME_PREVIEW_LENGTH_MAX;
}

static void lines_join(struct bytes text, bool skips_quotes, struct buffer *out)
{
	bool is_parted = true, is_full = false;
	size_t length = 0;

	while (text.len > 0 && !is_full) {
		struct bytes line = bytes_take(&text, mime_line_size(text));

		if (skips_quotes && bytes_peek(line) == '>')
			continue;
		is_parted = true;
		while (line.len > 0 && !is_full) {
			int character = mime_utf8_take(&line);

			is_full = !append_character(
				character < 0 ? 0xfffd : character, &is_parted, &length, out);
		}
	}
}

void mime_preview_make(struct bytes message, const struct mime_part *root, struct buffer *out)
{
	const struct mime_part *part = text_find(root);
	struct buffer text = { 0 };
	size_t before = out->len;

	if (part == NULL)
		return;
	part_text(message, part, &text);
	if (mime_part_is(part, "text", "plain"))
		lines_join(buffer_bytes(&text), true, out);
	if (out->len == before)
		lines_join(buffer_bytes(&text), false, out);
	buffer_deinit(&text);
}
