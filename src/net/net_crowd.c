#include "net/net_crowd_private.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

void net_crowd_init(struct net_crowd *crowd)
{
	pthread_mutex_init(&crowd->mutex, NULL);
	for (int i = 0; i < 2; i++)
		crowd->rows[i] = mem_zalloc_array(NET_CROWD_PLACE_COUNT, sizeof(uint32_t));
}

void net_crowd_deinit(struct net_crowd *crowd)
{
	pthread_mutex_destroy(&crowd->mutex);
	for (int i = 0; i < 2; i++) {
		free(crowd->rows[i]);
		crowd->rows[i] = NULL;
	}
}

/* The two places are of different bits of the hash. */
static uint32_t *place_of(struct net_crowd *crowd, int row, uint64_t key)
{
	return &crowd->rows[row][(key >> (row == 0 ? 8 : 40)) % NET_CROWD_PLACE_COUNT];
}

bool net_crowd_enter(struct net_crowd *crowd, uint64_t key, unsigned count_max)
{
	uint32_t *first, *second;
	bool has_room;

	if (key == 0)
		return true;
	pthread_mutex_lock(&crowd->mutex);
	first = place_of(crowd, 0, key);
	second = place_of(crowd, 1, key);
	has_room = count_max == 0 || *first < count_max || *second < count_max;
	if (has_room) {
		++*first;
		++*second;
	}
	pthread_mutex_unlock(&crowd->mutex);
	return has_room;
}

void net_crowd_leave(struct net_crowd *crowd, uint64_t key)
{
	if (key == 0)
		return;
	pthread_mutex_lock(&crowd->mutex);
	for (int row = 0; row < 2; row++) {
		assert(*place_of(crowd, row, key) > 0);
		--*place_of(crowd, row, key);
	}
	pthread_mutex_unlock(&crowd->mutex);
}
