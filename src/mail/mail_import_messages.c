/* Messages that come out of a store of another kind. */
#include "mail/import_private.h"
#include "mail/mail_private.h"

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
	int rc = import_commit(messages->target, run, messages, error);

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
