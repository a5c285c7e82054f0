#include "kv/layer_private.h"

#include "base/arena.h"
#include "base/error.h"
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>

#define HEIGHT_MAX 12   /* of a skip list: enough for 4^12 entries */
#define NO_ROW SIZE_MAX /* size of a value that says that there is no row */

struct layer_value {
	struct layer_value *older;
	uint64_t version;
	size_t size; /* or NO_ROW */
	unsigned char data[];
};

/* A tower of the skip list; the key follows the links. */
struct layer_entry {
	struct layer_value *_Atomic newest; /* NULL: all was undone */
	uint32_t key_size;
	uint32_t height;
	struct layer_entry *_Atomic next[];
};

struct table {
	struct layer_entry *head;
	_Atomic unsigned height;
	/* Of the last key that was set, by its writer: the last entry before it in each level, and
	 * its own. What is set next mostly lies a little behind. */
	struct layer_entry *before[HEIGHT_MAX];
	struct layer_entry *last;
};

struct layer {
	_Atomic uint32_t references;
	struct arena *arena;
	size_t size;
	uint64_t random;
	struct layer_entry **touched; /* since layer_mark() */
	size_t touched_count, touched_room;
	unsigned table_count;
	struct table tables[];
};

static void *layer_alloc(struct layer *layer, size_t size)
{
	layer->size += size;
	return arena_alloc(layer->arena, size);
}

static struct layer_entry *entry_new(struct layer *layer, unsigned height, struct bytes key)
{
	size_t links = height * sizeof(struct layer_entry *);
	struct layer_entry *entry = layer_alloc(layer, sizeof(*entry) + links + key.len);

	atomic_init(&entry->newest, NULL);
	entry->key_size = (uint32_t)key.len;
	entry->height = height;
	for (unsigned level = 0; level < height; level++)
		atomic_init(&entry->next[level], NULL);
	if (key.len > 0)
		memcpy((unsigned char *)&entry->next[height], key.ptr, key.len);
	return entry;
}

struct layer *layer_new(unsigned table_count)
{
	struct layer *layer = mem_zalloc(sizeof(*layer) + table_count * sizeof(struct table));

	atomic_init(&layer->references, 1);
	layer->arena = arena_new();
	layer->random = 0x9e3779b97f4a7c15u;
	layer->table_count = table_count;
	for (unsigned table = 0; table < table_count; table++) {
		layer->tables[table].head = entry_new(layer, HEIGHT_MAX, (struct bytes){ NULL, 0 });
		atomic_init(&layer->tables[table].height, 1);
	}
	layer->size = 0;
	return layer;
}

struct layer *layer_acquire(struct layer *layer)
{
	atomic_fetch_add_explicit(&layer->references, 1, memory_order_relaxed);
	return layer;
}

void layer_release(struct layer *layer)
{
	if (atomic_fetch_sub_explicit(&layer->references, 1, memory_order_acq_rel) > 1)
		return;
	arena_free(&layer->arena);
	free(layer->touched);
	free(layer);
}

size_t layer_size(const struct layer *layer)
{
	return layer->size;
}

struct bytes layer_key(const struct layer_entry *entry)
{
	return bytes_of(&entry->next[entry->height], entry->key_size);
}

static struct layer_entry *link_of(struct layer_entry *entry, unsigned level)
{
	return atomic_load_explicit(&entry->next[level], memory_order_acquire);
}

/*
 * The last entry before the key, found from `at`, which is before it, in the levels below `level`;
 * stores those of these levels.
 */
static struct layer_entry *walk(struct layer_entry *at, unsigned level, struct bytes key,
	struct layer_entry *before[HEIGHT_MAX])
{
	struct layer_entry *seen = NULL;

	while (level-- > 0) {
		struct layer_entry *next;

		/* What ended the walk a level above ends it here too. */
		while ((next = link_of(at, level)) != NULL && next != seen &&
			bytes_compare(layer_key(next), key) < 0)
			at = next;
		seen = next;
		if (before != NULL)
			before[level] = at;
	}
	return at;
}

/* The last entry before the key, or the head. */
static struct layer_entry *find_before(struct table *table, struct bytes key)
{
	return walk(
		table->head, atomic_load_explicit(&table->height, memory_order_relaxed), key, NULL);
}

/* The same for the writer, who has those of all levels in table->before afterwards. */
static struct layer_entry *find_to_set(struct table *table, struct bytes key)
{
	unsigned height = atomic_load_explicit(&table->height, memory_order_relaxed);
	struct layer_entry *next;
	unsigned level = 0;
	int order = table->last != NULL ? bytes_compare(layer_key(table->last), key) : 1;

	if (order >= 0)
		return order == 0 ? table->before[0]
				  : walk(table->head, height, key, table->before);
	/* Up to the level in which nothing lies between. */
	while (level < height && (next = link_of(table->before[level], level)) != NULL &&
		bytes_compare(layer_key(next), key) < 0)
		level++;
	if (level == height)
		return walk(table->head, height, key, table->before);
	return walk(table->before[level], level, key, table->before);
}

static unsigned random_height(struct layer *layer)
{
	unsigned height = 1;

	layer->random ^= layer->random << 13;
	layer->random ^= layer->random >> 7;
	layer->random ^= layer->random << 17;
	for (uint64_t bits = layer->random; (bits & 3) == 0 && height < HEIGHT_MAX; bits >>= 2)
		height++;
	return height;
}

static struct layer_entry *entry_add(struct layer *layer, struct table *table, struct bytes key)
{
	struct layer_entry **before = table->before;
	unsigned height = random_height(layer);
	struct layer_entry *entry = entry_new(layer, height, key);

	for (unsigned level = atomic_load_explicit(&table->height, memory_order_relaxed);
		level < height; level++) {
		before[level] = table->head;
		atomic_store_explicit(&table->height, level + 1, memory_order_relaxed);
	}
	for (unsigned level = 0; level < height; level++) {
		atomic_init(&entry->next[level], link_of(before[level], level));
		atomic_store_explicit(&before[level]->next[level], entry, memory_order_release);
	}
	return entry;
}

void layer_set(
	struct layer *layer, unsigned table, struct bytes key, struct bytes value, uint64_t version)
{
	struct table *rows = &layer->tables[table];
	struct layer_entry *entry = link_of(find_to_set(rows, key), 0);
	size_t size = value.ptr != NULL ? value.len : 0;
	struct layer_value *newest, *fresh;

	if (entry == NULL || !bytes_equal(layer_key(entry), key))
		entry = entry_add(layer, rows, key);
	rows->last = entry;
	newest = atomic_load_explicit(&entry->newest, memory_order_relaxed);
	fresh = layer_alloc(layer, sizeof(*fresh) + size);
	fresh->version = version;
	fresh->size = value.ptr != NULL ? size : NO_ROW;
	if (size > 0)
		memcpy(fresh->data, value.ptr, size);
	if (newest != NULL && newest->version == version) {
		fresh->older = newest->older;
	} else {
		fresh->older = newest;
		mem_grow((void **)&layer->touched, &layer->touched_room, layer->touched_count + 1,
			sizeof(struct layer_entry *));
		layer->touched[layer->touched_count++] = entry;
	}
	atomic_store_explicit(&entry->newest, fresh, memory_order_release);
}

void layer_mark(struct layer *layer)
{
	layer->touched_count = 0;
}

void layer_undo(struct layer *layer)
{
	while (layer->touched_count > 0) {
		struct layer_entry *entry = layer->touched[--layer->touched_count];
		struct layer_value *newest =
			atomic_load_explicit(&entry->newest, memory_order_relaxed);

		atomic_store_explicit(&entry->newest, newest->older, memory_order_release);
	}
}

int layer_value(struct layer_entry *entry, uint64_t snapshot, struct bytes *value_r)
{
	struct layer_value *value = atomic_load_explicit(&entry->newest, memory_order_acquire);

	while (value != NULL && value->version > snapshot)
		value = value->older;
	if (value == NULL)
		return LAYER_SILENT;
	if (value->size == NO_ROW)
		return ERR_NOT_FOUND;
	*value_r = bytes_of(value->data, value->size);
	return 0;
}

struct layer_entry *layer_seek(struct layer *layer, unsigned table, struct bytes key)
{
	return link_of(find_before(&layer->tables[table], key), 0);
}

struct layer_entry *layer_seek_before(struct layer *layer, unsigned table, struct bytes key)
{
	struct layer_entry *found = find_before(&layer->tables[table], key);

	return found == layer->tables[table].head ? NULL : found;
}

struct layer_entry *layer_next(struct layer_entry *entry)
{
	return link_of(entry, 0);
}

int layer_get(struct layer *layer, unsigned table, struct bytes key, uint64_t snapshot,
	struct bytes *value_r)
{
	struct layer_entry *entry = layer_seek(layer, table, key);

	if (entry == NULL || !bytes_equal(layer_key(entry), key))
		return LAYER_SILENT;
	return layer_value(entry, snapshot, value_r);
}
