/* What is in a mailbox there, compared with what is here. */
#include "foreign/import_private.h"

#include "base/mem.h"

#include <stdlib.h>

#define LOOK_COUNT_MAX IMPORT_COMMIT_COUNT_MAX /* messages looked at in one snapshot */

void import_number_add(struct numbers *numbers, uint64_t number)
{
	mem_grow((void **)&numbers->list, &numbers->room, numbers->count + 1,
		sizeof(*numbers->list));
	numbers->list[numbers->count++] = number;
}

int import_number_order(const void *left, const void *right)
{
	const uint64_t *a = left, *b = right;

	return *a < *b ? -1 : *a > *b;
}

void import_mailbox_reset(struct import *import)
{
	arena_clear(import->arena);
	import->keys.count = import->fresh.count = import->changed.count = import->gone.count = 0;
	import->look_next = import->copy_next = import->change_next = import->gone_next = 0;
	import->gone_uid = 1;
	import->is_other_gone = false;
	import->state = (struct source_state){ 0 };
	import->result = (struct import_result){ 0 };
}

const struct source_mailbox *import_mailbox_now(const struct import *import)
{
	return import->is_lost ? &import->lost[import->lost_next]
			       : &import->list.mailboxes[import->index];
}

void import_mailbox_next(struct import *import)
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

void import_mailbox_tell(struct import *import)
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

int import_mailbox_failed(struct import *import, int rc, struct error *error)
{
	if (error->code == 0)
		error_set(error, rc, "%s", error_name(rc));
	import->result.error = *error;
	import_mailbox_tell(import);
	if (ends_all(rc))
		return rc;
	if (import->first_error.code == 0) {
		import->first_error = *error;
		error_prefix(&import->first_error, "%.*s",
			(int)(import->target.name.len < 100 ? import->target.name.len : 100),
			(const char *)import->target.name.ptr);
	}
	*error = (struct error){ 0 };
	import_mailbox_next(import);
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
		rc = import_read_begin(import, &kv);
	if (rc == 0)
		rc = import_mailbox_find(kv, &import->target, state_r);
	mail_read_end(&kv);
	return rc;
}

static int point_read(struct import *import)
{
	struct kv_txn *kv = NULL;
	int rc = import_read_begin(import, &kv);

	if (rc == 0)
		rc = import_point_get(kv, &import->target, import->arena, &import->before);
	mail_read_end(&kv);
	return rc;
}

/* What the source tells of it, and where it goes. */
static int mailbox_read(struct import *import, struct error *error)
{
	const struct source_mailbox *mailbox = import_mailbox_now(import);
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

int import_mailbox_step(struct import *import, struct error *error)
{
	int rc;

	if (import->index == import->list.count) {
		import->phase = PHASE_ACCOUNT;
		import->index = 0;
		return IMPORT_MORE;
	}
	import_mailbox_reset(import);
	if (!import_mailbox_now(import)->has_mail) {
		import_mailbox_next(import);
		return IMPORT_MORE;
	}
	rc = mailbox_read(import, error);
	if (rc < 0)
		return import_mailbox_failed(import, rc, error);
	if (import->result.is_deleted_here) {
		import_mailbox_tell(import);
		import_mailbox_next(import);
		return IMPORT_MORE;
	}
	for (size_t i = 0; i < import->state.gone_count; i++)
		import_number_add(&import->gone, import->state.gone[i]);
	for (size_t i = 0; i < import->state.count && !import->state.is_difference; i++)
		import_number_add(&import->keys, import->state.messages[i].key);
	for (size_t i = 0; i < import->state.key_count; i++)
		import_number_add(&import->keys, import->state.keys[i]);
	if (import->keys.count > 1)
		qsort(import->keys.list, import->keys.count, sizeof(uint64_t), import_number_order);
	import->phase = PHASE_LOOK;
	return IMPORT_MORE;
}

struct import_message import_message_of(const struct source_message *from)
{
	return (struct import_message){ .key = from->key,
		.uid = from->uid,
		.flags = from->flags,
		.flag_count = from->flag_count,
		.internaldate = from->date,
		.internaldate_zone = from->zone,
		.size = from->size };
}

int import_look_step(struct import *import, struct error *error)
{
	size_t end = import->look_next + LOOK_COUNT_MAX;
	struct kv_txn *kv = NULL;
	int rc = import_read_begin(import, &kv);

	end = end < import->state.count ? end : import->state.count;
	for (; import->look_next < end && rc == 0; import->look_next++) {
		struct import_message message =
			import_message_of(&import->state.messages[import->look_next]);
		enum import_state state;

		rc = import_look(kv, &import->target, &message, import->scratch, &state);
		if (rc < 0)
			break;
		if (state == IMPORT_NEW)
			import_number_add(&import->fresh, import->look_next);
		else if (state == IMPORT_CHANGED)
			import_number_add(&import->changed, import->look_next);
		import->result.deleted_count += state == IMPORT_GONE;
	}
	mail_read_end(&kv);
	arena_reset(import->scratch);
	if (rc < 0)
		return import_mailbox_failed(import, rc, error);
	if (import->look_next == import->state.count)
		import->phase = PHASE_COPY;
	return IMPORT_MORE;
}
