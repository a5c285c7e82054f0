/*
 * jobs: a number of items that several connections work off together, and the report about it.
 */
#ifndef CHAPAR_BENCH_JOBS_H
#define CHAPAR_BENCH_JOBS_H

#include "util.h"

#include <stdint.h>

struct work; /* the items, shared by the threads */

struct job { /* one thread's share */
	const struct options *options;
	struct work *work;
	int number;        /* of the thread, from 0 */
	double *latencies; /* room for all items */
	long count;
	long failed;
	uint64_t bytes;
};

/* The next item's index, or -1 when all are taken. */
long job_take(struct job *job);

/* Runs `run` in --conns threads over --count items and prints the report of `name`. */
int jobs_run(const struct options *options, const char *name, void (*run)(struct job *job));

#endif
