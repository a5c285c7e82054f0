/*
 * backup_frame: the pieces that a backup's objects consist of, each guarded by itself, so that any
 * can be read without the others (docs/backup.md).
 *
 *	object = "CHAPARBK" version(1) type(1) encrypted(1) 0(5), frames
 *	frame  = size(4, big-endian) content, of `size` bytes
 *	plain  = kind(1) packing(1) data; packing 1: data are varint(size) and a zstd frame
 *
 * Not encrypted: the content is a plain and the first 16 bytes of the SHA-256 of: the object's
 * name, a NUL, the frame's offset in it (8), the plain. Encrypted: a random nonce (24) and the
 *plain sealed by XChaCha20-Poly1305 with the backup's key; name, NUL and offset are its associated
 *data. So a frame that was changed, or stands in another place or object, is found.
 *
 * Reading is bounded by BACKUP_DATA_SIZE_MAX. Pure but for the key's use of libsodium.
 */
#ifndef CHAPAR_BACKUP_BACKUP_FRAME_H
#define CHAPAR_BACKUP_BACKUP_FRAME_H

#include "base/buffer.h"
#include "base/error.h"
#include "sync/bundle_secret.h"

#define BACKUP_VERSION 1
#define BACKUP_OBJECT_HEAD_SIZE 16
#define BACKUP_DATA_SIZE_MAX SYNC_REQUEST_SIZE_MAX /* bytes of a frame's data */
#define BACKUP_FRAME_SIZE_MAX (BACKUP_DATA_SIZE_MAX + 1024u)

enum backup_object { BACKUP_HEAD = 'H', BACKUP_PACK = 'P', BACKUP_POINT = 'T', BACKUP_MOVED = 'M' };

enum backup_kind {
	BACKUP_BODY = 'B',     /* a message as it is */
	BACKUP_RECORDS = 'R',  /* records of an account (backup_part.h) */
	BACKUP_INDEX = 'I',    /* what a pack holds (backup_pack.h) */
	BACKUP_ABOUT = 'A',    /* the first of a point (backup_point.h) ... */
	BACKUP_ACCOUNTS = 'C', /* ... and those after it */
	BACKUP_MOVES = 'V'     /* where frames of a pack are now (backup_moved.h) */
};

struct backup_key {
	bool is_encrypted;
	unsigned char bytes[BUNDLE_KEY_SIZE];
};

/* Begins an object. */
void backup_object_begin(
	const struct backup_key *key, enum backup_object type, struct buffer *object);
/* Takes the head off *in. ERR_CORRUPT, ERR_VERSION. */
int backup_object_head(const struct backup_key *key, enum backup_object type, const char *name,
	struct bytes *in, struct error *error);

/* Appends a frame to the object of that name, which begins where `object` does. */
void backup_frame_put(const struct backup_key *key, const char *name, enum backup_kind kind,
	struct bytes data, struct buffer *object);
/*
 * Takes the frame that begins at `offset` of the object off *in, and appends its data to *data.
 * ERR_CORRUPT, with the place.
 */
int backup_frame_get(const struct backup_key *key, const char *name, uint64_t offset,
	struct bytes *in, int *kind_r, struct buffer *data, struct error *error);

#endif
