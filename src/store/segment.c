#include "store/segment.h"

#include "base/pack.h"

#include <errno.h>
#include <unistd.h>

static const unsigned char segment_magic[8] = "CHAPSEG1";
static const unsigned char frame_magic[4] = "CHFR";

#define SCAN_SIZE 65536 /* bytes read at a time when looking for frames */

void segment_header_encode(
	unsigned char at[SEGMENT_HEADER_SIZE], struct id128 store, uint64_t number)
{
	memset(at, 0, SEGMENT_HEADER_SIZE);
	memcpy(at, segment_magic, sizeof(segment_magic));
	put_u32(at + 8, SEGMENT_VERSION);
	memcpy(at + 16, store.bytes, sizeof(store.bytes));
	put_u64(at + 32, number);
	put_u32(at + 60, crc32c(0, bytes_of(at, 60)));
}

int segment_header_decode(
	const unsigned char at[SEGMENT_HEADER_SIZE], struct id128 *store_r, uint64_t *number_r)
{
	if (memcmp(at, segment_magic, sizeof(segment_magic)) != 0 ||
		get_u32(at + 60) != crc32c(0, bytes_of(at, 60)))
		return ERR_CORRUPT;
	if (get_u32(at + 8) != SEGMENT_VERSION)
		return ERR_VERSION;
	memcpy(store_r->bytes, at + 16, sizeof(store_r->bytes));
	*number_r = get_u64(at + 32);
	return 0;
}

static uint32_t frame_header_crc(const unsigned char at[FRAME_HEADER_SIZE], struct id128 store)
{
	return crc32c(crc32c(0, bytes_of(store.bytes, sizeof(store.bytes))), bytes_of(at, 36));
}

void frame_encode(
	unsigned char at[FRAME_HEADER_SIZE], struct id128 store, const struct frame *frame)
{
	memset(at, 0, FRAME_HEADER_SIZE);
	memcpy(at, frame_magic, sizeof(frame_magic));
	at[4] = (unsigned char)frame->type;
	at[5] = frame->flags;
	put_u32(at + 8, frame->payload_size);
	put_u32(at + 12, frame->payload_crc);
	put_u64(at + 16, frame->sequence);
	put_u64(at + 24, frame->durable);
	put_u32(at + 36, frame_header_crc(at, store));
}

int frame_decode(
	const unsigned char at[FRAME_HEADER_SIZE], struct id128 store, struct frame *frame_r)
{
	if (memcmp(at, frame_magic, sizeof(frame_magic)) != 0 ||
		get_u32(at + 36) != frame_header_crc(at, store))
		return ERR_CORRUPT;
	if (at[4] != FRAME_BODY && at[4] != FRAME_COMMIT)
		return ERR_VERSION;
	frame_r->type = (enum frame_type)at[4];
	frame_r->flags = at[5];
	frame_r->payload_size = get_u32(at + 8);
	frame_r->payload_crc = get_u32(at + 12);
	frame_r->sequence = get_u64(at + 16);
	frame_r->durable = get_u64(at + 24);
	return frame_r->payload_size <= FRAME_PAYLOAD_SIZE_MAX ? 0 : ERR_CORRUPT;
}

uint64_t frame_extent(uint32_t payload_size)
{
	return (FRAME_HEADER_SIZE + (uint64_t)payload_size + 7) & ~(uint64_t)7;
}

void effect_encode(struct buffer *out, const struct effect *effect)
{
	pack_u8(out, (uint8_t)effect->operation);
	pack_u8(out, (uint8_t)effect->table);
	pack_bytes(out, effect->key);
	if (effect->operation == EFFECT_PUT)
		pack_bytes(out, effect->value);
}

int effect_decode(struct bytes *payload, unsigned table_count, struct effect *effect_r)
{
	struct effect effect = { 0 };
	uint8_t operation, table;

	if (unpack_u8(payload, &operation) < 0 || unpack_u8(payload, &table) < 0 ||
		unpack_bytes(payload, &effect.key) < 0 || effect.key.len == 0 ||
		table >= table_count)
		return ERR_CORRUPT;
	if (operation == EFFECT_PUT) {
		if (unpack_bytes(payload, &effect.value) < 0)
			return ERR_CORRUPT;
	} else if (operation != EFFECT_DELETE) {
		return ERR_CORRUPT;
	}
	effect.operation = (enum effect_operation)operation;
	effect.table = table;
	*effect_r = effect;
	return 0;
}

int segment_read(int fd, uint64_t offset, void *ptr, size_t size)
{
	unsigned char *at = ptr;

	while (size > 0) {
		ssize_t got = pread(fd, at, size, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return ERR_IO;
		if (got == 0)
			return ERR_CORRUPT;
		at += got;
		offset += (uint64_t)got;
		size -= (size_t)got;
	}
	return 0;
}

int segment_read_header(
	int fd, struct id128 store, uint64_t offset, uint64_t file_size, struct frame *frame_r)
{
	unsigned char header[FRAME_HEADER_SIZE];
	int rc;

	if (offset == file_size)
		return ERR_NOT_FOUND;
	if (offset > file_size || file_size - offset < FRAME_HEADER_SIZE)
		return ERR_CORRUPT;
	rc = segment_read(fd, offset, header, sizeof(header));
	if (rc == 0)
		rc = frame_decode(header, store, frame_r);
	if (rc < 0)
		return rc;
	return frame_extent(frame_r->payload_size) > file_size - offset ? ERR_CORRUPT : 0;
}

int segment_read_frame(int fd, struct id128 store, uint64_t offset, uint64_t file_size,
	struct frame *frame_r, struct buffer *payload)
{
	int rc = segment_read_header(fd, store, offset, file_size, frame_r);

	if (rc < 0)
		return rc;
	buffer_clear(payload);
	rc = segment_read(fd, offset + FRAME_HEADER_SIZE,
		buffer_extend(payload, frame_r->payload_size), frame_r->payload_size);
	if (rc == 0 && crc32c(0, buffer_bytes(payload)) != frame_r->payload_crc)
		rc = ERR_CORRUPT;
	return rc;
}

int segment_read_body(int fd, struct id128 store, uint64_t offset, uint32_t payload_size,
	struct frame *frame_r, struct buffer *frame_bytes, struct bytes *payload_r)
{
	size_t size = FRAME_HEADER_SIZE + (size_t)payload_size;
	int rc;

	buffer_clear(frame_bytes);
	rc = segment_read(fd, offset, buffer_extend(frame_bytes, size), size);
	if (rc == 0)
		rc = frame_decode(frame_bytes->data, store, frame_r);
	if (rc < 0)
		return rc;
	*payload_r = buffer_bytes(frame_bytes);
	bytes_skip(payload_r, FRAME_HEADER_SIZE);
	return frame_r->type != FRAME_BODY || frame_r->payload_size != payload_size ||
			       crc32c(0, *payload_r) != frame_r->payload_crc
		       ? ERR_CORRUPT
		       : 0;
}

int segment_find_later(int fd, struct id128 store, uint64_t offset, uint64_t file_size,
	uint64_t sequence, uint64_t *offset_r)
{
	struct buffer block = { 0 }, payload = { 0 };
	struct frame frame;
	int rc = ERR_NOT_FOUND;

	for (offset += 8; offset < file_size && rc == ERR_NOT_FOUND; offset += SCAN_SIZE) {
		/* A header may begin in one block and end in the next. */
		uint64_t wanted = SCAN_SIZE + FRAME_HEADER_SIZE;
		size_t size = (size_t)(file_size - offset < wanted ? file_size - offset : wanted);

		buffer_clear(&block);
		if (segment_read(fd, offset, buffer_extend(&block, size), size) < 0) {
			rc = ERR_IO;
			break;
		}
		for (size_t at = 0; at + FRAME_HEADER_SIZE <= size && at < SCAN_SIZE; at += 8) {
			if (frame_decode(block.data + at, store, &frame) < 0 ||
				frame.durable < sequence ||
				segment_read_frame(
					fd, store, offset + at, file_size, &frame, &payload) < 0)
				continue;
			*offset_r = offset + at;
			rc = 0;
			break;
		}
	}
	buffer_deinit(&block);
	buffer_deinit(&payload);
	return rc;
}

int segment_pass_damage(
	int fd, struct id128 store, uint64_t offset, uint64_t file_size, uint64_t *offset_r)
{
	struct frame frame;
	int rc = segment_read_header(fd, store, offset, file_size, &frame);

	if (rc == 0) {
		*offset_r = offset + frame_extent(frame.payload_size);
		return 0;
	}
	rc = segment_find_later(fd, store, offset, file_size, 0, offset_r);
	if (rc == ERR_NOT_FOUND)
		*offset_r = file_size;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}
