#include "chapard/admin_private.h"

#include "chapard/json.h"
#include "sync/conflict.h"

#include <stdlib.h>
#include <time.h>

struct conflict_context {
	struct admin_call *call;
	struct buffer *out;
	struct kv_txn *kv;
	const struct account_header *header;
	struct arena *arena;
};

static void time_tell(uint64_t modseq, char text_r[32])
{
	time_t seconds = (time_t)(modseq / 1024 / 1000);
	struct tm parts;

	if (gmtime_r(&seconds, &parts) == NULL ||
		strftime(text_r, 32, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
		text_r[0] = '\0';
}

/* The name that the mailbox has now; "" if it is gone. */
static struct bytes mailbox_name(struct conflict_context *context, struct id128 id)
{
	struct mailbox_record mailbox;

	if (account_get_mailbox(
		    context->kv, context->header->number, id, context->arena, &mailbox) < 0)
		return BYTES_LITERAL("");
	return mailbox.name;
}

static int entry_tell(void *function_context, const struct conflict_entry *entry)
{
	struct conflict_context *context = function_context;
	struct admin_call *call = context->call;
	struct bytes mailbox = mailbox_name(context, entry->conflict.mailbox);
	const char *text = conflict_text(entry->conflict.kind);
	char when[32];

	time_tell(entry->modseq, when);
	if (admin_has(call, ADMIN_OPTION_JSON)) {
		json_member_string(context->out, call->finding_count == 0 ? "[{" : ",{", "time",
			bytes_of_string(when));
		json_member_string(
			context->out, ",", "account", bytes_of_string(context->header->name));
		json_member_string(context->out, ",", "mailbox", mailbox);
		json_member_number(context->out, ",", "uid", entry->conflict.uid);
		json_member_string(context->out, ",", "name", entry->conflict.name);
		buffer_printf(context->out, ",\"node-id\":\"%016llx\"",
			(unsigned long long)mail_node(call->admin->mail));
		buffer_printf(
			context->out, ",\"peer-id\":\"%016llx\"", (unsigned long long)entry->peer);
		json_member_string(context->out, ",", "outcome", bytes_of_string(text));
		buffer_append_string(context->out, "}\n");
	} else {
		buffer_printf(context->out, "%s %s", when, context->header->name);
		if (mailbox.len > 0)
			buffer_printf(context->out, " \"%.*s\"", BYTES_ARGS(mailbox));
		if (entry->conflict.uid != 0)
			buffer_printf(context->out, " UID %u", entry->conflict.uid);
		if (entry->conflict.name.len > 0)
			buffer_printf(context->out, " %.*s", BYTES_ARGS(entry->conflict.name));
		buffer_printf(context->out, ": %s (peer %016llx)\n", text,
			(unsigned long long)entry->peer);
	}
	call->finding_count++;
	return 0;
}

/* Takes since=MS, which comes last, off the arguments. */
static void since_take(struct admin_call *call)
{
	const char *last =
		call->argument_count > 0 ? call->arguments[call->argument_count - 1] : "";

	if (strncmp(last, "since=", 6) != 0)
		return;
	call->since_ms = strtoull(last + 6, NULL, 10);
	call->argument_count--;
}

/* Arguments: the account's name, or none for all. One account is one step. */
int admin_conflict_list(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct conflict_context context = { .call = call, .out = out };
	struct account_header header;
	int rc;

	since_take(call);
	rc = admin_account_next(call, &header, error);
	if (rc == ERR_NOT_FOUND && error->code == 0) {
		if (admin_has(call, ADMIN_OPTION_JSON))
			buffer_append_string(out, call->finding_count == 0 ? "[]\n" : "]\n");
		return ADMIN_DONE;
	}
	if (rc < 0)
		return rc;
	context.header = &header;
	context.arena = arena_new();
	rc = mail_read_begin(call->admin->mail, 0, &context.kv);
	if (rc == 0)
		rc = conflict_each(
			context.kv, header.number, call->since_ms * 1024, entry_tell, &context);
	mail_read_end(&context.kv);
	arena_free(&context.arena);
	if (rc < 0)
		return error_set(error, rc, "%s: the journal cannot be read: %s", header.name,
			error_name(rc));
	return ADMIN_MORE;
}
