#include "imap/imap_utf7.h"

#include "base/error.h"

#include <stdint.h>

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int base64_value(int byte)
{
	const char *found = byte <= 0 ? NULL : strchr(base64_digits, byte);

	return found == NULL ? -1 : (int)(found - base64_digits);
}

static bool is_printable(uint32_t character)
{
	return character >= 0x20 && character < 0x7f;
}

static void utf8_append(struct buffer *out, uint32_t c)
{
	if (c < 0x80) {
		buffer_append_byte(out, (int)c);
		return;
	}
	if (c < 0x800) {
		buffer_append_byte(out, (int)(0xc0 | c >> 6));
	} else if (c < 0x10000) {
		buffer_append_byte(out, (int)(0xe0 | c >> 12));
		buffer_append_byte(out, (int)(0x80 | (c >> 6 & 0x3f)));
	} else {
		buffer_append_byte(out, (int)(0xf0 | c >> 18));
		buffer_append_byte(out, (int)(0x80 | (c >> 12 & 0x3f)));
		buffer_append_byte(out, (int)(0x80 | (c >> 6 & 0x3f)));
	}
	buffer_append_byte(out, (int)(0x80 | (c & 0x3f)));
}

int imap_utf8_take(struct bytes *in)
{
	static const uint32_t smallest[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	int first = bytes_peek(*in);
	size_t len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t c;

	if (first < 0 || len == 0 || first > 0xf4 || in->len < len)
		return -1;
	c = len == 1 ? (uint32_t)first : (uint32_t)first & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((in->ptr[i] & 0xc0) != 0x80)
			return -1;
		c = c << 6 | (in->ptr[i] & 0x3fu);
	}
	if ((len > 1 && c < smallest[len]) || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return -1;
	bytes_skip(in, len);
	return (int)c;
}

bool imap_utf8_is_valid(struct bytes in)
{
	while (in.len > 0) {
		if (imap_utf8_take(&in) < 0)
			return false;
	}
	return true;
}

/* Appends the UTF-16 unit `unit`; *high holds the first half of a surrogate pair, or 0. */
static int utf16_append(struct buffer *out, uint32_t unit, uint32_t *high)
{
	if (*high != 0) {
		if (unit < 0xdc00 || unit > 0xdfff)
			return ERR_INVALID;
		utf8_append(out, 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00));
		*high = 0;
		return 0;
	}
	if (unit >= 0xdc00 && unit <= 0xdfff)
		return ERR_INVALID;
	if (unit >= 0xd800 && unit <= 0xdbff) {
		*high = unit;
		return 0;
	}
	if (is_printable(unit) || unit == 0)
		return ERR_INVALID;
	utf8_append(out, unit);
	return 0;
}

/* The inside of "&...-", up to and including the '-'. */
static int decode_base64_run(struct bytes *in, struct buffer *out)
{
	uint32_t bits = 0, high = 0;
	unsigned bit_count = 0;
	int value;

	while ((value = base64_value(bytes_peek(*in))) >= 0) {
		bytes_skip(in, 1);
		bits = bits << 6 | (uint32_t)value;
		bit_count += 6;
		if (bit_count < 16)
			continue;
		bit_count -= 16;
		if (utf16_append(out, bits >> bit_count & 0xffff, &high) < 0)
			return ERR_INVALID;
		bits &= (1u << bit_count) - 1;
	}
	if (high != 0 || bit_count >= 6 || bits != 0 || bytes_peek(*in) != '-')
		return ERR_INVALID;
	bytes_skip(in, 1);
	return 0;
}

static int decode(struct bytes in, struct buffer *out)
{
	while (in.len > 0) {
		int byte = bytes_peek(in);

		bytes_skip(&in, 1);
		if (!is_printable((uint32_t)byte))
			return ERR_INVALID;
		if (byte != '&') {
			buffer_append_byte(out, byte);
			continue;
		}
		if (bytes_peek(in) == '-') {
			bytes_skip(&in, 1);
			buffer_append_byte(out, '&');
			continue;
		}
		if (decode_base64_run(&in, out) < 0)
			return ERR_INVALID;
		/* Two runs in a row would be a second form of one run. */
		if (bytes_peek(in) == '&' && in.len > 1 && in.ptr[1] != '-')
			return ERR_INVALID;
	}
	return 0;
}

int imap_utf7_decode(struct arena *arena, struct bytes in, struct bytes *utf8_r)
{
	struct buffer out = { NULL, 0, 0 };
	int rc = decode(in, &out);

	if (rc == 0)
		*utf8_r = arena_copy(arena, buffer_bytes(&out));
	buffer_deinit(&out);
	return rc;
}

struct base64_writer {
	struct buffer *out;
	uint32_t bits;
	unsigned bit_count;
};

static void base64_put_unit(struct base64_writer *writer, uint32_t unit)
{
	writer->bits = writer->bits << 16 | unit;
	writer->bit_count += 16;
	while (writer->bit_count >= 6) {
		writer->bit_count -= 6;
		buffer_append_byte(
			writer->out, base64_digits[writer->bits >> writer->bit_count & 0x3f]);
	}
	writer->bits &= (1u << writer->bit_count) - 1;
}

static void base64_end(struct base64_writer *writer)
{
	if (writer->bit_count > 0)
		buffer_append_byte(
			writer->out, base64_digits[writer->bits << (6 - writer->bit_count) & 0x3f]);
	buffer_append_byte(writer->out, '-');
}

static void encode_run(struct buffer *out, struct bytes *in)
{
	struct base64_writer writer = { out, 0, 0 };

	buffer_append_byte(out, '&');
	while (in->len > 0 && !is_printable(in->ptr[0])) {
		int c = imap_utf8_take(in);

		if (c < 0) {
			bytes_skip(in, 1);
			c = 0xfffd;
		}
		if (c >= 0x10000) {
			base64_put_unit(&writer, 0xd800 + ((uint32_t)(c - 0x10000) >> 10));
			base64_put_unit(&writer, 0xdc00 + ((uint32_t)(c - 0x10000) & 0x3ff));
		} else {
			base64_put_unit(&writer, (uint32_t)c);
		}
	}
	base64_end(&writer);
}

void imap_utf7_encode(struct buffer *out, struct bytes utf8)
{
	while (utf8.len > 0) {
		if (!is_printable(utf8.ptr[0])) {
			encode_run(out, &utf8);
			continue;
		}
		buffer_append_byte(out, utf8.ptr[0]);
		if (utf8.ptr[0] == '&')
			buffer_append_byte(out, '-');
		bytes_skip(&utf8, 1);
	}
}

struct bytes imap_name_canonical(struct arena *arena, struct bytes name)
{
	const struct bytes inbox = BYTES_LITERAL("INBOX");
	struct bytes copy;

	if (name.len < inbox.len || !bytes_equal_nocase(bytes_of(name.ptr, inbox.len), inbox))
		return name;
	if (name.len > inbox.len && name.ptr[inbox.len] != '/')
		return name;
	copy = arena_copy(arena, name);
	memcpy((unsigned char *)copy.ptr, inbox.ptr, inbox.len);
	return copy;
}
