#include "mail/script.h"

#include "base/error.h"
#include "base/pack.h"
#include "mail/mail_private.h"

#define SCRIPT_VERSION 1

static const struct id128 no_mailbox;

struct script {
	struct stamp ancestors[SCRIPT_ANCESTOR_COUNT_MAX];
	size_t ancestor_count;
	struct bytes text;
};

/* What is no script has no ancestors and no text. */
static struct script script_decode(struct bytes value)
{
	struct script script = { 0 };
	uint8_t version, count;

	if (unpack_u8(&value, &version) < 0 || version != SCRIPT_VERSION ||
		unpack_u8(&value, &count) < 0 || count > SCRIPT_ANCESTOR_COUNT_MAX)
		return script;
	for (size_t i = 0; i < count; i++)
		if (unpack_u64(&value, &script.ancestors[i].modseq) < 0 ||
			unpack_u64(&value, &script.ancestors[i].node) < 0)
			return (struct script){ 0 };
	script.ancestor_count = count;
	script.text = value;
	return script;
}

static void script_encode(struct buffer *out, const struct script *script)
{
	pack_u8(out, SCRIPT_VERSION);
	pack_u8(out, (uint8_t)script->ancestor_count);
	for (size_t i = 0; i < script->ancestor_count; i++) {
		pack_u64(out, script->ancestors[i].modseq);
		pack_u64(out, script->ancestors[i].node);
	}
	buffer_append_bytes(out, script->text);
}

struct bytes script_text(struct bytes value)
{
	return script_decode(value).text;
}

bool script_is_made_from(struct bytes value, struct stamp stamp)
{
	struct script script = script_decode(value);

	for (size_t i = 0; i < script.ancestor_count; i++)
		if (stamp_compare(script.ancestors[i], stamp) == 0)
			return true;
	return false;
}

int script_name_check(struct bytes name, struct error *error)
{
	if (name.len == 0 || name.len > SCRIPT_NAME_SIZE_MAX)
		return error_set(error, ERR_INVALID, "a script's name has 1 to %d bytes",
			SCRIPT_NAME_SIZE_MAX);
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] < ' ' || name.ptr[i] == 0x7f)
			return error_set(
				error, ERR_INVALID, "a script's name holds no control characters");
	return 0;
}

struct script_context {
	struct bytes name, text;
	bool is_set;
};

static int get_register(
	struct account_write *write, struct bytes name, struct register_record *record_r)
{
	return account_get_register(write->kv, write->header.number, RECORD_SCRIPT, no_mailbox,
		name, write->arena, record_r);
}

/* The new version knows the one that it replaces, and what that knew. */
struct bytes script_version_value(
	const struct register_record *before, struct bytes text, struct arena *arena)
{
	struct script old = script_decode(before->value), script = { .text = text };
	struct buffer buffer = { 0 };
	struct bytes value;

	if (!stamp_is_none(before->stamp))
		script.ancestors[script.ancestor_count++] = before->stamp;
	for (size_t i = 0;
		i < old.ancestor_count && script.ancestor_count < SCRIPT_ANCESTOR_COUNT_MAX; i++)
		script.ancestors[script.ancestor_count++] = old.ancestors[i];
	script_encode(&buffer, &script);
	value = arena_copy(arena, buffer_bytes(&buffer));
	buffer_deinit(&buffer);
	return value;
}

struct bytes script_next_value(const struct register_record *before, struct arena *arena)
{
	if (before->kind != RECORD_SCRIPT || before->key.len == 0)
		return before->value;
	return script_version_value(before, script_text(before->value), arena);
}

static int version_write(struct account_write *write, const struct script_context *context,
	const struct register_record *before)
{
	return register_write(write, RECORD_SCRIPT, context->name, context->is_set,
		script_version_value(before, context->text, write->arena));
}

static int put_run(struct account_write *write, void *context)
{
	struct script_context *put = context;
	struct register_record before = { 0 };
	int rc = get_register(write, put->name, &before);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	return version_write(write, put, &before);
}

int mail_script_put(struct mail *mail, uint32_t account, struct bytes name, struct bytes text,
	struct error *error)
{
	struct script_context put = { name, text, true };
	int rc = script_name_check(name, error);

	if (rc < 0)
		return rc;
	if (text.len > SCRIPT_SIZE_MAX)
		return error_set(
			error, ERR_TOO_LARGE, "a script has at most %d bytes", SCRIPT_SIZE_MAX);
	return mail_commit(mail, account, put_run, &put, error, NULL);
}

static int no_script(struct error *error, int rc, struct bytes name)
{
	return rc == ERR_NOT_FOUND
		       ? error_set(error, rc, "there is no script \"%.*s\"", BYTES_ARGS(name))
		       : rc;
}

int mail_script_get(struct mail *mail, uint32_t account, struct bytes name, struct buffer *text_r,
	struct error *error)
{
	struct arena *arena = arena_new();
	struct register_record record;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, mail_position(mail), &kv);

	if (rc == 0)
		rc = account_get_register(
			kv, account, RECORD_SCRIPT, no_mailbox, name, arena, &record);
	if (rc == 0 && (!record.is_set || name.len == 0))
		rc = ERR_NOT_FOUND;
	if (rc == 0)
		buffer_append_bytes(text_r, script_text(record.value));
	mail_read_end(&kv);
	arena_free(&arena);
	return no_script(error, rc, name);
}

static int get_active(struct account_write *write, struct bytes *name_r)
{
	struct register_record active;
	int rc = get_register(write, bytes_of(NULL, 0), &active);

	*name_r = rc == 0 && active.is_set ? active.value : bytes_of(NULL, 0);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int delete_run(struct account_write *write, void *context)
{
	struct script_context *remove = context;
	struct register_record before;
	struct bytes active;
	int rc = get_register(write, remove->name, &before);

	if (rc == 0 && !before.is_set)
		rc = ERR_NOT_FOUND;
	if (rc == 0)
		rc = get_active(write, &active);
	if (rc == 0 && bytes_equal(active, remove->name))
		rc = ERR_REFUSED;
	if (rc < 0)
		return rc;
	remove->text = script_text(before.value);
	return version_write(write, remove, &before);
}

int mail_script_delete(struct mail *mail, uint32_t account, struct bytes name, struct error *error)
{
	struct script_context remove = { .name = name };
	int rc = script_name_check(name, error);

	if (rc < 0)
		return rc;
	rc = mail_commit(mail, account, delete_run, &remove, error, NULL);
	if (rc == ERR_REFUSED)
		return error_set(error, rc, "the script is active");
	return no_script(error, rc, name);
}

static int activate_run(struct account_write *write, void *context)
{
	struct script_context *activate = context;
	struct register_record script;
	struct bytes active;
	int rc = get_active(write, &active);

	if (rc < 0 || bytes_equal(active, activate->name))
		return rc;
	if (activate->name.len > 0) {
		rc = get_register(write, activate->name, &script);
		if (rc == 0 && !script.is_set)
			rc = ERR_NOT_FOUND;
	}
	return rc < 0 ? rc
		      : register_write(write, RECORD_SCRIPT, bytes_of(NULL, 0),
				activate->name.len > 0, activate->name);
}

int mail_script_activate(
	struct mail *mail, uint32_t account, struct bytes name, struct error *error)
{
	struct script_context activate = { .name = name };
	int rc = name.len > 0 ? script_name_check(name, error) : 0;

	if (rc < 0)
		return rc;
	return no_script(
		error, mail_commit(mail, account, activate_run, &activate, error, NULL), name);
}

struct each_script {
	int (*function)(void *context, struct bytes name, struct bytes text, bool is_active);
	void *context;
	struct bytes active;
};

/* The register with the empty name comes first. */
static int visit_script(void *context, const struct register_record *record)
{
	struct each_script *each = context;

	if (!record->is_set)
		return 0;
	if (record->key.len == 0) {
		each->active = record->value;
		return 0;
	}
	return each->function(each->context, record->key, script_text(record->value),
		bytes_equal(record->key, each->active));
}

int mail_script_each(struct mail *mail, uint32_t account,
	int (*function)(void *context, struct bytes name, struct bytes text, bool is_active),
	void *context, struct error *error)
{
	struct each_script each = { .function = function, .context = context };
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, mail_position(mail), &kv);

	if (rc == 0)
		rc = account_each_register(kv, account, RECORD_SCRIPT, arena, visit_script, &each);
	mail_read_end(&kv);
	arena_free(&arena);
	return rc < 0 ? error_set(error, rc, "the scripts cannot be read: %s", error_name(rc)) : rc;
}
