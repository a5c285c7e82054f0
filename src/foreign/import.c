#include "foreign/import.h"

#include "base/mem.h"

#include <stdlib.h>

#define BATCH_COUNT_MAX 200u                   /* bodies read before they are committed */
#define BATCH_SIZE_MAX ((uint64_t)8 << 20)     /* bytes of them */
#define BODY_SIZE_GUESS ((uint64_t)64 * 1024)  /* of one whose size is not known */
#define LOOK_COUNT_MAX IMPORT_COMMIT_COUNT_MAX /* messages looked at in one snapshot */
#define EQUAL_NAMES_MAX 100
#define CHANGE_COUNT_MAX (IMPORT_COMMIT_COUNT_MAX / 2)

enum phase {
	PHASE_OPEN,
	PHASE_LIST,
	PHASE_MAILBOX,
	PHASE_LOOK,
	PHASE_COPY,
	PHASE_CHANGE,
	PHASE_GONE_LOOK,
	PHASE_GONE,
	PHASE_FINISH,
	PHASE_SUBSCRIBE,
	PHASE_LOST,
	PHASE_END
};

struct numbers { /* indexes of messages, or keys */
	uint64_t *list;
	size_t count, room;
};

struct import {
	struct import_options options;
	struct source *source;
	enum phase phase;

	struct arena *list_arena;
	struct source_list list;
	size_t index; /* the mailbox under way */

	/* Of the mailbox under way. */
	struct arena *arena, *scratch;
	struct import_target target;
	struct import_point before;
	struct source_state state;
	struct import_result result;
	struct numbers keys;           /* of all messages at the source, sorted */
	struct numbers fresh, changed; /* indexes into state.messages */
	struct numbers gone;           /* keys */
	size_t look_next, copy_next, change_next, gone_next;
	uint32_t gone_uid;
	bool is_other_gone; /* those of an earlier UIDVALIDITY are looked for, which are all gone */

	/* Mailboxes that were taken in before, and are not listed now. */
	struct source_mailbox *lost;
	struct import_point *lost_points;
	size_t lost_count, lost_room, lost_point_room, lost_next;
	bool is_lost;
	struct bytes *unlisted; /* names that were subscribed to */
	size_t unlisted_count, unlisted_room;

	uint64_t mailbox_count, subscription_count;
	struct error first_error;
};

struct import *import_new(const struct import_options *options, struct source *source)
{
	struct import *import = mem_zalloc(sizeof(*import));

	import->options = *options;
	import->source = source;
	import->list_arena = arena_new();
	import->arena = arena_new();
	import->scratch = arena_new();
	return import;
}

void import_free(struct import **import)
{
	if (*import == NULL)
		return;
	source_free(&(*import)->source);
	free((*import)->keys.list);
	free((*import)->fresh.list);
	free((*import)->changed.list);
	free((*import)->gone.list);
	free((*import)->lost);
	free((*import)->lost_points);
	free((*import)->unlisted);
	arena_free(&(*import)->list_arena);
	arena_free(&(*import)->arena);
	arena_free(&(*import)->scratch);
	free(*import);
	*import = NULL;
}

static void number_add(struct numbers *numbers, uint64_t number)
{
	mem_grow((void **)&numbers->list, &numbers->room, numbers->count + 1,
		sizeof(*numbers->list));
	numbers->list[numbers->count++] = number;
}

static int number_order(const void *left, const void *right)
{
	const uint64_t *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

static bool number_has(const struct numbers *numbers, uint64_t number)
{
	return numbers->count > 0 && bsearch(&number, numbers->list, numbers->count, sizeof(number),
					     number_order) != NULL;
}

static int snapshot(struct import *import, struct kv_txn **kv_r)
{
	return mail_read_begin(import->options.mail, mail_position(import->options.mail), kv_r);
}

/* ---- what there is ---- */

static int open_step(struct import *import, struct error *error)
{
	const struct import_options *options = &import->options;
	int rc = import->source->class->open(import->source, error);

	if (rc != 0)
		return rc < 0 ? rc : IMPORT_MORE;
	import->target = (struct import_target){ .mail = options->mail,
		.is_over_quota = options->is_over_quota,
		.source = bytes_of_string(import->source->name),
		.keys_are_uids = import->source->class->keys_are_uids };
	rc = mail_account_open(options->mail, options->account, !options->is_dry_run, error,
		&import->target.account);
	if (rc == ERR_NOT_FOUND && options->is_dry_run)
		rc = 0; /* all would be new */
	import->phase = PHASE_LIST;
	return rc < 0 ? rc : IMPORT_MORE;
}

/* Levels above others go first. */
static int mailbox_order(const void *left, const void *right)
{
	const struct source_mailbox *a = left, *b = right;
	int order = bytes_compare(a->name, b->name);

	return order != 0 ? order : bytes_compare(a->place, b->place);
}

static int name_order(const void *left, const void *right)
{
	const struct source_mailbox *a = left, *b = right;

	return bytes_compare(a->name, b->name);
}

/*
 * Sorts the list. Two mailboxes there whose names are one name here stay two, the same at each run:
 * in one mailbox the messages of either would seem to be gone from the other.
 */
static int list_sort(struct import *import, struct error *error)
{
	struct source_mailbox *list = import->list.mailboxes;
	bool has_equal = import->list.count > 1;

	for (int rounds = 0; has_equal; rounds++) {
		has_equal = false;
		qsort(list, import->list.count, sizeof(*list), mailbox_order);
		for (size_t i = import->list.count - 1; i > 0; i--) {
			if (!bytes_equal(list[i].name, list[i - 1].name))
				continue;
			if (rounds == EQUAL_NAMES_MAX)
				return error_set(error, ERR_INVALID,
					"too many mailboxes would be called %.*s",
					BYTES_ARGS(list[i].name));
			list[i].name = bytes_of_string(arena_printf(
				import->list_arena, "%.*s_", BYTES_ARGS(list[i].name)));
			has_equal = true;
		}
	}
	return 0;
}

static const struct source_mailbox *listed(const struct import *import, struct bytes name)
{
	struct source_mailbox wanted = { .name = name };

	return import->list.count == 0 ? NULL
				       : bsearch(&wanted, import->list.mailboxes,
						 import->list.count, sizeof(wanted), name_order);
}

static int lost_add(void *context, struct bytes name, const struct import_point *point)
{
	struct import *import = context;
	const struct source_mailbox *mailbox = listed(import, name);

	if (mailbox != NULL && mailbox->has_mail)
		return 0;
	mem_grow((void **)&import->lost, &import->lost_room, import->lost_count + 1,
		sizeof(*import->lost));
	mem_grow((void **)&import->lost_points, &import->lost_point_room, import->lost_count + 1,
		sizeof(*import->lost_points));
	import->lost_points[import->lost_count] = *point;
	import->lost[import->lost_count++] =
		(struct source_mailbox){ .name = arena_copy(import->list_arena, name) };
	return 0;
}

static int list_step(struct import *import, struct error *error)
{
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	int rc = import->source->class->list(
		import->source, import->list_arena, &import->list, error);

	if (rc == 0)
		rc = list_sort(import, error);
	if (rc == 0 && !import->options.keeps_gone) {
		rc = snapshot(import, &kv);
		if (rc == 0)
			rc = import_each_point(kv, &import->target, arena, lost_add, import);
		mail_read_end(&kv);
	}
	arena_free(&arena);
	import->phase = PHASE_MAILBOX;
	return rc < 0 ? rc : IMPORT_MORE;
}

/* ---- one mailbox ---- */

static void mailbox_reset(struct import *import)
{
	arena_clear(import->arena);
	import->keys.count = import->fresh.count = import->changed.count = import->gone.count = 0;
	import->look_next = import->copy_next = import->change_next = import->gone_next = 0;
	import->gone_uid = 1;
	import->is_other_gone = false;
	import->state = (struct source_state){ 0 };
	import->result = (struct import_result){ 0 };
}

static const struct source_mailbox *mailbox_now(const struct import *import)
{
	return import->is_lost ? &import->lost[import->lost_next]
			       : &import->list.mailboxes[import->index];
}

static void mailbox_next(struct import *import)
{
	if (import->is_lost)
		import->lost_next++;
	else
		import->index++;
	import->phase = import->is_lost ? PHASE_LOST : PHASE_MAILBOX;
}

/* What makes it useless to go on with the next mailbox. */
static bool ends_all(int rc)
{
	return rc == ERR_IO || rc == ERR_CLOSED || rc == ERR_TIMEOUT || rc == ERR_OVERQUOTA ||
	       rc == ERR_REPLICA || rc == ERR_FULL || rc == ERR_CORRUPT;
}

static void mailbox_tell(struct import *import)
{
	import->result.name = import->target.name;
	import->result.message_count = import->is_lost ? 0 : import->result.message_count;
	import->result.uidvalidity = import->target.uidvalidity;
	import->result.uidvalidity_here = import->target.uidvalidity_here;
	import->result.has_other_uidvalidity =
		import->target.uidvalidity != 0 &&
		import->target.uidvalidity != import->target.uidvalidity_here;
	import->mailbox_count++;
	import->options.tell(import->options.context, &import->result);
}

static int mailbox_failed(struct import *import, int rc, struct error *error)
{
	if (error->code == 0)
		error_set(error, rc, "%s", error_name(rc));
	import->result.error = *error;
	mailbox_tell(import);
	if (ends_all(rc))
		return rc;
	if (import->first_error.code == 0) {
		import->first_error = *error;
		error_prefix(&import->first_error, "%.*s",
			(int)(import->target.name.len < 100 ? import->target.name.len : 100),
			(const char *)import->target.name.ptr);
	}
	*error = (struct error){ 0 };
	mailbox_next(import);
	return IMPORT_MORE;
}

static int here_open(struct import *import, struct bytes special_use,
	enum import_mailbox_state *state_r, struct error *error)
{
	struct kv_txn *kv = NULL;
	int rc;

	if (!import->options.is_dry_run)
		return import_mailbox_open(&import->target, special_use, state_r, error);
	rc = mailbox_name_check(import->target.name, error);
	if (rc == 0)
		rc = snapshot(import, &kv);
	if (rc == 0)
		rc = import_mailbox_find(kv, &import->target, state_r);
	mail_read_end(&kv);
	return rc;
}

static int point_read(struct import *import)
{
	struct kv_txn *kv = NULL;
	int rc = snapshot(import, &kv);

	if (rc == 0)
		rc = import_point_get(kv, &import->target, import->arena, &import->before);
	mail_read_end(&kv);
	return rc;
}

/* What the source tells of it, and where it goes. */
static int mailbox_read(struct import *import, struct error *error)
{
	const struct source_mailbox *mailbox = mailbox_now(import);
	struct source_point since = { 0 };
	enum import_mailbox_state state = IMPORT_MAILBOX_THERE;
	int rc;

	import->target.name = mailbox->name;
	import->target.uidvalidity = import->target.uidvalidity_here = 0;
	rc = point_read(import);
	if (rc == 0 && import->before.exists)
		since = (struct source_point){ import->before.uidvalidity, import->before.uidnext,
			import->before.highestmodseq };
	if (rc == 0)
		rc = import->source->class->read(
			import->source, mailbox, &since, import->arena, &import->state, error);
	if (rc < 0)
		return rc;
	import->target.uidvalidity = import->state.point.uidvalidity;
	import->result.message_count = import->state.count;
	rc = here_open(import, mailbox->special_use, &state, error);
	import->result.is_deleted_here = state == IMPORT_MAILBOX_DELETED;
	return rc;
}

static int mailbox_step(struct import *import, struct error *error)
{
	int rc;

	if (import->index == import->list.count) {
		import->phase = PHASE_SUBSCRIBE;
		import->index = 0;
		return IMPORT_MORE;
	}
	mailbox_reset(import);
	if (!mailbox_now(import)->has_mail) {
		mailbox_next(import);
		return IMPORT_MORE;
	}
	rc = mailbox_read(import, error);
	if (rc < 0)
		return mailbox_failed(import, rc, error);
	if (import->result.is_deleted_here) {
		mailbox_tell(import);
		mailbox_next(import);
		return IMPORT_MORE;
	}
	for (size_t i = 0; i < import->state.gone_count; i++)
		number_add(&import->gone, import->state.gone[i]);
	for (size_t i = 0; i < import->state.count && !import->state.is_difference; i++)
		number_add(&import->keys, import->state.messages[i].key);
	for (size_t i = 0; i < import->state.key_count; i++)
		number_add(&import->keys, import->state.keys[i]);
	if (import->keys.count > 1)
		qsort(import->keys.list, import->keys.count, sizeof(uint64_t), number_order);
	import->phase = PHASE_LOOK;
	return IMPORT_MORE;
}

static struct import_message message_of(const struct source_message *from)
{
	return (struct import_message){ .key = from->key,
		.uid = from->uid,
		.flags = from->flags,
		.flag_count = from->flag_count,
		.internaldate = from->date,
		.internaldate_zone = from->zone,
		.size = from->size };
}

static int look_step(struct import *import, struct error *error)
{
	size_t end = import->look_next + LOOK_COUNT_MAX;
	struct kv_txn *kv = NULL;
	int rc = snapshot(import, &kv);

	end = end < import->state.count ? end : import->state.count;
	for (; import->look_next < end && rc == 0; import->look_next++) {
		struct import_message message =
			message_of(&import->state.messages[import->look_next]);
		enum import_state state;

		rc = import_look(kv, &import->target, &message, import->scratch, &state);
		if (rc < 0)
			break;
		if (state == IMPORT_NEW)
			number_add(&import->fresh, import->look_next);
		else if (state == IMPORT_CHANGED)
			number_add(&import->changed, import->look_next);
		import->result.deleted_count += state == IMPORT_GONE;
	}
	mail_read_end(&kv);
	arena_reset(import->scratch);
	if (rc < 0)
		return mailbox_failed(import, rc, error);
	if (import->look_next == import->state.count)
		import->phase = PHASE_COPY;
	return IMPORT_MORE;
}

/* ---- bodies ---- */

struct batch {
	struct import *import;
	struct source_message *messages;
	struct import_message *wanted;
	struct mail_body **bodies;
	void **copies;
	size_t count;
};

static int body_take(void *context, size_t index, struct bytes body)
{
	struct batch *batch = context;
	int rc;

	if (index >= batch->count || batch->bodies[index] != NULL)
		return ERR_INVALID;
	batch->copies[index] = mem_dup(body.ptr != NULL ? body.ptr : (const void *)"", body.len);
	rc = mail_body_prepare(batch->import->options.mail,
		bytes_of(batch->copies[index], body.len), &batch->bodies[index]);
	return rc;
}

static int batch_append(struct batch *batch, struct error *error)
{
	struct import *import = batch->import;
	size_t count = 0;

	for (size_t i = 0; i < batch->count; i++) {
		if (batch->bodies[i] == NULL) {
			import->result.left_out_count++;
			continue;
		}
		batch->wanted[count] = message_of(&batch->messages[i]);
		batch->wanted[count].body = batch->bodies[i];
		batch->wanted[count++].size = mail_body_size(batch->bodies[i]);
	}
	if (count == 0)
		return 0;
	return import_append(&import->target, batch->wanted, count, &import->result.counts, error);
}

static void batch_deinit(struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		mail_body_free(&batch->bodies[i]);
		free(batch->copies[i]);
	}
	free(batch->messages);
	free(batch->wanted);
	free(batch->bodies);
	free(batch->copies);
}

static void batch_fill(struct import *import, struct batch *batch)
{
	size_t left = import->fresh.count - import->copy_next;
	size_t room = left < BATCH_COUNT_MAX ? left : BATCH_COUNT_MAX;
	uint64_t size = 0;

	*batch = (struct batch){ .import = import,
		.messages = mem_zalloc_array(room, sizeof(*batch->messages)),
		.wanted = mem_zalloc_array(room, sizeof(*batch->wanted)),
		.bodies = mem_zalloc_array(room, sizeof(*batch->bodies)),
		.copies = mem_zalloc_array(room, sizeof(*batch->copies)) };
	while (batch->count < room && size < BATCH_SIZE_MAX) {
		uint64_t index = import->fresh.list[import->copy_next++];
		const struct source_message *message = &import->state.messages[index];

		size += message->size != 0 ? message->size : BODY_SIZE_GUESS;
		batch->messages[batch->count++] = *message;
	}
}

static int copy_step(struct import *import, struct error *error)
{
	struct batch batch;
	int rc;

	if (import->options.is_dry_run) {
		import->result.counts.new_count = import->fresh.count;
		import->copy_next = import->fresh.count;
	}
	if (import->copy_next == import->fresh.count) {
		import->phase = PHASE_CHANGE;
		return IMPORT_MORE;
	}
	batch_fill(import, &batch);
	rc = import->source->class->bodies(
		import->source, batch.messages, batch.count, body_take, &batch, error);
	if (rc == 0)
		rc = batch_append(&batch, error);
	batch_deinit(&batch);
	return rc < 0 ? mailbox_failed(import, rc, error) : IMPORT_MORE;
}

/* ---- flags, and what is gone ---- */

/* Else what came from there is compared with what is there. */
static bool tells_gone(const struct import *import)
{
	return import->state.is_difference && import->state.keys == NULL;
}

static int change_step(struct import *import, struct error *error)
{
	struct import_message messages[CHANGE_COUNT_MAX];
	size_t count = 0;
	int rc;

	if (import->options.is_dry_run) {
		import->result.counts.changed_count = import->changed.count;
		import->change_next = import->changed.count;
	}
	if (import->change_next == import->changed.count) {
		import->phase = import->options.keeps_gone ? PHASE_FINISH
				: tells_gone(import)       ? PHASE_GONE
							   : PHASE_GONE_LOOK;
		return IMPORT_MORE;
	}
	while (count < CHANGE_COUNT_MAX && import->change_next < import->changed.count)
		messages[count++] = message_of(
			&import->state.messages[import->changed.list[import->change_next++]]);
	rc = import_change(&import->target, messages, count, &import->result.counts, error);
	return rc < 0 ? mailbox_failed(import, rc, error) : IMPORT_MORE;
}

static void gone_add(void *context, uint64_t key)
{
	struct import *import = context;

	if (import->is_other_gone || !number_has(&import->keys, key))
		number_add(&import->gone, key);
}

/* Of all that came from there: what is not there any more. */
static int gone_look_step(struct import *import, struct error *error)
{
	struct kv_txn *kv = NULL;
	int rc = snapshot(import, &kv);

	if (rc == 0)
		rc = import_each_key(
			kv, &import->target, &import->gone_uid, import->scratch, gone_add, import);
	mail_read_end(&kv);
	arena_reset(import->scratch);
	if (rc < 0)
		return mailbox_failed(import, rc, error);
	if (import->gone_uid == 0)
		import->phase = PHASE_GONE;
	return IMPORT_MORE;
}

static int gone_step(struct import *import, struct error *error)
{
	size_t count = import->gone.count - import->gone_next;
	int rc;

	if (import->options.is_dry_run) {
		/* Of a difference it is not known how many of them are here. */
		import->result.counts.gone_count = import->gone.count;
		count = 0;
	}
	if (count == 0) {
		import->phase = PHASE_FINISH;
		return IMPORT_MORE;
	}
	count = count < CHANGE_COUNT_MAX ? count : CHANGE_COUNT_MAX;
	rc = import_expunge(&import->target, &import->gone.list[import->gone_next], count,
		&import->result.counts, error);
	import->gone_next += count;
	return rc < 0 ? mailbox_failed(import, rc, error) : IMPORT_MORE;
}

/* The mailbox was made anew there: what it held before is gone. */
static bool other_gone_begin(struct import *import)
{
	enum import_mailbox_state state;
	struct kv_txn *kv = NULL;
	struct import_target other = import->target;
	int rc;

	if (import->is_other_gone || import->options.keeps_gone || !import->before.exists ||
		!import->target.keys_are_uids ||
		import->before.uidvalidity == import->state.point.uidvalidity)
		return false;
	other.uidvalidity = import->before.uidvalidity;
	rc = snapshot(import, &kv);
	if (rc == 0)
		rc = import_mailbox_find(kv, &other, &state);
	mail_read_end(&kv);
	if (rc < 0)
		return false;
	other.mailbox = import->target.mailbox;
	import->target = other;
	import->is_other_gone = true;
	import->gone.count = import->gone_next = 0;
	import->gone_uid = 1;
	import->phase = PHASE_GONE_LOOK;
	return true;
}

static int finish_step(struct import *import, struct error *error)
{
	struct import_point point = { true, import->state.point.uidvalidity,
		import->state.point.uidnext, import->state.point.highestmodseq };
	int rc = 0;

	if (import->is_lost) {
		if (!import->options.is_dry_run)
			rc = import_forget(&import->target, error);
		import->result.is_gone_there = true;
	} else if (other_gone_begin(import)) {
		return IMPORT_MORE;
	} else if (!import->options.is_dry_run) {
		import->target.uidvalidity = point.uidvalidity;
		/* What was left out is tried again. */
		if (import->result.left_out_count > 0)
			point.highestmodseq = point.uidnext = 0;
		rc = import_finish(&import->target, &point, error);
	}
	if (rc < 0)
		return mailbox_failed(import, rc, error);
	mailbox_tell(import);
	mailbox_next(import);
	return IMPORT_MORE;
}

/* ---- what belongs to no mailbox ---- */

static void unlisted_add(void *context, struct bytes name)
{
	struct import *import = context;

	if (listed(import, name) != NULL)
		return;
	mem_grow((void **)&import->unlisted, &import->unlisted_room, import->unlisted_count + 1,
		sizeof(*import->unlisted));
	import->unlisted[import->unlisted_count++] = arena_copy(import->list_arena, name);
}

static int subscribe(
	struct import *import, struct bytes name, bool is_subscribed, struct error *error)
{
	bool is_changed = false;
	int rc;

	import->target.name = name;
	rc = import_subscribe(&import->target, is_subscribed, &is_changed, error);
	import->subscription_count += is_changed;
	if (rc == ERR_INVALID) {
		rc = 0; /* no name of a mailbox; told already if there was mail */
		*error = (struct error){ 0 };
	}
	return rc;
}

/* Names that are not listed any more, of those that were subscribed to. */
static int unsubscribe(struct import *import, struct error *error)
{
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	int rc = snapshot(import, &kv);

	if (rc == 0)
		rc = import_each_subscription(kv, &import->target, arena, unlisted_add, import);
	mail_read_end(&kv);
	arena_free(&arena);
	for (size_t i = 0; i < import->unlisted_count && rc == 0; i++)
		rc = subscribe(import, import->unlisted[i], false, error);
	return rc;
}

static int subscribe_step(struct import *import, struct error *error)
{
	int rc = 0;

	if (import->index < import->list.count && !import->options.is_dry_run) {
		const struct source_mailbox *mailbox = &import->list.mailboxes[import->index++];

		rc = subscribe(import, mailbox->name, mailbox->is_subscribed, error);
		return rc < 0 ? rc : IMPORT_MORE;
	}
	if (!import->options.is_dry_run)
		rc = unsubscribe(import, error);
	import->phase = PHASE_LOST;
	import->is_lost = true;
	return rc < 0 ? rc : IMPORT_MORE;
}

static int lost_step(struct import *import, struct error *error)
{
	enum import_mailbox_state state;
	struct kv_txn *kv = NULL;
	int rc;

	if (import->lost_next == import->lost_count) {
		import->phase = PHASE_END;
		return IMPORT_MORE;
	}
	mailbox_reset(import);
	import->target.name = mailbox_now(import)->name;
	import->target.uidvalidity = import->lost_points[import->lost_next].uidvalidity;
	rc = snapshot(import, &kv);
	if (rc == 0)
		rc = import_mailbox_find(kv, &import->target, &state);
	mail_read_end(&kv);
	if (rc < 0)
		return mailbox_failed(import, rc, error);
	import->phase = state == IMPORT_MAILBOX_THERE ? PHASE_GONE_LOOK : PHASE_FINISH;
	return IMPORT_MORE;
}

static int end_step(struct import *import, struct error *error)
{
	if (import->first_error.code == 0)
		return IMPORT_DONE;
	*error = import->first_error;
	return import->first_error.code;
}

int import_step(struct import *import, struct error *error)
{
	static int (*const steps[])(struct import * import, struct error * error) = {
		[PHASE_OPEN] = open_step,
		[PHASE_LIST] = list_step,
		[PHASE_MAILBOX] = mailbox_step,
		[PHASE_LOOK] = look_step,
		[PHASE_COPY] = copy_step,
		[PHASE_CHANGE] = change_step,
		[PHASE_GONE_LOOK] = gone_look_step,
		[PHASE_GONE] = gone_step,
		[PHASE_FINISH] = finish_step,
		[PHASE_SUBSCRIBE] = subscribe_step,
		[PHASE_LOST] = lost_step,
		[PHASE_END] = end_step,
	};

	return steps[import->phase](import, error);
}

void import_get_progress(const struct import *import, struct import_progress *progress_r)
{
	*progress_r = (struct import_progress){ .mailbox_count = import->mailbox_count,
		.subscription_count = import->subscription_count };
	if (import->phase < PHASE_MAILBOX || import->phase > PHASE_FINISH)
		return;
	progress_r->mailbox = import->target.name;
	progress_r->done = import->copy_next;
	progress_r->total = import->fresh.count;
}
