#include "base/clock.h"

#include <time.h>

static uint64_t read_ms(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t system_now_ms(const struct clock *clock)
{
	(void)clock;
	return read_ms(CLOCK_REALTIME);
}

const struct clock *clock_system(void)
{
	static const struct clock system = { system_now_ms };

	return &system;
}

uint64_t clock_monotonic_ms(void)
{
	return read_ms(CLOCK_MONOTONIC);
}
