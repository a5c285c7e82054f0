/* kv_private: what an engine provides. Each of its structs begins with the struct of the same name
 * here. */
#ifndef CHAPAR_KV_KV_PRIVATE_H
#define CHAPAR_KV_KV_PRIVATE_H

#include "kv/kv.h"

struct kv_engine {
	void (*close)(struct kv *kv);
	int (*begin)(struct kv *kv, bool is_write, struct kv_txn **txn_r);
	int (*commit)(struct kv_txn *txn); /* frees it in any case */
	void (*abort)(struct kv_txn *txn);
	int (*get)(struct kv_txn *txn, unsigned table, struct bytes key, struct bytes *value_r);
	int (*put)(struct kv_txn *txn, unsigned table, struct bytes key, struct bytes value);
	int (*remove)(struct kv_txn *txn, unsigned table, struct bytes key);
	int (*cursor_open)(struct kv_txn *txn, unsigned table, struct kv_cursor **cursor_r);
	void (*cursor_close)(struct kv_cursor *cursor);
	int (*seek)(struct kv_cursor *cursor, struct bytes key);
	int (*seek_before)(struct kv_cursor *cursor, struct bytes key);
	int (*next)(struct kv_cursor *cursor);
	int (*prev)(struct kv_cursor *cursor);
	int (*sync)(struct kv *kv);
	/* Bytes of pages that committing will write, about; NULL: it writes none. */
	size_t (*unwritten)(const struct kv_txn *txn);
};

struct kv {
	const struct kv_engine *engine;
	unsigned table_count;
};

struct kv_txn {
	struct kv *kv;
	bool is_write;
};

struct kv_cursor {
	struct kv_txn *txn;
	struct bytes key, value; /* where it stands */
};

#endif
