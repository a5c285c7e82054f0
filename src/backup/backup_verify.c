#include "backup/backup_verify.h"

#include "backup/backup_cache.h"
#include "backup/backup_pack.h"
#include "base/mem.h"
#include "base/pack.h"

#include <stdio.h>
#include <stdlib.h>

/* What a pack holds, as it was read. */
struct held {
	struct id128 id;
	struct backup_pack_entry *entries; /* in order of offset */
	size_t count;
};

/* A record's share of the digest, and of messages the body, as told last. */
struct term {
	struct digest digest;
	bool is_shown;
	struct stamp instance;
	struct guid guid;
	struct backup_place place;
};

struct verify {
	struct backup_repository *repository;
	const struct backup_verify_options *options;
	struct backup_verify_result *result;
	struct arena *arena; /* of the packs */
	struct map packs;    /* id -> struct held */
	struct held **held;  /* the same */
	size_t held_count, held_room;
	struct arena *chain_arena;
	struct map terms; /* kind and key of a record -> struct term, in the present chain */
	struct digest sum;
	struct term **changed; /* messages, since the moment before */
	size_t changed_count, changed_room;
	uint64_t done, total; /* bytes of packs */
};

static void damage_tell(struct verify *verify, const char *what)
{
	verify->result->damage_count++;
	if (verify->options->damage != NULL)
		verify->options->damage(verify->options->context, what);
}

/* Takes the error for damage, if it is such. */
static int damage_take(struct verify *verify, int rc, struct error *error)
{
	if (rc != ERR_CORRUPT && rc != ERR_VERSION && rc != ERR_TOO_LARGE && rc != ERR_NOT_FOUND)
		return rc;
	damage_tell(verify, error->text);
	*error = (struct error){ 0 };
	return 0;
}

/* ---- packs ---- */

static int frame_check(struct verify *verify, const char *name, struct bytes object,
	const struct backup_pack_entry *entry, struct error *error)
{
	struct bytes in = bytes_of(object.ptr + entry->offset, entry->size);
	struct buffer data = { 0 };
	struct guid sum;
	int kind = 0, rc;

	rc = backup_frame_get(
		&verify->repository->key, name, entry->offset, &in, &kind, &data, error);
	if (rc == 0 && (kind != (int)entry->kind || in.len > 0))
		rc = error_set(error, ERR_CORRUPT, "damaged: %s, the frame at byte %u", name,
			entry->offset);
	if (rc == 0 && kind == BACKUP_BODY) {
		guid_of(buffer_bytes(&data), &sum);
		verify->result->message_count++;
		if (!guid_equal(&sum, &entry->guid))
			rc = error_set(error, ERR_CORRUPT,
				"damaged: %s, the message at byte %u is not what its GUID says",
				name, entry->offset);
	}
	buffer_deinit(&data);
	return rc;
}

static int frames_check(struct verify *verify, const char *name, struct bytes object,
	const struct held *held, struct error *error)
{
	struct bytes head = object;
	int rc = damage_take(verify,
		backup_object_head(&verify->repository->key, BACKUP_PACK, name, &head, error),
		error);

	for (size_t i = 0; i < held->count && rc == 0; i++) {
		const struct backup_pack_entry *entry = &held->entries[i];

		if ((uint64_t)entry->offset + entry->size > object.len)
			rc = error_set(error, ERR_CORRUPT, "damaged: %s is cut off", name);
		else
			rc = frame_check(verify, name, object, entry, error);
		rc = damage_take(verify, rc, error);
	}
	return rc;
}

static int pack_check(
	struct verify *verify, const struct backup_pack_name *pack, struct error *error)
{
	struct held *held = arena_zalloc(verify->arena, sizeof(*held));
	char name[OBJECT_NAME_SIZE_MAX + 1];
	struct buffer object = { 0 };
	int rc;

	held->id = pack->id;
	mem_grow((void **)&verify->held, &verify->held_room, verify->held_count + 1,
		sizeof(struct held *));
	verify->held[verify->held_count++] = held;
	map_put(&verify->packs, bytes_of(held->id.bytes, sizeof(held->id.bytes)), held);
	backup_pack_name(pack->id, name);
	rc = damage_take(verify,
		backup_pack_index(verify->repository, pack->id, pack->size, &held->entries,
			&held->count, error),
		error);
	if (rc == 0)
		rc = damage_take(verify,
			object_get(verify->repository->store, name, 0, 0, &object, error), error);
	if (rc == 0)
		rc = frames_check(verify, name, buffer_bytes(&object), held, error);
	verify->result->pack_count++;
	verify->result->byte_count += pack->size;
	verify->done += pack->size;
	if (verify->options->progress != NULL)
		verify->options->progress(verify->options->context, verify->done, verify->total);
	buffer_deinit(&object);
	return rc;
}

static int packs_check(struct verify *verify, struct error *error)
{
	struct backup_pack_name *packs = NULL;
	size_t count = 0;
	int rc = backup_pack_list(verify->repository, &packs, &count, error);

	for (size_t i = 0; i < count; i++)
		verify->total += packs[i].size;
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = pack_check(verify, &packs[i], error);
	free(packs);
	return rc;
}

/* What the objects in "moved" say, which nothing else may read. */
static int moved_check(void *context, const char *name, uint64_t size)
{
	struct verify *verify = context;
	struct error error = { 0 };
	struct id128 id;
	int rc = 0;

	(void)size;
	if (backup_name_id("moved", name, &id) == 0)
		rc = damage_take(verify, backup_is_moved(verify->repository, id, &error), &error);
	return rc < 0 ? rc : 0;
}

/* ---- the accounts ---- */

/* Whether the packs hold that very message there. */
static bool is_held(struct verify *verify, struct backup_place place, const struct guid *guid)
{
	const struct backup_pack_entry *entry;
	const struct held *held;
	struct error ignored = { 0 };

	if (backup_moved_find(verify->repository, &place, &ignored) < 0)
		return false;
	held = map_get(&verify->packs, bytes_of(place.pack.bytes, sizeof(place.pack.bytes)));
	if (held == NULL || held->count == 0)
		return false;
	entry = bsearch(&place.offset, held->entries, held->count, sizeof(*held->entries),
		backup_compare_offsets);
	return entry != NULL && entry->kind == BACKUP_BODY && entry->size == place.size &&
	       guid_equal(&entry->guid, guid);
}

static void chain_begin(void *context)
{
	struct verify *verify = context;

	map_deinit(&verify->terms);
	arena_reset(verify->chain_arena);
	verify->sum = (struct digest){ 0 };
	verify->changed_count = 0;
}

/* In place of what was told of that record before. */
static struct term *term_put(struct verify *verify, const struct buffer *key, struct digest digest)
{
	struct term *term = map_get(&verify->terms, buffer_bytes(key));

	if (term == NULL) {
		term = arena_zalloc(verify->chain_arena, sizeof(*term));
		map_put(&verify->terms, arena_copy(verify->chain_arena, buffer_bytes(key)), term);
	}
	digest_subtract(&verify->sum, term->digest);
	term->digest = digest;
	digest_add(&verify->sum, term->digest);
	return term;
}

static void message_take(struct verify *verify, const struct backup_part *part, size_t index)
{
	const struct message_record *message = &part->records.messages[index].record;
	struct digest none = { 0 };
	struct buffer key = { 0 };
	struct term *term;

	pack_u8(&key, RECORD_MESSAGE);
	pack_u64(&key, message->instance.modseq);
	pack_u64(&key, message->instance.node);
	term = term_put(verify, &key, message_is_shown(message) ? message_term(message) : none);
	buffer_deinit(&key);
	term->is_shown = message_is_shown(message);
	term->instance = message->instance;
	term->guid = message->guid;
	term->place = part->places[index];
	mem_grow((void **)&verify->changed, &verify->changed_room, verify->changed_count + 1,
		sizeof(struct term *));
	verify->changed[verify->changed_count++] = term;
}

/* What was shown at that moment must be there; of what did not change that was seen before. */
static void bodies_check(struct verify *verify, const char *account)
{
	char text[200];

	for (size_t i = 0; i < verify->changed_count; i++) {
		const struct term *term = verify->changed[i];

		if (!term->is_shown || is_held(verify, term->place, &term->guid))
			continue;
		if (backup_place_is_none(&term->place)) {
			verify->result->missing_count++;
			continue;
		}
		snprintf(text, sizeof(text),
			"damaged: %.80s: the body of message %llu.%016llx is not in the backup",
			account, (unsigned long long)term->instance.modseq,
			(unsigned long long)term->instance.node);
		damage_tell(verify, text);
	}
	verify->changed_count = 0;
}

static int part_take(void *context, const struct backup_place *place,
	const struct backup_part *part, struct error *error)
{
	struct verify *verify = context;
	const struct change_set *records = &part->records;
	struct digest none = { 0 };
	struct buffer key = { 0 };

	(void)place;
	(void)error;
	for (size_t i = 0; i < records->mailbox_count; i++) {
		const struct mailbox_record *mailbox = &records->mailboxes[i];

		buffer_clear(&key);
		pack_u8(&key, RECORD_MAILBOX);
		buffer_append(&key, mailbox->id.bytes, sizeof(mailbox->id.bytes));
		term_put(verify, &key, mailbox_is_live(mailbox) ? mailbox_term(mailbox) : none);
	}
	for (size_t i = 0; i < records->message_count; i++)
		message_take(verify, part, i);
	for (size_t i = 0; i < records->register_count; i++) {
		const struct register_record *record = &records->registers[i];

		buffer_clear(&key);
		pack_u8(&key, (uint8_t)record->kind);
		buffer_append(&key, record->mailbox.bytes, sizeof(record->mailbox.bytes));
		buffer_append_bytes(&key, record->key);
		term_put(verify, &key, record->is_set ? register_term(record) : none);
	}
	buffer_deinit(&key);
	return 0;
}

static int moment_check(void *context, const struct backup_moment *moment, struct error *error)
{
	struct verify *verify = context;
	char text[300];

	(void)error;
	bodies_check(verify, moment->account.name);
	verify->result->state_count++;
	if (digest_equal(verify->sum, moment->account.digest))
		return 0;
	snprintf(text, sizeof(text),
		"damaged: %.80s at %.80s: its records do not have the digest that they had",
		moment->account.name, moment->point);
	damage_tell(verify, text);
	return 0;
}

static int broken_tell(void *context, const struct backup_moment *moment, struct error *error)
{
	struct verify *verify = context;
	char text[ERROR_TEXT_SIZE + 100];

	snprintf(text, sizeof(text), "%.80s: %s", moment->point, error->text);
	damage_tell(verify, text);
	return 0;
}

static int points_check(struct verify *verify, struct backup_history *history, struct error *error)
{
	struct backup_point_name *names = NULL;
	size_t count = 0;
	int rc = backup_point_list(verify->repository, &names, &count, error);

	for (size_t i = 0; i < count && rc == 0; i++) {
		struct backup_point point = { 0 };

		rc = backup_point_get(verify->repository, names[i].name, &point, error);
		if (rc == 0)
			backup_history_add(history, &point);
		backup_point_deinit(&point);
		verify->result->point_count++;
		rc = damage_take(verify, rc, error);
	}
	free(names);
	return rc;
}

static void verify_end(struct verify *verify)
{
	for (size_t i = 0; i < verify->held_count; i++)
		free(verify->held[i]->entries);
	free(verify->held);
	free(verify->changed);
	map_deinit(&verify->packs);
	map_deinit(&verify->terms);
	arena_free(&verify->arena);
	arena_free(&verify->chain_arena);
}

int backup_verify(struct backup_repository *repository, const struct backup_verify_options *options,
	struct backup_verify_result *result_r, struct error *error)
{
	static const struct backup_history_functions functions = { chain_begin, part_take,
		moment_check, broken_tell };
	struct verify verify = { .repository = repository,
		.options = options,
		.result = result_r,
		.arena = arena_new(),
		.chain_arena = arena_new() };
	struct backup_history history = { 0 };
	int rc;

	*result_r = (struct backup_verify_result){ 0 };
	rc = packs_check(&verify, error);
	if (rc == 0)
		rc = object_list(repository->store, "moved", moved_check, &verify, error);
	if (rc == 0)
		rc = points_check(&verify, &history, error);
	if (rc == 0)
		rc = backup_history_each(repository, &history, NULL, &functions, &verify, error);
	if (rc == 0 && result_r->damage_count > 0)
		rc = error_set(error, ERR_CORRUPT, "the backup is damaged in %llu places",
			(unsigned long long)result_r->damage_count);
	backup_history_deinit(&history);
	verify_end(&verify);
	return rc;
}
