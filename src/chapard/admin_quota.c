#include "chapard/admin_private.h"

#include "chapard/json.h"
#include "mail/quota.h"

#include <stdlib.h>

/* Limits are told and set in bytes where the resource's unit is 1,024 of them. */
static const struct {
	const char *name, *json_usage, *json_limit;
	uint64_t unit;
} columns[QUOTA_RESOURCE_COUNT] = {
	[QUOTA_STORAGE] = { "bytes", "storage", "storage-limit", 1024 },
	[QUOTA_MESSAGE] = { "messages", "messages", "messages-limit", 1 },
	[QUOTA_MAILBOX] = { "mailboxes", "mailboxes", "mailboxes-limit", 1 },
	[QUOTA_ANNOTATION_STORAGE] = { "bytes of annotations", "annotations", "annotations-limit",
		1024 },
};

static uint64_t scale(uint64_t number, uint64_t unit)
{
	return number > UINT64_MAX / unit ? UINT64_MAX : number * unit;
}

static void json_tell(struct buffer *out, const struct quota *quota)
{
	for (int i = 0; i < QUOTA_RESOURCE_COUNT; i++) {
		uint64_t unit = columns[i].unit, limit = quota->limits.of[i];

		json_member_number(out, ",", columns[i].json_usage, scale(quota->usage[i], unit));
		if (limit != QUOTA_UNLIMITED)
			json_member_number(out, ",", columns[i].json_limit, scale(limit, unit));
	}
	buffer_append_string(out, "}\n");
}

static void text_tell(struct buffer *out, const struct quota *quota)
{
	for (int i = 0; i < QUOTA_RESOURCE_COUNT; i++) {
		uint64_t unit = columns[i].unit, limit = quota->limits.of[i];

		buffer_printf(out, "%s%llu", i > 0 ? ", " : " ",
			(unsigned long long)scale(quota->usage[i], unit));
		if (limit != QUOTA_UNLIMITED)
			buffer_printf(out, " of %llu", (unsigned long long)scale(limit, unit));
		buffer_printf(out, " %s%s", columns[i].name,
			limit != QUOTA_UNLIMITED && quota->is_default[i] ? " (default)" : "");
	}
	buffer_append_byte(out, '\n');
}

/* Arguments: the account's name, or none for all. One account is one step. */
int admin_quota(struct admin_call *call, struct buffer *out, struct error *error)
{
	bool is_json = admin_has(call, ADMIN_OPTION_JSON), is_first = call->item_count == 0;
	struct account_header header;
	struct kv_txn *kv = NULL;
	struct quota quota;
	int rc = admin_account_next(call, &header, error);

	if (rc == ERR_NOT_FOUND && error->code == 0) {
		if (is_json)
			buffer_append_string(out, is_first ? "[]\n" : "]\n");
		return ADMIN_DONE;
	}
	if (rc < 0)
		return rc;
	rc = mail_read_begin(call->admin->mail, 0, &kv);
	if (rc == 0)
		rc = quota_read(call->admin->mail, kv, header.number, &quota);
	mail_read_end(&kv);
	if (rc < 0)
		return error_set(
			error, rc, "%s: the quota cannot be read: %s", header.name, error_name(rc));
	if (is_json) {
		json_member_string(
			out, is_first ? "[{" : ",{", "name", bytes_of_string(header.name));
		json_tell(out, &quota);
	} else {
		buffer_printf(out, "%s:", header.name);
		text_tell(out, &quota);
	}
	return ADMIN_MORE;
}

/* "10G", "none" or "default". */
static int limit_parse(
	const char *text, enum quota_resource resource, struct quota_changes *changes)
{
	static const char units[] = "KMGT";
	uint64_t limit, unit = columns[resource].unit, factor = 1;
	const char *at;
	char *end;

	changes->change[resource] = strcmp(text, "default") == 0 ? QUOTA_RESET : QUOTA_SET;
	changes->limits.of[resource] = QUOTA_UNLIMITED;
	if (strcmp(text, "none") == 0 || strcmp(text, "default") == 0)
		return 0;
	if (text[0] < '0' || text[0] > '9' || strlen(text) > 18)
		return ERR_INVALID;
	limit = strtoull(text, &end, 10);
	at = *end != '\0' ? strchr(units, *end) : NULL;
	if (at != NULL) {
		factor = UINT64_C(1) << (10 * (at - units + 1));
		end++;
	}
	if (*end != '\0' || limit > QUOTA_LIMIT_MAX / factor)
		return ERR_INVALID;
	limit *= factor;
	changes->limits.of[resource] = limit / unit + (limit % unit != 0);
	return 0;
}

/* Arguments: the account's name, then RESOURCE LIMIT, any number of times. */
int admin_quota_set(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct quota_changes changes = { 0 };
	struct kv_txn *kv = NULL;
	struct quota quota;
	uint64_t position = 0;
	uint32_t account;
	int rc = admin_account_find(call, call->arguments[0], &account, error);

	for (size_t i = 1; i < call->argument_count && rc == 0; i += 2) {
		enum quota_resource resource =
			quota_resource_find(bytes_of_string(call->arguments[i]));

		if (resource == QUOTA_RESOURCE_COUNT || i + 1 == call->argument_count ||
			limit_parse(call->arguments[i + 1], resource, &changes) < 0)
			return error_set(error, ERR_INVALID,
				"\"%.40s\": a limit is a number (1K, 1M, 1G, 1T), none or default",
				call->arguments[i + 1 < call->argument_count ? i + 1 : i]);
	}
	if (rc == 0)
		rc = quota_set(call->admin->mail, account, &changes, error, &position);
	if (rc == 0)
		rc = mail_read_begin(call->admin->mail, position, &kv);
	if (rc == 0)
		rc = quota_read(call->admin->mail, kv, account, &quota);
	mail_read_end(&kv);
	if (rc < 0)
		return rc;
	buffer_printf(out, "%s:", call->arguments[0]);
	text_tell(out, &quota);
	return ADMIN_DONE;
}
