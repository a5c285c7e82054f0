/*
 * segment: the files of the log.
 *
 * A segment is a header and frames, each at a multiple of 8 bytes, all numbers big-endian:
 *	header:  "CHAPSEG1" version(32) zero(32) store id(128) segment number(64) zero(160)
 *crc32c(32)  = 64 bytes frame:   "CHFR" type(8) flags(8) zero(16) payload size(32) payload
 *crc32c(32) sequence(64) durable sequence(64) zero(32) header crc32c(32) = 40 bytes payload, zeros
 *to the next multiple of 8 Types: FRAME_BODY: GUID(256), size of the raw body(64), the body (zstd
 *if FRAME_ZSTD: one zstd frame of all, or one of its head and one of the rest); FRAME_COMMIT:
 *effects, each an operation(8), table(8), key and (EFFECT_PUT) value with varint sizes.
 *
 * Invariants: (1) a commit is its body frames followed by its commit frame, all with its sequence;
 *sequences grow by one. (2) A frame's durable sequence was on disk before the frame was written. So
 *when a frame is bad, a good one after it tells damage (durable sequence >= the bad frame's
 *sequence) from a torn, never acknowledged tail.
 */
#ifndef CHAPAR_STORE_SEGMENT_H
#define CHAPAR_STORE_SEGMENT_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/hash.h"

#include <stdint.h>

#define SEGMENT_HEADER_SIZE 64
#define SEGMENT_VERSION 1
#define FRAME_HEADER_SIZE 40
#define FRAME_PAYLOAD_SIZE_MAX ((uint32_t)512 << 20) /* bytes */
#define FRAME_BODY_PREFIX_SIZE 40                    /* GUID and raw size */

enum frame_type { FRAME_BODY = 1, FRAME_COMMIT = 2 };
#define FRAME_ZSTD 0x01

enum effect_operation { EFFECT_PUT = 1, EFFECT_DELETE = 2 };

struct frame {
	enum frame_type type;
	uint8_t flags;
	uint32_t payload_size;
	uint32_t payload_crc;
	uint64_t sequence;
	uint64_t durable;
};

struct effect {
	enum effect_operation operation;
	unsigned table;
	struct bytes key;
	struct bytes value; /* of a put */
};

void segment_header_encode(
	unsigned char at[SEGMENT_HEADER_SIZE], struct id128 store, uint64_t number);
/* ERR_CORRUPT, ERR_VERSION. */
int segment_header_decode(
	const unsigned char at[SEGMENT_HEADER_SIZE], struct id128 *store_r, uint64_t *number_r);
/*
 * The checksum of a frame's header begins with the store's id, which nobody outside knows: so no
 * message can hold a frame that is taken for one of the log when frames are looked for.
 */
void frame_encode(
	unsigned char at[FRAME_HEADER_SIZE], struct id128 store, const struct frame *frame);
/* ERR_CORRUPT; ERR_VERSION: a type of frame that is not known. */
int frame_decode(
	const unsigned char at[FRAME_HEADER_SIZE], struct id128 store, struct frame *frame_r);
/* Bytes of the whole frame in the file. */
uint64_t frame_extent(uint32_t payload_size);

void effect_encode(struct buffer *out, const struct effect *effect);
/* Takes the next effect off a commit's payload; borrowed from it. ERR_CORRUPT. */
int effect_decode(struct bytes *payload, unsigned table_count, struct effect *effect_r);

/* Reads exactly `size` bytes at `offset`. ERR_CORRUPT when the file ends before; ERR_IO. */
int segment_read(int fd, uint64_t offset, void *ptr, size_t size);
/* Reads and checks the header at `offset` of a frame that ends within the file. Errors as below. */
int segment_read_header(
	int fd, struct id128 store, uint64_t offset, uint64_t file_size, struct frame *frame_r);
/*
 * Reads the frame at `offset` with its payload, and checks both. ERR_NOT_FOUND: the file ends
 * exactly here; ERR_CORRUPT: what is here is not a good frame.
 */
int segment_read_frame(int fd, struct id128 store, uint64_t offset, uint64_t file_size,
	struct frame *frame_r, struct buffer *payload);
/* A body's frame of which the payload's size is known, with one read; the payload is borrowed from
 * `frame_bytes`. ERR_CORRUPT, ERR_VERSION, ERR_IO. */
int segment_read_body(int fd, struct id128 store, uint64_t offset, uint32_t payload_size,
	struct frame *frame_r, struct buffer *frame_bytes, struct bytes *payload_r);
/*
 * Looks for a good frame after the bad one at `offset` whose durable sequence is at least
 * `sequence`: with the bad frame's sequence it proves that what is bad there had been on disk.
 * ERR_NOT_FOUND: none, the tail is torn.
 */
int segment_find_later(int fd, struct id128 store, uint64_t offset, uint64_t file_size,
	uint64_t sequence, uint64_t *offset_r);
/* Where the next frame after the bad one at `offset` may begin: by its header if that is good, else
 * the next good frame, else the file's end. ERR_IO. */
int segment_pass_damage(
	int fd, struct id128 store, uint64_t offset, uint64_t file_size, uint64_t *offset_r);

#endif
