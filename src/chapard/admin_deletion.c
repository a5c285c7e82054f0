/* Deleting accounts, and bringing back what was deleted. */
#include "chapard/admin_private.h"

#include "chapard/json.h"
#include "mail/deletion.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int admin_account_delete(struct admin_call *call, struct buffer *out, struct error *error)
{
	uint32_t number;
	int rc = admin_account_find(call, call->arguments[0], &number, error);

	if (rc == 0)
		rc = mail_account_delete(call->admin->mail, number, error);
	if (rc == 0)
		buffer_printf(out, "deleted %s\n", call->arguments[0]);
	return rc < 0 ? rc : ADMIN_DONE;
}

/* The account, even if it is deleted. */
static int account_find_any(
	struct admin_call *call, const char *name, uint32_t *number_r, struct error *error)
{
	char normal[ACCOUNT_NAME_SIZE_MAX + 1];
	int rc = account_name_normalize(bytes_of_string(name), normal);

	if (rc < 0)
		return error_set(error, rc, "\"%.100s\" is no account's name", name);
	return mail_account_find(call->admin->mail, bytes_of_string(normal), error, number_r);
}

/* An instance as it is told: MODSEQ.NODE, the node in hexadecimal. */
static int instance_parse(const char *text, struct stamp *instance_r)
{
	unsigned long long modseq, node;
	int length = 0;

	if (sscanf(text, "%16llu.%16llx%n", &modseq, &node, &length) != 2 || text[length] != '\0')
		return ERR_INVALID;
	*instance_r = (struct stamp){ modseq, node };
	return 0;
}

/* KEY=VALUE words after the account's name: mailbox, to, since (ms since 1970), id. */
static int request_parse(struct admin_call *call, struct undelete *undelete, struct error *error)
{
	struct stamp *instances =
		arena_alloc(call->arena, (call->argument_count + 1) * sizeof(*instances));

	for (size_t i = 1; i < call->argument_count; i++) {
		struct bytes value = bytes_of_string(call->arguments[i]);
		struct bytes key = bytes_take(&value, bytes_find(value, '='));

		if (value.len == 0)
			return error_set(
				error, ERR_INVALID, "not KEY=VALUE: %.40s", call->arguments[i]);
		bytes_skip(&value, 1);
		if (bytes_equal_string(key, "mailbox"))
			undelete->mailbox = value;
		else if (bytes_equal_string(key, "to"))
			undelete->to = value;
		else if (bytes_equal_string(key, "since"))
			undelete->since_ms = strtoull((const char *)value.ptr, NULL, 10);
		else if (!bytes_equal_string(key, "id") ||
			 instance_parse((const char *)value.ptr,
				 &instances[undelete->instance_count++]) < 0)
			return error_set(
				error, ERR_INVALID, "malformed: %.60s", call->arguments[i]);
	}
	undelete->instances = instances;
	if (undelete->to.len > 0)
		return mailbox_name_check(undelete->to, error);
	return 0;
}

int admin_undelete(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct undelete undelete = { 0 };
	uint32_t number;
	int rc = account_find_any(call, call->arguments[0], &number, error);

	if (rc == 0)
		rc = request_parse(call, &undelete, error);
	if (rc == 0)
		rc = mail_undelete(call->admin->mail, number, &undelete, error);
	if (rc < 0)
		return rc;
	buffer_printf(out, "%s%llu messages brought back\n",
		undelete.has_account ? "the account and " : "",
		(unsigned long long)undelete.message_count);
	return ADMIN_DONE;
}

/* ---- the list ---- */

struct list_context {
	struct admin_call *call;
	struct buffer *out;
	const struct undelete *undelete;
	struct kv_txn *kv;
	uint32_t account;
	struct arena *arena;
};

static struct bytes mailbox_name(struct list_context *list, struct id128 id)
{
	struct mailbox_record mailbox;

	if (account_get_mailbox(list->kv, list->account, id, list->arena, &mailbox) < 0)
		return BYTES_LITERAL("");
	return mailbox.name;
}

static void gone_tell(
	struct list_context *list, const struct message_record *message, struct bytes mailbox)
{
	struct buffer *out = list->out;
	time_t seconds = (time_t)(message->gone_ms / 1000);
	char id[64], when[32] = "";
	struct tm parts;

	if (gmtime_r(&seconds, &parts) != NULL)
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &parts);
	snprintf(id, sizeof(id), "%llu.%016llx", (unsigned long long)message->instance.modseq,
		(unsigned long long)message->instance.node);
	if (!admin_has(list->call, ADMIN_OPTION_JSON)) {
		buffer_printf(out, "%s %s %8llu \"%.*s\"\n", id, when,
			(unsigned long long)message->size, BYTES_ARGS(mailbox));
		return;
	}
	json_member_string(
		out, list->call->finding_count == 0 ? "[{" : ",{", "id", bytes_of_string(id));
	json_member_string(out, ",", "deleted", bytes_of_string(when));
	json_member_string(out, ",", "mailbox", mailbox);
	json_member_number(out, ",", "size", message->size);
	buffer_append_string(out, "}\n");
}

static int gone_visit(void *context, const struct message_record *message)
{
	struct list_context *list = context;
	struct bytes mailbox;

	arena_reset(list->arena);
	mailbox = mailbox_name(list, message->gone_from);
	if (message->gone_ms < list->undelete->since_ms ||
		(list->undelete->mailbox.len > 0 && !bytes_equal(mailbox, list->undelete->mailbox)))
		return 0;
	gone_tell(list, message, mailbox);
	list->call->finding_count++;
	return 0;
}

int admin_undelete_list(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct undelete undelete = { 0 };
	struct list_context list = { .call = call, .out = out, .undelete = &undelete };
	int rc = account_find_any(call, call->arguments[0], &list.account, error);

	if (rc == 0)
		rc = request_parse(call, &undelete, error);
	if (rc == 0)
		rc = mail_read_begin(call->admin->mail, 0, &list.kv);
	if (rc < 0)
		return rc;
	list.arena = arena_new();
	rc = mail_each_gone(call->admin->mail, list.account, gone_visit, &list, error);
	mail_read_end(&list.kv);
	arena_free(&list.arena);
	if (rc == 0 && admin_has(call, ADMIN_OPTION_JSON))
		buffer_append_string(out, call->finding_count == 0 ? "[]\n" : "]\n");
	return rc < 0 ? rc : ADMIN_DONE;
}
