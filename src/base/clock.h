/*
 * clock: the time of day, as a value that can be replaced (simulation, tests). Milliseconds since
 * 1970 UTC. clock_system() is shared and needs no freeing; any thread may ask it.
 */
#ifndef CHAPAR_BASE_CLOCK_H
#define CHAPAR_BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

struct clock {
	uint64_t (*now_ms)(const struct clock *clock);
};

const struct clock *clock_system(void);

static inline uint64_t clock_now_ms(const struct clock *clock)
{
	return clock->now_ms(clock);
}

/* Milliseconds of a clock that never steps; for time limits and durations only. */
uint64_t clock_monotonic_ms(void);
uint64_t clock_monotonic_us(void); /* the same in microseconds */

/* Waiting with a limit: a condition on that clock, and the time in so many milliseconds on it. */
void clock_cond_init(pthread_cond_t *cond);
void clock_deadline(uint64_t timeout_ms, struct timespec *until_r);

#endif
