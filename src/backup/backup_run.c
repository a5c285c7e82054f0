#include "backup/backup_run.h"

#include "backup/backup_pack.h"
#include "backup/backup_part.h"
#include "base/clock.h"
#include "base/mem.h"
#include "sync/account_filter.h"

#include <stdio.h>
#include <stdlib.h>

/* All records are written anew when what followed them is half as much again, or in many parts. */
#define AFTER_SIZE_MIN (64u * 1024)
#define AFTER_COUNT_MAX 60u
#define BODY_COUNT 1000u             /* asked for at once */
#define BODY_SIZE (8u * 1024 * 1024) /* bytes, the same */
#define ROUND_COUNT_MAX 2            /* an account that changes while it is read */

struct run {
	struct backup_repository *repository;
	struct backup_cache *cache;
	struct backup_source *source;
	const struct backup_run_options *options;
	struct backup_run_result *result;
	struct backup_pack_writer *writer;
	struct backup_point before, point;
	bool is_changed; /* the point is worth making */
};

/* ---- one account ---- */

struct wanted {
	struct stamp instance;
	uint64_t size;
	struct guid guid;
};

struct account_run {
	struct run *run;
	struct backup_account account; /* as it becomes */
	struct arena *arena;
	struct backup_changes changes;
	struct backup_place *places; /* of changes.records.messages */
	struct wanted *wanted;
	size_t wanted_count, wanted_room;
	uint64_t record_count, message_count;
	uint64_t byte_done, byte_total; /* of messages */
};

static int body_take(void *context, const struct guid *guid, struct bytes raw, struct error *error)
{
	struct account_run *own = context;
	struct backup_place place;
	uint64_t before, after;
	int rc;

	(void)backup_pack_written(own->run->writer, &before);
	rc = backup_pack_add(own->run->writer, BACKUP_BODY, guid, raw, &place, error);
	if (rc < 0)
		return rc;
	backup_cache_add(own->run->cache, guid, &place);
	own->message_count++;
	own->run->result->message_count++;
	own->run->result->message_bytes += raw.len;
	own->byte_done += raw.len;
	(void)backup_pack_written(own->run->writer, &after);
	/* A pack went out: what is in it need not be fetched again, whatever happens. */
	return after > before ? backup_cache_save(own->run->cache, error) : 0;
}

static int list_wanted(struct account_run *own, struct error *error)
{
	const struct change_set *records = &own->changes.records;
	struct map listed = { 0 };
	int rc = 0;

	own->wanted_count = 0;
	own->byte_done = own->byte_total = 0;
	for (size_t i = 0; i < records->message_count && rc == 0; i++) {
		const struct message_record *message = &records->messages[i].record;
		struct bytes key = bytes_of(message->guid.bytes, sizeof(message->guid.bytes));
		struct backup_place place;

		if (map_get(&listed, key) != NULL)
			continue;
		rc = backup_cache_find(own->run->cache, &message->guid, &place, error);
		if (rc != ERR_NOT_FOUND)
			continue;
		rc = 0;
		map_put(&listed, key, (void *)message);
		mem_grow((void **)&own->wanted, &own->wanted_room, own->wanted_count + 1,
			sizeof(*own->wanted));
		own->wanted[own->wanted_count++] =
			(struct wanted){ message->instance, message->size, message->guid };
		own->byte_total += message->size;
	}
	map_deinit(&listed);
	return rc;
}

/* How many are asked for at once from the `next`th on: so few that the node answers with all. */
static size_t batch_take(
	const struct account_run *own, size_t next, size_t limit, struct stamp *instances)
{
	uint64_t size = 0;
	size_t count = 0;

	while (next + count < own->wanted_count && count < limit &&
		(count == 0 || size + own->wanted[next + count].size <= BODY_SIZE)) {
		instances[count] = own->wanted[next + count].instance;
		size += own->wanted[next + count].size;
		count++;
	}
	return count;
}

/* A node refuses a whole batch if one message is damaged there: then the others are asked for in
 * smaller ones, and that one is missing. */
static int bodies_fetch(struct account_run *own, struct error *error)
{
	struct stamp *instances = mem_zalloc_array(BODY_COUNT, sizeof(*instances));
	size_t next = 0, limit = BODY_COUNT;
	int rc = 0;

	while (next < own->wanted_count && rc == 0) {
		size_t count = batch_take(own, next, limit, instances);

		rc = backup_ask_bodies(own->run->source, own->account.name, instances, count,
			body_take, own, error);
		if (rc < 0 && own->run->source->is_refusal) {
			*error = (struct error){ 0 };
			rc = 0;
			limit = count / 4 + 1;
			next += count == 1;
			continue;
		}
		next += count;
		limit = limit * 2 < BODY_COUNT ? limit * 2 : BODY_COUNT;
		if (rc == 0 && own->run->options->progress != NULL)
			own->run->options->progress(own->run->options->context, own->account.name,
				own->byte_done, own->byte_total);
	}
	free(instances);
	return rc;
}

/* Where the bodies are, now that all are here that can be. */
static int places_find(struct account_run *own, struct error *error)
{
	const struct change_set *records = &own->changes.records;
	int rc = 0;

	own->places = arena_zalloc(own->arena, (records->message_count + 1) * sizeof(*own->places));
	for (size_t i = 0; i < records->message_count && rc == 0; i++) {
		rc = backup_cache_find(
			own->run->cache, &records->messages[i].record.guid, &own->places[i], error);
		if (rc == ERR_NOT_FOUND) {
			own->places[i] = (struct backup_place){ 0 };
			rc = 0;
		}
	}
	return rc;
}

static int parts_write(struct account_run *own, bool is_whole, struct error *error)
{
	const struct change_set *records = &own->changes.records;
	size_t total = records->mailbox_count + records->message_count + records->register_count;
	struct backup_account *account = &own->account;
	struct buffer data = { 0 };
	size_t next = 0;
	int rc = 0;

	while (rc == 0 && (next < total || backup_place_is_none(&account->part))) {
		struct backup_place place;

		buffer_clear(&data);
		backup_part_encode(
			account->name, &account->part, records, own->places, &next, &data);
		rc = backup_pack_add(
			own->run->writer, BACKUP_RECORDS, NULL, buffer_bytes(&data), &place, error);
		if (rc < 0)
			break;
		account->part = place;
		if (is_whole) {
			account->whole_size += place.size;
		} else {
			account->after_size += place.size;
			account->after_count++;
		}
	}
	buffer_deinit(&data);
	own->record_count += total;
	return rc;
}

static void chain_begin(struct backup_account *account)
{
	account->part = (struct backup_place){ 0 };
	account->whole_size = account->after_size = account->after_count = 0;
}

/* One answer of the node: its records with their messages. */
static int page_take(struct account_run *own, uint64_t since, bool *is_whole, struct error *error)
{
	int rc;

	arena_reset(own->arena);
	rc = backup_ask_changes(
		own->run->source, own->account.name, since, own->arena, &own->changes, error);
	if (rc < 0)
		return rc;
	if (own->changes.is_reset) {
		chain_begin(&own->account);
		*is_whole = true;
	}
	rc = list_wanted(own, error);
	if (rc == 0 && own->wanted_count > 0)
		rc = bodies_fetch(own, error);
	if (rc == 0)
		rc = places_find(own, error);
	if (rc == 0)
		rc = parts_write(own, *is_whole, error);
	return rc;
}

static uint64_t missing_count(const struct account_run *own)
{
	const struct change_set *records = &own->changes.records;
	uint64_t count = 0;

	for (size_t i = 0; i < records->message_count; i++)
		count += message_is_shown(&records->messages[i].record) &&
			 backup_place_is_none(&own->places[i]);
	return count;
}

/* A message that was expunged while we read is told of when we ask again. */
static int pages_take(struct account_run *own, uint64_t since, bool is_whole, struct error *error)
{
	uint64_t missing = 0;
	int rc = 0, round = 0;

	for (;;) {
		bool has_more, was_whole = is_whole;

		rc = page_take(own, since, &is_whole, error);
		if (rc < 0)
			break;
		missing = is_whole && !was_whole ? 0 : missing;
		missing += missing_count(own);
		since = own->changes.sequence;
		has_more = own->changes.has_more;
		own->account.sequence = own->changes.sequence;
		own->account.highest = own->changes.highest;
		own->account.digest = own->changes.digest;
		change_set_deinit(&own->changes.records);
		if (has_more)
			continue;
		if (missing == 0 || ++round == ROUND_COUNT_MAX)
			break;
		/* Read all of it again: what is missing still is, or is no longer shown. */
		chain_begin(&own->account);
		missing = 0;
		since = 0;
		is_whole = true;
	}
	change_set_deinit(&own->changes.records);
	own->account.missing_count = missing;
	return rc;
}

static bool is_due_for_all(const struct run *run, const struct backup_account *account)
{
	return run->options->is_whole || account->node != run->source->peer.node ||
	       backup_place_is_none(&account->part) || account->missing_count > 0 ||
	       account->after_count >= AFTER_COUNT_MAX ||
	       account->after_size > account->whole_size / 2 + AFTER_SIZE_MIN;
}

static int account_take(struct run *run, struct backup_account *account, struct error *error)
{
	struct account_run own = { .run = run, .account = *account, .arena = arena_new() };
	bool is_whole = is_due_for_all(run, account);
	int rc;

	own.account.node = run->source->peer.node;
	own.account.is_absent = false;
	if (is_whole)
		chain_begin(&own.account);
	rc = pages_take(&own, is_whole ? 0 : account->sequence, is_whole, error);
	if (rc == 0) {
		*account = own.account;
		run->result->changed_count++;
		run->result->record_count += own.record_count;
		run->result->missing_count += account->missing_count;
		run->is_changed = true;
	}
	if (run->options->tell != NULL && (rc == 0 || error->code != 0))
		run->options->tell(run->options->context, account->name, own.record_count,
			own.message_count, error);
	free(own.wanted);
	arena_free(&own.arena);
	return rc;
}

/* ---- all accounts ---- */

/* Errors of the connection or the target end the run; others are the account's own, as is all that
 * the node answers. */
static bool is_final(const struct run *run, int rc)
{
	if (backup_pack_has_failed(run->writer))
		return true;
	if (run->source->is_refusal)
		return false;
	return rc == ERR_IO || rc == ERR_FULL || rc == ERR_CLOSED || rc == ERR_TIMEOUT;
}

static bool is_unchanged(const struct run *run, const struct backup_account *mine,
	const struct survey_account *theirs)
{
	return !run->options->is_whole && mine->missing_count == 0 && !mine->is_absent &&
	       mine->node == run->source->peer.node && mine->sequence == theirs->sequence &&
	       digest_equal(mine->digest, theirs->digest);
}

/* Another node that holds the same: what was read from the first need not be read again. */
static bool is_equal_elsewhere(const struct run *run, const struct backup_account *mine,
	const struct survey_account *theirs)
{
	return !run->options->is_whole && mine->node != run->source->peer.node &&
	       mine->missing_count == 0 && !backup_place_is_none(&mine->part) &&
	       mine->highest == theirs->highest && digest_equal(mine->digest, theirs->digest);
}

static int account_look(struct run *run, const struct survey_account *theirs, struct error *error)
{
	const struct backup_account *found;
	struct backup_account account = { 0 };
	struct error own_error = { 0 };
	int rc = 0;

	if (!theirs->exists || account_name_normalize(theirs->name, account.name) < 0 ||
		!account_filter_passes(run->options->accounts, account.name))
		return 0;
	run->result->account_count++;
	found = backup_point_find(&run->before, account.name);
	if (found != NULL)
		account = *found;
	if (found != NULL && is_equal_elsewhere(run, &account, theirs)) {
		account.node = run->source->peer.node;
		account.sequence = theirs->sequence;
		account.is_absent = false;
		run->is_changed = true;
	} else if (found == NULL || !is_unchanged(run, &account, theirs)) {
		rc = account_take(run, &account, &own_error);
	}
	if (rc < 0 && is_final(run, rc)) {
		*error = own_error;
		return rc;
	}
	if (rc < 0) {
		run->result->failed_count++;
		if (run->result->first_error.code == 0) {
			run->result->first_error = own_error;
			error_prefix(&run->result->first_error, "%s", account.name);
		}
	}
	if (rc == 0 || found != NULL)
		backup_point_add(&run->point, &account);
	return 0;
}

static int accounts_look(struct run *run, struct error *error)
{
	uint64_t cursor = 0;
	int rc = 0;

	do {
		struct arena *arena = arena_new();
		struct survey_account *accounts = NULL;
		size_t count = 0;

		rc = backup_ask_points(run->source, &cursor, arena, &accounts, &count, error);
		for (size_t i = 0; i < count && rc == 0; i++)
			rc = account_look(run, &accounts[i], error);
		arena_free(&arena);
	} while (rc == 0 && cursor != 0);
	return rc;
}

/* Accounts that the node does not tell of stay: what was there may be wanted back. */
static void absent_keep(struct run *run)
{
	size_t told_count = run->point.account_count;
	struct backup_point told = run->point; /* sorted; what is added goes behind it */

	for (size_t i = 0; i < run->before.account_count; i++) {
		struct backup_account account = run->before.accounts[i];
		bool is_meant = account_filter_passes(run->options->accounts, account.name);

		told.accounts = run->point.accounts;
		told.account_count = told_count;
		if (backup_point_find(&told, account.name) != NULL)
			continue;
		if (is_meant && !account.is_absent) {
			account.is_absent = true;
			run->is_changed = true;
		}
		run->result->absent_count += account.is_absent;
		backup_point_add(&run->point, &account);
	}
	backup_point_sort(&run->point);
}

static int point_make(struct run *run, struct error *error)
{
	struct backup_point *point = &run->point;
	int rc;

	backup_point_sort(point);
	absent_keep(run);
	rc = backup_pack_flush(run->writer, error);
	if (rc == 0)
		rc = backup_cache_save(run->cache, error);
	if (rc < 0 || (!run->is_changed && run->before.made_ms != 0))
		return rc;
	point->node = run->source->peer.node;
	memcpy(point->node_name, run->source->peer.name.name, sizeof(point->node_name));
	point->made_ms = clock_now_ms(clock_system());
	/* Names sort by time, whatever the clock does. */
	if (point->made_ms <= run->before.made_ms)
		point->made_ms = run->before.made_ms + 1;
	rc = backup_point_put(run->repository, point, error);
	run->result->has_point = rc == 0;
	snprintf(run->result->point, sizeof(run->result->point), "%s", point->name);
	return rc;
}

int backup_run(struct backup_repository *repository, struct backup_cache *cache,
	struct backup_source *source, const struct backup_run_options *options,
	struct backup_run_result *result_r, struct error *error)
{
	struct run run = { .repository = repository,
		.cache = cache,
		.source = source,
		.options = options,
		.result = result_r,
		.writer = backup_pack_writer_new(repository) };
	int rc = backup_point_get_at(repository, UINT64_MAX, &run.before, error);

	*result_r = (struct backup_run_result){ 0 };
	if (rc == ERR_NOT_FOUND) {
		*error = (struct error){ 0 };
		rc = 0;
	}
	run.point.begun_ms = clock_now_ms(clock_system());
	if (rc == 0)
		rc = accounts_look(&run, error);
	if (rc == 0)
		rc = point_make(&run, error);
	if (rc == 0 && result_r->first_error.code != 0) {
		*error = result_r->first_error;
		rc = error->code;
	}
	result_r->written_bytes = backup_pack_written(run.writer, &result_r->object_count);
	result_r->request_count = source->request_count;
	backup_pack_writer_free(&run.writer);
	backup_point_deinit(&run.before);
	backup_point_deinit(&run.point);
	return rc;
}
