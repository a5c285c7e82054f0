#include "backup/backup_cache.h"

#include "backup/backup_pack.h"
#include "base/arena.h"
#include "base/mem.h"
#include "kv/kv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { TABLE_MESSAGES, TABLE_PACKS, TABLE_COUNT };

struct fresh {
	struct guid guid;
	struct backup_place place;
};

struct backup_cache {
	struct kv *kv;
	struct arena *arena;
	struct map present; /* ids of packs that the target has -> themselves */
	struct map fresh;   /* GUID -> struct fresh, not saved yet */
	struct fresh **list;
	size_t count, room;
	struct arena *fresh_arena;
};

/* ---- packs ---- */

struct packs {
	struct backup_pack_name *list;
	size_t count, room;
};

static int pack_note(void *context, const char *name, uint64_t size)
{
	struct packs *packs = context;
	struct id128 id;

	if (backup_name_id("packs", name, &id) < 0)
		return 0;
	mem_grow((void **)&packs->list, &packs->room, packs->count + 1, sizeof(*packs->list));
	packs->list[packs->count++] = (struct backup_pack_name){ id, size };
	return 0;
}

int backup_pack_list(struct backup_repository *repository, struct backup_pack_name **packs_r,
	size_t *count_r, struct error *error)
{
	struct packs packs = { 0 };
	int rc = object_list(repository->store, "packs", pack_note, &packs, error);

	if (rc < 0) {
		free(packs.list);
		return rc;
	}
	*packs_r = packs.list;
	*count_r = packs.count;
	return 0;
}

/* ---- bringing it up to date ---- */

static int entry_put(struct kv_txn *txn, const struct guid *guid, const struct backup_place *place)
{
	struct buffer value = { 0 };
	int rc;

	backup_place_pack(&value, place);
	rc = kv_put(txn, TABLE_MESSAGES, bytes_of(guid->bytes, sizeof(guid->bytes)),
		buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

static int pack_mark(struct kv_txn *txn, struct id128 id)
{
	return kv_put(txn, TABLE_PACKS, bytes_of(id.bytes, sizeof(id.bytes)), BYTES_LITERAL("1"));
}

static int entries_put(struct backup_cache *cache, struct id128 pack,
	const struct backup_pack_entry *entries, size_t count)
{
	struct kv_txn *txn = NULL;
	int rc = kv_begin_write(cache->kv, &txn);

	for (size_t i = 0; i < count && rc == 0; i++) {
		struct backup_place place = { pack, entries[i].offset, entries[i].size };

		if (entries[i].kind == BACKUP_BODY)
			rc = entry_put(txn, &entries[i].guid, &place);
	}
	if (rc == 0)
		rc = pack_mark(txn, pack);
	if (rc == 0)
		return kv_commit(&txn);
	kv_abort(&txn);
	return rc;
}

static int is_known(struct backup_cache *cache, struct id128 pack)
{
	struct kv_txn *txn = NULL;
	struct bytes value;
	int rc = kv_begin_read(cache->kv, &txn);

	if (rc == 0)
		rc = kv_get(txn, TABLE_PACKS, bytes_of(pack.bytes, sizeof(pack.bytes)), &value);
	kv_abort(&txn);
	if (rc == ERR_NOT_FOUND)
		return 0;
	return rc < 0 ? rc : 1;
}

static int pack_learn(struct backup_cache *cache, struct backup_repository *repository,
	const struct backup_pack_name *pack, struct error *error)
{
	struct backup_pack_entry *entries = NULL;
	struct id128 *id = arena_alloc(cache->arena, sizeof(*id));
	size_t count = 0;
	int rc = is_known(cache, pack->id);

	*id = pack->id;
	map_put(&cache->present, bytes_of(id->bytes, sizeof(id->bytes)), id);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = backup_pack_index(repository, pack->id, pack->size, &entries, &count, error);
	/* One that is damaged is for verify to tell; its messages are fetched again. */
	if (rc == ERR_CORRUPT) {
		*error = (struct error){ 0 };
		return 0;
	}
	if (rc == 0)
		rc = entries_put(cache, pack->id, entries, count);
	free(entries);
	return rc;
}

static int packs_learn(
	struct backup_cache *cache, struct backup_repository *repository, struct error *error)
{
	struct backup_pack_name *packs = NULL;
	size_t count = 0;
	int rc = backup_pack_list(repository, &packs, &count, error);

	for (size_t i = 0; i < count && rc == 0; i++)
		rc = pack_learn(cache, repository, &packs[i], error);
	free(packs);
	return rc;
}

static int kv_use(struct backup_cache *cache, const char *path, struct error *error)
{
	struct kv_options options = { .table_count = TABLE_COUNT, .create = true };

	if (path == NULL)
		return kv_memory_open(TABLE_COUNT, &cache->kv);
	for (size_t i = 1; path[i - 1] != '\0'; i++) {
		char *folder = mem_strdup(path);
		int rc = 0;

		folder[i] = '\0';
		if ((path[i] == '/' || path[i] == '\0') && mkdir(folder, 0700) != 0 &&
			errno != EEXIST)
			rc = error_set_errno(error, ERR_IO, errno, "%s", folder);
		free(folder);
		if (rc < 0)
			return rc;
	}
	return kv_lmdb_open(path, &options, error, &cache->kv);
}

int backup_cache_open(const char *path, struct backup_repository *repository,
	struct backup_cache **cache_r, struct error *error)
{
	struct backup_cache *cache = mem_zalloc(sizeof(*cache));
	int rc;

	cache->arena = arena_new();
	cache->fresh_arena = arena_new();
	rc = kv_use(cache, path, error);
	if (rc == 0)
		rc = packs_learn(cache, repository, error);
	if (rc < 0) {
		if (error->code == 0)
			error_set(error, rc, "the cache %s: %s", path, error_name(rc));
		backup_cache_close(&cache);
	} else {
		*cache_r = cache;
	}
	return rc;
}

void backup_cache_close(struct backup_cache **cache)
{
	if (*cache == NULL)
		return;
	kv_close(&(*cache)->kv);
	map_deinit(&(*cache)->present);
	map_deinit(&(*cache)->fresh);
	free((*cache)->list);
	arena_free(&(*cache)->arena);
	arena_free(&(*cache)->fresh_arena);
	free(*cache);
	*cache = NULL;
}

/* ---- messages ---- */

int backup_cache_find(struct backup_cache *cache, const struct guid *guid,
	struct backup_place *place_r, struct error *error)
{
	struct bytes key = bytes_of(guid->bytes, sizeof(guid->bytes)), value;
	const struct fresh *fresh = map_get(&cache->fresh, key);
	struct kv_txn *txn = NULL;
	int rc;

	if (fresh != NULL) {
		*place_r = fresh->place;
		return 0;
	}
	rc = kv_begin_read(cache->kv, &txn);
	if (rc == 0)
		rc = kv_get(txn, TABLE_MESSAGES, key, &value);
	if (rc == 0)
		rc = backup_place_unpack(&value, place_r);
	kv_abort(&txn);
	/* Packs go when what they held is pruned. */
	if (rc == 0 && map_get(&cache->present,
			       bytes_of(place_r->pack.bytes, sizeof(place_r->pack.bytes))) == NULL)
		return ERR_NOT_FOUND;
	if (rc < 0 && rc != ERR_NOT_FOUND)
		error_set(error, rc, "the cache cannot be read: %s", error_name(rc));
	return rc;
}

void backup_cache_add(
	struct backup_cache *cache, const struct guid *guid, const struct backup_place *place)
{
	struct fresh *fresh = arena_alloc(cache->fresh_arena, sizeof(*fresh));

	*fresh = (struct fresh){ *guid, *place };
	map_put(&cache->fresh, bytes_of(fresh->guid.bytes, sizeof(fresh->guid.bytes)), fresh);
	mem_grow((void **)&cache->list, &cache->room, cache->count + 1, sizeof(*cache->list));
	cache->list[cache->count++] = fresh;
}

int backup_cache_save(struct backup_cache *cache, struct error *error)
{
	struct kv_txn *txn = NULL;
	int rc = kv_begin_write(cache->kv, &txn);

	for (size_t i = 0; i < cache->count && rc == 0; i++) {
		struct id128 pack = cache->list[i]->place.pack;
		struct id128 *id;

		rc = entry_put(txn, &cache->list[i]->guid, &cache->list[i]->place);
		if (rc == 0)
			rc = pack_mark(txn, pack);
		if (map_get(&cache->present, bytes_of(pack.bytes, sizeof(pack.bytes))) != NULL)
			continue;
		id = arena_alloc(cache->arena, sizeof(*id));
		*id = pack;
		map_put(&cache->present, bytes_of(id->bytes, sizeof(id->bytes)), id);
	}
	if (rc == 0)
		rc = kv_commit(&txn);
	kv_abort(&txn);
	if (rc < 0)
		return error_set(error, rc, "the cache cannot be written: %s", error_name(rc));
	map_clear(&cache->fresh);
	arena_reset(cache->fresh_arena);
	cache->count = 0;
	return 0;
}
