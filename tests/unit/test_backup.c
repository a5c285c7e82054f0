/* The parts of a backup that need no node: frames, names, which points are kept. */
#include "backup/backup_pack.h"
#include "backup/backup_prune.h"

#include "test_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define HOUR_MS 3600000ull
#define DAY_MS (24 * HOUR_MS)
#define NOW_MS (20000 * DAY_MS + 12 * HOUR_MS) /* a noon */

static void frames_are_read_where_they_were_written_and_nowhere_else(void **state)
{
	struct backup_key key = { .is_encrypted = *(bool *)*state };
	struct buffer object = { 0 }, data = { 0 };
	struct error error = { 0 };
	struct bytes in;
	int kind;

	memset(key.bytes, 7, sizeof(key.bytes));
	backup_object_begin(&key, BACKUP_PACK, &object);
	backup_frame_put(&key, "packs/00", BACKUP_BODY, BYTES_LITERAL("hello"), &object);
	in = buffer_bytes(&object);
	assert_int_equal(backup_object_head(&key, BACKUP_PACK, "packs/00", &in, &error), 0);
	assert_int_equal(backup_frame_get(&key, "packs/00", 16, &in, &kind, &data, &error), 0);
	assert_true(kind == BACKUP_BODY && bytes_equal_string(buffer_bytes(&data), "hello"));
	for (size_t i = 0; i < object.len; i++) {
		object.data[i] ^= 1;
		in = buffer_bytes(&object);
		assert_int_not_equal(
			backup_object_head(&key, BACKUP_PACK, "packs/00", &in, &error) < 0 ||
				backup_frame_get(&key, "packs/00", 16, &in, &kind, &data, &error) <
					0 ||
				in.len > 0,
			0);
		object.data[i] ^= 1;
	}
	in = bytes_of(object.data + 16, object.len - 16);
	assert_int_equal(
		backup_frame_get(&key, "packs/01", 16, &in, &kind, &data, &error), ERR_CORRUPT);
	in = bytes_of(object.data + 16, object.len - 16);
	assert_int_equal(
		backup_frame_get(&key, "packs/00", 17, &in, &kind, &data, &error), ERR_CORRUPT);
	buffer_deinit(&object);
	buffer_deinit(&data);
}

static void names_are_of_one_form(void **state)
{
	(void)state;
	assert_true(object_name_is_valid("chapar-backup"));
	assert_true(object_name_is_valid("packs/00ff"));
	assert_false(object_name_is_valid(""));
	assert_false(object_name_is_valid("../lock"));
	assert_false(object_name_is_valid("/etc"));
	assert_false(object_name_is_valid("packs//x"));
	assert_false(object_name_is_valid("a/b/c"));
	assert_false(object_name_is_valid("packs/"));
	assert_false(object_name_is_valid("packs/A"));
	assert_false(object_name_is_valid("packs/-x"));
}

/* Points each hour for 60 days. How many stay, and whether the last does. */
static size_t kept_count(const char *rules)
{
	static struct backup_point_name points[60 * 24];
	static bool is_kept[60 * 24];
	struct backup_keep keep;
	struct error error = { 0 };
	size_t count = sizeof(points) / sizeof(points[0]), kept = 0;

	for (size_t i = 0; i < count; i++)
		points[i].made_ms = NOW_MS - (count - 1 - i) * HOUR_MS;
	assert_int_equal(backup_keep_parse(rules, &keep, &error), 0);
	backup_keep_choose(&keep, NOW_MS, points, count, is_kept);
	for (size_t i = 0; i < count; i++)
		kept += is_kept[i];
	assert_true(is_kept[count - 1]);
	return kept;
}

static void rules_keep_the_last_point_of_each_period(void **state)
{
	(void)state;
	assert_int_equal(kept_count("1h"), 2); /* now, and an hour ago */
	assert_int_equal(kept_count("hourly:24"), 24);
	assert_int_equal(kept_count("daily:7"), 7);
	assert_int_equal(kept_count("daily:100"), 61); /* parts of days at both ends */
	assert_int_equal(kept_count("yearly:10"), 1);
	/* The days' last points that are within the last day are among those already. */
	assert_int_equal(kept_count("1d,daily:3"), 25 + 2 - 1);
	assert_int_equal(kept_count("weekly:2"), 2);
}

static void bad_rules_are_refused(void **state)
{
	static const char *const bad[] = { "", "7", "d", "7d,", "0d", "daily:", "daily:0",
		"daily:-1", "daily: 1", "7x", "fortnightly:1", "99999999999999999999d",
		"1d,1d,1d,1d,1d,1d,1d,1d,1d" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct backup_keep keep;
		struct error error = { 0 };

		assert_int_equal(backup_keep_parse(bad[i], &keep, &error), ERR_INVALID);
	}
}

static int put_refused(
	struct object_store *store, const char *name, struct bytes data, struct error *error)
{
	(void)store;
	(void)data;
	return error_set(error, ERR_UNAVAILABLE, "%s: not now", name);
}

/* Else a point would speak of what was in the pack that is not there. */
static void what_follows_a_pack_that_could_not_be_put_fails_too(void **state)
{
	char folder[] = "/tmp/chapar-backup-XXXXXX";
	struct error error = { 0 };
	struct backup_repository *repository = NULL;
	struct object_store_functions failing;
	const struct object_store_functions *working;
	struct backup_pack_writer *writer;
	struct backup_place place;

	(void)state;
	assert_non_null(test_folder_make(folder));
	assert_int_equal(backup_repository_open(
				 &(struct backup_repository_options){
					 .target = folder, .create = true, .is_writer = true },
				 &repository, &error),
		0);
	writer = backup_pack_writer_new(repository);
	working = repository->store->functions;
	failing = *working;
	failing.put = put_refused;
	repository->store->functions = &failing;
	assert_int_equal(backup_pack_add(writer, BACKUP_RECORDS, NULL, BYTES_LITERAL("of anna"),
				 &place, &error),
		0);
	assert_int_equal(backup_pack_flush(writer, &error), ERR_UNAVAILABLE);
	repository->store->functions = working;
	assert_true(backup_pack_has_failed(writer));
	assert_int_equal(backup_pack_add(writer, BACKUP_RECORDS, NULL, BYTES_LITERAL("of bert"),
				 &place, &error),
		ERR_UNAVAILABLE);
	error = (struct error){ 0 };
	assert_int_equal(backup_pack_flush(writer, &error), ERR_UNAVAILABLE);
	assert_non_null(strstr(error.text, "not now"));
	backup_pack_writer_free(&writer);
	backup_repository_close(&repository);
}

int main(void)
{
	static bool plain = false, sealed = true;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(
			frames_are_read_where_they_were_written_and_nowhere_else, &plain),
		cmocka_unit_test_prestate(
			frames_are_read_where_they_were_written_and_nowhere_else, &sealed),
		cmocka_unit_test(what_follows_a_pack_that_could_not_be_put_fails_too),
		cmocka_unit_test(names_are_of_one_form),
		cmocka_unit_test(rules_keep_the_last_point_of_each_period),
		cmocka_unit_test(bad_rules_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
