/*
 * The engine in memory: per table a treap whose nodes are shared between snapshots (path copying).
 *
 * Invariants: (1) a node with more than one reference is never changed: a writer copies it, and
 * what leads to it, first; (2) nodes are in key order, and no child has a greater priority than its
 * parent; the priority is a hash of the key, so that equal contents have equal shapes and runs
 * repeat exactly.
 */
#include "kv/kv.h"

#include "base/hash.h"
#include "base/mem.h"
#include "kv/kv_private.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define CURSOR_DEPTH_MAX                                                                           \
	256 /* a treap of 2^32 nodes is less than 100 deep but for a vanishing chance */

struct item {
	_Atomic uint32_t references;
	uint32_t key_size;
	uint32_t value_size;
	unsigned char data[]; /* key, value */
};

struct node {
	_Atomic uint32_t references;
	uint64_t priority;
	struct item *item;
	struct node *left, *right;
};

struct memory {
	struct kv kv;
	pthread_mutex_t lock; /* of the roots */
	struct node **roots;
};

struct memory_txn {
	struct kv_txn txn;
	struct node *roots[];
};

struct memory_cursor {
	struct kv_cursor cursor;
	unsigned table;
	unsigned depth;                      /* of the path; 0: stands nowhere */
	struct node *path[CURSOR_DEPTH_MAX]; /* from the root to where it stands */
};

static struct bytes item_key(const struct item *item)
{
	return bytes_of(item->data, item->key_size);
}

static struct bytes item_value(const struct item *item)
{
	return bytes_of(item->data + item->key_size, item->value_size);
}

static struct item *item_new(struct bytes key, struct bytes value)
{
	struct item *item = mem_alloc(sizeof(*item) + key.len + value.len);

	atomic_init(&item->references, 1);
	item->key_size = (uint32_t)key.len;
	item->value_size = (uint32_t)value.len;
	memcpy(item->data, key.ptr, key.len);
	if (value.len > 0)
		memcpy(item->data + key.len, value.ptr, value.len);
	return item;
}

static void item_release(struct item *item)
{
	if (atomic_fetch_sub(&item->references, 1) == 1)
		free(item);
}

static struct node *node_retain(struct node *node)
{
	if (node != NULL)
		atomic_fetch_add(&node->references, 1);
	return node;
}

static void node_release(struct node *node)
{
	while (node != NULL && atomic_fetch_sub(&node->references, 1) == 1) {
		struct node *right = node->right;

		node_release(node->left);
		item_release(node->item);
		free(node);
		node = right;
	}
}

/* Takes over one reference to `node` and returns a node that only the caller refers to. */
static struct node *node_own(struct node *node)
{
	struct node *copy;

	if (atomic_load(&node->references) == 1)
		return node;
	copy = mem_alloc(sizeof(*copy));
	atomic_init(&copy->references, 1);
	copy->priority = node->priority;
	copy->item = node->item;
	atomic_fetch_add(&copy->item->references, 1);
	copy->left = node_retain(node->left);
	copy->right = node_retain(node->right);
	node_release(node);
	return copy;
}

static struct node *node_new(struct bytes key, struct bytes value)
{
	struct node *node = mem_zalloc(sizeof(*node));

	atomic_init(&node->references, 1);
	node->priority = hash64(key, 0);
	node->item = item_new(key, value);
	return node;
}

static struct node *node_put(struct node *node, struct bytes key, struct bytes value)
{
	int order;

	if (node == NULL)
		return node_new(key, value);
	node = node_own(node);
	order = bytes_compare(key, item_key(node->item));
	if (order == 0) {
		struct item *item = item_new(key, value); /* `value` may lie in the old one */

		item_release(node->item);
		node->item = item;
	} else if (order < 0) {
		struct node *child = node->left = node_put(node->left, key, value);

		if (child->priority > node->priority) {
			node->left = child->right;
			child->right = node;
			return child;
		}
	} else {
		struct node *child = node->right = node_put(node->right, key, value);

		if (child->priority > node->priority) {
			node->right = child->left;
			child->left = node;
			return child;
		}
	}
	return node;
}

/* All of `left` is below all of `right`. Takes over both references. */
static struct node *nodes_join(struct node *left, struct node *right)
{
	if (left == NULL)
		return right;
	if (right == NULL)
		return left;
	if (left->priority > right->priority) {
		left = node_own(left);
		left->right = nodes_join(left->right, right);
		return left;
	}
	right = node_own(right);
	right->left = nodes_join(left, right->left);
	return right;
}

/* The key is there. */
static struct node *node_remove(struct node *node, struct bytes key)
{
	int order = bytes_compare(key, item_key(node->item));
	struct node *joined;

	node = node_own(node);
	if (order < 0) {
		node->left = node_remove(node->left, key);
		return node;
	}
	if (order > 0) {
		node->right = node_remove(node->right, key);
		return node;
	}
	joined = nodes_join(node->left, node->right);
	node->left = node->right = NULL;
	node_release(node);
	return joined;
}

static struct node *node_find(struct node *node, struct bytes key)
{
	while (node != NULL) {
		int order = bytes_compare(key, item_key(node->item));

		if (order == 0)
			return node;
		node = order < 0 ? node->left : node->right;
	}
	return NULL;
}

static struct node **root_of(struct kv_txn *txn, unsigned table)
{
	return &((struct memory_txn *)txn)->roots[table];
}

static void memory_close(struct kv *kv)
{
	struct memory *memory = (struct memory *)kv;

	for (unsigned table = 0; table < kv->table_count; table++)
		node_release(memory->roots[table]);
	pthread_mutex_destroy(&memory->lock);
	free(memory->roots);
	free(memory);
}

static int memory_begin(struct kv *kv, bool is_write, struct kv_txn **txn_r)
{
	struct memory *memory = (struct memory *)kv;
	struct memory_txn *txn = mem_alloc(sizeof(*txn) + kv->table_count * sizeof(struct node *));

	txn->txn = (struct kv_txn){ kv, is_write };
	pthread_mutex_lock(&memory->lock);
	for (unsigned table = 0; table < kv->table_count; table++)
		txn->roots[table] = node_retain(memory->roots[table]);
	pthread_mutex_unlock(&memory->lock);
	*txn_r = &txn->txn;
	return 0;
}

static void memory_abort(struct kv_txn *txn)
{
	for (unsigned table = 0; table < txn->kv->table_count; table++)
		node_release(*root_of(txn, table));
	free(txn);
}

static int memory_commit(struct kv_txn *txn)
{
	struct memory *memory = (struct memory *)txn->kv;

	if (!txn->is_write) {
		memory_abort(txn);
		return 0;
	}
	pthread_mutex_lock(&memory->lock);
	for (unsigned table = 0; table < txn->kv->table_count; table++) {
		struct node *old = memory->roots[table];

		memory->roots[table] = *root_of(txn, table);
		node_release(old);
	}
	pthread_mutex_unlock(&memory->lock);
	free(txn);
	return 0;
}

static int memory_get(struct kv_txn *txn, unsigned table, struct bytes key, struct bytes *value_r)
{
	struct node *node = node_find(*root_of(txn, table), key);

	if (node == NULL)
		return ERR_NOT_FOUND;
	*value_r = item_value(node->item);
	return 0;
}

static int memory_put(struct kv_txn *txn, unsigned table, struct bytes key, struct bytes value)
{
	struct node **root = root_of(txn, table);

	*root = node_put(*root, key, value);
	return 0;
}

static int memory_remove(struct kv_txn *txn, unsigned table, struct bytes key)
{
	struct node **root = root_of(txn, table);

	if (node_find(*root, key) == NULL)
		return ERR_NOT_FOUND;
	*root = node_remove(*root, key);
	return 0;
}

static int memory_cursor_open(struct kv_txn *txn, unsigned table, struct kv_cursor **cursor_r)
{
	struct memory_cursor *cursor = mem_alloc(sizeof(*cursor));

	cursor->cursor = (struct kv_cursor){ .txn = txn };
	cursor->table = table;
	cursor->depth = 0;
	*cursor_r = &cursor->cursor;
	return 0;
}

static void memory_cursor_close(struct kv_cursor *cursor)
{
	free(cursor);
}

static void path_push(struct memory_cursor *cursor, struct node *node)
{
	assert(cursor->depth < CURSOR_DEPTH_MAX);
	cursor->path[cursor->depth++] = node;
}

static int cursor_stand(struct memory_cursor *cursor)
{
	const struct item *item;

	if (cursor->depth == 0)
		return ERR_NOT_FOUND;
	item = cursor->path[cursor->depth - 1]->item;
	cursor->cursor.key = item_key(item);
	cursor->cursor.value = item_value(item);
	return 0;
}

/* Stands at the first key >= `key`, or (is_before) at the last one below it. */
static int cursor_seek(struct memory_cursor *cursor, struct bytes key, bool is_before)
{
	struct node *node = *root_of(cursor->cursor.txn, cursor->table);
	unsigned best = 0;

	cursor->depth = 0;
	while (node != NULL) {
		bool is_below = bytes_compare(item_key(node->item), key) < 0;

		path_push(cursor, node);
		if (is_below == is_before)
			best = cursor->depth;
		node = is_below ? node->right : node->left;
	}
	cursor->depth = best;
	return cursor_stand(cursor);
}

static int memory_seek(struct kv_cursor *cursor, struct bytes key)
{
	return cursor_seek((struct memory_cursor *)cursor, key, false);
}

static int memory_seek_before(struct kv_cursor *cursor, struct bytes key)
{
	return cursor_seek((struct memory_cursor *)cursor, key, true);
}

static struct node *child_of(struct node *node, bool right)
{
	return right ? node->right : node->left;
}

static int cursor_step(struct memory_cursor *cursor, bool forward)
{
	struct node *node;

	if (cursor->depth == 0)
		return ERR_NOT_FOUND;
	node = child_of(cursor->path[cursor->depth - 1], forward);
	if (node != NULL) {
		for (; node != NULL; node = child_of(node, !forward))
			path_push(cursor, node);
		return cursor_stand(cursor);
	}
	do {
		node = cursor->path[--cursor->depth];
	} while (cursor->depth > 0 && child_of(cursor->path[cursor->depth - 1], forward) == node);
	return cursor_stand(cursor);
}

static int memory_next(struct kv_cursor *cursor)
{
	return cursor_step((struct memory_cursor *)cursor, true);
}

static int memory_prev(struct kv_cursor *cursor)
{
	return cursor_step((struct memory_cursor *)cursor, false);
}

static int memory_sync(struct kv *kv)
{
	(void)kv;
	return 0;
}

static const struct kv_engine memory_engine = { memory_close, memory_begin, memory_commit,
	memory_abort, memory_get, memory_put, memory_remove, memory_cursor_open,
	memory_cursor_close, memory_seek, memory_seek_before, memory_next, memory_prev,
	memory_sync };

int kv_memory_open(unsigned table_count, struct kv **kv_r)
{
	struct memory *memory = mem_zalloc(sizeof(*memory));

	memory->kv = (struct kv){ &memory_engine, table_count };
	memory->roots = mem_zalloc_array(table_count, sizeof(struct node *));
	pthread_mutex_init(&memory->lock, NULL);
	*kv_r = &memory->kv;
	return 0;
}
