/*
 * Two layers above an engine: the active one, which is written, and the sealed one, which is being
 * flushed. A transaction holds both and a snapshot of the engine below, taken together; the upper
 * has the last word on each key.
 *
 * That a flush ends between is no harm: the snapshot below then holds what the sealed layer says
 * again, for those who took the layer before; who comes later finds it below alone.
 */
#include "kv/kv_layers.h"

#include "base/mem.h"
#include "kv/kv_private.h"
#include "kv/layer_private.h"

#include <pthread.h>
#include <stdlib.h>

#define LAYER_COUNT 2 /* active, sealed */

struct layers {
	struct kv kv;
	struct kv *below;
	pthread_mutex_t lock;             /* of all below */
	struct layer *stack[LAYER_COUNT]; /* the sealed one may be NULL */
	uint64_t version;                 /* of the last commit */
};

struct layers_txn {
	struct kv_txn txn;
	struct kv_txn *below;
	struct layer *stack[LAYER_COUNT];
	uint64_t snapshot; /* of a write transaction: what it writes under */
};

struct layers_cursor {
	struct kv_cursor cursor;
	unsigned table;
	bool is_backward;          /* how `at` and `below` stand to where it stands */
	bool is_below;             /* `below` stands at a row */
	bool is_at_below;          /* it stands at what `below` stands at, and no layer does ... */
	struct layer_entry *bound; /* ... the first of whose entries is this; going forward */
	struct kv_cursor *below;
	struct layer_entry *at[LAYER_COUNT];
};

/* ---- transactions ---- */

static void layers_close(struct kv *kv)
{
	struct layers *layers = (struct layers *)kv;

	for (unsigned i = 0; i < LAYER_COUNT; i++)
		if (layers->stack[i] != NULL)
			layer_release(layers->stack[i]);
	kv_close(&layers->below);
	pthread_mutex_destroy(&layers->lock);
	free(layers);
}

static int layers_begin(struct kv *kv, bool is_write, struct kv_txn **txn_r)
{
	struct layers *layers = (struct layers *)kv;
	struct layers_txn *txn = mem_zalloc(sizeof(*txn));
	int rc;

	txn->txn = (struct kv_txn){ kv, is_write };
	pthread_mutex_lock(&layers->lock);
	rc = kv_begin_read(layers->below, &txn->below);
	for (unsigned i = 0; i < LAYER_COUNT && rc == 0; i++)
		if (layers->stack[i] != NULL)
			txn->stack[i] = layer_acquire(layers->stack[i]);
	txn->snapshot = layers->version + is_write;
	pthread_mutex_unlock(&layers->lock);
	if (rc < 0) {
		free(txn);
		return rc;
	}
	if (is_write)
		layer_mark(txn->stack[0]);
	*txn_r = &txn->txn;
	return 0;
}

static void txn_free(struct layers_txn *txn)
{
	kv_abort(&txn->below);
	for (unsigned i = 0; i < LAYER_COUNT; i++)
		if (txn->stack[i] != NULL)
			layer_release(txn->stack[i]);
	free(txn);
}

static int layers_commit(struct kv_txn *base)
{
	struct layers *layers = (struct layers *)base->kv;
	struct layers_txn *txn = (struct layers_txn *)base;

	if (base->is_write) {
		pthread_mutex_lock(&layers->lock);
		layers->version = txn->snapshot;
		pthread_mutex_unlock(&layers->lock);
	}
	txn_free(txn);
	return 0;
}

static void layers_abort(struct kv_txn *base)
{
	struct layers_txn *txn = (struct layers_txn *)base;

	if (base->is_write)
		layer_undo(txn->stack[0]);
	txn_free(txn);
}

/* ---- rows ---- */

static int layers_get(struct kv_txn *base, unsigned table, struct bytes key, struct bytes *value_r)
{
	struct layers_txn *txn = (struct layers_txn *)base;

	for (unsigned i = 0; i < LAYER_COUNT && txn->stack[i] != NULL; i++) {
		int rc = layer_get(txn->stack[i], table, key, txn->snapshot, value_r);

		if (rc != LAYER_SILENT)
			return rc;
	}
	return kv_get(txn->below, table, key, value_r);
}

static int layers_put(struct kv_txn *base, unsigned table, struct bytes key, struct bytes value)
{
	struct layers_txn *txn = (struct layers_txn *)base;

	if (value.ptr == NULL)
		value = BYTES_LITERAL("");
	layer_set(txn->stack[0], table, key, value, txn->snapshot);
	return 0;
}

static int layers_remove(struct kv_txn *base, unsigned table, struct bytes key)
{
	struct layers_txn *txn = (struct layers_txn *)base;
	struct bytes value;
	int rc = layers_get(base, table, key, &value);

	if (rc == 0)
		layer_set(txn->stack[0], table, key, (struct bytes){ NULL, 0 }, txn->snapshot);
	return rc;
}

/* ---- cursors ---- */

static int layers_cursor_open(struct kv_txn *base, unsigned table, struct kv_cursor **cursor_r)
{
	struct layers_cursor *cursor = mem_zalloc(sizeof(*cursor));
	int rc = kv_cursor_open(((struct layers_txn *)base)->below, table, &cursor->below);

	if (rc < 0) {
		free(cursor);
		return rc;
	}
	cursor->cursor.txn = base;
	cursor->table = table;
	*cursor_r = &cursor->cursor;
	return 0;
}

static void layers_cursor_close(struct kv_cursor *base)
{
	struct layers_cursor *cursor = (struct layers_cursor *)base;

	kv_cursor_close(&cursor->below);
	free(cursor);
}

/* What a move of the cursor below came to; its end is none of ours. */
static int below_moved(struct layers_cursor *cursor, int rc)
{
	cursor->is_below = rc == 0;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static struct layer_entry *entry_step(
	struct layers_cursor *cursor, unsigned i, struct layer_entry *entry)
{
	struct layers_txn *txn = (struct layers_txn *)cursor->cursor.txn;

	return cursor->is_backward
		       ? layer_seek_before(txn->stack[i], cursor->table, layer_key(entry))
		       : layer_next(entry);
}

/* Moves all that stand at the key off it, in the cursor's direction. */
static int pass_key(struct layers_cursor *cursor, struct bytes key)
{
	for (unsigned i = 0; i < LAYER_COUNT; i++)
		if (cursor->at[i] != NULL && bytes_equal(layer_key(cursor->at[i]), key))
			cursor->at[i] = entry_step(cursor, i, cursor->at[i]);
	if (!cursor->is_below || !bytes_equal(kv_cursor_key(cursor->below), key))
		return 0;
	return below_moved(cursor, cursor->is_backward ? kv_cursor_prev(cursor->below)
						       : kv_cursor_next(cursor->below));
}

/* Which comes first in the cursor's direction, of equals the upper: a layer's number, LAYER_COUNT
 * for the engine below, or -1 if all are at their end. */
static int first_of(const struct layers_cursor *cursor)
{
	struct bytes best = { NULL, 0 };
	int first = -1;

	for (int i = 0; i <= LAYER_COUNT; i++) {
		struct bytes key;
		int order;

		if (i < LAYER_COUNT ? cursor->at[i] == NULL : !cursor->is_below)
			continue;
		key = i < LAYER_COUNT ? layer_key(cursor->at[i]) : kv_cursor_key(cursor->below);
		order = first < 0 ? -1 : bytes_compare(key, best);
		if (order == 0 || (first >= 0 && (order > 0) != cursor->is_backward))
			continue;
		best = key;
		first = i;
	}
	return first;
}

/* The first of the layers' entries, going forward; NULL: none. */
static struct layer_entry *first_entry(const struct layers_cursor *cursor)
{
	struct layer_entry *a = cursor->at[0], *b = cursor->at[1];

	if (a == NULL || b == NULL)
		return a != NULL ? a : b;
	return bytes_compare(layer_key(a), layer_key(b)) <= 0 ? a : b;
}

static int stand_at_below(struct layers_cursor *cursor)
{
	cursor->cursor.key = kv_cursor_key(cursor->below);
	cursor->cursor.value = kv_cursor_value(cursor->below);
	cursor->is_at_below = true;
	return 0;
}

/* Stands at the first row from where the parts stand. */
static int settle(struct layers_cursor *cursor)
{
	struct layers_txn *txn = (struct layers_txn *)cursor->cursor.txn;

	cursor->is_at_below = false;
	for (;;) {
		int first = first_of(cursor), rc;
		struct layer_entry *entry;

		if (first < 0)
			return ERR_NOT_FOUND;
		if (first == LAYER_COUNT) {
			cursor->bound = first_entry(cursor);
			return stand_at_below(cursor);
		}
		entry = cursor->at[first];
		rc = layer_value(entry, txn->snapshot, &cursor->cursor.value);
		if (rc == 0) {
			cursor->cursor.key = layer_key(entry);
			return 0;
		}
		if (rc == LAYER_SILENT)
			cursor->at[first] = entry_step(cursor, (unsigned)first, entry);
		else if ((rc = pass_key(cursor, layer_key(entry))) < 0)
			return rc;
	}
}

static int layers_seek(struct kv_cursor *base, struct bytes key)
{
	struct layers_cursor *cursor = (struct layers_cursor *)base;
	struct layers_txn *txn = (struct layers_txn *)base->txn;
	int rc = below_moved(cursor, kv_cursor_seek(cursor->below, key));

	cursor->is_backward = false;
	for (unsigned i = 0; i < LAYER_COUNT && txn->stack[i] != NULL; i++)
		cursor->at[i] = layer_seek(txn->stack[i], cursor->table, key);
	return rc < 0 ? rc : settle(cursor);
}

static int layers_seek_before(struct kv_cursor *base, struct bytes key)
{
	struct layers_cursor *cursor = (struct layers_cursor *)base;
	struct layers_txn *txn = (struct layers_txn *)base->txn;
	int rc = below_moved(cursor, kv_cursor_seek_before(cursor->below, key));

	cursor->is_backward = true;
	for (unsigned i = 0; i < LAYER_COUNT && txn->stack[i] != NULL; i++)
		cursor->at[i] = layer_seek_before(txn->stack[i], cursor->table, key);
	return rc < 0 ? rc : settle(cursor);
}

static int layers_next(struct kv_cursor *base)
{
	struct layers_cursor *cursor = (struct layers_cursor *)base;
	int rc = cursor->is_backward ? layers_seek(base, base->key) : 0;

	/* Most rows are below, far from what was written lately. */
	if (rc == 0 && cursor->is_at_below) {
		rc = below_moved(cursor, kv_cursor_next(cursor->below));
		if (rc == 0 && cursor->is_below &&
			(cursor->bound == NULL || bytes_compare(kv_cursor_key(cursor->below),
							  layer_key(cursor->bound)) < 0))
			return stand_at_below(cursor);
		return rc < 0 ? rc : settle(cursor);
	}
	if (rc == 0)
		rc = pass_key(cursor, base->key);
	return rc < 0 ? rc : settle(cursor);
}

static int layers_prev(struct kv_cursor *base)
{
	struct layers_cursor *cursor = (struct layers_cursor *)base;
	int rc;

	if (!cursor->is_backward)
		return layers_seek_before(base, base->key);
	rc = pass_key(cursor, base->key);
	return rc < 0 ? rc : settle(cursor);
}

static int layers_sync(struct kv *kv)
{
	return kv_sync(((struct layers *)kv)->below);
}

static const struct kv_engine layers_engine = { layers_close, layers_begin, layers_commit,
	layers_abort, layers_get, layers_put, layers_remove, layers_cursor_open,
	layers_cursor_close, layers_seek, layers_seek_before, layers_next, layers_prev,
	layers_sync };

/* ---- moving down ---- */

struct kv *kv_layers_open(struct kv **below)
{
	struct layers *layers = mem_zalloc(sizeof(*layers));

	layers->kv = (struct kv){ &layers_engine, (*below)->table_count };
	layers->below = *below;
	layers->stack[0] = layer_new((*below)->table_count);
	pthread_mutex_init(&layers->lock, NULL);
	*below = NULL;
	return &layers->kv;
}

size_t kv_layers_size(const struct kv *kv)
{
	return layer_size(((const struct layers *)kv)->stack[0]);
}

void kv_layers_seal(struct kv *kv)
{
	struct layers *layers = (struct layers *)kv;
	struct layer *fresh = layer_new(kv->table_count);

	pthread_mutex_lock(&layers->lock);
	assert(layers->stack[1] == NULL);
	layers->stack[1] = layers->stack[0];
	layers->stack[0] = fresh;
	pthread_mutex_unlock(&layers->lock);
}

/* ---- moving down in pieces ---- */

struct flush {
	const struct kv_pieces *pieces;
	struct kv *below;
	struct kv_txn *txn; /* of the piece */
};

static int piece_end(struct flush *flush)
{
	int rc = flush->pieces->end != NULL ? flush->pieces->end(flush->pieces->context, flush->txn)
					    : 0;

	return rc < 0 ? rc : kv_commit(&flush->txn);
}

static int piece_begin_next(struct flush *flush)
{
	int rc;

	if (flush->pieces->size_max == 0 || kv_unwritten(flush->txn) < flush->pieces->size_max)
		return 0;
	rc = piece_end(flush);
	return rc < 0 ? rc : kv_begin_write(flush->below, &flush->txn);
}

static int row_flush(struct flush *flush, unsigned table, struct bytes key, struct bytes value)
{
	int rc = 0;

	if (flush->pieces->row != NULL)
		rc = flush->pieces->row(flush->pieces->context, flush->txn, table, key, value);
	if (rc < 0)
		return rc;
	if (value.ptr != NULL)
		return kv_put(flush->txn, table, key, value);
	rc = kv_delete(flush->txn, table, key);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int table_flush(struct flush *flush, struct layer *sealed, unsigned table)
{
	int rc = 0;

	for (struct layer_entry *entry = layer_seek(sealed, table, BYTES_LITERAL(""));
		entry != NULL && rc == 0; entry = layer_next(entry)) {
		struct bytes value = { NULL, 0 };

		if (layer_value(entry, UINT64_MAX, &value) == LAYER_SILENT)
			continue; /* it was undone */
		rc = row_flush(flush, table, layer_key(entry), value);
		if (rc == 0 && table > 0)
			rc = piece_begin_next(flush);
	}
	return rc;
}

int kv_layers_flush(struct kv *kv, const struct kv_pieces *pieces)
{
	struct layers *layers = (struct layers *)kv;
	struct flush flush = { .pieces = pieces, .below = layers->below };
	struct layer *sealed;
	int rc;

	pthread_mutex_lock(&layers->lock);
	sealed = layers->stack[1];
	pthread_mutex_unlock(&layers->lock);
	if (sealed == NULL)
		return 0;
	rc = kv_begin_write(layers->below, &flush.txn);
	for (unsigned i = 1; i <= kv->table_count && rc == 0; i++)
		rc = table_flush(&flush, sealed, i % kv->table_count);
	if (rc == 0)
		rc = piece_end(&flush);
	kv_abort(&flush.txn);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&layers->lock);
	layers->stack[1] = NULL;
	pthread_mutex_unlock(&layers->lock);
	layer_release(sealed);
	return 0;
}
