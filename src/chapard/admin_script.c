/* Sieve scripts of accounts. The first argument of all is the account's name. */
#include "chapard/admin_private.h"

#include "chapard/json.h"
#include "mail/script.h"

struct list_context {
	struct admin_call *call;
	struct buffer *out;
};

static int script_tell(void *context, struct bytes name, struct bytes text, bool is_active)
{
	struct list_context *list = context;

	if (admin_has(list->call, ADMIN_OPTION_JSON)) {
		json_member_string(
			list->out, list->call->finding_count == 0 ? "[{" : ",{", "name", name);
		json_member_number(list->out, ",", "size", text.len);
		json_member_bool(list->out, ",", "active", is_active);
		buffer_append_string(list->out, "}\n");
	} else {
		buffer_printf(list->out, "%c %8zu %.*s\n", is_active ? '*' : ' ', text.len,
			BYTES_ARGS(name));
	}
	list->call->finding_count++;
	return 0;
}

int admin_script_list(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct list_context list = { call, out };
	uint32_t number;
	int rc = admin_account_find(call, call->arguments[0], &number, error);

	if (rc == 0)
		rc = mail_script_each(call->admin->mail, number, script_tell, &list, error);
	if (rc == 0 && admin_has(call, ADMIN_OPTION_JSON))
		buffer_append_string(out, call->finding_count == 0 ? "[]\n" : "]\n");
	return rc < 0 ? rc : ADMIN_DONE;
}

int admin_script_get(struct admin_call *call, struct buffer *out, struct error *error)
{
	uint32_t number;
	int rc = admin_account_find(call, call->arguments[0], &number, error);

	if (rc == 0)
		rc = mail_script_get(
			call->admin->mail, number, bytes_of_string(call->arguments[1]), out, error);
	if (rc == 0 && out->len > 0 && out->data[out->len - 1] != '\n')
		buffer_append_byte(out, '\n'); /* output is whole lines */
	return rc < 0 ? rc : ADMIN_DONE;
}

int admin_script_put(struct admin_call *call, struct buffer *out, struct error *error)
{
	uint32_t number;
	int rc = admin_account_find(call, call->arguments[0], &number, error);

	if (rc == 0)
		rc = mail_script_put(call->admin->mail, number, bytes_of_string(call->arguments[1]),
			bytes_of_string(call->arguments[2]), error);
	if (rc == 0)
		buffer_printf(out, "put %s\n", call->arguments[1]);
	return rc < 0 ? rc : ADMIN_DONE;
}

int admin_script_delete(struct admin_call *call, struct buffer *out, struct error *error)
{
	uint32_t number;
	int rc = admin_account_find(call, call->arguments[0], &number, error);

	if (rc == 0)
		rc = mail_script_delete(
			call->admin->mail, number, bytes_of_string(call->arguments[1]), error);
	if (rc == 0)
		buffer_printf(out, "deleted %s\n", call->arguments[1]);
	return rc < 0 ? rc : ADMIN_DONE;
}

/* Without a script's name: none is active from now on. */
int admin_script_activate(struct admin_call *call, struct buffer *out, struct error *error)
{
	const char *name = call->argument_count > 1 ? call->arguments[1] : "";
	uint32_t number;
	int rc = admin_account_find(call, call->arguments[0], &number, error);

	if (rc == 0)
		rc = mail_script_activate(call->admin->mail, number, bytes_of_string(name), error);
	if (rc == 0)
		buffer_printf(out, "active: %s\n", name[0] != '\0' ? name : "none");
	return rc < 0 ? rc : ADMIN_DONE;
}
