#include "store/store_private.h"

#include "base/mem.h"
#include "base/pack.h"
#include "base/random.h"
#include "kv/kv_layers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static ssize_t system_write(
	const struct store_io *io, int fd, const struct iovec *iov, int count, off_t offset)
{
	(void)io;
	return pwritev(fd, iov, count, offset);
}

static int system_sync(const struct store_io *io, int fd)
{
	(void)io;
	return fdatasync(fd);
}

static const struct store_io system_io = { system_write, system_sync };

static struct store *store_new(void)
{
	struct store *store = mem_zalloc(sizeof(*store));
	pthread_condattr_t monotonic;

	store->lock_fd = -1;
	store->log.dir_fd = -1;
	store->queue_last = &store->queue_first;
	store->write.store = store;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&store->wake, &monotonic);
	pthread_cond_init(&store->lead, &monotonic);
	pthread_cond_init(&store->compact_wake, &monotonic);
	pthread_cond_init(&store->flush, &monotonic);
	pthread_cond_init(&store->flush_over, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_mutex_init(&store->lock, NULL);
	pthread_mutex_init(&store->listener_lock, NULL);
	pthread_mutex_init(&store->packers.lock, NULL);
	pthread_mutex_init(&store->compact_lock, NULL);
	return store;
}

static void store_free(struct store *store)
{
	while (store->listeners != NULL) {
		struct listener *next = store->listeners->next;

		free(store->listeners);
		store->listeners = next;
	}
	kv_abort(&store->txn);
	kv_close(&store->kv);
	store_files_close(store);
	packers_free(store);
	pthread_mutex_destroy(&store->packers.lock);
	write_deinit(&store->write);
	batch_deinit(&store->batch);
	free(store->live_changes.list);
	buffer_deinit(&store->fed);
	buffer_deinit(&store->heard);
	pthread_cond_destroy(&store->wake);
	pthread_cond_destroy(&store->lead);
	pthread_cond_destroy(&store->compact_wake);
	pthread_cond_destroy(&store->flush);
	pthread_cond_destroy(&store->flush_over);
	pthread_mutex_destroy(&store->lock);
	pthread_mutex_destroy(&store->listener_lock);
	pthread_mutex_destroy(&store->compact_lock);
	free(store->path);
	free(store);
}

void store_files_close(struct store *store)
{
	if (store->log.dir_fd >= 0)
		log_close(&store->log);
	store->log.dir_fd = -1;
	if (store->lock_fd >= 0)
		close(store->lock_fd);
	store->lock_fd = -1;
}

static int directory_open(const char *path, bool create, int *fd_r, struct error *error)
{
	int fd;

	if (create && mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_set_errno(
			error, error_from_errno(errno), errno, "cannot make %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno,
			"cannot open %s", path);
	*fd_r = fd;
	return 0;
}

static int lock_take(struct store *store, struct error *error)
{
	char *path = NULL;
	int rc = 0;

	if (asprintf(&path, "%s/lock", store->path) < 0)
		abort();
	store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (store->lock_fd < 0)
		rc = error_set_errno(error, error_from_errno(errno), errno, "cannot open %s", path);
	else if (flock(store->lock_fd, LOCK_EX | LOCK_NB) < 0)
		rc = error_set(error, ERR_UNAVAILABLE, "the store %s is in use by another process",
			store->path);
	free(path);
	return rc;
}

int store_files_open(struct store *store, const struct store_options *options, struct error *error)
{
	char *path = NULL;
	int dir_fd, rc;

	store->path = mem_strdup(options->path);
	store->compression = options->compression;
	store->index_size_max = options->index_size_max;
	store->index_lag_max = options->index_lag_max != 0 ? options->index_lag_max : LAG_BYTES_MAX;
	store->index_lag_ms_max =
		options->index_lag_ms_max != 0 ? options->index_lag_ms_max : LAG_MS_MAX;
	store->segment_size =
		options->segment_size != 0 ? options->segment_size : SEGMENT_SIZE_DEFAULT;
	rc = directory_open(store->path, options->create, &dir_fd, error);
	if (rc < 0)
		return rc;
	close(dir_fd);
	rc = lock_take(store, error);
	if (rc < 0)
		return rc;
	if (asprintf(&path, "%s/log", store->path) < 0)
		abort();
	rc = directory_open(path, options->create, &dir_fd, error);
	free(path);
	if (rc < 0)
		return rc;
	return log_open(&store->log, dir_fd, options->io != NULL ? options->io : &system_io, error);
}

static int index_open(struct store *store, bool create, struct error *error)
{
	struct kv_options options = {
		.table_count = STORE_TABLE_COUNT, .create = true, .map_size = store->index_size_max
	};
	struct stat stat_buffer;
	char *path = NULL;
	int rc = 0;

	if (asprintf(&path, "%s/index", store->path) < 0)
		abort();
	if (!create && stat(path, &stat_buffer) < 0)
		rc = error_set(error, ERR_CORRUPT,
			"%s is missing: the index can be made anew with `chapar rebuild`", path);
	else if (create && mkdir(path, 0700) < 0 && errno != EEXIST)
		rc = error_set_errno(error, error_from_errno(errno), errno, "cannot make %s", path);
	if (rc == 0)
		rc = kv_lmdb_open(path, &options, error, &store->kv);
	if ((rc == ERR_CORRUPT || rc == ERR_VERSION) && error != NULL && !create)
		error_prefix(error, "the index can be made anew with `chapar rebuild`");
	free(path);
	return rc;
}

static int identity_run(struct store_write *write, void *context)
{
	unsigned char node[8];

	(void)context;
	do {
		random_bytes(node, sizeof(node));
	} while (get_u64(node) == 0);
	return store_put(write, TABLE_META, BYTES_LITERAL("node"), bytes_of(node, sizeof(node)));
}

/* What the running store keeps of the index in memory. */
static int state_load(struct store *store)
{
	static const unsigned char beyond[9] = { 255, 255, 255, 255, 255, 255, 255, 255, 255 };
	struct kv_cursor *cursor = NULL;
	struct kv_txn *kv = NULL;
	struct bytes value;
	int rc = kv_begin_read(store->kv, &kv);

	if (rc < 0)
		return rc;
	rc = kv_get(kv, TABLE_META, BYTES_LITERAL("node"), &value);
	if (rc == 0 && value.len == 8)
		store->node = get_u64(value.ptr);
	else if (rc == ERR_NOT_FOUND)
		rc = 0;
	if (rc == 0)
		rc = kv_cursor_open(kv, TABLE_FEED, &cursor);
	if (rc == 0) {
		rc = kv_cursor_seek_before(cursor, bytes_of(beyond, sizeof(beyond)));
		if (rc == 0)
			store->feed_sequence = get_u64(kv_cursor_key(cursor).ptr);
		else if (rc == ERR_NOT_FOUND)
			rc = 0;
	}
	kv_cursor_close(&cursor);
	kv_abort(&kv);
	return rc;
}

static int index_begin(struct store *store)
{
	struct log_position position;
	int rc = kv_begin_write(store->kv, &store->txn);

	if (rc == 0)
		rc = position_get(store->txn, &position);
	/* An index that was further on is no new one: then the log has lost what it held. */
	if (rc == ERR_NOT_FOUND)
		rc = position_put(store->txn, &store->log.end);
	if (rc == 0)
		rc = kv_commit(&store->txn);
	kv_abort(&store->txn);
	return rc;
}

int store_renew_node_id(struct store *store, struct error *error)
{
	struct kv_txn *kv = NULL;
	uint64_t position;
	int rc = store_commit(store, identity_run, NULL, error, &position);

	if (rc == 0)
		rc = store_read_begin(store, position, &kv);
	store_read_end(&kv);
	return rc < 0 ? rc : state_load(store);
}

static int redo_commit(void *context, const struct frame *frame, struct bytes payload)
{
	struct store *store = context;

	(void)frame;
	return write_replay(store, store->txn, payload);
}

/* Redoes what the log has and the index lacks, and cuts off a torn tail. */
static int index_redo(struct store *store, struct error *error)
{
	struct log_position position;
	int rc = kv_begin_write(store->kv, &store->txn);

	if (rc < 0)
		return error_set(error, rc, "cannot write the index: %s", error_name(rc));
	rc = position_get(store->txn, &position);
	if (rc < 0)
		rc = error_set(error, rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc,
			"the index does not say where it is in the log; it can be made anew with "
			"`chapar rebuild`");
	if (rc == 0)
		rc = segment_rows_get(store, store->txn);
	if (rc == 0)
		rc = log_replay(&store->log, &position, true, redo_commit, store, error);
	live_changes_settle(store, rc == 0);
	if (rc == 0) {
		store->log.end = position;
		rc = position_put(store->txn, &position);
	}
	if (rc == 0)
		rc = segment_rows_put(store, store->txn);
	if (rc == 0)
		rc = kv_commit(&store->txn);
	kv_abort(&store->txn);
	return rc < 0 ? rc : kv_sync(store->kv);
}

static int store_start(struct store *store, bool is_new, struct error *error)
{
	int rc = 0;

	if (is_new)
		rc = index_begin(store);
	if (rc == 0)
		rc = index_redo(store, error);
	if (rc == 0)
		store->kv = kv_layers_open(&store->kv);
	if (rc == 0)
		rc = state_load(store);
	store->feed_applied = store->feed_sequence;
	store->durable = store->sealed = store->flushed = store->log.end.sequence;
	if (rc == 0)
		rc = flusher_start(store);
	if (rc == 0)
		rc = committer_start(store);
	if (rc == 0 && store->node == 0)
		rc = store_renew_node_id(store, error);
	if (rc < 0 && error != NULL && error->code == 0)
		error_set(error, rc, "the store %s cannot be opened: %s", store->path,
			error_name(rc));
	return rc;
}

/* A crash while the store was being made may have left the log without its index. */
static bool log_is_unused(struct log_files *log)
{
	if (log->count != 1 || log->segments[0]->number != 1 ||
		log->segments[0]->size != SEGMENT_HEADER_SIZE)
		return false;
	log->end = (struct log_position){ 1, SEGMENT_HEADER_SIZE, 0 };
	return true;
}

int store_open(const struct store_options *options, struct error *error, struct store **store_r)
{
	struct store *store = store_new();
	bool is_new;
	int rc;

	if (error != NULL)
		error->code = 0;
	rc = store_files_open(store, options, error);
	is_new = rc == 0 && store->log.count == 0;
	if (is_new && !options->create)
		rc = error_set(error, ERR_NOT_FOUND, "there is no store in %s", options->path);
	else if (is_new)
		rc = log_create(&store->log, error);
	else
		is_new = rc == 0 && log_is_unused(&store->log);
	if (rc == 0)
		rc = index_open(store, is_new, error);
	if (rc == 0)
		rc = store_start(store, is_new, error);
	if (rc < 0) {
		committer_stop(store);
		flusher_stop(store);
		store_free(store);
		return rc;
	}
	compactor_start(store);
	*store_r = store;
	return 0;
}

int store_open_memory(struct store **store_r)
{
	struct store *store = store_new();
	uint64_t position;
	int rc;

	store->is_memory = true;
	rc = kv_memory_open(STORE_TABLE_COUNT, &store->kv);
	if (rc == 0)
		rc = store_commit(store, identity_run, NULL, NULL, &position);
	if (rc == 0)
		rc = state_load(store);
	if (rc < 0)
		store_free(store);
	else
		*store_r = store;
	return rc;
}

void store_close(struct store **store)
{
	if (*store == NULL)
		return;
	compactor_stop(*store);
	committer_stop(*store);
	flusher_stop(*store);
	if (!(*store)->is_memory)
		kv_sync((*store)->kv);
	store_free(*store);
	*store = NULL;
}

uint64_t store_node_id(const struct store *store)
{
	return store->node;
}

void store_listen(struct store *store, store_listener *function, void *context)
{
	struct listener *listener = mem_alloc(sizeof(*listener));

	listener->function = function;
	listener->context = context;
	pthread_mutex_lock(&store->listener_lock);
	listener->next = store->listeners;
	store->listeners = listener;
	pthread_mutex_unlock(&store->listener_lock);
}

void store_unlisten(struct store *store, store_listener *function, void *context)
{
	pthread_mutex_lock(&store->listener_lock);
	for (struct listener **at = &store->listeners; *at != NULL; at = &(*at)->next) {
		struct listener *listener = *at;

		if (listener->function == function && listener->context == context) {
			*at = listener->next;
			free(listener);
			break;
		}
	}
	pthread_mutex_unlock(&store->listener_lock);
}

uint64_t store_position(struct store *store)
{
	uint64_t position;

	pthread_mutex_lock(&store->lock);
	position = store->durable;
	pthread_mutex_unlock(&store->lock);
	return position;
}

void store_get_status(struct store *store, struct store_status *status_r)
{
	struct store_status status = { 0 };

	pthread_mutex_lock(&store->lock);
	status.durable_position = store->durable;
	status.index_position = store->flushed;
	status.failure = store->failure;
	pthread_mutex_unlock(&store->lock);
	if (!store->is_memory) {
		pthread_mutex_lock(&store->log.lock);
		status.segment_count = store->log.count;
		for (size_t i = 0; i < store->log.count; i++) {
			status.log_bytes += store->log.segments[i]->size;
			status.body_bytes += store->log.segments[i]->live_bytes;
		}
		pthread_mutex_unlock(&store->log.lock);
	}
	*status_r = status;
}
