/* The store: torn tails, damage, verify and rebuild. */
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

/* Where the log of a store with one segment ends; the file may go on with zeros. */
static off_t log_end(struct fixture *fixture)
{
	struct store_status status;

	store_get_status(fixture->store, &status);
	assert_int_equal(status.segment_count, 1);
	return (off_t)status.log_bytes;
}

static off_t file_size(const char *path)
{
	struct stat stat_buffer;

	assert_int_equal(stat(path, &stat_buffer), 0);
	return stat_buffer.st_size;
}

/* A copy of the store as it would be had the last `cut` bytes of the log not reached the disk. */
static void a_torn_tail_is_cut_off_at_every_byte_and_the_rest_stays(void **state)
{
	struct fixture *fixture = *state;
	char command[512], path[128];
	off_t before, after;
	uint64_t position;

	open_store(fixture);
	put_value(fixture, "a", "1", &position);
	check_value(fixture, position, "a", "1");
	segment_path(fixture, path);
	before = log_end(fixture);
	snprintf(command, sizeof(command), "cp -r %s/index %s/index.before", fixture->path,
		fixture->path);
	assert_int_equal(system(command), 0);
	put_value(fixture, "b", "2", &position);
	store_close(&fixture->store);
	after = file_size(path);
	assert_true(after > before);
	for (off_t size = after - 1; size >= before; size--) {
		/* The index as it was: the commit of "b" is in the log only. */
		snprintf(command, sizeof(command),
			"rm -rf %s/index && cp -r %s/index.before %s/index", fixture->path,
			fixture->path, fixture->path);
		assert_int_equal(system(command), 0);
		assert_int_equal(truncate(path, size), 0);
		/* Every other time what did not reach the disk is zeros. */
		if (size % 2 == 0)
			assert_int_equal(truncate(path, after + 100000), 0);
		open_store(fixture);
		check_value(fixture, 0, "a", "1");
		check_value(fixture, 0, "b", NULL);
		store_close(&fixture->store);
	}
}

static void flip_byte(const char *path, off_t offset)
{
	unsigned char byte;
	int fd = open(path, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, offset), 1);
	byte ^= 0x40;
	assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
	close(fd);
}

static void damage_before_the_tail_is_reported_and_not_skipped(void **state)
{
	struct fixture *fixture = *state;
	char path[128], command[256];
	struct error error;
	uint64_t position, count;
	int findings = 0;

	open_store(fixture);
	for (int i = 0; i < 20; i++) {
		char key[8];

		snprintf(key, sizeof(key), "k%d", i);
		put_value(fixture, key, "v", &position);
	}
	segment_path(fixture, path);
	flip_byte(path, SEGMENT_HEADER_SIZE + 300);
	assert_int_equal(store_verify(fixture->store, count_report, &findings, &error), 0);
	assert_true(findings > 0);
	store_close(&fixture->store);
	/* With the index at hand nothing is lost; making it anew needs the damaged part. */
	open_store(fixture);
	check_value(fixture, 0, "k0", "v");
	store_close(&fixture->store);
	assert_int_equal(store_rebuild(&fixture->options, &error, &count), ERR_CORRUPT);
	assert_non_null(strstr(error.text, "damaged at offset"));
	snprintf(command, sizeof(command), "test -d %s/index", fixture->path);
	assert_int_equal(system(command), 0);
}

static void verify_goes_on_after_damage_and_finds_all_of_it(void **state)
{
	struct fixture *fixture = *state;
	struct error error;
	char path[128];
	struct guid guid;
	off_t end;
	int findings = 0;
	char raw[4000];

	fixture->options.compression = 0;
	open_store(fixture);
	for (int i = 0; i < 10; i++) {
		memset(raw, 'a' + i, sizeof(raw));
		add_body(fixture, "k", bytes_of(raw, sizeof(raw)), &guid);
	}
	segment_path(fixture, path);
	end = log_end(fixture);
	for (int i = 1; i <= 4; i++)
		flip_byte(path, end * i / 5);
	assert_int_equal(store_verify(fixture->store, count_report, &findings, &error), 0);
	assert_int_equal(findings, 4);
}

static void a_commit_missing_between_good_ones_is_damage(void **state)
{
	struct fixture *fixture = *state;
	char command[256], path[128], data[8192];
	off_t before, middle, after;
	struct error error;
	uint64_t position;
	ssize_t len;
	int fd;

	open_store(fixture);
	put_value(fixture, "a", "1", &position);
	check_value(fixture, position, "a", "1");
	segment_path(fixture, path);
	snprintf(command, sizeof(command), "cp -r %s/index %s/index.before", fixture->path,
		fixture->path);
	assert_int_equal(system(command), 0);
	before = log_end(fixture);
	put_value(fixture, "b", "2", &position);
	middle = log_end(fixture);
	put_value(fixture, "c", "3", &position);
	store_close(&fixture->store);
	after = file_size(path);
	fd = open(path, O_RDWR);
	len = pread(fd, data, (size_t)(after - middle), middle);
	assert_int_equal(pwrite(fd, data, (size_t)len, before), len);
	assert_int_equal(ftruncate(fd, before + len), 0);
	close(fd);
	snprintf(command, sizeof(command), "rm -rf %s/index && mv %s/index.before %s/index",
		fixture->path, fixture->path, fixture->path);
	assert_int_equal(system(command), 0);
	assert_int_equal(store_open(&fixture->options, &error, &fixture->store), ERR_CORRUPT);
	assert_non_null(strstr(error.text, "is missing"));
}

/* They wait behind the end of the last segment, and go when the next begins or the store closes. */
static void zeros_behind_the_end_are_no_damage(void **state)
{
	struct fixture *fixture = *state;
	char command[512], path[128];
	uint64_t position, count;
	struct error error;
	off_t end;

	open_store(fixture);
	segment_path(fixture, path);
	put_value(fixture, "a", "1", &position);
	put_value(fixture, "b", "2", &position);
	end = log_end(fixture);
	assert_true(file_size(path) > end);
	/* As it would be found after kill -9. */
	snprintf(command, sizeof(command), "cp %s %s.killed", path, path);
	assert_int_equal(system(command), 0);
	store_close(&fixture->store);
	assert_int_equal(file_size(path), end);
	snprintf(command, sizeof(command), "mv %s.killed %s", path, path);
	assert_int_equal(system(command), 0);
	assert_int_equal(store_rebuild(&fixture->options, &error, &count), 0);
	assert_int_equal(count, 3); /* and the store's own first one */
	fixture->options.segment_size = (uint64_t)end;
	open_store(fixture);
	put_value(fixture, "c", "3", &position);
	put_value(fixture, "d", "4", &position);
	assert_int_equal(file_size(path), end);
	check_value(fixture, position, "a", "1");
	check_value(fixture, position, "d", "4");
	store_close(&fixture->store);
	assert_int_equal(store_rebuild(&fixture->options, &error, &count), 0);
	assert_true(count >= 5); /* and perhaps what a compaction of the first segment wrote */
}

static void a_last_segment_without_its_header_needs_no_hand(void **state)
{
	static const unsigned char zeros[SEGMENT_HEADER_SIZE];
	struct fixture *fixture = *state;
	uint64_t position;

	open_store(fixture);
	put_value(fixture, "a", "1", &position);
	store_close(&fixture->store);
	for (size_t size = 0; size <= sizeof(zeros); size += 16) {
		char path[128];
		int fd;

		snprintf(path, sizeof(path), "%s/log/0000000000000002.segment", fixture->path);
		fd = open(path, O_RDWR | O_CREAT, 0600);
		assert_int_equal(write(fd, zeros, size), (ssize_t)size);
		close(fd);
		open_store(fixture);
		check_value(fixture, 0, "a", "1");
		store_close(&fixture->store);
	}
}

static void a_lost_index_is_made_anew_from_the_segments(void **state)
{
	struct fixture *fixture = *state;
	struct buffer out = { 0 };
	struct error error;
	char command[256];
	uint64_t position, count, node;
	struct guid guid;

	open_store(fixture);
	node = store_node_id(fixture->store);
	add_body(fixture, "a", B("the body"), &guid);
	put_value(fixture, "b", "2", &position);
	assert_int_equal(store_commit(fixture->store, run_delete, "b", NULL, &position), 0);
	store_close(&fixture->store);
	snprintf(command, sizeof(command), "rm -rf %s/index", fixture->path);
	assert_int_equal(system(command), 0);
	fixture->options.create = false;
	assert_int_equal(store_open(&fixture->options, &error, &fixture->store), ERR_CORRUPT);
	assert_non_null(strstr(error.text, "rebuild"));
	assert_int_equal(store_rebuild(&fixture->options, &error, &count), 0);
	open_store(fixture);
	check_value(fixture, 0, "a", "x");
	check_value(fixture, 0, "b", NULL);
	assert_true(store_node_id(fixture->store) == node);
	assert_int_equal(read_body(fixture, &guid, &out, 0), 0);
	assert_string_equal(buffer_string(&out), "the body");
	buffer_deinit(&out);
}

static void a_rebuild_that_leaves_out_damage_keeps_the_rest_under_a_new_node_id(void **state)
{
	struct fixture *fixture = *state;
	uint64_t position, count, node;
	struct error error;
	char path[128], key[8];
	off_t size;
	int lost = 0;

	open_store(fixture);
	node = store_node_id(fixture->store);
	for (int i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		put_value(fixture, key, "v", &position);
	}
	store_close(&fixture->store);
	segment_path(fixture, path);
	size = file_size(path);
	flip_byte(path, size / 3);
	flip_byte(path, size / 2);
	assert_int_equal(store_rebuild(&fixture->options, &error, &count), ERR_CORRUPT);
	fixture->options.skip_damage = true;
	assert_int_equal(store_rebuild(&fixture->options, &error, &count), 0);
	open_store(fixture);
	assert_true(store_node_id(fixture->store) != node && store_node_id(fixture->store) != 0);
	for (int i = 0; i < 40; i++) {
		struct kv_txn *kv = NULL;
		struct bytes value;

		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(store_read_begin(fixture->store, 0, &kv), 0);
		lost += kv_get(kv, TABLE, bytes_of_string(key), &value) == ERR_NOT_FOUND;
		store_read_end(&kv);
	}
	assert_int_equal(lost, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_torn_tail_is_cut_off_at_every_byte_and_the_rest_stays),
		TEST(damage_before_the_tail_is_reported_and_not_skipped),
		TEST(verify_goes_on_after_damage_and_finds_all_of_it),
		TEST(a_commit_missing_between_good_ones_is_damage),
		TEST(zeros_behind_the_end_are_no_damage),
		TEST(a_last_segment_without_its_header_needs_no_hand),
		TEST(a_lost_index_is_made_anew_from_the_segments),
		TEST(a_rebuild_that_leaves_out_damage_keeps_the_rest_under_a_new_node_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
