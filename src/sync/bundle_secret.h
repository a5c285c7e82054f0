/* bundle_secret: the head of a bundle's file, and the key that it and a secret give. */
#ifndef CHAPAR_SYNC_BUNDLE_SECRET_H
#define CHAPAR_SYNC_BUNDLE_SECRET_H

#include "sync/bundle_file.h"

#include <stdint.h>

#define BUNDLE_SALT_SIZE 16
#define BUNDLE_CHECK_SIZE 16
#define BUNDLE_STREAM_SIZE 24
#define BUNDLE_KEY_SIZE 32
#define BUNDLE_HEAD_SIZE                                                                           \
	(8 + 1 + 1 + BUNDLE_SALT_SIZE + 8 + 8 + BUNDLE_CHECK_SIZE + BUNDLE_STREAM_SIZE + 32)

struct bundle_head {
	bool is_encrypted;
	unsigned char salt[BUNDLE_SALT_SIZE];
	uint64_t operations, memory; /* costs of a passphrase; 0: a key file */
	unsigned char check[BUNDLE_CHECK_SIZE];
	unsigned char stream[BUNDLE_STREAM_SIZE]; /* header of the secretstream */
};

void bundle_head_encode(const struct bundle_head *head, unsigned char text_r[BUNDLE_HEAD_SIZE]);
/* ERR_INVALID: no bundle; ERR_VERSION; ERR_CORRUPT. */
int bundle_head_decode(const unsigned char text[BUNDLE_HEAD_SIZE], struct bundle_head *head_r,
	struct error *error);

/* Chooses salt and costs of a head, and makes the key. The caller wipes it. */
int bundle_key_new(const struct bundle_secret *secret, struct bundle_head *head,
	unsigned char key_r[BUNDLE_KEY_SIZE], struct error *error);
/* The key of a head that was read. ERR_REFUSED: another secret made it. */
int bundle_key_of(const struct bundle_secret *secret, const struct bundle_head *head,
	unsigned char key_r[BUNDLE_KEY_SIZE], struct error *error);

#endif
