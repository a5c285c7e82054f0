#include "backup/backup_pack.h"

#include "base/mem.h"
#include "base/pack.h"

#include <stdlib.h>

#define TRAILER_MAGIC "CHAPARIX"
#define TRAILER_SIZE 16
#define ENTRY_SIZE 9
#define TAIL_SIZE (256u * 1024) /* bytes read at once from the end of a pack */

struct backup_pack_writer {
	struct backup_repository *repository;
	struct id128 id;
	char name[OBJECT_NAME_SIZE_MAX + 1];
	struct buffer object, index; /* empty: none is begun */
	uint64_t byte_count, pack_count;
	struct error failure; /* of the first put that failed */
};

struct backup_pack_writer *backup_pack_writer_new(struct backup_repository *repository)
{
	struct backup_pack_writer *writer = mem_zalloc(sizeof(*writer));

	writer->repository = repository;
	return writer;
}

void backup_pack_writer_free(struct backup_pack_writer **writer)
{
	if (*writer == NULL)
		return;
	buffer_deinit(&(*writer)->object);
	buffer_deinit(&(*writer)->index);
	free(*writer);
	*writer = NULL;
}

bool backup_pack_has_failed(const struct backup_pack_writer *writer)
{
	return writer->failure.code != 0;
}

uint64_t backup_pack_written(const struct backup_pack_writer *writer, uint64_t *count_r)
{
	*count_r = writer->pack_count;
	return writer->byte_count;
}

static void pack_begin(struct backup_pack_writer *writer)
{
	writer->id = id128_random();
	backup_pack_name(writer->id, writer->name);
	buffer_clear(&writer->index);
	backup_object_begin(&writer->repository->key, BACKUP_PACK, &writer->object);
}

/* What was added before is nowhere: who was told its place must not speak of it. */
static int failed_again(const struct backup_pack_writer *writer, struct error *error)
{
	*error = writer->failure;
	return error->code;
}

int backup_pack_add(struct backup_pack_writer *writer, enum backup_kind kind,
	const struct guid *guid, struct bytes data, struct backup_place *place_r,
	struct error *error)
{
	size_t offset;

	if (writer->failure.code != 0)
		return failed_again(writer, error);
	if (data.len > BACKUP_DATA_SIZE_MAX)
		return error_set(error, ERR_TOO_LARGE, "too much for one frame of a backup");
	if (writer->object.len == 0)
		pack_begin(writer);
	offset = writer->object.len;
	backup_frame_put(&writer->repository->key, writer->name, kind, data, &writer->object);
	*place_r = (struct backup_place){ writer->id, (uint32_t)offset,
		(uint32_t)(writer->object.len - offset) };
	pack_u8(&writer->index, (uint8_t)kind);
	pack_u32(&writer->index, place_r->offset);
	pack_u32(&writer->index, place_r->size);
	if (kind == BACKUP_BODY)
		buffer_append(&writer->index, guid->bytes, sizeof(guid->bytes));
	return writer->object.len < BACKUP_PACK_SIZE ? 0 : backup_pack_flush(writer, error);
}

int backup_pack_flush(struct backup_pack_writer *writer, struct error *error)
{
	uint64_t offset = writer->object.len;
	int rc;

	if (writer->failure.code != 0)
		return failed_again(writer, error);
	if (offset == 0)
		return 0;
	backup_frame_put(&writer->repository->key, writer->name, BACKUP_INDEX,
		buffer_bytes(&writer->index), &writer->object);
	pack_u64(&writer->object, offset);
	buffer_append_string(&writer->object, TRAILER_MAGIC);
	rc = object_lock_keep(writer->repository->store, error);
	if (rc == 0)
		rc = object_put(writer->repository->store, writer->name,
			buffer_bytes(&writer->object), error);
	if (rc == 0) {
		writer->byte_count += writer->object.len;
		writer->pack_count++;
	} else {
		writer->failure = *error;
	}
	buffer_clear(&writer->object);
	return rc;
}

/* ---- reading ---- */

int backup_pack_index_decode(struct bytes in, struct backup_pack_entry **entries_r, size_t *count_r)
{
	struct backup_pack_entry *entries =
		mem_zalloc_array(in.len / ENTRY_SIZE + 1, sizeof(*entries));
	uint64_t end = BACKUP_OBJECT_HEAD_SIZE;
	size_t count = 0;

	while (in.len > 0) {
		struct backup_pack_entry *entry = &entries[count];
		uint8_t kind;

		if (unpack_u8(&in, &kind) < 0 || unpack_u32(&in, &entry->offset) < 0 ||
			unpack_u32(&in, &entry->size) < 0 || entry->offset != end ||
			entry->size == 0 || (kind != BACKUP_BODY && kind != BACKUP_RECORDS) ||
			(kind == BACKUP_BODY && unpack_raw(&in, entry->guid.bytes,
							sizeof(entry->guid.bytes)) < 0)) {
			free(entries);
			return ERR_CORRUPT;
		}
		entry->kind = (enum backup_kind)kind;
		end += entry->size;
		count++;
	}
	*entries_r = entries;
	*count_r = count;
	return 0;
}

/* The index frame in the tail of a pack, which begins at `tail_offset`. */
static int index_read(struct backup_repository *repository, const char *name, struct bytes tail,
	uint64_t tail_offset, uint64_t index_offset, struct buffer *index, struct error *error)
{
	struct bytes in = tail;
	int kind = 0, rc;

	bytes_skip(&in, index_offset - tail_offset);
	rc = backup_frame_get(&repository->key, name, index_offset, &in, &kind, index, error);
	if (rc == 0 && (kind != BACKUP_INDEX || in.len != TRAILER_SIZE))
		rc = error_set(error, ERR_CORRUPT, "damaged: %s, its index", name);
	return rc;
}

static int tail_read(struct backup_repository *repository, const char *name, uint64_t size,
	uint64_t tail_size, struct buffer *tail, uint64_t *index_offset_r, struct error *error)
{
	int rc = object_get(repository->store, name, size - tail_size, tail_size, tail, error);
	const unsigned char *trailer;

	repository->get_count++;
	if (rc < 0)
		return rc;
	trailer = tail->data + tail->len - TRAILER_SIZE;
	*index_offset_r = get_u64(trailer);
	if (memcmp(trailer + 8, TRAILER_MAGIC, 8) != 0 ||
		*index_offset_r < BACKUP_OBJECT_HEAD_SIZE || *index_offset_r > size - TRAILER_SIZE)
		return error_set(error, ERR_CORRUPT, "damaged: %s, its end", name);
	return 0;
}

int backup_pack_index(struct backup_repository *repository, struct id128 pack, uint64_t size,
	struct backup_pack_entry **entries_r, size_t *count_r, struct error *error)
{
	char name[OBJECT_NAME_SIZE_MAX + 1];
	struct buffer tail = { 0 }, index = { 0 };
	uint64_t tail_size = size < TAIL_SIZE ? size : TAIL_SIZE, index_offset = 0;
	int rc;

	backup_pack_name(pack, name);
	if (size < BACKUP_OBJECT_HEAD_SIZE + TRAILER_SIZE || size > OBJECT_SIZE_MAX)
		return error_set(error, ERR_CORRUPT, "damaged: %s has an impossible size", name);
	rc = tail_read(repository, name, size, tail_size, &tail, &index_offset, error);
	if (rc == 0 && index_offset < size - tail_size) {
		tail_size = size - index_offset;
		buffer_clear(&tail);
		rc = tail_read(repository, name, size, tail_size, &tail, &index_offset, error);
	}
	if (rc == 0)
		rc = index_read(repository, name, buffer_bytes(&tail), size - tail_size,
			index_offset, &index, error);
	if (rc == 0 && backup_pack_index_decode(buffer_bytes(&index), entries_r, count_r) < 0)
		rc = error_set(error, ERR_CORRUPT, "damaged: %s, its index", name);
	buffer_deinit(&tail);
	buffer_deinit(&index);
	return rc;
}
