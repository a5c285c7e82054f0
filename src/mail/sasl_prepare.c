#include "mail/sasl_prepare.h"

#include "base/error.h"

#include <stdint.h>

struct range {
	uint32_t first, last;
};

/* RFC 3454, table B.1. */
static const struct range nothing[] = {
	{ 0x00ad, 0x00ad },
	{ 0x034f, 0x034f },
	{ 0x1806, 0x1806 },
	{ 0x180b, 0x180d },
	{ 0x200b, 0x200d },
	{ 0x2060, 0x2060 },
	{ 0xfe00, 0xfe0f },
	{ 0xfeff, 0xfeff },
};

/* Table C.1.2; U+200B is in `nothing` above. */
static const struct range spaces[] = {
	{ 0x00a0, 0x00a0 },
	{ 0x1680, 0x1680 },
	{ 0x2000, 0x200a },
	{ 0x202f, 0x202f },
	{ 0x205f, 0x205f },
	{ 0x3000, 0x3000 },
};

/* Tables C.2.1, C.2.2, C.3, C.4 (within the first plane), C.6, C.7, C.8 and C.9. */
static const struct range prohibited[] = {
	{ 0x0000, 0x001f },
	{ 0x007f, 0x009f },
	{ 0x0340, 0x0341 },
	{ 0x06dd, 0x06dd },
	{ 0x070f, 0x070f },
	{ 0x180e, 0x180e },
	{ 0x200e, 0x200f },
	{ 0x2028, 0x202e },
	{ 0x2061, 0x2063 },
	{ 0x206a, 0x206f },
	{ 0x2ff0, 0x2ffb },
	{ 0xe000, 0xf8ff },
	{ 0xfdd0, 0xfdef },
	{ 0xfff9, 0xffff },
	{ 0x1d173, 0x1d17a },
	{ 0xe0001, 0xe0001 },
	{ 0xe0020, 0xe007f },
	{ 0xf0000, 0x10ffff },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool is_in(const struct range *ranges, size_t count, uint32_t c)
{
	for (size_t i = 0; i < count; i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

/* Takes one character of shortest-form UTF-8 off *in; false if there is none. */
static bool character_take(struct bytes *in, uint32_t *c_r)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char first = in->ptr[0];
	size_t len = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t c = len == 1 ? first : first & (0xffu >> (len + 1));

	if (len == 0 || first >= 0xf8 || in->len < len)
		return false;
	for (size_t i = 1; i < len; i++) {
		if ((in->ptr[i] & 0xc0) != 0x80)
			return false;
		c = c << 6 | (in->ptr[i] & 0x3fu);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return false;
	bytes_skip(in, len);
	*c_r = c;
	return true;
}

int sasl_prepare(struct bytes in, struct buffer *out)
{
	size_t before = out->len;

	while (in.len > 0) {
		struct bytes rest = in;
		uint32_t c;

		if (!character_take(&rest, &c) || is_in(prohibited, COUNT(prohibited), c) ||
			(c & 0xfffe) == 0xfffe) {
			out->len = before;
			return ERR_INVALID;
		}
		if (is_in(spaces, COUNT(spaces), c))
			buffer_append_byte(out, ' ');
		else if (!is_in(nothing, COUNT(nothing), c))
			buffer_append(out, in.ptr, in.len - rest.len);
		in = rest;
	}
	return out->len > before ? 0 : ERR_INVALID;
}
