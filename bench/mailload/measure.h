/*
 * measure: memory, CPU time and written bytes of whole process trees, from /proc.
 */
#ifndef CHAPAR_BENCH_MEASURE_H
#define CHAPAR_BENCH_MEASURE_H

#include "util.h"

#include <stdbool.h>

/*
 * Of the processes alive; the CPU time and the written bytes also cover every child that was waited
 * for.
 */
struct process_cost {
	long processes;
	long pss, rss, private_dirty; /* KiB */
	double cpu_seconds;
	double written; /* bytes */
};

/* `pids` are the roots of the trees, with commas between. Without memory the reading is cheap. */
struct process_cost measure_processes(const char *pids, bool with_memory);

/* What the servers at --pid (A) and --pid-b (B) spent between two moments. */
struct cost_watch {
	struct process_cost a, b;
};

void cost_begin(struct cost_watch *watch_r, const struct options *options);
void cost_report(const struct cost_watch *watch, const struct options *options, const char *name,
	size_t operations);

#endif
