#include "mail/acl_guest.h"

#include "base/pack.h"

/* Account-level registers, which no exchange of such an account tells. */
#define ACT_PREFIX BYTES_LITERAL("rights/") /* mailbox id, identifier */
#define ACT_PREFIX_SIZE 7
#define POINT_KEY BYTES_LITERAL("rights-point")
#define NO_MAILBOX ((struct id128){ { 0 } })

static struct bytes act_prefix(struct arena *arena, struct id128 mailbox)
{
	struct buffer key = { 0 };
	struct bytes copy;

	buffer_append_bytes(&key, ACT_PREFIX);
	buffer_append(&key, mailbox.bytes, sizeof(mailbox.bytes));
	copy = arena_copy(arena, buffer_bytes(&key));
	buffer_deinit(&key);
	return copy;
}

static struct bytes joined(struct arena *arena, struct bytes first, struct bytes second)
{
	struct buffer key = { 0 };
	struct bytes copy;

	buffer_append_bytes(&key, first);
	buffer_append_bytes(&key, second);
	copy = arena_copy(arena, buffer_bytes(&key));
	buffer_deinit(&key);
	return copy;
}

struct bytes acl_guest_key(struct arena *arena, struct bytes identifier)
{
	const char slash = ACL_THERE;

	return joined(arena, bytes_of(&slash, 1), identifier);
}

static int put_own(struct account_write *write, struct bytes key, bool is_set, struct bytes value)
{
	struct register_record record = {
		.kind = RECORD_ACCOUNT, .key = key, .is_set = is_set, .value = value
	};

	record.stamp = account_stamp(write);
	record.modseq = record.stamp.modseq;
	return account_put_register(write, &record);
}

/* ---- acts ---- */

struct reading {
	acl_act_function *function;
	void *context;
};

/* The letters; and, after a blank, those before. */
static int read_value(struct bytes value, struct acl_act *act)
{
	struct bytes letters = bytes_take(&value, bytes_find(value, ' '));
	int rc = acl_parse_rights(letters, &act->rights);

	act->has_was = value.len > 0;
	if (rc < 0 || !act->has_was)
		return rc;
	bytes_skip(&value, 1);
	return acl_parse_rights(value, &act->was);
}

static int read_act(void *context, const struct register_record *record)
{
	const struct reading *reading = context;
	struct acl_act act = { .stamp = record->stamp };
	struct bytes key = record->key;

	if (!record->is_set)
		return 0;
	if (key.len <= ACT_PREFIX_SIZE + sizeof(act.mailbox.bytes) ||
		read_value(record->value, &act) < 0)
		return ERR_CORRUPT;
	bytes_skip(&key, ACT_PREFIX_SIZE);
	memcpy(act.mailbox.bytes, key.ptr, sizeof(act.mailbox.bytes));
	bytes_skip(&key, sizeof(act.mailbox.bytes));
	act.identifier = key;
	return reading->function(reading->context, &act);
}

int acl_guest_each_act(struct kv_txn *kv, uint32_t account, struct arena *arena,
	acl_act_function *function, void *context)
{
	struct reading reading = { function, context };

	return account_each_register_of(
		kv, account, RECORD_ACCOUNT, NO_MAILBOX, ACT_PREFIX, arena, read_act, &reading);
}

static int put_act(struct account_write *write, struct id128 mailbox, struct bytes identifier,
	unsigned rights, unsigned was)
{
	struct bytes key = joined(write->arena, act_prefix(write->arena, mailbox), identifier);
	struct acl_act before = { 0 };
	struct register_record record;
	struct mailbox_record found;
	struct buffer value = { 0 };
	int rc =
		account_get_mailbox(write->kv, write->header.number, mailbox, write->arena, &found);

	if (rc < 0)
		return rc;
	rc = account_get_register(write->kv, write->header.number, RECORD_ACCOUNT, NO_MAILBOX, key,
		write->arena, &record);
	if (rc == 0 && record.is_set)
		rc = read_value(record.value, &before);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	acl_write_rights(&value, rights);
	/* A name that the owner's node has given is not stamped by this user. */
	if (found.name_stamp.node == write->header.writer) {
		buffer_append_byte(&value, ' ');
		acl_write_rights(&value, before.has_was ? before.was : was);
	}
	rc = put_own(write, key, true, buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

struct settling {
	const struct acl_act *act;
	bool is_taken;
};

static int settle_run(struct account_write *write, void *context)
{
	const struct settling *settling = context;
	const struct acl_act *act = settling->act;
	struct bytes key =
		joined(write->arena, act_prefix(write->arena, act->mailbox), act->identifier);
	struct register_record record;
	int rc = account_get_register(write->kv, write->header.number, RECORD_ACCOUNT, NO_MAILBOX,
		key, write->arena, &record);

	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	if (record.is_set && stamp_compare(record.stamp, act->stamp) == 0)
		rc = put_own(write, key, false, (struct bytes){ 0 });
	return rc < 0 || settling->is_taken ? rc
					    : put_own(write, POINT_KEY, false, (struct bytes){ 0 });
}

int acl_guest_settle(struct mail *mail, uint32_t account, const struct acl_act *act, bool is_taken,
	struct error *error)
{
	struct settling settling = { act, is_taken };

	return mail_node_commit(mail, account, settle_run, &settling, error, NULL);
}

/* ---- what the user changes ---- */

static const struct acl_entry *find_entry(const struct acl *acl, struct bytes identifier)
{
	for (size_t i = 0; i < acl->count; i++)
		if (bytes_equal(acl->entries[i].identifier, identifier))
			return &acl->entries[i];
	return NULL;
}

/* With one entry as it is to be. */
static struct acl changed(
	struct arena *arena, const struct acl *before, struct bytes identifier, unsigned rights)
{
	struct acl after = { arena_alloc(arena, (before->count + 1) * sizeof(*after.entries)), 0 };

	for (size_t i = 0; i < before->count; i++)
		if (!bytes_equal(before->entries[i].identifier, identifier))
			after.entries[after.count++] = before->entries[i];
	if (rights != 0)
		after.entries[after.count++] = (struct acl_entry){ identifier, rights };
	return after;
}

static bool is_user(struct bytes name, struct identity *identity_r)
{
	*identity_r = (struct identity){ 0 };
	if (name.len >= sizeof(identity_r->name))
		return false;
	memcpy(identity_r->name, name.ptr, name.len);
	return true;
}

int acl_guest_change(struct account_write *write, struct id128 mailbox, const struct acl *before,
	struct bytes identifier, unsigned rights)
{
	const struct acl_entry *had_entry = find_entry(before, identifier);
	struct acl after = changed(write->arena, before, identifier, rights), own;
	int rc = acl_put(write, mailbox, acl_guest_key(write->arena, identifier), rights);

	if (rc == 0)
		rc = put_act(write, mailbox, identifier, rights,
			had_entry != NULL ? had_entry->rights : 0);
	if (rc == 0)
		rc = acl_read(write->kv, write->header.number, mailbox, write->arena, &own);
	for (size_t i = 0; rc == 0 && i < own.count; i++) {
		const struct acl_entry *entry = &own.entries[i];
		struct identity identity;
		unsigned had, has, mine;

		if (!is_user(entry->identifier, &identity))
			continue;
		had = acl_effective(&identity, false, before->entries, before->count);
		has = acl_effective(&identity, false, after.entries, after.count);
		mine = (entry->rights & ~(had & ~has)) | (has & ~had & ACL_OF_GUEST);
		if (mine != entry->rights)
			rc = acl_put(write, mailbox, entry->identifier, mine);
	}
	return rc;
}

/* ---- what the owner's node tells ---- */

struct taking {
	const struct acl_guest_rights *rights;
	struct account_write *write;
	struct acl acts; /* of the mailbox */
	size_t room;
	bool concerns_user;
};

static int note_act(void *context, const struct acl_act *act)
{
	struct taking *taking = context;
	struct identity identity;
	struct acl_entry *entries;

	if (!id128_equal(act->mailbox, taking->rights->mailbox))
		return 0;
	entries = arena_alloc(taking->write->arena, (taking->acts.count + 1) * sizeof(*entries));
	if (taking->acts.count > 0)
		memcpy(entries, taking->acts.entries, taking->acts.count * sizeof(*entries));
	entries[taking->acts.count++] =
		(struct acl_entry){ arena_copy(taking->write->arena, act->identifier),
			act->rights };
	taking->acts.entries = entries;
	if (is_user(taking->rights->user, &identity) && acl_concerns(&identity, act->identifier))
		taking->concerns_user = true;
	return 0;
}

/* What is listed there and not so here, and what is here and not listed there. */
static int take_entries(struct taking *taking, const struct acl *mine, const struct acl *theirs)
{
	struct account_write *write = taking->write;
	struct id128 mailbox = taking->rights->mailbox;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < theirs->count; i++) {
		const struct acl_entry *entry = &theirs->entries[i];
		const struct acl_entry *had = find_entry(mine, entry->identifier);

		if ((had == NULL || had->rights != entry->rights) &&
			find_entry(&taking->acts, entry->identifier) == NULL)
			rc = acl_put(write, mailbox, acl_guest_key(write->arena, entry->identifier),
				entry->rights);
	}
	for (size_t i = 0; rc == 0 && i < mine->count; i++)
		if (find_entry(theirs, mine->entries[i].identifier) == NULL &&
			find_entry(&taking->acts, mine->entries[i].identifier) == NULL)
			rc = acl_put(write, mailbox,
				acl_guest_key(write->arena, mine->entries[i].identifier), 0);
	return rc;
}

static int take_run(struct account_write *write, void *context)
{
	const struct acl_guest_rights *rights = context;
	struct taking taking = { .rights = rights, .write = write };
	const struct acl_entry *granted;
	struct mailbox_record mailbox;
	struct acl own, mine;
	uint32_t account = write->header.number;
	int rc = account_get_mailbox(write->kv, account, rights->mailbox, write->arena, &mailbox);

	if (rc == 0 && !mailbox_is_live(&mailbox))
		rc = ERR_NOT_FOUND;
	if (rc == 0)
		rc = acl_guest_each_act(write->kv, account, write->arena, note_act, &taking);
	if (rc == 0)
		rc = acl_read(write->kv, account, mailbox.id, write->arena, &own);
	if (rc == 0 && rights->entries != NULL)
		rc = acl_list(write->kv, account, mailbox.id, write->arena, &mine);
	if (rc == 0 && rights->entries != NULL)
		rc = take_entries(&taking, &mine, rights->entries);
	if (rc < 0)
		return rc;
	granted = find_entry(&own, rights->user);
	if (granted != NULL && (granted->rights == rights->rights || taking.concerns_user))
		return 0;
	return acl_put(write, mailbox.id, rights->user, rights->rights);
}

int acl_guest_take(struct mail *mail, uint32_t account, const struct acl_guest_rights *rights,
	struct error *error)
{
	struct acl_guest_rights copy = *rights;

	copy.rights &= ACL_OF_GUEST;
	return mail_node_commit(mail, account, take_run, &copy, error, NULL);
}

/* ---- up to where ---- */

int acl_guest_point_get(struct kv_txn *kv, uint32_t account, struct acl_guest_point *point_r)
{
	struct arena *arena = arena_new();
	struct register_record record;
	int rc = account_get_register(
		kv, account, RECORD_ACCOUNT, NO_MAILBOX, POINT_KEY, arena, &record);

	*point_r = (struct acl_guest_point){ 0 };
	if (rc == 0 && record.is_set) {
		struct bytes in = record.value;

		if (unpack_u64(&in, &point_r->node) < 0 ||
			unpack_varint(&in, &point_r->sequence) < 0 ||
			unpack_varint(&in, &point_r->whole_ms) < 0 || in.len > 0)
			rc = ERR_CORRUPT;
	}
	arena_free(&arena);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int point_run(struct account_write *write, void *context)
{
	const struct acl_guest_point *point = context;
	struct buffer value = { 0 };
	int rc;

	pack_u64(&value, point->node);
	pack_varint(&value, point->sequence);
	pack_varint(&value, point->whole_ms);
	rc = put_own(write, POINT_KEY, true, buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

int acl_guest_point_put(struct mail *mail, uint32_t account, const struct acl_guest_point *point,
	struct error *error)
{
	struct acl_guest_point copy = *point;

	return mail_node_commit(mail, account, point_run, &copy, error, NULL);
}
