/*
 * kv: the seam to an ordered key-value engine: LMDB on disk, or its twin in memory.
 *
 * Tables are numbered from 0. Keys are 1 to KV_KEY_SIZE_MAX bytes and sort bytewise, a prefix
 * first. There is one write transaction at a time and any number of read transactions, each a
 * snapshot that later commits do not disturb. A transaction is used by one thread at a time. What
 * is read is borrowed from the engine until the transaction ends or, in a write transaction, until
 * its next write. Long read transactions make the LMDB file grow: keep them short.
 */
#ifndef CHAPAR_KV_KV_H
#define CHAPAR_KV_KV_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdint.h>

#define KV_KEY_SIZE_MAX 511 /* bytes */

struct kv;
struct kv_txn;
struct kv_cursor;

struct kv_options {
	unsigned table_count;
	uint64_t map_size; /* bytes of address space for LMDB; 0: the default of 1 TiB, or what
			      RLIMIT_AS allows */
	bool create;       /* make the database if there is none; else ERR_NOT_FOUND */
};

/* Opens the LMDB environment in the existing directory `path`. ERR_IO, ERR_CORRUPT, ERR_NOT_FOUND.
 */
int kv_lmdb_open(
	const char *path, const struct kv_options *options, struct error *error, struct kv **kv_r);
/* An empty database that lives as long as the process. */
int kv_memory_open(unsigned table_count, struct kv **kv_r);
/* All transactions have ended. Sets *kv to NULL; NULL is allowed. */
void kv_close(struct kv **kv);

int kv_begin_read(struct kv *kv, struct kv_txn **txn_r);
/* The caller sees to it that there is only one at a time. */
int kv_begin_write(struct kv *kv, struct kv_txn **txn_r);
/* Ends it in any case and sets *txn to NULL. ERR_FULL, ERR_IO: nothing was changed. */
int kv_commit(struct kv_txn **txn);
void kv_abort(struct kv_txn **txn); /* NULL is allowed */

int kv_get(struct kv_txn *txn, unsigned table, struct bytes key,
	struct bytes *value_r); /* ERR_NOT_FOUND */
/* ERR_TOO_LARGE: the key; ERR_FULL. */
int kv_put(struct kv_txn *txn, unsigned table, struct bytes key, struct bytes value);
int kv_delete(struct kv_txn *txn, unsigned table, struct bytes key); /* ERR_NOT_FOUND */

/* A cursor must be closed before its transaction ends. After a write to its table it must seek
 * before it moves. */
int kv_cursor_open(struct kv_txn *txn, unsigned table, struct kv_cursor **cursor_r);
void kv_cursor_close(struct kv_cursor **cursor); /* NULL is allowed */
int kv_cursor_seek(
	struct kv_cursor *cursor, struct bytes key); /* first key >= `key`; ERR_NOT_FOUND */
int kv_cursor_seek_before(
	struct kv_cursor *cursor, struct bytes key); /* last key < `key`; ERR_NOT_FOUND */
int kv_cursor_next(struct kv_cursor *cursor);        /* ERR_NOT_FOUND at the end */
int kv_cursor_prev(struct kv_cursor *cursor);
/* Where a successful seek or move left it; borrowed like kv_get()'s value. */
struct bytes kv_cursor_key(const struct kv_cursor *cursor);
struct bytes kv_cursor_value(const struct kv_cursor *cursor);

/* About how much committing this will write to the disk. */
size_t kv_unwritten(const struct kv_txn *txn);

/* Makes everything committed durable. */
int kv_sync(struct kv *kv);

#endif
