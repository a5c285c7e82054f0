/*
 * How fast the store commits: THREADS writers, each commit one body of BYTES and eight puts of the
 * size that a delivery makes; prints commits per second, and the latency of one. usage: store-bench
 * PATH [THREADS] [SECONDS] [BYTES]
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/pack.h"
#include "base/random.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PUT_COUNT 8
#define PUT_SIZE 110

struct bench {
	struct store *store;
	uint64_t end_ms;
	size_t body_size;
	_Atomic uint64_t commit_count;
	_Atomic uint64_t microseconds;
};

struct worker {
	pthread_t thread;
	struct bench *bench;
	uint32_t number;
};

struct commit {
	const struct store_body *body;
	uint32_t number;
	uint64_t count;
};

static int run(struct store_write *write, void *context)
{
	static const unsigned char value[PUT_SIZE];
	struct commit *commit = context;
	unsigned char key[16];
	int rc = store_body_add(write, commit->body);

	for (unsigned i = 0; i < PUT_COUNT && rc == 0; i++) {
		put_u32(key, commit->number);
		put_u32(key + 4, i);
		put_u64(key + 8, i < PUT_COUNT / 2 ? commit->count : 0);
		rc = store_put(write, STORE_TABLE_FIRST_FREE + i, bytes_of(key, sizeof(key)),
			bytes_of(value, sizeof(value)));
	}
	return rc < 0 ? rc : feed_mark(write, bytes_of(key, 4));
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void *work(void *context)
{
	struct worker *worker = context;
	struct bench *bench = worker->bench;
	unsigned char *raw = mem_alloc(bench->body_size);
	struct random random = { worker->number };

	for (size_t i = 0; i < bench->body_size; i++)
		raw[i] = (unsigned char)(32 + random_below(&random, 64));
	for (uint64_t count = 1; clock_monotonic_ms() < bench->end_ms; count++) {
		uint64_t start = now_us(), position;
		struct commit commit = { .number = worker->number, .count = count };
		struct store_body *body = NULL;

		put_u64(raw, count);
		if (store_body_prepare(bench->store, bytes_of(raw, bench->body_size), &body) < 0)
			abort();
		commit.body = body;
		if (store_commit(bench->store, run, &commit, NULL, &position) < 0)
			abort();
		store_body_free(&body);
		atomic_fetch_add(&bench->commit_count, 1);
		atomic_fetch_add(&bench->microseconds, now_us() - start);
	}
	free(raw);
	return NULL;
}

int main(int argc, char **argv)
{
	struct store_options options = { .create = true, .compression = 0 };
	struct bench bench = { .body_size = 12288 };
	unsigned thread_count = argc > 2 ? (unsigned)atoi(argv[2]) : 16;
	unsigned seconds = argc > 3 ? (unsigned)atoi(argv[3]) : 3;
	struct worker *workers = mem_zalloc_array(thread_count, sizeof(*workers));
	struct error error;

	if (argc < 2) {
		fprintf(stderr, "usage: %s PATH [THREADS] [SECONDS] [BYTES]\n", argv[0]);
		return 64;
	}
	options.path = argv[1];
	if (argc > 4 && atoi(argv[4]) >= 8)
		bench.body_size = (size_t)atoi(argv[4]);
	if (store_open(&options, &error, &bench.store) < 0) {
		fprintf(stderr, "%s\n", error.text);
		return 1;
	}
	bench.end_ms = clock_monotonic_ms() + seconds * 1000;
	for (unsigned i = 0; i < thread_count; i++) {
		workers[i].bench = &bench;
		workers[i].number = i + 1;
		pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	}
	for (unsigned i = 0; i < thread_count; i++)
		pthread_join(workers[i].thread, NULL);
	printf("%u threads: %.0f commits/s, mean latency %.0f us\n", thread_count,
		(double)bench.commit_count / seconds,
		bench.commit_count > 0 ? (double)bench.microseconds / (double)bench.commit_count
				       : 0);
	store_close(&bench.store);
	free(workers);
	return 0;
}
