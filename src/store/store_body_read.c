/* Reading bodies, whole or their heads; large ones in pieces are read by store_stream.c. */
#include "store/store_private.h"

#include <zstd.h>

#define HEAD_READ_SIZE 4096  /* bytes of the frame that are read for a head */
#define READ_ATTEMPT_COUNT 8 /* a body may be moved by compaction while it is being found */

static ZSTD_DCtx *decompressor_take(struct packers *packers)
{
	ZSTD_DCtx *decompressor = NULL;

	pthread_mutex_lock(&packers->lock);
	if (packers->decompressor_count > 0)
		decompressor = packers->decompressors[--packers->decompressor_count];
	pthread_mutex_unlock(&packers->lock);
	return decompressor != NULL ? decompressor : ZSTD_createDCtx();
}

static void decompressor_give(struct packers *packers, ZSTD_DCtx *decompressor)
{
	pthread_mutex_lock(&packers->lock);
	if (packers->decompressor_count < PACKER_IDLE_MAX) {
		packers->decompressors[packers->decompressor_count++] = decompressor;
		decompressor = NULL;
	}
	pthread_mutex_unlock(&packers->lock);
	ZSTD_freeDCtx(decompressor);
}

int body_unpack(
	struct store *store, uint8_t flags, struct bytes stored, uint64_t size, struct buffer *out)
{
	ZSTD_DCtx *decompressor;
	size_t start = out->len, got;

	if (size > FRAME_PAYLOAD_SIZE_MAX)
		return ERR_CORRUPT;
	if ((flags & FRAME_ZSTD) == 0) {
		if (stored.len != size)
			return ERR_CORRUPT;
		buffer_append_bytes(out, stored);
		return 0;
	}
	decompressor = decompressor_take(&store->packers);
	if (decompressor == NULL)
		return ERR_UNAVAILABLE;
	got = ZSTD_decompressDCtx(decompressor, buffer_extend(out, (size_t)size), (size_t)size,
		stored.ptr, stored.len);
	decompressor_give(&store->packers, decompressor);
	if (ZSTD_isError(got) || got != size) {
		buffer_truncate(out, start);
		return ERR_CORRUPT;
	}
	return 0;
}

/* The body as it is stored, borrowed from *frame_bytes, which is the caller's in any case;
 * *flags_r: of its frame. ERR_NOT_FOUND: its segment was reclaimed. */
static int stored_read(struct store *store, const struct body_row *row, const struct guid *guid,
	struct buffer *frame_bytes, struct bytes *stored_r, uint8_t *flags_r)
{
	struct log_segment *segment = log_acquire(&store->log, row->segment);
	struct frame frame;
	int rc = ERR_CORRUPT;

	if (segment == NULL)
		return ERR_NOT_FOUND;
	if (row->stored_size >= FRAME_BODY_PREFIX_SIZE &&
		row->stored_size <= FRAME_PAYLOAD_SIZE_MAX)
		rc = segment_read_body(segment->fd, store->log.store, row->offset,
			(uint32_t)row->stored_size, &frame, frame_bytes, stored_r);
	log_release(&store->log, segment);
	if (rc < 0)
		return rc;
	if (memcmp(stored_r->ptr, guid->bytes, sizeof(guid->bytes)) != 0)
		return ERR_CORRUPT;
	bytes_skip(stored_r, FRAME_BODY_PREFIX_SIZE);
	*flags_r = frame.flags;
	return 0;
}

static int frame_read(struct store *store, const struct body_row *row, const struct guid *guid,
	struct buffer *out)
{
	struct buffer frame_bytes = { 0 };
	struct bytes stored;
	uint8_t flags;
	int rc = stored_read(store, row, guid, &frame_bytes, &stored, &flags);

	if (rc == 0)
		rc = body_unpack(store, flags, stored, row->size, out);
	buffer_deinit(&frame_bytes);
	return rc;
}

/* ERR_NOT_FOUND: it is not stored apart, or more than is read here. */
static int head_unpack(struct store *store, struct bytes stored, uint64_t size, struct buffer *out)
{
	unsigned long long head = ZSTD_getFrameContentSize(stored.ptr, stored.len);
	size_t start = out->len, packed, got;
	ZSTD_DCtx *decompressor;

	if (head == 0 || head > BODY_HEAD_SIZE_MAX || head >= size)
		return ERR_NOT_FOUND;
	packed = ZSTD_findFrameCompressedSize(stored.ptr, stored.len);
	if (ZSTD_isError(packed))
		return ERR_NOT_FOUND;
	decompressor = decompressor_take(&store->packers);
	if (decompressor == NULL)
		return ERR_UNAVAILABLE;
	got = ZSTD_decompressDCtx(
		decompressor, buffer_extend(out, (size_t)head), (size_t)head, stored.ptr, packed);
	decompressor_give(&store->packers, decompressor);
	if (!ZSTD_isError(got) && got == head)
		return 0;
	buffer_truncate(out, start);
	return ERR_CORRUPT;
}

/* As frame_read(); ERR_NOT_FOUND as head_unpack() has it, too. */
static int head_read(struct store *store, const struct body_row *row, const struct guid *guid,
	struct buffer *out)
{
	unsigned char start[HEAD_READ_SIZE];
	struct log_segment *segment;
	struct bytes stored;
	struct frame frame;
	int rc;

	if (row->stored_size < FRAME_BODY_PREFIX_SIZE || row->stored_size > FRAME_PAYLOAD_SIZE_MAX)
		return ERR_CORRUPT;
	stored = bytes_of(start, FRAME_HEADER_SIZE + (size_t)row->stored_size);
	if (stored.len > sizeof(start))
		stored.len = sizeof(start);
	segment = log_acquire(&store->log, row->segment);
	if (segment == NULL)
		return ERR_NOT_FOUND;
	rc = segment_read(segment->fd, row->offset, start, stored.len);
	log_release(&store->log, segment);
	if (rc == 0)
		rc = frame_decode(start, store->log.store, &frame);
	if (rc < 0)
		return rc;
	bytes_skip(&stored, FRAME_HEADER_SIZE);
	if (frame.type != FRAME_BODY || frame.payload_size != row->stored_size ||
		memcmp(stored.ptr, guid->bytes, sizeof(guid->bytes)) != 0)
		return ERR_CORRUPT;
	if ((frame.flags & FRAME_ZSTD) == 0)
		return ERR_NOT_FOUND;
	bytes_skip(&stored, FRAME_BODY_PREFIX_SIZE);
	return head_unpack(store, stored, row->size, out);
}

int store_body_find(struct kv_txn *kv, const struct guid *guid, struct store_place *place_r)
{
	struct body_row row;
	int rc = body_row_get(kv, guid_bytes(guid), &row);

	if (rc == 0)
		*place_r =
			(struct store_place){ row.segment, row.offset, row.stored_size, row.size };
	return rc;
}

static int read_now(struct store *store, const struct guid *guid, struct buffer *out)
{
	struct kv_txn *now = NULL;
	int rc = kv_begin_read(store->kv, &now);

	if (rc == 0)
		rc = store_body_read(store, now, guid, out);
	kv_abort(&now);
	return rc;
}

int store_body_read_at(struct store *store, const struct store_place *place,
	const struct guid *guid, bool is_head_enough, struct buffer *out)
{
	struct body_row row = { .segment = place->segment,
		.offset = place->offset,
		.stored_size = place->stored_size,
		.size = place->size };
	int rc;

	if (store->is_memory)
		return read_now(store, guid, out);
	/* Whatever is amiss, reading all of it finds out. */
	if (is_head_enough && head_read(store, &row, guid, out) == 0)
		return 0;
	rc = frame_read(store, &row, guid, out);
	/* Its segment was reclaimed since: the index tells where it is now. */
	for (int i = 0; i < READ_ATTEMPT_COUNT && rc == ERR_NOT_FOUND; i++) {
		struct kv_txn *now = NULL;

		rc = kv_begin_read(store->kv, &now);
		if (rc < 0)
			return rc;
		rc = body_row_get(now, guid_bytes(guid), &row);
		kv_abort(&now);
		if (rc < 0)
			return rc;
		rc = frame_read(store, &row, guid, out);
	}
	return rc;
}

static int body_read(struct store *store, struct kv_txn *kv, const struct guid *guid,
	bool is_head_enough, struct buffer *out)
{
	struct store_place place;
	struct bytes value;
	int rc;

	if (store->is_memory) {
		rc = kv_get(kv, TABLE_BODY_DATA, guid_bytes(guid), &value);
		if (rc == 0)
			buffer_append_bytes(out, value);
		return rc;
	}
	rc = store_body_find(kv, guid, &place);
	return rc < 0 ? rc : store_body_read_at(store, &place, guid, is_head_enough, out);
}

int store_body_read(
	struct store *store, struct kv_txn *kv, const struct guid *guid, struct buffer *out)
{
	return body_read(store, kv, guid, false, out);
}

int store_body_read_head(
	struct store *store, struct kv_txn *kv, const struct guid *guid, struct buffer *out)
{
	return body_read(store, kv, guid, true, out);
}

/* As it lies in the log. ERR_NOT_FOUND: it is not compressed, or was moved. */
static int packed_read(struct store *store, const struct body_row *row, const struct guid *guid,
	struct buffer *out)
{
	struct buffer frame_bytes = { 0 };
	struct bytes stored;
	uint8_t flags;
	int rc = stored_read(store, row, guid, &frame_bytes, &stored, &flags);

	if (rc == 0 && (flags & FRAME_ZSTD) == 0)
		rc = ERR_NOT_FOUND;
	if (rc == 0)
		buffer_append_bytes(out, stored);
	buffer_deinit(&frame_bytes);
	return rc;
}

int store_body_read_stored(struct store *store, struct kv_txn *kv, const struct guid *guid,
	struct buffer *out, uint64_t *packed_size_r)
{
	struct body_row row;

	*packed_size_r = 0;
	/* Whatever is amiss, reading it as ever finds out. */
	if (store->is_memory || body_row_get(kv, guid_bytes(guid), &row) < 0 ||
		packed_read(store, &row, guid, out) < 0)
		return store_body_read(store, kv, guid, out);
	*packed_size_r = row.size;
	return 0;
}

int store_body_unpack(struct store *store, struct bytes packed, uint64_t size, struct buffer *out)
{
	return body_unpack(store, FRAME_ZSTD, packed, size, out);
}
