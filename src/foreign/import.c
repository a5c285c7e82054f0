#include "foreign/import_private.h"

#include "base/mem.h"

#include <stdlib.h>

#define EQUAL_NAMES_MAX 100

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

int import_read_begin(struct import *import, struct kv_txn **kv_r)
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
		rc = import_read_begin(import, &kv);
		if (rc == 0)
			rc = import_each_point(kv, &import->target, arena, lost_add, import);
		mail_read_end(&kv);
	}
	arena_free(&arena);
	import->phase = PHASE_MAILBOX;
	return rc < 0 ? rc : IMPORT_MORE;
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
	int rc = import_read_begin(import, &kv);

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
	import_mailbox_reset(import);
	import->target.name = import_mailbox_now(import)->name;
	import->target.uidvalidity = import->lost_points[import->lost_next].uidvalidity;
	rc = import_read_begin(import, &kv);
	if (rc == 0)
		rc = import_mailbox_find(kv, &import->target, &state);
	mail_read_end(&kv);
	if (rc < 0)
		return import_mailbox_failed(import, rc, error);
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
		[PHASE_MAILBOX] = import_mailbox_step,
		[PHASE_LOOK] = import_look_step,
		[PHASE_COPY] = import_copy_step,
		[PHASE_CHANGE] = import_change_step,
		[PHASE_GONE_LOOK] = import_gone_look_step,
		[PHASE_GONE] = import_gone_step,
		[PHASE_EXTRA] = import_extra_step,
		[PHASE_FINISH] = import_finish_step,
		[PHASE_ACCOUNT] = import_account_step,
		[PHASE_SUBSCRIBE] = subscribe_step,
		[PHASE_LOST] = lost_step,
		[PHASE_END] = end_step,
	};

	return steps[import->phase](import, error);
}

void import_get_progress(const struct import *import, struct import_progress *progress_r)
{
	*progress_r = (struct import_progress){ .mailbox_count = import->mailbox_count,
		.subscription_count = import->subscription_count,
		.account_counts = import->account_counts };
	if (import->phase < PHASE_MAILBOX || import->phase > PHASE_FINISH)
		return;
	progress_r->mailbox = import->target.name;
	progress_r->done = import->copy_next;
	progress_r->total = import->fresh.count;
}
