/*
 * Walking through an account: its records of one kind, what changed since a sequence, and the UIDs
 * that came and went.
 */
#include "mail/account.h"

#include "base/error.h"
#include "base/pack.h"
#include "mail/account_private.h"

#include <limits.h>

/* Calls `visit` for every entry whose key begins with `prefix`, from `start` on. */
typedef int entry_function(void *context, struct bytes key, struct bytes value);

static int each_entry(struct kv_txn *kv, unsigned table, struct bytes prefix, struct bytes start,
	entry_function *visit, void *context)
{
	struct kv_cursor *cursor = NULL;
	int rc = kv_cursor_open(kv, table, &cursor);

	if (rc < 0)
		return rc;
	for (rc = kv_cursor_seek(cursor, start); rc == 0; rc = kv_cursor_next(cursor)) {
		struct bytes key = kv_cursor_key(cursor);

		if (!bytes_start_with(key, prefix))
			break;
		rc = visit(context, key, kv_cursor_value(cursor));
		if (rc != 0)
			goto out;
	}
	if (rc == ERR_NOT_FOUND)
		rc = 0;
out:
	kv_cursor_close(&cursor);
	return rc;
}

struct each_context {
	struct kv_txn *kv;
	uint32_t account;
	struct arena *arena;
	uint64_t last; /* last UID */
	account_mailbox_function *mailbox;
	account_message_function *message;
	account_register_function *record;
	account_uid_function *uid;
	const struct account_change_functions *changes;
	void *context;
};

static int visit_mailbox(void *context, struct bytes key, struct bytes value)
{
	struct each_context *each = context;
	struct mailbox_record mailbox;
	int rc = account_mailbox_decode(
		each->kv, each->account, arena_copy(each->arena, value), &mailbox);

	(void)key;
	return rc < 0 ? rc : each->mailbox(each->context, &mailbox);
}

int account_each_mailbox(struct kv_txn *kv, uint32_t account, struct arena *arena,
	account_mailbox_function *function, void *context)
{
	struct each_context each = { .kv = kv,
		.account = account,
		.arena = arena,
		.mailbox = function,
		.context = context };
	unsigned char key[4];
	struct bytes prefix = account_key(key, account);

	return each_entry(kv, MAIL_TABLE_MAILBOX, prefix, prefix, visit_mailbox, &each);
}

static int visit_mailbox_name(void *context, struct bytes key, struct bytes value)
{
	struct each_context *each = context;
	struct mailbox_record mailbox;
	struct id128 id;
	int rc;

	(void)key;
	if (unpack_raw(&value, id.bytes, sizeof(id.bytes)) < 0)
		return ERR_CORRUPT;
	rc = account_get_mailbox(each->kv, each->account, id, each->arena, &mailbox);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	return each->mailbox(each->context, &mailbox);
}

int account_each_mailbox_of(struct kv_txn *kv, uint32_t account, struct bytes prefix,
	struct arena *arena, account_mailbox_function *function, void *context)
{
	struct each_context each = { .kv = kv,
		.account = account,
		.arena = arena,
		.mailbox = function,
		.context = context };
	unsigned char key[4 + MAILBOX_NAME_SIZE_MAX];
	struct bytes start;

	if (prefix.len > MAILBOX_NAME_SIZE_MAX)
		return 0;
	start = name_key(key, account, prefix);
	return each_entry(kv, MAIL_TABLE_MAILBOX_NAME, start, start, visit_mailbox_name, &each);
}

#define EACH_STOP INT_MAX /* past the last UID asked for; never seen by callers */

static int visit_message(void *context, struct bytes key, struct bytes value)
{
	struct each_context *each = context;
	struct message_record message;
	int rc;

	if (key.len != MESSAGE_KEY_SIZE)
		return ERR_CORRUPT;
	if (get_u32(key.ptr + MAILBOX_KEY_SIZE) > each->last)
		return EACH_STOP;
	rc = message_decode(value, each->arena, &message);
	if (rc < 0)
		return rc;
	return each->message(each->context, &message);
}

int account_each_message(struct kv_txn *kv, uint32_t account, struct id128 mailbox, uint32_t first,
	uint32_t last, struct arena *arena, account_message_function *function, void *context)
{
	struct each_context each = {
		.arena = arena, .message = function, .context = context, .last = last
	};
	unsigned char start[MESSAGE_KEY_SIZE], prefix[MAILBOX_KEY_SIZE];

	int rc = each_entry(kv, MAIL_TABLE_MESSAGE, mailbox_key(prefix, account, mailbox),
		message_key(start, account, mailbox, first), visit_message, &each);

	return rc == EACH_STOP ? 0 : rc;
}

static int visit_register(void *context, struct bytes key, struct bytes value)
{
	struct each_context *each = context;
	struct register_record record;
	int rc = register_decode(arena_copy(each->arena, value), &record);

	(void)key;
	return rc < 0 ? rc : each->record(each->context, &record);
}

int account_each_register(struct kv_txn *kv, uint32_t account, enum record_kind kind,
	struct arena *arena, account_register_function *function, void *context)
{
	struct each_context each = { .arena = arena, .record = function, .context = context };
	unsigned char key[5];
	struct bytes prefix;

	account_key(key, account);
	key[4] = (unsigned char)kind;
	prefix = bytes_of(key, sizeof(key));
	return each_entry(kv, MAIL_TABLE_REGISTER, prefix, prefix, visit_register, &each);
}

int account_each_mailbox_register(struct kv_txn *kv, uint32_t account, enum record_kind kind,
	struct id128 mailbox, struct arena *arena, account_register_function *function,
	void *context)
{
	struct each_context each = { .arena = arena, .record = function, .context = context };
	unsigned char key[REGISTER_KEY_SIZE];
	struct bytes prefix = register_key(key, account, kind, mailbox, bytes_of(NULL, 0));

	return each_entry(kv, MAIL_TABLE_REGISTER, prefix, prefix, visit_register, &each);
}

int account_each_register_of(struct kv_txn *kv, uint32_t account, enum record_kind kind,
	struct id128 mailbox, struct bytes prefix, struct arena *arena,
	account_register_function *function, void *context)
{
	struct each_context each = { .arena = arena, .record = function, .context = context };
	unsigned char at[REGISTER_KEY_SIZE];
	struct bytes start;

	if (prefix.len > REGISTER_KEY_SIZE_MAX)
		return 0;
	start = register_key(at, account, kind, mailbox, prefix);
	return each_entry(kv, MAIL_TABLE_REGISTER, start, start, visit_register, &each);
}

static int visit_message_change(struct each_context *each, struct bytes value)
{
	struct message_record message;
	struct stamp instance;
	int rc;

	if (unpack_u64(&value, &instance.modseq) < 0 || unpack_u64(&value, &instance.node) < 0)
		return ERR_CORRUPT;
	rc = account_get_message(each->kv, each->account, instance, each->arena, &message);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	return each->changes->message(each->context, &message);
}

static int visit_mailbox_change(struct each_context *each, struct bytes value)
{
	struct mailbox_record mailbox;
	struct id128 id;
	int rc;

	if (unpack_raw(&value, id.bytes, sizeof(id.bytes)) < 0)
		return ERR_CORRUPT;
	rc = account_get_mailbox(each->kv, each->account, id, each->arena, &mailbox);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	return each->changes->mailbox(each->context, &mailbox);
}

static int visit_register_change(struct each_context *each, uint8_t kind, struct bytes value)
{
	struct register_record record;
	struct id128 mailbox;
	int rc;

	if (unpack_raw(&value, mailbox.bytes, sizeof(mailbox.bytes)) < 0)
		return ERR_CORRUPT;
	rc = account_get_register(each->kv, each->account, (enum record_kind)kind, mailbox, value,
		each->arena, &record);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	return each->changes->record(each->context, &record);
}

static int visit_change(void *context, struct bytes key, struct bytes value)
{
	struct each_context *each = context;
	const struct account_change_functions *changes = each->changes;
	uint8_t kind;

	(void)key;
	value = arena_copy(each->arena, value);
	if (unpack_u8(&value, &kind) < 0)
		return ERR_CORRUPT;
	if (kind == RECORD_MESSAGE)
		return changes->message != NULL ? visit_message_change(each, value) : 0;
	if (kind == RECORD_MAILBOX)
		return changes->mailbox != NULL ? visit_mailbox_change(each, value) : 0;
	return changes->record != NULL ? visit_register_change(each, kind, value) : 0;
}

int account_each_change(struct kv_txn *kv, uint32_t account, uint64_t after, struct arena *arena,
	const struct account_change_functions *functions, void *context)
{
	struct each_context each = { .kv = kv,
		.account = account,
		.arena = arena,
		.changes = functions,
		.context = context };
	unsigned char prefix[4], start[SEQUENCE_KEY_SIZE];

	if (after == UINT64_MAX)
		return 0;
	return each_entry(kv, MAIL_TABLE_SEQUENCE, account_key(prefix, account),
		sequence_key(start, account, after + 1), visit_change, &each);
}

static int visit_uid_change(void *context, struct bytes key, struct bytes value)
{
	struct each_context *each = context;
	const unsigned char *at = key.ptr + MAILBOX_KEY_SIZE;

	if (key.len != MODSEQ_KEY_SIZE || value.len != 1)
		return ERR_CORRUPT;
	return each->uid(
		each->context, get_u32(at + 8), get_u64(at), value.ptr[0] == ENTRY_VANISHED);
}

int account_each_uid_change(struct kv_txn *kv, uint32_t account, struct id128 mailbox,
	uint64_t after, account_uid_function *function, void *context)
{
	struct each_context each = { .uid = function, .context = context };
	unsigned char prefix[MAILBOX_KEY_SIZE], start[MODSEQ_KEY_SIZE];

	if (after >= MODSEQ_MAX)
		return 0;
	return each_entry(kv, MAIL_TABLE_MODSEQ, mailbox_key(prefix, account, mailbox),
		modseq_key(start, account, mailbox, after + 1, 0), visit_uid_change, &each);
}

struct missing_context {
	account_uid_function *function;
	void *context;
	uint64_t modseq;
	uint32_t next; /* UIDs below it are done */
};

static int tell_missing(struct missing_context *missing, uint32_t end)
{
	int rc = 0;

	for (; missing->next < end && rc == 0; missing->next++)
		rc = missing->function(missing->context, missing->next, missing->modseq, true);
	return rc;
}

static int visit_shown_uid(void *context, struct bytes key, struct bytes value)
{
	struct missing_context *missing = context;
	uint32_t uid;
	int rc;

	(void)value;
	if (key.len != MESSAGE_KEY_SIZE)
		return ERR_CORRUPT;
	uid = get_u32(key.ptr + MAILBOX_KEY_SIZE);
	rc = tell_missing(missing, uid);
	missing->next = uid + 1;
	return rc;
}

struct shown_context {
	account_uid_function *function;
	void *context;
};

static int tell_shown(void *context, uint32_t uid, uint64_t modseq, bool is_vanished)
{
	struct shown_context *shown = context;

	return is_vanished ? 0 : shown->function(shown->context, uid, modseq, false);
}

int account_each_uid_change_roaming(struct kv_txn *kv, uint32_t account, struct id128 mailbox,
	uint64_t after, account_uid_function *function, void *context)
{
	struct missing_context missing = { function, context, 0, 1 };
	struct shown_context shown = { function, context };
	unsigned char prefix[MAILBOX_KEY_SIZE], start[MESSAGE_KEY_SIZE];
	struct account_header header;
	struct mailbox_record record;
	struct arena *arena;
	int rc = account_load(kv, account, &header);

	if (rc < 0)
		return rc;
	if (after >= header.vanished_floor)
		return account_each_uid_change(kv, account, mailbox, after, function, context);
	arena = arena_new();
	missing.modseq = header.vanished_floor;
	rc = account_get_mailbox(kv, account, mailbox, arena, &record);
	if (rc == 0)
		rc = each_entry(kv, MAIL_TABLE_MESSAGE, mailbox_key(prefix, account, mailbox),
			message_key(start, account, mailbox, 1), visit_shown_uid, &missing);
	if (rc == 0)
		rc = tell_missing(&missing, record.uidnext);
	if (rc == 0)
		rc = account_each_uid_change(kv, account, mailbox, after, tell_shown, &shown);
	arena_free(&arena);
	return rc;
}

int account_has_vanished(struct kv_txn *kv, uint32_t account, struct id128 mailbox, uint64_t modseq)
{
	unsigned char key[MODSEQ_KEY_SIZE];
	struct bytes start = modseq_key(key, account, mailbox, modseq, 0);
	struct bytes prefix = bytes_of(key, MODSEQ_KEY_SIZE - 4);
	struct kv_cursor *cursor = NULL;
	int rc = kv_cursor_open(kv, MAIL_TABLE_MODSEQ, &cursor);
	bool is_found = false;

	if (rc < 0)
		return rc;
	for (rc = kv_cursor_seek(cursor, start); rc == 0 && !is_found;
		rc = kv_cursor_next(cursor)) {
		if (!bytes_start_with(kv_cursor_key(cursor), prefix))
			break;
		is_found = bytes_peek(kv_cursor_value(cursor)) == ENTRY_VANISHED;
	}
	kv_cursor_close(&cursor);
	return rc < 0 && rc != ERR_NOT_FOUND ? rc : is_found;
}

struct gone_context {
	struct each_context each;
	struct stamp *after;
	size_t row_count;
};

static int visit_instance(void *context, struct bytes key, struct bytes value)
{
	struct gone_context *gone = context;
	struct message_record message;
	uint8_t kind;
	int rc;

	if (gone->row_count-- == 0)
		return 1;
	bytes_skip(&key, 4);
	if (unpack_u64(&key, &gone->after->modseq) < 0 ||
		unpack_u64(&key, &gone->after->node) < 0 || unpack_u8(&value, &kind) < 0)
		return ERR_CORRUPT;
	if (kind != ENTRY_TOMBSTONE)
		return 0;
	rc = message_decode(value, gone->each.arena, &message);
	return rc < 0 ? rc : gone->each.message(gone->each.context, &message);
}

int account_each_gone(struct kv_txn *kv, uint32_t account, struct stamp *after, size_t row_count,
	struct arena *arena, account_message_function *function, void *context)
{
	struct gone_context gone = { { .arena = arena, .message = function, .context = context },
		after, row_count };
	unsigned char prefix[4], start[INSTANCE_KEY_SIZE];
	struct stamp next = { after->modseq, after->node + 1 };

	if (next.node == 0)
		next.modseq++;
	return each_entry(kv, MAIL_TABLE_INSTANCE, account_key(prefix, account),
		instance_key(start, account, next), visit_instance, &gone);
}

struct range_context {
	struct arena *arena;
	uint32_t last;
	struct digest digest;
	uint32_t count;
};

static int visit_range(void *context, struct bytes key, struct bytes value)
{
	struct range_context *range = context;
	struct message_record message;
	int rc;

	if (key.len != MESSAGE_KEY_SIZE)
		return ERR_CORRUPT;
	if (get_u32(key.ptr + MAILBOX_KEY_SIZE) > range->last)
		return EACH_STOP;
	arena_reset(range->arena);
	rc = message_decode(value, range->arena, &message);
	if (rc < 0)
		return rc;
	digest_add(&range->digest, message_term(&message));
	range->count++;
	return 0;
}

int account_range_digest(struct kv_txn *kv, uint32_t account, struct id128 mailbox, uint32_t first,
	uint32_t last, struct digest *digest_r, uint32_t *count_r)
{
	struct range_context range = { .arena = arena_new(), .last = last };
	unsigned char start[MESSAGE_KEY_SIZE], prefix[MAILBOX_KEY_SIZE];
	int rc = each_entry(kv, MAIL_TABLE_MESSAGE, mailbox_key(prefix, account, mailbox),
		message_key(start, account, mailbox, first), visit_range, &range);

	arena_free(&range.arena);
	if (rc < 0)
		return rc;
	*digest_r = range.digest;
	*count_r = range.count;
	return 0;
}
