/*
 * The steps are those of RFC 5256, 2.1. Each only shortens the text at an end, so the work is
 * bounded by its length.
 */
#include "mail/mime_subject.h"

#include "mail/mime_text.h"

static bool is_blank(int byte)
{
	return byte == ' ' || byte == '\t';
}

/* Takes `word` (ASCII, in any case) off the front. */
static bool take_word(struct bytes *text, const char *word)
{
	size_t len = strlen(word);

	if (text->len < len || !bytes_equal_string_nocase(bytes_of(text->ptr, len), word))
		return false;
	bytes_skip(text, len);
	return true;
}

static void skip_blanks(struct bytes *text)
{
	while (is_blank(bytes_peek(*text)))
		bytes_skip(text, 1);
}

/* subj-blob: "[...]" without brackets inside, and the white space after it. */
static bool take_blob(struct bytes *text)
{
	struct bytes rest = *text;

	if (bytes_peek(rest) != '[')
		return false;
	bytes_skip(&rest, 1);
	while (rest.len > 0 && rest.ptr[0] != '[' && rest.ptr[0] != ']')
		bytes_skip(&rest, 1);
	if (bytes_peek(rest) != ']')
		return false;
	bytes_skip(&rest, 1);
	skip_blanks(&rest);
	*text = rest;
	return true;
}

/* subj-refwd: "re", "fw" or "fwd", perhaps a blob, and the colon. */
static bool take_refwd(struct bytes *text)
{
	struct bytes rest = *text;

	if (!take_word(&rest, "re") && !take_word(&rest, "fwd") && !take_word(&rest, "fw"))
		return false;
	skip_blanks(&rest);
	(void)take_blob(&rest);
	if (bytes_peek(rest) != ':')
		return false;
	bytes_skip(&rest, 1);
	*text = rest;
	return true;
}

/* Step 2: "(fwd)" and white space at the end. */
static bool cut_trailers(struct bytes *text)
{
	bool is_forward = false;

	for (;;) {
		if (text->len > 0 && is_blank(text->ptr[text->len - 1])) {
			text->len--;
		} else if (text->len >= 5 &&
			   bytes_equal_string_nocase(
				   bytes_of(text->ptr + text->len - 5, 5), "(fwd)")) {
			text->len -= 5;
			is_forward = true;
		} else {
			return is_forward;
		}
	}
}

/*
 * Steps 3 and 4, once: white space; or blobs and a "re:"; or blobs alone, of which the last stays
 * if nothing else would be left. Blobs go together, for what is behind them decides for each.
 */
static bool take_prefix(struct bytes *text, bool *is_reply)
{
	struct bytes rest = *text, last = *text, before = *text;

	if (is_blank(bytes_peek(rest))) {
		skip_blanks(text);
		return true;
	}
	while (take_blob(&rest)) {
		last = before;
		before = rest;
	}
	if (take_refwd(&rest)) {
		*text = rest;
		*is_reply = true;
		return true;
	}
	if (rest.len == 0)
		rest = last;
	if (rest.len == text->len)
		return false;
	*text = rest;
	return true;
}

/* Step 6: "[fwd: ...]". */
static bool cut_wrapping(struct bytes *text)
{
	struct bytes inside = *text;

	if (!take_word(&inside, "[fwd:") || inside.len == 0 || inside.ptr[inside.len - 1] != ']')
		return false;
	inside.len--;
	*text = inside;
	return true;
}

/* Step 1: one space for each run of white space. */
static void blanks_collapse(struct buffer *text)
{
	size_t kept = 0;

	for (size_t i = 0; i < text->len; i++) {
		unsigned char byte = text->data[i] == '\t' ? ' ' : text->data[i];

		if (byte != ' ' || kept == 0 || text->data[kept - 1] != ' ')
			text->data[kept++] = byte;
	}
	buffer_truncate(text, kept);
}

struct mime_subject_kind mime_base_subject(struct bytes value, struct buffer *out)
{
	struct mime_subject_kind kind = { .is_reply = false };
	struct buffer decoded = { 0 };
	struct bytes text;

	kind.is_decoded = mime_header_decode_strictly(value, &decoded);
	blanks_collapse(&decoded);
	text = buffer_bytes(&decoded);
	do {
		kind.is_reply = cut_trailers(&text) || kind.is_reply;
		while (take_prefix(&text, &kind.is_reply))
			;
		if (!cut_wrapping(&text))
			break;
		kind.is_reply = true;
	} while (true);
	buffer_append_bytes(out, text);
	buffer_deinit(&decoded);
	return kind;
}
