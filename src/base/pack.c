#include "base/pack.h"

#include "base/error.h"

void pack_u8(struct buffer *out, uint8_t value)
{
	buffer_append_byte(out, value);
}

void pack_u32(struct buffer *out, uint32_t value)
{
	put_u32(buffer_extend(out, 4), value);
}

void pack_u64(struct buffer *out, uint64_t value)
{
	put_u64(buffer_extend(out, 8), value);
}

void pack_varint(struct buffer *out, uint64_t value)
{
	unsigned char octets[10];
	size_t count = 0;

	while (value >= 0x80) {
		octets[count++] = (unsigned char)((value & 0x7f) | 0x80);
		value >>= 7;
	}
	octets[count++] = (unsigned char)value;
	buffer_append(out, octets, count);
}

void pack_bytes(struct buffer *out, struct bytes bytes)
{
	pack_varint(out, bytes.len);
	buffer_append_bytes(out, bytes);
}

int unpack_u8(struct bytes *in, uint8_t *value_r)
{
	if (in->len < 1)
		return ERR_CORRUPT;
	*value_r = bytes_take(in, 1).ptr[0];
	return 0;
}

int unpack_u32(struct bytes *in, uint32_t *value_r)
{
	if (in->len < 4)
		return ERR_CORRUPT;
	*value_r = get_u32(bytes_take(in, 4).ptr);
	return 0;
}

int unpack_u64(struct bytes *in, uint64_t *value_r)
{
	if (in->len < 8)
		return ERR_CORRUPT;
	*value_r = get_u64(bytes_take(in, 8).ptr);
	return 0;
}

int unpack_long_varint(struct bytes *in, uint64_t *value_r)
{
	size_t count = 0, count_max = in->len < 10 ? in->len : 10;
	uint64_t value = 0;

	while (count < count_max) {
		unsigned char byte = in->ptr[count];

		value |= (uint64_t)(byte & 0x7f) << (7 * count++);
		if (byte >= 0x80)
			continue;
		/* The last octet of more than one is not 0, or it would not be minimal; the tenth
		 * has room for one bit. */
		if ((byte == 0 && count > 1) || (count == 10 && byte > 1))
			return ERR_CORRUPT;
		bytes_skip(in, count);
		*value_r = value;
		return 0;
	}
	return ERR_CORRUPT;
}

int unpack_varint32(struct bytes *in, uint32_t *value_r)
{
	uint64_t value;

	if (unpack_varint(in, &value) < 0 || value > UINT32_MAX)
		return ERR_CORRUPT;
	*value_r = (uint32_t)value;
	return 0;
}

int unpack_bytes(struct bytes *in, struct bytes *bytes_r)
{
	uint64_t len;

	if (unpack_varint(in, &len) < 0 || len > in->len)
		return ERR_CORRUPT;
	*bytes_r = bytes_take(in, (size_t)len);
	return 0;
}

int unpack_raw(struct bytes *in, void *ptr, size_t len)
{
	if (in->len < len)
		return ERR_CORRUPT;
	memcpy(ptr, bytes_take(in, len).ptr, len);
	return 0;
}
