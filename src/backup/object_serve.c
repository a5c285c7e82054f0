#include "backup/object_serve.h"

#include "backup/backup_repository.h"
#include "base/mem.h"
#include "sync/dlist.h"
#include "sync/wire.h"

#include <stdio.h>
#include <stdlib.h>

struct object_server {
	char *folder;
	bool may_prune;
	struct object_store *store; /* NULL: not opened yet */
	bool has_lock;
};

struct request {
	struct object_server *server;
	const struct dlist *map;
	struct buffer *answer;
	struct error *error;
};

struct object_server *object_server_new(const char *folder, bool may_prune)
{
	struct object_server *server = mem_zalloc(sizeof(*server));

	server->folder = mem_strdup(folder);
	server->may_prune = may_prune;
	return server;
}

void object_server_free(struct object_server **server)
{
	if (*server == NULL)
		return;
	object_store_close(&(*server)->store);
	free((*server)->folder);
	free(*server);
	*server = NULL;
}

/* ---- what a request names ---- */

static int folder_open(struct request *request, bool create)
{
	struct object_server *server = request->server;
	int rc;

	if (server->store != NULL)
		return 0;
	rc = object_directory_open(server->folder, create, &server->store, request->error);
	return rc == ERR_NOT_FOUND ? error_set(request->error, rc, "there is no backup") : rc;
}

static bool is_in(const char *name, const char *folder)
{
	size_t len = strlen(folder);

	return strncmp(name, folder, len) == 0 && name[len] == '/';
}

/* Only what a backup is made of: other files of the folder are none of theirs. */
static int name_take(struct request *request, char name_r[OBJECT_NAME_SIZE_MAX + 1])
{
	struct bytes text;

	if (dlist_get_text(request->map, "NAME", &text) < 0 || text.len > OBJECT_NAME_SIZE_MAX)
		return error_set(request->error, ERR_INVALID, "bad or missing NAME");
	snprintf(name_r, OBJECT_NAME_SIZE_MAX + 1, "%.*s", BYTES_ARGS(text));
	if (strlen(name_r) != text.len || !object_name_is_valid(name_r) ||
		!(strcmp(name_r, BACKUP_HEAD_NAME) == 0 || is_in(name_r, "packs") ||
			is_in(name_r, "points") || is_in(name_r, "moved")))
		return error_set(request->error, ERR_INVALID, "no such object can be here");
	return 0;
}

static int number_take(struct request *request, const char *key, uint64_t max, uint64_t *number_r)
{
	if (dlist_get_number(request->map, key, max, number_r) < 0)
		return error_set(request->error, ERR_INVALID, "bad or missing %s", key);
	return 0;
}

static int lock_check(struct request *request)
{
	return request->server->has_lock
		       ? 0
		       : error_set(request->error, ERR_INVALID, "OBJECTLOCK must come first");
}

static int prune_check(struct request *request)
{
	return request->server->may_prune
		       ? 0
		       : error_set(request->error, ERR_REFUSED,
				 "this user may add to the backup, and take nothing away "
				 "(backup-prune)");
}

/* ---- the verbs ---- */

static int respond_lock(struct request *request)
{
	struct object_server *server = request->server;
	char holder[OBJECT_HOLDER_SIZE_MAX + 1];
	struct dlist_writer writer;
	struct bytes who;
	int rc = 0;

	if (dlist_get_text(request->map, "WHO", &who) < 0 || who.len > OBJECT_HOLDER_SIZE_MAX)
		return error_set(request->error, ERR_INVALID, "bad or missing WHO");
	snprintf(holder, sizeof(holder), "%.*s", BYTES_ARGS(who));
	if (!server->has_lock)
		rc = folder_open(request, true);
	if (rc == 0 && !server->has_lock)
		rc = object_directory_lock(server->store, holder, request->error);
	if (rc < 0)
		return rc;
	server->has_lock = true;
	writer = wire_begin(request->answer, DLIST_ANSWER, "OBJECTLOCKED");
	dlist_end_map(&writer);
	return 0;
}

static int respond_put(struct request *request)
{
	char name[OBJECT_NAME_SIZE_MAX + 1];
	uint64_t offset = 0, is_last = 0;
	struct dlist_writer writer;
	struct bytes data;
	int rc = name_take(request, name);

	if (rc == 0)
		rc = number_take(request, "OFFSET", OBJECT_SIZE_MAX, &offset);
	if (rc == 0 && dlist_get_number(request->map, "LAST", 1, &is_last) == ERR_INVALID)
		rc = error_set(request->error, ERR_INVALID, "bad LAST");
	if (rc == 0 &&
		(dlist_get_text(request->map, "DATA", &data) < 0 ||
			data.len > OBJECT_PIECE_SIZE_MAX || offset + data.len > OBJECT_SIZE_MAX))
		rc = error_set(request->error, ERR_INVALID, "bad or missing DATA");
	if (rc == 0)
		rc = lock_check(request);
	if (rc == 0 && is_in(name, "moved"))
		rc = prune_check(request);
	if (rc == 0)
		rc = object_directory_put_piece(
			request->server->store, name, offset, data, is_last != 0, request->error);
	if (rc < 0)
		return rc;
	writer = wire_begin(request->answer, DLIST_ANSWER, "OBJECTSTORED");
	dlist_put_number_of(&writer, "SIZE", offset + data.len);
	dlist_end_map(&writer);
	return 0;
}

static int respond_get(struct request *request)
{
	char name[OBJECT_NAME_SIZE_MAX + 1];
	struct dlist_writer writer;
	struct buffer data = { 0 };
	uint64_t offset = 0, size = 0;
	int rc = name_take(request, name);

	if (rc == 0)
		rc = number_take(request, "OFFSET", OBJECT_SIZE_MAX, &offset);
	if (rc == 0)
		rc = number_take(request, "SIZE", OBJECT_PIECE_SIZE_MAX, &size);
	if (rc == 0 && size == 0)
		rc = error_set(request->error, ERR_INVALID, "bad SIZE");
	if (rc == 0)
		rc = folder_open(request, false);
	/* Where an object ends, fewer bytes come: how the other side finds that. */
	if (rc == 0)
		rc = request->server->store->functions->get(
			request->server->store, name, offset, size, &data, request->error);
	if (rc == 0) {
		writer = wire_begin(request->answer, DLIST_ANSWER, "OBJECT");
		dlist_put_text_of(&writer, "DATA", buffer_bytes(&data));
		dlist_end_map(&writer);
	}
	buffer_deinit(&data);
	return rc;
}

struct entry {
	char name[OBJECT_NAME_SIZE_MAX + 1];
	uint64_t size;
};

struct listing {
	const char *after;
	struct entry *entries;
	size_t count, room;
};

static int entry_note(void *context, const char *name, uint64_t size)
{
	struct listing *listing = context;
	struct entry *entry;

	if (strcmp(name, listing->after) <= 0)
		return 0;
	mem_grow((void **)&listing->entries, &listing->room, listing->count + 1,
		sizeof(*listing->entries));
	entry = &listing->entries[listing->count++];
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	entry->size = size;
	return 0;
}

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static void listing_put(const struct listing *listing, struct buffer *answer)
{
	struct dlist_writer writer = wire_begin(answer, DLIST_ANSWER, "OBJECTS");

	dlist_put_atom(&writer, "LIST");
	dlist_begin_list(&writer);
	for (size_t i = 0; i < listing->count && i < OBJECT_LIST_COUNT_MAX; i++) {
		dlist_put_text(&writer, bytes_of_string(listing->entries[i].name));
		dlist_put_number(&writer, listing->entries[i].size);
	}
	dlist_end_list(&writer);
	if (listing->count > OBJECT_LIST_COUNT_MAX)
		dlist_put_number_of(&writer, "MORE", 1);
	dlist_end_map(&writer);
}

static int respond_list(struct request *request)
{
	static const char *const folders[] = { "packs", "points", "moved" };
	char after[OBJECT_NAME_SIZE_MAX + 1] = "";
	struct listing listing = { .after = after };
	const char *folder = NULL;
	struct bytes text;
	int rc;

	if (dlist_get_text(request->map, "FOLDER", &text) == 0)
		for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
			if (bytes_equal_string(text, folders[i]))
				folder = folders[i];
	if (folder == NULL)
		return error_set(request->error, ERR_INVALID, "bad or missing FOLDER");
	rc = dlist_get_text(request->map, "AFTER", &text);
	if (rc == ERR_INVALID || (rc == 0 && text.len > OBJECT_NAME_SIZE_MAX))
		return error_set(request->error, ERR_INVALID, "bad AFTER");
	if (rc == 0)
		snprintf(after, sizeof(after), "%.*s", BYTES_ARGS(text));
	rc = folder_open(request, false);
	if (rc == 0)
		rc = object_list(
			request->server->store, folder, entry_note, &listing, request->error);
	if (rc == 0 && listing.count > 1)
		qsort(listing.entries, listing.count, sizeof(*listing.entries), compare_entries);
	if (rc == 0)
		listing_put(&listing, request->answer);
	free(listing.entries);
	return rc;
}

static int respond_remove(struct request *request)
{
	char name[OBJECT_NAME_SIZE_MAX + 1];
	struct dlist_writer writer;
	int rc = name_take(request, name);

	if (rc == 0)
		rc = prune_check(request);
	if (rc == 0)
		rc = lock_check(request);
	/* Not even who may prune can take away what the rest is read with. */
	if (rc == 0 && strcmp(name, BACKUP_HEAD_NAME) == 0)
		rc = error_set(request->error, ERR_REFUSED, "%s stays", name);
	if (rc == 0)
		rc = object_remove(request->server->store, name, request->error);
	if (rc < 0)
		return rc;
	writer = wire_begin(request->answer, DLIST_ANSWER, "OBJECTREMOVED");
	dlist_end_map(&writer);
	return 0;
}

int object_server_respond(void *context, struct bytes verb, const struct dlist *map,
	struct buffer *answer, struct error *error)
{
	static const struct {
		const char *name;
		int (*respond)(struct request *request);
	} verbs[] = {
		{ "OBJECTGET", respond_get },
		{ "OBJECTLIST", respond_list },
		{ "OBJECTLOCK", respond_lock },
		{ "OBJECTPUT", respond_put },
		{ "OBJECTREMOVE", respond_remove },
	};
	struct request request = {
		.server = context, .map = map, .answer = answer, .error = error
	};

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (bytes_equal_string_nocase(verb, verbs[i].name))
			return verbs[i].respond(&request);
	return error_set(error, ERR_REFUSED, "this user keeps a backup here, and nothing else");
}
