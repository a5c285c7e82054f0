/*
 * store_bench: how many deliveries (or flag changes) a second the store makes durable.
 *
 *	store_bench DIRECTORY [CLIENTS [SECONDS [BODY-BYTES [ZSTD-LEVEL]]]]
 *
 * Each client thread commits again and again: a delivery is one body of random size around
 * BODY-BYTES (0: a flag change, without body) and eight rows of the sizes that the mail layer
 * writes, one of them an account header that is overwritten, and a mark in the dirty feed. Prints
 * one line with commits a second, latency percentiles and CPU time a commit.
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
#include <sys/resource.h>
#include <time.h>

#define CLIENT_COUNT_MAX 1024
#define ACCOUNT_COUNT 2000
#define ROW_COUNT 8
#define ROW_SIZE 100      /* bytes */
#define HEADER_SIZE 200   /* bytes */
#define LATENCY_MAX 65536 /* kept of each client */

struct client {
	pthread_t thread;
	struct store *store;
	const atomic_bool *is_over;
	struct random random;
	size_t body_size;
	uint64_t number;
	uint64_t commit_count;
	uint32_t *latencies; /* microseconds */
	int rc;
};

struct delivery {
	struct client *client;
	const struct store_body *body;
	uint64_t account;
	uint64_t number;
};

static int delivery_run(struct store_write *write, void *context)
{
	static const unsigned char row[HEADER_SIZE] = { 1 };
	const struct delivery *delivery = context;
	unsigned char key[24];
	int rc = delivery->body != NULL ? store_body_add(write, delivery->body) : 0;

	put_u64(key, delivery->account);
	for (unsigned i = 0; i < ROW_COUNT - 1 && rc == 0; i++) {
		put_u64(key + 8, delivery->client->number);
		put_u64(key + 16, delivery->number);
		rc = store_put(write, STORE_TABLE_FIRST_FREE + i, bytes_of(key, sizeof(key)),
			bytes_of(row, i < 2 ? ROW_SIZE : 16));
	}
	if (rc == 0)
		rc = store_put(write, STORE_TABLE_FIRST_FREE + ROW_COUNT, bytes_of(key, 8),
			bytes_of(row, sizeof(row)));
	return rc == 0 ? feed_mark(write, bytes_of(key, 8)) : rc;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void *client_main(void *context)
{
	struct client *client = context;
	unsigned char *raw = mem_zalloc(client->body_size * 2 + 8);

	for (size_t i = 0; i < client->body_size * 2; i++)
		raw[i] = (unsigned char)('a' + random_below(&client->random, 26));
	while (!atomic_load(client->is_over) && client->rc == 0) {
		struct delivery delivery = { client, NULL, 0, client->commit_count };
		struct store_body *body = NULL;
		uint64_t start = now_us(), position;

		delivery.account = random_below(&client->random, ACCOUNT_COUNT);
		if (client->body_size > 0) {
			put_u64(raw, random_next(&client->random));
			client->rc = store_body_prepare(client->store,
				bytes_of(raw,
					1 + random_below(&client->random, client->body_size * 2)),
				&body);
			delivery.body = body;
		}
		if (client->rc == 0)
			client->rc = store_commit(
				client->store, delivery_run, &delivery, NULL, &position);
		store_body_free(&body);
		client->latencies[client->commit_count++ % LATENCY_MAX] =
			(uint32_t)(now_us() - start);
	}
	free(raw);
	return NULL;
}

static int compare_latencies(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void report(struct client *clients, size_t count, double seconds)
{
	uint32_t *all = mem_zalloc_array(count * LATENCY_MAX, sizeof(*all));
	uint64_t commit_count = 0;
	size_t kept = 0;
	struct rusage usage;
	double cpu_us;

	for (size_t i = 0; i < count; i++) {
		uint64_t n = clients[i].commit_count;

		commit_count += n;
		for (uint64_t at = 0; at < n && at < LATENCY_MAX; at++)
			all[kept++] = clients[i].latencies[at];
		if (clients[i].rc < 0)
			fprintf(stderr, "client %zu: %s\n", i, error_name(clients[i].rc));
	}
	if (commit_count == 0)
		exit(1);
	qsort(all, kept, sizeof(*all), compare_latencies);
	getrusage(RUSAGE_SELF, &usage);
	cpu_us = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
		 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	printf("clients %zu: %.0f commits/s, p50 %u us, p99 %u us, CPU %.0f us/commit\n", count,
		(double)commit_count / seconds, all[kept / 2], all[kept * 99 / 100],
		cpu_us / (double)commit_count);
	free(all);
}

static void run(struct store *store, size_t count, double seconds, size_t body_size)
{
	struct client *clients = mem_zalloc_array(count, sizeof(*clients));
	atomic_bool is_over = false;
	uint64_t start = now_us();

	for (size_t i = 0; i < count; i++) {
		clients[i].store = store;
		clients[i].is_over = &is_over;
		clients[i].number = i;
		clients[i].random.state = i + 1;
		clients[i].body_size = body_size;
		clients[i].latencies = mem_zalloc_array(LATENCY_MAX, sizeof(uint32_t));
		if (pthread_create(&clients[i].thread, NULL, client_main, &clients[i]) != 0)
			exit(1);
	}
	nanosleep(&(struct timespec){ (time_t)seconds, 0 }, NULL);
	atomic_store(&is_over, true);
	for (size_t i = 0; i < count; i++)
		pthread_join(clients[i].thread, NULL);
	report(clients, count, (double)(now_us() - start) / 1e6);
	for (size_t i = 0; i < count; i++)
		free(clients[i].latencies);
	free(clients);
}

int main(int argc, char **argv)
{
	struct store_options options = { .create = true };
	size_t count = argc > 2 ? strtoul(argv[2], NULL, 10) : 16;
	double seconds = argc > 3 ? strtod(argv[3], NULL) : 3;
	size_t body_size = argc > 4 ? strtoul(argv[4], NULL, 10) : 12000;
	struct store *store = NULL;
	struct error error;

	if (argc < 2 || count == 0 || count > CLIENT_COUNT_MAX) {
		fprintf(stderr, "usage: store_bench DIRECTORY [CLIENTS [SECONDS [BODY-BYTES "
				"[ZSTD-LEVEL]]]]\n");
		return 2;
	}
	options.path = argv[1];
	options.compression = argc > 5 ? atoi(argv[5]) : 0;
	if (store_open(&options, &error, &store) < 0) {
		fprintf(stderr, "%s\n", error.text);
		return 1;
	}
	run(store, count, seconds, body_size);
	store_close(&store);
	return 0;
}
