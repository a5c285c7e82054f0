/* Transfer encodings (RFC 2045, section 6) and encoded words (RFC 2047). */
#include "mail/mime_text.h"

#include "mail/mime_charset.h"
#include "mail/mime_header.h"

static int hex_digit(int byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	byte |= 0x20;
	return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* "=XY": the octet, or -1. */
static int hex_octet(struct bytes text)
{
	int high, low;

	if (text.len < 3)
		return -1;
	high = hex_digit(text.ptr[1]);
	low = hex_digit(text.ptr[2]);
	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* The line that *in begins with, without its end, is put at `to`; returns behind it. White space at
 * its end is not part of it (RFC 2045, 6.7). What is decoded is never longer than what it was. */
static unsigned char *quoted_printable_line(struct bytes line, unsigned char *to)
{
	struct bytes text = mime_trim_end(line);
	bool is_soft = text.len > 0 && text.ptr[text.len - 1] == '=';
	bool has_end = line.ptr[line.len - 1] == '\n';

	if (is_soft)
		text.len--;
	while (text.len > 0) {
		size_t size = bytes_find(text, '=');
		int octet;

		memcpy(to, text.ptr, size);
		to += size;
		bytes_skip(&text, size);
		if (text.len == 0)
			break;
		octet = hex_octet(text);
		*to++ = octet < 0 ? '=' : (unsigned char)octet;
		bytes_skip(&text, octet < 0 ? 1 : 3);
	}
	if (is_soft || !has_end)
		return to;
	if (line.len > 1 && line.ptr[line.len - 2] == '\r')
		*to++ = '\r';
	*to++ = '\n';
	return to;
}

static void quoted_printable_decode(struct bytes body, struct buffer *out)
{
	size_t before = out->len;
	unsigned char *to = buffer_extend(out, body.len);

	while (body.len > 0)
		to = quoted_printable_line(bytes_take(&body, mime_line_size(body)), to);
	buffer_truncate(out, (size_t)(to - out->data));
	assert(out->len >= before);
}

static int base64_digit(int byte)
{
	if (byte >= 'A' && byte <= 'Z')
		return byte - 'A';
	if (byte >= 'a' && byte <= 'z')
		return byte - 'a' + 26;
	if (byte >= '0' && byte <= '9')
		return byte - '0' + 52;
	return byte == '+' ? 62 : byte == '/' ? 63 : -1;
}

/* Other octets are passed over; padding ends a unit, after which another may begin. */
static void base64_decode(struct bytes text, struct buffer *out)
{
	unsigned int bits = 0;
	int count = 0;
	size_t i;

	for (i = 0; i < text.len; i++) {
		int digit = base64_digit(text.ptr[i]);

		if (text.ptr[i] == '=') {
			count = 0;
			bits = 0;
		}
		if (digit < 0)
			continue;
		bits = bits << 6 | (unsigned int)digit;
		if (++count % 4 != 1)
			buffer_append_byte(out, bits >> (6 - 2 * ((count - 1) % 4)) & 0xff);
		if (count == 4)
			count = 0;
	}
}

bool mime_transfer_decode(struct bytes body, struct bytes encoding, struct buffer *out)
{
	static const char *const identities[] = { "", "7bit", "8bit", "binary" };
	bool is_known = false;
	size_t i;

	if (bytes_equal_string_nocase(encoding, "quoted-printable")) {
		quoted_printable_decode(body, out);
		return true;
	}
	if (bytes_equal_string_nocase(encoding, "base64")) {
		buffer_reserve(out, body.len / 4 * 3 + 3);
		base64_decode(body, out);
		return true;
	}
	for (i = 0; i < sizeof(identities) / sizeof(identities[0]); i++)
		is_known = is_known || bytes_equal_string_nocase(encoding, identities[i]);
	buffer_append_bytes(out, body);
	return is_known;
}

struct encoded_word {
	struct bytes charset; /* without a language (RFC 2231, section 5) */
	struct bytes text;
	bool is_base64;
};

/* Takes an encoded word if *in begins with one. */
static bool take_encoded_word(struct bytes *in, struct encoded_word *word_r)
{
	struct bytes rest = *in;
	int encoding;

	if (!bytes_start_with(rest, BYTES_LITERAL("=?")))
		return false;
	bytes_skip(&rest, 2);
	word_r->charset = bytes_take(&rest, bytes_find(rest, '?'));
	word_r->charset.len = bytes_find(word_r->charset, '*');
	if (word_r->charset.len == 0 || rest.len < 3 || rest.ptr[2] != '?')
		return false;
	encoding = rest.ptr[1] | 0x20;
	bytes_skip(&rest, 3);
	if (encoding != 'q' && encoding != 'b')
		return false;
	word_r->is_base64 = encoding == 'b';
	word_r->text = bytes_take(&rest, bytes_find(rest, '?'));
	if (!bytes_start_with(rest, BYTES_LITERAL("?=")))
		return false;
	bytes_skip(&rest, 2);
	*in = rest;
	return true;
}

static void q_decode(struct bytes text, struct buffer *out)
{
	while (text.len > 0) {
		int octet = text.ptr[0] == '=' ? hex_octet(text) : -1;

		buffer_append_byte(out, octet >= 0           ? octet
					: text.ptr[0] == '_' ? ' '
							     : text.ptr[0]);
		bytes_skip(&text, octet >= 0 ? 3 : 1);
	}
}

/*
 * Words that follow each other in one charset are put together before they are converted: many
 * programs break lines within a character, although RFC 2047 forbids it.
 */
struct word_run {
	struct buffer octets;
	struct bytes charset;
	enum { CONVERT, CONVERT_STRICTLY, LEAVE } mode;
	bool is_failed; /* something was not of its charset */
};

static void run_convert(struct word_run *run, struct buffer *out)
{
	struct bytes octets = buffer_bytes(&run->octets);

	if (run->mode == LEAVE)
		buffer_append_bytes(out, octets);
	else if (run->mode == CONVERT_STRICTLY)
		run->is_failed =
			mime_to_utf8_strictly(octets, run->charset, out) < 0 || run->is_failed;
	else if (mime_to_utf8(octets, run->charset, out) < 0)
		mime_guess_utf8(octets, out);
}

static void run_flush(struct word_run *run, struct buffer *out)
{
	size_t i, before = out->len;

	if (run->octets.len == 0)
		return;
	run_convert(run, out);
	for (i = before; i < out->len; i++) {
		if (out->data[i] == '\r' || out->data[i] == '\n')
			out->data[i] = ' ';
	}
	buffer_clear(&run->octets);
}

static void run_add(struct word_run *run, const struct encoded_word *word, struct buffer *out)
{
	if (run->octets.len > 0 && !bytes_equal_nocase(run->charset, word->charset))
		run_flush(run, out);
	run->charset = word->charset;
	if (word->is_base64)
		base64_decode(word->text, &run->octets);
	else
		q_decode(word->text, &run->octets);
}

/* The size of what stands before the next possible encoded word. */
static size_t plain_size(struct bytes text)
{
	const void *found = text.len > 1 ? memmem(text.ptr + 1, text.len - 1, "=?", 2) : NULL;

	return found == NULL ? text.len : (size_t)((const unsigned char *)found - text.ptr);
}

static void line_decode(struct bytes line, struct word_run *run, struct buffer *out)
{
	bool after_word = false;

	while (line.len > 0) {
		struct encoded_word word;
		struct bytes plain;

		if (take_encoded_word(&line, &word)) {
			run_add(run, &word, out);
			after_word = true;
			continue;
		}
		plain = bytes_take(&line, plain_size(line));
		/* White space between encoded words is not shown. */
		if (after_word && mime_trim(plain).len == 0) {
			struct bytes ahead = line;

			if (take_encoded_word(&ahead, &word))
				continue;
		}
		run_flush(run, out);
		if (run->mode == LEAVE)
			buffer_append_bytes(out, plain);
		else
			mime_guess_utf8(plain, out);
		after_word = false;
	}
	run_flush(run, out);
	buffer_deinit(&run->octets);
}

void mime_header_decode(struct bytes value, struct buffer *out)
{
	struct word_run run = { .mode = CONVERT };
	struct buffer line = { 0 };

	mime_unfold(value, &line);
	line_decode(buffer_bytes(&line), &run, out);
	buffer_deinit(&line);
}

bool mime_header_decode_strictly(struct bytes value, struct buffer *out)
{
	struct word_run run = { .mode = CONVERT_STRICTLY }, octets = { .mode = LEAVE };
	struct buffer line = { 0 };
	size_t before = out->len;

	mime_unfold(value, &line);
	line_decode(buffer_bytes(&line), &run, out);
	if (run.is_failed) {
		buffer_truncate(out, before);
		line_decode(buffer_bytes(&line), &octets, out);
	}
	buffer_deinit(&line);
	return !run.is_failed;
}
