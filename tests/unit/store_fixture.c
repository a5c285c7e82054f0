#include "store_fixture.h"
#include "test_folder.h"

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

#define GROUP_SIZE 10 /* commits of every other writer that share a sync */

int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	strcpy(fixture->path, "/tmp/chapar-test-store-XXXXXX");
	assert_non_null(test_folder_make(fixture->path));
	fixture->options =
		(struct store_options){ .path = fixture->path, .create = true, .compression = 1 };
	*state = fixture;
	return 0;
}

int set_up_memory(void **state)
{
	set_up(state);
	((struct fixture *)*state)->is_memory = true;
	return 0;
}

int tear_down(void **state)
{
	struct fixture *fixture = *state;
	char command[128];

	store_close(&fixture->store);
	snprintf(command, sizeof(command), "rm -rf %s", fixture->path);
	assert_int_equal(system(command), 0);
	free(fixture);
	return 0;
}

void open_store(struct fixture *fixture)
{
	struct error error = { 0 };

	if (fixture->is_memory)
		assert_int_equal(store_open_memory(&fixture->store), 0);
	else if (store_open(&fixture->options, &error, &fixture->store) < 0)
		fail_msg("%s", error.text);
}

int run_put(struct store_write *write, void *context)
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

int put_value(struct fixture *fixture, const char *key, const char *value, uint64_t *position)
{
	struct put put = { bytes_of_string(key), bytes_of_string(value), NULL, false };

	return store_commit(fixture->store, run_put, &put, NULL, position);
}

int run_delete(struct store_write *write, void *context)
{
	return store_delete(write, TABLE, bytes_of_string(context));
}

void check_value(struct fixture *fixture, uint64_t position, const char *key, const char *expected)
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

int run_release(struct store_write *write, void *context)
{
	return store_body_release(write, context);
}

void add_body(struct fixture *fixture, const char *key, struct bytes raw, struct guid *guid)
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

int read_body(
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

void *write_for_ever(void *context)
{
	struct writer *writer = context;
	struct store *store = writer->fixture->store;
	struct buffer text = { 0 };

	for (uint32_t i = 1;; i++) {
		bool is_in_group = writer->number % 2 == 1;
		char key[32];

		if (is_in_group)
			store_group_begin(store); /* or it is on already */
		struct guid guid;

		snprintf(key, sizeof(key), "w%d-%u", writer->number, i);
		buffer_clear(&text);
		for (int line = 0; line < 40; line++)
			buffer_printf(&text, "%s line %d\r\n", key, line);
		add_body(writer->fixture, key, buffer_bytes(&text), &guid);
		if (is_in_group && i % GROUP_SIZE != 0)
			continue;
		assert_int_equal(store_group_end(store, NULL), 0);
		atomic_store(&writer->shared->acknowledged[writer->number], i);
	}
	return NULL;
}

void count_report(void *context, const char *text)
{
	print_message("%s\n", text);
	++*(int *)context;
}

void segment_path(struct fixture *fixture, char path[128])
{
	snprintf(path, 128, "%s/log/0000000000000001.segment", fixture->path);
}
