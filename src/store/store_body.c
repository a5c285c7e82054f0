#include "store/store_mend.h"
#include "store/store_private.h"

#include "base/mem.h"
#include "base/pack.h"

#include <stdlib.h>
#include <zstd.h>

#define COMPRESS_SIZE_MIN 512             /* bytes; smaller bodies gain nothing */
#define PACKER_SIZE_MAX ((size_t)2 << 20) /* bytes of zstd's memory that are kept for the next */
/* The head of a body is what is before its first empty line, with it. It is compressed apart, and
 * so that reading it is quick. */
#define HEAD_COMPRESSION (-1)
#define HEAD_SIZE_MIN 256       /* bytes */
#define HEAD_REST_SIZE_MIN 2048 /* bytes behind it; else all is read as fast */

struct store_body {
	struct guid guid;
	struct bytes raw;
	struct bytes stored; /* raw, or what is in `packed` */
	struct buffer packed;
	unsigned char prefix[FRAME_BODY_PREFIX_SIZE];
	uint8_t flags;
	uint32_t payload_crc;
};

void body_row_encode(struct buffer *out, const struct body_row *row)
{
	pack_varint(out, row->segment);
	pack_varint(out, row->offset);
	pack_varint(out, row->stored_size);
	pack_varint(out, row->size);
	pack_varint(out, row->references);
}

int body_row_decode(struct bytes in, struct body_row *row_r)
{
	if (unpack_varint(&in, &row_r->segment) < 0 || unpack_varint(&in, &row_r->offset) < 0 ||
		unpack_varint(&in, &row_r->stored_size) < 0 ||
		unpack_varint(&in, &row_r->size) < 0 ||
		unpack_varint(&in, &row_r->references) < 0 || in.len != 0)
		return ERR_CORRUPT;
	return 0;
}

int body_row_get(struct kv_txn *kv, struct bytes guid, struct body_row *row_r)
{
	struct bytes value;
	int rc = kv_get(kv, TABLE_BODY, guid, &value);

	return rc < 0 ? rc : body_row_decode(value, row_r);
}

int body_row_put(struct store_write *write, struct bytes guid, const struct body_row *row)
{
	struct buffer value = { 0 };
	int rc;

	body_row_encode(&value, row);
	rc = store_put(write, TABLE_BODY, guid, buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

/* ---- zstd ---- */

static ZSTD_CCtx *compressor_take(struct packers *packers)
{
	ZSTD_CCtx *compressor = NULL;

	pthread_mutex_lock(&packers->lock);
	if (packers->compressor_count > 0)
		compressor = packers->compressors[--packers->compressor_count];
	pthread_mutex_unlock(&packers->lock);
	return compressor != NULL ? compressor : ZSTD_createCCtx();
}

/* One that grew with a large body is not worth keeping. */
static void compressor_give(struct packers *packers, ZSTD_CCtx *compressor)
{
	bool is_small = ZSTD_sizeof_CCtx(compressor) <= PACKER_SIZE_MAX;

	pthread_mutex_lock(&packers->lock);
	if (is_small && packers->compressor_count < PACKER_IDLE_MAX) {
		packers->compressors[packers->compressor_count++] = compressor;
		compressor = NULL;
	}
	pthread_mutex_unlock(&packers->lock);
	ZSTD_freeCCtx(compressor);
}

void packers_free(struct store *store)
{
	struct packers *packers = &store->packers;

	while (packers->compressor_count > 0)
		ZSTD_freeCCtx(packers->compressors[--packers->compressor_count]);
	while (packers->decompressor_count > 0)
		ZSTD_freeDCtx(packers->decompressors[--packers->decompressor_count]);
}

/* The size of the head if it is to be compressed apart, or 0. */
static size_t head_size(struct bytes raw)
{
	struct bytes start =
		bytes_of(raw.ptr, raw.len < BODY_HEAD_SIZE_MAX ? raw.len : BODY_HEAD_SIZE_MAX);
	const unsigned char *end = memmem(start.ptr, start.len, "\n\r\n", 3);
	size_t size = end == NULL ? 0 : (size_t)(end - start.ptr) + 3;

	return size < HEAD_SIZE_MIN || raw.len - size < HEAD_REST_SIZE_MIN ? 0 : size;
}

/* With a checksum of its own, since who reads it alone cannot check the frame's. */
static size_t head_pack(ZSTD_CCtx *compressor, struct bytes head, struct buffer *packed)
{
	size_t bound = ZSTD_compressBound(head.len);

	ZSTD_CCtx_reset(compressor, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(compressor, ZSTD_c_compressionLevel, HEAD_COMPRESSION);
	ZSTD_CCtx_setParameter(compressor, ZSTD_c_checksumFlag, 1);
	return ZSTD_compress2(compressor, buffer_extend(packed, bound), bound, head.ptr, head.len);
}

/* Compresses if that is worth it. */
static void body_pack(struct store *store, struct store_body *body)
{
	struct bytes rest = body->raw, head = bytes_take(&rest, head_size(body->raw));
	size_t bound = ZSTD_compressBound(rest.len), size = 0;
	ZSTD_CCtx *compressor = compressor_take(&store->packers);

	if (compressor == NULL)
		return;
	if (head.len > 0)
		size = head_pack(compressor, head, &body->packed);
	if (!ZSTD_isError(size)) {
		buffer_truncate(&body->packed, size);
		size = ZSTD_compressCCtx(compressor, buffer_extend(&body->packed, bound), bound,
			rest.ptr, rest.len, store->compression);
	}
	compressor_give(&store->packers, compressor);
	if (ZSTD_isError(size))
		return;
	size += body->packed.len - bound;
	if (size >= body->raw.len - body->raw.len / 16)
		return;
	buffer_truncate(&body->packed, size);
	body->stored = buffer_bytes(&body->packed);
	body->flags = FRAME_ZSTD;
}

/* What does not depend on how it is stored, and the checksum of all. */
static void body_seal(struct store_body *body)
{
	guid_of(body->raw, &body->guid);
	memcpy(body->prefix, body->guid.bytes, sizeof(body->guid.bytes));
	put_u64(body->prefix + 32, body->raw.len);
	body->payload_crc =
		crc32c(crc32c(0, bytes_of(body->prefix, sizeof(body->prefix))), body->stored);
}

int store_body_prepare(struct store *store, struct bytes raw, struct store_body **body_r)
{
	struct store_body *body;

	if (raw.len > FRAME_PAYLOAD_SIZE_MAX - FRAME_BODY_PREFIX_SIZE)
		return ERR_TOO_LARGE;
	body = mem_zalloc(sizeof(*body));
	body->raw = body->stored = raw;
	if (store->compression != 0 && raw.len >= COMPRESS_SIZE_MIN)
		body_pack(store, body);
	body_seal(body);
	*body_r = body;
	return 0;
}

/* One frame of all or, as body_pack() makes them, one of the head and one of the rest: what is read
 * alone must be the head. */
static bool is_well_packed(struct bytes packed, struct bytes raw)
{
	size_t head = head_size(raw);
	size_t first = ZSTD_findFrameCompressedSize(packed.ptr, packed.len);

	if (ZSTD_isError(first) || packed.len >= raw.len - raw.len / 16)
		return false;
	if (ZSTD_getFrameContentSize(packed.ptr, packed.len) == raw.len)
		return first == packed.len;
	if (head == 0 || ZSTD_getFrameContentSize(packed.ptr, packed.len) != head)
		return false;
	bytes_skip(&packed, first);
	return ZSTD_getFrameContentSize(packed.ptr, packed.len) == raw.len - head &&
	       ZSTD_findFrameCompressedSize(packed.ptr, packed.len) == packed.len;
}

int store_body_prepare_packed(
	struct store *store, struct bytes raw, struct bytes packed, struct store_body **body_r)
{
	struct store_body *body;

	if (store->compression == 0 || !is_well_packed(packed, raw) ||
		raw.len > FRAME_PAYLOAD_SIZE_MAX - FRAME_BODY_PREFIX_SIZE)
		return store_body_prepare(store, raw, body_r);
	body = mem_zalloc(sizeof(*body));
	body->raw = raw;
	buffer_append_bytes(&body->packed, packed);
	body->stored = buffer_bytes(&body->packed);
	body->flags = FRAME_ZSTD;
	body_seal(body);
	*body_r = body;
	return 0;
}

void store_body_free(struct store_body **body)
{
	if (*body == NULL)
		return;
	buffer_deinit(&(*body)->packed);
	free(*body);
	*body = NULL;
}

const struct guid *store_body_guid(const struct store_body *body)
{
	return &body->guid;
}

void body_frame_add(struct store_write *write, uint8_t flags, uint32_t payload_crc,
	struct bytes prefix, struct bytes stored, struct body_row *row)
{
	static const unsigned char zeros[8];
	unsigned char header[FRAME_HEADER_SIZE];
	struct log_position end = write->store->log.end;
	struct frame frame = { .type = FRAME_BODY,
		.flags = flags,
		.payload_size = (uint32_t)(prefix.len + stored.len),
		.payload_crc = payload_crc,
		.sequence = write->sequence,
		.durable = end.sequence };

	row->segment = end.segment;
	row->offset = end.offset + write->batch->size;
	row->stored_size = frame.payload_size;
	frame_encode(header, write->store->log.store, &frame);
	batch_add_own(write->batch, bytes_of(header, sizeof(header)));
	batch_add_own(write->batch, prefix);
	if (write->keeps_bodies)
		batch_add_own(write->batch, stored);
	else
		batch_add_borrowed(write->batch, stored);
	batch_add_own(write->batch,
		bytes_of(zeros,
			frame_extent(frame.payload_size) - FRAME_HEADER_SIZE - frame.payload_size));
}

static int body_store(struct store_write *write, const struct store_body *body, uint64_t references)
{
	struct body_row row = { .size = body->raw.len, .references = references };
	int rc;

	if (write->store->is_memory) {
		rc = store_put(write, TABLE_BODY_DATA, guid_bytes(&body->guid), body->raw);
		if (rc < 0)
			return rc;
	} else {
		body_frame_add(write, body->flags, body->payload_crc,
			bytes_of(body->prefix, sizeof(body->prefix)), body->stored, &row);
	}
	return body_row_put(write, guid_bytes(&body->guid), &row);
}

int store_body_add(struct store_write *write, const struct store_body *body)
{
	int rc = store_body_reference(write, &body->guid);

	return rc == ERR_NOT_FOUND ? body_store(write, body, 1) : rc;
}

int store_body_reference(struct store_write *write, const struct guid *guid)
{
	struct body_row row;
	int rc = body_row_get(write->kv, guid_bytes(guid), &row);

	if (rc < 0)
		return rc;
	if (row.references++ == 0) {
		rc = store_delete(write, TABLE_BODY_HELD, guid_bytes(guid));
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
	}
	return body_row_put(write, guid_bytes(guid), &row);
}

int store_body_mend(struct store_write *write, const struct store_body *body)
{
	struct body_row row;
	int rc = body_row_get(write->kv, guid_bytes(&body->guid), &row);

	return rc < 0 ? rc : body_store(write, body, row.references);
}

static int body_forget(struct store_write *write, struct bytes guid)
{
	int rc = store_delete(write, TABLE_BODY, guid);

	if (rc == 0 && write->store->is_memory)
		rc = store_delete(write, TABLE_BODY_DATA, guid);
	return rc;
}

int store_body_release(struct store_write *write, const struct guid *guid)
{
	struct body_row row;
	int rc = body_row_get(write->kv, guid_bytes(guid), &row);

	if (rc < 0)
		return rc;
	if (row.references == 0)
		return ERR_CORRUPT;
	if (--row.references == 0)
		return body_forget(write, guid_bytes(guid));
	return body_row_put(write, guid_bytes(guid), &row);
}

int store_body_hold(struct store_write *write, const struct store_body *body)
{
	unsigned char now[8];
	struct body_row row;
	int rc = body_row_get(write->kv, guid_bytes(&body->guid), &row);

	if (rc != ERR_NOT_FOUND)
		return rc;
	rc = body_store(write, body, 0);
	if (rc < 0)
		return rc;
	put_u64(now, clock_now_ms(clock_system()));
	return store_put(
		write, TABLE_BODY_HELD, guid_bytes(&body->guid), bytes_of(now, sizeof(now)));
}

#define DROP_COUNT_MAX 1000 /* bodies dropped in one commit */

struct drop_context {
	uint64_t before_ms;
	size_t count;
};

static int drop_run(struct store_write *write, void *context)
{
	struct drop_context *drop = context;
	struct kv_cursor *cursor = NULL;
	struct buffer guids = { 0 };
	struct bytes left;
	int rc = kv_cursor_open(write->kv, TABLE_BODY_HELD, &cursor);

	drop->count = 0;
	if (rc < 0)
		return rc;
	for (rc = kv_cursor_seek(cursor, bytes_of("", 1)); rc == 0 && drop->count < DROP_COUNT_MAX;
		rc = kv_cursor_next(cursor)) {
		if (get_u64(kv_cursor_value(cursor).ptr) >= drop->before_ms)
			continue;
		buffer_append_bytes(&guids, kv_cursor_key(cursor));
		drop->count++;
	}
	kv_cursor_close(&cursor);
	rc = rc == ERR_NOT_FOUND ? 0 : rc;
	left = buffer_bytes(&guids);
	while (left.len > 0 && rc == 0) {
		struct bytes guid = bytes_take(&left, sizeof(struct guid));

		rc = store_delete(write, TABLE_BODY_HELD, guid);
		if (rc == 0)
			rc = body_forget(write, guid);
	}
	buffer_deinit(&guids);
	return rc;
}

int store_body_drop_held(struct store *store, uint64_t before_ms)
{
	struct drop_context drop = { before_ms, 0 };
	uint64_t position;
	int rc;

	do {
		rc = store_commit(store, drop_run, &drop, NULL, &position);
	} while (rc == 0 && drop.count == DROP_COUNT_MAX);
	return rc;
}

int store_body_exists(struct kv_txn *kv, const struct guid *guid, uint64_t *size_r)
{
	struct body_row row;
	int rc = body_row_get(kv, guid_bytes(guid), &row);

	if (rc == 0 && size_r != NULL)
		*size_r = row.size;
	return rc;
}
