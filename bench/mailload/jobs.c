#include "jobs.h"

#include "base/mem.h"
#include "generate.h"
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
	struct buffer *messages; /* NULL: they are made when they are needed */
};

static void make_message(const struct options *options, long index, struct buffer *message)
{
	generate_message(message, (uint64_t)option_number(options, "seed", 1), (uint64_t)index,
		option(options, "size", "mix"), NULL);
}

struct buffer *job_message(struct job *job, long index)
{
	if (job->work->messages != NULL)
		return &job->work->messages[index];
	make_message(job->options, index, &job->message);
	return &job->message;
}

static void prepare_messages(struct work *work, const struct options *options)
{
	if (work->total > JOBS_PREPARED_MAX)
		return;
	work->messages = mem_zalloc_array((size_t)work->total, sizeof(*work->messages));
	for (long i = 0; i < work->total; i++)
		make_message(options, i, &work->messages[i]);
}

static void free_messages(struct work *work)
{
	for (long i = 0; work->messages != NULL && i < work->total; i++)
		buffer_deinit(&work->messages[i]);
	free(work->messages);
}

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
		buffer_deinit(&jobs[i].message);
	}
	free(jobs);
}

int jobs_run(const struct options *options, const char *name, void (*run)(struct job *job),
	void *context, double *ended_r)
{
	struct work work = { .total = option_number(options, "count", 1000), .run = run };
	size_t connections = (size_t)option_number(options, "conns", 1);
	size_t total = (size_t)work.total;
	struct job *jobs = mem_zalloc_array(connections, sizeof(*jobs));
	pthread_t *threads = mem_zalloc_array(connections, sizeof(*threads));
	struct job all = { .latencies = mem_zalloc_array(total, sizeof(double)) };
	struct cost_watch watch;
	double began, seconds;

	prepare_messages(&work, options);
	cost_begin(&watch, options);
	began = seconds_now();
	for (size_t i = 0; i < connections; i++) {
		jobs[i] = (struct job){
			.options = options, .work = &work, .number = (int)i, .context = context
		};
		jobs[i].latencies = mem_zalloc_array(total, sizeof(double));
		if (pthread_create(&threads[i], NULL, run_job, &jobs[i]) != 0)
			die("no thread for connection %zu", i);
	}
	for (size_t i = 0; i < connections; i++)
		pthread_join(threads[i], NULL);
	seconds = seconds_now() - began;
	if (ended_r != NULL)
		*ended_r = began + seconds;
	free_messages(&work);
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
