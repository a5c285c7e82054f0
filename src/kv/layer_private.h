/*
 * layer: tables in memory, whose rows keep their former values for the snapshots that see them.
 *
 * One writer and any number of readers at the same time, without locks. Each value has the version
 * of the transaction that set it; a reader sees the newest one that is not above its snapshot.
 * Entries are never removed and memory is never moved: all is given back with the last reference.
 *
 * Invariants: (1) an entry is linked, and a value made the newest of its entry, only when it is
 * complete; what is linked changes in nothing but its links; (2) versions of one entry descend from
 * the newest on; (3) nobody's snapshot reaches the version that is being written.
 */
#ifndef CHAPAR_KV_LAYER_PRIVATE_H
#define CHAPAR_KV_LAYER_PRIVATE_H

#include "base/bytes.h"

#include <stdint.h>

#define LAYER_SILENT 1 /* the layer has nothing about the key: what is below it holds */

struct layer;
struct layer_entry; /* of one key */

/* With one reference. */
struct layer *layer_new(unsigned table_count);
struct layer *layer_acquire(struct layer *layer);
/* Frees it with the last one. */
void layer_release(struct layer *layer);
/* Bytes of memory in use. Writer only. */
size_t layer_size(const struct layer *layer);

/* Sets the value under `version`, which is not below any that was used before. A NULL value.ptr
 * says that there is no such row. Writer only. */
void layer_set(struct layer *layer, unsigned table, struct bytes key, struct bytes value,
	uint64_t version);
/* From now on, layer_undo() takes back what is set from here on. Writer only. */
void layer_mark(struct layer *layer);
void layer_undo(struct layer *layer);

/* 0; ERR_NOT_FOUND: there is no such row; LAYER_SILENT. */
int layer_get(struct layer *layer, unsigned table, struct bytes key, uint64_t snapshot,
	struct bytes *value_r);

/* The first entry at or after the key, which may be empty, and the last before it; NULL: none. */
struct layer_entry *layer_seek(struct layer *layer, unsigned table, struct bytes key);
struct layer_entry *layer_seek_before(struct layer *layer, unsigned table, struct bytes key);
struct layer_entry *layer_next(struct layer_entry *entry);
struct bytes layer_key(const struct layer_entry *entry);
/* As layer_get(). */
int layer_value(struct layer_entry *entry, uint64_t snapshot, struct bytes *value_r);

#endif
