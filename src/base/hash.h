/*
 * hash: the digests and checksums that Chapar uses, each with its one purpose.
 * SHA-256 names message bodies (GUID); XXH3-128 makes the sums of replication digests; CRC32C
 * (Castagnoli, as in RFC 3720) guards stored frames. All are pure and safe from any thread.
 */
#ifndef CHAPAR_BASE_HASH_H
#define CHAPAR_BASE_HASH_H

#include "base/bytes.h"

#include <stdint.h>

struct guid { /* SHA-256 of a message's bytes */
	unsigned char bytes[32];
};

struct id128 { /* an account, mailbox or thread id; all zero: none */
	unsigned char bytes[16];
};

/* A 128-bit sum, modulo 2^128. Equal sets of records have equal sums, in whatever order added. */
struct digest {
	uint64_t high;
	uint64_t low;
};

void guid_of(struct bytes body, struct guid *guid_r);
uint32_t crc32c(uint32_t crc, struct bytes bytes); /* start with 0; may be continued */
uint64_t hash64(struct bytes bytes, uint64_t seed);
struct digest digest_of(struct bytes bytes);
void digest_add(struct digest *sum, struct digest term);
void digest_subtract(struct digest *sum, struct digest term);

/* The first 128 bits of the SHA-256 of `purpose`, a NUL byte and `name`: ids that all nodes agree
 * on. */
struct id128 id128_derive(const char *purpose, struct bytes name);
/* A fresh random id. */
struct id128 id128_random(void);

static inline bool guid_equal(const struct guid *a, const struct guid *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static inline bool digest_equal(struct digest a, struct digest b)
{
	return a.high == b.high && a.low == b.low;
}

static inline bool id128_equal(struct id128 a, struct id128 b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

static inline int id128_compare(struct id128 a, struct id128 b)
{
	return memcmp(&a, &b, sizeof(a));
}

static inline bool id128_is_none(struct id128 id)
{
	return id128_equal(id, (struct id128){ { 0 } });
}

#endif
