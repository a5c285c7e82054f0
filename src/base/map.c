/*
 * Open addressing with linear probing; at most half of the slots are used, so a search ends soon at
 * a free one.
 */
#include "base/map.h"

#include "base/hash.h"
#include "base/mem.h"

#include <stdlib.h>

#define MAP_ROOM_MIN 16

struct map_slot {
	struct bytes key;
	void *value; /* NULL: a free slot */
	uint64_t hash;
};

void map_deinit(struct map *map)
{
	free(map->slots);
	*map = (struct map){ 0 };
}

void map_clear(struct map *map)
{
	if (map->room > 0)
		memset(map->slots, 0, map->room * sizeof(*map->slots));
	map->count = 0;
}

static struct map_slot *find_slot(const struct map *map, struct bytes key, uint64_t hash)
{
	size_t at = (size_t)hash & (map->room - 1);

	while (map->slots[at].value != NULL &&
		(map->slots[at].hash != hash || !bytes_equal(map->slots[at].key, key)))
		at = (at + 1) & (map->room - 1);
	return &map->slots[at];
}

void *map_get(const struct map *map, struct bytes key)
{
	if (map->count == 0)
		return NULL;
	return find_slot(map, key, hash64(key, 0))->value;
}

static void grow(struct map *map)
{
	struct map larger = { NULL, map->count, map->room == 0 ? MAP_ROOM_MIN : 2 * map->room };

	larger.slots = mem_zalloc_array(larger.room, sizeof(*larger.slots));
	for (size_t i = 0; i < map->room; i++)
		if (map->slots[i].value != NULL)
			*find_slot(&larger, map->slots[i].key, map->slots[i].hash) = map->slots[i];
	free(map->slots);
	*map = larger;
}

void map_put(struct map *map, struct bytes key, void *value)
{
	uint64_t hash = hash64(key, 0);
	struct map_slot *slot;

	assert(value != NULL);
	if (2 * (map->count + 1) > map->room)
		grow(map);
	slot = find_slot(map, key, hash);
	if (slot->value == NULL)
		map->count++;
	*slot = (struct map_slot){ key, value, hash };
}
