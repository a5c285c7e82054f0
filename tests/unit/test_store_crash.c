/* The store: kill -9, and compaction. */
#include "store_fixture.h"

#include "base/clock.h"
#include "base/pack.h"
#include "base/random.h"
#include "store/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void write_in_child(struct fixture *fixture, struct shared *shared)
{
	struct writer writers[4];
	pthread_t threads[4];

	open_store(fixture);
	for (int i = 0; i < 4; i++) {
		writers[i] = (struct writer){ fixture, shared, i };
		pthread_create(&threads[i], NULL, write_for_ever, &writers[i]);
	}
	pause();
}

static void what_was_acknowledged_survives_kill_9(void **state)
{
	struct fixture *fixture = *state;
	struct shared *shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct random random = { (uint64_t)getpid() };
	struct store_status before, after;
	uint32_t total = 0;
	struct error error;
	uint64_t count;

	fixture->options.segment_size = 256 * 1024;
	for (int round = 0; round < 30; round++) {
		int findings = 0, status;
		pid_t child;

		/* Every other time the index is written the whole time. */
		fixture->options.index_lag_max = round % 2 == 0 ? 0 : 16 * 1024;
		memset(shared, 0, sizeof(*shared));
		child = fork();
		if (child == 0)
			write_in_child(fixture, shared);
		usleep((useconds_t)(20000 + random_below(&random, 80000)));
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		open_store(fixture);
		for (int i = 0; i < 4; i++) {
			total += shared->acknowledged[i];
			for (uint32_t k = 1; k <= shared->acknowledged[i]; k++) {
				char key[32];

				snprintf(key, sizeof(key), "w%d-%u", i, k);
				check_value(fixture, 0, key, "x");
			}
		}
		assert_int_equal(store_verify(fixture->store, count_report, &findings, &error), 0);
		assert_int_equal(findings, 0);
		store_close(&fixture->store);
	}
	assert_true(total > 0);
	/* What is live of each segment was counted on, over all crashes, without a fault. */
	open_store(fixture);
	store_get_status(fixture->store, &before);
	store_close(&fixture->store);
	assert_int_equal(store_rebuild(&fixture->options, &error, &count), 0);
	open_store(fixture);
	store_get_status(fixture->store, &after);
	assert_int_equal(after.body_bytes, before.body_bytes);
	munmap(shared, sizeof(*shared));
}

/* ---- compaction ---- */

static void compaction_gives_space_back_and_keeps_what_is_live(void **state)
{
	struct fixture *fixture = *state;
	struct store_status before, after;
	struct random random = { 7 };
	struct guid guids[200];
	struct buffer out = { 0 };
	struct error error;
	uint64_t freed, position, count;
	int findings = 0;

	fixture->options.segment_size = 256 * 1024;
	open_store(fixture);
	for (int i = 0; i < 200; i++) {
		unsigned char noise[10000];
		char key[8];

		for (size_t k = 0; k < sizeof(noise); k++)
			noise[k] = (unsigned char)random_next(&random);
		snprintf(key, sizeof(key), "k%d", i);
		add_body(fixture, key, bytes_of(noise, sizeof(noise)), &guids[i]);
	}
	for (int i = 0; i < 200; i++) {
		char key[8];

		if (i % 10 == 0)
			continue;
		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(
			store_commit(fixture->store, run_release, &guids[i], NULL, &position), 0);
		assert_int_equal(store_commit(fixture->store, run_delete, key, NULL, &position), 0);
	}
	store_get_status(fixture->store, &before);
	assert_int_equal(store_compact(fixture->store, &error, &freed), 0);
	store_get_status(fixture->store, &after);
	assert_true(after.log_bytes < before.log_bytes / 4);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 200; i++) {
			char key[8];

			snprintf(key, sizeof(key), "k%d", i);
			check_value(fixture, 0, key, i % 10 == 0 ? "x" : NULL);
			assert_int_equal(read_body(fixture, &guids[i], &out, 0),
				i % 10 == 0 ? 0 : ERR_NOT_FOUND);
		}
		assert_int_equal(store_verify(fixture->store, count_report, &findings, &error), 0);
		assert_int_equal(findings, 0);
		/* The remaining segments alone make the same index. */
		store_close(&fixture->store);
		assert_int_equal(store_rebuild(&fixture->options, &error, &count), 0);
		open_store(fixture);
	}
	buffer_deinit(&out);
}

/* The index on disk is behind the log: what it lacks must not look dead. */
static void compaction_keeps_what_was_committed_just_before(void **state)
{
	struct fixture *fixture = *state;
	struct buffer out = { 0 };
	struct error error;
	struct guid guid;
	uint64_t freed, count;
	char key[8];

	open_store(fixture);
	for (int i = 0; i < 30; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		add_body(fixture, key, bytes_of_string(key), &guid);
		assert_int_equal(store_compact(fixture->store, &error, &freed), 0);
		assert_int_equal(read_body(fixture, &guid, &out, 0), 0);
	}
	store_close(&fixture->store);
	assert_int_equal(store_rebuild(&fixture->options, &error, &count), 0);
	open_store(fixture);
	for (int i = 0; i < 30; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		check_value(fixture, 0, key, "x");
	}
	buffer_deinit(&out);
}

static int run_put_plain(struct store_write *write, void *context)
{
	return store_put(write, TABLE, bytes_of_string(context), B("x"));
}

/* Rows whose keys come once, such as those by modseq, must not leave a delete each for ever. */
static void deletes_are_carried_on_only_for_puts_that_remain(void **state)
{
	struct fixture *fixture = *state;
	struct store_status before, after;
	struct random random = { 9 };
	struct error error;
	struct guid guid;
	uint64_t position, freed, count;
	unsigned char noise[100000];
	char key[32];

	fixture->options.compression = 0;
	open_store(fixture);
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (unsigned char)random_next(&random);
	add_body(fixture, "kept", bytes_of(noise, sizeof(noise)), &guid);
	put_value(fixture, "deleted later", "x", &position);
	assert_int_equal(store_compact(fixture->store, &error, &freed), 0);
	store_get_status(fixture->store, &before);
	assert_int_equal(
		store_commit(fixture->store, run_delete, "deleted later", NULL, &position), 0);
	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof(key), "comes once %d", i);
		assert_int_equal(
			store_commit(fixture->store, run_put_plain, key, NULL, &position), 0);
		if (i % 50 == 0)
			assert_int_equal(store_compact(fixture->store, &error, &freed), 0);
		assert_int_equal(store_commit(fixture->store, run_delete, key, NULL, &position), 0);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(store_compact(fixture->store, &error, &freed), 0);
	store_get_status(fixture->store, &after);
	assert_true(after.log_bytes < before.log_bytes + 2000);
	store_close(&fixture->store);
	assert_int_equal(store_rebuild(&fixture->options, &error, &count), 0);
	open_store(fixture);
	check_value(fixture, 0, "kept", "x");
	check_value(fixture, 0, "deleted later", NULL);
	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof(key), "comes once %d", i);
		check_value(fixture, 0, key, NULL);
	}
}

static void compact_for_ever(struct fixture *fixture, struct shared *shared)
{
	struct writer writer = { fixture, shared, 0 };
	pthread_t thread;
	struct error error;
	uint64_t freed;

	open_store(fixture);
	pthread_create(&thread, NULL, write_for_ever, &writer);
	for (;;)
		if (store_compact(fixture->store, &error, &freed) < 0)
			_exit(1);
}

static void kill_9_during_compaction_loses_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct shared *shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct random random = { (uint64_t)getpid() };

	fixture->options.segment_size = 32 * 1024;
	fixture->options.index_lag_max = 16 * 1024;
	for (int round = 0; round < 30; round++) {
		int findings = 0, status;
		struct error error;
		uint64_t count;
		pid_t child;

		shared->acknowledged[0] = 0;
		child = fork();
		if (child == 0)
			compact_for_ever(fixture, shared);
		usleep((useconds_t)(5000 + random_below(&random, 40000)));
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		assert_true(WIFSIGNALED(status));
		if (round % 5 == 4)
			assert_int_equal(store_rebuild(&fixture->options, &error, &count), 0);
		open_store(fixture);
		for (uint32_t k = 1; k <= shared->acknowledged[0]; k++) {
			char key[32];

			snprintf(key, sizeof(key), "w0-%u", k);
			check_value(fixture, 0, key, "x");
		}
		assert_int_equal(store_verify(fixture->store, count_report, &findings, &error), 0);
		assert_int_equal(findings, 0);
		store_close(&fixture->store);
	}
	munmap(shared, sizeof(*shared));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_acknowledged_survives_kill_9),
		TEST(compaction_gives_space_back_and_keeps_what_is_live),
		TEST(compaction_keeps_what_was_committed_just_before),
		TEST(deletes_are_carried_on_only_for_puts_that_remain),
		TEST(kill_9_during_compaction_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
