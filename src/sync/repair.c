#include "sync/repair.h"

#include "mail/annotation.h"

struct collect {
	struct kv_txn *kv;
	const struct view *view;
	struct arena *arena;
	uint64_t since;
	struct change_set *set;
	struct digest digest; /* of registers */
	uint64_t count;
};

static int each_register(struct collect *collect, account_register_function *function)
{
	int rc = 0;

	for (int kind = RECORD_ACCOUNT; kind <= RECORD_SCRIPT && rc == 0; kind++)
		if (kind != RECORD_MAILBOX && kind != RECORD_MESSAGE)
			rc = account_each_register(collect->kv, collect->view->account,
				(enum record_kind)kind, collect->arena, function, collect);
	return rc;
}

static int sum_register(void *context, const struct register_record *record)
{
	struct collect *sum = context;
	int rc = record->is_set ? view_has_register(sum->kv, sum->view, record, sum->arena) : 0;

	if (rc <= 0)
		return rc;
	digest_add(&sum->digest, register_term(record));
	sum->count++;
	return 0;
}

int repair_sum_registers(struct kv_txn *kv, const struct view *view, struct arena *arena,
	struct digest *digest_r, uint64_t *count_r)
{
	struct collect sum = { .kv = kv, .view = view, .arena = arena };
	int rc = each_register(&sum, sum_register);

	*digest_r = sum.digest;
	*count_r = sum.count;
	return rc;
}

/* One written since may have been so before; but then it is told as new, which loses nothing. */
static int collect_register(void *context, const struct register_record *record)
{
	struct collect *collect = context;
	struct register_record told = *record;
	int rc = view_has_register(collect->kv, collect->view, record, collect->arena);

	if (rc <= 0)
		return rc;
	rc = view_register_is_common(
		collect->kv, collect->view, record, collect->since, collect->arena);
	if (rc < 0)
		return rc;
	told.was_common = rc > 0;
	change_set_add_register(collect->set, &told);
	return 0;
}

int repair_collect_registers(struct kv_txn *kv, const struct view *view, uint64_t since,
	struct arena *arena, struct change_set *set)
{
	struct collect collect = {
		.kv = kv, .view = view, .arena = arena, .since = since, .set = set
	};

	return each_register(&collect, collect_register);
}

static int collect_mailbox(void *context, const struct mailbox_record *mailbox)
{
	struct collect *collect = context;
	struct mailbox_record told = *mailbox;

	if (!view_has(collect->view, mailbox->id))
		return 0;
	view_withheld_subtract(
		collect->view, mailbox->id, 1, UINT32_MAX, &told.digest, &told.message_count);
	change_set_add_mailbox(collect->set, &told);
	return 0;
}

int repair_collect_mailboxes(
	struct kv_txn *kv, const struct view *view, struct arena *arena, struct change_set *set)
{
	struct collect collect = { .view = view, .set = set };

	return account_each_mailbox(kv, view->account, arena, collect_mailbox, &collect);
}

static int collect_message(void *context, const struct message_record *message)
{
	struct collect *collect = context;
	struct message_record told = *message;

	if (view_withholds(collect->view, message->instance))
		return 0;
	view_hide(collect->view, &told);
	change_set_add_message(collect->set, &told,
		view_message_is_common(collect->view, message, collect->since));
	return 0;
}

int repair_collect_messages(struct kv_txn *kv, const struct view *view, struct id128 mailbox,
	uint32_t first, uint32_t last, uint64_t since, struct arena *arena, struct change_set *set)
{
	struct collect collect = { .view = view, .since = since, .set = set };

	if (!view_has(view, mailbox))
		return 0;
	return account_each_message(
		kv, view->account, mailbox, first, last, arena, collect_message, &collect);
}

static int collect_annotation(void *context, const struct register_record *record)
{
	struct collect *collect = context;

	change_set_add_register(collect->set, record);
	return 0;
}

int repair_collect_instance(struct kv_txn *kv, const struct view *view, struct stamp instance,
	uint64_t since, struct arena *arena, struct change_set *set)
{
	struct collect collect = { .view = view, .since = since, .set = set };
	struct message_record message;
	unsigned char at[REGISTER_KEY_SIZE_MAX];
	int rc = account_get_message(kv, view->account, instance, arena, &message);

	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc == 0)
		rc = collect_message(&collect, &message);
	/* Shown within the view by the peer: what is said of it comes into the view, too. */
	if (rc == 0 && !view->is_whole && !view->is_limited && !view->is_foreign &&
		!view_withholds(view, instance) && annotation_was_made(&message))
		rc = account_each_register_of(kv, view->account, RECORD_ANNOTATION,
			(struct id128){ { 0 } }, annotation_prefix(at, instance), arena,
			collect_annotation, &collect);
	return rc;
}
