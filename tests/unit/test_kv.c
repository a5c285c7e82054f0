/* The key-value seam: one suite, run on each engine. */
#include "kv/kv.h"

#include "base/buffer.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TABLE_COUNT 4
#define B(text) BYTES_LITERAL(text)

struct engine {
	const char *name;
	struct kv *kv;
	char path[64];
};

static int open_memory(void **state)
{
	struct engine *engine = calloc(1, sizeof(*engine));

	assert_int_equal(kv_memory_open(TABLE_COUNT, &engine->kv), 0);
	*state = engine;
	return 0;
}

static int open_lmdb(void **state)
{
	struct kv_options options = { .table_count = TABLE_COUNT, .create = true };
	struct engine *engine = calloc(1, sizeof(*engine));
	struct error error;

	strcpy(engine->path, "/tmp/chapar-test-kv-XXXXXX");
	assert_non_null(mkdtemp(engine->path));
	assert_int_equal(kv_lmdb_open(engine->path, &options, &error, &engine->kv), 0);
	*state = engine;
	return 0;
}

static int close_engine(void **state)
{
	struct engine *engine = *state;
	char command[128];

	kv_close(&engine->kv);
	if (engine->path[0] != '\0') {
		snprintf(command, sizeof(command), "rm -rf %s", engine->path);
		assert_int_equal(system(command), 0);
	}
	free(engine);
	return 0;
}

static struct kv_txn *begin_write(void **state)
{
	struct kv_txn *txn = NULL;

	assert_int_equal(kv_begin_write(((struct engine *)*state)->kv, &txn), 0);
	return txn;
}

static struct kv_txn *begin_read(void **state)
{
	struct kv_txn *txn = NULL;

	assert_int_equal(kv_begin_read(((struct engine *)*state)->kv, &txn), 0);
	return txn;
}

static void put(struct kv_txn *txn, const char *key, const char *value)
{
	assert_int_equal(kv_put(txn, 1, bytes_of_string(key), bytes_of_string(value)), 0);
}

static void check_value(struct kv_txn *txn, const char *key, const char *expected)
{
	struct bytes value;
	int rc = kv_get(txn, 1, bytes_of_string(key), &value);

	if (expected == NULL) {
		assert_int_equal(rc, ERR_NOT_FOUND);
		return;
	}
	assert_int_equal(rc, 0);
	assert_true(bytes_equal_string(value, expected));
}

static void what_is_put_is_read_in_the_same_and_later_transactions(void **state)
{
	struct kv_txn *txn = begin_write(state);

	put(txn, "a", "1");
	check_value(txn, "a", "1");
	put(txn, "a", "2");
	check_value(txn, "a", "2");
	assert_int_equal(kv_commit(&txn), 0);
	txn = begin_read(state);
	check_value(txn, "a", "2");
	check_value(txn, "b", NULL);
	kv_abort(&txn);
}

static void an_aborted_transaction_leaves_nothing(void **state)
{
	struct kv_txn *txn = begin_write(state);

	put(txn, "a", "1");
	assert_int_equal(kv_commit(&txn), 0);
	txn = begin_write(state);
	put(txn, "a", "2");
	put(txn, "b", "2");
	assert_int_equal(kv_delete(txn, 1, B("a")), 0);
	kv_abort(&txn);
	txn = begin_read(state);
	check_value(txn, "a", "1");
	check_value(txn, "b", NULL);
	kv_abort(&txn);
}

static void a_snapshot_does_not_see_later_commits(void **state)
{
	struct kv_txn *write = begin_write(state), *read;

	put(write, "a", "1");
	assert_int_equal(kv_commit(&write), 0);
	read = begin_read(state);
	write = begin_write(state);
	put(write, "a", "2");
	put(write, "b", "2");
	check_value(read, "a", "1");
	assert_int_equal(kv_commit(&write), 0);
	check_value(read, "a", "1");
	check_value(read, "b", NULL);
	kv_abort(&read);
	read = begin_read(state);
	check_value(read, "a", "2");
	kv_abort(&read);
}

static void tables_do_not_mix(void **state)
{
	struct kv_txn *txn = begin_write(state);
	struct bytes value;

	put(txn, "a", "1");
	assert_int_equal(kv_get(txn, 2, B("a"), &value), ERR_NOT_FOUND);
	kv_abort(&txn);
}

static void deleting_what_is_not_there_says_so(void **state)
{
	struct kv_txn *txn = begin_write(state);

	assert_int_equal(kv_delete(txn, 1, B("a")), ERR_NOT_FOUND);
	put(txn, "a", "");
	check_value(txn, "a", "");
	assert_int_equal(kv_delete(txn, 1, B("a")), 0);
	check_value(txn, "a", NULL);
	kv_abort(&txn);
}

static void a_key_over_the_limit_is_refused(void **state)
{
	static const unsigned char key[KV_KEY_SIZE_MAX + 1] = { 1 };
	struct kv_txn *txn = begin_write(state);
	struct bytes value;

	assert_int_equal(kv_put(txn, 1, bytes_of(key, KV_KEY_SIZE_MAX), B("x")), 0);
	assert_int_equal(kv_put(txn, 1, bytes_of(key, KV_KEY_SIZE_MAX + 1), B("x")), ERR_TOO_LARGE);
	assert_int_equal(kv_get(txn, 1, bytes_of(key, KV_KEY_SIZE_MAX + 1), &value), ERR_NOT_FOUND);
	kv_abort(&txn);
}

static void a_cursor_seeks_and_moves_both_ways(void **state)
{
	struct kv_txn *txn = begin_write(state);
	struct kv_cursor *cursor = NULL;

	put(txn, "b", "2");
	put(txn, "d", "4");
	put(txn, "dd", "5");
	put(txn, "f", "6");
	assert_int_equal(kv_cursor_open(txn, 1, &cursor), 0);
	assert_int_equal(kv_cursor_seek(cursor, B("c")), 0);
	assert_true(bytes_equal_string(kv_cursor_key(cursor), "d"));
	assert_int_equal(kv_cursor_next(cursor), 0);
	assert_true(bytes_equal_string(kv_cursor_key(cursor), "dd"));
	assert_true(bytes_equal_string(kv_cursor_value(cursor), "5"));
	assert_int_equal(kv_cursor_next(cursor), 0);
	assert_int_equal(kv_cursor_next(cursor), ERR_NOT_FOUND);
	assert_int_equal(kv_cursor_seek_before(cursor, B("d")), 0);
	assert_true(bytes_equal_string(kv_cursor_key(cursor), "b"));
	assert_int_equal(kv_cursor_prev(cursor), ERR_NOT_FOUND);
	assert_int_equal(kv_cursor_seek_before(cursor, B("z")), 0);
	assert_true(bytes_equal_string(kv_cursor_key(cursor), "f"));
	assert_int_equal(kv_cursor_prev(cursor), 0);
	assert_true(bytes_equal_string(kv_cursor_key(cursor), "dd"));
	assert_int_equal(kv_cursor_seek(cursor, B("g")), ERR_NOT_FOUND);
	assert_int_equal(kv_cursor_seek_before(cursor, B("b")), ERR_NOT_FOUND);
	kv_cursor_close(&cursor);
	kv_abort(&txn);
}

#define MODEL_SIZE 512

/* Against an array indexed by the key: 20,000 random puts and deletes, aborts, and full scans. */
static void random_changes_agree_with_a_plain_array(void **state)
{
	struct random random = { 20261121 };
	int values[MODEL_SIZE], saved[MODEL_SIZE];

	for (int i = 0; i < MODEL_SIZE; i++)
		values[i] = -1;
	for (int round = 0; round < 200; round++) {
		struct kv_txn *txn = begin_write(state);
		struct kv_cursor *cursor = NULL;
		int at = 0, rc;

		memcpy(saved, values, sizeof(values));
		for (int i = 0; i < 100; i++) {
			int key = (int)random_below(&random, MODEL_SIZE);
			unsigned char bytes[2] = { (unsigned char)(key >> 8), (unsigned char)key };

			if (random_below(&random, 3) == 0) {
				assert_int_equal(kv_delete(txn, 3, bytes_of(bytes, 2)),
					values[key] < 0 ? ERR_NOT_FOUND : 0);
				values[key] = -1;
			} else {
				values[key] = (int)random_below(&random, 1000);
				assert_int_equal(kv_put(txn, 3, bytes_of(bytes, 2),
							 bytes_of(&values[key], sizeof(int))),
					0);
			}
		}
		if (random_below(&random, 4) == 0) {
			kv_abort(&txn);
			memcpy(values, saved, sizeof(values));
		} else {
			assert_int_equal(kv_commit(&txn), 0);
		}
		txn = begin_read(state);
		assert_int_equal(kv_cursor_open(txn, 3, &cursor), 0);
		for (rc = kv_cursor_seek(cursor, bytes_of("\0", 1)); rc == 0;
			rc = kv_cursor_next(cursor)) {
			struct bytes key = kv_cursor_key(cursor);
			int found = key.ptr[0] << 8 | key.ptr[1], value;

			for (; at < found; at++)
				assert_int_equal(values[at], -1);
			memcpy(&value, kv_cursor_value(cursor).ptr, sizeof(value));
			assert_int_equal(value, values[at++]);
		}
		for (; at < MODEL_SIZE; at++)
			assert_int_equal(values[at], -1);
		kv_cursor_close(&cursor);
		kv_abort(&txn);
	}
}

#define ON(engine, test)                                                                           \
	{                                                                                          \
#test " (" #engine ")", test, open_##engine, close_engine, NULL                    \
	}
#define SUITE(engine)                                                                              \
	ON(engine, what_is_put_is_read_in_the_same_and_later_transactions),                        \
		ON(engine, an_aborted_transaction_leaves_nothing),                                 \
		ON(engine, a_snapshot_does_not_see_later_commits), ON(engine, tables_do_not_mix),  \
		ON(engine, deleting_what_is_not_there_says_so),                                    \
		ON(engine, a_key_over_the_limit_is_refused),                                       \
		ON(engine, a_cursor_seeks_and_moves_both_ways),                                    \
		ON(engine, random_changes_agree_with_a_plain_array)

int main(void)
{
	const struct CMUnitTest tests[] = { SUITE(memory), SUITE(lmdb) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
