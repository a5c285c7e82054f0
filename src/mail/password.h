/*
 * password: what is stored of a password, and how one is checked.
 *
 * The credentials of an account are one blob (a record, so it is replicated): SCRAM-SHA-256 keys
 * (RFC 5802, RFC 7677: salt, iteration count, StoredKey, ServerKey), an argon2id hash (RFC 9106),
 * and SCRAM-SHA-1 keys for old clients where the operator wants them, each of which may be missing.
 * A password given in full (PLAIN, LOGIN) is checked against the StoredKey if there is one: whoever
 * stole the blob would attack the cheaper of the two anyway, so asking for argon2id as well would
 * only cost our own workers 19 MiB and 20 ms a login. The hash is there for accounts without SCRAM
 * keys, whose blobs are harder to attack: made so from the start (scram_iteration_count 0), or
 * later by credentials_drop_scram(), for which nobody need know the password.
 *
 * Passwords are prepared first (sasl_prepare.h). All comparisons take constant time. Any thread.
 */
#ifndef CHAPAR_MAIL_PASSWORD_H
#define CHAPAR_MAIL_PASSWORD_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdint.h>

#define PASSWORD_SIZE_MAX 1024         /* bytes, as given */
#define CREDENTIALS_SIZE_MAX 512       /* bytes of a blob */
#define SCRAM_KEY_SIZE 32              /* bytes: SHA-256, the longest that we know */
#define SCRAM_SALT_SIZE_MAX 64         /* bytes */
#define SCRAM_ITERATION_COUNT_MIN 4096 /* RFC 7677, section 4 */
#define SCRAM_ITERATION_COUNT_MAX 1000000
#define ARGON2_PASS_COUNT_MAX 16
#define ARGON2_MEMORY_KIB_MAX (256u * 1024)

struct password_parameters {
	unsigned scram_iteration_count; /* 0: no SCRAM keys */
	unsigned argon2_pass_count;     /* 0: no argon2id hash */
	unsigned argon2_memory_kib;
	unsigned scram_sha_1_iteration_count; /* 0: no SCRAM-SHA-1 keys */
};

enum scram_hash { SCRAM_SHA_256, SCRAM_SHA_1 };

/* 15,000 iterations (RFC 7677); argon2id with 2 passes over 19 MiB; no SCRAM-SHA-1 keys. */
struct password_parameters password_parameters_default(void);
/* The least that the standards allow, without argon2id: for tests and benchmarks. */
struct password_parameters password_parameters_cheap(void);

struct scram_keys {
	enum scram_hash hash;
	unsigned char salt[SCRAM_SALT_SIZE_MAX];
	size_t salt_size;
	unsigned iteration_count;
	unsigned char stored_key[SCRAM_KEY_SIZE]; /* scram_key_size() bytes of it ... */
	unsigned char server_key[SCRAM_KEY_SIZE]; /* ... and of it */
};

/* Bytes of a key: 32 or 20. */
size_t scram_key_size(enum scram_hash hash);

/*
 * Appends the blob for `password` to *blob. `parameters` NULL: the default. ERR_INVALID: the
 * password is empty, or not preparable, or the parameters are out of bounds; ERR_TOO_LARGE: over
 * PASSWORD_SIZE_MAX; ERR_UNAVAILABLE: no memory for argon2id now.
 */
int credentials_make(struct bytes password, const struct password_parameters *parameters,
	struct buffer *blob, struct error *error);

/*
 * 0 if `password` is the one. ERR_REFUSED: it is not; ERR_CORRUPT, ERR_VERSION: the blob cannot be
 * read; ERR_UNAVAILABLE: no memory for argon2id now. Takes milliseconds: see password_cache.
 */
int credentials_check(struct bytes blob, struct bytes password);

/* ERR_NOT_FOUND: the blob holds no SCRAM keys of that hash; ERR_CORRUPT, ERR_VERSION. */
int credentials_scram(struct bytes blob, enum scram_hash hash, struct scram_keys *keys_r);

/* Appends the blob without its SCRAM keys. ERR_NOT_FOUND: then nothing would be left. */
int credentials_drop_scram(struct bytes blob, struct buffer *out);

/* 0 if the blob is well formed and within the bounds; ERR_CORRUPT, ERR_VERSION. For data of peers.
 */
int credentials_verify(struct bytes blob);

/*
 * Bytes of SaltedPassword (RFC 5802, section 3) of a prepared password: PBKDF2, the costly part.
 * `salt` has 1 to SCRAM_SALT_SIZE_MAX bytes.
 */
void scram_salted_password(enum scram_hash hash, struct bytes prepared, struct bytes salt,
	unsigned iteration_count, unsigned char salted_r[SCRAM_KEY_SIZE]);
/* The keys of a prepared password. */
void scram_keys_derive(enum scram_hash hash, struct bytes prepared, struct bytes salt,
	unsigned iteration_count, struct scram_keys *keys_r);
/* HMAC-SHA-256. */
void password_hmac(struct bytes key, struct bytes data, unsigned char mac_r[SCRAM_KEY_SIZE]);

/*
 * Remembers passwords that were right, so that clients that log in for every operation (a thousand
 * logins a second) do not cost milliseconds each. It holds no passwords: an entry is an HMAC, under
 * a key that never leaves the process, of account, password and blob. A changed password therefore
 * is a different entry at once. Wrong passwords are not remembered. Any thread.
 */
struct password_cache;

/* Up to `entry_count_max` entries (rounded up to a power of two), each for `life_s` seconds. */
struct password_cache *password_cache_new(unsigned entry_count_max, unsigned life_s);
/* Sets *cache to NULL. A NULL *cache is allowed. */
void password_cache_free(struct password_cache **cache);
/* As credentials_check(), mostly in microseconds. `cache` NULL: without remembering. */
int password_cache_check(struct password_cache *cache, struct bytes account, struct bytes blob,
	struct bytes password);

#endif
