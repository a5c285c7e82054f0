/*
 * Any bytes as a dlist. What is accepted is written again and read back: it must be the same. The
 * input lies in a block of its exact size.
 */
#include "sync/wire.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void write_value(struct dlist_writer *writer, const struct dlist *value)
{
	bool is_key = true;

	switch (value->kind) {
	case DLIST_NIL:
		dlist_put_atom(writer, "NIL");
		return;
	case DLIST_ATOM:
	case DLIST_STRING:
		dlist_put_text(writer, value->text);
		return;
	case DLIST_LIST:
		dlist_begin_list(writer);
		for (const struct dlist *at = value->first; at != NULL; at = at->next)
			write_value(writer, at);
		dlist_end_list(writer);
		return;
	case DLIST_MAP:
		dlist_begin_map(writer);
		for (const struct dlist *at = value->first; at != NULL; at = at->next) {
			if (is_key) { /* as it is: a key has no other form */
				dlist_put_atom(writer, "");
				buffer_append_bytes(writer->out, at->text);
			} else {
				write_value(writer, at);
			}
			is_key = !is_key;
		}
		dlist_end_map(writer);
		return;
	}
}

static bool is_same(const struct dlist *a, const struct dlist *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	if (a->count != b->count || !bytes_equal(a->text, b->text))
		return false;
	if (a->kind != b->kind &&
		(a->kind == DLIST_LIST || a->kind == DLIST_MAP || a->kind == DLIST_NIL))
		return false;
	for (a = a->first, b = b->first; a != NULL && b != NULL; a = a->next, b = b->next)
		if (!is_same(a, b))
			return false;
	return a == b;
}

static void read_records(const struct dlist *map, struct arena *arena)
{
	struct change_set changes = { 0 };

	if (map->kind == DLIST_MAP && wire_get_changes(map, arena, &changes, NULL) == 0)
		change_set_normalize(&changes);
	change_set_deinit(&changes);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	unsigned char *exact = malloc(size > 0 ? size : 1);
	struct arena *arena = arena_new();
	struct buffer out = { 0 };
	struct dlist_writer writer = dlist_writer(&out, DLIST_REQUEST);
	const struct dlist *value, *again;
	struct bytes in = bytes_of(exact, size);

	if (exact == NULL)
		abort();
	if (size > 0)
		memcpy(exact, data, size);
	if (dlist_parse(&in, arena, &value, NULL) == 0) {
		read_records(value, arena);
		write_value(&writer, value);
		in = buffer_bytes(&out);
		if (dlist_parse(&in, arena, &again, NULL) < 0 || in.len != 0 ||
			!is_same(value, again))
			abort();
	}
	buffer_deinit(&out);
	arena_free(&arena);
	free(exact);
	return 0;
}
