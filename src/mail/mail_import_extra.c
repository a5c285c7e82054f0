/* Rights, metadata, scripts and limits that come out of a store of another kind: registers of the
 * source's, as mailboxes and messages are. */
#include "base/mem.h"
#include "mail/acl.h"
#include "mail/annotation.h"
#include "mail/annotation_private.h"
#include "mail/import_private.h"
#include "mail/mail_private.h"
#include "mail/quota.h"
#include "mail/script.h"

#include <stdlib.h>

static const struct id128 no_mailbox;

struct wanted { /* an entry in the form that its register has */
	struct bytes key;
	struct bytes value; /* of a script: its text */
};

static int rights_prepare(
	const struct import_entry *entry, struct arena *arena, struct wanted *wanted_r)
{
	char normal[ACL_IDENTIFIER_SIZE_MAX + 1];
	struct buffer letters = { 0 };
	unsigned rights = 0;
	int rc = acl_identifier_normalize(entry->name, normal);

	if (rc == 0)
		rc = acl_parse_rights(entry->value, &rights);
	if (rc == 0 && rights == 0)
		rc = ERR_INVALID;
	if (rc < 0)
		return rc;
	acl_write_rights(&letters, rights);
	wanted_r->key = arena_copy(arena, bytes_of_string(normal));
	wanted_r->value = arena_copy(arena, buffer_bytes(&letters));
	buffer_deinit(&letters);
	return 0;
}

static int metadata_prepare(
	const struct import_entry *entry, struct arena *arena, struct wanted *wanted_r)
{
	static const struct {
		const char *prefix;
		enum annotation_scope scope;
	} scopes[] = { { "/private/", ANNOTATION_PRIVATE }, { "/shared/", ANNOTATION_SHARED } };

	for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++) {
		unsigned char at[REGISTER_KEY_SIZE_MAX];
		struct bytes prefix = bytes_of_string(scopes[i].prefix), name = entry->name;

		if (name.len <= prefix.len ||
			!bytes_equal_nocase(bytes_of(name.ptr, prefix.len), prefix))
			continue;
		bytes_skip(&name, prefix.len - 1);
		if (annotation_entry(arena, name, false, &name) < 0 ||
			entry->value.len > ANNOTATION_VALUE_SIZE_MAX)
			return ERR_INVALID;
		wanted_r->key = arena_copy(arena, metadata_key(at, scopes[i].scope, name));
		wanted_r->value = entry->value;
		return 0;
	}
	return ERR_INVALID;
}

static int script_prepare(
	const struct import_entry *entry, struct arena *arena, struct wanted *wanted_r)
{
	(void)arena;
	*wanted_r = (struct wanted){ entry->name, entry->value };
	if (entry->name.len == 0)
		return script_name_check(entry->value, NULL);
	return entry->value.len > SCRIPT_SIZE_MAX ? ERR_TOO_LARGE
						  : script_name_check(entry->name, NULL);
}

static int limit_prepare(
	const struct import_entry *entry, struct arena *arena, struct wanted *wanted_r)
{
	enum quota_resource resource = quota_resource_find(entry->name);
	uint64_t limit = 0;

	if (resource == QUOTA_RESOURCE_COUNT || entry->value.len == 0 || entry->value.len > 19)
		return ERR_INVALID;
	for (size_t i = 0; i < entry->value.len; i++) {
		if (entry->value.ptr[i] < '0' || entry->value.ptr[i] > '9')
			return ERR_INVALID;
		limit = limit * 10 + (uint64_t)(entry->value.ptr[i] - '0');
	}
	if (limit > QUOTA_LIMIT_MAX)
		return ERR_INVALID;
	wanted_r->key = quota_register_key(resource);
	wanted_r->value = quota_register_value(limit, arena);
	return 0;
}

struct extra_kind {
	enum record_kind record;
	bool is_of_mailbox;
	/* Registers of that kind under the source's stamps are all of this kind of entry. */
	bool takes_away;
	int (*prepare)(
		const struct import_entry *entry, struct arena *arena, struct wanted *wanted_r);
};

static const struct extra_kind kinds[] = {
	[IMPORT_RIGHTS] = { RECORD_ACL, true, true, rights_prepare },
	[IMPORT_METADATA] = { RECORD_ANNOTATION, true, true, metadata_prepare },
	[IMPORT_SCRIPTS] = { RECORD_SCRIPT, false, true, script_prepare },
	[IMPORT_LIMITS] = { RECORD_ACCOUNT, false, false, limit_prepare },
};

struct setting {
	const struct import_target *target;
	const struct extra_kind *kind;
	struct arena *arena;
	struct id128 mailbox;
	struct wanted *wanted; /* sorted by key, each once */
	size_t count;
	uint64_t left_out_count;
	struct register_record *changes;
	size_t change_count, change_room;
};

static int wanted_order(const void *left, const void *right)
{
	const struct wanted *a = left, *b = right;

	return bytes_compare(a->key, b->key);
}

static void wanted_prepare(
	struct setting *setting, const struct import_entry *entries, size_t count)
{
	size_t kept = 0;

	setting->wanted = arena_alloc(setting->arena, (count + 1) * sizeof(*setting->wanted));
	for (size_t i = 0; i < count; i++)
		if (setting->kind->prepare(
			    &entries[i], setting->arena, &setting->wanted[setting->count]) == 0)
			setting->count++;
		else
			setting->left_out_count++;
	if (setting->count > 1)
		qsort(setting->wanted, setting->count, sizeof(*setting->wanted), wanted_order);
	for (size_t i = 0; i < setting->count; i++)
		if (kept == 0 ||
			!bytes_equal(setting->wanted[kept - 1].key, setting->wanted[i].key))
			setting->wanted[kept++] = setting->wanted[i];
	setting->count = kept;
}

static void change_add(struct setting *setting, const struct register_record *before,
	struct bytes key, bool is_set, struct bytes value)
{
	struct register_record *change;

	mem_grow((void **)&setting->changes, &setting->change_room, setting->change_count + 1,
		sizeof(*setting->changes));
	change = &setting->changes[setting->change_count++];
	*change = (struct register_record){ .kind = setting->kind->record,
		.mailbox = setting->mailbox,
		.key = key,
		.is_set = is_set,
		.value = value };
	if (setting->kind->record == RECORD_SCRIPT && key.len > 0)
		change->value = script_version_value(before, value, setting->arena);
}

static bool is_same(const struct setting *setting, const struct register_record *record,
	const struct wanted *wanted)
{
	if (setting->kind->record == RECORD_SCRIPT && wanted->key.len > 0)
		return bytes_equal(script_text(record->value), wanted->value);
	return bytes_equal(record->value, wanted->value);
}

static int missing_find(struct setting *setting, struct kv_txn *kv)
{
	uint64_t node = import_source_node(setting->target);

	for (size_t i = 0; i < setting->count; i++) {
		const struct wanted *wanted = &setting->wanted[i];
		struct register_record before = { .kind = setting->kind->record };
		int rc = account_get_register(kv, setting->target->account, setting->kind->record,
			setting->mailbox, wanted->key, setting->arena, &before);

		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
		if (rc == ERR_NOT_FOUND ||
			(before.stamp.node == node &&
				(!before.is_set || !is_same(setting, &before, wanted))))
			change_add(setting, &before, wanted->key, true, wanted->value);
	}
	return 0;
}

static int gone_look(void *context, const struct register_record *record)
{
	struct setting *setting = context;
	struct wanted key = { .key = record->key };

	if (!record->is_set || record->stamp.node != import_source_node(setting->target))
		return 0;
	if (setting->count == 0 ||
		bsearch(&key, setting->wanted, setting->count, sizeof(key), wanted_order) == NULL)
		change_add(setting, record, arena_copy(setting->arena, record->key), false,
			bytes_of(NULL, 0));
	return 0;
}

/* What is to be written, into setting->changes. */
static int changes_find(struct setting *setting, struct kv_txn *kv)
{
	int rc;

	setting->change_count = 0;
	rc = missing_find(setting, kv);
	if (rc < 0 || !setting->kind->takes_away)
		return rc;
	return account_each_mailbox_register(kv, setting->target->account, setting->kind->record,
		setting->mailbox, setting->arena, gone_look, setting);
}

static int set_run(struct account_write *write, void *context)
{
	struct setting *setting = context;
	struct mailbox_record mailbox;
	int rc = 0;

	if (setting->kind->is_of_mailbox) {
		rc = message_target_find(write, setting->mailbox, &mailbox);
		if (rc == 0)
			setting->mailbox = mailbox.id;
	}
	if (rc == 0)
		rc = changes_find(setting, write->kv);
	for (size_t i = 0; i < setting->change_count && rc == 0; i++)
		rc = import_register_put(write, setting->target, &setting->changes[i]);
	if (rc == 0 && setting->kind->record == RECORD_ANNOTATION)
		rc = metadata_check(write, setting->mailbox);
	return rc;
}

int import_extra_set(const struct import_target *target, enum import_extra extra,
	const struct import_entry *entries, size_t count, bool is_dry_run,
	struct import_extra_counts *counts, struct error *error)
{
	struct setting setting = { .target = target,
		.kind = &kinds[extra],
		.arena = arena_new(),
		.mailbox = kinds[extra].is_of_mailbox ? target->mailbox : no_mailbox };
	struct kv_txn *kv = NULL;
	int rc;

	wanted_prepare(&setting, entries, count);
	rc = import_snapshot(target, &kv, error);
	if (rc == 0)
		rc = changes_find(&setting, kv);
	mail_read_end(&kv);
	if (rc == 0 && setting.change_count > 0 && !is_dry_run)
		rc = import_commit(target, set_run, &setting, error);
	if (rc == ERR_TOO_LARGE)
		error_set(error, rc, "more metadata than a mailbox may have");
	if (rc == 0) {
		counts->changed_count += setting.change_count;
		counts->left_out_count += setting.left_out_count;
	}
	free(setting.changes);
	arena_free(&setting.arena);
	return rc;
}
