/*
 * random: bytes from the kernel for ids and secrets, and a small seeded generator (splitmix64) for
 * tests and the simulation, whose runs must repeat exactly.
 */
#ifndef CHAPAR_BASE_RANDOM_H
#define CHAPAR_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Fills `ptr` with `len` unpredictable bytes. Any thread. */
void random_bytes(void *ptr, size_t len);

struct random {
	uint64_t state; /* the seed, at first */
};

uint64_t random_next(struct random *random);
/* A number from 0 to `limit` - 1; `limit` is at least 1. */
uint64_t random_below(struct random *random, uint64_t limit);

#endif
