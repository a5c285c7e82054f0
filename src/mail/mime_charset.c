#include "mail/mime_charset.h"

#include "base/error.h"
#include "mail/mime_text.h"

#include <errno.h>
#include <iconv.h>
#include <stdint.h>

#define REPLACEMENT_CHARACTER 0xfffd

/*
 * Names that mail uses, and what iconv is to read them as: a superset where senders are known to
 * name the smaller set and write the greater one.
 */
static const struct {
	const char *name, *iconv_name;
} aliases[] = {
	{ "iso-8859-1", "CP1252" },
	{ "latin1", "CP1252" },
	{ "gb2312", "GB18030" },
	{ "gbk", "GB18030" },
	{ "x-gbk", "GB18030" },
	{ "cp936", "GB18030" },
	{ "ks_c_5601-1987", "CP949" },
	{ "euc-kr", "CP949" },
	{ "shift_jis", "CP932" },
	{ "x-sjis", "CP932" },
	{ "iso-8859-8-i", "ISO-8859-8" },
	{ "iso-8859-8-e", "ISO-8859-8" },
	{ "iso-8859-6-i", "ISO-8859-6" },
	{ "iso-8859-9", "CP1254" },
	{ "unicode-1-1-utf-7", "UTF-7" },
	{ "x-mac-roman", "MACINTOSH" },
};

/* iconv knows these, but they are forms of memory, not of text. */
static const char *const refused[] = { "char", "wchar_t", "internal" };

static bool name_is_any(struct bytes name, const char *const *list, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (bytes_equal_string_nocase(name, list[i]))
			return true;
	}
	return false;
}

static bool is_us_ascii(struct bytes charset)
{
	static const char *const names[] = { "", "us-ascii", "ascii", "ansi_x3.4-1968" };

	return name_is_any(charset, names, sizeof(names) / sizeof(names[0]));
}

bool mime_charset_is_utf8(struct bytes charset)
{
	static const char *const names[] = { "utf-8", "utf8" };

	return name_is_any(charset, names, sizeof(names) / sizeof(names[0]));
}

bool mime_charset_extends_ascii(struct bytes charset)
{
	static const char *const prefixes[] = { "iso-8859-", "windows-125", "koi8-" };
	size_t i;

	if (is_us_ascii(charset) || mime_charset_is_utf8(charset))
		return true;
	for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		size_t len = strlen(prefixes[i]);

		if (charset.len >= len &&
			bytes_equal_string_nocase(bytes_of(charset.ptr, len), prefixes[i]))
			return true;
	}
	return false;
}

static bool is_continuation(struct bytes text, size_t index)
{
	return index < text.len && (text.ptr[index] & 0xc0) == 0x80;
}

int mime_utf8_take(struct bytes *text)
{
	int first = text->ptr[0], character;
	size_t i, more = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
	static const int least[4] = { 0, 0x80, 0x800, 0x10000 };

	character = more == 0 ? first : first & (0x3f >> more);
	for (i = 1; i <= more && is_continuation(*text, i); i++)
		character = character << 6 | (text->ptr[i] & 0x3f);
	if (i <= more || (more > 0 && (first < 0xc2 || first > 0xf4)) || character < least[more] ||
		character > 0x10ffff || (character >= 0xd800 && character <= 0xdfff)) {
		bytes_skip(text, 1);
		return -1;
	}
	bytes_skip(text, more + 1);
	return character;
}

bool mime_utf8_is_valid(struct bytes text)
{
	while (text.len > 0) {
		if (text.ptr[0] < 0x80)
			bytes_skip(&text, bytes_ascii_len(text));
		else if (mime_utf8_take(&text) < 0)
			return false;
	}
	return true;
}

void mime_utf8_append(struct buffer *out, int character)
{
	int shift = 0;

	if (character < 0x80) {
		buffer_append_byte(out, character);
	} else if (character < 0x800) {
		shift = 6;
		buffer_append_byte(out, 0xc0 | character >> 6);
	} else if (character < 0x10000) {
		shift = 12;
		buffer_append_byte(out, 0xe0 | character >> 12);
	} else {
		shift = 18;
		buffer_append_byte(out, 0xf0 | character >> 18);
	}
	while (shift > 0) {
		shift -= 6;
		buffer_append_byte(out, 0x80 | (character >> shift & 0x3f));
	}
}

/* Appends UTF-8 text with what is not replaced. ERR_INVALID at the first such octet if `strict`. */
static int utf8_copy(struct bytes text, bool strict, struct buffer *out)
{
	while (text.len > 0) {
		size_t ascii = bytes_ascii_len(text);
		struct bytes before = text;
		int character;

		if (ascii > 0) {
			buffer_append_bytes(out, bytes_take(&text, ascii));
			continue;
		}
		character = mime_utf8_take(&text);
		if (character >= 0)
			buffer_append(out, before.ptr, before.len - text.len);
		else if (strict)
			return ERR_INVALID;
		else
			mime_utf8_append(out, REPLACEMENT_CHARACTER);
	}
	return 0;
}

/* iconv_open() of a charset's name as mail gives it; (iconv_t)-1 if it is not known. */
static iconv_t charset_open(struct bytes charset)
{
	char name[MIME_CHARSET_NAME_SIZE_MAX + 1];
	size_t i;

	if (charset.len == 0 || charset.len > MIME_CHARSET_NAME_SIZE_MAX ||
		name_is_any(charset, refused, sizeof(refused) / sizeof(refused[0])))
		return (iconv_t)-1;
	for (i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
		if (bytes_equal_string_nocase(charset, aliases[i].name))
			return iconv_open("UTF-8", aliases[i].iconv_name);
	}
	for (i = 0; i < charset.len; i++) {
		int c = charset.ptr[i];

		/* A slash or comma would be options to iconv. */
		if (c <= ' ' || c >= 0x7f || strchr("/,\"\\", c) != NULL)
			return (iconv_t)-1;
		name[i] = (char)c;
	}
	name[i] = '\0';
	return iconv_open("UTF-8", name);
}

static int converter_run(iconv_t converter, struct bytes text, bool strict, struct buffer *out)
{
	char *in = (char *)(uintptr_t)text.ptr, chunk[4096];
	size_t in_left = text.len;

	for (;;) {
		char *to = chunk;
		size_t room = sizeof(chunk);
		bool is_flush = in_left == 0;
		size_t rc = iconv(
			converter, is_flush ? NULL : &in, is_flush ? NULL : &in_left, &to, &room);
		int number = errno;

		buffer_append(out, chunk, sizeof(chunk) - room);
		if (rc != (size_t)-1 && is_flush)
			return 0;
		if (rc != (size_t)-1 || number == E2BIG)
			continue;
		if (strict)
			return ERR_INVALID;
		mime_utf8_append(out, REPLACEMENT_CHARACTER);
		if (is_flush)
			return 0;
		in++;
		in_left--;
	}
}

static int convert(struct bytes text, struct bytes charset, bool strict, struct buffer *out)
{
	struct buffer converted = { 0 };
	iconv_t converter;
	int rc, rc_copy;

	if (mime_charset_is_utf8(charset) || (strict && is_us_ascii(charset)))
		return utf8_copy(text, strict, out);
	if (is_us_ascii(charset)) {
		mime_guess_utf8(text, out);
		return 0;
	}
	converter = charset_open(charset);
	if (converter == (iconv_t)-1)
		return ERR_INVALID;
	rc = converter_run(converter, text, strict, &converted);
	iconv_close(converter);
	/* libc knows UTF-8 under more names than mime_charset_is_utf8(), and a wider UTF-8 than RFC
	 * 3629. */
	rc_copy = utf8_copy(buffer_bytes(&converted), strict, out);
	buffer_deinit(&converted);
	return rc < 0 ? rc : rc_copy;
}

int mime_to_utf8(struct bytes text, struct bytes charset, struct buffer *out)
{
	return convert(text, charset, false, out);
}

int mime_to_utf8_strictly(struct bytes text, struct bytes charset, struct buffer *out)
{
	return convert(text, charset, true, out);
}

void mime_guess_utf8(struct bytes text, struct buffer *out)
{
	if (mime_utf8_is_valid(text))
		buffer_append_bytes(out, text);
	else if (convert(text, BYTES_LITERAL("windows-1252"), false, out) < 0)
		(void)utf8_copy(text, false, out);
}
