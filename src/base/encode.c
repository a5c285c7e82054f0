#include "base/encode.h"

#include "base/error.h"

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void encode_hex(struct buffer *out, struct bytes in)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char *at = buffer_extend(out, in.len * 2);

	for (size_t i = 0; i < in.len; i++) {
		*at++ = (unsigned char)digits[in.ptr[i] >> 4];
		*at++ = (unsigned char)digits[in.ptr[i] & 15];
	}
}

static int hex_value(int digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	if (digit >= 'A' && digit <= 'F')
		return digit - 'A' + 10;
	return -1;
}

int decode_hex(struct buffer *out, struct bytes in)
{
	size_t start = out->len;

	if (in.len % 2 != 0)
		return ERR_INVALID;
	for (size_t i = 0; i < in.len; i += 2) {
		int high = hex_value(in.ptr[i]), low = hex_value(in.ptr[i + 1]);

		if (high < 0 || low < 0) {
			buffer_truncate(out, start);
			return ERR_INVALID;
		}
		buffer_append_byte(out, high << 4 | low);
	}
	return 0;
}

void encode_base64(struct buffer *out, struct bytes in)
{
	buffer_reserve(out, (in.len + 2) / 3 * 4);
	while (in.len > 0) {
		size_t len = in.len < 3 ? in.len : 3;
		unsigned group = (unsigned)in.ptr[0] << 16;

		if (len > 1)
			group |= (unsigned)in.ptr[1] << 8;
		if (len > 2)
			group |= in.ptr[2];
		buffer_append_byte(out, base64_digits[group >> 18]);
		buffer_append_byte(out, base64_digits[group >> 12 & 63]);
		buffer_append_byte(out, len > 1 ? base64_digits[group >> 6 & 63] : '=');
		buffer_append_byte(out, len > 2 ? base64_digits[group & 63] : '=');
		bytes_skip(&in, len);
	}
}

static int base64_value(int digit)
{
	const char *at = digit > 0 ? strchr(base64_digits, digit) : NULL;

	return at == NULL ? -1 : (int)(at - base64_digits);
}

int decode_base64(struct buffer *out, struct bytes in)
{
	size_t start = out->len;

	if (in.len % 4 != 0)
		return ERR_INVALID;
	while (in.len > 0) {
		unsigned group = 0;
		size_t padding = 0;

		if (in.len == 4 && in.ptr[3] == '=')
			padding = in.ptr[2] == '=' ? 2 : 1;
		for (size_t i = 0; i < 4; i++) {
			int value = i >= 4 - padding ? 0 : base64_value(in.ptr[i]);

			if (value < 0) {
				buffer_truncate(out, start);
				return ERR_INVALID;
			}
			group = group << 6 | (unsigned)value;
		}
		for (size_t i = 0; i < 3 - padding; i++)
			buffer_append_byte(out, (int)(group >> (16 - 8 * i) & 255));
		bytes_skip(&in, 4);
	}
	return 0;
}
