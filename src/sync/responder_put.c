/* SYNC requests that bring what an APPLY or INTEGRATE to come is made of: PUT and STAGE. */
#include "sync/responder_private.h"

/* ---- PUT ---- */

static int read_body(const struct dlist **at, struct body_item *item_r)
{
	const struct dlist *guid = *at, *raw = guid->next;

	*item_r = (struct body_item){ .packed = { NULL, 0 } };
	if (raw == NULL || wire_guid(guid, &item_r->guid) < 0)
		return ERR_INVALID;
	*at = raw->next;
	return dlist_text(raw, &item_r->raw);
}

/* Nothing more is unpacked than could have come as it is. */
static int read_packed_body(struct sync_call *call, const struct dlist **at, uint64_t *size,
	struct buffer *unpacked, struct body_item *item_r)
{
	const struct dlist *guid = *at, *number = guid->next;
	const struct dlist *text = number != NULL ? number->next : NULL;
	uint64_t raw_size;
	int rc;

	*item_r = (struct body_item){ .packed = { NULL, 0 } };
	if (text == NULL || wire_guid(guid, &item_r->guid) < 0 ||
		dlist_number(number, SYNC_BODY_SIZE_MAX, &raw_size) < 0 ||
		dlist_text(text, &item_r->raw) < 0)
		return ERR_INVALID;
	*at = text->next;
	if (raw_size == 0)
		return 0;
	*size += raw_size;
	if (*size > SYNC_BODY_SIZE_MAX)
		return ERR_TOO_LARGE;
	item_r->packed = item_r->raw;
	buffer_clear(unpacked);
	rc = store_body_unpack(mail_store(call->session->mail), item_r->packed, raw_size, unpacked);
	item_r->raw = arena_copy(call->arena, buffer_bytes(unpacked));
	return rc == ERR_CORRUPT ? ERR_INVALID : rc;
}

/* PACKED, of full peers only: what they send little of may be much. */
static int read_bodies(struct sync_call *call, struct body_item **items_r, size_t *count_r)
{
	const struct dlist *list, *at;
	struct buffer unpacked = { 0 };
	struct body_item *items;
	bool is_packed = false;
	uint64_t size = 0;
	int rc = dlist_get_list(call->map, "BODIES", &list);

	if (rc < 0 && call->session->rights.is_full) {
		rc = dlist_get_list(call->map, "PACKED", &list);
		is_packed = true;
	}
	if (rc < 0)
		return error_set(call->error, ERR_INVALID, "bad or missing BODIES");
	*count_r = list->count / (is_packed ? 3 : 2);
	items = arena_alloc(call->arena, (*count_r + 1) * sizeof(*items));
	at = list->first;
	for (size_t i = 0; i < *count_r && rc == 0; i++)
		rc = is_packed ? read_packed_body(call, &at, &size, &unpacked, &items[i])
			       : read_body(&at, &items[i]);
	buffer_deinit(&unpacked);
	*items_r = items;
	if (rc == ERR_TOO_LARGE)
		return error_set(call->error, rc, "too many bodies in one request");
	return rc < 0 ? error_set(call->error, ERR_INVALID, "bad GUID or body") : 0;
}

int respond_put(struct sync_call *call)
{
	struct sync_session *session = call->session;
	struct body_item *items;
	struct dlist_writer writer;
	size_t count;
	int rc = read_bodies(call, &items, &count);

	if (rc < 0)
		return rc;
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
