#include "backup/backup_send.h"

#include "base/mem.h"
#include "sync/wire.h"

#include <stdlib.h>

#define GUID_COUNT 5000u             /* asked about at once */
#define BODY_COUNT 500u              /* put at once */
#define BODY_SIZE (8u * 1024 * 1024) /* bytes, the same */
#define STAGE_COUNT 2000u            /* records */

/* ---- bodies ---- */

struct sending {
	struct backup_restore_run *run;
	const struct backup_place **places; /* of the records' messages */
	struct map lacking;                 /* GUIDs that the node lacks and nobody sent yet */
	struct arena *arena;
	bool *is_lost; /* of the records' messages */
	char sent;     /* what stands in `lacking` for one that was sent */
	uint64_t byte_done, byte_total;
};

static int lacking_take(struct sending *sending, const struct dlist *map, struct error *error)
{
	const struct dlist *list;

	if (dlist_get_list(map, "GUIDS", &list) < 0)
		return error_set(error, ERR_INVALID, "bad GUIDS in an answer");
	for (const struct dlist *at = list->first; at != NULL; at = at->next) {
		struct guid *guid = arena_alloc(sending->arena, sizeof(*guid));

		if (wire_guid(at, guid) < 0)
			return error_set(error, ERR_INVALID, "bad GUIDS in an answer");
		map_put(&sending->lacking, bytes_of(guid->bytes, sizeof(guid->bytes)), guid);
	}
	return 0;
}

static int lacking_ask(
	struct sending *sending, const struct change_set *records, struct error *error)
{
	int rc = 0;

	for (size_t next = 0; next < records->message_count && rc == 0;) {
		struct buffer request = { 0 };
		struct dlist_writer writer = wire_begin(&request, DLIST_REQUEST, "LACKS");
		struct arena *arena = arena_new();
		const struct dlist *map;

		dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(sending->run->account));
		dlist_put_atom(&writer, "GUIDS");
		dlist_begin_list(&writer);
		for (size_t i = 0; i < GUID_COUNT && next < records->message_count; next++) {
			const struct message_record *message = &records->messages[next].record;

			if (!message_is_shown(message))
				continue;
			dlist_put_hex(&writer,
				bytes_of(message->guid.bytes, sizeof(message->guid.bytes)));
			i++;
		}
		dlist_end_list(&writer);
		dlist_end_map(&writer);
		rc = backup_ask(
			sending->run->node, buffer_bytes(&request), "LACKS", arena, &map, error);
		if (rc == 0)
			rc = lacking_take(sending, map, error);
		arena_free(&arena);
		buffer_deinit(&request);
	}
	return rc;
}

static bool is_lacking(const struct sending *sending, const struct message_record *message)
{
	const void *found = map_get(
		&sending->lacking, bytes_of(message->guid.bytes, sizeof(message->guid.bytes)));

	return found != NULL && found != &sending->sent;
}

static int put_send(struct sending *sending, struct buffer *request, struct dlist_writer *writer,
	struct error *error)
{
	struct arena *arena = arena_new();
	const struct dlist *map;
	int rc;

	dlist_end_list(writer);
	dlist_end_map(writer);
	rc = backup_ask(sending->run->node, buffer_bytes(request), "PUT", arena, &map, error);
	arena_free(&arena);
	if (rc == 0 && sending->run->options->progress != NULL)
		sending->run->options->progress(sending->run->options->context,
			sending->run->account, sending->byte_done, sending->byte_total);
	return rc;
}

/* What cannot be read is left out, and told; the rest is worth having. */
static int body_put(struct sending *sending, const struct change_set *records, size_t index,
	struct dlist_writer *writer, struct error *error)
{
	const struct message_record *message = &records->messages[index].record;
	struct backup_restore_result *result = sending->run->result;
	static const struct backup_place nowhere;
	struct buffer raw = { 0 };
	struct error own = { 0 };
	struct bytes key = bytes_of(message->guid.bytes, sizeof(message->guid.bytes));
	const struct backup_place *place = sending->places[index];
	int rc = backup_read_body(sending->run->repository, place != NULL ? place : &nowhere,
		&message->guid, &raw, &own);

	sending->byte_done += message->size;
	if (rc == 0) {
		dlist_put_hex(writer, key);
		dlist_put_literal(writer, buffer_bytes(&raw));
		map_put(&sending->lacking, key, &sending->sent);
	} else if (rc == ERR_CORRUPT || rc == ERR_NOT_FOUND) {
		sending->is_lost[index] = true;
		if (result->missing_count++ == 0)
			result->missing = own;
		rc = 0;
	} else {
		*error = own;
	}
	buffer_deinit(&raw);
	return rc;
}

static int bodies_put(
	struct sending *sending, const struct change_set *records, struct error *error)
{
	int rc = 0;

	for (size_t next = 0; next < records->message_count && rc == 0;) {
		struct buffer request = { 0 };
		struct dlist_writer writer = wire_begin(&request, DLIST_REQUEST, "PUT");
		size_t count = 0;

		dlist_put_atom(&writer, "BODIES");
		dlist_begin_list(&writer);
		for (; next < records->message_count && rc == 0; next++) {
			const struct message_record *message = &records->messages[next].record;

			if (!message_is_shown(message) || !is_lacking(sending, message))
				continue;
			if (count == BODY_COUNT ||
				(count > 0 && request.len + message->size > BODY_SIZE))
				break;
			rc = body_put(sending, records, next, &writer, error);
			count++;
		}
		if (rc == 0 && count > 0)
			rc = put_send(sending, &request, &writer, error);
		buffer_deinit(&request);
	}
	return rc;
}

static void lost_take_out(struct sending *sending, struct change_set *records)
{
	size_t kept = 0;

	for (size_t i = 0; i < records->message_count; i++)
		if (!sending->is_lost[i])
			records->messages[kept++] = records->messages[i];
	records->message_count = kept;
}

int backup_send_bodies(struct backup_restore_run *run, struct change_set *records,
	backup_place_function *place_of, void *context, struct error *error)
{
	struct sending sending = { .run = run, .arena = arena_new() };
	int rc;

	sending.places =
		arena_alloc(sending.arena, (records->message_count + 1) * sizeof(*sending.places));
	sending.is_lost = arena_zalloc(
		sending.arena, (records->message_count + 1) * sizeof(*sending.is_lost));
	for (size_t i = 0; i < records->message_count; i++)
		sending.places[i] = place_of(context, &records->messages[i].record);
	rc = lacking_ask(&sending, records, error);
	for (size_t i = 0; i < records->message_count; i++)
		if (is_lacking(&sending, &records->messages[i].record))
			sending.byte_total += records->messages[i].record.size;
	if (rc == 0)
		rc = bodies_put(&sending, records, error);
	if (rc == 0)
		lost_take_out(&sending, records);
	map_deinit(&sending.lacking);
	arena_free(&sending.arena);
	return rc;
}

/* ---- records ---- */

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

int backup_send_records(struct backup_restore_run *run, const struct change_set *records,
	uint64_t *part_count_r, struct error *error)
{
	struct change_set left = *records;
	uint64_t count = 0;
	int rc = 0;

	while (rc == 0 && left.mailbox_count + left.message_count + left.register_count > 0) {
		struct buffer request = { 0 };
		struct dlist_writer writer = wire_begin(&request, DLIST_REQUEST, "STAGE");
		struct change_set part = left;
		struct arena *arena = arena_new();
		const struct dlist *map;

		part.mailbox_count = least(left.mailbox_count, STAGE_COUNT);
		part.message_count = least(left.message_count, STAGE_COUNT - part.mailbox_count);
		part.register_count = least(
			left.register_count, STAGE_COUNT - part.mailbox_count - part.message_count);
		dlist_put_number_of(&writer, "PART", ++count);
		wire_put_changes(&writer, &part);
		dlist_end_map(&writer);
		rc = backup_ask(run->node, buffer_bytes(&request), "STAGED", arena, &map, error);
		left.mailboxes += part.mailbox_count;
		left.mailbox_count -= part.mailbox_count;
		left.messages += part.message_count;
		left.message_count -= part.message_count;
		left.registers += part.register_count;
		left.register_count -= part.register_count;
		arena_free(&arena);
		buffer_deinit(&request);
	}
	if (rc == 0)
		*part_count_r = count;
	return rc;
}
