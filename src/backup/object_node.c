/*
 * A backup that another node keeps for us (object_serve.h): objects go there in pieces, over the
 * same connections and logins as replication. That node never sees what is in them if the backup is
 * encrypted, and does not let us destroy what is there unless its operator allows that.
 */
#include "backup/backup_source.h"
#include "backup/object_serve.h"
#include "backup/object_store.h"
#include "base/clock.h"
#include "base/mem.h"
#include "sync/dlist.h"
#include "sync/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A process that was killed a moment ago may hold the lock until its connection is seen to be gone.
 */
#define LOCK_TRY_MS 5000u
#define LOCK_PAUSE_US 200000u

struct object_node {
	struct object_store base;
	struct backup_source source;
	void (*close)(void *source_context);
};

static struct dlist_writer begin(struct buffer *request, const char *verb, const char *name)
{
	struct dlist_writer writer = wire_begin(request, DLIST_REQUEST, verb);

	if (name != NULL)
		dlist_put_text_of(&writer, "NAME", bytes_of_string(name));
	return writer;
}

/* Ends the request, and asks. The answer lives in `arena`. */
static int ask(struct object_node *node, struct dlist_writer *writer, const char *wanted,
	struct arena *arena, const struct dlist **map_r, struct error *error)
{
	struct buffer *request = writer->out;
	int rc;

	dlist_end_map(writer);
	rc = backup_ask(&node->source, buffer_bytes(request), wanted, arena, map_r, error);
	buffer_clear(request);
	return rc;
}

static int node_put(
	struct object_store *store, const char *name, struct bytes data, struct error *error)
{
	struct object_node *node = (struct object_node *)store;
	struct buffer request = { 0 };
	uint64_t offset = 0;
	bool is_last;
	int rc;

	do {
		struct arena *arena = arena_new();
		struct dlist_writer writer = begin(&request, "OBJECTPUT", name);
		const struct dlist *map;
		struct bytes piece = bytes_take(
			&data, data.len < OBJECT_PIECE_SIZE_MAX ? data.len : OBJECT_PIECE_SIZE_MAX);

		is_last = data.len == 0;
		dlist_put_number_of(&writer, "OFFSET", offset);
		if (is_last)
			dlist_put_number_of(&writer, "LAST", 1);
		dlist_put_atom(&writer, "DATA");
		dlist_put_literal(&writer, piece);
		rc = ask(node, &writer, "OBJECTSTORED", arena, &map, error);
		offset += piece.len;
		arena_free(&arena);
	} while (rc == 0 && !is_last);
	buffer_deinit(&request);
	return rc < 0 ? error_prefix(error, "%s", name) : 0;
}

/* Asks for up to `size` bytes; *count_r: how many came. */
static int piece_get(struct object_node *node, const char *name, uint64_t offset, uint64_t size,
	struct buffer *out, size_t *count_r, struct error *error)
{
	struct arena *arena = arena_new();
	struct buffer request = { 0 };
	struct dlist_writer writer = begin(&request, "OBJECTGET", name);
	const struct dlist *map;
	struct bytes data = { 0 };
	int rc;

	dlist_put_number_of(&writer, "OFFSET", offset);
	dlist_put_number_of(&writer, "SIZE", size);
	rc = ask(node, &writer, "OBJECT", arena, &map, error);
	if (rc == 0 && (dlist_get_text(map, "DATA", &data) < 0 || data.len > size))
		rc = error_set(error, ERR_INVALID, "the node answers with bad DATA");
	if (rc == 0)
		buffer_append_bytes(out, data);
	*count_r = data.len;
	buffer_deinit(&request);
	arena_free(&arena);
	return rc;
}

static int node_get(struct object_store *store, const char *name, uint64_t offset, uint64_t size,
	struct buffer *out, struct error *error)
{
	struct object_node *node = (struct object_node *)store;
	uint64_t left = size == 0 ? OBJECT_SIZE_MAX : size, wanted;
	size_t count = 0;
	int rc;

	do {
		wanted = left < OBJECT_PIECE_SIZE_MAX ? left : OBJECT_PIECE_SIZE_MAX;
		rc = piece_get(node, name, offset, wanted, out, &count, error);
		offset += count;
		left -= count;
	} while (rc == 0 && count == wanted && left > 0);
	return rc < 0 ? error_prefix(error, "%s", name) : 0;
}

static int entries_tell(const struct dlist *list, struct buffer *last, object_function *function,
	void *context, struct error *error)
{
	int rc = 0;

	for (const struct dlist *at = list->first; at != NULL && rc == 0; at = at->next->next) {
		struct bytes name;
		uint64_t size;

		if (at->next == NULL || dlist_text(at, &name) < 0 ||
			name.len > OBJECT_NAME_SIZE_MAX ||
			dlist_number(at->next, UINT64_MAX, &size) < 0)
			return error_set(error, ERR_INVALID, "the node answers with a bad LIST");
		buffer_clear(last);
		buffer_append_bytes(last, name);
		if (object_name_is_valid(buffer_string(last)))
			rc = function(context, buffer_string(last), size);
	}
	return rc;
}

static int node_list(struct object_store *store, const char *folder, object_function *function,
	void *context, struct error *error)
{
	struct object_node *node = (struct object_node *)store;
	struct buffer request = { 0 }, last = { 0 }, before = { 0 };
	uint64_t has_more;
	int rc;

	do {
		struct arena *arena = arena_new();
		struct dlist_writer writer = begin(&request, "OBJECTLIST", NULL);
		const struct dlist *map, *list;

		has_more = 0;
		dlist_put_text_of(&writer, "FOLDER", bytes_of_string(folder));
		if (last.len > 0)
			dlist_put_text_of(&writer, "AFTER", buffer_bytes(&last));
		buffer_clear(&before);
		buffer_append_bytes(&before, buffer_bytes(&last));
		rc = ask(node, &writer, "OBJECTS", arena, &map, error);
		if (rc == 0 && dlist_get_list(map, "LIST", &list) < 0)
			rc = error_set(error, ERR_INVALID, "the node answers without a LIST");
		if (rc == 0)
			rc = entries_tell(list, &last, function, context, error);
		if (rc == 0)
			(void)dlist_get_number(map, "MORE", 1, &has_more);
		/* Names rise, or the node would be asked for ever. */
		if (rc == 0 && has_more != 0 &&
			bytes_compare(buffer_bytes(&last), buffer_bytes(&before)) <= 0)
			rc = error_set(error, ERR_INVALID, "the node answers with a bad LIST");
		arena_free(&arena);
	} while (rc == 0 && has_more != 0);
	buffer_deinit(&request);
	buffer_deinit(&last);
	buffer_deinit(&before);
	return rc;
}

static int node_remove(struct object_store *store, const char *name, struct error *error)
{
	struct object_node *node = (struct object_node *)store;
	struct arena *arena = arena_new();
	struct buffer request = { 0 };
	struct dlist_writer writer = begin(&request, "OBJECTREMOVE", name);
	const struct dlist *map;
	int rc = ask(node, &writer, "OBJECTREMOVED", arena, &map, error);

	buffer_deinit(&request);
	arena_free(&arena);
	return rc < 0 ? error_prefix(error, "%s", name) : 0;
}

static int lock_ask(struct object_node *node, struct error *error)
{
	struct arena *arena = arena_new();
	struct buffer request = { 0 }, who = { 0 };
	struct dlist_writer writer = begin(&request, "OBJECTLOCK", NULL);
	char host[65] = "";
	const struct dlist *map;
	int rc;

	(void)gethostname(host, sizeof(host) - 1);
	buffer_printf(&who, "process %ld on %s", (long)getpid(), host);
	dlist_put_text_of(&writer, "WHO", buffer_bytes(&who));
	rc = ask(node, &writer, "OBJECTLOCKED", arena, &map, error);
	buffer_deinit(&who);
	buffer_deinit(&request);
	arena_free(&arena);
	return rc;
}

static int node_lock(struct object_store *store, struct error *error)
{
	struct object_node *node = (struct object_node *)store;
	uint64_t begin_ms = clock_monotonic_ms();
	int rc;

	while ((rc = lock_ask(node, error)) == ERR_UNAVAILABLE && node->source.is_refusal &&
		clock_monotonic_ms() - begin_ms < LOCK_TRY_MS) {
		*error = (struct error){ 0 };
		usleep(LOCK_PAUSE_US);
	}
	return rc;
}

static void node_close(struct object_store *store)
{
	struct object_node *node = (struct object_node *)store;

	if (node->close != NULL)
		node->close(node->source.context);
	free(node);
}

static const struct object_store_functions functions = { node_put, node_get, node_list, node_remove,
	node_lock, node_close };

int object_node_open(const char *url, const struct object_way *way, struct object_store **store_r,
	struct error *error)
{
	struct object_node *node = mem_zalloc(sizeof(*node));
	int rc = way->connect(way->context, url, &node->source, &node->close, error);

	node->base.functions = &functions;
	if (rc < 0) {
		free(node);
		return rc;
	}
	*store_r = &node->base;
	return 0;
}
