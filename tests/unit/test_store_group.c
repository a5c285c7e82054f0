/* The store: commits of one thread that share one sync. */
#include "store_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define WRITER_COUNT 4
#define COMMIT_COUNT 100

/* A disk that counts, and fails when it is told to. */
struct counting_io {
	struct store_io io;
	_Atomic int sync_count, write_errno, sync_errno;
};

static ssize_t counting_write(
	const struct store_io *io, int fd, const struct iovec *iov, int count, off_t offset)
{
	struct counting_io *counting = (struct counting_io *)(uintptr_t)io;

	if (counting->write_errno == 0)
		return pwritev(fd, iov, count, offset);
	errno = counting->write_errno;
	return -1;
}

static int counting_sync(const struct store_io *io, int fd)
{
	struct counting_io *counting = (struct counting_io *)(uintptr_t)io;

	counting->sync_count++;
	if (counting->sync_errno == 0)
		return fdatasync(fd);
	errno = counting->sync_errno;
	return -1;
}

struct look {
	struct fixture *fixture;
	const char *key, *expected;
};

static void *look_run(void *context)
{
	struct look *look = context;

	check_value(look->fixture, 0, look->key, look->expected);
	return NULL;
}

/* What somebody else sees. */
static void check_elsewhere(struct fixture *fixture, const char *key, const char *expected)
{
	struct look look = { fixture, key, expected };
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, look_run, &look), 0);
	pthread_join(thread, NULL);
}

static void put_many(struct fixture *fixture, const char *prefix)
{
	uint64_t position;

	for (int i = 0; i < 10; i++) {
		char key[32];

		snprintf(key, sizeof(key), "%s%d", prefix, i);
		assert_int_equal(put_value(fixture, key, "1", &position), 0);
		check_value(fixture, position, key, "1"); /* its own reads show it */
	}
}

static void a_group_is_synced_once_and_seen_by_others_then(void **state)
{
	struct counting_io io = { .io = { counting_write, counting_sync } };
	struct fixture *fixture = *state;
	int before;

	fixture->options.io = &io.io;
	open_store(fixture);
	before = io.sync_count;
	store_group_begin(fixture->store);
	put_many(fixture, "k");
	assert_int_equal(io.sync_count, before);
	check_elsewhere(fixture, "k0", NULL);
	assert_int_equal(store_group_end(fixture->store, NULL), 0);
	assert_int_equal(io.sync_count, before + 1);
	check_elsewhere(fixture, "k0", "1");
	check_value(fixture, 0, "k9", "1");
	store_close(&fixture->store);
	fixture->options.io = NULL;
	open_store(fixture);
	check_value(fixture, 0, "k0", "1");
	check_value(fixture, 0, "k9", "1");
}

static void an_empty_group_is_nothing(void **state)
{
	struct fixture *fixture = *state;
	uint64_t position, age_ms, size;

	open_store(fixture);
	store_group_begin(fixture->store);
	store_group_get_extent(fixture->store, &age_ms, &size);
	assert_int_equal(size, 0);
	assert_int_equal(store_group_end(fixture->store, NULL), 0);
	assert_int_equal(store_group_end(fixture->store, NULL), 0);
	assert_false(store_group_is_on(fixture->store));
	assert_int_equal(put_value(fixture, "a", "1", &position), 0);
	check_elsewhere(fixture, "a", "1");
}

static void a_failed_commit_is_undone_and_the_group_stays(void **state)
{
	struct fixture *fixture = *state;
	struct put bad = { B("k3"), B("bad"), NULL, true };
	uint64_t position;

	open_store(fixture);
	store_group_begin(fixture->store);
	put_many(fixture, "k");
	assert_int_equal(store_commit(fixture->store, run_put, &bad, NULL, &position), ERR_REFUSED);
	check_value(fixture, 0, "k3", "1");
	assert_int_equal(store_group_end(fixture->store, NULL), 0);
	check_elsewhere(fixture, "k3", "1");
}

/* The whole group is as if it had not been. */
static void check_lost(struct fixture *fixture, struct counting_io *io, int expected)
{
	struct error error = { 0 };
	uint64_t position;

	assert_int_equal(put_value(fixture, "a", "1", &position), 0);
	store_group_begin(fixture->store);
	put_many(fixture, "k");
	assert_int_equal(put_value(fixture, "a", "2", &position), 0);
	io->write_errno = expected == ERR_FULL ? ENOSPC : 0;
	io->sync_errno = expected == ERR_IO ? EIO : 0;
	assert_int_equal(store_group_end(fixture->store, &error), expected);
	assert_int_equal(error.code, expected);
	io->write_errno = io->sync_errno = 0;
	check_value(fixture, 0, "a", "1");
	check_value(fixture, 0, "k0", NULL);
}

static void a_full_disk_loses_the_group_and_nothing_else(void **state)
{
	struct counting_io io = { .io = { counting_write, counting_sync } };
	struct fixture *fixture = *state;

	fixture->options.io = &io.io;
	open_store(fixture);
	check_lost(fixture, &io, ERR_FULL);
	store_group_begin(fixture->store);
	put_many(fixture, "m");
	assert_int_equal(store_group_end(fixture->store, NULL), 0);
	store_close(&fixture->store);
	fixture->options.io = NULL;
	open_store(fixture);
	check_value(fixture, 0, "k0", NULL);
	check_value(fixture, 0, "a", "1");
	check_value(fixture, 0, "m9", "1");
}

static void after_an_error_of_the_disk_groups_fail(void **state)
{
	struct counting_io io = { .io = { counting_write, counting_sync } };
	struct fixture *fixture = *state;
	uint64_t position;

	fixture->options.io = &io.io;
	open_store(fixture);
	check_lost(fixture, &io, ERR_IO);
	store_group_begin(fixture->store);
	assert_int_equal(put_value(fixture, "b", "1", &position), ERR_IO);
	assert_int_equal(store_group_end(fixture->store, NULL), ERR_IO);
}

static void bodies_need_not_outlive_their_commit(void **state)
{
	struct fixture *fixture = *state;
	struct buffer text = { 0 }, out = { 0 };
	struct guid guids[3];

	open_store(fixture);
	store_group_begin(fixture->store);
	for (int i = 0; i < 3; i++) {
		char key[8];

		snprintf(key, sizeof(key), "b%d", i);
		for (int line = 0; line < 500; line++)
			buffer_printf(&text, "line %d of body %d\r\n", line, i);
		add_body(fixture, key, buffer_bytes(&text), &guids[i]);
	}
	assert_int_equal(store_group_end(fixture->store, NULL), 0);
	store_close(&fixture->store);
	open_store(fixture);
	assert_int_equal(read_body(fixture, &guids[2], &out, 0), 0);
	assert_true(bytes_equal(buffer_bytes(&out), buffer_bytes(&text)));
	buffer_deinit(&text);
	buffer_deinit(&out);
}

/* Even ones in groups of ten. */
static void *write_some(void *context)
{
	struct writer *writer = context;
	struct store *store = writer->fixture->store;
	uint64_t position;

	for (int i = 0; i < COMMIT_COUNT; i++) {
		char key[32];

		if (writer->number % 2 == 0 && i % 10 == 0)
			store_group_begin(store);
		snprintf(key, sizeof(key), "w%d-%d", writer->number, i);
		assert_int_equal(put_value(writer->fixture, key, "1", &position), 0);
		if (writer->number % 2 == 0 && i % 10 == 9)
			assert_int_equal(store_group_end(store, NULL), 0);
	}
	return NULL;
}

static void groups_and_commits_of_others_take_turns(void **state)
{
	struct fixture *fixture = *state;
	struct writer writers[WRITER_COUNT];
	pthread_t threads[WRITER_COUNT];

	open_store(fixture);
	for (int i = 0; i < WRITER_COUNT; i++) {
		writers[i] = (struct writer){ fixture, NULL, i };
		assert_int_equal(pthread_create(&threads[i], NULL, write_some, &writers[i]), 0);
	}
	for (int i = 0; i < WRITER_COUNT; i++)
		pthread_join(threads[i], NULL);
	store_close(&fixture->store);
	open_store(fixture);
	for (int i = 0; i < WRITER_COUNT * COMMIT_COUNT; i++) {
		char key[32];

		snprintf(key, sizeof(key), "w%d-%d", i / COMMIT_COUNT, i % COMMIT_COUNT);
		check_value(fixture, 0, key, "1");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_group_is_synced_once_and_seen_by_others_then),
		TEST_BOTH(an_empty_group_is_nothing),
		TEST(a_failed_commit_is_undone_and_the_group_stays),
		TEST(a_full_disk_loses_the_group_and_nothing_else),
		TEST(after_an_error_of_the_disk_groups_fail),
		TEST(bodies_need_not_outlive_their_commit),
		TEST(groups_and_commits_of_others_take_turns),
	};

	return cmocka_run_group_tests_name("store_group", tests, NULL, NULL);
}
