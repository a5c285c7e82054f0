/*
 * The blob: version (u8), then for SCRAM: iteration count (varint; 0: no keys, and nothing of them
 * follows), salt (bytes), StoredKey and ServerKey (32 bytes each); then for argon2id: pass count
 * (varint; 0: no hash, and nothing of it follows), memory in KiB (varint), salt (bytes), hash (32
 * bytes). In version 2, which is only written where there are SCRAM-SHA-1 keys, these follow as the
 * first ones did, with keys of 20 bytes; version 1 has none.
 */
#include "mail/password.h"

#include "base/pack.h"
#include "base/random.h"
#include "mail/sasl_prepare.h"

#include <argon2.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#define BLOB_VERSION 1
#define BLOB_VERSION_SHA_1 2
#define SCRAM_HASH_COUNT 2
#define SHA_1_KEY_SIZE 20
#define SALT_SIZE 16
#define ARGON2_HASH_SIZE 32
#define ARGON2_LANE_COUNT 1

struct argon2 {
	unsigned pass_count, memory_kib;
	unsigned char salt[SCRAM_SALT_SIZE_MAX];
	size_t salt_size;
	unsigned char hash[ARGON2_HASH_SIZE];
};

struct credentials {
	struct scram_keys scram[SCRAM_HASH_COUNT]; /* by hash; none if iteration_count is 0 */
	struct argon2 argon2;                      /* none if pass_count is 0 */
};

struct password_parameters password_parameters_default(void)
{
	return (struct password_parameters){ 15000, 2, 19u * 1024, 0 };
}

struct password_parameters password_parameters_cheap(void)
{
	return (struct password_parameters){ SCRAM_ITERATION_COUNT_MIN, 0, 0, 0 };
}

/* ---- SCRAM ---- */

size_t scram_key_size(enum scram_hash hash)
{
	return hash == SCRAM_SHA_1 ? SHA_1_KEY_SIZE : SCRAM_KEY_SIZE;
}

static const EVP_MD *digest_of(enum scram_hash hash)
{
	return hash == SCRAM_SHA_1 ? EVP_sha1() : EVP_sha256();
}

static void hmac(const EVP_MD *digest, struct bytes key, struct bytes data,
	unsigned char mac_r[SCRAM_KEY_SIZE])
{
	static const unsigned char empty[1];

	if (HMAC(digest, key.len > 0 ? key.ptr : empty, (int)key.len,
		    data.len > 0 ? data.ptr : empty, data.len, mac_r, NULL) == NULL)
		abort();
}

void password_hmac(struct bytes key, struct bytes data, unsigned char mac_r[SCRAM_KEY_SIZE])
{
	hmac(EVP_sha256(), key, data, mac_r);
}

void scram_salted_password(enum scram_hash hash, struct bytes prepared, struct bytes salt,
	unsigned iteration_count, unsigned char salted_r[SCRAM_KEY_SIZE])
{
	if (PKCS5_PBKDF2_HMAC((const char *)prepared.ptr, (int)prepared.len, salt.ptr,
		    (int)salt.len, (int)iteration_count, digest_of(hash), (int)scram_key_size(hash),
		    salted_r) != 1)
		abort();
}

void scram_keys_derive(enum scram_hash hash, struct bytes prepared, struct bytes salt,
	unsigned iteration_count, struct scram_keys *keys_r)
{
	unsigned char salted[SCRAM_KEY_SIZE], client_key[SCRAM_KEY_SIZE];
	size_t size = scram_key_size(hash);

	assert(salt.len <= SCRAM_SALT_SIZE_MAX);
	*keys_r = (struct scram_keys){
		.hash = hash, .salt_size = salt.len, .iteration_count = iteration_count
	};
	memcpy(keys_r->salt, salt.ptr, salt.len);
	scram_salted_password(hash, prepared, salt, iteration_count, salted);
	hmac(digest_of(hash), bytes_of(salted, size), BYTES_LITERAL("Client Key"), client_key);
	if (EVP_Digest(client_key, size, keys_r->stored_key, NULL, digest_of(hash), NULL) != 1)
		abort();
	hmac(digest_of(hash), bytes_of(salted, size), BYTES_LITERAL("Server Key"),
		keys_r->server_key);
	OPENSSL_cleanse(salted, sizeof(salted));
	OPENSSL_cleanse(client_key, sizeof(client_key));
}

/* ---- argon2id ---- */

static int hash_argon2(
	struct bytes prepared, const struct argon2 *argon2, unsigned char hash_r[ARGON2_HASH_SIZE])
{
	int rc = argon2id_hash_raw(argon2->pass_count, argon2->memory_kib, ARGON2_LANE_COUNT,
		prepared.ptr, prepared.len, argon2->salt, argon2->salt_size, hash_r,
		ARGON2_HASH_SIZE);

	if (rc == ARGON2_MEMORY_ALLOCATION_ERROR)
		return ERR_UNAVAILABLE;
	return rc == ARGON2_OK ? 0 : ERR_CORRUPT;
}

/* ---- The blob ---- */

static void scram_write(const struct scram_keys *scram, struct buffer *blob)
{
	pack_varint(blob, scram->iteration_count);
	if (scram->iteration_count == 0)
		return;
	pack_bytes(blob, bytes_of(scram->salt, scram->salt_size));
	buffer_append(blob, scram->stored_key, scram_key_size(scram->hash));
	buffer_append(blob, scram->server_key, scram_key_size(scram->hash));
}

static void blob_write(const struct credentials *credentials, struct buffer *blob)
{
	bool has_sha_1 = credentials->scram[SCRAM_SHA_1].iteration_count > 0;
	const struct argon2 *argon2 = &credentials->argon2;

	pack_u8(blob, has_sha_1 ? BLOB_VERSION_SHA_1 : BLOB_VERSION);
	scram_write(&credentials->scram[SCRAM_SHA_256], blob);
	pack_varint(blob, argon2->pass_count);
	if (argon2->pass_count > 0) {
		pack_varint(blob, argon2->memory_kib);
		pack_bytes(blob, bytes_of(argon2->salt, argon2->salt_size));
		buffer_append(blob, argon2->hash, ARGON2_HASH_SIZE);
	}
	if (has_sha_1)
		scram_write(&credentials->scram[SCRAM_SHA_1], blob);
}

static int salt_read(struct bytes *in, unsigned char *salt, size_t *size_r)
{
	struct bytes bytes;
	int rc = unpack_bytes(in, &bytes);

	if (rc < 0)
		return rc;
	if (bytes.len < 8 || bytes.len > SCRAM_SALT_SIZE_MAX)
		return ERR_CORRUPT;
	memcpy(salt, bytes.ptr, bytes.len);
	*size_r = bytes.len;
	return 0;
}

static int scram_read(struct bytes *in, enum scram_hash hash, struct scram_keys *scram)
{
	size_t size = scram_key_size(hash);
	uint64_t count;
	int rc = unpack_varint(in, &count);

	if (rc < 0 || count == 0)
		return rc;
	if (count > SCRAM_ITERATION_COUNT_MAX)
		return ERR_CORRUPT;
	scram->hash = hash;
	scram->iteration_count = (unsigned)count;
	rc = salt_read(in, scram->salt, &scram->salt_size);
	if (rc == 0)
		rc = unpack_raw(in, scram->stored_key, size);
	if (rc == 0)
		rc = unpack_raw(in, scram->server_key, size);
	return rc;
}

static int argon2_read(struct bytes *in, struct argon2 *argon2)
{
	uint64_t count, memory_kib;
	int rc = unpack_varint(in, &count);

	if (rc < 0 || count == 0)
		return rc;
	rc = unpack_varint(in, &memory_kib);
	if (rc < 0)
		return rc;
	if (count > ARGON2_PASS_COUNT_MAX || memory_kib < 8 || memory_kib > ARGON2_MEMORY_KIB_MAX)
		return ERR_CORRUPT;
	argon2->pass_count = (unsigned)count;
	argon2->memory_kib = (unsigned)memory_kib;
	rc = salt_read(in, argon2->salt, &argon2->salt_size);
	if (rc == 0)
		rc = unpack_raw(in, argon2->hash, ARGON2_HASH_SIZE);
	return rc;
}

static int blob_read(struct bytes in, struct credentials *credentials_r)
{
	struct credentials credentials = { 0 };
	uint8_t version;
	int rc;

	if (in.len > CREDENTIALS_SIZE_MAX)
		return ERR_CORRUPT;
	rc = unpack_u8(&in, &version);
	if (rc < 0)
		return rc;
	if (version != BLOB_VERSION && version != BLOB_VERSION_SHA_1)
		return ERR_VERSION;
	rc = scram_read(&in, SCRAM_SHA_256, &credentials.scram[SCRAM_SHA_256]);
	if (rc == 0)
		rc = argon2_read(&in, &credentials.argon2);
	if (rc == 0 && version == BLOB_VERSION_SHA_1)
		rc = scram_read(&in, SCRAM_SHA_1, &credentials.scram[SCRAM_SHA_1]);
	if (rc < 0)
		return rc;
	if (in.len > 0 || (credentials.scram[SCRAM_SHA_256].iteration_count == 0 &&
				  credentials.argon2.pass_count == 0))
		return ERR_CORRUPT;
	*credentials_r = credentials;
	return 0;
}

static bool count_is_good(unsigned count)
{
	return count == 0 ||
	       (count >= SCRAM_ITERATION_COUNT_MIN && count <= SCRAM_ITERATION_COUNT_MAX);
}

static int parameters_check(const struct password_parameters *parameters, struct error *error)
{
	unsigned count = parameters->scram_iteration_count;

	if (!count_is_good(count) || !count_is_good(parameters->scram_sha_1_iteration_count))
		return error_set(error, ERR_INVALID, "SCRAM iteration count must be from %d to %d",
			SCRAM_ITERATION_COUNT_MIN, SCRAM_ITERATION_COUNT_MAX);
	if (parameters->argon2_pass_count > ARGON2_PASS_COUNT_MAX)
		return error_set(error, ERR_INVALID, "more than %d passes of argon2id",
			ARGON2_PASS_COUNT_MAX);
	if (parameters->argon2_pass_count > 0 &&
		(parameters->argon2_memory_kib < 8 ||
			parameters->argon2_memory_kib > ARGON2_MEMORY_KIB_MAX))
		return error_set(error, ERR_INVALID, "argon2id memory must be from 8 to %u KiB",
			ARGON2_MEMORY_KIB_MAX);
	if (count == 0 && parameters->argon2_pass_count == 0)
		return error_set(error, ERR_INVALID, "neither SCRAM keys nor argon2id hash");
	return 0;
}

static void scram_fill(enum scram_hash hash, struct bytes prepared, unsigned iteration_count,
	struct credentials *credentials)
{
	unsigned char salt[SALT_SIZE];

	if (iteration_count == 0)
		return;
	random_bytes(salt, sizeof(salt));
	scram_keys_derive(hash, prepared, bytes_of(salt, sizeof(salt)), iteration_count,
		&credentials->scram[hash]);
}

static int credentials_fill(struct bytes prepared, const struct password_parameters *parameters,
	struct credentials *credentials)
{
	struct argon2 *argon2 = &credentials->argon2;

	scram_fill(SCRAM_SHA_256, prepared, parameters->scram_iteration_count, credentials);
	scram_fill(SCRAM_SHA_1, prepared, parameters->scram_sha_1_iteration_count, credentials);
	if (parameters->argon2_pass_count == 0)
		return 0;
	argon2->pass_count = parameters->argon2_pass_count;
	argon2->memory_kib = parameters->argon2_memory_kib;
	argon2->salt_size = SALT_SIZE;
	random_bytes(argon2->salt, SALT_SIZE);
	return hash_argon2(prepared, argon2, argon2->hash);
}

static void buffer_cleanse(struct buffer *buffer)
{
	if (buffer->data != NULL)
		OPENSSL_cleanse(buffer->data, buffer->room);
	buffer_deinit(buffer);
}

int credentials_make(struct bytes password, const struct password_parameters *parameters,
	struct buffer *blob, struct error *error)
{
	struct password_parameters wanted =
		parameters != NULL ? *parameters : password_parameters_default();
	struct credentials credentials = { 0 };
	struct buffer prepared = { 0 };
	int rc;

	rc = parameters_check(&wanted, error);
	if (rc < 0)
		return rc;
	if (password.len > PASSWORD_SIZE_MAX)
		return error_set(
			error, ERR_TOO_LARGE, "password of more than %d bytes", PASSWORD_SIZE_MAX);
	buffer_reserve(&prepared, password.len);
	if (sasl_prepare(password, &prepared) < 0) {
		rc = error_set(error, ERR_INVALID,
			"a password must be UTF-8 without control characters, and not empty");
		goto out;
	}
	rc = credentials_fill(buffer_bytes(&prepared), &wanted, &credentials);
	if (rc < 0) {
		error_set(error, rc, "argon2id: %s", error_name(rc));
		goto out;
	}
	blob_write(&credentials, blob);
out:
	buffer_cleanse(&prepared);
	return rc;
}

/* The SHA-1 keys are there for SCRAM only: beside them there is always something better. */
static int prepared_check(const struct credentials *credentials, struct bytes prepared)
{
	const struct scram_keys *scram = &credentials->scram[SCRAM_SHA_256];
	unsigned char hash[ARGON2_HASH_SIZE];
	struct scram_keys keys;
	int rc;

	if (scram->iteration_count > 0) {
		scram_keys_derive(SCRAM_SHA_256, prepared, bytes_of(scram->salt, scram->salt_size),
			scram->iteration_count, &keys);
		return CRYPTO_memcmp(keys.stored_key, scram->stored_key, SCRAM_KEY_SIZE) == 0
			       ? 0
			       : ERR_REFUSED;
	}
	rc = hash_argon2(prepared, &credentials->argon2, hash);
	if (rc < 0)
		return rc;
	return CRYPTO_memcmp(hash, credentials->argon2.hash, sizeof(hash)) == 0 ? 0 : ERR_REFUSED;
}

int credentials_check(struct bytes blob, struct bytes password)
{
	struct credentials credentials;
	struct buffer prepared = { 0 };
	int rc;

	rc = blob_read(blob, &credentials);
	if (rc < 0)
		return rc;
	if (password.len > PASSWORD_SIZE_MAX)
		return ERR_REFUSED;
	buffer_reserve(&prepared, password.len);
	rc = sasl_prepare(password, &prepared) < 0
		     ? ERR_REFUSED
		     : prepared_check(&credentials, buffer_bytes(&prepared));
	buffer_cleanse(&prepared);
	return rc;
}

int credentials_scram(struct bytes blob, enum scram_hash hash, struct scram_keys *keys_r)
{
	struct credentials credentials;
	int rc = blob_read(blob, &credentials);

	if (rc < 0)
		return rc;
	if (credentials.scram[hash].iteration_count == 0)
		return ERR_NOT_FOUND;
	*keys_r = credentials.scram[hash];
	return 0;
}

int credentials_drop_scram(struct bytes blob, struct buffer *out)
{
	struct credentials credentials;
	int rc = blob_read(blob, &credentials);

	if (rc < 0)
		return rc;
	if (credentials.argon2.pass_count == 0)
		return ERR_NOT_FOUND;
	memset(credentials.scram, 0, sizeof(credentials.scram));
	blob_write(&credentials, out);
	return 0;
}

int credentials_verify(struct bytes blob)
{
	struct credentials credentials;

	return blob_read(blob, &credentials);
}
