/* Taking over what differs: messages, flags, and what is gone. */
#include "foreign/import_private.h"

#include "base/mem.h"

#include <stdlib.h>

#define BATCH_COUNT_MAX 200u                  /* bodies read before they are committed */
#define BATCH_SIZE_MAX ((uint64_t)8 << 20)    /* bytes of them */
#define BODY_SIZE_GUESS ((uint64_t)64 * 1024) /* of one whose size is not known */
#define CHANGE_COUNT_MAX (IMPORT_COMMIT_COUNT_MAX / 2)

static bool number_has(const struct numbers *numbers, uint64_t number)
{
	return numbers->count > 0 && bsearch(&number, numbers->list, numbers->count, sizeof(number),
					     import_number_order) != NULL;
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
		batch->wanted[count] = import_message_of(&batch->messages[i]);
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

int import_copy_step(struct import *import, struct error *error)
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
	return rc < 0 ? import_mailbox_failed(import, rc, error) : IMPORT_MORE;
}

/* ---- flags, and what is gone ---- */

/* Else what came from there is compared with what is there. */
static bool tells_gone(const struct import *import)
{
	return import->state.is_difference && import->state.keys == NULL;
}

int import_change_step(struct import *import, struct error *error)
{
	struct import_message messages[CHANGE_COUNT_MAX];
	size_t count = 0;
	int rc;

	if (import->options.is_dry_run) {
		import->result.counts.changed_count = import->changed.count;
		import->change_next = import->changed.count;
	}
	if (import->change_next == import->changed.count) {
		import->phase = import->options.keeps_gone ? PHASE_EXTRA
				: tells_gone(import)       ? PHASE_GONE
							   : PHASE_GONE_LOOK;
		return IMPORT_MORE;
	}
	while (count < CHANGE_COUNT_MAX && import->change_next < import->changed.count)
		messages[count++] = import_message_of(
			&import->state.messages[import->changed.list[import->change_next++]]);
	rc = import_change(&import->target, messages, count, &import->result.counts, error);
	return rc < 0 ? import_mailbox_failed(import, rc, error) : IMPORT_MORE;
}

static void gone_add(void *context, uint64_t key)
{
	struct import *import = context;

	if (import->is_other_gone || !number_has(&import->keys, key))
		import_number_add(&import->gone, key);
}

/* Of all that came from there: what is not there any more. */
int import_gone_look_step(struct import *import, struct error *error)
{
	struct kv_txn *kv = NULL;
	int rc = import_read_begin(import, &kv);

	if (rc == 0)
		rc = import_each_key(
			kv, &import->target, &import->gone_uid, import->scratch, gone_add, import);
	mail_read_end(&kv);
	arena_reset(import->scratch);
	if (rc < 0)
		return import_mailbox_failed(import, rc, error);
	if (import->gone_uid == 0)
		import->phase = PHASE_GONE;
	return IMPORT_MORE;
}

int import_gone_step(struct import *import, struct error *error)
{
	size_t count = import->gone.count - import->gone_next;
	int rc;

	if (import->options.is_dry_run) {
		/* Of a difference it is not known how many of them are here. */
		import->result.counts.gone_count = import->gone.count;
		count = 0;
	}
	if (count == 0) {
		import->phase = import->is_other_gone ? PHASE_FINISH : PHASE_EXTRA;
		return IMPORT_MORE;
	}
	count = count < CHANGE_COUNT_MAX ? count : CHANGE_COUNT_MAX;
	rc = import_expunge(&import->target, &import->gone.list[import->gone_next], count,
		&import->result.counts, error);
	import->gone_next += count;
	return rc < 0 ? import_mailbox_failed(import, rc, error) : IMPORT_MORE;
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
	rc = import_read_begin(import, &kv);
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

int import_finish_step(struct import *import, struct error *error)
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
		return import_mailbox_failed(import, rc, error);
	import_mailbox_tell(import);
	import_mailbox_next(import);
	return IMPORT_MORE;
}
