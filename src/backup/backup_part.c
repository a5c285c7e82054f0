#include "backup/backup_part.h"

#include "base/encode.h"
#include "base/mem.h"
#include "base/pack.h"
#include "sync/wire.h"

#include <stdlib.h>

#define PART_RECORD_COUNT 5000u
#define PART_SIZE (8u * 1024 * 1024) /* bytes; estimated, the last record goes over it */
#define PART_COUNT_MAX 100000u       /* of one account, from one that holds all on */

/* ---- writing ---- */

static size_t mailbox_size(const struct mailbox_record *mailbox)
{
	return 250 + mailbox->name.len + mailbox->special_use.len;
}

static size_t message_size(const struct message_record *message)
{
	size_t size = 450;

	for (size_t i = 0; i < message->flag_count; i++)
		size += 50 + message->flags[i].name.len;
	return size;
}

static size_t register_size(const struct register_record *record)
{
	return 200 + record->key.len + record->value.len;
}

/* Cuts what fits into one part out of `all`, from the *next'th on; returns its first message. */
static size_t window_cut(const struct change_set *all, size_t *next, struct change_set *cut_r)
{
	size_t mailboxes = all->mailbox_count, messages = mailboxes + all->message_count;
	size_t total = messages + all->register_count, from = *next, at = from, size = 0, first = 0;

	*cut_r = (struct change_set){ 0 };
	for (; at < total && at - from < PART_RECORD_COUNT && size < PART_SIZE; at++) {
		if (at < mailboxes) {
			if (cut_r->mailbox_count++ == 0)
				cut_r->mailboxes = all->mailboxes + at;
			size += mailbox_size(&all->mailboxes[at]);
		} else if (at < messages) {
			if (cut_r->message_count++ == 0)
				first = at - mailboxes;
			size += message_size(&all->messages[at - mailboxes].record);
		} else {
			if (cut_r->register_count++ == 0)
				cut_r->registers = all->registers + (at - messages);
			size += register_size(&all->registers[at - messages]);
		}
	}
	if (cut_r->message_count > 0)
		cut_r->messages = all->messages + first;
	*next = at;
	return first;
}

/* Most are in few packs, so these are told once. */
static void places_encode(const struct backup_place *places, size_t count, struct buffer *out)
{
	struct map numbers = { 0 };
	struct buffer packs = { 0 }, list = { 0 };
	size_t *ids = mem_zalloc_array(count + 1, sizeof(*ids)), pack_count = 0;

	for (size_t i = 0; i < count; i++) {
		struct bytes id = bytes_of(places[i].pack.bytes, sizeof(places[i].pack.bytes));
		size_t *number = map_get(&numbers, id);

		if (backup_place_is_none(&places[i])) {
			pack_varint(&list, 0);
		} else {
			if (number == NULL) {
				number = &ids[pack_count];
				*number = ++pack_count;
				map_put(&numbers, id, number);
				buffer_append_bytes(&packs, id);
			}
			pack_varint(&list, *number);
			pack_u32(&list, places[i].offset);
			pack_u32(&list, places[i].size);
		}
	}
	pack_varint(out, pack_count);
	buffer_append_bytes(out, buffer_bytes(&packs));
	buffer_append_bytes(out, buffer_bytes(&list));
	buffer_deinit(&packs);
	buffer_deinit(&list);
	map_deinit(&numbers);
	free(ids);
}

void backup_part_encode(const char *account, const struct backup_place *previous,
	const struct change_set *records, const struct backup_place *places, size_t *next,
	struct buffer *out)
{
	struct dlist_writer writer = wire_begin(out, DLIST_REQUEST, "PART");
	struct buffer text = { 0 };
	struct change_set cut;
	size_t first = window_cut(records, next, &cut);

	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(account));
	if (!backup_place_is_none(previous)) {
		backup_place_pack(&text, previous);
		dlist_put_hex_of(&writer, "PREVIOUS", buffer_bytes(&text));
		buffer_clear(&text);
	}
	places_encode(places + first, cut.message_count, &text);
	dlist_put_atom(&writer, "PLACES");
	dlist_put_literal(&writer, buffer_bytes(&text));
	wire_put_changes(&writer, &cut);
	dlist_end_map(&writer);
	buffer_deinit(&text);
}

/* ---- reading ---- */

static int places_decode(
	struct bytes in, struct arena *arena, size_t count, struct backup_place **places_r)
{
	struct backup_place *places = arena_zalloc(arena, (count + 1) * sizeof(*places));
	struct bytes packs;
	uint64_t pack_count, number;

	if (unpack_varint(&in, &pack_count) < 0 || pack_count > in.len / sizeof(struct id128))
		return ERR_CORRUPT;
	packs = bytes_take(&in, pack_count * sizeof(struct id128));
	for (size_t i = 0; i < count; i++) {
		if (unpack_varint(&in, &number) < 0 || number > pack_count)
			return ERR_CORRUPT;
		if (number == 0)
			continue;
		memcpy(places[i].pack.bytes, packs.ptr + (number - 1) * sizeof(struct id128),
			sizeof(struct id128));
		if (unpack_u32(&in, &places[i].offset) < 0 ||
			unpack_u32(&in, &places[i].size) < 0 || places[i].size == 0 ||
			places[i].size > BACKUP_FRAME_SIZE_MAX)
			return ERR_CORRUPT;
	}
	*places_r = places;
	return in.len == 0 ? 0 : ERR_CORRUPT;
}

static int previous_read(const struct dlist *map, struct backup_place *place_r)
{
	struct buffer raw = { 0 };
	struct bytes text, in;
	int rc = dlist_get_text(map, "PREVIOUS", &text);

	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc == 0)
		rc = decode_hex(&raw, text);
	in = buffer_bytes(&raw);
	if (rc == 0 && (backup_place_unpack(&in, place_r) < 0 || in.len > 0))
		rc = ERR_CORRUPT;
	buffer_deinit(&raw);
	return rc;
}

int backup_part_decode(
	struct bytes in, struct arena *arena, struct backup_part *part_r, struct error *error)
{
	struct backup_part part = { 0 };
	const struct dlist *map;
	struct bytes verb, name, places;
	int rc = wire_parse(in, arena, &verb, &map, error);

	if (rc == 0 &&
		(!bytes_equal_string(verb, "PART") || dlist_get_text(map, "ACCOUNT", &name) < 0 ||
			account_name_normalize(name, part.account) < 0 ||
			dlist_get_text(map, "PLACES", &places) < 0 ||
			previous_read(map, &part.previous) < 0))
		rc = error_set(error, ERR_CORRUPT, "records are not of the form of a backup");
	if (rc == 0)
		rc = wire_get_changes(map, arena, &part.records, error);
	if (rc == 0 && places_decode(places, arena, part.records.message_count, &part.places) < 0)
		rc = error_set(error, ERR_CORRUPT, "the places of messages are not of their form");
	if (rc < 0)
		change_set_deinit(&part.records);
	else
		*part_r = part;
	return rc < 0 ? ERR_CORRUPT : 0;
}

/* ---- the state of an account ---- */

int backup_part_read(struct backup_repository *repository, const struct backup_account *account,
	const struct backup_place *place, struct arena *arena, struct backup_part *part_r,
	struct error *error)
{
	struct buffer data = { 0 };
	int rc = backup_read(repository, place, BACKUP_RECORDS, &data, error);

	if (rc == 0)
		rc = backup_part_decode(
			arena_copy(arena, buffer_bytes(&data)), arena, part_r, error);
	if (rc == 0 && strcmp(part_r->account, account->name) != 0) {
		change_set_deinit(&part_r->records);
		rc = error_set(error, ERR_CORRUPT, "damaged: these records are of another account");
	}
	buffer_deinit(&data);
	return rc;
}

int backup_each_part(struct backup_repository *repository, const struct backup_account *account,
	backup_part_function *function, void *context, struct error *error)
{
	struct backup_place place = account->part;
	struct arena *arena = arena_new();
	int rc = 0;

	for (size_t count = 0; rc == 0 && !backup_place_is_none(&place); count++) {
		struct backup_part part = { 0 };

		arena_reset(arena);
		rc = count < PART_COUNT_MAX
			     ? backup_part_read(repository, account, &place, arena, &part, error)
			     : error_set(error, ERR_CORRUPT, "damaged: records without an end");
		if (rc == 0)
			rc = function(context, &place, &part, error);
		place = part.previous;
		change_set_deinit(&part.records);
	}
	arena_free(&arena);
	return rc < 0 ? error_prefix(error, "%s", account->name) : rc;
}

static void sets_join(struct change_set *into, const struct change_set *from)
{
	for (size_t i = 0; i < from->mailbox_count; i++)
		change_set_add_mailbox(into, &from->mailboxes[i]);
	for (size_t i = 0; i < from->message_count; i++)
		change_set_add_message(into, &from->messages[i].record, false);
	for (size_t i = 0; i < from->register_count; i++)
		change_set_add_register(into, &from->registers[i]);
}

struct digest backup_digest_of(const struct change_set *records)
{
	struct digest sum = { 0 };

	for (size_t i = 0; i < records->mailbox_count; i++)
		if (mailbox_is_live(&records->mailboxes[i]))
			digest_add(&sum, mailbox_term(&records->mailboxes[i]));
	for (size_t i = 0; i < records->message_count; i++)
		if (message_is_shown(&records->messages[i].record))
			digest_add(&sum, message_term(&records->messages[i].record));
	for (size_t i = 0; i < records->register_count; i++)
		if (records->registers[i].is_set)
			digest_add(&sum, register_term(&records->registers[i]));
	return sum;
}

/* The parts, the last first, so that what is later can be put in place of what was before. */
struct parts {
	struct backup_part *list;
	size_t count, room;
};

static int parts_collect(struct backup_repository *repository, const struct backup_account *account,
	struct arena *arena, struct parts *parts, struct error *error)
{
	struct backup_place place = account->part;
	int rc = 0;

	while (rc == 0 && !backup_place_is_none(&place)) {
		struct backup_part *part;

		if (parts->count == PART_COUNT_MAX)
			return error_set(error, ERR_CORRUPT, "damaged: records without an end");
		mem_grow((void **)&parts->list, &parts->room, parts->count + 1,
			sizeof(*parts->list));
		part = &parts->list[parts->count];
		rc = backup_part_read(repository, account, &place, arena, part, error);
		if (rc == 0) {
			parts->count++;
			place = part->previous;
		}
	}
	return rc;
}

int backup_state_read(struct backup_repository *repository, const struct backup_account *account,
	struct backup_state *state_r, struct error *error)
{
	struct backup_state state = { .arena = arena_new() };
	struct parts parts = { 0 };
	int rc = parts_collect(repository, account, state.arena, &parts, error);

	for (size_t i = parts.count; i-- > 0;) {
		const struct backup_part *part = &parts.list[i];

		if (rc == 0)
			sets_join(&state.records, &part->records);
		for (size_t k = 0; k < part->records.message_count && rc == 0; k++) {
			struct stamp *instance = arena_alloc(state.arena, sizeof(*instance));

			*instance = part->records.messages[k].record.instance;
			if (!backup_place_is_none(&part->places[k]))
				map_put(&state.places, bytes_of(instance, sizeof(*instance)),
					&part->places[k]);
		}
	}
	for (size_t i = 0; i < parts.count; i++)
		change_set_deinit(&parts.list[i].records);
	free(parts.list);
	if (rc < 0) {
		backup_state_deinit(&state);
		return error_prefix(error, "%s", account->name);
	}
	change_set_normalize(&state.records);
	state.records.sequence = account->sequence;
	state.records.highest = account->highest;
	state.digest = backup_digest_of(&state.records);
	*state_r = state;
	return 0;
}

void backup_state_deinit(struct backup_state *state)
{
	change_set_deinit(&state->records);
	map_deinit(&state->places);
	arena_free(&state->arena);
}

const struct backup_place *backup_state_place(
	const struct backup_state *state, const struct message_record *message)
{
	return map_get(&state->places, bytes_of(&message->instance, sizeof(message->instance)));
}
