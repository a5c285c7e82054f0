/* How far an import is, and what belongs to no mailbox. */
#include "mail/import_private.h"
#include "mail/mail_private.h"

#include <inttypes.h>
#include <stdio.h>

#define POINT_VERSION 1
#define POINT_PREFIX_SIZE 32

static struct bytes point_prefix(const struct import_target *target, char prefix[POINT_PREFIX_SIZE])
{
	snprintf(prefix, POINT_PREFIX_SIZE, "import/%016" PRIx64 "/", import_source_node(target));
	return bytes_of_string(prefix);
}

static struct bytes point_key(const struct import_target *target, struct arena *arena)
{
	char prefix[POINT_PREFIX_SIZE];

	point_prefix(target, prefix);
	return bytes_of_string(arena_printf(
		arena, "%s%016" PRIx64, prefix, import_node_of(target->source, target->name, 0)));
}

static int point_decode(struct bytes value, struct import_point *point_r, struct bytes *name_r)
{
	unsigned version = 0;
	int end = 0;
	char head[80];
	size_t len = value.len < sizeof(head) - 1 ? value.len : sizeof(head) - 1;

	memcpy(head, value.ptr, len);
	head[len] = '\0';
	if (sscanf(head, "%u %" SCNu32 " %" SCNu32 " %" SCNu64 " %n", &version,
		    &point_r->uidvalidity, &point_r->uidnext, &point_r->highestmodseq, &end) < 4 ||
		version != POINT_VERSION || end == 0)
		return ERR_CORRUPT;
	bytes_skip(&value, (size_t)end);
	point_r->exists = true;
	*name_r = value;
	return 0;
}

int import_point_get(struct kv_txn *kv, const struct import_target *target, struct arena *arena,
	struct import_point *point_r)
{
	struct register_record record;
	struct bytes name;
	int rc = account_get_register(kv, target->account, RECORD_ACCOUNT, (struct id128){ { 0 } },
		point_key(target, arena), arena, &record);

	*point_r = (struct import_point){ 0 };
	if (rc < 0 || !record.is_set)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	return point_decode(record.value, point_r, &name);
}

int import_register_put(struct account_write *write, const struct import_target *target,
	const struct register_record *record)
{
	struct register_record stamped = *record;

	stamped.stamp = (struct stamp){ account_tick(write, 0), import_source_node(target) };
	stamped.modseq = stamped.stamp.modseq;
	return account_put_register(write, &stamped);
}

static int register_put(struct account_write *write, const struct import_target *target,
	enum record_kind kind, struct bytes key, bool is_set, struct bytes value)
{
	struct register_record record = {
		.kind = kind, .key = key, .is_set = is_set, .value = value
	};

	return import_register_put(write, target, &record);
}

struct finishing {
	const struct import_target *target;
	const struct import_point *point;
};

static bool raises_uidnext(const struct finishing *finish, const struct mailbox_record *mailbox)
{
	return mailbox->uidvalidity == finish->target->uidvalidity &&
	       finish->point->uidnext > mailbox->uidnext && finish->point->uidnext < UINT32_MAX;
}

static bool point_same(const struct import_point *a, const struct import_point *b)
{
	return a->exists && a->uidvalidity == b->uidvalidity && a->uidnext == b->uidnext &&
	       a->highestmodseq == b->highestmodseq;
}

static int finish_run(struct account_write *write, void *context)
{
	const struct finishing *finish = context;
	const struct import_target *target = finish->target;
	struct mailbox_record mailbox;
	struct import_point before;
	struct bytes value;
	int rc = message_target_find(write, target->mailbox, &mailbox);

	if (rc == 0 && raises_uidnext(finish, &mailbox))
		rc = account_raise_uidnext(write, mailbox.id, finish->point->uidnext);
	if (rc == 0)
		rc = import_point_get(write->kv, target, write->arena, &before);
	if (rc < 0 || point_same(&before, finish->point))
		return rc;
	value = bytes_of_string(
		arena_printf(write->arena, "%d %" PRIu32 " %" PRIu32 " %" PRIu64 " %.*s",
			POINT_VERSION, finish->point->uidvalidity, finish->point->uidnext,
			finish->point->highestmodseq, BYTES_ARGS(target->name)));
	return register_put(
		write, target, RECORD_ACCOUNT, point_key(target, write->arena), true, value);
}

int import_finish(
	const struct import_target *target, const struct import_point *point, struct error *error)
{
	struct finishing finish = { target, point };
	struct mailbox_record mailbox = { 0 };
	struct import_point before = { 0 };
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	bool is_same;
	int rc = import_snapshot(target, &kv, error);

	if (rc == 0)
		rc = import_point_get(kv, target, arena, &before);
	if (rc == 0)
		rc = account_get_mailbox(kv, target->account, target->mailbox, arena, &mailbox);
	mail_read_end(&kv);
	is_same = rc == 0 && point_same(&before, point) && !raises_uidnext(&finish, &mailbox);
	arena_free(&arena);
	return rc < 0 || is_same ? rc : import_commit(target, finish_run, &finish, error);
}

struct point_walk {
	int (*function)(void *context, struct bytes name, const struct import_point *point);
	void *context;
};

static int point_tell(void *context, const struct register_record *record)
{
	struct point_walk *walk = context;
	struct import_point point;
	struct bytes name;
	int rc;

	if (!record->is_set)
		return 0;
	rc = point_decode(record->value, &point, &name);
	return rc < 0 ? rc : walk->function(walk->context, name, &point);
}

int import_each_point(struct kv_txn *kv, const struct import_target *target, struct arena *arena,
	int (*function)(void *context, struct bytes name, const struct import_point *point),
	void *context)
{
	struct point_walk walk = { function, context };
	char prefix[POINT_PREFIX_SIZE];

	return account_each_register_of(kv, target->account, RECORD_ACCOUNT,
		(struct id128){ { 0 } }, point_prefix(target, prefix), arena, point_tell, &walk);
}

static int forget_run(struct account_write *write, void *context)
{
	const struct import_target *target = context;
	struct bytes key = point_key(target, write->arena);
	struct mailbox_record mailbox = { 0 };
	int rc = account_get_mailbox(
		write->kv, write->header.number, import_id_of(target), write->arena, &mailbox);

	if (rc == 0 && mailbox_is_live(&mailbox) && mailbox.message_count == 0 &&
		mailbox.name_stamp.node == target->node) {
		struct stamp stamp = { account_tick(write, 0), target->node };

		rc = mailbox_remove_at(write, &mailbox, stamp, stamp.modseq);
	}
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	return register_put(write, target, RECORD_ACCOUNT, key, false, bytes_of(NULL, 0));
}

int import_forget(const struct import_target *target, struct error *error)
{
	return import_commit(target, forget_run, (void *)(uintptr_t)target, error);
}

struct subscribing {
	const struct import_target *target;
	bool is_subscribed, is_changed;
};

/* 1: there is something to write. */
static int subscribes(struct kv_txn *kv, const struct subscribing *subscribe, struct arena *arena)
{
	const struct import_target *target = subscribe->target;
	struct register_record found = { 0 };
	int rc = account_get_register(kv, target->account, RECORD_SUBSCRIPTION,
		(struct id128){ { 0 } }, target->name, arena, &found);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	return found.is_set != subscribe->is_subscribed &&
	       (rc == ERR_NOT_FOUND || found.stamp.node == import_source_node(target));
}

static int subscribe_run(struct account_write *write, void *context)
{
	struct subscribing *subscribe = context;
	int rc = subscribes(write->kv, subscribe, write->arena);

	subscribe->is_changed = rc > 0;
	if (rc <= 0)
		return rc;
	return register_put(write, subscribe->target, RECORD_SUBSCRIPTION, subscribe->target->name,
		subscribe->is_subscribed, bytes_of(NULL, 0));
}

int import_subscribe(const struct import_target *target, bool is_subscribed, bool *is_changed_r,
	struct error *error)
{
	struct subscribing subscribe = { target, is_subscribed, false };
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	int rc = mailbox_name_check(target->name, error);

	if (rc == 0)
		rc = import_snapshot(target, &kv, error);
	if (rc == 0)
		rc = subscribes(kv, &subscribe, arena);
	mail_read_end(&kv);
	arena_free(&arena);
	*is_changed_r = false;
	if (rc > 0)
		rc = import_commit(target, subscribe_run, &subscribe, error);

	if (rc == 0)
		*is_changed_r = subscribe.is_changed;
	return rc;
}

struct subscription_walk {
	uint64_t node;
	void (*function)(void *context, struct bytes name);
	void *context;
};

static int subscription_tell(void *context, const struct register_record *record)
{
	const struct subscription_walk *walk = context;

	if (record->is_set && record->stamp.node == walk->node)
		walk->function(walk->context, record->key);
	return 0;
}

int import_each_subscription(struct kv_txn *kv, const struct import_target *target,
	struct arena *arena, void (*function)(void *context, struct bytes name), void *context)
{
	struct subscription_walk walk = { import_source_node(target), function, context };

	return account_each_register(
		kv, target->account, RECORD_SUBSCRIPTION, arena, subscription_tell, &walk);
}
