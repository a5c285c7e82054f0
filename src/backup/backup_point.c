#include "backup/backup_point.h"

#include "base/encode.h"
#include "base/mem.h"
#include "base/pack.h"
#include "sync/wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ACCOUNTS_IN_FRAME 5000
#define POINT_ACCOUNT_COUNT_MAX 10000000u

void backup_point_deinit(struct backup_point *point)
{
	free(point->accounts);
	*point = (struct backup_point){ 0 };
}

static int compare_accounts(const void *a, const void *b)
{
	return strcmp(
		((const struct backup_account *)a)->name, ((const struct backup_account *)b)->name);
}

const struct backup_account *backup_point_find(const struct backup_point *point, const char *name)
{
	struct backup_account key;

	if (point->account_count == 0 || strlen(name) > ACCOUNT_NAME_SIZE_MAX)
		return NULL;
	snprintf(key.name, sizeof(key.name), "%s", name);
	return bsearch(&key, point->accounts, point->account_count, sizeof(key), compare_accounts);
}

void backup_point_add(struct backup_point *point, const struct backup_account *account)
{
	mem_grow((void **)&point->accounts, &point->account_room, point->account_count + 1,
		sizeof(*point->accounts));
	point->accounts[point->account_count++] = *account;
}

void backup_point_sort(struct backup_point *point)
{
	if (point->account_count > 1)
		qsort(point->accounts, point->account_count, sizeof(*point->accounts),
			compare_accounts);
}

/* ---- writing ---- */

static void about_write(const struct backup_point *point, struct buffer *out)
{
	struct dlist_writer writer = wire_begin(out, DLIST_REQUEST, "POINT");

	dlist_put_number_of(&writer, "BEGUN", point->begun_ms);
	dlist_put_number_of(&writer, "MADE", point->made_ms);
	wire_put_node_of(&writer, "NODE", point->node);
	if (point->node_name[0] != '\0')
		dlist_put_text_of(&writer, "NAME", bytes_of_string(point->node_name));
	dlist_put_number_of(&writer, "ACCOUNTS", point->account_count);
	dlist_end_map(&writer);
}

static void account_write(struct dlist_writer *writer, const struct backup_account *account)
{
	struct buffer place = { 0 };

	dlist_begin_map(writer);
	dlist_put_text_of(writer, "ACCOUNT", bytes_of_string(account->name));
	wire_put_node_of(writer, "NODE", account->node);
	dlist_put_number_of(writer, "SEQUENCE", account->sequence);
	dlist_put_number_of(writer, "HIGHEST", account->highest);
	wire_put_digest_of(writer, "DIGEST", account->digest);
	backup_place_pack(&place, &account->part);
	dlist_put_hex_of(writer, "PART", buffer_bytes(&place));
	buffer_deinit(&place);
	dlist_put_number_of(writer, "WHOLE", account->whole_size);
	if (account->after_count > 0) {
		dlist_put_number_of(writer, "AFTER", account->after_size);
		dlist_put_number_of(writer, "COUNT", account->after_count);
	}
	if (account->missing_count > 0)
		dlist_put_number_of(writer, "MISSING", account->missing_count);
	if (account->is_absent)
		dlist_put_number_of(writer, "ABSENT", 1);
	dlist_end_map(writer);
}

static void accounts_write(
	const struct backup_point *point, size_t from, size_t count, struct buffer *out)
{
	struct dlist_writer writer = wire_begin(out, DLIST_REQUEST, "ACCOUNTS");

	dlist_put_atom(&writer, "LIST");
	dlist_begin_list(&writer);
	for (size_t i = from; i < from + count; i++)
		account_write(&writer, &point->accounts[i]);
	dlist_end_list(&writer);
	dlist_end_map(&writer);
}

static void point_encode(struct backup_repository *repository, const struct backup_point *point,
	struct buffer *object)
{
	struct buffer text = { 0 };

	backup_object_begin(&repository->key, BACKUP_POINT, object);
	about_write(point, &text);
	backup_frame_put(&repository->key, point->name, BACKUP_ABOUT, buffer_bytes(&text), object);
	for (size_t at = 0; at < point->account_count; at += ACCOUNTS_IN_FRAME) {
		size_t left = point->account_count - at;

		buffer_clear(&text);
		accounts_write(
			point, at, left < ACCOUNTS_IN_FRAME ? left : ACCOUNTS_IN_FRAME, &text);
		backup_frame_put(&repository->key, point->name, BACKUP_ACCOUNTS,
			buffer_bytes(&text), object);
	}
	buffer_deinit(&text);
}

int backup_point_put(
	struct backup_repository *repository, struct backup_point *point, struct error *error)
{
	struct id128 id = id128_random();
	struct buffer object = { 0 };
	int rc = object_lock_keep(repository->store, error);

	snprintf(point->name, sizeof(point->name), "points/%013" PRIu64 "-%08x", point->made_ms,
		get_u32(id.bytes));
	point_encode(repository, point, &object);
	if (rc == 0 && object.len > OBJECT_SIZE_MAX)
		rc = error_set(error, ERR_TOO_LARGE, "too many accounts for one point");
	if (rc == 0)
		rc = object_put(repository->store, point->name, buffer_bytes(&object), error);
	buffer_deinit(&object);
	return rc;
}

/* ---- reading ---- */

static int optional_number(const struct dlist *map, const char *key, uint64_t *number_r)
{
	int rc = dlist_get_number(map, key, UINT64_MAX, number_r);

	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int place_read(const struct dlist *map, const char *key, struct backup_place *place_r)
{
	struct buffer raw = { 0 };
	struct bytes text, in;
	int rc = dlist_get_text(map, key, &text);

	if (rc == 0)
		rc = decode_hex(&raw, text);
	in = buffer_bytes(&raw);
	if (rc == 0)
		rc = backup_place_unpack(&in, place_r);
	if (rc == 0 && in.len > 0)
		rc = ERR_INVALID;
	buffer_deinit(&raw);
	return rc;
}

static int account_read(const struct dlist *map, struct backup_point *point)
{
	struct backup_account account = { 0 };
	struct bytes name;
	uint64_t is_absent = 0;

	if (map->kind != DLIST_MAP || dlist_get_text(map, "ACCOUNT", &name) < 0 ||
		account_name_normalize(name, account.name) < 0 ||
		wire_get_node(map, "NODE", &account.node) < 0 ||
		dlist_get_number(map, "SEQUENCE", UINT64_MAX, &account.sequence) < 0 ||
		dlist_get_number(map, "HIGHEST", MODSEQ_MAX, &account.highest) < 0 ||
		wire_get_digest(map, "DIGEST", &account.digest) < 0 ||
		place_read(map, "PART", &account.part) < 0 ||
		optional_number(map, "WHOLE", &account.whole_size) < 0 ||
		optional_number(map, "AFTER", &account.after_size) < 0 ||
		optional_number(map, "COUNT", &account.after_count) < 0 ||
		optional_number(map, "MISSING", &account.missing_count) < 0 ||
		optional_number(map, "ABSENT", &is_absent) < 0)
		return ERR_INVALID;
	account.is_absent = is_absent != 0;
	if (point->account_count > 0 &&
		strcmp(point->accounts[point->account_count - 1].name, account.name) >= 0)
		return ERR_INVALID;
	backup_point_add(point, &account);
	return 0;
}

static int about_read(
	const struct dlist *map, struct backup_point *point, uint64_t *account_count_r)
{
	struct bytes name;

	if (dlist_get_number(map, "BEGUN", MODSEQ_MAX, &point->begun_ms) < 0 ||
		dlist_get_number(map, "MADE", MODSEQ_MAX, &point->made_ms) < 0 ||
		wire_get_node(map, "NODE", &point->node) < 0 ||
		dlist_get_number(map, "ACCOUNTS", POINT_ACCOUNT_COUNT_MAX, account_count_r) < 0)
		return ERR_INVALID;
	if (dlist_get_text(map, "NAME", &name) == 0 && name.len < sizeof(point->node_name))
		snprintf(point->node_name, sizeof(point->node_name), "%.*s", BYTES_ARGS(name));
	return 0;
}

static int frame_take(int kind, struct bytes text, struct backup_point *point,
	uint64_t *account_count, struct error *error)
{
	struct arena *arena = arena_new();
	const struct dlist *map, *list;
	struct bytes verb;
	int rc = wire_parse(text, arena, &verb, &map, error);

	if (rc == 0 && kind == BACKUP_ABOUT && bytes_equal_string(verb, "POINT"))
		rc = about_read(map, point, account_count);
	else if (rc == 0 && kind == BACKUP_ACCOUNTS && bytes_equal_string(verb, "ACCOUNTS"))
		rc = dlist_get_list(map, "LIST", &list);
	else if (rc == 0)
		rc = ERR_INVALID;
	if (rc == 0 && kind == BACKUP_ACCOUNTS)
		for (const struct dlist *at = list->first; at != NULL && rc == 0; at = at->next)
			rc = account_read(at, point);
	arena_free(&arena);
	return rc;
}

int backup_point_decode(const struct backup_key *key, const char *name, struct bytes in,
	struct backup_point *point_r, struct error *error)
{
	struct backup_point point = { 0 };
	struct bytes whole = in;
	struct buffer data = { 0 };
	uint64_t account_count = 0;
	int rc = backup_object_head(key, BACKUP_POINT, name, &in, error);

	while (rc == 0 && in.len > 0) {
		bool is_first = in.len == whole.len - BACKUP_OBJECT_HEAD_SIZE;
		int kind = 0;

		buffer_clear(&data);
		rc = backup_frame_get(key, name, whole.len - in.len, &in, &kind, &data, error);
		if (rc == 0 && (is_first != (kind == BACKUP_ABOUT) ||
				       frame_take(kind, buffer_bytes(&data), &point, &account_count,
					       error) < 0))
			rc = error_set(error, ERR_CORRUPT, "damaged: %s, what it says", name);
	}
	buffer_deinit(&data);
	if (rc == 0 && (point.made_ms == 0 || point.account_count != account_count))
		rc = error_set(error, ERR_CORRUPT, "damaged: %s is cut off", name);
	snprintf(point.name, sizeof(point.name), "%s", name);
	if (rc < 0)
		backup_point_deinit(&point);
	else
		*point_r = point;
	return rc;
}

int backup_point_get(struct backup_repository *repository, const char *name,
	struct backup_point *point_r, struct error *error)
{
	struct buffer object = { 0 };
	int rc = object_get(repository->store, name, 0, 0, &object, error);

	if (rc == 0)
		rc = backup_point_decode(
			&repository->key, name, buffer_bytes(&object), point_r, error);
	buffer_deinit(&object);
	return rc;
}

struct names {
	struct backup_point_name *list;
	size_t count, room;
};

static int name_add(void *context, const char *name, uint64_t size)
{
	struct names *names = context;
	struct backup_point_name *entry;
	uint64_t made_ms;

	if (sscanf(name, "points/%" SCNu64 "-", &made_ms) != 1)
		return 0;
	mem_grow((void **)&names->list, &names->room, names->count + 1, sizeof(*names->list));
	entry = &names->list[names->count++];
	*entry = (struct backup_point_name){ .made_ms = made_ms, .size = size };
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct backup_point_name *)a)->name,
		((const struct backup_point_name *)b)->name);
}

int backup_point_list(struct backup_repository *repository, struct backup_point_name **names_r,
	size_t *count_r, struct error *error)
{
	struct names names = { 0 };
	int rc = object_list(repository->store, "points", name_add, &names, error);

	if (rc < 0) {
		free(names.list);
		return rc;
	}
	if (names.count > 1)
		qsort(names.list, names.count, sizeof(*names.list), compare_names);
	*names_r = names.list;
	*count_r = names.count;
	return 0;
}

int backup_point_get_at(struct backup_repository *repository, uint64_t at_ms,
	struct backup_point *point_r, struct error *error)
{
	struct backup_point_name *names = NULL;
	const struct backup_point_name *found = NULL;
	size_t count = 0;
	int rc = backup_point_list(repository, &names, &count, error);

	for (size_t i = 0; rc == 0 && i < count; i++)
		if (names[i].made_ms <= at_ms)
			found = &names[i];
	if (rc == 0 && found == NULL)
		rc = error_set(error, ERR_NOT_FOUND,
			count == 0 ? "the backup has no point yet"
				   : "the backup has no point as old as that");
	else if (rc == 0)
		rc = backup_point_get(repository, found->name, point_r, error);
	free(names);
	return rc;
}
