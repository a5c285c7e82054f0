/* What `status` says of messages whose bytes are damaged here (sync/withheld.h). */
#include "chapard/admin_private.h"

#include "base/encode.h"
#include "chapard/json.h"
#include "sync/withheld.h"

#define TOLD_MAX 20        /* to people */
#define TOLD_JSON_MAX 1000 /* to programs */

struct telling {
	struct kv_txn *kv;
	struct buffer *out; /* NULL: they are counted only */
	bool is_json;
	uint64_t count;
};

static void tell_json(
	const struct telling *telling, const char *account, const struct withheld_report *report)
{
	struct buffer *out = telling->out;

	json_member_string(
		out, telling->count == 0 ? "{" : ",{", "account", bytes_of_string(account));
	json_member_string(out, ",", "mailbox", report->mailbox_name);
	json_member_number(out, ",", "uid", report->uid);
	buffer_append_string(out, ",\"guid\":\"");
	encode_hex(out, bytes_of(report->guid.bytes, sizeof(report->guid.bytes)));
	buffer_printf(out, "\",\"peer-id\":\"%016llx\"}", (unsigned long long)report->peer);
}

static void tell_text(
	const struct telling *telling, const char *account, const struct withheld_report *report)
{
	struct buffer *out = telling->out;

	buffer_printf(out,
		"damaged   %s, %.*s UID %u: its bytes cannot be read here, so node %016llx does "
		"not get it; GUID ",
		account, BYTES_ARGS(report->mailbox_name), report->uid,
		(unsigned long long)report->peer);
	encode_hex(out, bytes_of(report->guid.bytes, sizeof(report->guid.bytes)));
	buffer_append_byte(out, '\n');
}

static int tell_one(void *context, const struct withheld_report *report)
{
	struct telling *telling = context;
	bool is_told = telling->out != NULL &&
		       telling->count < (telling->is_json ? TOLD_JSON_MAX : TOLD_MAX);
	struct account_header header;
	int rc = is_told ? account_load(telling->kv, report->account, &header) : 0;

	if (rc < 0)
		return rc;
	if (is_told && telling->is_json)
		tell_json(telling, header.name, report);
	else if (is_told)
		tell_text(telling, header.name, report);
	telling->count++;
	return 0;
}

/* That they cannot be read is told by other means; here they are none then. */
static void tell_all(struct admin_call *call, struct telling *telling)
{
	struct arena *arena = arena_new();

	if (mail_read_begin(call->admin->mail, 0, &telling->kv) == 0)
		(void)withheld_each(telling->kv, arena, tell_one, telling);
	mail_read_end(&telling->kv);
	arena_free(&arena);
}

void admin_withheld_json(struct admin_call *call, struct buffer *out)
{
	struct telling telling = { .out = out, .is_json = true };

	buffer_append_string(out, ",\n\"damaged\":[");
	tell_all(call, &telling);
	buffer_append_byte(out, ']');
}

void admin_withheld_text(struct admin_call *call, struct buffer *out)
{
	struct telling telling = { .out = out };

	tell_all(call, &telling);
	if (telling.count > TOLD_MAX)
		buffer_printf(out, "          and %llu more\n",
			(unsigned long long)telling.count - TOLD_MAX);
	if (telling.count > 0)
		buffer_append_string(out,
			"          `chapar verify --peer NODE --bodies --repair` takes "
			"what is damaged from a node that has it\n");
}

uint64_t admin_withheld_count(struct admin_call *call)
{
	struct telling telling = { 0 };

	tell_all(call, &telling);
	return telling.count;
}
