#include "chapard/admin_private.h"

#include "base/clock.h"
#include "chapard/json.h"
#include "store/store.h"

/* ---- verify ---- */

struct finding_context {
	struct admin_call *call;
	struct buffer *out;
	const char *account;
};

static void finding_tell(void *context, const char *text)
{
	struct finding_context *finding = context;
	struct admin_call *call = finding->call;

	if (admin_has(call, ADMIN_OPTION_JSON)) {
		json_member_string(finding->out, call->finding_count == 0 ? "[{" : ",{", "account",
			bytes_of_string(finding->account));
		json_member_string(finding->out, ",", "finding", bytes_of_string(text));
		buffer_append_string(finding->out, "}\n");
	} else {
		buffer_printf(finding->out, "%s: %s\n", finding->account, text);
	}
	call->finding_count++;
}

static int verify_finish(struct admin_call *call, struct buffer *out, struct error *error)
{
	if (admin_has(call, ADMIN_OPTION_JSON))
		buffer_append_string(out, call->finding_count == 0 ? "[]\n" : "]\n");
	else
		buffer_printf(
			out, "%llu accounts verified\n", (unsigned long long)call->item_count);
	if (call->finding_count > 0)
		return error_set(error, ERR_CORRUPT, "%llu findings",
			(unsigned long long)call->finding_count);
	return ADMIN_DONE;
}

/* After all accounts: what does not belong to one. */
static int segments_verify(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct finding_context finding = { .call = call, .out = out, .account = "store" };
	int rc;

	if (call->argument_count == 1 || !admin_has(call, ADMIN_OPTION_BODIES))
		return 0;
	rc = store_verify(mail_store(call->admin->mail), finding_tell, &finding, error);
	return rc == ERR_CORRUPT && call->finding_count > 0 ? 0 : rc;
}

static uint64_t amount_of(const struct admin_call *call, const struct account_header *header)
{
	return admin_has(call, ADMIN_OPTION_BODIES) ? header->byte_count : header->message_count;
}

/* Of all accounts, how much there is to be read. */
static int verify_total(struct admin_call *call, struct error *error)
{
	struct account_header header = { 0 };
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->admin->mail, 0, &kv);

	while (rc == 0) {
		rc = account_next(kv, header.number, &header);
		if (rc == 0)
			call->progress_total += amount_of(call, &header);
	}
	mail_read_end(&kv);
	if (rc == ERR_NOT_FOUND)
		return 0;
	return error_set(error, rc, "the accounts cannot be read: %s", error_name(rc));
}

static void verify_progress(
	struct admin_call *call, const struct account_header *header, struct buffer *out)
{
	uint64_t now = clock_monotonic_ms();

	if (call->argument_count == 0 && now >= call->told_at_ms + ADMIN_PROGRESS_MS) {
		call->told_at_ms = now;
		admin_progress(out, call->progress_done, call->progress_total,
			admin_has(call, ADMIN_OPTION_BODIES) ? "bytes" : "messages", "verifying");
	}
	call->progress_done += amount_of(call, header);
}

int admin_verify(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct finding_context finding = { .call = call, .out = out };
	struct account_header header;
	int rc = 0;

	if (call->item_count == 0 && call->argument_count == 0)
		rc = verify_total(call, error);
	if (rc == 0)
		rc = admin_account_next(call, &header, error);
	if (rc == ERR_NOT_FOUND && error->code == 0) {
		rc = segments_verify(call, out, error);
		return rc < 0 ? rc : verify_finish(call, out, error);
	}
	if (rc < 0)
		return rc;
	finding.account = header.name;
	verify_progress(call, &header, out);
	rc = account_verify(call->admin->mail, header.number, admin_has(call, ADMIN_OPTION_BODIES),
		finding_tell, &finding);
	if (rc < 0 && rc != ERR_CORRUPT)
		return error_set(
			error, rc, "%s cannot be verified: %s", header.name, error_name(rc));
	return ADMIN_MORE;
}

/* ---- compact ---- */

int admin_compact(struct admin_call *call, struct buffer *out, struct error *error)
{
	uint64_t freed = 0;
	int rc = store_compact(mail_store(call->admin->mail), error, &freed);

	if (rc < 0)
		return rc;
	buffer_printf(out, "%llu bytes freed\n", (unsigned long long)freed);
	return ADMIN_DONE;
}

/* ---- status ---- */

static int totals_add(struct admin_call *call, struct error *error)
{
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->admin->mail, 0, &kv);

	for (int i = 0; i < ADMIN_LIST_STEP && rc == 0; i++) {
		rc = account_next(kv, call->account, &header);
		if (rc < 0)
			break;
		call->account = header.number;
		call->item_count++;
		call->message_count += header.message_count;
		call->byte_count += header.byte_count;
		call->kept_count += header.kept_count;
		call->kept_bytes += header.kept_bytes;
	}
	mail_read_end(&kv);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		error_set(error, rc, "the accounts cannot be read: %s", error_name(rc));
	return rc;
}

static void status_json(
	struct admin_call *call, const struct admin_origin_health *origin, struct buffer *out)
{
	const struct admin *admin = call->admin;
	struct store_status store;

	json_member_string(out, "{", "node", bytes_of_string(admin->node_name));
	buffer_printf(out, ",\"node-id\":\"%016llx\"", (unsigned long long)mail_node(admin->mail));
	json_member_bool(out, ",", "running", admin->live != NULL);
	json_member_number(out, ",", "accounts", call->item_count);
	json_member_number(out, ",", "messages", call->message_count);
	json_member_number(out, ",", "bytes", call->byte_count);
	json_member_number(out, ",", "deleted-messages-kept", call->kept_count);
	json_member_number(out, ",", "deleted-bytes-kept", call->kept_bytes);
	store_get_status(mail_store(admin->mail), &store);
	json_member_number(out, ",\n\"store\":{", "segments", store.segment_count);
	json_member_number(out, ",", "log-bytes", store.log_bytes);
	json_member_number(out, ",", "body-bytes", store.body_bytes);
	json_member_number(out, ",", "position", store.durable_position);
	json_member_string(out, ",", "failure",
		bytes_of_string(store.failure != 0 ? error_name(store.failure) : ""));
	buffer_append_byte(out, '}');
	admin_withheld_json(call, out);
	if (admin->origin != NULL)
		admin_origin_json(call, origin, out);
	if (admin->live != NULL) {
		buffer_append_string(out, ",\n\"daemon\":");
		admin->live->status(admin->live->context, true, out);
		buffer_append_string(out, ",\n\"channels\":");
		admin->live->channels(admin->live->context, true, out);
	}
	buffer_append_string(out, "}\n");
}

static void status_text(
	struct admin_call *call, const struct admin_origin_health *origin, struct buffer *out)
{
	const struct admin *admin = call->admin;
	struct store_status store;

	buffer_printf(out, "node      %s (id %016llx), %s\n", admin->node_name,
		(unsigned long long)mail_node(admin->mail),
		admin->live != NULL ? "running" : "stopped");
	buffer_printf(out, "accounts  %llu with %llu messages, %llu bytes\n",
		(unsigned long long)call->item_count, (unsigned long long)call->message_count,
		(unsigned long long)call->byte_count);
	buffer_printf(out, "deleted   %llu messages of %llu bytes can be brought back\n",
		(unsigned long long)call->kept_count, (unsigned long long)call->kept_bytes);
	store_get_status(mail_store(admin->mail), &store);
	buffer_printf(out, "store     %llu segments of %llu bytes, %llu of them live bodies%s%s\n",
		(unsigned long long)store.segment_count, (unsigned long long)store.log_bytes,
		(unsigned long long)store.body_bytes,
		store.failure != 0 ? "; writing stopped: " : "",
		store.failure != 0 ? error_name(store.failure) : "");
	admin_withheld_text(call, out);
	if (admin->origin != NULL)
		admin_origin_text(call, origin, out);
	if (admin->live == NULL)
		return;
	admin->live->status(admin->live->context, false, out);
	admin->live->channels(admin->live->context, false, out);
}

/* For monitoring: an error if anything needs attention. */
static int health_check(
	struct admin_call *call, const struct admin_origin_health *origin, struct error *error)
{
	const struct admin *admin = call->admin;
	struct admin_health health = { 0 };
	uint64_t damaged_count = admin_withheld_count(call);
	struct store_status store;

	store_get_status(mail_store(admin->mail), &store);
	if (store.failure != 0)
		return error_set(error, ERR_IO, "writing stopped: %s", error_name(store.failure));
	if (damaged_count > 0)
		return error_set(error, ERR_CORRUPT,
			"the bytes of %llu messages that others need cannot be read here",
			(unsigned long long)damaged_count);
	if (admin->origin != NULL && origin->error[0] != '\0')
		return error_set(error, ERR_CLOSED, "the last sync failed: %s", origin->error);
	if (admin->origin == NULL && admin->live == NULL)
		return error_set(error, ERR_UNAVAILABLE, "the daemon is stopped");
	if (admin->live != NULL)
		admin->live->health(admin->live->context, &health);
	if (health.down_count > 0 || health.failing_count > 0)
		return error_set(error, ERR_CLOSED,
			"%llu channels are down, %llu accounts are set aside",
			(unsigned long long)health.down_count,
			(unsigned long long)health.failing_count);
	return 0;
}

int admin_status(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct admin_origin_health origin = { 0 };
	int rc = totals_add(call, error);

	if (rc == 0)
		return ADMIN_MORE;
	if (rc != ERR_NOT_FOUND)
		return rc;
	rc = call->admin->origin != NULL ? admin_origin_health(call, &origin, error) : 0;
	if (rc < 0)
		return rc;
	if (admin_has(call, ADMIN_OPTION_JSON))
		status_json(call, &origin, out);
	else
		status_text(call, &origin, out);
	rc = admin_has(call, ADMIN_OPTION_CHECK) ? health_check(call, &origin, error) : 0;
	return rc < 0 ? rc : ADMIN_DONE;
}
