#include "mail/quota.h"

#include "base/error.h"
#include "base/pack.h"
#include "mail/mail_private.h"

/* A register's value: a varint of the limit; empty: expressly none. */
static const struct {
	const char *name;
	const char *key;
} resources[QUOTA_RESOURCE_COUNT] = {
	[QUOTA_STORAGE] = { "STORAGE", "quota/storage" },
	[QUOTA_MESSAGE] = { "MESSAGE", "quota/message" },
	[QUOTA_MAILBOX] = { "MAILBOX", "quota/mailbox" },
	[QUOTA_ANNOTATION_STORAGE] = { "ANNOTATION-STORAGE", "quota/annotation-storage" },
};

const char *quota_resource_name(enum quota_resource resource)
{
	return resources[resource].name;
}

enum quota_resource quota_resource_find(struct bytes name)
{
	unsigned i = 0;

	while (i < QUOTA_RESOURCE_COUNT && !bytes_equal_string_nocase(name, resources[i].name))
		i++;
	return (enum quota_resource)i;
}

static uint64_t kib_of(uint64_t byte_count)
{
	return byte_count / 1024 + (byte_count % 1024 != 0);
}

static int limit_read(struct kv_txn *kv, uint32_t account, enum quota_resource resource,
	const struct quota_limits *defaults, uint64_t *limit_r, bool *is_default_r)
{
	struct arena *arena = arena_new();
	struct register_record record;
	int rc = account_get_register(kv, account, RECORD_ACCOUNT, (struct id128){ { 0 } },
		bytes_of_string(resources[resource].key), arena, &record);

	*is_default_r = rc == ERR_NOT_FOUND || (rc == 0 && !record.is_set);
	if (*is_default_r) {
		*limit_r = defaults != NULL ? defaults->of[resource] : QUOTA_UNLIMITED;
		rc = 0;
	} else if (rc == 0) {
		*limit_r = QUOTA_UNLIMITED;
		if (record.value.len > 0)
			rc = unpack_varint(&record.value, limit_r);
	}
	arena_free(&arena);
	return rc;
}

int quota_read(struct mail *mail, struct kv_txn *kv, uint32_t account, struct quota *quota_r)
{
	struct account_header header;
	struct quota quota = { 0 };
	int rc = account_load(kv, account, &header);

	for (int i = 0; i < QUOTA_RESOURCE_COUNT && rc == 0; i++)
		rc = limit_read(kv, account, (enum quota_resource)i, mail_quota_defaults(mail),
			&quota.limits.of[i], &quota.is_default[i]);
	if (rc < 0)
		return rc;
	quota.byte_count = header.byte_count;
	quota.usage[QUOTA_STORAGE] = kib_of(header.byte_count);
	quota.usage[QUOTA_MESSAGE] = header.message_count;
	quota.usage[QUOTA_MAILBOX] = header.mailbox_count;
	quota.usage[QUOTA_ANNOTATION_STORAGE] = kib_of(header.annotation_byte_count);
	*quota_r = quota;
	return 0;
}

bool quota_has_room(const struct quota *quota, uint64_t message_count, uint64_t byte_count)
{
	return quota->usage[QUOTA_MESSAGE] + message_count <= quota->limits.of[QUOTA_MESSAGE] &&
	       kib_of(quota->byte_count + byte_count) <= quota->limits.of[QUOTA_STORAGE];
}

unsigned quota_percent(const struct quota *quota)
{
	unsigned greatest = 0;

	for (int i = 0; i < QUOTA_RESOURCE_COUNT; i++) {
		uint64_t limit = quota->limits.of[i], usage = quota->usage[i];
		unsigned percent = 0;

		if (limit == QUOTA_UNLIMITED)
			continue;
		if (usage >= limit)
			percent = limit == 0 || usage / limit >= 10
					  ? 1000
					  : (unsigned)(usage * 100 / limit);
		else
			percent = (unsigned)((double)usage * 100 / (double)limit);
		if (percent > greatest)
			greatest = percent;
	}
	return greatest;
}

struct bytes quota_register_key(enum quota_resource resource)
{
	return bytes_of_string(resources[resource].key);
}

struct bytes quota_register_value(uint64_t limit, struct arena *arena)
{
	struct buffer value = { 0 };
	struct bytes copy;

	if (limit != QUOTA_UNLIMITED)
		pack_varint(&value, limit);
	copy = arena_copy(arena, buffer_bytes(&value));
	buffer_deinit(&value);
	return copy;
}

static int set_run(struct account_write *write, void *context)
{
	const struct quota_changes *changes = context;
	int rc = 0;

	for (int i = 0; i < QUOTA_RESOURCE_COUNT && rc == 0; i++) {
		enum quota_resource resource = (enum quota_resource)i;
		bool is_set = changes->change[i] == QUOTA_SET;

		if (changes->change[i] == QUOTA_KEEP)
			continue;
		rc = register_write(write, RECORD_ACCOUNT, quota_register_key(resource), is_set,
			is_set ? quota_register_value(changes->limits.of[i], write->arena)
			       : bytes_of(NULL, 0));
	}
	return rc;
}

int quota_set(struct mail *mail, uint32_t account, const struct quota_changes *changes,
	struct error *error, uint64_t *position_r)
{
	struct quota_changes copy = *changes;

	return mail_node_commit(mail, account, set_run, &copy, error, position_r);
}

static int enforce_one(
	struct account_write *write, enum quota_resource resource, uint64_t before, uint64_t now)
{
	uint64_t limit;
	bool is_default;
	int rc;

	if (now <= before)
		return 0;
	rc = limit_read(write->kv, write->header.number, resource, write->quota_defaults, &limit,
		&is_default);
	return rc < 0 ? rc : now > limit ? ERR_OVERQUOTA : 0;
}

/* A growth within one KiB is growth too, so bytes are compared; a limit met exactly is met. */
static int enforce_bytes(
	struct account_write *write, enum quota_resource resource, uint64_t before, uint64_t now)
{
	return now <= before ? 0 : enforce_one(write, resource, 0, kib_of(now));
}

int quota_enforce(struct account_write *write)
{
	const struct account_header *header = &write->header;
	int rc = enforce_bytes(write, QUOTA_STORAGE, write->before.byte_count, header->byte_count);

	if (rc == 0)
		rc = enforce_one(
			write, QUOTA_MESSAGE, write->before.message_count, header->message_count);
	if (rc == 0)
		rc = enforce_one(
			write, QUOTA_MAILBOX, write->before.mailbox_count, header->mailbox_count);
	if (rc == 0)
		rc = enforce_bytes(write, QUOTA_ANNOTATION_STORAGE,
			write->before.annotation_byte_count, header->annotation_byte_count);
	return rc == ERR_OVERQUOTA && write->user_error != NULL
		       ? error_set(write->user_error, rc, "the account would be over its quota")
		       : rc;
}
