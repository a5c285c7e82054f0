#include "net/net_penalty_private.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "net/net_address_private.h"

#include <netinet/in.h>
#include <stdlib.h>

void net_penalties_init(struct net_penalties *penalties)
{
	random_bytes(&penalties->seed, sizeof(penalties->seed));
	penalties->places = mem_zalloc_array(NET_PENALTY_COUNT, sizeof(*penalties->places));
	pthread_mutex_init(&penalties->mutex, NULL);
}

void net_penalties_deinit(struct net_penalties *penalties)
{
	pthread_mutex_destroy(&penalties->mutex);
	free(penalties->places);
	penalties->places = NULL;
}

uint64_t net_penalty_key(const struct net_penalties *penalties, const struct sockaddr *address)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;
	const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)address;
	struct bytes network;

	if (net_address_is_loopback(address))
		return 0;
	if (address->sa_family == AF_INET)
		network = bytes_of(&four->sin_addr, 4);
	else if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		network = bytes_of(&six->sin6_addr.s6_addr[12], 4);
	else
		network = bytes_of(&six->sin6_addr, 8);
	return hash64(network, penalties->seed) | 1;
}

static struct net_penalty *place_of(struct net_penalties *penalties, uint64_t key)
{
	return &penalties->places[(key >> 32) % NET_PENALTY_COUNT];
}

static unsigned delay_now(const struct net_penalty *penalty, uint64_t key, uint64_t now_ms)
{
	uint64_t halvings = (now_ms - penalty->at_ms) / NET_PENALTY_HALF_LIFE_MS;
	unsigned delay_ms;

	if (penalty->key != key || halvings > 16)
		return 0;
	delay_ms = penalty->delay_ms >> halvings;
	return delay_ms >= NET_PENALTY_FIRST_MS ? delay_ms : 0;
}

unsigned net_penalty_get(struct net_penalties *penalties, uint64_t key, uint64_t now_ms)
{
	unsigned delay_ms;

	if (key == 0)
		return 0;
	pthread_mutex_lock(&penalties->mutex);
	delay_ms = delay_now(place_of(penalties, key), key, now_ms);
	pthread_mutex_unlock(&penalties->mutex);
	return delay_ms;
}

unsigned net_penalty_add(struct net_penalties *penalties, uint64_t key, uint64_t now_ms)
{
	struct net_penalty *place;
	unsigned delay_ms;

	if (key == 0)
		return 0;
	pthread_mutex_lock(&penalties->mutex);
	place = place_of(penalties, key);
	delay_ms = delay_now(place, key, now_ms) * 2;
	if (delay_ms == 0)
		delay_ms = NET_PENALTY_FIRST_MS;
	if (delay_ms > NET_PENALTY_MAX_MS)
		delay_ms = NET_PENALTY_MAX_MS;
	*place = (struct net_penalty){ key, now_ms, delay_ms };
	pthread_mutex_unlock(&penalties->mutex);
	return delay_ms;
}

void net_penalty_forgive(struct net_penalties *penalties, uint64_t key)
{
	if (key == 0)
		return;
	pthread_mutex_lock(&penalties->mutex);
	if (place_of(penalties, key)->key == key)
		*place_of(penalties, key) = (struct net_penalty){ 0 };
	pthread_mutex_unlock(&penalties->mutex);
}
