/* Taking in what another kind of store holds, as an admin command. The daemon reads the files, as
 * its user. */
#include "chapard/admin_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "chapard/foreign_source.h"
#include "chapard/json.h"
#include "foreign/import.h"

#include <stdlib.h>

struct import_call {
	struct import *import;
	struct buffer told; /* since the last step */
	bool is_json;
	uint64_t line_count;
	struct import_counts sum;
	uint64_t deleted_count;
};

static void call_free(void *context)
{
	struct import_call *run = context;

	import_free(&run->import);
	buffer_deinit(&run->told);
	free(run);
}

/* ---- what is told ---- */

static void tell_json(struct import_call *run, const struct import_result *result)
{
	struct buffer *out = &run->told;

	json_member_string(out, run->line_count == 0 ? "[{" : ",{", "mailbox", result->name);
	json_member_number(out, ",", "new", result->counts.new_count);
	json_member_number(out, ",", "bytes", result->counts.new_bytes);
	json_member_number(out, ",", "flags-changed", result->counts.changed_count);
	json_member_number(out, ",", "expunged", result->counts.gone_count);
	json_member_number(out, ",", "renumbered", result->counts.renumbered_count);
	json_member_number(out, ",", "left-out", result->left_out_count);
	json_member_number(out, ",", "rights-metadata-changed", result->extra_counts.changed_count);
	json_member_number(
		out, ",", "rights-metadata-left-out", result->extra_counts.left_out_count);
	json_member_number(out, ",", "deleted", result->deleted_count);
	json_member_number(out, ",", "uidvalidity-there", result->uidvalidity);
	json_member_number(out, ",", "uidvalidity", result->uidvalidity_here);
	json_member_bool(out, ",", "deleted-here", result->is_deleted_here);
	json_member_bool(out, ",", "gone-there", result->is_gone_there);
	json_member_string(out, ",", "error",
		bytes_of_string(result->error.code != 0 ? result->error.text : ""));
	buffer_append_string(out, "}\n");
}

static bool is_quiet(const struct import_result *result)
{
	const struct import_counts *counts = &result->counts;

	return counts->new_count + counts->changed_count + counts->gone_count +
			       result->left_out_count + result->extra_counts.changed_count +
			       result->extra_counts.left_out_count ==
		       0 &&
	       !result->is_deleted_here && !result->is_gone_there && result->error.code == 0;
}

static void tell_text(struct import_call *run, const struct import_result *result)
{
	const struct import_counts *counts = &result->counts;
	struct buffer *out = &run->told;

	if (is_quiet(result))
		return;
	buffer_printf(out, "%.*s: %llu new", BYTES_ARGS(result->name),
		(unsigned long long)counts->new_count);
	if (counts->changed_count > 0)
		buffer_printf(
			out, ", flags of %llu changed", (unsigned long long)counts->changed_count);
	if (counts->gone_count > 0)
		buffer_printf(out, ", %llu expunged", (unsigned long long)counts->gone_count);
	if (counts->renumbered_count > 0)
		buffer_printf(out, "; %llu have other UIDs here",
			(unsigned long long)counts->renumbered_count);
	if (result->has_other_uidvalidity)
		buffer_printf(out, "; UIDVALIDITY is %u here, not %u", result->uidvalidity_here,
			result->uidvalidity);
	if (result->left_out_count > 0)
		buffer_printf(out,
			"; %llu could not be read, are too large, or compressed in an unknown way",
			(unsigned long long)result->left_out_count);
	if (result->extra_counts.changed_count > 0)
		buffer_printf(out, "; %llu rights or metadata changed",
			(unsigned long long)result->extra_counts.changed_count);
	if (result->extra_counts.left_out_count > 0)
		buffer_printf(out, "; %llu rights or metadata that cannot be here",
			(unsigned long long)result->extra_counts.left_out_count);
	if (result->is_deleted_here)
		buffer_append_string(out, "; it was deleted here, and stays so");
	if (result->is_gone_there)
		buffer_append_string(out, "; it is no more there");
	if (result->error.code != 0)
		buffer_printf(out, "; not done: %s", result->error.text);
	buffer_append_byte(out, '\n');
	run->line_count++;
}

static void tell(void *context, const struct import_result *result)
{
	struct import_call *run = context;

	run->sum.new_count += result->counts.new_count;
	run->sum.changed_count += result->counts.changed_count;
	run->sum.gone_count += result->counts.gone_count;
	run->deleted_count += result->deleted_count;
	if (!run->is_json) {
		tell_text(run, result);
		return;
	}
	tell_json(run, result);
	run->line_count++;
}

static void end(struct import_call *run, bool is_dry_run, struct buffer *out)
{
	struct import_progress progress;

	import_get_progress(run->import, &progress);
	if (run->is_json) {
		buffer_append_string(out, run->line_count == 0 ? "[]\n" : "]\n");
		return;
	}
	buffer_printf(out,
		"%s%llu mailboxes: %llu new messages, flags of %llu changed, %llu expunged, "
		"%llu subscriptions\n",
		is_dry_run ? "would be done: " : "", (unsigned long long)progress.mailbox_count,
		(unsigned long long)run->sum.new_count, (unsigned long long)run->sum.changed_count,
		(unsigned long long)run->sum.gone_count,
		(unsigned long long)progress.subscription_count);
	if (progress.account_counts.changed_count > 0)
		buffer_printf(out, "%s%llu scripts or limits changed\n",
			is_dry_run ? "would be done: " : "",
			(unsigned long long)progress.account_counts.changed_count);
	if (progress.account_counts.left_out_count > 0)
		buffer_printf(out, "%llu scripts or limits cannot be here\n",
			(unsigned long long)progress.account_counts.left_out_count);
	if (run->deleted_count > 0)
		buffer_printf(out,
			"%llu messages were deleted here, and stay so (chapar undelete brings them "
			"back)\n",
			(unsigned long long)run->deleted_count);
}

/* ---- the command ---- */

static bool has_word(const struct admin_call *call, const char *word)
{
	for (size_t i = 2; i < call->argument_count; i++)
		if (strcmp(call->arguments[i], word) == 0)
			return true;
	return false;
}

static int begin(struct admin_call *call, struct error *error)
{
	struct import_options options = { .mail = call->admin->mail,
		.is_dry_run = has_word(call, "dry-run"),
		.is_over_quota = has_word(call, "over-quota"),
		.keeps_gone = has_word(call, "keep"),
		.tell = tell };
	char normal[ACCOUNT_NAME_SIZE_MAX + 1];
	struct import_call *run;
	struct source *source = NULL;
	int rc = account_name_normalize(bytes_of_string(call->arguments[0]), normal);

	if (rc < 0)
		return error_set(error, ERR_INVALID, "no account can be called so");
	rc = foreign_source_new(
		call->arguments[1], call->arguments + 2, call->argument_count - 2, &source, error);
	if (rc < 0)
		return rc;
	options.account = arena_copy(call->arena, bytes_of_string(normal));
	run = mem_zalloc(sizeof(*run));
	run->is_json = admin_has(call, ADMIN_OPTION_JSON);
	options.context = run;
	run->import = import_new(&options, source);
	call->state = run;
	call->state_free = call_free;
	return 0;
}

static void progress_tell(struct admin_call *call, struct buffer *out)
{
	struct import_call *run = call->state;
	struct import_progress progress;
	uint64_t now = clock_monotonic_ms();
	struct buffer name = { 0 };

	import_get_progress(run->import, &progress);
	if (progress.mailbox.len == 0 || now < call->told_at_ms + ADMIN_PROGRESS_MS)
		return;
	call->told_at_ms = now;
	buffer_append_bytes(&name, progress.mailbox);
	admin_progress(out, progress.done, progress.total, "messages", buffer_string(&name));
	buffer_deinit(&name);
}

int admin_import(struct admin_call *call, struct buffer *out, struct error *error)
{
	const struct admin_live *live = call->admin->live;
	int rc = call->state == NULL ? begin(call, error) : 0;
	struct import_call *run = call->state;

	if (rc == 0 && live != NULL && live->is_stopping(live->context))
		rc = error_set(error, ERR_CLOSED, "it ends");
	if (rc < 0)
		return rc;
	rc = import_step(run->import, error);
	buffer_append_bytes(out, buffer_bytes(&run->told));
	buffer_clear(&run->told);
	if (rc == IMPORT_MORE) {
		progress_tell(call, out);
		return ADMIN_MORE;
	}
	if (rc == IMPORT_DONE || run->is_json)
		end(run, has_word(call, "dry-run"), out);
	return rc < 0 ? rc : ADMIN_DONE;
}
