/*
 * net_penalty: how long clients from an address have to wait, because logins from there failed.
 *
 * A table of fixed size, so that no flood of addresses can fill memory; two addresses that meet in
 * one place share it, the later one wins. An address is known by a hash (of the network, the first
 * 64 bits, for IPv6). Any thread.
 */
#ifndef CHAPAR_NET_PENALTY_PRIVATE_H
#define CHAPAR_NET_PENALTY_PRIVATE_H

#include <pthread.h>
#include <stdint.h>
#include <sys/socket.h>

#define NET_PENALTY_FIRST_MS 500
#define NET_PENALTY_MAX_MS 8000
#define NET_PENALTY_HALF_LIFE_MS 60000 /* after this time without a failure it is half as long */
#define NET_PENALTY_COUNT 4096         /* places in the table */

struct net_penalty {
	uint64_t key; /* 0: empty */
	uint64_t at_ms;
	unsigned delay_ms;
};

struct net_penalties {
	uint64_t seed;
	pthread_mutex_t mutex;
	struct net_penalty *places;
};

void net_penalties_init(struct net_penalties *penalties);
void net_penalties_deinit(struct net_penalties *penalties);

/* 0 for addresses that are never punished: this machine's. */
uint64_t net_penalty_key(const struct net_penalties *penalties, const struct sockaddr *address);

/* `now_ms` is monotonic. Doubles the delay, or begins one, and returns it; 0 if the key is 0. */
unsigned net_penalty_add(struct net_penalties *penalties, uint64_t key, uint64_t now_ms);
unsigned net_penalty_get(struct net_penalties *penalties, uint64_t key, uint64_t now_ms);
void net_penalty_forgive(struct net_penalties *penalties, uint64_t key);

#endif
