/* The entries of mailboxes: registers, and the index by whom they are for. */
#include "mail/acl.h"

#include "base/mem.h"
#include "base/pack.h"
#include "mail/account_private.h"
#include "mail/acl_guest.h"
#include "mail/mail_private.h"

#include <stdlib.h>

struct collecting {
	struct acl_entry *entries;
	size_t count, room;
	bool is_there; /* those of the owner's node (mail/acl_guest.h) */
};

static int collect(void *context, const struct register_record *record)
{
	struct collecting *collecting = context;
	void *entries = collecting->entries;
	struct bytes identifier = record->key;
	unsigned rights;

	if (!record->is_set || collecting->is_there != (bytes_peek(identifier) == ACL_THERE))
		return 0;
	if (collecting->is_there)
		bytes_skip(&identifier, 1);
	/* Rights that this version does not know come from a later one: they give nothing here. */
	if (acl_parse_rights(record->value, &rights) < 0)
		return 0;
	mem_grow(&entries, &collecting->room, collecting->count + 1, sizeof(*collecting->entries));
	collecting->entries = entries;
	collecting->entries[collecting->count++] = (struct acl_entry){ identifier, rights };
	return 0;
}

static int read_some(struct kv_txn *kv, uint32_t account, struct id128 mailbox, bool is_there,
	struct arena *arena, struct acl *acl_r)
{
	struct collecting collecting = { .is_there = is_there };
	int rc = account_each_mailbox_register(
		kv, account, RECORD_ACL, mailbox, arena, collect, &collecting);

	if (rc == 0) {
		acl_r->count = collecting.count;
		acl_r->entries =
			arena_alloc(arena, (collecting.count + 1) * sizeof(*acl_r->entries));
		if (collecting.count > 0)
			memcpy(acl_r->entries, collecting.entries,
				collecting.count * sizeof(*acl_r->entries));
	}
	free(collecting.entries);
	return rc;
}

int acl_read(struct kv_txn *kv, uint32_t account, struct id128 mailbox, struct arena *arena,
	struct acl *acl_r)
{
	return read_some(kv, account, mailbox, false, arena, acl_r);
}

int acl_list(struct kv_txn *kv, uint32_t account, struct id128 mailbox, struct arena *arena,
	struct acl *acl_r)
{
	struct account_header header;
	int rc = account_load(kv, account, &header);

	return rc < 0 ? rc : read_some(kv, account, mailbox, header.writer != 0, arena, acl_r);
}

/* Of the owner only what is said of his own name counts: at most two entries. */
static int read_own(struct kv_txn *kv, const struct identity *identity, struct id128 mailbox,
	struct arena *arena, struct acl *acl_r)
{
	static const char *const signs[] = { "", "-" };

	acl_r->entries = arena_alloc(arena, 2 * sizeof(*acl_r->entries));
	acl_r->count = 0;
	for (size_t i = 0; i < 2; i++) {
		struct acl_entry *entry = &acl_r->entries[acl_r->count];
		struct register_record record;
		int rc;

		entry->identifier =
			bytes_of_string(arena_printf(arena, "%s%s", signs[i], identity->name));
		rc = account_get_register(kv, identity->account, RECORD_ACL, mailbox,
			entry->identifier, arena, &record);
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
		if (rc == 0 && record.is_set && acl_parse_rights(record.value, &entry->rights) == 0)
			acl_r->count++;
	}
	return 0;
}

int acl_rights(struct kv_txn *kv, const struct identity *identity, uint32_t account,
	struct id128 mailbox, unsigned *rights_r)
{
	bool is_owner = account != 0 && account == identity->account;
	struct arena *arena = arena_new();
	struct acl acl = { NULL, 0 };
	int rc;

	if (is_owner)
		rc = read_own(kv, identity, mailbox, arena, &acl);
	else
		rc = acl_read(kv, account, mailbox, arena, &acl);
	if (rc == 0)
		*rights_r = acl_effective(identity, is_owner, acl.entries, acl.count);
	arena_free(&arena);
	return rc;
}

/* ---- changing ---- */

int acl_put(
	struct account_write *write, struct id128 mailbox, struct bytes identifier, unsigned rights)
{
	struct buffer letters = { NULL, 0, 0 };
	struct register_record record = {
		.kind = RECORD_ACL, .mailbox = mailbox, .key = identifier, .is_set = rights != 0
	};
	int rc;

	acl_write_rights(&letters, rights);
	record.value = buffer_bytes(&letters);
	record.stamp = account_stamp(write);
	record.modseq = record.stamp.modseq;
	rc = account_put_register(write, &record);
	buffer_deinit(&letters);
	return rc;
}

struct changing {
	struct id128 mailbox;
	struct bytes identifier;
	enum acl_change change;
	unsigned rights;
};

static int change_run(struct account_write *write, void *context)
{
	const struct changing *changing = context;
	struct mailbox_record mailbox;
	struct acl acl;
	unsigned before = 0, after = changing->rights;
	int rc = account_get_mailbox(
		write->kv, write->header.number, changing->mailbox, write->arena, &mailbox);

	if (rc == 0 && !mailbox_is_live(&mailbox))
		rc = ERR_NOT_FOUND;
	if (rc == 0)
		rc = acl_list(write->kv, write->header.number, mailbox.id, write->arena, &acl);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < acl.count; i++) {
		if (bytes_equal(acl.entries[i].identifier, changing->identifier))
			before = acl.entries[i].rights;
	}
	if (changing->change == ACL_ADD)
		after = before | changing->rights;
	else if (changing->change == ACL_REMOVE)
		after = before & ~changing->rights;
	if (before == 0 && after != 0 && acl.count >= ACL_ENTRY_COUNT_MAX)
		return ERR_TOO_LARGE;
	if (before == after)
		return 0;
	return write->header.writer != 0
		       ? acl_guest_change(write, mailbox.id, &acl, changing->identifier, after)
		       : acl_put(write, mailbox.id, changing->identifier, after);
}

int acl_change(struct mail *mail, uint32_t account, struct id128 mailbox, struct bytes identifier,
	enum acl_change change, unsigned rights, struct error *error, uint64_t *position_r)
{
	struct changing changing = { mailbox, identifier, change, rights };
	int rc = mail_commit(mail, account, change_run, &changing, error, position_r);

	if (rc == ERR_NOT_FOUND)
		return error_set(error, rc, "no such mailbox");
	if (rc == ERR_TOO_LARGE)
		return error_set(error, rc, "a mailbox has at most %d entries of rights",
			ACL_ENTRY_COUNT_MAX);
	return rc;
}

/* The entries of `from`, with no more than those rights. */
static int put_all(struct account_write *write, struct id128 mailbox, struct id128 from,
	bool is_there, unsigned rights)
{
	struct acl acl;
	int rc = read_some(write->kv, write->header.number, from, is_there, write->arena, &acl);

	for (size_t i = 0; rc == 0 && i < acl.count; i++) {
		struct bytes key = acl.entries[i].identifier;

		if (is_there)
			key = acl_guest_key(write->arena, key);
		rc = acl_put(write, mailbox, key, acl.entries[i].rights & rights);
	}
	return rc;
}

int acl_inherit(struct account_write *write, struct id128 mailbox, struct id128 from)
{
	int rc = put_all(write, mailbox, from, false, ACL_ALL);

	return rc < 0 ? rc : put_all(write, mailbox, from, true, ACL_ALL);
}

int acl_clear(struct account_write *write, struct id128 mailbox)
{
	int rc = put_all(write, mailbox, mailbox, false, 0);

	return rc < 0 ? rc : put_all(write, mailbox, mailbox, true, 0);
}

/* ---- who shares with whom ---- */

static int each_grant_for(
	struct kv_txn *kv, const char *identifier, acl_grant_function *function, void *context)
{
	unsigned char at[GRANT_KEY_SIZE];
	struct bytes prefix = grant_prefix(at, bytes_of_string(identifier));
	struct kv_cursor *cursor = NULL;
	int rc = kv_cursor_open(kv, MAIL_TABLE_GRANT, &cursor);

	if (rc < 0)
		return rc;
	for (rc = kv_cursor_seek(cursor, prefix); rc == 0; rc = kv_cursor_next(cursor)) {
		struct bytes key = kv_cursor_key(cursor);
		struct id128 mailbox;

		if (!bytes_start_with(key, prefix))
			break;
		if (key.len != prefix.len + 4 + sizeof(mailbox.bytes)) {
			rc = ERR_CORRUPT;
			goto out;
		}
		memcpy(mailbox.bytes, key.ptr + prefix.len + 4, sizeof(mailbox.bytes));
		rc = function(context, get_u32(key.ptr + prefix.len), mailbox);
		if (rc != 0)
			goto out;
	}
	if (rc == ERR_NOT_FOUND)
		rc = 0;
out:
	kv_cursor_close(&cursor);
	return rc;
}

int acl_each_grant(struct kv_txn *kv, const struct identity *identity, acl_grant_function *function,
	void *context)
{
	const struct identity_groups *groups = identity->groups;
	char identifier[ACL_IDENTIFIER_SIZE_MAX + 1] = "group:";
	int rc = each_grant_for(kv, "anyone", function, context);

	if (rc == 0 && identity->name[0] != '\0')
		rc = each_grant_for(kv, identity->name, function, context);
	for (size_t i = 0; rc == 0 && groups != NULL && i < groups->count; i++) {
		const char *name = groups->groups[i].name;

		if (strlen(name) > ACCOUNT_NAME_SIZE_MAX ||
			!identity_is_member(identity, bytes_of_string(name)))
			continue;
		strcpy(identifier + 6, name);
		rc = each_grant_for(kv, identifier, function, context);
	}
	return rc;
}
