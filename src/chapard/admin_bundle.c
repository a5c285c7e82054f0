/* Bundles, as admin commands. The daemon opens the files, as its user. */
#include "chapard/admin_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "chapard/json.h"
#include "sync/bundle.h"

#include <stdlib.h>

struct bundle_call {
	struct bundle_create *create;
	struct bundle_apply *apply;
	struct buffer told; /* since the last step */
	bool is_json;
	uint64_t line_count;
};

static void call_free(void *context)
{
	struct bundle_call *run = context;

	bundle_create_free(&run->create);
	bundle_apply_free(&run->apply);
	buffer_deinit(&run->told);
	free(run);
}

static struct bundle_call *call_begin(struct admin_call *call)
{
	struct bundle_call *run = mem_zalloc(sizeof(*run));

	run->is_json = admin_has(call, ADMIN_OPTION_JSON);
	call->state = run;
	call->state_free = call_free;
	return run;
}

/* The value of an argument KEY=VALUE, or NULL. */
static const char *argument(const struct admin_call *call, const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 1; i < call->argument_count; i++)
		if (strncmp(call->arguments[i], key, len) == 0 && call->arguments[i][len] == '=')
			return call->arguments[i] + len + 1;
	return NULL;
}

static struct bundle_secret secret_of(const struct admin_call *call)
{
	return (struct bundle_secret){ .passphrase = argument(call, "passphrase"),
		.key_file = argument(call, "key-file") };
}

static bool is_time(struct admin_call *call)
{
	uint64_t now = clock_monotonic_ms();

	if (now < call->told_at_ms + ADMIN_PROGRESS_MS)
		return false;
	call->told_at_ms = now;
	return true;
}

/* ---- create ---- */

static void created_tell(struct bundle_call *run, const char *path, struct buffer *out)
{
	struct bundle_summary sum;

	bundle_create_count(run->create, &sum);
	if (run->is_json) {
		json_member_string(out, "{", "file", bytes_of_string(path));
		json_member_number(out, ",", "accounts", sum.account_count);
		json_member_number(out, ",", "changed-accounts", sum.changed_count);
		json_member_number(out, ",", "records", sum.record_count);
		json_member_number(out, ",", "messages", sum.body_count);
		json_member_number(out, ",", "bytes", sum.size);
		buffer_append_string(out, "}\n");
		return;
	}
	buffer_printf(out,
		"%s: %llu of %llu accounts changed, %llu changes with %llu messages, %llu bytes\n",
		path, (unsigned long long)sum.changed_count, (unsigned long long)sum.account_count,
		(unsigned long long)sum.record_count, (unsigned long long)sum.body_count,
		(unsigned long long)sum.size);
}

static int create_begin(struct admin_call *call, struct error *error)
{
	struct bundle_create_options options = { .path = call->arguments[0],
		.since = argument(call, "since"),
		.account = argument(call, "account"),
		.secret = secret_of(call) };
	struct bundle_call *run = call_begin(call);
	char normal[ACCOUNT_NAME_SIZE_MAX + 1];

	if (options.account != NULL) {
		if (account_name_normalize(bytes_of_string(options.account), normal) < 0)
			return error_set(error, ERR_INVALID, "no account can be called so");
		options.account = arena_string(call->arena, bytes_of_string(normal));
	}
	return bundle_create_new(call->admin->mail, &options, &run->create, error);
}

int admin_bundle_create(struct admin_call *call, struct buffer *out, struct error *error)
{
	int rc = call->state == NULL ? create_begin(call, error) : 0;
	struct bundle_call *run = call->state;
	struct bundle_summary sum;

	if (rc == 0)
		rc = bundle_create_step(run->create, error);
	if (rc < 0)
		return rc;
	if (rc == BUNDLE_DONE) {
		created_tell(run, call->arguments[0], out);
		return ADMIN_DONE;
	}
	if (is_time(call)) {
		bundle_create_count(run->create, &sum);
		admin_progress(out, sum.body_count, 0, "messages", call->arguments[0]);
	}
	return ADMIN_MORE;
}

/* ---- apply ---- */

static void outcome_tell(
	void *context, const char *account, enum bundle_outcome outcome, const struct error *error)
{
	static const char *const texts[] = { "applied", "merged", "was here already",
		"unchanged in the bundle", "refused: this copy has changed since", "failed" };
	static const char *const words[] = { "applied", "merged", "had", "unchanged", "refused",
		"failed" };
	struct bundle_call *run = context;

	if (run->is_json) {
		json_member_string(&run->told, run->line_count++ == 0 ? "[{" : ",{", "account",
			bytes_of_string(account));
		json_member_string(&run->told, ",", "outcome", bytes_of_string(words[outcome]));
		json_member_string(&run->told, ",", "error",
			bytes_of_string(error != NULL ? error->text : ""));
		buffer_append_string(&run->told, "}\n");
		return;
	}
	run->line_count++;
	buffer_printf(&run->told, "%s: %s%s%s\n", account, texts[outcome],
		error != NULL ? ": " : "", error != NULL ? error->text : "");
}

static int apply_begin(struct admin_call *call, struct error *error)
{
	struct bundle_call *run = call_begin(call);
	struct bundle_apply_options options = { .path = call->arguments[0],
		.reply = argument(call, "reply"),
		.secret = secret_of(call),
		.tell = outcome_tell,
		.context = run };

	return bundle_apply_new(call->admin->mail, &options, &run->apply, error);
}

int admin_bundle_apply(struct admin_call *call, struct buffer *out, struct error *error)
{
	int rc = call->state == NULL ? apply_begin(call, error) : 0;
	struct bundle_call *run = call->state;
	uint64_t done, total;

	if (rc < 0)
		return rc;
	rc = bundle_apply_step(run->apply, error);
	buffer_append_bytes(out, buffer_bytes(&run->told));
	buffer_clear(&run->told);
	if (rc == BUNDLE_MORE) {
		bundle_apply_progress(run->apply, &done, &total);
		if (is_time(call))
			admin_progress(out, done, total, "bytes", call->arguments[0]);
		return ADMIN_MORE;
	}
	if (run->is_json)
		buffer_append_string(out, run->line_count == 0 ? "[]\n" : "]\n");
	return rc < 0 ? rc : ADMIN_DONE;
}
