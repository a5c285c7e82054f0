/*
 * store: one node's data: append-only log segments, which are the truth, and an index made from
 * them.
 *
 * A commit is a function run inside an index transaction, one after the other. What it
 * puts and deletes is logged as it is (effects, not requests), so that replay is deterministic; all
 * commits that wait are made durable by one fdatasync of the log (group commit), shown to readers
 * and acknowledged. The index on disk is behind: what it lacks is in memory, above it, and goes
 * down in large transactions, with the log position inside.
 *
 * Any thread may call any function, store_close() apart. Nothing here logs: callers do.
 */
#ifndef CHAPAR_STORE_STORE_H
#define CHAPAR_STORE_STORE_H

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "kv/kv.h"

#include <sys/types.h>
#include <sys/uio.h>

/* Tables below are the store's own; the mail layer's begin here. */
#define STORE_TABLE_FIRST_FREE 16
#define STORE_TABLE_COUNT 48

struct store;
struct store_write; /* a commit being run */
struct store_body;  /* a message body made ready: hashed and compressed */

/* ---- opening ---- */

/* How the log reaches the disk; tests replace it to make each call fail in turn. */
struct store_io {
	ssize_t (*write)(const struct store_io *io, int fd, const struct iovec *iov, int count,
		off_t offset);
	int (*sync)(const struct store_io *io, int fd); /* fdatasync */
};

struct store_options {
	const char *path; /* of the store's directory; made if `create` */
	bool create;
	uint64_t segment_size;     /* bytes after which a new segment is begun; 0: 128 MiB */
	int compression;           /* zstd level for bodies; 0: none */
	uint64_t index_size_max;   /* bytes of address space for the index; 0: 1 TiB */
	uint64_t index_lag_max;    /* bytes of rows that may wait in memory; 0: 8 MiB */
	uint64_t index_lag_ms_max; /* and for how long; 0: 20 s */
	bool skip_damage;          /* of store_rebuild() only */
	const struct store_io *io; /* NULL: the system's */
};

/*
 * Opens the store: replays the log from where the index is, and cuts off a torn tail. Only one
 * process may have it open. ERR_NOT_FOUND; ERR_UNAVAILABLE: another process has it; ERR_CORRUPT:
 * damage before the tail, or an index that is lost (the text says what and where; files are
 * untouched); ERR_VERSION; ERR_IO; ERR_FULL.
 */
int store_open(const struct store_options *options, struct error *error, struct store **store_r);
/* A store without files and threads: commits run at once on the caller's thread. For simulation and
 * tests. */
int store_open_memory(struct store **store_r);
/* Finishes commits that were accepted. No other call may run or follow. */
void store_close(struct store **store);

/*
 * Makes the index of a closed store anew from its segments and puts it in place of the old one.
 * Damage before the tail is ERR_CORRUPT, and the old index stays; with `skip_damage` what is
 * damaged is left out. Since acknowledged changes may then be missing, the store gets a new node
 * id; a peer's copy should be taken in before it serves clients.
 */
int store_rebuild(
	const struct store_options *options, struct error *error, uint64_t *commit_count_r);

struct store_status {
	uint64_t durable_position;         /* of the last commit; readers see it */
	uint64_t index_position;           /* up to which the index on disk has them */
	uint64_t segment_count, log_bytes; /* of all segments */
	uint64_t body_bytes;               /* of stored bodies that are referenced or held */
	int failure;                       /* code of what stopped writing, or 0 */
};
void store_get_status(struct store *store, struct store_status *status_r);

/* Reclaims the space of dead bodies and outdated effects now, from all segments but the one being
 * written; normally a thread does that for segments that are more than half dead. *freed_r: bytes
 * of files removed. */
int store_compact(struct store *store, struct error *error, uint64_t *freed_r);

/* Reads all segments: every frame's checksums, every stored body's SHA-256. Reports each finding in
 * words. */
int store_verify(struct store *store, void (*report)(void *context, const char *text),
	void *context, struct error *error);

/* ---- commits ---- */

/* Runs on the caller's or the committer's thread, one at a time; must not block. A negative return
 * undoes all it did. */
typedef int store_run(struct store_write *write, void *context);

/*
 * Runs `run` and returns once its effects are durable; *position_r is then what store_read_begin()
 * takes to see them. Returns run's negative code, or ERR_FULL, ERR_IO, ERR_CLOSED, ERR_UNAVAILABLE
 * with nothing changed.
 */
int store_commit(struct store *store, store_run *run, void *context, struct error *error,
	uint64_t *position_r);
/* For reading inside the commit: sees its own changes and those of commits before it. */
struct kv_txn *store_write_kv(struct store_write *write);
int store_put(struct store_write *write, unsigned table, struct bytes key, struct bytes value);
int store_delete(struct store_write *write, unsigned table, struct bytes key); /* ERR_NOT_FOUND */
/* For derived data, which can be made again: not logged, may be gone after a crash. */
int store_put_unlogged(
	struct store_write *write, unsigned table, struct bytes key, struct bytes value);
int store_delete_unlogged(struct store_write *write, unsigned table, struct bytes key);

/*
 * A group: commits of this thread from now on share one sync of the log. store_commit() then
 * returns when `run` has run: nobody but this thread, in read snapshots begun from then on, sees
 * its effects, and they are durable once store_group_end() has returned 0. When that fails, or a
 * commit cannot be undone, nothing of the whole group was done. Until then no other thread commits
 * (those who wait join the group at its end), so it must last milliseconds only, and wait for
 * nobody; its read snapshots show later commits of the group, too, and must be over before its end.
 * Bodies need not outlive the commit. In a store in memory each commit is done at once.
 */
void store_group_begin(struct store *store);
bool store_group_is_on(const struct store *store); /* of this thread */
/* Milliseconds and bytes since its first commit; 0 before that. */
void store_group_get_extent(const struct store *store, uint64_t *age_ms_r, uint64_t *size_r);
/* 0 also if there is none. ERR_FULL, ERR_IO, ERR_CLOSED, ERR_UNAVAILABLE. */
int store_group_end(struct store *store, struct error *error);

/* ---- reading ---- */

/* A read snapshot of everything that was acknowledged; so it shows at least all up to `position`,
 * which is taken to be such. */
int store_read_begin(struct store *store, uint64_t position, struct kv_txn **txn_r);
void store_read_end(struct kv_txn **txn); /* NULL is allowed */
/* The position of the last commit that was acknowledged to anyone. */
uint64_t store_position(struct store *store);

/* ---- bodies, by GUID ---- */

/* Hashes and compresses on the caller's thread. `raw` stays borrowed until store_body_free(). */
int store_body_prepare(struct store *store, struct bytes raw, struct store_body **body_r);
/*
 * The same of a body that another store has compressed: `packed` was read by
 * store_body_read_stored() there, and store_body_unpack() made `raw` of it. It is stored as it came
 * if this store compresses, too, and could have made it; else it is made anew.
 */
int store_body_prepare_packed(
	struct store *store, struct bytes raw, struct bytes packed, struct store_body **body_r);
void store_body_free(struct store_body **body);
const struct guid *store_body_guid(const struct store_body *body);
/* Stores it if it is not there, and counts one reference. `body` must live until the commit
 * returned. */
int store_body_add(struct store_write *write, const struct store_body *body);
/* One reference more. A held body is held no longer. ERR_NOT_FOUND. */
int store_body_reference(struct store_write *write, const struct guid *guid);
/* One reference less; at none the body is gone and its space can be reclaimed. */
int store_body_release(struct store_write *write, const struct guid *guid);
/* Stores it without a reference, for a commit to come; if it is there already, nothing happens. */
int store_body_hold(struct store_write *write, const struct store_body *body);
/* Drops held bodies that were never referenced and are older than `before_ms`. */
int store_body_drop_held(struct store *store, uint64_t before_ms);
/* 0 and its size in bytes (size_r may be NULL), held ones too; ERR_NOT_FOUND. */
int store_body_exists(struct kv_txn *kv, const struct guid *guid, uint64_t *size_r);
/* Appends the body to *out. ERR_NOT_FOUND; ERR_CORRUPT: its checksum is wrong. */
int store_body_read(
	struct store *store, struct kv_txn *kv, const struct guid *guid, struct buffer *out);

/* Appends the body as it is stored; *packed_size_r: the size of the body if that is compressed, or
 * 0. Errors as of store_body_read(). */
int store_body_read_stored(struct store *store, struct kv_txn *kv, const struct guid *guid,
	struct buffer *out, uint64_t *packed_size_r);
/* Appends the body of `size` bytes that such a one is of. ERR_CORRUPT: it is none; ERR_UNAVAILABLE.
 */
int store_body_unpack(struct store *store, struct bytes packed, uint64_t size, struct buffer *out);

/*
 * Appends at least its head, which is what is before its first empty line (CRLF), with it; costs as
 * much as that where it was stored apart, which is done to larger bodies where the store
 * compresses. Errors of store_body_read().
 */
int store_body_read_head(
	struct store *store, struct kv_txn *kv, const struct guid *guid, struct buffer *out);

/* Where a body was in a snapshot, to read it without: on another thread, say. */
struct store_place { /* private */
	uint64_t segment;
	uint64_t offset;
	uint64_t stored_size;
	uint64_t size;
};
/* ERR_NOT_FOUND. */
int store_body_find(struct kv_txn *kv, const struct guid *guid, struct store_place *place_r);
/* As store_body_read(), or store_body_read_head() if that is enough; also if it was moved since. */
int store_body_read_at(struct store *store, const struct store_place *place,
	const struct guid *guid, bool is_head_enough, struct buffer *out);

/* ---- dirty feed ---- */

/* Puts `key` into the feed under a new feed sequence; an older entry of the same key goes
 * (coalescing). An entry that no reader could see yet stays where it is: it covers this change. */
int feed_mark(struct store_write *write, struct bytes key);
/* The first entry above `after`; appends its key. ERR_NOT_FOUND at the end. */
int feed_next(struct kv_txn *kv, uint64_t after, uint64_t *sequence_r, struct buffer *key_r);
/* The last entry's sequence; 0 if there is none. */
int feed_last(struct kv_txn *kv, uint64_t *sequence_r);

/*
 * Says of the key what no record keeps: what was before, who did it. Listeners get it when this
 * commit becomes visible; it is in memory only. `position` of this commit: store_write_position().
 */
void feed_note(struct store_write *write, struct bytes key, struct bytes note);
/* What store_commit() will give for this commit; 0 in a store in memory. */
uint64_t store_write_position(const struct store_write *write);

struct feed_news {
	struct bytes key;
	struct bytes note; /* of feed_note(); NULL: the key was marked */
};

/* Called on a thread that commits with the keys fed and the notes, after they became visible to
 * readers; must not block, nor wait for a lock that is held while anyone commits. In the order of
 * the commits, one call at a time. */
typedef void store_listener(void *context, const struct feed_news *news, size_t count);
void store_listen(struct store *store, store_listener *listener, void *context);
/* After it returns the listener is not running and will not be called again. */
void store_unlisten(struct store *store, store_listener *listener, void *context);

/* ---- a clock that never gives a value twice ---- */

/* The least number that is not below `at_least` and above all that were given since the start. Any
 * thread. */
uint64_t store_tick(struct store *store, uint64_t at_least);
uint64_t store_write_tick(struct store_write *write, uint64_t at_least);

/* ---- identity ---- */

/* This node's id: random, not 0, made with the store. */
uint64_t store_node_id(const struct store *store);
/* Gives the store a new one, before it is used for anything else: of a store that was copied or
 * restored from a backup, as peers know more of the old id than it does. */
int store_renew_node_id(struct store *store, struct error *error);

#endif
