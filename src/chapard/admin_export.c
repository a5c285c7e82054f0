/* Writing an account into a store of another kind, as an admin command. The daemon writes the
 * files, as its user. */
#include "chapard/admin_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "chapard/json.h"
#include "foreign/export_place.h"

#include <stdlib.h>

struct export_call {
	struct export *export;
	struct buffer told;   /* since the last step */
	bool is_json, is_one; /* one mailbox is asked for */
	uint64_t mailbox_count;
	struct export_counts sum;
};

static void call_free(void *context)
{
	struct export_call *run = context;

	export_free(&run->export);
	buffer_deinit(&run->told);
	free(run);
}

static void tell_json(
	struct export_call *run, struct bytes name, const struct export_counts *counts)
{
	struct buffer *out = &run->told;

	json_member_string(out, run->mailbox_count == 0 ? "[{" : ",{", "mailbox", name);
	json_member_number(out, ",", "messages", counts->message_count);
	json_member_number(out, ",", "new", counts->new_count);
	json_member_number(out, ",", "bytes", counts->new_bytes);
	json_member_number(out, ",", "flags-changed", counts->changed_count);
	json_member_number(out, ",", "removed", counts->removed_count);
	json_member_number(out, ",", "keywords-left-out", counts->unnamed_count);
	buffer_append_string(out, "}\n");
}

static void tell(void *context, struct bytes name, const struct export_counts *counts)
{
	struct export_call *run = context;

	if (run->is_json)
		tell_json(run, name, counts);
	else if (counts->new_count + counts->changed_count + counts->removed_count > 0)
		buffer_printf(&run->told, "%.*s: %llu new, flags of %llu changed, %llu removed\n",
			BYTES_ARGS(name), (unsigned long long)counts->new_count,
			(unsigned long long)counts->changed_count,
			(unsigned long long)counts->removed_count);
	run->mailbox_count++;
	run->sum.message_count += counts->message_count;
	run->sum.new_count += counts->new_count;
	run->sum.changed_count += counts->changed_count;
	run->sum.removed_count += counts->removed_count;
	run->sum.unnamed_count += counts->unnamed_count;
}

static void end(const struct export_call *run, struct buffer *out)
{
	if (run->is_json) {
		buffer_append_string(out, run->mailbox_count == 0 ? "[]\n" : "]\n");
		return;
	}
	buffer_printf(out,
		"%llu mailboxes with %llu messages: %llu new, flags of %llu changed, %llu "
		"removed\n",
		(unsigned long long)run->mailbox_count, (unsigned long long)run->sum.message_count,
		(unsigned long long)run->sum.new_count, (unsigned long long)run->sum.changed_count,
		(unsigned long long)run->sum.removed_count);
	if (run->sum.unnamed_count > 0)
		buffer_printf(out, "%llu times a keyword was left out: the format has no more\n",
			(unsigned long long)run->sum.unnamed_count);
}

/* "maildir:/path", "maildir:/path:LAYOUT=fs", "mbox:/path" or "eml:/path". */
static int target_parse(struct admin_call *call, struct bytes mailbox, struct target **target_r,
	struct error *error)
{
	const char *text = call->arguments[1];
	struct export_place place;
	int rc = export_place_parse(text, &place, error);

	if (rc < 0)
		return rc;
	if (bytes_peek(place.folder) != '/')
		return error_set(error, ERR_INVALID, "%.60s is no absolute path", text);
	/* The others would count as gone, and be taken away. */
	if (mailbox.len > 0 && place.form != EXPORT_EML)
		return error_set(error, ERR_INVALID, "a single mailbox goes into eml: only");
	*target_r = export_place_target(&place, arena_string(call->arena, place.folder));
	return 0;
}

static struct bytes mailbox_wanted(const struct admin_call *call)
{
	for (size_t i = 2; i < call->argument_count; i++)
		if (strncmp(call->arguments[i], "mailbox=", 8) == 0)
			return arena_copy(call->arena, bytes_of_string(call->arguments[i] + 8));
	return bytes_of(NULL, 0);
}

static int begin(struct admin_call *call, struct error *error)
{
	struct export_options options = {
		.mail = call->admin->mail, .mailbox = mailbox_wanted(call), .tell = tell
	};
	struct target *target = NULL;
	struct export_call *run;
	int rc = admin_account_find(call, call->arguments[0], &options.account, error);

	if (rc == 0)
		rc = target_parse(call, options.mailbox, &target, error);
	if (rc < 0)
		return rc;
	run = mem_zalloc(sizeof(*run));
	run->is_json = admin_has(call, ADMIN_OPTION_JSON);
	run->is_one = options.mailbox.len > 0;
	options.context = run;
	run->export = export_new(&options, target);
	call->state = run;
	call->state_free = call_free;
	return 0;
}

static void progress_tell(struct admin_call *call, struct buffer *out)
{
	struct export_call *run = call->state;
	struct export_progress progress;
	uint64_t now = clock_monotonic_ms();
	struct buffer name = { 0 };

	export_get_progress(run->export, &progress);
	if (progress.mailbox.len == 0 || now < call->told_at_ms + ADMIN_PROGRESS_MS)
		return;
	call->told_at_ms = now;
	buffer_append_bytes(&name, progress.mailbox);
	admin_progress(out, progress.done, progress.total, "messages", buffer_string(&name));
	buffer_deinit(&name);
}

int admin_export(struct admin_call *call, struct buffer *out, struct error *error)
{
	const struct admin_live *live = call->admin->live;
	int rc = call->state == NULL ? begin(call, error) : 0;
	struct export_call *run = call->state;

	if (rc == 0 && live != NULL && live->is_stopping(live->context))
		rc = error_set(error, ERR_CLOSED, "it ends");
	if (rc < 0)
		return rc;
	rc = export_step(run->export, error);
	buffer_append_bytes(out, buffer_bytes(&run->told));
	buffer_clear(&run->told);
	if (rc == EXPORT_MORE) {
		progress_tell(call, out);
		return ADMIN_MORE;
	}
	if (rc == EXPORT_DONE && run->is_one && run->mailbox_count == 0)
		rc = error_set(error, ERR_NOT_FOUND, "there is no such mailbox");
	if (rc == EXPORT_DONE || run->is_json)
		end(run, out);
	return rc < 0 ? rc : ADMIN_DONE;
}
