/* SYNC requests that bring what an APPLY or INTEGRATE to come is made of: PUT and STAGE. */
#include "sync/responder_private.h"

/* ---- PUT ---- */

static int read_body(const struct dlist **at, struct body_item *item_r)
{
	const struct dlist *guid = *at, *raw = guid->next;

	if (raw == NULL || wire_guid(guid, &item_r->guid) < 0)
		return ERR_INVALID;
	*at = raw->next;
	return dlist_text(raw, &item_r->raw);
}

int respond_put(struct sync_call *call)
{
	struct sync_session *session = call->session;
	struct body_item *items;
	const struct dlist *list, *at;
	struct dlist_writer writer;
	size_t count;
	int rc = dlist_get_list(call->map, "BODIES", &list);

	if (rc < 0)
		return error_set(call->error, ERR_INVALID, "bad or missing BODIES");
	count = list->count / 2;
	items = arena_alloc(call->arena, (count + 1) * sizeof(*items));
	at = list->first;
	for (size_t i = 0; i < count; i++)
		if (read_body(&at, &items[i]) < 0)
			return error_set(call->error, ERR_INVALID, "bad GUID or body");
	/* Those on disk outlive the session: who is no node cannot fill it. */
	for (size_t i = 0; i < count; i++)
		session->put_size += items[i].raw.len;
	if (!session->rights.is_full && session->put_size > SYNC_USER_PUT_SIZE_MAX)
		return error_set(call->error, ERR_TOO_LARGE, "too many bodies before an APPLY");
	rc = body_set_add(&session->bodies, session->mail, items, count, call->error);
	if (rc < 0)
		return rc;
	writer = wire_begin(call->answer, DLIST_ANSWER, "PUT");
	dlist_put_number_of(&writer, "COUNT", count);
	dlist_end_map(&writer);
	return 0;
}

/* ---- STAGE ---- */

int respond_stage(struct sync_call *call)
{
	struct sync_session *session = call->session;
	const struct dlist *map;
	struct bytes verb, kept;
	struct dlist_writer writer;
	uint64_t part;
	int rc = call_number(call, "PART", UINT32_MAX, &part);

	if (rc < 0)
		return rc;
	if (part == 1) /* what else is there was left by a request that never came */
		session_unstage(session);
	if (part != session->part_count + 1)
		rc = error_set(call->error, ERR_UNAVAILABLE, "a STAGE before this one is missing");
	session->part_count++;
	session->staged_size += call->text.len;
	if (session->staged_size >
		(session->rights.is_full ? SYNC_STAGE_SIZE_MAX : SYNC_USER_STAGE_SIZE_MAX))
		rc = error_set(call->error, ERR_TOO_LARGE, "too many records staged");
	if (session->stage_arena == NULL)
		session->stage_arena = arena_new();
	if (rc == 0) {
		kept = arena_copy(session->stage_arena, call->text);
		rc = wire_parse(kept, session->stage_arena, &verb, &map, call->error);
	}
	if (rc == 0)
		rc = wire_get_changes(map, session->stage_arena, &session->staged, call->error);
	if (rc < 0) {
		session_unstage(session);
		return rc;
	}
	writer = wire_begin(call->answer, DLIST_ANSWER, "STAGED");
	dlist_put_number_of(&writer, "SIZE", session->staged_size);
	dlist_end_map(&writer);
	return 0;
}
