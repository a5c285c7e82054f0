/* SYNC requests that only read: CHANGES, LACKS, GET. */
#include "sync/responder_private.h"

#include "sync/fill.h"

/* ---- CHANGES ---- */

/* Of a part of a first copy: which mailboxes are known already, and how many records are wanted. */
struct part_wanted {
	bool is_part;
	uint64_t mailboxes, count;
};

static int read_part(struct sync_call *call, struct part_wanted *wanted_r)
{
	int rc = dlist_get_number(call->map, "MAILBOXES", UINT64_MAX, &wanted_r->mailboxes);

	wanted_r->is_part = rc == 0;
	wanted_r->count = CHANGES_COUNT_MAX;
	if (rc == 0)
		rc = dlist_get_number(call->map, "MOST", UINT32_MAX, &wanted_r->count);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0 || wanted_r->count == 0)
		return error_set(call->error, ERR_INVALID, "bad MAILBOXES or MOST");
	if (wanted_r->count > CHANGES_COUNT_MAX)
		wanted_r->count = CHANGES_COUNT_MAX;
	return 0;
}

int respond_changes(struct sync_call *call)
{
	struct account_header header;
	struct part_wanted wanted = { 0 };
	struct change_set set = { 0 };
	struct dlist_writer writer;
	struct kv_txn *kv = NULL;
	struct view view = { .is_whole = true };
	struct digest digest = { 0 };
	uint64_t since, common = 0;
	bool is_reset;
	int rc = call_number(call, "SINCE", UINT64_MAX, &since);

	if (rc == 0)
		rc = call_common(call, &common);
	if (rc == 0)
		rc = read_part(call, &wanted);
	if (rc == 0)
		rc = mail_read_begin(call->session->mail, 0, &kv);
	if (rc == 0)
		rc = call_account(call, kv, &header);
	is_reset = rc == 0 && (since > header.sequence || (since != 0 && since < header.begun));
	if (rc == 0 && common < header.begun)
		common = 0;
	if (rc == 0)
		rc = call_view(call, kv, header.number, &view);
	if (rc == 0)
		rc = session_highest(kv, &view, call->arena, &header);
	wanted.is_part = wanted.is_part && !view.is_foreign && !is_reset;
	if (rc == 0 && wanted.is_part)
		rc = fill_read(kv, &header, &view, since, wanted.mailboxes, wanted.count,
			call->arena, &set);
	else if (rc == 0)
		rc = view_changes(kv, &header, &view, is_reset ? 0 : since, is_reset ? 0 : common,
			CHANGES_COUNT_MAX, call->arena, &set);
	/* A foreign one costs reading all of it; of the parts the last one's counts. */
	if (rc == 0 && (!view.is_foreign || set.sequence == header.sequence))
		rc = view_digest(kv, &header, &view, &digest);
	if (rc == 0)
		view_leave_out(&view, &set);
	view_close(&view);
	mail_read_end(&kv);
	if (rc == 0) {
		writer = wire_begin(call->answer, DLIST_ANSWER, "CHANGES");
		if (is_reset)
			dlist_put_number_of(&writer, "RESET", 1);
		if (wanted.is_part)
			dlist_put_number_of(&writer, "FILL", header.sequence);
		answer_changes(&writer, &header, digest, &set);
		dlist_end_map(&writer);
	}
	change_set_deinit(&set);
	return rc;
}

/* ---- LACKS ---- */

int respond_lacks(struct sync_call *call)
{
	struct dlist_writer writer = wire_begin(call->answer, DLIST_ANSWER, "LACKS");
	struct account_header header = { 0 };
	const struct dlist *guids;
	struct kv_txn *kv = NULL;
	int rc = dlist_get_list(call->map, "GUIDS", &guids);

	if (rc < 0)
		return error_set(call->error, ERR_INVALID, "bad or missing GUIDS");
	if (guids->count > INSTANCE_COUNT_MAX)
		return error_set(call->error, ERR_TOO_LARGE, "too many GUIDs in one request");
	rc = mail_read_begin(call->session->mail, 0, &kv);
	if (rc == 0)
		rc = call_any_account(call, kv, &header);
	if (rc == ERR_NOT_FOUND)
		rc = 0; /* an account that is yet to be made has sequence 0 */
	dlist_put_number_of(&writer, "SEQUENCE", header.sequence);
	dlist_put_atom(&writer, "GUIDS");
	dlist_begin_list(&writer);
	for (const struct dlist *at = guids->first; at != NULL && rc == 0; at = at->next) {
		struct guid guid;

		if (wire_guid(at, &guid) < 0)
			rc = error_set(call->error, ERR_INVALID, "bad GUID");
		else if (!session_has_body(call->session, kv, &guid))
			dlist_put_hex(&writer, bytes_of(guid.bytes, sizeof(guid.bytes)));
	}
	dlist_end_list(&writer);
	dlist_end_map(&writer);
	mail_read_end(&kv);
	return rc;
}

/* ---- GET ---- */

struct getting {
	struct sync_call *call;
	struct kv_txn *kv;
	struct view view;
	struct dlist_writer writer;
	struct buffer body;
	struct stamp *damaged; /* shown here, but their bytes cannot be read */
	size_t damaged_count;
	/* Who asks lacks the messages that came since our sequence `common`, and takes in what is
	 * left (withheld.h). Else he is only told. */
	bool is_lacking;
	uint64_t common;
};

/* What he has already is not withheld, nor is anything of another's account: he is told which it
 * is. */
static int note_damaged(struct getting *getting, const struct message_record *message, int code)
{
	struct error *error = getting->call->error;

	if (code == ERR_NOT_FOUND && !message_is_shown(message))
		return 0; /* it was expunged, and is not kept */
	if (!message_is_shown(message) || getting->view.is_foreign ||
		(getting->is_lacking && message->placed_sequence <= getting->common))
		return error_set(error, ERR_CORRUPT,
			"the bytes of message %llu.%016llx are damaged",
			(unsigned long long)message->instance.modseq,
			(unsigned long long)message->instance.node);
	getting->damaged[getting->damaged_count++] = message->instance;
	return 0;
}

/* Bodies are asked for by what shows them, so that a GUID alone opens nothing (P9). */
static int put_body(struct getting *getting, struct stamp instance)
{
	struct sync_call *call = getting->call;
	const struct view *view = &getting->view;
	struct message_record message;
	int rc = account_get_message(getting->kv, view->account, instance, call->arena, &message);

	/* What is gone is asked for by a peer that sees where it was. */
	if (rc == 0)
		rc = session_may_see(call->session, getting->kv, view,
			message_is_shown(&message) || view->is_foreign ? message.mailbox
								       : message.gone_from,
			call->arena);
	if (rc <= 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	buffer_clear(&getting->body);
	rc = message_body(call->session->mail, getting->kv, &message.guid, &getting->body);
	if (rc == ERR_NOT_FOUND || rc == ERR_CORRUPT)
		return note_damaged(getting, &message, rc);
	if (rc < 0)
		return rc;
	dlist_put_hex(&getting->writer, bytes_of(message.guid.bytes, sizeof(message.guid.bytes)));
	dlist_put_literal(&getting->writer, buffer_bytes(&getting->body));
	return 0;
}

static int put_bodies(struct getting *getting, const struct dlist *instances)
{
	struct sync_call *call = getting->call;
	size_t begin = call->answer->len;
	int rc = 0;

	dlist_put_atom(&getting->writer, "BODIES");
	dlist_begin_list(&getting->writer);
	for (const struct dlist *at = instances->first; at != NULL && rc == 0; at = at->next) {
		struct stamp instance;

		if (wire_stamp(at, &instance) < 0)
			rc = error_set(call->error, ERR_INVALID, "bad instance");
		else if (call->answer->len - begin < SYNC_BATCH_SIZE)
			rc = put_body(getting, instance);
	}
	dlist_end_list(&getting->writer);
	return rc;
}

/* They are withheld before the peer hears of it: its next CHANGES is without them. */
static int put_damaged(struct getting *getting)
{
	struct sync_call *call = getting->call;
	int rc;

	if (getting->damaged_count == 0)
		return 0;
	rc = getting->is_lacking ? withheld_note(call->session->mail, getting->view.account,
					   session_withheld_as(call->session), getting->common,
					   getting->damaged, getting->damaged_count, call->error)
				 : 0;
	dlist_put_atom(&getting->writer, "DAMAGED");
	dlist_begin_list(&getting->writer);
	for (size_t i = 0; i < getting->damaged_count; i++)
		wire_put_stamp(&getting->writer, getting->damaged[i]);
	dlist_end_list(&getting->writer);
	return rc;
}

int respond_get(struct sync_call *call)
{
	struct getting getting = { .call = call,
		.view = { .is_whole = true },
		.writer = wire_begin(call->answer, DLIST_ANSWER, "BODIES") };
	struct account_header header;
	const struct dlist *instances;
	int rc = dlist_get_list(call->map, "INSTANCES", &instances);

	if (rc < 0)
		return error_set(call->error, ERR_INVALID, "bad or missing INSTANCES");
	if (instances->count > INSTANCE_COUNT_MAX)
		return error_set(call->error, ERR_TOO_LARGE, "too many instances in one request");
	rc = call_common(call, &getting.common);
	if (rc < 0)
		return rc;
	getting.is_lacking = dlist_get(call->map, "COMMON") != NULL;
	getting.damaged = arena_alloc(call->arena, (instances->count + 1) * sizeof(struct stamp));
	rc = mail_read_begin(call->session->mail, 0, &getting.kv);
	if (rc == 0)
		rc = call_account(call, getting.kv, &header);
	if (rc == 0)
		rc = session_view(call->session, getting.kv, header.number, &getting.view);
	if (rc == 0)
		rc = put_bodies(&getting, instances);
	mail_read_end(&getting.kv);
	if (rc == 0)
		rc = put_damaged(&getting);
	dlist_end_map(&getting.writer);
	view_close(&getting.view);
	buffer_deinit(&getting.body);
	return rc;
}
