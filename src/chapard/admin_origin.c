/* What a clone does with its origin, as admin commands. */
#include "chapard/admin_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "chapard/json.h"
#include "chapard/origin.h"

#include <stdlib.h>

struct origin_call {
	struct origin *origin;
	struct buffer told; /* since the last step */
	bool is_json;
	uint64_t line_count;
};

static void call_free(void *context)
{
	struct origin_call *run = context;

	origin_free(&run->origin);
	buffer_deinit(&run->told);
	free(run);
}

static void tell_json(
	struct origin_call *run, const char *account, const struct exchange_result *result)
{
	struct buffer *out = &run->told;

	json_member_string(
		out, run->line_count == 0 ? "[{" : ",{", "account", bytes_of_string(account));
	json_member_number(out, ",", "received-records", result->received_count);
	json_member_number(out, ",", "received-messages", result->received_body_count);
	json_member_number(out, ",", "sent-records", result->sent_count);
	json_member_number(out, ",", "sent-messages", result->sent_body_count);
	json_member_number(out, ",", "conflicts", result->conflict_count);
	json_member_number(out, ",", "repairs", result->repair_count);
	json_member_string(out, ",", "error",
		bytes_of_string(result->error.code != 0 ? result->error.text : ""));
	buffer_append_string(out, "}\n");
}

static void tell_text(
	struct origin_call *run, const char *account, const struct exchange_result *result)
{
	struct buffer *out = &run->told;

	buffer_printf(out,
		"%s: received %u changes with %u messages, sent %u changes with %u messages",
		account, result->received_count, result->received_body_count, result->sent_count,
		result->sent_body_count);
	if (result->conflict_count > 0)
		buffer_printf(out, "; %u conflicts resolved (chapar conflict list)",
			result->conflict_count);
	if (result->repair_count > 0)
		buffer_append_string(out, "; the copies differed and were compared");
	if (result->error.code != 0)
		buffer_printf(out, "; not done: %s", result->error.text);
	buffer_append_byte(out, '\n');
}

static void tell(void *context, const char *account, const struct exchange_result *result)
{
	struct origin_call *run = context;

	if (run->is_json)
		tell_json(run, account, result);
	else
		tell_text(run, account, result);
	run->line_count++;
}

static void tell_connection(void *context, const struct error *error)
{
	struct origin_call *run = context;

	if (run->is_json)
		return;
	if (error->code == 0)
		buffer_append_string(&run->told, "connected again\n");
	else
		buffer_printf(&run->told, "not connected: %s\n", error->text);
}

static void tell_kept(void *context, const char *account, const char *mailbox, const char *kept_in,
	const struct error *why)
{
	struct origin_call *run = context;
	struct buffer *out = &run->told;

	if (run->is_json) {
		json_member_string(out, run->line_count == 0 ? "[{" : ",{", "account",
			bytes_of_string(account));
		json_member_string(out, ",", "mailbox", bytes_of_string(mailbox));
		json_member_string(out, ",", "kept-in", bytes_of_string(kept_in));
		json_member_string(out, ",", "error", bytes_of_string(why->text));
		buffer_append_string(out, "}\n");
	} else {
		buffer_printf(out,
			"%s: a message that was appended to %s here is kept in your own mailbox "
			"\"%s\": %s\n",
			account, mailbox, kept_in, why->text);
	}
	run->line_count++;
}

static int mode_of(const char *word, enum origin_mode *mode_r, struct error *error)
{
	static const char *const words[] = { "sync", "pull", "push" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i], word) == 0) {
			*mode_r = (enum origin_mode)i;
			return 0;
		}
	return error_set(error, ERR_INVALID, "no such way to sync: %.20s", word);
}

static int begin(struct admin_call *call, struct error *error)
{
	struct origin_call *run;
	struct origin_options options = { .config = call->admin->origin };
	int rc;

	if (call->admin->origin == NULL)
		return error_set(error, ERR_INVALID, "this is no clone: it has no origin");
	rc = mode_of(call->arguments[0], &options.mode, error);
	if (rc < 0)
		return rc;
	run = mem_zalloc(sizeof(*run));
	run->is_json = admin_has(call, ADMIN_OPTION_JSON);
	options.password = call->arguments[1];
	options.is_watch = call->argument_count == 3;
	options.tell = tell;
	options.tell_connection = tell_connection;
	options.tell_kept = tell_kept;
	options.context = run;
	run->origin = origin_new(call->admin->mail, &options);
	call->state = run;
	call->state_free = call_free;
	return 0;
}

static void progress_tell(struct admin_call *call, struct buffer *out)
{
	struct origin_call *run = call->state;
	struct origin_progress progress;
	uint64_t now = clock_monotonic_ms();

	origin_get_progress(run->origin, &progress);
	if (progress.account == NULL || now < call->told_at_ms + ADMIN_PROGRESS_MS)
		return;
	call->told_at_ms = now;
	admin_progress(out, progress.bodies.byte_count, progress.bodies.byte_total, "bytes",
		progress.account);
}

static void end(const struct origin_call *run, struct buffer *out)
{
	if (run->is_json)
		buffer_append_string(out, run->line_count == 0 ? "[]\n" : "]\n");
	else if (run->line_count == 0)
		buffer_append_string(out, "nothing new\n");
}

int admin_origin_sync(struct admin_call *call, struct buffer *out, struct error *error)
{
	const struct admin_live *live = call->admin->live;
	int rc = call->state == NULL ? begin(call, error) : 0;
	struct origin_call *run = call->state;

	if (rc == 0 && live != NULL && live->is_stopping(live->context))
		rc = error_set(error, ERR_CLOSED, "it ends");
	if (rc < 0)
		return rc;
	rc = origin_step(run->origin, error);
	buffer_append_bytes(out, buffer_bytes(&run->told));
	buffer_clear(&run->told);
	if (rc == ORIGIN_MORE) {
		progress_tell(call, out);
		return ADMIN_MORE;
	}
	if (rc == ORIGIN_DONE || run->is_json)
		end(run, out);
	return rc < 0 ? rc : ADMIN_DONE;
}

/* ---- how it is ---- */

static int pending_count(struct kv_txn *kv, uint64_t peer, uint64_t *count_r)
{
	struct account_header header = { 0 };
	int rc = account_next(kv, 0, &header);

	*count_r = 0;
	while (rc == 0) {
		uint64_t count;

		rc = origin_count_pending(kv, header.number, peer, &count);
		if (rc == 0) {
			*count_r += count;
			rc = account_next(kv, header.number, &header);
		}
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int admin_origin_health(
	struct admin_call *call, struct admin_origin_health *health_r, struct error *error)
{
	struct origin_state state = { 0 };
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->admin->mail, mail_position(call->admin->mail), &kv);

	*health_r = (struct admin_origin_health){ 0 };
	if (rc == 0)
		rc = origin_state_get(kv, &state);
	if (rc == 0)
		rc = pending_count(kv, state.peer, &health_r->pending_count);
	mail_read_end(&kv);
	if (rc < 0)
		return error_set(error, rc, "the clone cannot be read: %s", error_name(rc));
	health_r->attempt_ms = state.attempt_ms;
	health_r->success_ms = state.success_ms;
	memcpy(health_r->error, state.error, sizeof(health_r->error));
	return 0;
}

void admin_origin_json(
	struct admin_call *call, const struct admin_origin_health *health, struct buffer *out)
{
	const struct config_origin *origin = call->admin->origin;

	json_member_string(
		out, ",\n\"origin\":{", "address", bytes_of_string(origin->address.text));
	json_member_string(out, ",", "user", bytes_of_string(origin->user));
	json_member_number(out, ",", "last-attempt-ms", health->attempt_ms);
	json_member_number(out, ",", "last-success-ms", health->success_ms);
	json_member_string(out, ",", "last-error", bytes_of_string(health->error));
	json_member_number(out, ",", "pending-changes", health->pending_count);
	buffer_append_byte(out, '}');
}

void admin_origin_text(
	struct admin_call *call, const struct admin_origin_health *health, struct buffer *out)
{
	const struct config_origin *origin = call->admin->origin;
	uint64_t now_ms = clock_now_ms(clock_system());

	buffer_printf(out, "origin    %s at %s: ", origin->user, origin->address.text);
	if (health->success_ms == 0)
		buffer_append_string(out, "never synced");
	else
		buffer_printf(out, "synced %llu s ago",
			now_ms < health->success_ms
				? 0
				: (unsigned long long)(now_ms - health->success_ms) / 1000);
	buffer_printf(out, "; %llu changes here are not there yet\n",
		(unsigned long long)health->pending_count);
	if (health->error[0] != '\0')
		buffer_printf(out, "          last error: %s\n", health->error);
}

int admin_origin_met(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct origin_state state = { 0 };
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->admin->mail, mail_position(call->admin->mail), &kv);

	(void)out;
	if (rc == 0)
		rc = origin_state_get(kv, &state);
	mail_read_end(&kv);
	if (rc == 0 && state.peer == 0)
		rc = error_set(error, ERR_NOT_FOUND, "nothing came from the origin yet");
	return rc < 0 ? rc : ADMIN_DONE;
}
