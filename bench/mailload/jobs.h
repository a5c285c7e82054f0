/*
 * jobs: a number of items that several connections work off together, and the report about it.
 */
#ifndef CHAPAR_BENCH_JOBS_H
#define CHAPAR_BENCH_JOBS_H

#include "util.h"

#include "base/buffer.h"

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
	void *context;         /* as given to jobs_run() */
	struct buffer message; /* what job_message() returned last, if it had to be made */
};

/* The next item's index, or -1 when all are taken. */
long job_take(struct job *job);

/*
 * The message of that item, after --seed and --size; the caller may append to it, once. Making one
 * costs as much as some servers need to take it, so all are made before the clock starts, unless
 * there are more than JOBS_PREPARED_MAX.
 */
#define JOBS_PREPARED_MAX 12000
struct buffer *job_message(struct job *job, long index);

/*
 * Runs `run` in --conns threads over --count items and prints the report of `name`. Returns 1 if
 * any failed. *ended_r (may be NULL) is when the last was done.
 */
int jobs_run(const struct options *options, const char *name, void (*run)(struct job *job),
	void *context, double *ended_r);

#endif
