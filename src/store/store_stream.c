#include "store/store_stream.h"

#include "store/store_private.h"

#include "base/mem.h"

#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define PIECE_SIZE (64u * 1024) /* bytes read from the file at a time */
#define SKIP_SIZE (256u * 1024) /* bytes unpacked at a time that nobody wants */
#define OPEN_ATTEMPT_COUNT 8    /* a body may be moved by compaction while it is being found */

struct store_stream {
	struct store *store;
	struct guid guid;
	struct body_row row;
	struct log_segment *segment; /* NULL: asleep, or of a store in memory */
	struct frame frame;
	ZSTD_DCtx *decompressor; /* NULL: stored as it is */
	uint64_t file_position;  /* of the stored bytes that are unpacked next ... */
	uint64_t file_end;       /* ... up to here */
	uint32_t crc;            /* of the payload before them ... */
	uint32_t prefix_crc;     /* ... which begins with the prefix */
	uint64_t position;       /* in the body */
	struct buffer copy;      /* of a store in memory: the body */
};

static int piece_read(const struct store_stream *stream, unsigned char *piece, size_t room,
	uint64_t at, struct bytes *piece_r)
{
	uint64_t left = stream->file_end - at;
	size_t size = left < room ? (size_t)left : room;
	int rc = segment_read(stream->segment->fd, at, piece, size);

	*piece_r = bytes_of(piece, size);
	return rc;
}

/* Reads the frame's header and the GUID, and the rest for its checksum only. */
static int frame_check(struct store_stream *stream)
{
	unsigned char start[FRAME_HEADER_SIZE + FRAME_BODY_PREFIX_SIZE], piece[PIECE_SIZE];
	const struct body_row *row = &stream->row;
	struct frame *frame = &stream->frame;
	struct bytes part;
	uint32_t crc;
	int rc;

	if (row->stored_size < FRAME_BODY_PREFIX_SIZE ||
		row->stored_size > FRAME_PAYLOAD_SIZE_MAX || row->size > FRAME_PAYLOAD_SIZE_MAX)
		return ERR_CORRUPT;
	rc = segment_read(stream->segment->fd, row->offset, start, sizeof(start));
	if (rc == 0)
		rc = frame_decode(start, stream->store->log.store, frame);
	if (rc < 0)
		return rc;
	if (frame->type != FRAME_BODY || frame->payload_size != row->stored_size ||
		memcmp(start + FRAME_HEADER_SIZE, stream->guid.bytes, sizeof(stream->guid.bytes)) !=
			0 ||
		((frame->flags & FRAME_ZSTD) == 0 &&
			row->stored_size - FRAME_BODY_PREFIX_SIZE != row->size))
		return ERR_CORRUPT;
	crc = crc32c(0, bytes_of(start + FRAME_HEADER_SIZE, FRAME_BODY_PREFIX_SIZE));
	stream->crc = stream->prefix_crc = crc;
	stream->file_position = row->offset + sizeof(start);
	stream->file_end = row->offset + FRAME_HEADER_SIZE + row->stored_size;
	for (uint64_t at = stream->file_position; at < stream->file_end; at += part.len) {
		rc = piece_read(stream, piece, sizeof(piece), at, &part);
		if (rc < 0)
			return rc;
		crc = crc32c(crc, part);
	}
	return crc == frame->payload_crc ? 0 : ERR_CORRUPT;
}

static int stream_find(struct store_stream *stream, struct kv_txn *kv)
{
	int rc = body_row_get(
		kv, bytes_of(stream->guid.bytes, sizeof(stream->guid.bytes)), &stream->row);

	if (rc < 0)
		return rc;
	stream->segment = log_acquire(&stream->store->log, stream->row.segment);
	return stream->segment != NULL ? 0 : ERR_NOT_FOUND;
}

static int stream_begin(struct store_stream *stream, struct kv_txn *kv)
{
	int rc = stream_find(stream, kv);

	/* Its segment was reclaimed since the snapshot: the index tells where it is now. */
	for (int i = 0; i < OPEN_ATTEMPT_COUNT && rc == ERR_NOT_FOUND; i++) {
		struct kv_txn *now = NULL;

		rc = kv_begin_read(stream->store->kv, &now);
		if (rc < 0)
			return rc;
		rc = stream_find(stream, now);
		kv_abort(&now);
	}
	if (rc == 0)
		rc = frame_check(stream);
	if (rc == 0 && (stream->frame.flags & FRAME_ZSTD) != 0) {
		stream->decompressor = ZSTD_createDCtx();
		if (stream->decompressor == NULL)
			rc = ERR_UNAVAILABLE;
	}
	return rc;
}

int store_stream_open(struct store *store, struct kv_txn *kv, const struct guid *guid,
	struct store_stream **stream_r)
{
	struct store_stream *stream = mem_zalloc(sizeof(*stream));
	int rc;

	stream->store = store;
	stream->guid = *guid;
	if (store->is_memory) {
		rc = store_body_read(store, kv, guid, &stream->copy);
		stream->row.size = stream->copy.len;
	} else {
		rc = stream_begin(stream, kv);
	}
	if (rc < 0)
		store_stream_close(&stream);
	else
		*stream_r = stream;
	return rc;
}

void store_stream_close(struct store_stream **stream)
{
	if (*stream == NULL)
		return;
	store_stream_sleep(*stream);
	ZSTD_freeDCtx((*stream)->decompressor);
	buffer_deinit(&(*stream)->copy);
	free(*stream);
	*stream = NULL;
}

const struct guid *store_stream_guid(const struct store_stream *stream)
{
	return &stream->guid;
}

uint64_t store_stream_size(const struct store_stream *stream)
{
	return stream->row.size;
}

uint64_t store_stream_position(const struct store_stream *stream)
{
	return stream->position;
}

/* Takes some of the stored bytes; *room gets what was unpacked. */
static int unpack_some(struct store_stream *stream, struct bytes piece, ZSTD_outBuffer *room)
{
	ZSTD_inBuffer in = { piece.ptr, piece.len, 0 };
	size_t before = room->pos, got;

	if (stream->decompressor == NULL) {
		in.pos = piece.len < room->size - room->pos ? piece.len : room->size - room->pos;
		memcpy((unsigned char *)room->dst + room->pos, piece.ptr, in.pos);
		room->pos += in.pos;
	} else {
		got = ZSTD_decompressStream(stream->decompressor, room, &in);
		if (ZSTD_isError(got))
			return ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation
				       ? ERR_UNAVAILABLE
				       : ERR_CORRUPT;
	}
	/* Neither taken nor given: what is stored ends too early. */
	if (in.pos == 0 && room->pos == before)
		return ERR_CORRUPT;
	stream->crc = crc32c(stream->crc, bytes_of(piece.ptr, in.pos));
	stream->file_position += in.pos;
	stream->position += room->pos - before;
	return 0;
}

/* All is unpacked: what is left of the stored bytes, such as a checksum, brings nothing more. */
static int stream_end(struct store_stream *stream)
{
	unsigned char piece[PIECE_SIZE], none[1];
	ZSTD_outBuffer room = { none, sizeof(none), 0 };
	struct bytes part;
	int rc = 0;

	while (rc == 0 && stream->file_position < stream->file_end) {
		rc = piece_read(stream, piece, sizeof(piece), stream->file_position, &part);
		if (rc == 0)
			rc = unpack_some(stream, part, &room);
		if (rc == 0 && room.pos > 0)
			rc = ERR_CORRUPT;
	}
	return rc == 0 && stream->crc != stream->frame.payload_crc ? ERR_CORRUPT : rc;
}

static int stream_unpack(struct store_stream *stream, unsigned char *at, size_t size)
{
	ZSTD_outBuffer room = { at, size, 0 };
	unsigned char piece[PIECE_SIZE];
	struct bytes part;
	int rc = 0;

	while (rc == 0 && room.pos < room.size) {
		rc = piece_read(stream, piece, sizeof(piece), stream->file_position, &part);
		if (rc == 0)
			rc = unpack_some(stream, part, &room);
	}
	if (rc == 0 && stream->position == stream->row.size)
		rc = stream_end(stream);
	return rc;
}

int store_stream_read(struct store_stream *stream, size_t size, struct buffer *out)
{
	size_t before = out->len;
	int rc;

	assert(size <= stream->row.size - stream->position);
	if (size == 0)
		return 0;
	if (stream->store->is_memory) {
		buffer_append(out, stream->copy.data + stream->position, size);
		stream->position += size;
		return 0;
	}
	assert(stream->segment != NULL);
	rc = stream_unpack(stream, buffer_extend(out, size), size);
	if (rc < 0)
		buffer_truncate(out, before);
	return rc;
}

int store_stream_skip(struct store_stream *stream, uint64_t size)
{
	struct buffer dropped = { 0 };
	int rc = 0;

	while (rc == 0 && size > 0) {
		size_t part = size < SKIP_SIZE ? (size_t)size : SKIP_SIZE;

		buffer_clear(&dropped);
		rc = store_stream_read(stream, part, &dropped);
		size -= part;
	}
	buffer_deinit(&dropped);
	return rc;
}

void store_stream_rewind(struct store_stream *stream)
{
	stream->position = 0;
	stream->crc = stream->prefix_crc;
	stream->file_position = stream->row.offset + FRAME_HEADER_SIZE + FRAME_BODY_PREFIX_SIZE;
	if (stream->decompressor != NULL)
		ZSTD_DCtx_reset(stream->decompressor, ZSTD_reset_session_only);
}

void store_stream_sleep(struct store_stream *stream)
{
	if (stream->segment != NULL)
		log_release(&stream->store->log, stream->segment);
	stream->segment = NULL;
}

int store_stream_wake(struct store_stream *stream, struct kv_txn *kv)
{
	struct body_row before = stream->row;
	int rc;

	if (stream->store->is_memory || stream->segment != NULL)
		return 0;
	rc = stream_find(stream, kv);
	if (rc < 0)
		return rc;
	/* What was written to the log once is not written again. */
	return stream->row.segment == before.segment && stream->row.offset == before.offset
		       ? 0
		       : ERR_NOT_FOUND;
}
