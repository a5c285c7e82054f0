/* The store: durability, undo, replay, damage, faults of the disk, compaction. */
#include "store/store.h"

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

#define TABLE STORE_TABLE_FIRST_FREE
#define B(text) BYTES_LITERAL(text)

struct fixture {
	char path[64];
	struct store_options options;
	struct store *store;
	bool is_memory; /* the twin in memory, where nothing is reopened */
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	strcpy(fixture->path, "/tmp/chapar-test-store-XXXXXX");
	assert_non_null(mkdtemp(fixture->path));
	fixture->options =
		(struct store_options){ .path = fixture->path, .create = true, .compression = 1 };
	*state = fixture;
	return 0;
}

static int set_up_memory(void **state)
{
	set_up(state);
	((struct fixture *)*state)->is_memory = true;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	char command[128];

	store_close(&fixture->store);
	snprintf(command, sizeof(command), "rm -rf %s", fixture->path);
	assert_int_equal(system(command), 0);
	free(fixture);
	return 0;
}

static void open_store(struct fixture *fixture)
{
	struct error error = { 0 };

	if (fixture->is_memory)
		assert_int_equal(store_open_memory(&fixture->store), 0);
	else if (store_open(&fixture->options, &error, &fixture->store) < 0)
		fail_msg("%s", error.text);
}

struct put {
	struct bytes key, value;
	const struct store_body *body;
	bool must_fail;
};

static int run_put(struct store_write *write, void *context)
{
	struct put *put = context;
	int rc = 0;

	if (put->body != NULL)
		rc = store_body_add(write, put->body);
	if (rc == 0)
		rc = store_put(write, TABLE, put->key, put->value);
	if (rc == 0)
		rc = feed_mark(write, put->key);
	return rc == 0 && put->must_fail ? ERR_REFUSED : rc;
}

static int put_value(
	struct fixture *fixture, const char *key, const char *value, uint64_t *position)
{
	struct put put = { bytes_of_string(key), bytes_of_string(value), NULL, false };

	return store_commit(fixture->store, run_put, &put, NULL, position);
}

static int run_delete(struct store_write *write, void *context)
{
	return store_delete(write, TABLE, bytes_of_string(context));
}

static void check_value(
	struct fixture *fixture, uint64_t position, const char *key, const char *expected)
{
	struct kv_txn *kv = NULL;
	struct bytes value;
	int rc;

	assert_int_equal(store_read_begin(fixture->store, position, &kv), 0);
	rc = kv_get(kv, TABLE, bytes_of_string(key), &value);
	if (expected == NULL)
		assert_int_equal(rc, ERR_NOT_FOUND);
	else if (rc < 0 || !bytes_equal_string(value, expected))
		fail_msg("%s is not %s", key, expected);
	store_read_end(&kv);
}

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

static int run_release(struct store_write *write, void *context)
{
	return store_body_release(write, context);
}

static void add_body(struct fixture *fixture, const char *key, struct bytes raw, struct guid *guid)
{
	struct store_body *body = NULL;
	struct put put = { bytes_of_string(key), B("x"), NULL, false };
	uint64_t position;

	assert_int_equal(store_body_prepare(fixture->store, raw, &body), 0);
	put.body = body;
	*guid = *store_body_guid(body);
	assert_int_equal(store_commit(fixture->store, run_put, &put, NULL, &position), 0);
	store_body_free(&body);
}

static int read_body(
	struct fixture *fixture, const struct guid *guid, struct buffer *out, uint64_t position)
{
	struct kv_txn *kv = NULL;
	int rc;

	buffer_clear(out);
	assert_int_equal(store_read_begin(fixture->store, position, &kv), 0);
	rc = store_body_read(fixture->store, kv, guid, out);
	store_read_end(&kv);
	return rc;
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

static void listen_function(void *context, const struct bytes *keys, size_t count)
{
	struct fixture *fixture = context;

	for (size_t i = 0; i < count; i++)
		if (bytes_equal_string(keys[i], "a")) {
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

/* ---- crashes ---- */

struct shared {
	_Atomic uint32_t acknowledged[4];
};

struct writer {
	struct fixture *fixture;
	struct shared *shared;
	int number;
};

static void *write_for_ever(void *context)
{
	struct writer *writer = context;
	struct buffer text = { 0 };

	for (uint32_t i = 1;; i++) {
		char key[32];
		struct guid guid;

		snprintf(key, sizeof(key), "w%d-%u", writer->number, i);
		buffer_clear(&text);
		for (int line = 0; line < 40; line++)
			buffer_printf(&text, "%s line %d\r\n", key, line);
		add_body(writer->fixture, key, buffer_bytes(&text), &guid);
		atomic_store(&writer->shared->acknowledged[writer->number], i);
	}
	return NULL;
}

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

static void count_report(void *context, const char *text)
{
	print_message("%s\n", text);
	++*(int *)context;
}

static void what_was_acknowledged_survives_kill_9(void **state)
{
	struct fixture *fixture = *state;
	struct shared *shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct random random = { (uint64_t)getpid() };
	uint32_t total = 0;

	fixture->options.segment_size = 256 * 1024;
	for (int round = 0; round < 30; round++) {
		int findings = 0, status;
		struct error error;
		pid_t child;

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
	munmap(shared, sizeof(*shared));
}

static void segment_path(struct fixture *fixture, char path[128])
{
	snprintf(path, 128, "%s/log/0000000000000001.segment", fixture->path);
}

/* A copy of the store as it would be had the last `cut` bytes of the log not reached the disk. */
static void a_torn_tail_is_cut_off_at_every_byte_and_the_rest_stays(void **state)
{
	struct fixture *fixture = *state;
	char command[512], path[128];
	struct stat before, after;
	uint64_t position;

	open_store(fixture);
	put_value(fixture, "a", "1", &position);
	check_value(fixture, position, "a", "1");
	segment_path(fixture, path);
	assert_int_equal(stat(path, &before), 0);
	snprintf(command, sizeof(command), "cp -r %s/index %s/index.before", fixture->path,
		fixture->path);
	assert_int_equal(system(command), 0);
	put_value(fixture, "b", "2", &position);
	store_close(&fixture->store);
	assert_int_equal(stat(path, &after), 0);
	assert_true(after.st_size > before.st_size);
	for (off_t size = after.st_size - 1; size >= before.st_size; size--) {
		/* The index as it was: the commit of "b" is in the log only. */
		snprintf(command, sizeof(command),
			"rm -rf %s/index && cp -r %s/index.before %s/index", fixture->path,
			fixture->path, fixture->path);
		assert_int_equal(system(command), 0);
		assert_int_equal(truncate(path, size), 0);
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
	struct stat stat_buffer;
	int findings = 0;
	char raw[4000];

	fixture->options.compression = 0;
	open_store(fixture);
	for (int i = 0; i < 10; i++) {
		memset(raw, 'a' + i, sizeof(raw));
		add_body(fixture, "k", bytes_of(raw, sizeof(raw)), &guid);
	}
	segment_path(fixture, path);
	assert_int_equal(stat(path, &stat_buffer), 0);
	for (int i = 1; i <= 4; i++)
		flip_byte(path, stat_buffer.st_size * i / 5);
	assert_int_equal(store_verify(fixture->store, count_report, &findings, &error), 0);
	assert_int_equal(findings, 4);
}

static void a_commit_missing_between_good_ones_is_damage(void **state)
{
	struct fixture *fixture = *state;
	char command[256], path[128], data[8192];
	struct stat before, middle, after;
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
	assert_int_equal(stat(path, &before), 0);
	put_value(fixture, "b", "2", &position);
	assert_int_equal(stat(path, &middle), 0);
	put_value(fixture, "c", "3", &position);
	store_close(&fixture->store);
	assert_int_equal(stat(path, &after), 0);
	fd = open(path, O_RDWR);
	len = pread(fd, data, (size_t)(after.st_size - middle.st_size), middle.st_size);
	assert_int_equal(pwrite(fd, data, (size_t)len, before.st_size), len);
	assert_int_equal(ftruncate(fd, before.st_size + len), 0);
	close(fd);
	snprintf(command, sizeof(command), "rm -rf %s/index && mv %s/index.before %s/index",
		fixture->path, fixture->path, fixture->path);
	assert_int_equal(system(command), 0);
	assert_int_equal(store_open(&fixture->options, &error, &fixture->store), ERR_CORRUPT);
	assert_non_null(strstr(error.text, "is missing"));
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
	struct stat stat_buffer;
	int lost = 0;

	open_store(fixture);
	node = store_node_id(fixture->store);
	for (int i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		put_value(fixture, key, "v", &position);
	}
	store_close(&fixture->store);
	segment_path(fixture, path);
	assert_int_equal(stat(path, &stat_buffer), 0);
	flip_byte(path, stat_buffer.st_size / 3);
	flip_byte(path, stat_buffer.st_size / 2);
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

/* ---- faults of the disk ---- */

struct faulty_io {
	struct store_io io;
	_Atomic int write_errno, sync_errno;
	_Atomic int write_bytes_left; /* written before write_errno strikes */
};

static ssize_t faulty_write(
	const struct store_io *io, int fd, const struct iovec *iov, int count, off_t offset)
{
	struct faulty_io *faulty = (struct faulty_io *)(uintptr_t)io;

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

static void a_full_index_loses_nothing_that_was_acknowledged(void **state)
{
	struct fixture *fixture = *state;
	uint64_t position;
	char key[16], value[600];
	int rc = 0, acknowledged = 0, refused = 0;

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	fixture->options.index_size_max = 1 << 20;
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

/* The index is some milliseconds behind the log: what it lacks must not look dead. */
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_BOTH(name)                                                                            \
	TEST(name),                                                                                \
	{                                                                                          \
#name " (memory)", name, set_up_memory, tear_down, NULL                            \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_commit_is_seen_at_its_position_and_after_reopening),
		TEST(a_second_process_cannot_open_it),
		TEST_BOTH(a_failed_commit_is_undone_and_others_of_its_batch_stay),
		TEST_BOTH(a_row_changed_several_times_is_undone_to_what_it_was),
		TEST_BOTH(bodies_are_shared_counted_and_forgotten),
		TEST_BOTH(a_held_body_stays_until_it_is_dropped_unless_it_was_referenced),
		TEST_BOTH(the_feed_keeps_one_entry_per_key_in_order_of_change),
		TEST_BOTH(a_listener_hears_of_a_change_once_it_is_visible),
		TEST(what_was_acknowledged_survives_kill_9),
		TEST(a_torn_tail_is_cut_off_at_every_byte_and_the_rest_stays),
		TEST(damage_before_the_tail_is_reported_and_not_skipped),
		TEST(a_lost_index_is_made_anew_from_the_segments),
		TEST(a_full_disk_fails_the_commit_and_loses_nothing),
		TEST(a_full_index_loses_nothing_that_was_acknowledged),
		TEST(a_failed_sync_stops_writing_for_good),
		TEST(a_rebuild_that_leaves_out_damage_keeps_the_rest_under_a_new_node_id),
		TEST(verify_goes_on_after_damage_and_finds_all_of_it),
		TEST(a_commit_missing_between_good_ones_is_damage),
		TEST(a_last_segment_without_its_header_needs_no_hand),
		TEST(compaction_gives_space_back_and_keeps_what_is_live),
		TEST(compaction_keeps_what_was_committed_just_before),
		TEST(kill_9_during_compaction_loses_nothing),
		TEST(a_row_may_be_put_straight_from_the_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
