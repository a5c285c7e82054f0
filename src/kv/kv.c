#include "kv/kv.h"

#include "kv/kv_private.h"

void kv_close(struct kv **kv)
{
	if (*kv == NULL)
		return;
	(*kv)->engine->close(*kv);
	*kv = NULL;
}

int kv_begin_read(struct kv *kv, struct kv_txn **txn_r)
{
	return kv->engine->begin(kv, false, txn_r);
}

int kv_begin_write(struct kv *kv, struct kv_txn **txn_r)
{
	return kv->engine->begin(kv, true, txn_r);
}

int kv_commit(struct kv_txn **txn)
{
	struct kv_txn *ending = *txn;

	*txn = NULL;
	return ending->kv->engine->commit(ending);
}

void kv_abort(struct kv_txn **txn)
{
	if (*txn == NULL)
		return;
	(*txn)->kv->engine->abort(*txn);
	*txn = NULL;
}

static int check_key(const struct kv_txn *txn, unsigned table, struct bytes key)
{
	assert(table < txn->kv->table_count);
	assert(key.len > 0);
	return key.len > KV_KEY_SIZE_MAX ? ERR_TOO_LARGE : 0;
}

int kv_get(struct kv_txn *txn, unsigned table, struct bytes key, struct bytes *value_r)
{
	if (check_key(txn, table, key) < 0)
		return ERR_NOT_FOUND;
	return txn->kv->engine->get(txn, table, key, value_r);
}

int kv_put(struct kv_txn *txn, unsigned table, struct bytes key, struct bytes value)
{
	int rc = check_key(txn, table, key);

	assert(txn->is_write);
	return rc < 0 ? rc : txn->kv->engine->put(txn, table, key, value);
}

int kv_delete(struct kv_txn *txn, unsigned table, struct bytes key)
{
	assert(txn->is_write);
	if (check_key(txn, table, key) < 0)
		return ERR_NOT_FOUND;
	return txn->kv->engine->remove(txn, table, key);
}

int kv_cursor_open(struct kv_txn *txn, unsigned table, struct kv_cursor **cursor_r)
{
	assert(table < txn->kv->table_count);
	return txn->kv->engine->cursor_open(txn, table, cursor_r);
}

void kv_cursor_close(struct kv_cursor **cursor)
{
	if (*cursor == NULL)
		return;
	(*cursor)->txn->kv->engine->cursor_close(*cursor);
	*cursor = NULL;
}

int kv_cursor_seek(struct kv_cursor *cursor, struct bytes key)
{
	return cursor->txn->kv->engine->seek(cursor, key);
}

int kv_cursor_seek_before(struct kv_cursor *cursor, struct bytes key)
{
	return cursor->txn->kv->engine->seek_before(cursor, key);
}

int kv_cursor_next(struct kv_cursor *cursor)
{
	return cursor->txn->kv->engine->next(cursor);
}

int kv_cursor_prev(struct kv_cursor *cursor)
{
	return cursor->txn->kv->engine->prev(cursor);
}

struct bytes kv_cursor_key(const struct kv_cursor *cursor)
{
	return cursor->key;
}

struct bytes kv_cursor_value(const struct kv_cursor *cursor)
{
	return cursor->value;
}

size_t kv_unwritten(const struct kv_txn *txn)
{
	const struct kv_engine *engine = txn->kv->engine;

	return engine->unwritten != NULL ? engine->unwritten(txn) : 0;
}

int kv_sync(struct kv *kv)
{
	return kv->engine->sync(kv);
}
