/* One commit: its effects on the index, their record for the log, and how they are undone. */
#include "store/store_private.h"

#include "base/mem.h"
#include "base/pack.h"

#include <stdlib.h>

struct kv_txn *store_write_kv(struct store_write *write)
{
	return write->kv;
}

uint64_t store_tick(struct store *store, uint64_t at_least)
{
	uint64_t last = atomic_load(&store->tick_last), next;

	do {
		next = last >= at_least ? last + 1 : at_least;
	} while (!atomic_compare_exchange_weak(&store->tick_last, &last, next));
	return next;
}

uint64_t store_write_tick(struct store_write *write, uint64_t at_least)
{
	return store_tick(write->store, at_least);
}

/* ---- what follows from an effect ---- */

void live_changes_add(struct live_changes *changes, struct bytes row, int sign)
{
	struct body_row body;
	size_t i = 0;

	if (body_row_decode(row, &body) < 0)
		return;
	while (i < changes->count && changes->list[i].segment != body.segment)
		i++;
	if (i == changes->count) {
		mem_grow((void **)&changes->list, &changes->room, i + 1, sizeof(*changes->list));
		changes->list[changes->count++] = (struct live_change){ body.segment, 0 };
	}
	changes->list[i].bytes += (int64_t)sign * (int64_t)body.stored_size;
}

static void segment_count(struct store *store, struct bytes row, int sign)
{
	if (!store->is_memory)
		live_changes_add(&store->live_changes, row, sign);
}

void live_changes_settle(struct store *store, bool is_good)
{
	pthread_mutex_lock(&store->log.lock);
	for (size_t i = 0; i < store->live_changes.count && is_good; i++) {
		const struct live_change *change = &store->live_changes.list[i];
		struct log_segment *segment = log_find(&store->log, change->segment);

		if (segment == NULL)
			continue;
		segment->live_bytes += (uint64_t)change->bytes;
		segment->is_changed = true;
	}
	pthread_mutex_unlock(&store->log.lock);
	store->live_changes.count = 0;
}

/* The feed follows from the feed keys: so one logged row does, and old entries need no deletes that
 * compaction would have to carry on. */
static int feed_follow(struct kv_txn *kv, const struct effect *effect, struct bytes before)
{
	int rc = 0;

	if (before.len > 0) {
		unsigned char sequence[8];

		if (before.len != sizeof(sequence))
			return ERR_CORRUPT;
		memcpy(sequence, before.ptr, sizeof(sequence));
		rc = kv_delete(kv, TABLE_FEED, bytes_of(sequence, sizeof(sequence)));
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
	}
	if (effect->operation == EFFECT_DELETE)
		return 0;
	if (effect->value.len != 8)
		return ERR_CORRUPT;
	return kv_put(kv, TABLE_FEED, effect->value, effect->key);
}

int effect_apply(struct store *store, struct kv_txn *kv, const struct effect *effect)
{
	struct bytes before = { NULL, 0 };
	int rc = 0;

	if (effect->table == TABLE_BODY || effect->table == TABLE_FEED_KEY)
		rc = kv_get(kv, effect->table, effect->key, &before);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (effect->table == TABLE_BODY && before.len > 0)
		segment_count(store, before, -1);
	if (effect->table == TABLE_FEED_KEY) {
		rc = feed_follow(kv, effect, before);
		if (rc < 0)
			return rc;
	}
	if (effect->operation == EFFECT_DELETE)
		return kv_delete(kv, effect->table, effect->key);
	rc = kv_put(kv, effect->table, effect->key, effect->value);
	if (rc == 0 && effect->table == TABLE_BODY)
		segment_count(store, effect->value, 1);
	return rc;
}

/* ---- running and undoing ---- */

/* `value` is what the row holds, with a NULL pointer if there is none. */
static void undo_note(
	struct store_write *write, unsigned table, struct bytes key, struct bytes value)
{
	struct undo_entry entry = { .table = table, .had_value = value.ptr != NULL };

	entry.key_at = write->undo_bytes.len;
	entry.key_size = key.len;
	buffer_append_bytes(&write->undo_bytes, key);
	entry.value_at = write->undo_bytes.len;
	entry.value_size = value.len;
	buffer_append_bytes(&write->undo_bytes, value);
	mem_grow((void **)&write->undo, &write->undo_room, write->undo_count + 1,
		sizeof(*write->undo));
	write->undo[write->undo_count++] = entry;
}

static int undo_all(struct store_write *write)
{
	int rc = 0;

	while (write->undo_count > 0 && rc == 0) {
		const struct undo_entry *entry = &write->undo[--write->undo_count];
		struct effect effect = {
			.operation = entry->had_value ? EFFECT_PUT : EFFECT_DELETE,
			.table = entry->table,
			.key = bytes_of(write->undo_bytes.data + entry->key_at, entry->key_size),
			.value = bytes_of(
				write->undo_bytes.data + entry->value_at, entry->value_size),
		};

		rc = effect_apply(write->store, write->kv, &effect);
		if (rc == ERR_NOT_FOUND)
			rc = 0;
	}
	return rc;
}

/* Key and value may be borrowed from the index, which the change moves: it works on copies. */
static int effect_do(struct store_write *write, const struct effect *wanted, bool is_logged)
{
	struct effect effect = *wanted;
	struct bytes before = { NULL, 0 };
	size_t key_at = write->undo_bytes.len, value_at;
	int rc = kv_get(write->kv, effect.table, effect.key, &before);

	if (rc < 0 && (rc != ERR_NOT_FOUND || effect.operation == EFFECT_DELETE))
		return rc;
	if (rc == 0 && effect.operation == EFFECT_PUT && bytes_equal(before, effect.value))
		return 0;
	if (effect.key.len > KV_KEY_SIZE_MAX)
		return ERR_TOO_LARGE;
	undo_note(write, effect.table, effect.key, before);
	value_at = write->undo_bytes.len;
	buffer_append_bytes(&write->undo_bytes, effect.value);
	effect.key.ptr = write->undo_bytes.data + key_at;
	effect.value.ptr = write->undo_bytes.data + value_at;
	rc = effect_apply(write->store, write->kv, &effect);
	if (rc == 0 && is_logged && write->batch != NULL)
		effect_encode(&write->effects, &effect);
	write->undo_bytes.len = value_at;
	return rc;
}

int store_put(struct store_write *write, unsigned table, struct bytes key, struct bytes value)
{
	return effect_do(write, &(struct effect){ EFFECT_PUT, table, key, value }, true);
}

int store_delete(struct store_write *write, unsigned table, struct bytes key)
{
	return effect_do(write, &(struct effect){ EFFECT_DELETE, table, key, { NULL, 0 } }, true);
}

int store_put_unlogged(
	struct store_write *write, unsigned table, struct bytes key, struct bytes value)
{
	return effect_do(write, &(struct effect){ EFFECT_PUT, table, key, value }, false);
}

int store_delete_unlogged(struct store_write *write, unsigned table, struct bytes key)
{
	return effect_do(write, &(struct effect){ EFFECT_DELETE, table, key, { NULL, 0 } }, false);
}

static void commit_frame_add(struct store_write *write)
{
	static const unsigned char zeros[8];
	unsigned char header[FRAME_HEADER_SIZE];
	struct bytes payload = buffer_bytes(&write->effects);
	struct frame frame = { .type = FRAME_COMMIT,
		.payload_size = (uint32_t)payload.len,
		.payload_crc = crc32c(0, payload),
		.sequence = write->sequence,
		.durable = write->store->log.end.sequence };

	frame_encode(header, write->store->log.store, &frame);
	batch_add_own(write->batch, bytes_of(header, sizeof(header)));
	batch_add_own(write->batch, payload);
	batch_add_own(write->batch, bytes_of(zeros, frame_extent(frame.payload_size) -
							    FRAME_HEADER_SIZE - payload.len));
}

int write_run(struct store_write *write, store_run *run, void *context)
{
	size_t piece_count = 0, own_size = 0;
	uint64_t size = 0;
	int rc;

	if (write->batch != NULL) {
		piece_count = write->batch->piece_count;
		own_size = write->batch->own.len;
		size = write->batch->size;
	}
	buffer_clear(&write->effects);
	buffer_clear(&write->undo_bytes);
	buffer_clear(&write->fed);
	write->undo_count = 0;
	write->is_broken = false;
	rc = run(write, context);
	if (rc >= 0 && write->effects.len > FRAME_PAYLOAD_SIZE_MAX)
		rc = ERR_TOO_LARGE;
	if (rc >= 0) {
		if (write->batch != NULL && write->effects.len > 0)
			commit_frame_add(write);
		return rc;
	}
	if (write->batch != NULL)
		batch_cut(write->batch, piece_count, own_size, size);
	write->is_broken = undo_all(write) < 0;
	return rc;
}

void write_deinit(struct store_write *write)
{
	buffer_deinit(&write->effects);
	buffer_deinit(&write->undo_bytes);
	buffer_deinit(&write->fed);
	free(write->undo);
	write->undo = NULL;
}

int write_replay(struct store *store, struct kv_txn *kv, struct bytes payload)
{
	while (payload.len > 0) {
		struct effect effect;
		int rc = effect_decode(&payload, STORE_TABLE_COUNT, &effect);

		if (rc == 0)
			rc = effect_apply(store, kv, &effect);
		/* Redone over a later state the row may be gone already. */
		if (rc < 0 && !(rc == ERR_NOT_FOUND && effect.operation == EFFECT_DELETE))
			return rc;
	}
	return 0;
}

/* ---- the feed ---- */

/* A note is packed behind its key, with a byte that says whether there is one. */
static void news_add(struct store_write *write, struct bytes key, struct bytes note)
{
	pack_bytes(&write->fed, key);
	pack_u8(&write->fed, note.ptr != NULL);
	if (note.ptr != NULL)
		pack_bytes(&write->fed, note);
}

int feed_mark(struct store_write *write, struct bytes key)
{
	struct store *store = write->store;
	unsigned char sequence[8];
	struct bytes value;
	int rc = kv_get(write->kv, TABLE_FEED_KEY, key, &value);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	/* An entry that no reader has seen yet will be seen together with this change. */
	if (rc == ERR_NOT_FOUND || value.len != 8 || get_u64(value.ptr) <= store->feed_applied) {
		put_u64(sequence, ++store->feed_sequence);
		rc = store_put(write, TABLE_FEED_KEY, key, bytes_of(sequence, 8));
		if (rc < 0)
			return rc;
	}
	news_add(write, key, (struct bytes){ NULL, 0 });
	return 0;
}

void feed_note(struct store_write *write, struct bytes key, struct bytes note)
{
	news_add(write, key, note);
}

uint64_t store_write_position(const struct store_write *write)
{
	return write->store->is_memory ? 0 : write->sequence;
}

int feed_next(struct kv_txn *kv, uint64_t after, uint64_t *sequence_r, struct buffer *key_r)
{
	struct kv_cursor *cursor = NULL;
	unsigned char start[8];
	int rc = kv_cursor_open(kv, TABLE_FEED, &cursor);

	put_u64(start, after + 1);
	if (rc == 0)
		rc = kv_cursor_seek(cursor, bytes_of(start, sizeof(start)));
	if (rc == 0) {
		*sequence_r = get_u64(kv_cursor_key(cursor).ptr);
		buffer_append_bytes(key_r, kv_cursor_value(cursor));
	}
	kv_cursor_close(&cursor);
	return rc;
}

int feed_last(struct kv_txn *kv, uint64_t *sequence_r)
{
	static const unsigned char beyond[9] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff };
	struct kv_cursor *cursor = NULL;
	int rc = kv_cursor_open(kv, TABLE_FEED, &cursor);

	*sequence_r = 0;
	if (rc == 0)
		rc = kv_cursor_seek_before(cursor, bytes_of(beyond, sizeof(beyond)));
	if (rc == 0)
		*sequence_r = get_u64(kv_cursor_key(cursor).ptr);
	kv_cursor_close(&cursor);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* ---- rows that go with each index transaction ---- */

int position_put(struct kv_txn *kv, const struct log_position *position)
{
	unsigned char value[24];

	put_u64(value, position->segment);
	put_u64(value + 8, position->offset);
	put_u64(value + 16, position->sequence);
	return kv_put(
		kv, TABLE_META, BYTES_LITERAL("log position"), bytes_of(value, sizeof(value)));
}

int position_get(struct kv_txn *kv, struct log_position *position_r)
{
	struct bytes value;
	int rc = kv_get(kv, TABLE_META, BYTES_LITERAL("log position"), &value);

	if (rc < 0)
		return rc;
	if (value.len != 24)
		return ERR_CORRUPT;
	position_r->segment = get_u64(value.ptr);
	position_r->offset = get_u64(value.ptr + 8);
	position_r->sequence = get_u64(value.ptr + 16);
	return 0;
}

int live_changes_put(struct live_changes *changes, struct kv_txn *kv)
{
	int rc = 0;

	for (size_t i = 0; i < changes->count && rc == 0; i++) {
		unsigned char key[8], value[8];
		struct bytes before = { NULL, 0 };
		uint64_t live_bytes = 0;

		put_u64(key, changes->list[i].segment);
		rc = kv_get(kv, TABLE_SEGMENT, bytes_of(key, 8), &before);
		if (rc < 0 && rc != ERR_NOT_FOUND)
			break;
		if (before.len == 8)
			live_bytes = get_u64(before.ptr);
		put_u64(value, live_bytes + (uint64_t)changes->list[i].bytes);
		rc = kv_put(kv, TABLE_SEGMENT, bytes_of(key, 8), bytes_of(value, 8));
	}
	changes->count = 0;
	return rc;
}

int segment_rows_put(struct store *store, struct kv_txn *kv)
{
	int rc = 0;

	pthread_mutex_lock(&store->log.lock);
	for (size_t i = 0; i < store->log.count && rc == 0; i++) {
		struct log_segment *segment = store->log.segments[i];
		unsigned char key[8], value[8];

		if (!segment->is_changed)
			continue;
		put_u64(key, segment->number);
		put_u64(value, segment->live_bytes);
		rc = kv_put(kv, TABLE_SEGMENT, bytes_of(key, 8), bytes_of(value, 8));
		segment->is_changed = rc < 0;
	}
	pthread_mutex_unlock(&store->log.lock);
	return rc;
}

int segment_rows_get(struct store *store, struct kv_txn *kv)
{
	int rc = 0;

	pthread_mutex_lock(&store->log.lock);
	for (size_t i = 0; i < store->log.count && rc == 0; i++) {
		struct log_segment *segment = store->log.segments[i];
		unsigned char key[8];
		struct bytes value = { NULL, 0 };

		put_u64(key, segment->number);
		rc = kv_get(kv, TABLE_SEGMENT, bytes_of(key, 8), &value);
		rc = rc == ERR_NOT_FOUND ? 0 : rc;
		segment->live_bytes = value.len == 8 ? get_u64(value.ptr) : 0;
		segment->is_changed = false;
	}
	pthread_mutex_unlock(&store->log.lock);
	return rc;
}
