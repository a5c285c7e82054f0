/* Reading the whole log: verifying a running store, and making the index of a closed one anew. */
#include "store/store_private.h"

#include "base/mem.h"
#include "base/pack.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define REBUILD_COMMIT_COUNT 1000 /* log commits redone in one index transaction */

/* ---- verify ---- */

struct verify {
	struct store *store;
	void (*report)(void *context, const char *text);
	void *context;
};

__attribute__((format(printf, 2, 3))) static void finding(
	struct verify *verify, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	verify->report(verify->context, text);
}

static void check_body_frame(struct verify *verify, uint64_t number, uint64_t offset,
	const struct frame *frame, struct bytes payload)
{
	struct buffer raw = { 0 };
	struct guid named, guid;
	uint64_t size;
	int rc = ERR_CORRUPT;

	if (unpack_raw(&payload, named.bytes, sizeof(named.bytes)) == 0 &&
		unpack_u64(&payload, &size) == 0)
		rc = body_unpack(verify->store, frame->flags, payload, size, &raw);
	guid_of(buffer_bytes(&raw), &guid);
	if (rc < 0 || !guid_equal(&guid, &named))
		finding(verify, "segment %016llx at offset %llu: a body is not what its GUID says",
			(unsigned long long)number, (unsigned long long)offset);
	buffer_deinit(&raw);
}

static int verify_segment(struct verify *verify, struct log_segment *segment, uint64_t size)
{
	struct buffer payload = { 0 };
	uint64_t offset = SEGMENT_HEADER_SIZE, bad;
	int rc = 0;

	while (offset < size && rc == 0) {
		struct frame frame;

		rc = segment_read_frame(
			segment->fd, verify->store->log.store, offset, size, &frame, &payload);
		if (rc == 0) {
			if (frame.type == FRAME_BODY)
				check_body_frame(verify, segment->number, offset, &frame,
					buffer_bytes(&payload));
			offset += frame_extent(frame.payload_size);
			continue;
		}
		bad = offset;
		if (rc != ERR_IO)
			rc = segment_pass_damage(
				segment->fd, verify->store->log.store, bad, size, &offset);
		finding(verify, "segment %016llx at offset %llu: %llu bytes are damaged",
			(unsigned long long)segment->number, (unsigned long long)bad,
			(unsigned long long)(offset - bad));
	}
	buffer_deinit(&payload);
	return rc;
}

int store_verify(struct store *store, void (*report)(void *context, const char *text),
	void *context, struct error *error)
{
	struct verify verify = { store, report, context };
	uint64_t number = 0, size = 0;
	int rc = 0;

	if (store->is_memory)
		return 0;
	for (;;) {
		struct log_segment *segment = NULL;

		pthread_mutex_lock(&store->log.lock);
		for (size_t i = 0; i < store->log.count && segment == NULL; i++) {
			if (store->log.segments[i]->number <= number)
				continue;
			segment = store->log.segments[i];
			segment->references++;
			size = segment->size;
		}
		pthread_mutex_unlock(&store->log.lock);
		if (segment == NULL)
			return 0;
		number = segment->number;
		rc = verify_segment(&verify, segment, size);
		log_release(&store->log, segment);
		if (rc < 0)
			return error_set(error, rc, "segment %016llx cannot be read",
				(unsigned long long)number);
	}
}

/* ---- rebuild ---- */

struct rebuild {
	struct store *store;
	struct log_position *position;
	uint64_t count;
};

static int rebuild_commit(void *context, const struct frame *frame, struct bytes payload)
{
	struct rebuild *rebuild = context;
	struct store *store = rebuild->store;
	int rc = write_replay(store, store->txn, payload);

	(void)frame;
	if (rc < 0 || ++rebuild->count % REBUILD_COMMIT_COUNT != 0)
		return rc;
	rc = kv_commit(&store->txn);
	return rc < 0 ? rc : kv_begin_write(store->kv, &store->txn);
}

static int rebuild_index(struct store *store, struct error *error, uint64_t *count_r)
{
	struct log_position position = { store->log.segments[0]->number, SEGMENT_HEADER_SIZE, 0 };
	struct rebuild rebuild = { store, &position, 0 };
	int rc = kv_begin_write(store->kv, &store->txn);

	if (rc == 0)
		rc = log_replay(&store->log, &position, true, rebuild_commit, &rebuild, error);
	/* A store that lost something may not go on under the id under which peers know it whole.
	 */
	if (rc == 0 && store->log.skipped_bytes > 0) {
		rc = kv_delete(store->txn, TABLE_META, BYTES_LITERAL("node"));
		rc = rc == ERR_NOT_FOUND ? 0 : rc;
	}
	live_changes_settle(store, rc == 0);
	if (rc == 0)
		rc = position_put(store->txn, &position);
	if (rc == 0)
		rc = segment_rows_put(store, store->txn);
	if (rc == 0)
		rc = kv_commit(&store->txn);
	kv_abort(&store->txn);
	if (rc == 0)
		rc = kv_sync(store->kv);
	*count_r = rebuild.count;
	return rc;
}

static void index_remove(const char *path)
{
	static const char *const names[] = { "data.mdb", "lock.mdb" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *name = NULL;

		if (asprintf(&name, "%s/%s", path, names[i]) < 0)
			abort();
		unlink(name);
		free(name);
	}
	rmdir(path);
}

/* The old index stays until the new one is complete and on disk. */
static int index_exchange(const char *fresh, const char *path, struct error *error)
{
	char *old = NULL;
	int rc = 0;

	if (asprintf(&old, "%s.old", path) < 0)
		abort();
	index_remove(old);
	if (rename(path, old) < 0 && errno != ENOENT)
		rc = error_set_errno(error, ERR_IO, errno, "cannot move %s away", path);
	else if (rename(fresh, path) < 0)
		rc = error_set_errno(error, ERR_IO, errno, "cannot put the new index at %s", path);
	else
		index_remove(old);
	free(old);
	return rc;
}

int store_rebuild(
	const struct store_options *options, struct error *error, uint64_t *commit_count_r)
{
	struct kv_options kv_options = { .table_count = STORE_TABLE_COUNT,
		.create = true,
		.map_size = options->index_size_max };
	struct store store = { .lock_fd = -1, .log.dir_fd = -1 };
	char *path = NULL, *fresh = NULL;
	int rc;

	if (error != NULL)
		error->code = 0;
	if (asprintf(&path, "%s/index", options->path) < 0 ||
		asprintf(&fresh, "%s/index.new", options->path) < 0)
		abort();
	store.write.store = &store;
	rc = store_files_open(&store, options, error);
	store.log.skips_damage = options->skip_damage;
	if (rc == 0 && store.log.count == 0)
		rc = error_set(error, ERR_NOT_FOUND, "there is no log in %s", options->path);
	if (rc < 0)
		goto out;
	index_remove(fresh);
	if (mkdir(fresh, 0700) < 0) {
		rc = error_set_errno(
			error, error_from_errno(errno), errno, "cannot make %s", fresh);
		goto out;
	}
	rc = kv_lmdb_open(fresh, &kv_options, error, &store.kv);
	if (rc == 0)
		rc = rebuild_index(&store, error, commit_count_r);
	kv_close(&store.kv);
	if (rc == 0)
		rc = index_exchange(fresh, path, error);
	else
		index_remove(fresh);
	if (rc < 0 && error != NULL && error->code == 0)
		error_set(error, rc, "the index cannot be made: %s", error_name(rc));
out:
	store_files_close(&store);
	free(store.live_changes.list);
	free(store.path);
	free(path);
	free(fresh);
	return rc;
}
