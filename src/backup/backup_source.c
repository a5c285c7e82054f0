#include "backup/backup_source.h"

#include "sync/wire.h"

int backup_ask_any(struct backup_source *source, struct bytes request, struct arena *arena,
	struct bytes *verb_r, const struct dlist **map_r, struct error *error)
{
	struct bytes answer, verb = { 0 };
	int rc = source->ask(source->context, request, &answer, error);

	source->request_count++;
	if (rc == 0)
		rc = wire_answer(arena_copy(arena, answer), arena, &verb, map_r, error);
	source->is_refusal = bytes_equal_string(verb, "ERROR");
	*verb_r = verb;
	return rc;
}

int backup_ask(struct backup_source *source, struct bytes request, const char *wanted,
	struct arena *arena, const struct dlist **map_r, struct error *error)
{
	struct bytes verb;
	int rc = backup_ask_any(source, request, arena, &verb, map_r, error);

	if (rc == 0 && !bytes_equal_string(verb, wanted))
		rc = error_set(error, ERR_INVALID, "the node answers %.*s, not %s",
			(int)(verb.len < 40 ? verb.len : 40), (const char *)verb.ptr, wanted);
	return rc;
}

int backup_ask_points(struct backup_source *source, uint64_t *cursor, struct arena *arena,
	struct survey_account **accounts_r, size_t *count_r, struct error *error)
{
	struct buffer request = { 0 };
	struct bytes answer;
	int rc;

	survey_request_all(*cursor, &request);
	rc = source->ask(source->context, buffer_bytes(&request), &answer, error);
	source->request_count++;
	if (rc == 0)
		rc = survey_answer(
			arena_copy(arena, answer), arena, accounts_r, count_r, cursor, error);
	buffer_deinit(&request);
	return rc;
}

static int changes_read(const struct dlist *map, struct arena *arena,
	struct backup_changes *changes, struct error *error)
{
	uint64_t has_more = 0, is_reset = 0;

	if (dlist_get_number(map, "SEQUENCE", UINT64_MAX, &changes->sequence) < 0 ||
		dlist_get_number(map, "HIGHEST", MODSEQ_MAX, &changes->highest) < 0 ||
		wire_get_digest(map, "DIGEST", &changes->digest) < 0)
		return error_set(
			error, ERR_INVALID, "bad SEQUENCE, HIGHEST or DIGEST in an answer");
	(void)dlist_get_number(map, "MORE", 1, &has_more);
	(void)dlist_get_number(map, "RESET", 1, &is_reset);
	changes->has_more = has_more != 0;
	changes->is_reset = is_reset != 0;
	return wire_get_changes(map, arena, &changes->records, error);
}

int backup_ask_changes(struct backup_source *source, const char *account, uint64_t since,
	struct arena *arena, struct backup_changes *changes_r, struct error *error)
{
	struct backup_changes changes = { 0 };
	struct buffer request = { 0 };
	struct dlist_writer writer = wire_begin(&request, DLIST_REQUEST, "CHANGES");
	const struct dlist *map;
	int rc;

	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(account));
	dlist_put_number_of(&writer, "SINCE", since);
	dlist_end_map(&writer);
	rc = backup_ask(source, buffer_bytes(&request), "CHANGES", arena, &map, error);
	if (rc == 0)
		rc = changes_read(map, arena, &changes, error);
	buffer_deinit(&request);
	if (rc < 0)
		change_set_deinit(&changes.records);
	else
		*changes_r = changes;
	return rc;
}

static int bodies_take(
	const struct dlist *map, backup_body_function *function, void *context, struct error *error)
{
	const struct dlist *list;
	int rc = dlist_get_list(map, "BODIES", &list);

	if (rc < 0)
		return error_set(error, ERR_INVALID, "bad BODIES in an answer");
	for (const struct dlist *at = list->first; at != NULL && rc == 0; at = at->next->next) {
		struct guid guid, sum;
		struct bytes raw;

		if (at->next == NULL || wire_guid(at, &guid) < 0 || dlist_text(at->next, &raw) < 0)
			return error_set(error, ERR_INVALID, "bad body in an answer");
		guid_of(raw, &sum);
		/* What is damaged there counts as not given. */
		if (guid_equal(&sum, &guid))
			rc = function(context, &guid, raw, error);
	}
	return rc;
}

int backup_ask_bodies(struct backup_source *source, const char *account,
	const struct stamp *instances, size_t count, backup_body_function *function, void *context,
	struct error *error)
{
	struct buffer request = { 0 };
	struct dlist_writer writer = wire_begin(&request, DLIST_REQUEST, "GET");
	struct arena *arena = arena_new();
	const struct dlist *map;
	int rc;

	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(account));
	dlist_put_atom(&writer, "INSTANCES");
	dlist_begin_list(&writer);
	for (size_t i = 0; i < count; i++)
		wire_put_stamp(&writer, instances[i]);
	dlist_end_list(&writer);
	dlist_end_map(&writer);
	rc = backup_ask(source, buffer_bytes(&request), "BODIES", arena, &map, error);
	if (rc == 0)
		rc = bodies_take(map, function, context, error);
	arena_free(&arena);
	buffer_deinit(&request);
	return rc;
}
