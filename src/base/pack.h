/*
 * pack: numbers and byte strings in binary keys and values. Big-endian numbers sort like the
 * numbers they are, so keys use them; values use varints (LEB128, at most 10 bytes). Readers take
 * from the front of *in, are bounded by it, and return ERR_CORRUPT, with *in in no particular
 * state, when it is too short or not minimal.
 */
#ifndef CHAPAR_BASE_PACK_H
#define CHAPAR_BASE_PACK_H

#include "base/buffer.h"

#include <endian.h>
#include <stdint.h>

void pack_u8(struct buffer *out, uint8_t value);
void pack_u32(struct buffer *out, uint32_t value);
void pack_u64(struct buffer *out, uint64_t value);
void pack_varint(struct buffer *out, uint64_t value);
/* A varint of the length, then the bytes. */
void pack_bytes(struct buffer *out, struct bytes bytes);

int unpack_u8(struct bytes *in, uint8_t *value_r);
int unpack_u32(struct bytes *in, uint32_t *value_r);
int unpack_u64(struct bytes *in, uint64_t *value_r);
/* What unpack_varint() does with one that it does not take itself. */
int unpack_long_varint(struct bytes *in, uint64_t *value_r);

/* The value of one that ends within eight octets, and how many it takes; 0: it does not. Of most
 * records the greater part are numbers of seven or eight. */
static inline size_t varint_of_word(const unsigned char *at, uint64_t *value_r)
{
	const uint64_t highs = 0x8080808080808080u;
	uint64_t word, ends;

	memcpy(&word, at, sizeof(word));
	word = le64toh(word);
	ends = ~word & highs;
	if (ends == 0)
		return 0;
	/* All up to the first end, seven bits of each octet, then moved together. */
	word &= (ends ^ (ends - 1)) & ~highs;
	word = (word & 0x007f007f007f007fu) | (word & 0x7f007f007f007f00u) >> 1;
	word = (word & 0x00003fff00003fffu) | (word & 0x3fff00003fff0000u) >> 2;
	*value_r = (word & 0x0fffffffu) | (word & 0x0fffffff00000000u) >> 4;
	return (size_t)__builtin_ctzll(ends) / 8 + 1;
}

static inline int unpack_varint(struct bytes *in, uint64_t *value_r)
{
	uint64_t value;
	size_t count;

	if (in->len > 0 && in->ptr[0] < 0x80) {
		*value_r = in->ptr[0];
		bytes_skip(in, 1);
		return 0;
	}
	/* Its last octet is not 0, or it would not be minimal. */
	if (in->len < sizeof(value) || (count = varint_of_word(in->ptr, &value)) == 0 ||
		in->ptr[count - 1] == 0)
		return unpack_long_varint(in, value_r);
	bytes_skip(in, count);
	*value_r = value;
	return 0;
}

/* As unpack_varint(), and ERR_CORRUPT above UINT32_MAX. */
int unpack_varint32(struct bytes *in, uint32_t *value_r);
/* Borrowed from *in. */
int unpack_bytes(struct bytes *in, struct bytes *bytes_r);
/* Copies exactly `len` bytes to `ptr`. */
int unpack_raw(struct bytes *in, void *ptr, size_t len);

/* Fixed-size keys are built in place. */
static inline void put_u32(unsigned char *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, sizeof(value));
}

static inline void put_u64(unsigned char *at, uint64_t value)
{
	value = htobe64(value);
	memcpy(at, &value, sizeof(value));
}

static inline uint32_t get_u32(const unsigned char *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return be32toh(value);
}

static inline uint64_t get_u64(const unsigned char *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return be64toh(value);
}

#endif
