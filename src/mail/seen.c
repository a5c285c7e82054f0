#include "mail/seen.h"

#include "base/error.h"
#include "base/pack.h"
#include "mail/tables.h"

#define SEEN_FLAG BYTES_LITERAL("\\Seen")

struct bytes seen_register_key(unsigned char at[SEEN_REGISTER_KEY_SIZE], struct stamp instance)
{
	at[0] = 'm';
	put_u64(at + 1, instance.modseq);
	put_u64(at + 9, instance.node);
	return bytes_of(at, SEEN_REGISTER_KEY_SIZE);
}

bool seen_instance(const struct register_record *record, struct stamp *instance_r)
{
	struct bytes key = record->key;

	if (record->kind != RECORD_SEEN || key.len != SEEN_REGISTER_KEY_SIZE ||
		bytes_peek(key) != 'm')
		return false;
	bytes_skip(&key, 1);
	return unpack_u64(&key, &instance_r->modseq) == 0 &&
	       unpack_u64(&key, &instance_r->node) == 0;
}

bool seen_is_gone(const struct register_record *record)
{
	return !record->is_set && record->value.len > 0;
}

/* ---- one message ---- */

/* Takes what the record says of \Seen away, and puts what the register says in its place. */
static void replace_seen(
	struct arena *arena, struct message_record *message, const struct register_record *record)
{
	struct flag_state *flags = arena_alloc(arena, (message->flag_count + 1) * sizeof(*flags));
	struct flag_state seen = { SEEN_FLAG, { 0, 0 }, false };
	size_t count = 0;
	bool is_put = record == NULL;

	if (record != NULL) {
		seen.stamp = record->stamp;
		seen.is_set = record->is_set;
	}
	for (size_t i = 0; i < message->flag_count; i++) {
		const struct flag_state *flag = &message->flags[i];

		if (!is_put && bytes_compare(flag->name, seen.name) >= 0) {
			flags[count++] = seen;
			is_put = true;
		}
		if (!bytes_equal(flag->name, seen.name))
			flags[count++] = *flag;
	}
	if (!is_put)
		flags[count++] = seen;
	message->flags = flags;
	message->flag_count = count;
}

int seen_apply(struct kv_txn *kv, uint32_t seen_account, struct id128 owner, struct arena *arena,
	struct message_record *message)
{
	struct register_record record;
	unsigned char key[SEEN_REGISTER_KEY_SIZE];
	int rc;

	if (seen_account == 0)
		return 0;
	rc = account_get_register(kv, seen_account, RECORD_SEEN, owner,
		seen_register_key(key, message->instance), arena, &record);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	replace_seen(arena, message, rc == 0 ? &record : NULL);
	if (rc == 0 && record.modseq > message->modseq)
		message->modseq = record.modseq;
	return 0;
}

struct each_context {
	struct kv_txn *kv;
	uint32_t seen_account;
	uint32_t account;
	struct id128 owner;
	struct id128 mailbox;
	struct arena *arena;
	account_message_function *message;
	account_uid_function *uid;
	void *context;
	uint32_t seen_count;
	uint32_t look_count, look_max; /* registers */
};

static int find_owner(struct each_context *each)
{
	struct account_header header;
	int rc = account_load(each->kv, each->account, &header);

	each->owner = header.id;
	return rc;
}

static int visit_message(void *context, const struct message_record *message)
{
	struct each_context *each = context;
	struct message_record shown = *message;
	int rc = seen_apply(each->kv, each->seen_account, each->owner, each->arena, &shown);

	return rc < 0 ? rc : each->message(each->context, &shown);
}

int seen_each_message(struct kv_txn *kv, uint32_t seen_account, uint32_t account,
	struct id128 mailbox, uint32_t first, uint32_t last, struct arena *arena,
	account_message_function *function, void *context)
{
	struct each_context each = { .kv = kv,
		.seen_account = seen_account,
		.account = account,
		.arena = arena,
		.message = function,
		.context = context };
	int rc;

	if (seen_account == 0)
		return account_each_message(
			kv, account, mailbox, first, last, arena, function, context);
	rc = find_owner(&each);
	return rc < 0 ? rc
		      : account_each_message(
				kv, account, mailbox, first, last, arena, visit_message, &each);
}

int seen_put(struct account_write *own, struct id128 owner, struct stamp instance, bool is_seen,
	struct stamp stamp)
{
	unsigned char key[SEEN_REGISTER_KEY_SIZE];
	struct register_record record = { .kind = RECORD_SEEN,
		.mailbox = owner,
		.key = seen_register_key(key, instance),
		.stamp = stamp,
		.is_set = is_seen,
		.modseq = stamp.modseq };

	return account_put_register(own, &record);
}

/* ---- what changed ---- */

/* Visits the rows of MAIL_TABLE_SEEN after a modseq. */
static int each_seen_change(struct each_context *each, uint64_t after, struct kv_cursor *cursor)
{
	unsigned char at[SEEN_KEY_SIZE], prefix_at[MAILBOX_KEY_SIZE];
	struct bytes prefix = mailbox_key(prefix_at, each->seen_account, each->owner);
	int rc = kv_cursor_seek(cursor,
		seen_key(at, each->seen_account, each->owner, after + 1, (struct stamp){ 0, 0 }));

	for (; rc == 0; rc = kv_cursor_next(cursor)) {
		struct bytes key = kv_cursor_key(cursor);
		struct id128 mailbox;
		struct stamp instance;
		uint64_t modseq;
		uint32_t uid;

		if (!bytes_start_with(key, prefix))
			return 0;
		if (key.len != SEEN_KEY_SIZE)
			return ERR_CORRUPT;
		bytes_skip(&key, MAILBOX_KEY_SIZE);
		modseq = get_u64(key.ptr);
		if (modseq == SEEN_ARRIVED)
			return 0;
		instance = (struct stamp){ get_u64(key.ptr + 8), get_u64(key.ptr + 16) };
		rc = account_find_shown(each->kv, each->account, instance, &mailbox, &uid);
		if (rc == 0 && id128_equal(mailbox, each->mailbox))
			rc = each->uid(each->context, uid, modseq, false);
		if (rc != 0 && rc != ERR_NOT_FOUND)
			return rc;
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int seen_each_uid_change(struct kv_txn *kv, uint32_t seen_account, uint32_t account,
	struct id128 mailbox, uint64_t after, bool is_roaming, account_uid_function *function,
	void *context)
{
	struct each_context each = { .kv = kv,
		.seen_account = seen_account,
		.account = account,
		.mailbox = mailbox,
		.uid = function,
		.context = context };
	struct kv_cursor *cursor = NULL;
	int rc;

	if (is_roaming)
		rc = account_each_uid_change_roaming(
			kv, account, mailbox, after, function, context);
	else
		rc = account_each_uid_change(kv, account, mailbox, after, function, context);
	if (rc != 0 || seen_account == 0 || after >= MODSEQ_MAX)
		return rc;
	rc = find_owner(&each);
	if (rc == 0)
		rc = kv_cursor_open(kv, MAIL_TABLE_SEEN, &cursor);
	if (rc == 0)
		rc = each_seen_change(&each, after, cursor);
	kv_cursor_close(&cursor);
	return rc;
}

static int count_register(void *context, const struct register_record *record)
{
	struct each_context *each = context;
	struct id128 mailbox;
	struct stamp instance;
	uint32_t uid;
	int rc;

	if (each->look_count++ == each->look_max)
		return 1;
	if (!record->is_set || !seen_instance(record, &instance))
		return 0;
	rc = account_find_shown(each->kv, each->account, instance, &mailbox, &uid);
	if (rc == 0 && id128_equal(mailbox, each->mailbox))
		each->seen_count++;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int count_message(void *context, const struct message_record *message)
{
	struct each_context *each = context;
	struct message_record shown = *message;
	int rc = seen_apply(each->kv, each->seen_account, each->owner, each->arena, &shown);

	each->seen_count += message_has_flag(&shown, SEEN_FLAG);
	arena_reset(each->arena);
	return rc;
}

int seen_count_unseen(struct kv_txn *kv, uint32_t seen_account, uint32_t account,
	const struct mailbox_record *mailbox, uint32_t *count_r)
{
	struct each_context each = { .kv = kv,
		.seen_account = seen_account,
		.account = account,
		.mailbox = mailbox->id,
		.look_max = mailbox->message_count };
	int rc;

	if (seen_account == 0) {
		*count_r = mailbox->unseen_count;
		return 0;
	}
	each.arena = arena_new();
	rc = find_owner(&each);
	if (rc == 0)
		rc = account_each_mailbox_register(kv, seen_account, RECORD_SEEN, each.owner,
			each.arena, count_register, &each);
	if (rc > 0) {
		each.seen_count = 0;
		rc = account_each_message(
			kv, account, mailbox->id, 1, UINT32_MAX, each.arena, count_message, &each);
	}
	if (rc == 0)
		*count_r = mailbox->message_count - each.seen_count;
	arena_free(&each.arena);
	return rc;
}
