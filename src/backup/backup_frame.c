#include "backup/backup_frame.h"

#include "base/hash.h"
#include "base/pack.h"
#include "base/random.h"

#include <sodium.h>
#include <zstd.h>

#define MAGIC "CHAPARBK"
#define MAGIC_SIZE 8
#define SIZE_SIZE 4
#define GUARD_SIZE 16
#define NONCE_SIZE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define SEAL_SIZE crypto_aead_xchacha20poly1305_ietf_ABYTES
#define PACK_LEVEL 3
#define PACK_SIZE_MIN 200 /* bytes; less is not worth the trouble */

static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == BUNDLE_KEY_SIZE, "one kind of key");

void backup_object_begin(
	const struct backup_key *key, enum backup_object type, struct buffer *object)
{
	unsigned char *at = buffer_extend(object, BACKUP_OBJECT_HEAD_SIZE);

	memset(at, 0, BACKUP_OBJECT_HEAD_SIZE);
	memcpy(at, MAGIC, MAGIC_SIZE);
	at[MAGIC_SIZE] = BACKUP_VERSION;
	at[MAGIC_SIZE + 1] = (unsigned char)type;
	at[MAGIC_SIZE + 2] = key->is_encrypted;
}

int backup_object_head(const struct backup_key *key, enum backup_object type, const char *name,
	struct bytes *in, struct error *error)
{
	static const unsigned char zeros[BACKUP_OBJECT_HEAD_SIZE - MAGIC_SIZE - 3];
	const unsigned char *at = in->ptr;

	if (in->len < BACKUP_OBJECT_HEAD_SIZE || memcmp(at, MAGIC, MAGIC_SIZE) != 0)
		return error_set(error, ERR_CORRUPT, "damaged: %s: its head", name);
	at += MAGIC_SIZE;
	if (at[0] != BACKUP_VERSION)
		return error_set(error, ERR_VERSION, "%s is of version %u, not %d", name, at[0],
			BACKUP_VERSION);
	if (at[1] != type || at[2] != key->is_encrypted ||
		memcmp(at + 3, zeros, sizeof(zeros)) != 0)
		return error_set(error, ERR_CORRUPT, "damaged: %s: its head", name);
	bytes_skip(in, BACKUP_OBJECT_HEAD_SIZE);
	return 0;
}

/* What binds a frame to its place. */
static void place_of(const char *name, uint64_t offset, struct buffer *out)
{
	buffer_append(out, name, strlen(name) + 1);
	pack_u64(out, offset);
}

static void plain_make(enum backup_kind kind, struct bytes data, struct buffer *plain)
{
	size_t begin;

	pack_u8(plain, (uint8_t)kind);
	pack_u8(plain, 1);
	pack_varint(plain, data.len);
	begin = plain->len;
	if (data.len >= PACK_SIZE_MIN) {
		size_t room = ZSTD_compressBound(data.len);
		size_t size = ZSTD_compress(
			buffer_extend(plain, room), room, data.ptr, data.len, PACK_LEVEL);

		if (!ZSTD_isError(size) && size < data.len) {
			buffer_truncate(plain, begin + size);
			return;
		}
	}
	buffer_truncate(plain, 1);
	pack_u8(plain, 0);
	buffer_append_bytes(plain, data);
}

static void guard_of(
	const char *name, uint64_t offset, struct bytes plain, unsigned char guard_r[GUARD_SIZE])
{
	struct buffer text = { 0 };
	struct guid sum;

	place_of(name, offset, &text);
	buffer_append_bytes(&text, plain);
	guid_of(buffer_bytes(&text), &sum);
	memcpy(guard_r, sum.bytes, GUARD_SIZE);
	buffer_deinit(&text);
}

static void seal(const struct backup_key *key, const char *name, uint64_t offset,
	struct bytes plain, struct buffer *object)
{
	struct buffer place = { 0 };
	unsigned char *at = buffer_extend(object, NONCE_SIZE + plain.len + SEAL_SIZE);

	place_of(name, offset, &place);
	random_bytes(at, NONCE_SIZE);
	crypto_aead_xchacha20poly1305_ietf_encrypt(at + NONCE_SIZE, NULL, plain.ptr, plain.len,
		place.data, place.len, NULL, at, key->bytes);
	buffer_deinit(&place);
}

void backup_frame_put(const struct backup_key *key, const char *name, enum backup_kind kind,
	struct bytes data, struct buffer *object)
{
	uint64_t offset = object->len;
	struct buffer plain = { 0 };

	assert(data.len <= BACKUP_DATA_SIZE_MAX);
	plain_make(kind, data, &plain);
	buffer_extend(object, SIZE_SIZE);
	if (key->is_encrypted) {
		seal(key, name, offset, buffer_bytes(&plain), object);
	} else {
		buffer_append_bytes(object, buffer_bytes(&plain));
		guard_of(name, offset, buffer_bytes(&plain), buffer_extend(object, GUARD_SIZE));
	}
	put_u32(object->data + offset, (uint32_t)(object->len - offset - SIZE_SIZE));
	buffer_deinit(&plain);
}

/* ---- reading ---- */

static int damaged(const char *name, uint64_t offset, const char *how, struct error *error)
{
	return error_set(error, ERR_CORRUPT, "damaged: %s, the frame at byte %llu %s", name,
		(unsigned long long)offset, how);
}

static int unseal(const struct backup_key *key, const char *name, uint64_t offset,
	struct bytes content, struct buffer *plain)
{
	struct buffer place = { 0 };
	size_t size = content.len - NONCE_SIZE - SEAL_SIZE;
	int rc;

	place_of(name, offset, &place);
	rc = crypto_aead_xchacha20poly1305_ietf_decrypt(buffer_extend(plain, size), NULL, NULL,
		content.ptr + NONCE_SIZE, content.len - NONCE_SIZE, place.data, place.len,
		content.ptr, key->bytes);
	buffer_deinit(&place);
	return rc;
}

/* *plain_r borrows from `content` or `scratch`. */
static int content_open(const struct backup_key *key, const char *name, uint64_t offset,
	struct bytes content, struct buffer *scratch, struct bytes *plain_r)
{
	unsigned char guard[GUARD_SIZE];

	if (key->is_encrypted) {
		if (content.len < NONCE_SIZE + SEAL_SIZE + 2 ||
			unseal(key, name, offset, content, scratch) != 0)
			return ERR_CORRUPT;
		*plain_r = buffer_bytes(scratch);
		return 0;
	}
	if (content.len < GUARD_SIZE + 2)
		return ERR_CORRUPT;
	*plain_r = bytes_of(content.ptr, content.len - GUARD_SIZE);
	guard_of(name, offset, *plain_r, guard);
	return memcmp(guard, plain_r->ptr + plain_r->len, GUARD_SIZE) == 0 ? 0 : ERR_CORRUPT;
}

static int data_unpack(struct bytes packed, struct buffer *data)
{
	size_t before = data->len, result;
	uint64_t size;

	if (unpack_varint(&packed, &size) < 0 || size > BACKUP_DATA_SIZE_MAX)
		return ERR_CORRUPT;
	result = ZSTD_decompress(buffer_extend(data, size), size, packed.ptr, packed.len);
	if (!ZSTD_isError(result) && result == size)
		return 0;
	buffer_truncate(data, before);
	return ERR_CORRUPT;
}

int backup_frame_get(const struct backup_key *key, const char *name, uint64_t offset,
	struct bytes *in, int *kind_r, struct buffer *data, struct error *error)
{
	struct buffer scratch = { 0 };
	struct bytes plain = { 0 };
	uint8_t kind, packing;
	uint32_t size;
	int rc = 0;

	if (unpack_u32(in, &size) < 0 || size > in->len)
		return damaged(name, offset, "is cut off, or its size is wrong", error);
	if (size > BACKUP_FRAME_SIZE_MAX)
		return damaged(name, offset, "has an impossible size", error);
	if (content_open(key, name, offset, bytes_take(in, size), &scratch, &plain) < 0)
		rc = damaged(name, offset, "was changed", error);
	if (rc == 0 &&
		(unpack_u8(&plain, &kind) < 0 || unpack_u8(&plain, &packing) < 0 || packing > 1))
		rc = damaged(name, offset, "is of an unknown form", error);
	if (rc == 0 && packing == 0)
		buffer_append_bytes(data, plain);
	else if (rc == 0 && data_unpack(plain, data) < 0)
		rc = damaged(name, offset, "cannot be unpacked", error);
	if (rc == 0)
		*kind_r = kind;
	buffer_deinit(&scratch);
	return rc;
}
