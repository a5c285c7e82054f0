#include "mail/import.h"

#include "base/mem.h"
#include "mail/mail_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HOPS_MAX 100 /* mailboxes that were united one into the other */
/* Greater ones would leave no room for those of later mailboxes. */
#define UIDVALIDITY_KEPT_MAX ((uint32_t)0xf0000000)

/* ---- names ---- */

static uint64_t node_of(struct bytes source, struct bytes name, uint32_t uidvalidity)
{
	struct buffer text = { 0 };
	uint64_t node;

	buffer_append_string(&text, "chapar import");
	buffer_append_byte(&text, '\0');
	buffer_append_bytes(&text, source);
	buffer_append_byte(&text, '\0');
	buffer_append_bytes(&text, name);
	buffer_printf(&text, "%c%" PRIu32, '\0', uidvalidity);
	node = hash64(buffer_bytes(&text), 0);
	buffer_deinit(&text);
	return node != 0 ? node : 1;
}

static struct id128 id_of(const struct import_target *target)
{
	unsigned char node[8];

	for (size_t i = 0; i < sizeof(node); i++)
		node[i] = (unsigned char)(target->node >> (56 - 8 * i));
	return id128_derive("chapar import", bytes_of(node, sizeof(node)));
}

/* Of what the source has one of: subscriptions, points. */
static uint64_t source_node(const struct import_target *target)
{
	return node_of(target->source, bytes_of(NULL, 0), 0);
}

/* ---- commits ---- */

struct commit {
	const struct import_target *target;
	mail_run *run;
	void *context;
	struct error refusal;
};

static int operator_run(struct account_write *write, void *context)
{
	struct commit *commit = context;
	int rc = account_mode_check(write, &commit->refusal);

	return rc < 0 ? rc : commit->run(write, commit->context);
}

static int commit(
	const struct import_target *target, mail_run *run, void *context, struct error *error)
{
	struct commit operated = { .target = target, .run = run, .context = context };
	uint64_t position;
	int rc;

	if (!target->is_over_quota)
		return mail_commit(target->mail, target->account, run, context, error, &position);
	rc = mail_node_commit(
		target->mail, target->account, operator_run, &operated, error, &position);
	if (operated.refusal.code != 0)
		*error = operated.refusal;
	return rc;
}

/* ---- mailboxes ---- */

/* The one that took its mail if it was united; IMPORT_MAILBOX_DELETED: it was just deleted. */
static int follow(struct kv_txn *kv, uint32_t account, struct arena *arena,
	struct mailbox_record *mailbox, enum import_mailbox_state *state_r)
{
	*state_r = IMPORT_MAILBOX_THERE;
	for (int hops = 0; hops < HOPS_MAX && !mailbox_is_live(mailbox); hops++) {
		int rc;

		if (id128_is_none(mailbox->forward)) {
			*state_r = IMPORT_MAILBOX_DELETED;
			return 0;
		}
		rc = account_get_mailbox(kv, account, mailbox->forward, arena, mailbox);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int mailbox_locate(struct kv_txn *kv, struct import_target *target, struct arena *arena,
	struct mailbox_record *mailbox, enum import_mailbox_state *state_r)
{
	int rc;

	target->node = node_of(
		target->source, target->name, target->keys_are_uids ? target->uidvalidity : 0);
	target->mailbox = id_of(target);
	rc = account_get_mailbox(kv, target->account, target->mailbox, arena, mailbox);
	if (rc == 0)
		rc = follow(kv, target->account, arena, mailbox, state_r);
	else if (rc == ERR_NOT_FOUND) {
		*state_r = IMPORT_MAILBOX_THERE;
		rc = account_find_mailbox(kv, target->account, target->name, arena, mailbox);
	}
	if (rc == ERR_NOT_FOUND) {
		*state_r = IMPORT_MAILBOX_NEW;
		return 0;
	}
	target->mailbox = mailbox->id;
	target->uidvalidity_here = mailbox->uidvalidity;
	return rc;
}

/* Nobody has seen a UID of it. */
static bool takes_uidvalidity(
	const struct mailbox_record *mailbox, const struct import_target *target)
{
	return mailbox->uidnext <= 1 && mailbox->message_count == 0 &&
	       target->uidvalidity > mailbox->uidvalidity &&
	       target->uidvalidity <= UIDVALIDITY_KEPT_MAX;
}

int import_mailbox_find(
	struct kv_txn *kv, struct import_target *target, enum import_mailbox_state *state_r)
{
	struct arena *arena = arena_new();
	struct mailbox_record mailbox = { 0 };
	int rc = mailbox_locate(kv, target, arena, &mailbox, state_r);

	if (rc == 0 && (*state_r == IMPORT_MAILBOX_NEW || takes_uidvalidity(&mailbox, target)))
		target->uidvalidity_here = target->uidvalidity;
	arena_free(&arena);
	return rc;
}

struct mailbox_opening {
	struct import_target *target;
	struct bytes special_use;
	enum import_mailbox_state state;
};

static int has_special_use(void *context, const struct mailbox_record *mailbox)
{
	const struct mailbox_opening *opening = context;

	return mailbox_is_live(mailbox) && bytes_equal(mailbox->special_use, opening->special_use);
}

static int import_make(struct account_write *write, struct mailbox_opening *opening)
{
	struct import_target *target = opening->target;
	struct mailbox_record mailbox = { .id = id_of(target),
		.name = target->name,
		.uidvalidity = target->uidvalidity,
		.uidnext = 1 };
	int rc = 0;

	if (mailbox.uidvalidity > UIDVALIDITY_KEPT_MAX)
		mailbox.uidvalidity = 0; /* then it gets a new one */
	mailbox.name_stamp = (struct stamp){ account_tick(write, 0), target->node };
	if (opening->special_use.len > 0)
		rc = account_each_mailbox(
			write->kv, write->header.number, write->arena, has_special_use, opening);
	if (rc == 0 && opening->special_use.len > 0) {
		mailbox.special_use = opening->special_use;
		mailbox.special_use_stamp = mailbox.name_stamp;
	}
	rc = rc < 0 ? rc : mailbox_make_as(write, &mailbox);
	target->mailbox = mailbox.id;
	target->uidvalidity_here = mailbox.uidvalidity;
	return rc;
}

static int open_run(struct account_write *write, void *context)
{
	struct mailbox_opening *opening = context;
	struct import_target *target = opening->target;
	struct mailbox_record mailbox = { 0 };
	int rc = write->header.is_deleted ? ERR_NOT_FOUND
					  : mailbox_locate(write->kv, target, write->arena,
						    &mailbox, &opening->state);

	if (rc < 0 || opening->state == IMPORT_MAILBOX_DELETED)
		return rc;
	if (opening->state == IMPORT_MAILBOX_NEW)
		return import_make(write, opening);
	if (!takes_uidvalidity(&mailbox, target))
		return 0;
	mailbox.uidvalidity = target->uidvalidity;
	mailbox.modseq = account_tick(write, mailbox.highestmodseq);
	target->uidvalidity_here = mailbox.uidvalidity;
	return account_put_mailbox(write, &mailbox);
}

static int snapshot(const struct import_target *target, struct kv_txn **kv_r, struct error *error)
{
	int rc = mail_read_begin(target->mail, mail_position(target->mail), kv_r);

	return rc < 0 ? error_set(error, rc, "the store cannot be read: %s", error_name(rc)) : 0;
}

/* 1: it is there as it is to be. */
static int is_open(struct mailbox_opening *opening, struct error *error)
{
	struct import_target *target = opening->target;
	struct mailbox_record mailbox = { 0 };
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	int rc = snapshot(target, &kv, error);

	if (rc == 0)
		rc = mailbox_locate(kv, target, arena, &mailbox, &opening->state);
	if (rc == 0)
		rc = opening->state != IMPORT_MAILBOX_NEW && !takes_uidvalidity(&mailbox, target);
	mail_read_end(&kv);
	arena_free(&arena);
	return rc;
}

int import_mailbox_open(struct import_target *target, struct bytes special_use,
	enum import_mailbox_state *state_r, struct error *error)
{
	struct mailbox_opening opening = { .target = target, .special_use = special_use };
	int rc = mailbox_name_check(target->name, error);

	if (rc == 0)
		rc = is_open(&opening, error);
	if (rc == 0)
		rc = commit(target, open_run, &opening, error);
	else if (rc > 0)
		rc = 0;
	if (rc == 0)
		*state_r = opening.state;
	return rc;
}

/* ---- messages ---- */

static struct stamp instance_of(const struct import_target *target, uint64_t key)
{
	return (struct stamp){ key, target->node };
}

/* What the source has put somewhere is still there. */
static bool is_untouched(const struct message_record *message)
{
	return message_is_shown(message) && stamp_compare(message->placed, message->instance) == 0;
}

/* What has such an instance was imported: no stamp of a user is that small. */
static bool is_imported(const struct message_record *message)
{
	return message->instance.modseq <= IMPORT_KEY_MAX;
}

/* It came from there by another way: then it has its UID, its date and its size. */
static bool is_twin(const struct message_record *found, const struct import_message *wanted)
{
	return is_imported(found) && is_untouched(found) &&
	       found->internaldate == wanted->internaldate &&
	       (wanted->size == 0 || found->size == wanted->size);
}

static int message_find(struct kv_txn *kv, const struct import_target *target,
	const struct import_message *wanted, struct arena *arena, struct message_record *message_r)
{
	int rc = account_get_message(
		kv, target->account, instance_of(target, wanted->key), arena, message_r);

	if (rc != ERR_NOT_FOUND || wanted->uid == 0 || target->uidvalidity == 0 ||
		target->uidvalidity != target->uidvalidity_here)
		return rc;
	rc = account_get_message_at(
		kv, target->account, target->mailbox, wanted->uid, arena, message_r);
	return rc == 0 && !is_twin(message_r, wanted) ? ERR_NOT_FOUND : rc;
}

static bool has_name(const struct import_message *wanted, struct bytes name)
{
	for (size_t i = 0; i < wanted->flag_count; i++)
		if (bytes_equal(flag_canonical(wanted->flags[i]), name))
			return true;
	return false;
}

/* Puts into changes[] what is to become of flags that only the source has written, and returns how
 * many those are. `changes` has room for all flags of both. */
static size_t flags_differ(const struct message_record *message,
	const struct import_message *wanted, struct flag_state *changes)
{
	size_t count = 0;

	for (size_t i = 0; i < message->flag_count; i++) {
		const struct flag_state *flag = &message->flags[i];

		if (flag->stamp.node == message->instance.node &&
			flag->is_set != has_name(wanted, flag->name))
			changes[count++] =
				(struct flag_state){ .name = flag->name, .is_set = !flag->is_set };
	}
	for (size_t i = 0; i < wanted->flag_count; i++) {
		struct bytes name = flag_canonical(wanted->flags[i]);

		if (message_flag(message, name) == NULL)
			changes[count++] = (struct flag_state){ .name = name, .is_set = true };
	}
	return count;
}

static struct flag_state *changes_alloc(struct arena *arena, const struct message_record *message,
	const struct import_message *wanted)
{
	return arena_zalloc(
		arena, (message->flag_count + wanted->flag_count + 1) * sizeof(struct flag_state));
}

int import_look(struct kv_txn *kv, const struct import_target *target,
	const struct import_message *message, struct arena *arena, enum import_state *state_r)
{
	struct message_record found = { 0 };
	int rc = message_find(kv, target, message, arena, &found);

	*state_r = IMPORT_NEW;
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return rc;
	if (!message_is_shown(&found))
		*state_r = IMPORT_GONE;
	else if (flags_differ(&found, message, changes_alloc(arena, &found, message)) > 0)
		*state_r = IMPORT_CHANGED;
	else
		*state_r = IMPORT_SAME;
	return 0;
}

struct messages_context {
	const struct import_target *target;
	const struct import_message *messages;
	const uint64_t *keys;
	size_t count;
	struct import_counts counts;
};

static int append_one(struct account_write *write, const struct import_target *target,
	struct id128 mailbox, uint32_t uid, const struct import_message *from)
{
	struct message_record message = { .guid = *mail_body_guid(from->body),
		.size = mail_body_size(from->body),
		.thread = mail_body_thread(from->body),
		.internaldate = from->internaldate,
		.internaldate_zone = from->internaldate_zone,
		.uid = uid };

	for (size_t i = 0; i < from->flag_count; i++) {
		struct flag_state flag = { flag_canonical(from->flags[i]), { 1, 0 }, true };
		int rc = message_flag_put(&message, write->arena, flag);

		if (rc < 0)
			return rc;
	}
	mail_body_add(write, from->body);
	return message_append_as(write, mailbox, instance_of(target, from->key), &message);
}

static int append_run(struct account_write *write, void *context)
{
	struct messages_context *append = context;
	const struct import_target *target = append->target;
	struct mailbox_record mailbox;
	int rc = message_target_find(write, target->mailbox, &mailbox);
	uint32_t next = mailbox.uidnext;

	append->counts = (struct import_counts){ 0 };
	for (size_t i = 0; i < append->count && rc == 0; i++) {
		const struct import_message *message = &append->messages[i];
		uint32_t uid = message->uid >= next ? message->uid : next;
		enum import_state state;

		rc = import_look(write->kv, target, message, write->arena, &state);
		if (rc < 0 || state != IMPORT_NEW)
			continue;
		if (uid >= UINT32_MAX - 1)
			return ERR_TOO_LARGE;
		rc = append_one(write, target, mailbox.id, uid, message);
		append->counts.new_count++;
		append->counts.new_bytes += mail_body_size(message->body);
		append->counts.renumbered_count += message->uid != 0 && message->uid != uid;
		next = uid + 1;
	}
	return rc;
}

static void counts_add(struct import_counts *counts, const struct import_counts *more)
{
	counts->new_count += more->new_count;
	counts->new_bytes += more->new_bytes;
	counts->renumbered_count += more->renumbered_count;
	counts->changed_count += more->changed_count;
	counts->gone_count += more->gone_count;
}

static int messages_commit(struct messages_context *messages, mail_run *run,
	struct import_counts *counts, struct error *error)
{
	int rc = commit(messages->target, run, messages, error);

	if (rc == 0)
		counts_add(counts, &messages->counts);
	return rc;
}

int import_append(const struct import_target *target, const struct import_message *messages,
	size_t count, struct import_counts *counts, struct error *error)
{
	struct messages_context append = { .target = target, .messages = messages, .count = count };
	int rc = messages_commit(&append, append_run, counts, error);

	return rc == ERR_NOT_FOUND ? error_set(error, rc, "the mailbox does not exist any more")
				   : rc;
}

static int change_one(struct account_write *write, struct messages_context *change,
	const struct import_message *wanted)
{
	struct message_record message = { 0 };
	struct flag_state *changes;
	struct stamp stamp;
	size_t count;
	int rc = message_find(write->kv, change->target, wanted, write->arena, &message);

	if (rc < 0 || !message_is_shown(&message))
		return rc == ERR_NOT_FOUND ? 0 : rc;
	changes = changes_alloc(write->arena, &message, wanted);
	count = flags_differ(&message, wanted, changes);
	if (count == 0)
		return 0;
	stamp = (struct stamp){ account_tick(write, 0), message.instance.node };
	for (size_t i = 0; i < count && rc == 0; i++) {
		changes[i].stamp = stamp;
		rc = message_flag_put(&message, write->arena, changes[i]);
	}
	message.modseq = stamp.modseq;
	if (rc == 0)
		rc = account_put_message(write, &message);
	change->counts.changed_count++;
	return rc;
}

static int change_run(struct account_write *write, void *context)
{
	struct messages_context *change = context;
	int rc = 0;

	change->counts = (struct import_counts){ 0 };
	for (size_t i = 0; i < change->count && rc == 0; i++)
		rc = change_one(write, change, &change->messages[i]);
	return rc;
}

int import_change(const struct import_target *target, const struct import_message *messages,
	size_t count, struct import_counts *counts, struct error *error)
{
	struct messages_context change = { .target = target, .messages = messages, .count = count };

	return messages_commit(&change, change_run, counts, error);
}

static int expunge_run(struct account_write *write, void *context)
{
	struct messages_context *expunge = context;
	int rc = 0;

	expunge->counts = (struct import_counts){ 0 };
	for (size_t i = 0; i < expunge->count && rc == 0; i++) {
		struct message_record message = { 0 };

		rc = account_get_message(write->kv, write->header.number,
			instance_of(expunge->target, expunge->keys[i]), write->arena, &message);
		if (rc == ERR_NOT_FOUND || (rc == 0 && !is_untouched(&message))) {
			rc = 0;
			continue;
		}
		if (rc == 0)
			rc = message_remove_at(write, &message,
				(struct stamp){ account_tick(write, 0), message.instance.node });
		expunge->counts.gone_count++;
	}
	return rc;
}

int import_expunge(const struct import_target *target, const uint64_t *keys, size_t count,
	struct import_counts *counts, struct error *error)
{
	struct messages_context expunge = { .target = target, .keys = keys, .count = count };

	return messages_commit(&expunge, expunge_run, counts, error);
}

struct key_walk {
	const struct import_target *target;
	uint32_t next;
	size_t count;
	void (*function)(void *context, uint64_t key);
	void *context;
};

static int key_tell(void *context, const struct message_record *message)
{
	struct key_walk *walk = context;

	walk->next = message->uid + 1;
	if (is_untouched(message) && message->instance.node == walk->target->node)
		walk->function(walk->context, message->instance.modseq);
	return ++walk->count == IMPORT_COMMIT_COUNT_MAX ? 1 : 0;
}

int import_each_key(struct kv_txn *kv, const struct import_target *target, uint32_t *uid,
	struct arena *arena, void (*function)(void *context, uint64_t key), void *context)
{
	struct key_walk walk = { .target = target, .function = function, .context = context };
	int rc = account_each_message(
		kv, target->account, target->mailbox, *uid, UINT32_MAX, arena, key_tell, &walk);

	*uid = rc == 1 ? walk.next : 0;
	return rc < 0 ? rc : 0;
}

/* ---- how far it is, and what belongs to no mailbox ---- */

#define POINT_VERSION 1
#define POINT_PREFIX_SIZE 32

static struct bytes point_prefix(const struct import_target *target, char prefix[POINT_PREFIX_SIZE])
{
	snprintf(prefix, POINT_PREFIX_SIZE, "import/%016" PRIx64 "/", source_node(target));
	return bytes_of_string(prefix);
}

static struct bytes point_key(const struct import_target *target, struct arena *arena)
{
	char prefix[POINT_PREFIX_SIZE];

	point_prefix(target, prefix);
	return bytes_of_string(arena_printf(
		arena, "%s%016" PRIx64, prefix, node_of(target->source, target->name, 0)));
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

static int register_put(struct account_write *write, const struct import_target *target,
	enum record_kind kind, struct bytes key, bool is_set, struct bytes value)
{
	struct register_record record = { .kind = kind,
		.key = key,
		.is_set = is_set,
		.value = value,
		.stamp = { account_tick(write, 0), source_node(target) } };

	record.modseq = record.stamp.modseq;
	return account_put_register(write, &record);
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
	int rc = snapshot(target, &kv, error);

	if (rc == 0)
		rc = import_point_get(kv, target, arena, &before);
	if (rc == 0)
		rc = account_get_mailbox(kv, target->account, target->mailbox, arena, &mailbox);
	mail_read_end(&kv);
	is_same = rc == 0 && point_same(&before, point) && !raises_uidnext(&finish, &mailbox);
	arena_free(&arena);
	return rc < 0 || is_same ? rc : commit(target, finish_run, &finish, error);
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
		write->kv, write->header.number, id_of(target), write->arena, &mailbox);

	if (rc == 0 && mailbox_is_live(&mailbox) && mailbox.message_count == 0 &&
		mailbox.name_stamp.node == target->node) {
		rc = mailbox_remove_at(
			write, &mailbox, (struct stamp){ account_tick(write, 0), target->node });
	}
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	return register_put(write, target, RECORD_ACCOUNT, key, false, bytes_of(NULL, 0));
}

int import_forget(const struct import_target *target, struct error *error)
{
	return commit(target, forget_run, (void *)(uintptr_t)target, error);
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
	       (rc == ERR_NOT_FOUND || found.stamp.node == source_node(target));
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
		rc = snapshot(target, &kv, error);
	if (rc == 0)
		rc = subscribes(kv, &subscribe, arena);
	mail_read_end(&kv);
	arena_free(&arena);
	*is_changed_r = false;
	if (rc > 0)
		rc = commit(target, subscribe_run, &subscribe, error);

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
	struct subscription_walk walk = { source_node(target), function, context };

	return account_each_register(
		kv, target->account, RECORD_SUBSCRIPTION, arena, subscription_tell, &walk);
}
