#include "base/hash.h"

#include "base/random.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <xxhash.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

void guid_of(struct bytes body, struct guid *guid_r)
{
	if (EVP_Digest(body.ptr, body.len, guid_r->bytes, NULL, EVP_sha256(), NULL) != 1)
		abort();
}

static uint32_t crc32c_plain(uint32_t crc, struct bytes bytes)
{
	for (size_t i = 0; i < bytes.len; i++) {
		crc ^= bytes.ptr[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (0x82f63b78u & (0u - (crc & 1)));
	}
	return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, struct bytes bytes)
{
	uint64_t wide = crc;

	while (bytes.len >= 8) {
		uint64_t word;

		memcpy(&word, bytes.ptr, 8);
		wide = _mm_crc32_u64(wide, word);
		bytes_skip(&bytes, 8);
	}
	crc = (uint32_t)wide;
	for (size_t i = 0; i < bytes.len; i++)
		crc = _mm_crc32_u8(crc, bytes.ptr[i]);
	return crc;
}
#endif

uint32_t crc32c(uint32_t crc, struct bytes bytes)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc32c_sse42(~crc, bytes);
#endif
	return ~crc32c_plain(~crc, bytes);
}

uint64_t hash64(struct bytes bytes, uint64_t seed)
{
	return XXH3_64bits_withSeed(bytes.ptr, bytes.len, seed);
}

struct digest digest_of(struct bytes bytes)
{
	XXH128_hash_t hash = XXH3_128bits(bytes.ptr, bytes.len);

	return (struct digest){ hash.high64, hash.low64 };
}

void digest_add(struct digest *sum, struct digest term)
{
	uint64_t low = sum->low + term.low;

	sum->high += term.high + (low < sum->low);
	sum->low = low;
}

void digest_subtract(struct digest *sum, struct digest term)
{
	uint64_t low = sum->low - term.low;

	sum->high -= term.high + (low > sum->low);
	sum->low = low;
}

struct id128 id128_derive(const char *purpose, struct bytes name)
{
	unsigned char hash[32];
	struct id128 id;
	EVP_MD_CTX *context = EVP_MD_CTX_new();

	if (context == NULL || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1 ||
		EVP_DigestUpdate(context, purpose, strlen(purpose) + 1) != 1 ||
		EVP_DigestUpdate(context, name.ptr, name.len) != 1 ||
		EVP_DigestFinal_ex(context, hash, NULL) != 1)
		abort();
	EVP_MD_CTX_free(context);
	memcpy(id.bytes, hash, sizeof(id.bytes));
	return id;
}

struct id128 id128_random(void)
{
	struct id128 id;

	random_bytes(id.bytes, sizeof(id.bytes));
	return id;
}
