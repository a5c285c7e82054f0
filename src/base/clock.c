#include "base/clock.h"

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

uint64_t clock_monotonic_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void clock_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attributes);
	pthread_condattr_destroy(&attributes);
}

void clock_deadline(uint64_t timeout_ms, struct timespec *until_r)
{
	clock_gettime(CLOCK_MONOTONIC, until_r);
	until_r->tv_sec += (time_t)(timeout_ms / 1000);
	until_r->tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until_r->tv_nsec >= 1000000000) {
		until_r->tv_sec++;
		until_r->tv_nsec -= 1000000000;
	}
}
