#include "jobs.h"

#include "base/mem.h"
#include "measure.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct work {
	atomic_long next;
	long total;
	void (*run)(struct job *job);
};

long job_take(struct job *job)
{
	long index = atomic_fetch_add(&job->work->next, 1);

	return index < job->work->total ? index : -1;
}

static void *run_job(void *context)
{
	struct job *job = context;

	job->work->run(job);
	return NULL;
}

/* Joins all shares into all_r and frees them. */
static void gather(struct job *jobs, size_t count, struct job *all_r)
{
	for (size_t i = 0; i < count; i++) {
		memcpy(all_r->latencies + all_r->count, jobs[i].latencies,
			(size_t)jobs[i].count * sizeof(double));
		all_r->count += jobs[i].count;
		all_r->bytes += jobs[i].bytes;
		all_r->failed += jobs[i].failed;
		free(jobs[i].latencies);
	}
	free(jobs);
}

int jobs_run(const struct options *options, const char *name, void (*run)(struct job *job))
{
	struct work work = { .total = option_number(options, "count", 1000), .run = run };
	size_t connections = (size_t)option_number(options, "conns", 1);
	size_t total = (size_t)work.total;
	struct job *jobs = mem_zalloc_array(connections, sizeof(*jobs));
	pthread_t *threads = mem_zalloc_array(connections, sizeof(*threads));
	struct job all = { .latencies = mem_zalloc_array(total, sizeof(double)) };
	struct cost_watch watch;
	double began, seconds;

	cost_begin(&watch, options);
	began = seconds_now();
	for (size_t i = 0; i < connections; i++) {
		jobs[i] = (struct job){ .options = options, .work = &work, .number = (int)i };
		jobs[i].latencies = mem_zalloc_array(total, sizeof(double));
		if (pthread_create(&threads[i], NULL, run_job, &jobs[i]) != 0)
			die("no thread for connection %zu", i);
	}
	for (size_t i = 0; i < connections; i++)
		pthread_join(threads[i], NULL);
	seconds = seconds_now() - began;
	free(threads);
	gather(jobs, connections, &all);
	printf("%s conns=%zu msgs=%ld failed=%ld secs=%.3f rate=%.1f msgs/s MBps=%.2f "
	       "avg_bytes=%.0f\n",
		name, connections, all.count, all.failed, seconds, (double)all.count / seconds,
		(double)all.bytes / seconds / 1e6,
		all.count > 0 ? (double)all.bytes / (double)all.count : 0);
	cost_report(&watch, options, name, (size_t)all.count);
	report_latency(name, all.latencies, (size_t)all.count);
	free(all.latencies);
	return all.failed != 0;
}
