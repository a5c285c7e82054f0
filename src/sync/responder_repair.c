/* SYNC requests that find out where two copies differ: RANGE and RECORDS. */
#include "sync/responder_private.h"

#include "sync/repair.h"

/* ---- RANGE ---- */

/* Every mailbox with its digest and count, and the same of all registers. */
static int answer_outline(struct sync_call *call, struct kv_txn *kv,
	const struct account_header *header, struct dlist_writer *writer)
{
	struct change_set set = { 0 };
	struct view view;
	struct digest digest;
	uint64_t count;
	int rc = call_view(call, kv, header->number, &view);

	if (rc == 0)
		rc = repair_collect_mailboxes(kv, &view, call->arena, &set);
	if (rc == 0)
		rc = repair_sum_registers(kv, &view, call->arena, &digest, &count);
	view_close(&view);
	if (rc == 0) {
		wire_put_changes(writer, &set);
		dlist_put_atom(writer, "POINTS");
		dlist_begin_list(writer);
		for (size_t i = 0; i < set.mailbox_count; i++) {
			wire_put_digest(writer, set.mailboxes[i].digest);
			dlist_put_number(writer, set.mailboxes[i].message_count);
		}
		dlist_end_list(writer);
		wire_put_digest_of(writer, "REGISTERDIGEST", digest);
		dlist_put_number_of(writer, "REGISTERCOUNT", count);
	}
	change_set_deinit(&set);
	return rc;
}

struct uid_span {
	uint32_t first, last;
};

static int read_spans(
	struct sync_call *call, struct id128 *mailbox_r, struct uid_span **spans_r, size_t *count_r)
{
	const struct dlist *list, *at;
	struct uid_span *spans;

	if (wire_get_id(call->map, "MAILBOX", mailbox_r) < 0)
		return error_set(call->error, ERR_INVALID, "bad MAILBOX");
	if (dlist_get_list(call->map, "RANGES", &list) < 0 || list->count % 2 != 0)
		return error_set(call->error, ERR_INVALID, "bad or missing RANGES");
	if (list->count / 2 > RANGE_COUNT_MAX)
		return error_set(call->error, ERR_TOO_LARGE, "too many ranges in one request");
	*count_r = list->count / 2;
	spans = arena_alloc(call->arena, (*count_r + 1) * sizeof(*spans));
	at = list->first;
	for (size_t i = 0; i < *count_r; i++) {
		uint64_t first, last;

		if (dlist_number(at, UINT32_MAX, &first) < 0 ||
			dlist_number(at->next, UINT32_MAX, &last) < 0)
			return error_set(call->error, ERR_INVALID, "bad range");
		spans[i] = (struct uid_span){ (uint32_t)first, (uint32_t)last };
		at = at->next->next;
	}
	*spans_r = spans;
	return 0;
}

static int answer_ranges(struct sync_call *call, struct kv_txn *kv,
	const struct account_header *header, struct dlist_writer *writer)
{
	struct uid_span *spans;
	struct view view = { .is_whole = true };
	struct id128 mailbox;
	size_t count;
	int rc = read_spans(call, &mailbox, &spans, &count);

	if (rc == 0)
		rc = call_view_of(call, kv, header->number, mailbox, &view);
	if (rc == 0 && !view_has(&view, mailbox))
		mailbox = (struct id128){ { 0 } }; /* as if it was not there */
	if (rc == 0) {
		dlist_put_atom(writer, "POINTS");
		dlist_begin_list(writer);
	}
	for (size_t i = 0; rc == 0 && i < count; i++) {
		struct digest digest;
		uint32_t messages;

		rc = account_range_digest(kv, header->number, mailbox, spans[i].first,
			spans[i].last, &digest, &messages);
		if (rc < 0)
			break;
		view_withheld_subtract(
			&view, mailbox, spans[i].first, spans[i].last, &digest, &messages);
		wire_put_digest(writer, digest);
		dlist_put_number(writer, messages);
	}
	if (rc == 0)
		dlist_end_list(writer);
	view_close(&view);
	return rc;
}

int respond_range(struct sync_call *call)
{
	struct dlist_writer writer = wire_begin(call->answer, DLIST_ANSWER, "RANGE");
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->session->mail, 0, &kv);

	if (rc == 0)
		rc = call_whole_account(call, kv, &header);
	if (rc == 0) {
		dlist_put_number_of(&writer, "SEQUENCE", header.sequence);
		dlist_put_number_of(&writer, "HIGHEST", header.highest);
		if (dlist_get(call->map, "MAILBOX") == NULL)
			rc = answer_outline(call, kv, &header, &writer);
		else
			rc = answer_ranges(call, kv, &header, &writer);
	}
	dlist_end_map(&writer);
	mail_read_end(&kv);
	return rc;
}

/* ---- RECORDS ---- */

static int collect_spans(struct sync_call *call, struct kv_txn *kv, uint32_t account,
	uint64_t since, struct change_set *set)
{
	struct uid_span *spans;
	struct view view = { .is_whole = true };
	struct id128 mailbox;
	size_t count = 0;
	int rc = read_spans(call, &mailbox, &spans, &count);

	if (rc == 0)
		rc = call_view_of(call, kv, account, mailbox, &view);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		rc = repair_collect_messages(
			kv, &view, mailbox, spans[i].first, spans[i].last, since, call->arena, set);
		if (set->message_count > RECORDS_MESSAGE_COUNT_MAX)
			rc = error_set(
				call->error, ERR_TOO_LARGE, "too many messages in these ranges");
	}
	view_close(&view);
	return rc;
}

static int collect_instances(struct sync_call *call, struct kv_txn *kv, const struct view *view,
	uint64_t since, struct change_set *set)
{
	const struct dlist *list;
	int rc = dlist_get_list(call->map, "INSTANCES", &list);

	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0 || list->count > INSTANCE_COUNT_MAX)
		return error_set(call->error, ERR_INVALID, "bad INSTANCES, or too many");
	for (const struct dlist *at = list->first; at != NULL && rc == 0; at = at->next) {
		struct stamp instance;

		if (wire_stamp(at, &instance) < 0)
			return error_set(call->error, ERR_INVALID, "bad instance");
		rc = repair_collect_instance(kv, view, instance, since, call->arena, set);
	}
	return rc;
}

int respond_records(struct sync_call *call)
{
	struct dlist_writer writer = wire_begin(call->answer, DLIST_ANSWER, "RECORDS");
	struct account_header header;
	struct change_set set = { 0 };
	struct view view = { .is_whole = true };
	struct kv_txn *kv = NULL;
	uint64_t since;
	int rc = call_number(call, "SINCE", UINT64_MAX, &since);

	if (rc == 0)
		rc = mail_read_begin(call->session->mail, 0, &kv);
	if (rc == 0)
		rc = call_whole_account(call, kv, &header);
	if (rc == 0 && dlist_get(call->map, "MAILBOX") != NULL)
		rc = collect_spans(call, kv, header.number, since, &set);
	if (rc == 0)
		rc = call_view(call, kv, header.number, &view);
	if (rc == 0)
		rc = collect_instances(call, kv, &view, since, &set);
	if (rc == 0 && dlist_get(call->map, "REGISTERS") != NULL)
		rc = repair_collect_registers(kv, &view, since, call->arena, &set);
	view_close(&view);
	mail_read_end(&kv);
	if (rc == 0) {
		dlist_put_number_of(&writer, "SEQUENCE", header.sequence);
		dlist_put_number_of(&writer, "HIGHEST", header.highest);
		wire_put_changes(&writer, &set);
		dlist_end_map(&writer);
	}
	change_set_deinit(&set);
	return rc;
}
