/*
 * arrivals: whether B has what was delivered on A. A connection for each user is open before the
 * delivery begins, so that looking takes milliseconds.
 */
#ifndef CHAPAR_BENCH_ARRIVALS_H
#define CHAPAR_BENCH_ARRIVALS_H

#include "util.h"

#include <stdbool.h>

struct arrivals;

/* For --users users from --first on, at --imap-b, where nothing may be on its way to them. */
struct arrivals *arrivals_new(const struct options *options);
/* NULL is allowed. */
void arrivals_free(struct arrivals **arrivals);

/* User number `user` (from 0) is to get one more message. Any thread. */
void arrivals_expect(struct arrivals *arrivals, long user);

/*
 * Waits up to --drain-max seconds (default 120) for all, and prints how long after `ended` the last
 * one was there. Whether all came.
 */
bool arrivals_wait(struct arrivals *arrivals, double ended);

#endif
