/* store_private: the store's insides, shared by the files of this folder. */
#ifndef CHAPAR_STORE_STORE_PRIVATE_H
#define CHAPAR_STORE_STORE_PRIVATE_H

#include "store/segment.h"
#include "store/store.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

/* The store's own tables. */
enum store_table {
	TABLE_META,      /* word -> value */
	TABLE_BODY,      /* GUID -> location, sizes, references */
	TABLE_BODY_HELD, /* GUID -> when it was held, milliseconds; bodies without references */
	TABLE_BODY_DATA, /* GUID -> the body; of a store in memory */
	TABLE_FEED,      /* feed sequence -> key; follows from the next, not logged */
	TABLE_FEED_KEY,  /* key -> feed sequence */
	TABLE_SEGMENT    /* segment number -> bytes of live bodies; derived */
};

#define SEGMENT_SIZE_DEFAULT ((uint64_t)128 << 20)
/* The index on disk may be behind by this much; what it lacks is in memory, and after a crash it is
 * redone from the log. */
#define LAG_BYTES_MAX ((uint64_t)8 << 20)       /* of rows in memory ... */
#define LAG_LOG_BYTES_MAX ((uint64_t)256 << 20) /* ... of log, bodies included ... */
#define LAG_MS_MAX ((uint64_t)20000)            /* ... or this long */
#define LAG_COUNT_MAX 4                      /* times as much may wait while it is written down */
#define FLUSH_RETRY_MS 1000                  /* after the index could not be written */
#define BATCH_BYTES_MAX ((uint64_t)64 << 20) /* what one sync of the log covers, and one commit */

struct log_position {
	uint64_t segment;  /* number, from 1 */
	uint64_t offset;   /* bytes */
	uint64_t sequence; /* of the last commit before it */
};

struct log_segment {
	uint64_t number;
	int fd;
	unsigned references; /* readers; the descriptor is closed when it is removed and none is
				left */
	bool is_removed;
	uint64_t size;             /* bytes of frames and header */
	uint64_t live_bytes;       /* stored bytes of bodies that are live in it, by all commits */
	bool is_changed;           /* live_bytes differs from the table */
	struct put_filter *filter; /* of the compactor; NULL: not made */
	uint64_t left_at; /* compaction left it alone when this segment was the last; or 0 */
};

/* The segment files. `lock` guards the list; only the committer appends. */
struct log_files {
	int dir_fd;
	struct id128 store;
	const struct store_io *io;
	pthread_mutex_t lock;
	struct log_segment **segments; /* by number */
	size_t count, room;
	struct log_position end; /* where the next frame goes; its sequence is durable */
	uint64_t
		ahead_end; /* up to where there are zeros in the last segment; or not above `end` */
	bool skips_damage; /* replay leaves out what is damaged ... */
	uint64_t skipped_bytes; /* ... and sums it up here */
};

/* One piece of what a batch will write: own bytes (in `bytes` of the batch) or a borrowed body. */
struct log_piece {
	const unsigned char *borrowed; /* NULL: own */
	size_t at;                     /* own: index in batch->own */
	size_t size;
};

struct log_batch {
	struct buffer own;
	struct log_piece *pieces;
	size_t piece_count, piece_room;
	uint64_t size; /* bytes of all pieces */
};

struct undo_entry {
	unsigned table;
	bool had_value;
	size_t key_at, key_size, value_at, value_size; /* in the undo buffer */
};

struct store_write {
	struct store *store;
	struct kv_txn *kv;
	struct log_batch *batch; /* NULL: nothing is logged (in memory, or replay) */
	uint64_t sequence;       /* of this commit */
	struct buffer effects;   /* payload of its commit frame */
	struct buffer undo_bytes;
	struct undo_entry *undo;
	size_t undo_count, undo_room;
	struct buffer fed; /* keys fed, and notes; packed */
	bool is_broken;    /* it failed and could not be undone: the transaction must be aborted */
	bool keeps_bodies; /* they are copied: who commits frees them before they are written */
};

/* By how much segments' live bytes change: few, as bodies that are written together lie together.
 */
struct live_changes {
	struct live_change {
		uint64_t segment;
		int64_t bytes;
	} * list;
	size_t count, room;
};

struct request {
	struct request *next;
	store_run *run;
	void *context;
	struct error *error;
	uint64_t position;
	size_t effect_bytes; /* what it wrote */
	int rc;
	bool is_waited_for; /* by another thread, on `done` */
	sem_t done;
};

struct listener {
	struct listener *next;
	store_listener *function;
	void *context;
};

/*
 * zstd's working memory, some hundred KB for each use, kept for the next: to get it from the system
 * and give it back costs more than to compress a small message. No more are kept than work at once
 * most of the time.
 */
#define PACKER_IDLE_MAX 4
struct packers {
	pthread_mutex_t lock;
	struct ZSTD_CCtx_s *compressors[PACKER_IDLE_MAX];
	struct ZSTD_DCtx_s *decompressors[PACKER_IDLE_MAX];
	unsigned compressor_count, decompressor_count;
};

struct store {
	_Atomic uint64_t tick_last;
	struct kv *kv;
	bool is_memory;
	int compression;
	struct packers packers;
	uint64_t segment_size;
	uint64_t index_size_max;
	uint64_t node;
	char *path;
	int lock_fd;
	struct log_files log;

	pthread_mutex_t lock;      /* of all below */
	pthread_cond_t wake;       /* the committer: requests, a flush wanted or done, stopping */
	pthread_cond_t flush;      /* the flusher: sealed, tried again, stopping */
	pthread_cond_t flush_over; /* those who wait for it: an attempt is over */
	pthread_cond_t compact_wake;
	struct request *queue_first, **queue_last;
	bool is_committing;  /* somebody changes the store: all that is named so below is his */
	pthread_cond_t lead; /* groups that want to be next: nobody commits */
	unsigned leaders_waiting;
	uint64_t sleeps_until_ms; /* the committer; 0: it is awake, UINT64_MAX: until it is woken */
	struct buffer heard;      /* keys fed and notes that listeners were not told of yet */
	bool is_telling;          /* a thread tells them */
	uint64_t durable;         /* sequence of the last commit; readers see it */
	uint64_t index_lag_max, index_lag_ms_max;
	uint64_t seal_count;      /* how often commits were sealed to be flushed to the index ... */
	uint64_t flush_count;     /* ... and how often that was done: the same, or one less */
	uint64_t flush_wanted;    /* so many seals are asked for */
	uint64_t attempt_count;   /* of flushes, good and bad */
	uint64_t sealed, flushed; /* commit sequence up to which */
	bool is_attempt_wanted;   /* after a bad one, do not wait to try again */
	bool is_stopping;
	bool is_flusher_stopping;
	bool must_rotate; /* begin a new segment with the next batch */
	int failure;      /* why writing stopped; 0: it works */

	pthread_mutex_t listener_lock;
	struct listener *listeners;

	pthread_t committer, flusher;
	bool has_committer, has_flusher;

	/* Of who is committing. */
	struct kv_txn *txn;          /* of the batch being run, or NULL */
	uint64_t seal_not_before_ms; /* after a failure */
	bool is_unsealed;            /* there are commits since the last seal ... */
	uint64_t unsealed_since_ms, unsealed_log_bytes; /* ... from then on, of that much */
	struct buffer fed;                              /* keys fed and notes of the batch */
	uint64_t feed_sequence, feed_applied; /* the last given, the last that readers can see */
	struct live_changes live_changes;     /* of commits that are not complete yet */
	struct store_write write;
	struct log_batch batch;
	_Atomic uint64_t waiting_bytes; /* of rows in memory that are not sealed, after a batch */

	pthread_t compactor;
	bool has_compactor;
	pthread_mutex_t compact_lock; /* one compaction at a time */
};

/* ---- store_log.c; of batches: log_batch.c ---- */
int log_open(struct log_files *log, int dir_fd, const struct store_io *io, struct error *error);
/* Begins the first segment of a new store. */
int log_create(struct log_files *log, struct error *error);
void log_close(struct log_files *log);
void batch_clear(struct log_batch *batch);
void batch_deinit(struct log_batch *batch);
void batch_add_own(struct log_batch *batch, struct bytes bytes);
void batch_add_borrowed(struct log_batch *batch, struct bytes bytes);
/* Cuts the batch back to how it was. */
void batch_cut(struct log_batch *batch, size_t piece_count, size_t own_size, uint64_t size);
/* Writes the batch and syncs. On ERR_FULL the segment is as before; on ERR_IO nothing more may be
 * written. */
int log_append(struct log_files *log, const struct log_batch *batch, uint64_t last_sequence);
/* Begins a new segment if the last is over `segment_size`. */
int log_rotate(struct log_files *log, uint64_t segment_size);
/* The segment, with one reference more for log_release(); NULL if there is none. */
struct log_segment *log_acquire(struct log_files *log, uint64_t number);
void log_release(struct log_files *log, struct log_segment *segment);
/* Unlinks a segment; readers that hold it go on. */
int log_remove(struct log_files *log, uint64_t number);
struct log_segment *log_find(struct log_files *log, uint64_t number); /* committer only */

typedef int replay_commit(void *context, const struct frame *frame, struct bytes payload);
/* Calls back for each commit from *position to the end of the log, which it stores in *position.
 * With `repair` a torn tail is cut off. ERR_CORRUPT with file and offset. */
int log_replay(struct log_files *log, struct log_position *position, bool repair,
	replay_commit *commit, void *context, struct error *error);

/* ---- store_write.c ---- */
/* Changes the index and whatever is derived from it. */
int effect_apply(struct store *store, struct kv_txn *kv, const struct effect *effect);
/* Runs one commit in the open transaction and adds its frames to the batch (none if it changed
 * nothing). When it fails all it did is undone, or is_broken is set. */
int write_run(struct store_write *write, store_run *run, void *context);
void write_deinit(struct store_write *write);
/* Applies a logged commit. */
int write_replay(struct store *store, struct kv_txn *kv, struct bytes payload);
int position_put(struct kv_txn *kv, const struct log_position *position);
int position_get(struct kv_txn *kv, struct log_position *position_r);
int segment_rows_put(struct store *store, struct kv_txn *kv);
int segment_rows_get(struct store *store, struct kv_txn *kv);

/* ---- store_body.c ---- */
#define BODY_HEAD_SIZE_MAX 65536 /* bytes of a head that is compressed apart */

static inline struct bytes guid_bytes(const struct guid *guid)
{
	return bytes_of(guid->bytes, sizeof(guid->bytes));
}

struct body_row {
	uint64_t segment, offset; /* of the frame */
	uint64_t stored_size;     /* payload bytes of the frame */
	uint64_t size;            /* of the raw body */
	uint64_t references;      /* 0: held */
};
void body_row_encode(struct buffer *out, const struct body_row *row);
int body_row_decode(struct bytes in, struct body_row *row_r);
int body_row_get(struct kv_txn *kv, struct bytes guid, struct body_row *row_r);
int body_row_put(struct store_write *write, struct bytes guid, const struct body_row *row);
/* Adds a body frame as stored (payload with its prefix) to the batch; stores where it will be. */
void body_frame_add(struct store_write *write, uint8_t flags, uint32_t payload_crc,
	struct bytes prefix, struct bytes stored, struct body_row *row);
/* Raw bytes of a stored body. */
int body_unpack(
	struct store *store, uint8_t flags, struct bytes stored, uint64_t size, struct buffer *out);
void packers_free(struct store *store);

/* Makes the changes of live bytes since the last call good, or forgets them. */
void live_changes_settle(struct store *store, bool is_good);
/* A row of TABLE_BODY comes (1) or goes (-1); what is no such row counts for nothing. */
void live_changes_add(struct live_changes *changes, struct bytes row, int sign);
/* Adds the changes to the rows of TABLE_SEGMENT, and forgets them. */
int live_changes_put(struct live_changes *changes, struct kv_txn *kv);

/* ---- committer.c ---- */
int committer_start(struct store *store);
void committer_stop(struct store *store);
void listeners_call(struct store *store, struct bytes fed);
/* Waits until nobody else changes the store. ERR_CLOSED. */
int lead_begin(struct store *store);
void lead_end(struct store *store);
/* Opens the transaction; on failure *problem_r says what it is about. By who leads, as all below.
 */
int batch_begin(struct store *store, const char **problem_r);
/* Runs commits until the batch is full, and cuts off those that are left. False when the
 * transaction has to be given up. */
bool batch_run(
	struct store *store, struct request *first, uint64_t *sequence, struct request **left_r);
/* Brings it to disk and shows it to readers; or gives it up, if it is not good or the log cannot be
 * written, which is the error. */
int batch_end(struct store *store, bool is_good, uint64_t sequence);
/* What waits; with the lock. */
struct request *queue_take(struct store *store);
/* Commits and acknowledges these. */
void queue_commit(struct store *store, struct request *first);
void requests_fail(struct request *request, int code, const char *text);
/* What was shown to readers is acknowledged to those (NULL: nobody) who asked for it, and listeners
 * are to be told. */
void requests_acknowledge(struct store *store, struct request *request);

/* ---- store_group.c ---- */
/* Whether the calling thread's commits are a group. */
bool group_is_mine(const struct store *store);
/* The transaction that its group has open, or NULL. */
struct kv_txn *group_txn(void);
int group_commit(struct store *store, struct request *request, uint64_t *position_r);

/* ---- store_flush.c ---- */
int flusher_start(struct store *store);
void flusher_stop(struct store *store);
/* The committer, between batches: seals what was committed if that is due, or `is_last`. */
void seal_if_due(struct store *store, bool is_last);
/* The committer, before a batch: makes sure that there is room in memory. The error for which the
 * index cannot be written. */
int flush_make_room(struct store *store);
/* The committer, after a batch, for those who then call flush_brake(). */
void flush_note_waiting(struct store *store);
/* After a commit with effects of so many bytes, on the thread whose commit it was: waits if more is
 * written than the index can take. */
void flush_brake(struct store *store, size_t bytes);
/* Until when the committer may sleep; with the lock. False: for ever. */
bool flush_due(const struct store *store, uint64_t *at_ms_r);
/*
 * Afterwards everything committed before is in the index and on disk, with a log position not below
 * the start of the segment being written. ERR_UNAVAILABLE.
 */
int index_catch_up(struct store *store);

/* ---- store_filter.c ---- */
/* Makes segment->filter. Sealed segments only. ERR_CORRUPT, ERR_IO. */
int put_filter_make(struct log_files *log, struct log_segment *segment);
/* Whether the segment may hold a put of that row; false is certain. */
bool put_filter_may_hold(const struct put_filter *filter, unsigned table, struct bytes key);

/* ---- store_compact.c ---- */
void compactor_start(struct store *store);
void compactor_stop(struct store *store);

/* ---- store.c ---- */
int store_files_open(struct store *store, const struct store_options *options, struct error *error);
void store_files_close(struct store *store);

#endif
