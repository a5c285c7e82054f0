/*
 * bundle_file: the frames of a bundle (bundle.h) in a file, each guarded, and in their order.
 *
 *	file   = head frames
 *	head   = "CHAPARBN" version(1) kind(1) salt(16) operations(8) memory(8) check(16) stream(24)
 *	         SHA-256 of what is before it(32)
 *	frame  = size(4, big-endian) content, of `size` bytes
 *
 * Kind 0: the content is a type(1), data, and the first 16 bytes of the SHA-256 of the guard of the
 * frame before it (zeros at first), the type and the data: so a frame that is changed, missing, or
 * in another place is found. Kind 1: the content is the type and data encrypted by libsodium's
 * secretstream (XChaCha20-Poly1305), which finds the same; the key comes from a passphrase by
 * Argon2id with the salt and costs of the head, or (costs 0) from the bytes of a key file by keyed
 * BLAKE2b with the salt. `check` tells a wrong key from damage. The last frame is of type
 * BUNDLE_FRAME_END; a file that ends before is not whole.
 *
 * Reading is bounded: no frame is larger than BUNDLE_FRAME_SIZE_MAX, and no key costs more than the
 * limits below. Not safe for use by several threads at once.
 */
#ifndef CHAPAR_SYNC_BUNDLE_FILE_H
#define CHAPAR_SYNC_BUNDLE_FILE_H

#include "base/buffer.h"
#include "base/error.h"
#include "sync/responder.h"

#define BUNDLE_VERSION 1
#define BUNDLE_FRAME_SIZE_MAX (SYNC_REQUEST_SIZE_MAX + 1024u) /* bytes of content */
#define BUNDLE_FRAME_END 'E'
#define BUNDLE_KEY_FILE_SIZE_MIN 16 /* bytes; what has less is no key */
#define BUNDLE_KEY_FILE_SIZE_MAX 65536

/* What a bundle is encrypted with; both NULL: it is not. Borrowed. */
struct bundle_secret {
	const char *passphrase;
	const char *key_file;
};

struct bundle_writer;

/*
 * Begins a file, which is made as `path` with ".part" at its end and gets its name with
 * bundle_writer_finish(). ERR_EXISTS: `path` is there; ERR_INVALID: the key file is none; ERR_IO,
 * ERR_FULL.
 */
int bundle_writer_open(const char *path, const struct bundle_secret *secret,
	struct bundle_writer **writer_r, struct error *error);
int bundle_writer_put(
	struct bundle_writer *writer, int type, struct bytes data, struct error *error);
/* Puts the last frame, brings all to disk and gives the file its name. */
int bundle_writer_finish(struct bundle_writer *writer, struct bytes data, struct error *error);
/* Closes; an unfinished file is removed. Sets *writer to NULL. A NULL *writer is allowed. */
void bundle_writer_free(struct bundle_writer **writer);
uint64_t bundle_writer_size(const struct bundle_writer *writer); /* bytes until now */

struct bundle_reader;

/*
 * ERR_INVALID: this is no bundle, or it is encrypted and no secret was given; ERR_REFUSED: the
 * secret is not the one; ERR_VERSION; ERR_CORRUPT: damage in the head; ERR_NOT_FOUND, ERR_IO.
 */
int bundle_reader_open(const char *path, const struct bundle_secret *secret,
	struct bundle_reader **reader_r, struct error *error);
/*
 * The next frame; *data_r is borrowed until the next call. After the last one, which is told too,
 * ERR_NOT_FOUND. ERR_CORRUPT: the text names the frame and where it is in the file.
 */
int bundle_reader_next(
	struct bundle_reader *reader, int *type_r, struct bytes *data_r, struct error *error);
void bundle_reader_free(struct bundle_reader **reader);
bool bundle_reader_is_encrypted(const struct bundle_reader *reader);
uint64_t bundle_reader_size(const struct bundle_reader *reader);     /* bytes of the file ... */
uint64_t bundle_reader_position(const struct bundle_reader *reader); /* ... and read of it */

#endif
