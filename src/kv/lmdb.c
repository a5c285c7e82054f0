/*
 * LMDB as the engine: one environment, a named database per table.
 *
 * MDB_NOMETASYNC is safe here because the store's log holds every acknowledged commit and the log
 * position is inside each transaction: a power cut may take back the last transactions, never tear
 * one, and replay restores them. Read transactions are recycled (reset and renew), since sessions
 * open thousands in a second.
 */
#include "kv/kv.h"

#include "base/mem.h"
#include "kv/kv_private.h"

#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define MAP_SIZE_DEFAULT ((uint64_t)1 << 40)
#define MAP_SIZE_LIMITED ((uint64_t)1 << 32) /* where the address space is limited */
#define READER_COUNT_MAX 4096
#define IDLE_READER_COUNT_MAX 64
#define PAGE_SIZE 4096 /* of LMDB, mostly */

struct lmdb {
	struct kv kv;
	MDB_env *env;
	MDB_dbi *tables;
	pthread_mutex_t lock; /* of the idle readers */
	MDB_txn *idle[IDLE_READER_COUNT_MAX];
	size_t idle_count;
};

/* Rows are mostly written in the order of their keys: so neighbours share a page, and one that lies
 * elsewhere in memory than the last is in another. */
struct lmdb_txn {
	struct kv_txn txn;
	MDB_txn *mdb;
	const unsigned char *page; /* first and last row of the last page written, as far as seen */
	const unsigned char *page_last;
	size_t page_count; /* of pages written, branches apart */
};

struct lmdb_cursor {
	struct kv_cursor cursor;
	MDB_cursor *mdb;
};

static int error_of(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case MDB_NOTFOUND:
		return ERR_NOT_FOUND;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
	case ENOSPC:
	case EDQUOT:
		return ERR_FULL;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_BAD_TXN:
		return ERR_CORRUPT;
	case MDB_VERSION_MISMATCH:
		return ERR_VERSION;
	case MDB_READERS_FULL:
		return ERR_UNAVAILABLE;
	case MDB_BAD_VALSIZE:
		return ERR_TOO_LARGE;
	default:
		return ERR_IO;
	}
}

static struct lmdb *lmdb_of(struct kv_txn *txn)
{
	return (struct lmdb *)txn->kv;
}

static void lmdb_close(struct kv *kv)
{
	struct lmdb *lmdb = (struct lmdb *)kv;

	while (lmdb->idle_count > 0)
		mdb_txn_abort(lmdb->idle[--lmdb->idle_count]);
	mdb_env_close(lmdb->env);
	pthread_mutex_destroy(&lmdb->lock);
	free(lmdb->tables);
	free(lmdb);
}

static MDB_txn *idle_take(struct lmdb *lmdb)
{
	MDB_txn *mdb = NULL;

	pthread_mutex_lock(&lmdb->lock);
	if (lmdb->idle_count > 0)
		mdb = lmdb->idle[--lmdb->idle_count];
	pthread_mutex_unlock(&lmdb->lock);
	return mdb;
}

static int reader_begin(struct lmdb *lmdb, MDB_txn **mdb_r)
{
	MDB_txn *mdb = idle_take(lmdb);

	if (mdb != NULL) {
		int rc = mdb_txn_renew(mdb);

		if (rc == 0)
			*mdb_r = mdb;
		else
			mdb_txn_abort(mdb);
		return error_of(rc);
	}
	return error_of(mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, mdb_r));
}

static int lmdb_begin(struct kv *kv, bool is_write, struct kv_txn **txn_r)
{
	struct lmdb *lmdb = (struct lmdb *)kv;
	struct lmdb_txn *txn;
	MDB_txn *mdb;
	int rc = is_write ? error_of(mdb_txn_begin(lmdb->env, NULL, 0, &mdb))
			  : reader_begin(lmdb, &mdb);

	if (rc < 0)
		return rc;
	txn = mem_zalloc(sizeof(*txn));
	txn->txn = (struct kv_txn){ kv, is_write };
	txn->mdb = mdb;
	*txn_r = &txn->txn;
	return 0;
}

static void lmdb_abort(struct kv_txn *txn)
{
	struct lmdb *lmdb = lmdb_of(txn);
	MDB_txn *mdb = ((struct lmdb_txn *)txn)->mdb;

	if (!txn->is_write) {
		mdb_txn_reset(mdb);
		pthread_mutex_lock(&lmdb->lock);
		if (lmdb->idle_count < IDLE_READER_COUNT_MAX) {
			lmdb->idle[lmdb->idle_count++] = mdb;
			mdb = NULL;
		}
		pthread_mutex_unlock(&lmdb->lock);
	}
	if (mdb != NULL)
		mdb_txn_abort(mdb);
	free(txn);
}

static int lmdb_commit(struct kv_txn *txn)
{
	int rc;

	if (!txn->is_write) {
		lmdb_abort(txn);
		return 0;
	}
	rc = error_of(mdb_txn_commit(((struct lmdb_txn *)txn)->mdb));
	free(txn);
	return rc;
}

static MDB_val value_of(struct bytes bytes)
{
	return (MDB_val){ bytes.len, (void *)(uintptr_t)bytes.ptr };
}

static int lmdb_get(struct kv_txn *txn, unsigned table, struct bytes key, struct bytes *value_r)
{
	MDB_val mdb_key = value_of(key), value;
	int rc = mdb_get(
		((struct lmdb_txn *)txn)->mdb, lmdb_of(txn)->tables[table], &mdb_key, &value);

	if (rc == 0)
		*value_r = bytes_of(value.mv_data, value.mv_size);
	return error_of(rc);
}

static void page_count(struct lmdb_txn *txn, MDB_val row)
{
	const unsigned char *at = row.mv_data;
	const unsigned char *first = at < txn->page ? at : txn->page;
	const unsigned char *last = at > txn->page_last ? at : txn->page_last;

	if (txn->page == NULL || last - first >= PAGE_SIZE) {
		txn->page_count++;
		first = last = at;
	}
	txn->page = first;
	txn->page_last = last;
	txn->page_count += row.mv_size / PAGE_SIZE; /* a large one has pages of its own */
}

static int lmdb_put(struct kv_txn *base, unsigned table, struct bytes key, struct bytes value)
{
	struct lmdb_txn *txn = (struct lmdb_txn *)base;
	MDB_val mdb_key = value_of(key), mdb_value = value_of(value);
	int rc = mdb_put(txn->mdb, lmdb_of(base)->tables[table], &mdb_key, &mdb_value, MDB_RESERVE);

	if (rc != 0)
		return error_of(rc);
	if (value.len > 0)
		memcpy(mdb_value.mv_data, value.ptr, value.len);
	page_count(txn, mdb_value);
	return 0;
}

static int lmdb_remove(struct kv_txn *base, unsigned table, struct bytes key)
{
	struct lmdb_txn *txn = (struct lmdb_txn *)base;
	MDB_dbi dbi = lmdb_of(base)->tables[table];
	MDB_val mdb_key = value_of(key), value;
	int rc = mdb_get(txn->mdb, dbi, &mdb_key, &value);

	if (rc == 0) {
		page_count(txn, value);
		rc = mdb_del(txn->mdb, dbi, &mdb_key, NULL);
	}
	return error_of(rc);
}

static size_t lmdb_unwritten(const struct kv_txn *txn)
{
	return ((const struct lmdb_txn *)txn)->page_count * PAGE_SIZE;
}

static int lmdb_cursor_open(struct kv_txn *txn, unsigned table, struct kv_cursor **cursor_r)
{
	struct lmdb_cursor *cursor = mem_zalloc(sizeof(*cursor));
	int rc = mdb_cursor_open(
		((struct lmdb_txn *)txn)->mdb, lmdb_of(txn)->tables[table], &cursor->mdb);

	if (rc != 0) {
		free(cursor);
		return error_of(rc);
	}
	cursor->cursor.txn = txn;
	*cursor_r = &cursor->cursor;
	return 0;
}

static void lmdb_cursor_close(struct kv_cursor *cursor)
{
	mdb_cursor_close(((struct lmdb_cursor *)cursor)->mdb);
	free(cursor);
}

static int cursor_move(struct kv_cursor *cursor, MDB_val key, MDB_cursor_op operation)
{
	MDB_val value;
	int rc = mdb_cursor_get(((struct lmdb_cursor *)cursor)->mdb, &key, &value, operation);

	if (rc == 0) {
		cursor->key = bytes_of(key.mv_data, key.mv_size);
		cursor->value = bytes_of(value.mv_data, value.mv_size);
	}
	return error_of(rc);
}

static int lmdb_seek(struct kv_cursor *cursor, struct bytes key)
{
	return cursor_move(cursor, value_of(key), MDB_SET_RANGE);
}

static int lmdb_next(struct kv_cursor *cursor)
{
	return cursor_move(cursor, (MDB_val){ 0 }, MDB_NEXT);
}

static int lmdb_prev(struct kv_cursor *cursor)
{
	return cursor_move(cursor, (MDB_val){ 0 }, MDB_PREV);
}

static int lmdb_seek_before(struct kv_cursor *cursor, struct bytes key)
{
	int rc = lmdb_seek(cursor, key);

	if (rc == ERR_NOT_FOUND)
		return cursor_move(cursor, (MDB_val){ 0 }, MDB_LAST);
	return rc < 0 ? rc : lmdb_prev(cursor);
}

static int lmdb_sync(struct kv *kv)
{
	return error_of(mdb_env_sync(((struct lmdb *)kv)->env, 1));
}

static const struct kv_engine lmdb_engine = { lmdb_close, lmdb_begin, lmdb_commit, lmdb_abort,
	lmdb_get, lmdb_put, lmdb_remove, lmdb_cursor_open, lmdb_cursor_close, lmdb_seek,
	lmdb_seek_before, lmdb_next, lmdb_prev, lmdb_sync, lmdb_unwritten };

static int tables_open(struct lmdb *lmdb, bool create)
{
	MDB_txn *mdb;
	int rc = mdb_txn_begin(lmdb->env, NULL, create ? 0 : MDB_RDONLY, &mdb);

	if (rc != 0)
		return rc;
	for (unsigned table = 0; table < lmdb->kv.table_count && rc == 0; table++) {
		char name[16];

		snprintf(name, sizeof(name), "t%02u", table);
		rc = mdb_dbi_open(mdb, name, create ? MDB_CREATE : 0, &lmdb->tables[table]);
	}
	if (rc == 0)
		return mdb_txn_commit(mdb);
	mdb_txn_abort(mdb);
	return rc;
}

static uint64_t map_size_default(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		return MAP_SIZE_LIMITED;
	return MAP_SIZE_DEFAULT;
}

int kv_lmdb_open(
	const char *path, const struct kv_options *options, struct error *error, struct kv **kv_r)
{
	struct lmdb *lmdb = mem_zalloc(sizeof(*lmdb));
	uint64_t map_size = options->map_size != 0 ? options->map_size : map_size_default();
	int dead, rc;

	lmdb->kv = (struct kv){ &lmdb_engine, options->table_count };
	lmdb->tables = mem_zalloc_array(options->table_count, sizeof(*lmdb->tables));
	pthread_mutex_init(&lmdb->lock, NULL);
	rc = mdb_env_create(&lmdb->env);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(lmdb->env, options->table_count);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(lmdb->env, READER_COUNT_MAX);
	if (rc == 0)
		rc = mdb_env_set_mapsize(lmdb->env, (size_t)map_size);
	if (rc == 0)
		rc = mdb_env_open(lmdb->env, path, MDB_NOTLS | MDB_NOMETASYNC, 0600);
	if (rc == 0)
		rc = mdb_reader_check(lmdb->env, &dead);
	if (rc == 0)
		rc = tables_open(lmdb, options->create);
	if (rc != 0) {
		lmdb_close(&lmdb->kv);
		return error_set(error, error_of(rc), "index %s: %s", path, mdb_strerror(rc));
	}
	*kv_r = &lmdb->kv;
	return 0;
}
