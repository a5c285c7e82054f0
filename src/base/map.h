/*
 * map: an unordered hash map from a run of bytes to a pointer. Keys are borrowed: the bytes must
 * stay where they are for as long as the map is used. A zeroed struct is an empty map. Nothing can
 * be removed. Not safe for use by several threads at once.
 */
#ifndef CHAPAR_BASE_MAP_H
#define CHAPAR_BASE_MAP_H

#include "base/bytes.h"

#include <stdint.h>

struct map_slot;

struct map {
	struct map_slot *slots;
	size_t count; /* keys in it */
	size_t room;  /* slots: 0 or a power of two */
};

/* Frees the memory (not what the values point to); the map is empty and usable again. */
void map_deinit(struct map *map);
/* Forgets all keys and keeps the memory. */
void map_clear(struct map *map);

/* The value stored under the key, or NULL. */
void *map_get(const struct map *map, struct bytes key);
/* Stores a value (not NULL) under the key, in place of the one that was there. */
void map_put(struct map *map, struct bytes key, void *value);

#endif
