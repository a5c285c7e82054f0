#include "backup/backup_prune.h"

#include "backup/backup_cache.h"
#include "backup/backup_pack.h"
#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

/* What of a pack is needed. */
struct needed {
	struct id128 id;
	uint32_t *offsets; /* sorted and each once, after needed_sort() */
	size_t count, room;
};

struct prune {
	struct backup_repository *repository;
	const struct backup_prune_options *options;
	struct backup_prune_result *result;
	struct arena *arena;
	struct map needed; /* pack id -> struct needed */
	struct needed **list;
	size_t count, room;
	struct map moved_used; /* ids of packs that are gone and still spoken of -> themselves */
	/* Of the present chain: places of messages as they are by now (none: not shown); and those
	 * that changed since the moment before. */
	struct arena *chain_arena;
	struct map places; /* message instance -> struct backup_place */
	struct backup_place **changed;
	size_t changed_count, changed_room;
};

/* ---- what is needed ---- */

/* Where the frame is by now; the notes that say so are needed, too. */
static int place_follow(struct prune *prune, struct backup_place *place, struct error *error)
{
	int rc = 1;

	while (rc > 0) {
		struct id128 *was = arena_alloc(prune->arena, sizeof(*was));

		*was = place->pack;
		rc = backup_moved_step(prune->repository, place, error);
		if (rc > 0)
			map_put(&prune->moved_used, bytes_of(was->bytes, sizeof(was->bytes)), was);
	}
	return rc;
}

static int place_need(struct prune *prune, struct backup_place place, struct error *error)
{
	struct bytes key;
	struct needed *needed;
	int rc = place_follow(prune, &place, error);

	/* What is damaged already is no reason to keep everything. */
	if (rc == ERR_CORRUPT) {
		*error = (struct error){ 0 };
		return 0;
	}
	if (rc < 0)
		return rc;
	key = bytes_of(place.pack.bytes, sizeof(place.pack.bytes));
	needed = map_get(&prune->needed, key);
	if (needed == NULL) {
		needed = arena_zalloc(prune->arena, sizeof(*needed));
		needed->id = place.pack;
		map_put(&prune->needed, bytes_of(needed->id.bytes, sizeof(needed->id.bytes)),
			needed);
		mem_grow((void **)&prune->list, &prune->room, prune->count + 1,
			sizeof(struct needed *));
		prune->list[prune->count++] = needed;
	}
	mem_grow((void **)&needed->offsets, &needed->room, needed->count + 1,
		sizeof(*needed->offsets));
	needed->offsets[needed->count++] = place.offset;
	return 0;
}

static void chain_begin(void *context)
{
	struct prune *prune = context;

	map_deinit(&prune->places);
	arena_reset(prune->chain_arena);
	prune->changed_count = 0;
}

static void message_take(
	struct prune *prune, const struct message_record *message, struct backup_place now)
{
	struct bytes key = bytes_of(&message->instance, sizeof(message->instance));
	struct backup_place *place = map_get(&prune->places, key);

	if (place == NULL) {
		place = arena_alloc(prune->chain_arena, sizeof(*place));
		map_put(&prune->places, arena_copy(prune->chain_arena, key), place);
	}
	*place = message_is_shown(message) ? now : (struct backup_place){ 0 };
	mem_grow((void **)&prune->changed, &prune->changed_room, prune->changed_count + 1,
		sizeof(struct backup_place *));
	prune->changed[prune->changed_count++] = place;
}

static int part_take(void *context, const struct backup_place *place,
	const struct backup_part *part, struct error *error)
{
	struct prune *prune = context;

	for (size_t i = 0; i < part->records.message_count; i++)
		message_take(prune, &part->records.messages[i].record, part->places[i]);
	return place_need(prune, *place, error);
}

/* What is shown now is needed: of what did not change that was said before. */
static int moment_take(void *context, const struct backup_moment *moment, struct error *error)
{
	struct prune *prune = context;
	int rc = 0;

	(void)moment;
	for (size_t i = 0; i < prune->changed_count && rc == 0; i++)
		if (!backup_place_is_none(prune->changed[i]))
			rc = place_need(prune, *prune->changed[i], error);
	prune->changed_count = 0;
	return rc;
}

/* Without the records it is not known what they need. */
static int broken_tell(void *context, const struct backup_moment *moment, struct error *error)
{
	(void)context;
	(void)moment;
	return error->code;
}

static void needed_sort(struct needed *needed)
{
	size_t kept = 0;

	if (needed->count > 1)
		qsort(needed->offsets, needed->count, sizeof(*needed->offsets),
			backup_compare_offsets);
	for (size_t i = 0; i < needed->count; i++)
		if (i == 0 || needed->offsets[i] != needed->offsets[i - 1])
			needed->offsets[kept++] = needed->offsets[i];
	needed->count = kept;
}

static bool is_needed(const struct needed *needed, uint32_t offset)
{
	return needed != NULL && needed->count > 0 &&
	       bsearch(&offset, needed->offsets, needed->count, sizeof(offset),
		       backup_compare_offsets) != NULL;
}

/* ---- points ---- */

static int points_prune(struct prune *prune, struct backup_history *history, struct error *error)
{
	struct backup_point_name *names = NULL;
	size_t count = 0;
	bool *is_kept;
	int rc = backup_point_list(prune->repository, &names, &count, error);

	if (rc < 0)
		return rc;
	is_kept = mem_zalloc_array(count + 1, sizeof(*is_kept));
	backup_keep_choose(
		&prune->options->keep, clock_now_ms(clock_system()), names, count, is_kept);
	prune->result->point_count = count;
	/* All that is to stay is read first: if that fails nothing is taken away. */
	for (size_t i = 0; i < count && rc == 0; i++) {
		struct backup_point point = { 0 };

		if (!is_kept[i])
			continue;
		rc = backup_point_get(prune->repository, names[i].name, &point, error);
		if (rc == 0)
			backup_history_add(history, &point);
		backup_point_deinit(&point);
	}
	for (size_t i = 0; i < count && rc == 0; i++) {
		if (is_kept[i])
			continue;
		prune->result->removed_point_count++;
		prune->result->removed_bytes += names[i].size;
		if (!prune->options->is_dry)
			rc = object_remove(prune->repository->store, names[i].name, error);
	}
	free(is_kept);
	free(names);
	return rc;
}

/* ---- packs ---- */

/* Reads what is needed of a pack into others. */
static int frames_move(struct prune *prune, const struct needed *needed,
	const struct backup_pack_entry *entries, size_t count, struct backup_pack_writer *writer,
	struct backup_move *moves, size_t *move_count, struct error *error)
{
	struct buffer data = { 0 };
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		struct backup_place place = { needed->id, entries[i].offset, entries[i].size };

		if (!is_needed(needed, entries[i].offset))
			continue;
		buffer_clear(&data);
		rc = backup_read(prune->repository, &place, entries[i].kind, &data, error);
		if (rc == 0)
			rc = backup_pack_add(writer, entries[i].kind, &entries[i].guid,
				buffer_bytes(&data), &moves[*move_count].to, error);
		if (rc == 0)
			moves[(*move_count)++].offset = place.offset;
	}
	buffer_deinit(&data);
	return rc;
}

static int pack_remove(struct prune *prune, struct id128 pack, struct error *error)
{
	char name[OBJECT_NAME_SIZE_MAX + 1];

	backup_pack_name(pack, name);
	return object_remove(prune->repository->store, name, error);
}

static int pack_rewrite(struct prune *prune, const struct needed *needed,
	const struct backup_pack_name *pack, const struct backup_pack_entry *entries, size_t count,
	struct error *error)
{
	struct backup_pack_writer *writer = backup_pack_writer_new(prune->repository);
	struct backup_move *moves = mem_zalloc_array(count + 1, sizeof(*moves));
	uint64_t written, object_count;
	size_t move_count = 0;
	int rc = frames_move(prune, needed, entries, count, writer, moves, &move_count, error);

	if (rc == 0)
		rc = backup_pack_flush(writer, error);
	if (rc == 0)
		rc = backup_moved_put(prune->repository, pack->id, moves, move_count, error);
	if (rc == 0)
		rc = pack_remove(prune, pack->id, error);
	written = backup_pack_written(writer, &object_count);
	if (rc == 0) {
		prune->result->rewritten_pack_count++;
		prune->result->removed_bytes += pack->size > written ? pack->size - written : 0;
	}
	backup_pack_writer_free(&writer);
	free(moves);
	return rc;
}

static uint64_t needed_bytes(
	const struct needed *needed, const struct backup_pack_entry *entries, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		if (is_needed(needed, entries[i].offset))
			sum += entries[i].size;
	return sum;
}

/* A pack that was moved, and is still there as prune was killed, is not needed: its frames are. */
static int pack_prune(struct prune *prune, const struct backup_pack_name *pack, struct error *error)
{
	const struct needed *needed =
		map_get(&prune->needed, bytes_of(pack->id.bytes, sizeof(pack->id.bytes)));
	struct backup_pack_entry *entries = NULL;
	size_t count = 0;
	int rc = 0;

	if (needed == NULL) {
		prune->result->removed_pack_count++;
		prune->result->removed_bytes += pack->size;
		return prune->options->is_dry ? 0 : pack_remove(prune, pack->id, error);
	}
	rc = backup_pack_index(prune->repository, pack->id, pack->size, &entries, &count, error);
	/* One that is damaged stays: some of it may be saved yet. */
	if (rc == ERR_CORRUPT) {
		*error = (struct error){ 0 };
		return 0;
	}
	if (rc == 0 && needed_bytes(needed, entries, count) < pack->size / 2) {
		if (prune->options->is_dry)
			prune->result->rewritten_pack_count++;
		else
			rc = pack_rewrite(prune, needed, pack, entries, count, error);
	}
	free(entries);
	if (rc == ERR_CORRUPT) {
		*error = (struct error){ 0 };
		rc = 0;
	}
	return rc;
}

static int packs_prune(struct prune *prune, struct error *error)
{
	struct backup_pack_name *packs = NULL;
	size_t count = 0;
	int rc = backup_pack_list(prune->repository, &packs, &count, error);

	for (size_t i = 0; i < count && rc == 0; i++) {
		rc = pack_prune(prune, &packs[i], error);
		if (rc == 0)
			rc = object_lock_keep(prune->repository->store, error);
		if (prune->options->progress != NULL)
			prune->options->progress(prune->options->context, i + 1, count);
	}
	free(packs);
	return rc;
}

/* Notes of packs that nothing speaks of any more. Those of this run are spoken of. */
struct unused {
	struct prune *prune;
	struct arena *arena;
	const char **names;
	size_t count, room;
};

static int moved_look(void *context, const char *name, uint64_t size)
{
	struct unused *unused = context;
	struct id128 id;

	(void)size;
	if (backup_name_id("moved", name, &id) < 0 ||
		map_get(&unused->prune->moved_used, bytes_of(id.bytes, sizeof(id.bytes))) != NULL ||
		map_get(&unused->prune->needed, bytes_of(id.bytes, sizeof(id.bytes))) != NULL)
		return 0;
	mem_grow((void **)&unused->names, &unused->room, unused->count + 1, sizeof(char *));
	unused->names[unused->count++] = arena_string(unused->arena, bytes_of_string(name));
	return 0;
}

static int moved_prune(struct prune *prune, struct error *error)
{
	struct unused unused = { .prune = prune, .arena = arena_new() };
	int rc = object_list(prune->repository->store, "moved", moved_look, &unused, error);

	for (size_t i = 0; i < unused.count && rc == 0; i++)
		rc = object_remove(prune->repository->store, unused.names[i], error);
	free(unused.names);
	arena_free(&unused.arena);
	return rc;
}

int backup_prune(struct backup_repository *repository, const struct backup_prune_options *options,
	struct backup_prune_result *result_r, struct error *error)
{
	static const struct backup_history_functions functions = { chain_begin, part_take,
		moment_take, broken_tell };
	struct prune prune = { .repository = repository,
		.options = options,
		.result = result_r,
		.arena = arena_new(),
		.chain_arena = arena_new() };
	struct backup_history history = { 0 };
	int rc;

	*result_r = (struct backup_prune_result){ 0 };
	rc = points_prune(&prune, &history, error);
	if (rc == 0)
		rc = backup_history_each(repository, &history, NULL, &functions, &prune, error);
	for (size_t i = 0; i < prune.count; i++)
		needed_sort(prune.list[i]);
	if (rc == 0)
		rc = packs_prune(&prune, error);
	if (rc == 0 && !options->is_dry)
		rc = moved_prune(&prune, error);
	for (size_t i = 0; i < prune.count; i++)
		free(prune.list[i]->offsets);
	free(prune.list);
	free(prune.changed);
	map_deinit(&prune.needed);
	map_deinit(&prune.moved_used);
	map_deinit(&prune.places);
	backup_history_deinit(&history);
	arena_free(&prune.arena);
	arena_free(&prune.chain_arena);
	return rc;
}
