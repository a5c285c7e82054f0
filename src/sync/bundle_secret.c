#include "sync/bundle_secret.h"

#include "base/hash.h"
#include "base/pack.h"
#include "base/random.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>

#define MAGIC "CHAPARBN"
#define MAGIC_SIZE 8
#define OPERATIONS crypto_pwhash_argon2id_OPSLIMIT_MODERATE
#define MEMORY crypto_pwhash_argon2id_MEMLIMIT_MODERATE
/* What a bundle can make us spend before we know whom it is from. */
#define OPERATIONS_MAX 16
#define MEMORY_MAX ((uint64_t)1 << 30) /* bytes */

static_assert(crypto_secretstream_xchacha20poly1305_KEYBYTES == BUNDLE_KEY_SIZE &&
		      crypto_secretstream_xchacha20poly1305_HEADERBYTES == BUNDLE_STREAM_SIZE &&
		      crypto_pwhash_argon2id_SALTBYTES == BUNDLE_SALT_SIZE,
	"the sizes of the head are libsodium's");

void bundle_head_encode(const struct bundle_head *head, unsigned char text_r[BUNDLE_HEAD_SIZE])
{
	unsigned char *at = text_r;
	struct guid guard;

	memcpy(at, MAGIC, MAGIC_SIZE);
	at += MAGIC_SIZE;
	*at++ = BUNDLE_VERSION;
	*at++ = head->is_encrypted;
	memcpy(at, head->salt, sizeof(head->salt));
	at += sizeof(head->salt);
	put_u64(at, head->operations);
	put_u64(at + 8, head->memory);
	at += 16;
	memcpy(at, head->check, sizeof(head->check));
	at += sizeof(head->check);
	memcpy(at, head->stream, sizeof(head->stream));
	at += sizeof(head->stream);
	guid_of(bytes_of(text_r, (size_t)(at - text_r)), &guard);
	memcpy(at, guard.bytes, sizeof(guard.bytes));
}

int bundle_head_decode(
	const unsigned char text[BUNDLE_HEAD_SIZE], struct bundle_head *head_r, struct error *error)
{
	const unsigned char *at = text + MAGIC_SIZE;
	struct bundle_head head = { 0 };
	struct guid guard;

	if (memcmp(text, MAGIC, MAGIC_SIZE) != 0)
		return error_set(error, ERR_INVALID, "this is no bundle");
	if (at[0] != BUNDLE_VERSION)
		return error_set(error, ERR_VERSION, "a bundle of version %u, not %d", at[0],
			BUNDLE_VERSION);
	guid_of(bytes_of(text, BUNDLE_HEAD_SIZE - sizeof(guard.bytes)), &guard);
	if (memcmp(text + BUNDLE_HEAD_SIZE - sizeof(guard.bytes), guard.bytes,
		    sizeof(guard.bytes)) != 0 ||
		at[1] > 1)
		return error_set(error, ERR_CORRUPT, "damaged: the head of the file");
	head.is_encrypted = at[1] == 1;
	at += 2;
	memcpy(head.salt, at, sizeof(head.salt));
	at += sizeof(head.salt);
	head.operations = get_u64(at);
	head.memory = get_u64(at + 8);
	at += 16;
	memcpy(head.check, at, sizeof(head.check));
	at += sizeof(head.check);
	memcpy(head.stream, at, sizeof(head.stream));
	*head_r = head;
	return 0;
}

/* ---- keys ---- */

static int key_of_file(const char *file, const struct bundle_head *head,
	unsigned char key[BUNDLE_KEY_SIZE], struct error *error)
{
	unsigned char text[BUNDLE_KEY_FILE_SIZE_MAX + 1];
	FILE *in = fopen(file, "re");
	size_t size;
	int rc = 0;

	if (in == NULL)
		return error_set_errno(
			error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "%s", file);
	size = fread(text, 1, sizeof(text), in);
	if (ferror(in))
		rc = error_set(error, ERR_IO, "%s cannot be read", file);
	else if (size < BUNDLE_KEY_FILE_SIZE_MIN || size > BUNDLE_KEY_FILE_SIZE_MAX)
		rc = error_set(error, ERR_INVALID, "%s: a key file has %d to %d bytes", file,
			BUNDLE_KEY_FILE_SIZE_MIN, BUNDLE_KEY_FILE_SIZE_MAX);
	else
		crypto_generichash(
			key, BUNDLE_KEY_SIZE, text, size, head->salt, sizeof(head->salt));
	fclose(in);
	sodium_memzero(text, sizeof(text));
	return rc;
}

static int key_of_passphrase(const char *passphrase, const struct bundle_head *head,
	unsigned char key[BUNDLE_KEY_SIZE], struct error *error)
{
	if (crypto_pwhash(key, BUNDLE_KEY_SIZE, passphrase, strlen(passphrase), head->salt,
		    head->operations, (size_t)head->memory, crypto_pwhash_ALG_ARGON2ID13) != 0)
		return error_set(error, ERR_UNAVAILABLE, "no memory to make a key now");
	return 0;
}

static void check_of(
	const unsigned char key[BUNDLE_KEY_SIZE], unsigned char check_r[BUNDLE_CHECK_SIZE])
{
	static const unsigned char text[] = "chapar bundle";

	crypto_generichash(
		check_r, BUNDLE_CHECK_SIZE, text, sizeof(text) - 1, key, BUNDLE_KEY_SIZE);
}

static int key_make(const struct bundle_secret *secret, const struct bundle_head *head,
	unsigned char key_r[BUNDLE_KEY_SIZE], struct error *error)
{
	if (sodium_init() < 0)
		return error_set(error, ERR_UNAVAILABLE, "libsodium does not start");
	return secret->key_file != NULL ? key_of_file(secret->key_file, head, key_r, error)
					: key_of_passphrase(secret->passphrase, head, key_r, error);
}

int bundle_key_new(const struct bundle_secret *secret, struct bundle_head *head,
	unsigned char key_r[BUNDLE_KEY_SIZE], struct error *error)
{
	int rc;

	head->is_encrypted = true;
	random_bytes(head->salt, sizeof(head->salt));
	head->operations = secret->key_file != NULL ? 0 : OPERATIONS;
	head->memory = secret->key_file != NULL ? 0 : MEMORY;
	rc = key_make(secret, head, key_r, error);
	if (rc == 0)
		check_of(key_r, head->check);
	return rc;
}

int bundle_key_of(const struct bundle_secret *secret, const struct bundle_head *head,
	unsigned char key_r[BUNDLE_KEY_SIZE], struct error *error)
{
	unsigned char check[BUNDLE_CHECK_SIZE];
	bool is_of_file = head->operations == 0;
	int rc;

	if (is_of_file ? secret->key_file == NULL : secret->passphrase == NULL)
		return error_set(error, ERR_REFUSED, "it is encrypted: give its %s",
			is_of_file ? "key file" : "passphrase");
	if (!is_of_file && (head->operations < crypto_pwhash_argon2id_OPSLIMIT_MIN ||
				   head->operations > OPERATIONS_MAX ||
				   head->memory < crypto_pwhash_argon2id_MEMLIMIT_MIN ||
				   head->memory > MEMORY_MAX))
		return error_set(error, ERR_INVALID, "its key costs more than is decent");
	rc = is_of_file ? key_make(&(struct bundle_secret){ .key_file = secret->key_file }, head,
				  key_r, error)
			: key_make(&(struct bundle_secret){ .passphrase = secret->passphrase },
				  head, key_r, error);
	if (rc < 0)
		return rc;
	check_of(key_r, check);
	if (sodium_memcmp(check, head->check, sizeof(check)) == 0)
		return 0;
	sodium_memzero(key_r, BUNDLE_KEY_SIZE);
	return error_set(error, ERR_REFUSED, "this %s is not the one",
		is_of_file ? "key file" : "passphrase");
}
