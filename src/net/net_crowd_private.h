/*
 * net_crowd: how many clients each address has now.
 *
 * Two rows of counters, each address in one place of each by its hash (net_penalty_key()); its
 * number is the lesser of the two. So the memory is fixed, and only who shares both places with
 * crowds is taken for more than he is. Any thread.
 */
#ifndef CHAPAR_NET_CROWD_PRIVATE_H
#define CHAPAR_NET_CROWD_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define NET_CROWD_PLACE_COUNT 16384u /* a power of two */

struct net_crowd {
	pthread_mutex_t mutex;
	uint32_t *rows[2];
};

void net_crowd_init(struct net_crowd *crowd);
void net_crowd_deinit(struct net_crowd *crowd);
/* Counts one more if there are fewer than `count_max`; always with key 0 or no maximum (0). */
bool net_crowd_enter(struct net_crowd *crowd, uint64_t key, unsigned count_max);
/* What entered. */
void net_crowd_leave(struct net_crowd *crowd, uint64_t key);

#endif
