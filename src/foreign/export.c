#include "foreign/export.h"

#include "base/mem.h"

#include <stdlib.h>

#define STEP_COUNT_MAX 200u               /* messages written in one step ... */
#define STEP_SIZE_MAX ((uint64_t)8 << 20) /* ... or bytes of them */

struct export
{
	struct export_options options;
	struct target *target;
	struct arena *arena;   /* of the list */
	struct arena *scratch; /* of a step */
	bool is_open, is_begun;

	struct id128 only; /* with options.instance: the mailbox that it is in */
	struct mailbox_record *mailboxes;
	size_t count, room, index;
	struct bytes *subscriptions;
	size_t subscription_count, subscription_room;

	uint32_t next_uid;
	uint64_t done;
	struct export_counts counts;

	struct message_record *batch;
	size_t batch_count, batch_room;
	uint64_t batch_size;
};

struct export *export_new(const struct export_options *options, struct target *target)
{
	struct export *export = mem_zalloc(sizeof(*export));

	export->options = *options;
	export->target = target;
	export->arena = arena_new();
	export->scratch = arena_new();
	return export;
}

void export_free(struct export **export)
{
	if (*export == NULL)
		return;
	target_free(&(*export)->target);
	free((*export)->mailboxes);
	free((*export)->subscriptions);
	free((*export)->batch);
	arena_free(&(*export)->arena);
	arena_free(&(*export)->scratch);
	free(*export);
	*export = NULL;
}

static int snapshot(struct export *export, struct kv_txn **kv_r)
{
	return mail_read_begin(export->options.mail, mail_position(export->options.mail), kv_r);
}

/* ---- what there is ---- */

/* Subscriptions are chosen by it, too. */
static bool is_chosen(const struct export *export, struct bytes mailbox)
{
	struct bytes wanted = export->options.mailbox;

	return wanted.len == 0 || bytes_equal(mailbox, wanted);
}

static int mailbox_add(void *context, const struct mailbox_record *mailbox)
{
	struct export *export = context;

	if (!mailbox_is_live(mailbox) || !is_chosen(export, mailbox->name))
		return 0;
	if (export->options.instance != NULL && !id128_equal(mailbox->id, export->only))
		return 0;
	mem_grow((void **)&export->mailboxes, &export->room, export->count + 1,
		sizeof(*export->mailboxes));
	export->mailboxes[export->count] = *mailbox;
	export->mailboxes[export->count++].name = arena_copy(export->arena, mailbox->name);
	return 0;
}

static int subscription_add(void *context, const struct register_record *record)
{
	struct export *export = context;

	if (!record->is_set || !is_chosen(export, record->key))
		return 0;
	mem_grow((void **)&export->subscriptions, &export->subscription_room,
		export->subscription_count + 1, sizeof(*export->subscriptions));
	export->subscriptions[export->subscription_count++] =
		arena_copy(export->arena, record->key);
	return 0;
}

/* Levels above others go first. */
static int mailbox_order(const void *left, const void *right)
{
	const struct mailbox_record *a = left, *b = right;

	return bytes_compare(a->name, b->name);
}

/* Where the one message is. */
static int only_find(struct export *export, struct kv_txn *kv, struct error *error)
{
	struct message_record message;
	int rc = account_get_message(
		kv, export->options.account, *export->options.instance, export->scratch, &message);

	if (rc == ERR_NOT_FOUND || (rc == 0 && !message_is_shown(&message)))
		return error_set(error, ERR_NOT_FOUND, "the message was in no mailbox");
	if (rc == 0)
		export->only = message.mailbox;
	return rc;
}

static int list_read(struct export *export, struct error *error)
{
	uint32_t account = export->options.account;
	struct kv_txn *kv = NULL;
	int rc = export->target->class->open(export->target, error);

	if (rc < 0)
		return rc;
	rc = snapshot(export, &kv);
	if (rc == 0 && export->options.instance != NULL)
		rc = only_find(export, kv, error);
	if (rc == 0)
		rc = account_each_mailbox(kv, account, export->scratch, mailbox_add, export);
	if (rc == 0)
		rc = account_each_register(kv, account, RECORD_SUBSCRIPTION, export->scratch,
			subscription_add, export);
	mail_read_end(&kv);
	if (rc == 0 && export->count > 1)
		qsort(export->mailboxes, export->count, sizeof(*export->mailboxes), mailbox_order);
	export->is_open = true;
	if (rc < 0 && error->code == 0)
		error_set(error, rc, "the account cannot be read: %s", error_name(rc));
	return rc;
}

/* ---- messages ---- */

static int batch_add(void *context, const struct message_record *message)
{
	struct export *export = context;

	export->next_uid = message->uid + 1;
	if (export->options.instance != NULL &&
		stamp_compare(message->instance, *export->options.instance) != 0)
		return 0;
	mem_grow((void **)&export->batch, &export->batch_room, export->batch_count + 1,
		sizeof(*export->batch));
	export->batch[export->batch_count++] = *message;
	export->batch_size += message->size;
	return export->batch_count == STEP_COUNT_MAX || export->batch_size >= STEP_SIZE_MAX;
}

struct body_reading {
	struct export *export;
	const struct message_record *message;
};

static int body_read(void *context, struct buffer *out, struct error *error)
{
	struct body_reading *reading = context;
	struct kv_txn *kv = NULL;
	int rc = snapshot(reading->export, &kv);

	if (rc == 0)
		rc = message_body(reading->export->options.mail, kv, &reading->message->guid, out);
	mail_read_end(&kv);
	return rc < 0 ? error_set(error, rc, "message %u cannot be read: %s", reading->message->uid,
				error_name(rc))
		      : 0;
}

static int batch_write(struct export *export, struct error *error)
{
	int rc = 0;

	for (size_t i = 0; i < export->batch_count && rc == 0; i++) {
		struct body_reading reading = { export, &export->batch[i] };
		struct export_body body = { body_read, &reading };

		rc = export->target->class->message(
			export->target, &export->batch[i], &body, &export->counts, error);
		export->counts.message_count++;
		export->done++;
	}
	return rc;
}

static int mailbox_step(struct export *export, struct error *error)
{
	const struct mailbox_record *mailbox = &export->mailboxes[export->index];
	struct kv_txn *kv = NULL;
	int rc = 0, more;

	if (!export->is_begun) {
		export->is_begun = true;
		export->next_uid = 1;
		export->done = 0;
		export->counts = (struct export_counts){ 0 };
		rc = export->target->class->mailbox_begin(export->target, mailbox, error);
		return rc < 0 ? rc : EXPORT_MORE;
	}
	export->batch_count = 0;
	export->batch_size = 0;
	arena_reset(export->scratch);
	more = snapshot(export, &kv);
	if (more == 0)
		more = account_each_message(kv, export->options.account, mailbox->id,
			export->next_uid, UINT32_MAX, export->scratch, batch_add, export);
	mail_read_end(&kv);
	if (more < 0)
		return error_set(error, more, "the mailbox cannot be read: %s", error_name(more));
	rc = batch_write(export, error);
	if (rc < 0 || more == 1)
		return rc < 0 ? rc : EXPORT_MORE;
	rc = export->target->class->mailbox_end(export->target, &export->counts, error);
	if (rc < 0)
		return rc;
	export->options.tell(export->options.context, mailbox->name, &export->counts);
	export->is_begun = false;
	export->index++;
	return EXPORT_MORE;
}

int export_step(struct export *export, struct error *error)
{
	int rc;

	if (!export->is_open) {
		rc = list_read(export, error);
		return rc < 0 ? rc : EXPORT_MORE;
	}
	if (export->index < export->count) {
		rc = mailbox_step(export, error);
		if (rc < 0)
			error_prefix(
				error, "%.*s", BYTES_ARGS(export->mailboxes[export->index].name));
		return rc;
	}
	rc = export->target->class->finish(
		export->target, export->subscriptions, export->subscription_count, error);
	return rc < 0 ? rc : EXPORT_DONE;
}

void export_get_progress(const struct export *export, struct export_progress *progress_r)
{
	*progress_r = (struct export_progress){ 0 };
	if (!export->is_begun || export->index == export->count)
		return;
	progress_r->mailbox = export->mailboxes[export->index].name;
	progress_r->done = export->done;
	progress_r->total = export->mailboxes[export->index].message_count;
}
