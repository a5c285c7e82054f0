/* The key-value seam: one suite, run on each engine. */
#include "kv/kv.h"
#include "kv/kv_layers.h"
#include "test_folder.h"

#include "base/buffer.h"
#include "base/random.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
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
	bool has_layers, is_sealed;
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
	assert_non_null(test_folder_make(engine->path));
	assert_int_equal(kv_lmdb_open(engine->path, &options, &error, &engine->kv), 0);
	*state = engine;
	return 0;
}

static int open_layers(void **state)
{
	int rc = open_lmdb(state);
	struct engine *engine = *state;

	engine->kv = kv_layers_open(&engine->kv);
	engine->has_layers = true;
	return rc;
}

/* Now and then what is in memory is sealed, and what is sealed is moved down, at once or page by
 * page. */
static void move_down(struct engine *engine, struct random *random)
{
	struct kv_pieces pieces = { .size_max = random_below(random, 2) };

	if (!engine->has_layers || random_below(random, 2) == 0)
		return;
	if (engine->is_sealed)
		assert_int_equal(kv_layers_flush(engine->kv, &pieces), 0);
	else
		kv_layers_seal(engine->kv);
	engine->is_sealed = !engine->is_sealed;
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

static int model_key(struct kv_cursor *cursor)
{
	struct bytes key = kv_cursor_key(cursor);

	assert_int_equal(key.len, 2);
	return key.ptr[0] << 8 | key.ptr[1];
}

static void check_model(struct kv_cursor *cursor, const int values[MODEL_SIZE])
{
	int value;

	memcpy(&value, kv_cursor_value(cursor).ptr, sizeof(value));
	assert_int_equal(value, values[model_key(cursor)]);
}

static void check_forward(struct kv_txn *txn, const int values[MODEL_SIZE])
{
	struct kv_cursor *cursor = NULL;
	int at = 0, rc;

	assert_int_equal(kv_cursor_open(txn, 3, &cursor), 0);
	for (rc = kv_cursor_seek(cursor, bytes_of("\0", 1)); rc == 0; rc = kv_cursor_next(cursor)) {
		for (; at < model_key(cursor); at++)
			assert_int_equal(values[at], -1);
		check_model(cursor, values);
		at++;
	}
	for (; at < MODEL_SIZE; at++)
		assert_int_equal(values[at], -1);
	kv_cursor_close(&cursor);
}

static void check_backward(struct kv_txn *txn, const int values[MODEL_SIZE])
{
	struct kv_cursor *cursor = NULL;
	int at = MODEL_SIZE - 1, rc;

	assert_int_equal(kv_cursor_open(txn, 3, &cursor), 0);
	for (rc = kv_cursor_seek_before(cursor, bytes_of("\xff", 1)); rc == 0;
		rc = kv_cursor_prev(cursor)) {
		for (; at > model_key(cursor); at--)
			assert_int_equal(values[at], -1);
		check_model(cursor, values);
		at--;
	}
	for (; at >= 0; at--)
		assert_int_equal(values[at], -1);
	kv_cursor_close(&cursor);
}

/* From a random key, steps in random directions while there are rows. */
static void check_zigzag(struct kv_txn *txn, const int values[MODEL_SIZE], struct random *random)
{
	int at = (int)random_below(random, MODEL_SIZE);
	unsigned char bytes[2] = { (unsigned char)(at >> 8), (unsigned char)at };
	struct kv_cursor *cursor = NULL;
	int rc;

	assert_int_equal(kv_cursor_open(txn, 3, &cursor), 0);
	rc = kv_cursor_seek(cursor, bytes_of(bytes, 2));
	for (int step = 0; step < 40; step++) {
		bool is_back = random_below(random, 2) == 0;

		if (rc < 0)
			break;
		check_model(cursor, values);
		at = model_key(cursor);
		do {
			at += is_back ? -1 : 1;
		} while (at >= 0 && at < MODEL_SIZE && values[at] < 0);
		rc = is_back ? kv_cursor_prev(cursor) : kv_cursor_next(cursor);
		assert_int_equal(rc, at >= 0 && at < MODEL_SIZE ? 0 : ERR_NOT_FOUND);
		if (rc == 0)
			assert_int_equal(model_key(cursor), at);
	}
	kv_cursor_close(&cursor);
}

/* Against an array indexed by the key: 20,000 random puts and deletes, aborts, and scans. */
static void random_changes_agree_with_a_plain_array(void **state)
{
	struct random random = { 20261121 };
	int values[MODEL_SIZE], saved[MODEL_SIZE];

	for (int i = 0; i < MODEL_SIZE; i++)
		values[i] = -1;
	for (int round = 0; round < 200; round++) {
		struct kv_txn *txn = begin_write(state);

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
		move_down(*state, &random);
		check_forward(txn, values);
		check_backward(txn, values);
		check_zigzag(txn, values, &random);
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

#define PAIR_COUNT 64

struct pairs {
	struct kv *kv;
	_Atomic bool is_done;
};

/* Each transaction of the writer sets two keys to one number: a snapshot never shows two. */
static void *read_pairs(void *context)
{
	struct pairs *pairs = context;
	struct random random = { 7 };

	while (!atomic_load(&pairs->is_done)) {
		unsigned char key[2] = { 'a', (unsigned char)random_below(&random, PAIR_COUNT) };
		struct kv_txn *txn = NULL;
		struct bytes a, b;
		int rc;

		assert_int_equal(kv_begin_read(pairs->kv, &txn), 0);
		rc = kv_get(txn, 1, bytes_of(key, 2), &a);
		key[0] = 'b';
		assert_int_equal(kv_get(txn, 1, bytes_of(key, 2), &b), rc);
		if (rc == 0)
			assert_true(bytes_equal(a, b));
		kv_abort(&txn);
	}
	return NULL;
}

static void *flush_pairs(void *context)
{
	struct pairs *pairs = context;
	struct kv_pieces pieces = { .size_max = 1 };

	while (!atomic_load(&pairs->is_done))
		assert_int_equal(kv_layers_flush(pairs->kv, &pieces), 0);
	return NULL;
}

static void snapshots_are_whole_while_others_write_and_flush(void **state)
{
	struct pairs pairs = { .kv = ((struct engine *)*state)->kv };
	struct kv_pieces pieces = { 0 };
	struct random random = { 3 };
	pthread_t threads[3];

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_pairs, &pairs), 0);
	for (int round = 0; round < 4000; round++) {
		unsigned char key[2] = { 'a', (unsigned char)random_below(&random, PAIR_COUNT) };
		struct kv_txn *txn = begin_write(state);
		struct bytes number = bytes_of(&round, sizeof(round));

		assert_int_equal(kv_put(txn, 1, bytes_of(key, 2), number), 0);
		key[0] = 'b';
		assert_int_equal(kv_put(txn, 1, bytes_of(key, 2), number), 0);
		if (random_below(&random, 3) == 0)
			kv_abort(&txn);
		else
			assert_int_equal(kv_commit(&txn), 0);
		if (round % 500 == 250) {
			kv_layers_seal(pairs.kv);
			assert_int_equal(pthread_create(&threads[2], NULL, flush_pairs, &pairs), 0);
		} else if (round % 500 == 499) {
			atomic_store(&pairs.is_done, true);
			for (int i = 0; i < 3; i++)
				pthread_join(threads[i], NULL);
			atomic_store(&pairs.is_done, false);
			assert_int_equal(kv_layers_flush(pairs.kv, &pieces), 0);
			for (int i = 0; i < 2; i++)
				pthread_create(&threads[i], NULL, read_pairs, &pairs);
		}
	}
	atomic_store(&pairs.is_done, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

#define ROW_COUNT 2000 /* of which a page does not hold a tenth */

struct broken_disk {
	int rows_left, piece_count;
};

static int count_row(
	void *context, struct kv_txn *below, unsigned table, struct bytes key, struct bytes value)
{
	struct broken_disk *disk = context;

	(void)below;
	(void)table;
	(void)key;
	(void)value;
	return disk->rows_left-- > 0 ? 0 : ERR_IO;
}

static int count_piece(void *context, struct kv_txn *below)
{
	struct broken_disk *disk = context;

	(void)below;
	disk->piece_count++;
	return 0;
}

static void write_rows(void **state, unsigned char value)
{
	struct kv_txn *txn = begin_write(state);
	unsigned char text[40];

	memset(text, value, sizeof(text));
	for (unsigned table = 0; table < 3; table++) {
		for (int i = 0; i < (table == 0 ? 1 : ROW_COUNT); i++) {
			unsigned char key[2] = { (unsigned char)(i >> 8), (unsigned char)i };

			assert_int_equal(
				kv_put(txn, table, bytes_of(key, 2), bytes_of(text, sizeof(text))),
				0);
		}
	}
	assert_int_equal(kv_commit(&txn), 0);
}

/* How many rows of the table are of the last writing. */
static int count_rows(struct kv *kv, unsigned table, unsigned char value)
{
	struct kv_cursor *cursor = NULL;
	struct kv_txn *txn = NULL;
	int count = 0, rc;

	assert_int_equal(kv_begin_read(kv, &txn), 0);
	assert_int_equal(kv_cursor_open(txn, table, &cursor), 0);
	for (rc = kv_cursor_seek(cursor, bytes_of("\0", 1)); rc == 0; rc = kv_cursor_next(cursor))
		count += kv_cursor_value(cursor).ptr[0] == value;
	kv_cursor_close(&cursor);
	kv_abort(&txn);
	return count;
}

static void what_goes_down_in_pieces_ends_with_table_0(void **state)
{
	struct engine *engine = *state;
	struct broken_disk disk = { ROW_COUNT + ROW_COUNT / 2, 0 };
	struct kv_pieces pieces = { 16 * 4096, count_row, count_piece, &disk };
	struct kv_options options = { .table_count = TABLE_COUNT };

	write_rows(state, 1);
	kv_layers_seal(engine->kv);
	write_rows(state, 2);
	assert_int_equal(kv_layers_flush(engine->kv, &pieces), ERR_IO);
	assert_true(disk.piece_count > 1);
	/* Nobody sees that a part is below. */
	for (unsigned table = 0; table < 3; table++)
		assert_int_equal(count_rows(engine->kv, table, 2), table == 0 ? 1 : ROW_COUNT);
	disk = (struct broken_disk){ 2 * ROW_COUNT + 1, 0 };
	assert_int_equal(kv_layers_flush(engine->kv, &pieces), 0);
	assert_int_equal(disk.rows_left, 0);
	assert_in_range(disk.piece_count, 4, 40);
	kv_layers_seal(engine->kv);
	disk = (struct broken_disk){ 2 * ROW_COUNT, 0 };
	assert_int_equal(kv_layers_flush(engine->kv, &pieces), ERR_IO);
	/* What a crash leaves: table 0 is as it was, whatever is below of the others. */
	kv_close(&engine->kv);
	assert_int_equal(kv_lmdb_open(engine->path, &options, NULL, &engine->kv), 0);
	assert_int_equal(count_rows(engine->kv, 0, 1), 1);
	assert_int_equal(count_rows(engine->kv, 1, 2), ROW_COUNT);
	assert_in_range(count_rows(engine->kv, 2, 2), 1, ROW_COUNT - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { SUITE(memory), SUITE(lmdb), SUITE(layers),
		ON(layers, snapshots_are_whole_while_others_write_and_flush),
		ON(layers, what_goes_down_in_pieces_ends_with_table_0) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
