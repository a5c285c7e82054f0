/*
 * What a backup's target can hold, by the first byte: 'F' any bytes as an object; 'T' the data of
 * well-guarded frames of a point (each preceded by its kind and two bytes of size); 'R' a part of
 * an account's records; 'I' the index of a pack; 'X' an answer of an S3 server; 'K' rules of
 * retention. What is taken must hold together, and, written again, be read as the same.
 */
#include "backup/backup_pack.h"
#include "backup/backup_part.h"
#include "backup/backup_prune.h"
#include "backup/s3_listing.h"
#include "fuzz_check.h"

#include <stdlib.h>

#define POINT_NAME "points/1795257000000-00000001"

static void check_point(struct bytes object)
{
	static const struct backup_key key;
	struct backup_point point = { 0 };
	struct error error = { 0 };

	if (backup_point_decode(&key, POINT_NAME, object, &point, &error) < 0) {
		FUZZ_CHECK(error.text[0] != '\0' && point.accounts == NULL);
		return;
	}
	for (size_t i = 0; i < point.account_count; i++)
		FUZZ_CHECK(backup_point_find(&point, point.accounts[i].name) == &point.accounts[i]);
	backup_point_deinit(&point);
}

static void as_frames(struct bytes in)
{
	static const struct backup_key key;
	struct buffer object = { 0 };

	backup_object_begin(&key, BACKUP_POINT, &object);
	while (in.len > 3) {
		size_t len = (size_t)in.ptr[1] << 8 | in.ptr[2];
		int kind = in.ptr[0];

		bytes_skip(&in, 3);
		len = len < in.len ? len : in.len;
		backup_frame_put(
			&key, POINT_NAME, (enum backup_kind)kind, bytes_take(&in, len), &object);
	}
	check_point(buffer_bytes(&object));
	buffer_deinit(&object);
}

static void check_part(struct bytes in)
{
	struct arena *arena = arena_new();
	struct backup_part part = { 0 }, again = { 0 };
	struct error error = { 0 };
	struct buffer text = { 0 };
	size_t next = 0, total;

	if (backup_part_decode(in, arena, &part, &error) < 0) {
		FUZZ_CHECK(error.text[0] != '\0');
		goto out;
	}
	total = part.records.mailbox_count + part.records.message_count +
		part.records.register_count;
	backup_part_encode(part.account, &part.previous, &part.records, part.places, &next, &text);
	FUZZ_CHECK(backup_part_decode(buffer_bytes(&text), arena, &again, &error) == 0);
	FUZZ_CHECK(strcmp(part.account, again.account) == 0 &&
		   part.previous.offset == again.previous.offset);
	FUZZ_CHECK(next == total ? again.records.message_count == part.records.message_count
				 : next > 0);
	for (size_t i = 0; i < again.records.message_count; i++)
		FUZZ_CHECK(again.places[i].offset == part.places[i].offset &&
			   again.places[i].size == part.places[i].size);
	change_set_deinit(&again.records);
out:
	change_set_deinit(&part.records);
	buffer_deinit(&text);
	arena_free(&arena);
}

static void check_index(struct bytes in)
{
	struct backup_pack_entry *entries;
	uint64_t end = BACKUP_OBJECT_HEAD_SIZE;
	size_t count;

	if (backup_pack_index_decode(in, &entries, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		FUZZ_CHECK(entries[i].offset == end && entries[i].size > 0);
		end += entries[i].size;
	}
	free(entries);
}

static int key_take(void *context, const char *key, uint64_t size)
{
	(void)size;
	FUZZ_CHECK(strlen(key) <= S3_TEXT_SIZE_MAX);
	return ++*(unsigned *)context > 1000 ? ERR_TOO_LARGE : 0;
}

static void check_listing(struct bytes in)
{
	struct s3_listing listing;
	unsigned count = 0;

	(void)s3_listing_read(in, &listing, key_take, &count);
	FUZZ_CHECK(strlen(listing.token) <= S3_TEXT_SIZE_MAX);
}

static void check_keep(struct bytes in)
{
	struct backup_point_name points[5] = { { .made_ms = 1 }, { .made_ms = 86400000 },
		{ .made_ms = 86400001 }, { .made_ms = 1795257000000 },
		{ .made_ms = 1795257000001 } };
	struct arena *arena = arena_new();
	struct backup_keep keep;
	struct error error = { 0 };
	bool is_kept[5];

	if (backup_keep_parse(arena_string(arena, in), &keep, &error) == 0) {
		FUZZ_CHECK(keep.count > 0 && keep.count <= BACKUP_KEEP_RULE_MAX);
		backup_keep_choose(&keep, 1795257000002, points, 5, is_kept);
		FUZZ_CHECK(is_kept[4]);
	}
	arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = bytes_of(data, size);

	if (size == 0)
		return 0;
	bytes_skip(&in, 1);
	switch (data[0]) {
	case 'F':
		check_point(in);
		break;
	case 'T':
		as_frames(in);
		break;
	case 'R':
		check_part(in);
		break;
	case 'I':
		check_index(in);
		break;
	case 'X':
		check_listing(in);
		break;
	case 'K':
		check_keep(in);
		break;
	default:
		break;
	}
	return 0;
}
