/* The store: commits, undo, bodies, the feed, faults of the disk. */
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

static void a_commit_is_seen_at_its_position_and_after_reopening(void **state)
{
	struct fixture *fixture = *state;
	uint64_t position, node;

	open_store(fixture);
	node = store_node_id(fixture->store);
	assert_true(node != 0);
	assert_int_equal(put_value(fixture, "a", "1", &position), 0);
	check_value(fixture, position, "a", "1");
	store_close(&fixture->store);
	open_store(fixture);
	check_value(fixture, 0, "a", "1");
	assert_true(store_node_id(fixture->store) == node);
}

static void a_second_process_cannot_open_it(void **state)
{
	struct fixture *fixture = *state;
	struct store *second = NULL;
	struct error error;

	open_store(fixture);
	assert_int_equal(store_open(&fixture->options, &error, &second), ERR_UNAVAILABLE);
	assert_non_null(strstr(error.text, "in use"));
}

static void a_failed_commit_is_undone_and_others_of_its_batch_stay(void **state)
{
	struct fixture *fixture = *state;
	struct put bad = { B("a"), B("bad"), NULL, true };
	uint64_t position;

	open_store(fixture);
	assert_int_equal(put_value(fixture, "a", "1", &position), 0);
	assert_int_equal(store_commit(fixture->store, run_put, &bad, NULL, &position), ERR_REFUSED);
	assert_int_equal(put_value(fixture, "b", "2", &position), 0);
	check_value(fixture, position, "a", "1");
	check_value(fixture, position, "b", "2");
}

static void bodies_are_shared_counted_and_forgotten(void **state)
{
	struct fixture *fixture = *state;
	struct buffer text = { 0 }, out = { 0 };
	struct guid guid;
	uint64_t position;

	open_store(fixture);
	for (int i = 0; i < 2000; i++)
		buffer_printf(&text, "line %d of a body that compresses\r\n", i);
	add_body(fixture, "a", buffer_bytes(&text), &guid);
	add_body(fixture, "b", buffer_bytes(&text), &guid);
	assert_int_equal(store_commit(fixture->store, run_release, &guid, NULL, &position), 0);
	assert_int_equal(read_body(fixture, &guid, &out, position), 0);
	assert_true(bytes_equal(buffer_bytes(&out), buffer_bytes(&text)));
	assert_int_equal(store_commit(fixture->store, run_release, &guid, NULL, &position), 0);
	assert_int_equal(read_body(fixture, &guid, &out, position), ERR_NOT_FOUND);
	buffer_deinit(&text);
	buffer_deinit(&out);
}

static int read_head(struct fixture *fixture, const struct guid *guid, struct buffer *out)
{
	struct kv_txn *kv = NULL;
	int rc;

	buffer_clear(out);
	assert_int_equal(store_read_begin(fixture->store, store_position(fixture->store), &kv), 0);
	rc = store_body_read_head(fixture->store, kv, guid, out);
	store_read_end(&kv);
	return rc;
}

/* Bodies with heads of all sizes: what is read of it begins with the head, and all is all. */
static void the_head_of_a_body_can_be_read_alone(void **state)
{
	static const size_t sizes[] = { 2, 100, 255, 300, 1500, 20000, 65530, 70000 };
	struct fixture *fixture = *state;
	struct buffer text = { 0 }, out = { 0 };
	struct guid guid;

	open_store(fixture);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t random = 1;
		size_t head;

		buffer_clear(&text);
		while (text.len + 4 < sizes[i]) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			buffer_append_byte(&text, "abcdefgh"[random >> 61]);
		}
		buffer_append_string(&text, "\r\n\r\n");
		head = text.len;
		for (int line = 0; line < 2000; line++)
			buffer_printf(&text, "line %d of a body that compresses\r\n\r\n", line);
		add_body(fixture, "a", buffer_bytes(&text), &guid);
		assert_int_equal(
			read_body(fixture, &guid, &out, store_position(fixture->store)), 0);
		assert_true(bytes_equal(buffer_bytes(&out), buffer_bytes(&text)));
		assert_int_equal(read_head(fixture, &guid, &out), 0);
		assert_in_range(out.len, head, text.len);
		assert_true(bytes_start_with(buffer_bytes(&text), buffer_bytes(&out)));
		/* A head of the usual size is stored apart. */
		if (!fixture->is_memory && head >= 300 && head < 2000)
			assert_int_equal(out.len, head);
	}
	buffer_deinit(&text);
	buffer_deinit(&out);
}

struct held {
	const struct store_body *body;
	const struct guid *referenced;
};

static int run_hold(struct store_write *write, void *context)
{
	const struct held *held = context;

	if (held->body != NULL)
		return store_body_hold(write, held->body);
	return store_body_reference(write, held->referenced);
}

static void a_held_body_stays_until_it_is_dropped_unless_it_was_referenced(void **state)
{
	struct fixture *fixture = *state;
	struct buffer out = { 0 };
	struct guid guids[2];
	uint64_t position;

	open_store(fixture);
	for (int i = 0; i < 2; i++) {
		struct store_body *body = NULL;
		struct held held;

		assert_int_equal(store_body_prepare(
					 fixture->store, i == 0 ? B("kept") : B("dropped"), &body),
			0);
		guids[i] = *store_body_guid(body);
		held = (struct held){ body, NULL };
		assert_int_equal(store_commit(fixture->store, run_hold, &held, NULL, &position), 0);
		store_body_free(&body);
		assert_int_equal(read_body(fixture, &guids[i], &out, position), 0);
	}
	assert_int_equal(store_commit(fixture->store, run_hold, &(struct held){ NULL, &guids[0] },
				 NULL, &position),
		0);
	assert_int_equal(store_body_drop_held(fixture->store, 1), 0);
	assert_int_equal(store_commit(fixture->store, run_release, &guids[0], NULL, &position), 0);
	assert_int_equal(read_body(fixture, &guids[0], &out, position), ERR_NOT_FOUND);
	assert_int_equal(read_body(fixture, &guids[1], &out, position), 0);
	assert_int_equal(store_body_drop_held(fixture->store, UINT64_MAX), 0);
	assert_int_equal(put_value(fixture, "a", "1", &position), 0);
	assert_int_equal(read_body(fixture, &guids[1], &out, position), ERR_NOT_FOUND);
	buffer_deinit(&out);
}

static int run_nested_failure(struct store_write *write, void *context)
{
	int rc = store_put(write, TABLE, B("a"), B("changed twice"));

	(void)context;
	if (rc == 0)
		rc = store_delete(write, TABLE, B("a"));
	if (rc == 0)
		rc = store_put(write, TABLE, B("a"), B("changed again"));
	if (rc == 0)
		rc = store_put(write, TABLE, B("new"), B("x"));
	if (rc == 0)
		rc = feed_mark(write, B("a"));
	return rc == 0 ? ERR_ILLEGAL : rc;
}

static void a_row_changed_several_times_is_undone_to_what_it_was(void **state)
{
	struct fixture *fixture = *state;
	struct kv_txn *kv = NULL;
	struct buffer key = { 0 };
	uint64_t position, sequence = 0;

	open_store(fixture);
	put_value(fixture, "a", "1", &position);
	put_value(fixture, "b", "1", &position);
	check_value(fixture, position, "a", "1");
	assert_int_equal(store_commit(fixture->store, run_nested_failure, NULL, NULL, &position),
		ERR_ILLEGAL);
	put_value(fixture, "c", "1", &position);
	check_value(fixture, position, "a", "1");
	check_value(fixture, position, "new", NULL);
	assert_int_equal(store_read_begin(fixture->store, position, &kv), 0);
	assert_int_equal(feed_next(kv, 0, &sequence, &key), 0);
	assert_string_equal(buffer_string(&key), "a"); /* still before "b" */
	store_read_end(&kv);
	buffer_deinit(&key);
}

static void the_feed_keeps_one_entry_per_key_in_order_of_change(void **state)
{
	struct fixture *fixture = *state;
	struct kv_txn *kv = NULL;
	struct buffer key = { 0 };
	uint64_t position, sequence = 0;

	open_store(fixture);
	put_value(fixture, "a", "1", &position);
	put_value(fixture, "b", "1", &position);
	check_value(fixture, position, "a", "1"); /* a reader could see the entry by now */
	put_value(fixture, "a", "2", &position);
	assert_int_equal(store_read_begin(fixture->store, position, &kv), 0);
	assert_int_equal(feed_next(kv, 0, &sequence, &key), 0);
	assert_string_equal(buffer_string(&key), "b");
	buffer_clear(&key);
	assert_int_equal(feed_next(kv, sequence, &sequence, &key), 0);
	assert_string_equal(buffer_string(&key), "a");
	assert_int_equal(feed_next(kv, sequence, &sequence, &key), ERR_NOT_FOUND);
	store_read_end(&kv);
	buffer_deinit(&key);
}

static _Atomic int heard;

static void listen_function(void *context, const struct feed_news *news, size_t count)
{
	struct fixture *fixture = context;

	for (size_t i = 0; i < count; i++)
		if (bytes_equal_string(news[i].key, "a") && news[i].note.ptr == NULL) {
			check_value(fixture, 0, "a", "1"); /* visible by now */
			heard++;
		}
}

static void a_listener_hears_of_a_change_once_it_is_visible(void **state)
{
	struct fixture *fixture = *state;
	uint64_t position;

	open_store(fixture);
	heard = 0;
	store_listen(fixture->store, listen_function, fixture);
	assert_int_equal(put_value(fixture, "a", "1", &position), 0);
	for (int i = 0; i < 1000 && heard == 0; i++)
		usleep(1000);
	assert_int_equal(heard, 1);
	store_unlisten(fixture->store, listen_function, fixture);
}

/* ---- faults of the disk ---- */

struct faulty_io {
	struct store_io io;
	_Atomic int write_errno, sync_errno;
	_Atomic int write_bytes_left; /* written before write_errno strikes */
	size_t size_max;              /* of one write, if not 0: more is cut off there */
};

static ssize_t faulty_write(
	const struct store_io *io, int fd, const struct iovec *iov, int count, off_t offset)
{
	struct faulty_io *faulty = (struct faulty_io *)(uintptr_t)io;

	if (faulty->size_max > 0 && iov[0].iov_len > faulty->size_max)
		return pwrite(fd, iov[0].iov_base, faulty->size_max, offset);
	if (faulty->write_errno == 0)
		return pwritev(fd, iov, count, offset);
	if (faulty->write_bytes_left > 0) {
		size_t len = iov[0].iov_len < (size_t)faulty->write_bytes_left
				     ? iov[0].iov_len
				     : (size_t)faulty->write_bytes_left;

		faulty->write_bytes_left = 0;
		return pwrite(fd, iov[0].iov_base, len, offset);
	}
	errno = faulty->write_errno;
	return -1;
}

static int faulty_sync(const struct store_io *io, int fd)
{
	struct faulty_io *faulty = (struct faulty_io *)(uintptr_t)io;

	if (faulty->sync_errno == 0)
		return fdatasync(fd);
	errno = faulty->sync_errno;
	return -1;
}

static void a_full_disk_fails_the_commit_and_loses_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct faulty_io faulty = { .io = { faulty_write, faulty_sync } };
	uint64_t position;

	fixture->options.io = &faulty.io;
	open_store(fixture);
	assert_int_equal(put_value(fixture, "a", "1", &position), 0);
	faulty.write_bytes_left = 10;
	faulty.write_errno = ENOSPC;
	assert_int_equal(put_value(fixture, "b", "2", &position), ERR_FULL);
	assert_int_equal(put_value(fixture, "c", "3", &position), ERR_FULL);
	faulty.write_errno = 0;
	assert_int_equal(put_value(fixture, "d", "4", &position), 0);
	check_value(fixture, position, "a", "1");
	check_value(fixture, position, "b", NULL);
	check_value(fixture, position, "c", NULL);
	check_value(fixture, position, "d", "4");
	store_close(&fixture->store);
	fixture->options.io = NULL;
	open_store(fixture);
	check_value(fixture, 0, "a", "1");
	check_value(fixture, 0, "b", NULL);
	check_value(fixture, 0, "d", "4");
}

/* The zeros that the log writes behind what it appends. */
static void a_disk_too_full_for_zeros_ahead_takes_commits_all_the_same(void **state)
{
	struct fixture *fixture = *state;
	struct faulty_io faulty = { .io = { faulty_write, faulty_sync }, .size_max = 10000 };
	struct store_status status;
	uint64_t position;
	char command[256];

	fixture->options.io = &faulty.io;
	open_store(fixture);
	assert_int_equal(put_value(fixture, "a", "1", &position), 0);
	assert_int_equal(put_value(fixture, "b", "2", &position), 0);
	check_value(fixture, position, "a", "1");
	check_value(fixture, position, "b", "2");
	store_get_status(fixture->store, &status);
	snprintf(command, sizeof(command), "test $(cat %s/log/*.segment | wc -c) = %llu",
		fixture->path, (unsigned long long)status.log_bytes);
	assert_int_equal(system(command), 0);
	store_close(&fixture->store);
	fixture->options.io = NULL;
	open_store(fixture);
	check_value(fixture, 0, "b", "2");
}

static void a_full_index_loses_nothing_that_was_acknowledged(void **state)
{
	struct fixture *fixture = *state;
	uint64_t position;
	char key[16], value[600];
	int rc = 0, acknowledged = 0, refused = 0;

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	fixture->options.index_size_max = 1 << 20;
	fixture->options.index_lag_max = 64 << 10;
	open_store(fixture);
	for (int i = 0; i < 5000 && refused < 20; i++) {
		snprintf(key, sizeof(key), "k%05d", acknowledged);
		rc = put_value(fixture, key, value, &position);
		if (rc == 0)
			acknowledged++;
		else
			refused++;
	}
	assert_int_equal(rc, ERR_FULL);
	assert_true(acknowledged > 100);
	store_close(&fixture->store);
	fixture->options.index_size_max = 64 << 20;
	open_store(fixture);
	for (int i = 0; i < acknowledged; i++) {
		snprintf(key, sizeof(key), "k%05d", i);
		check_value(fixture, 0, key, value);
	}
	assert_int_equal(put_value(fixture, "more", "1", &position), 0);
}

static void a_failed_sync_stops_writing_for_good(void **state)
{
	struct fixture *fixture = *state;
	struct faulty_io faulty = { .io = { faulty_write, faulty_sync } };
	struct store_status status;
	uint64_t position;

	fixture->options.io = &faulty.io;
	open_store(fixture);
	assert_int_equal(put_value(fixture, "a", "1", &position), 0);
	check_value(fixture, position, "a", "1");
	faulty.sync_errno = EIO;
	assert_int_equal(put_value(fixture, "b", "2", &position), ERR_IO);
	faulty.sync_errno = 0;
	assert_int_equal(put_value(fixture, "c", "3", &position), ERR_IO);
	store_get_status(fixture->store, &status);
	assert_int_equal(status.failure, ERR_IO);
	check_value(fixture, 0, "a", "1"); /* reading goes on */
	store_close(&fixture->store);
	fixture->options.io = NULL;
	open_store(fixture);
	check_value(fixture, 0, "a", "1");
	check_value(fixture, 0, "c", NULL);
}

static int run_copy_rows(struct store_write *write, void *context)
{
	struct bytes value;
	int rc = 0;

	(void)context;
	for (int i = 0; i < 100 && rc == 0; i++) {
		char key[16];

		snprintf(key, sizeof(key), "a%03d", i);
		rc = kv_get(store_write_kv(write), TABLE, B("source"), &value);
		if (rc == 0)
			rc = store_put(write, TABLE, bytes_of_string(key), value);
	}
	return rc;
}

static void a_row_may_be_put_straight_from_the_index(void **state)
{
	struct fixture *fixture = *state;
	struct error error;
	uint64_t position, count;

	open_store(fixture);
	put_value(fixture, "source", "what is copied", &position);
	assert_int_equal(store_commit(fixture->store, run_copy_rows, NULL, NULL, &position), 0);
	check_value(fixture, position, "a099", "what is copied");
	store_close(&fixture->store);
	assert_int_equal(store_rebuild(&fixture->options, &error, &count), 0);
	open_store(fixture);
	check_value(fixture, 0, "a000", "what is copied");
	check_value(fixture, 0, "a099", "what is copied");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_commit_is_seen_at_its_position_and_after_reopening),
		TEST(a_second_process_cannot_open_it),
		TEST_BOTH(a_failed_commit_is_undone_and_others_of_its_batch_stay),
		TEST_BOTH(bodies_are_shared_counted_and_forgotten),
		TEST_BOTH(the_head_of_a_body_can_be_read_alone),
		TEST_BOTH(a_held_body_stays_until_it_is_dropped_unless_it_was_referenced),
		TEST_BOTH(a_row_changed_several_times_is_undone_to_what_it_was),
		TEST_BOTH(the_feed_keeps_one_entry_per_key_in_order_of_change),
		TEST_BOTH(a_listener_hears_of_a_change_once_it_is_visible),
		TEST(a_full_disk_fails_the_commit_and_loses_nothing),
		TEST(a_disk_too_full_for_zeros_ahead_takes_commits_all_the_same),
		TEST(a_full_index_loses_nothing_that_was_acknowledged),
		TEST(a_failed_sync_stops_writing_for_good),
		TEST(a_row_may_be_put_straight_from_the_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
