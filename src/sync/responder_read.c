/* SYNC requests that only read: POINTS, CHANGES, LACKS, GET. */
#include "sync/responder_private.h"

#include "sync/survey.h"

#define POINTS_SEEN_COUNT_MAX 20000u /* accounts looked at in one request */

/* ---- POINTS ---- */

/* `header` is NULL if there is no such account. */
static int put_point(const struct sync_session *session, struct kv_txn *kv,
	struct dlist_writer *writer, struct bytes name, const struct account_header *header)
{
	struct view view = { .is_whole = true };
	struct digest digest = { 0 };
	int rc = 0;

	if (header != NULL)
		rc = session_view(session, kv, header->number, &view);
	if (header != NULL && rc == 0)
		rc = view_digest(kv, header, &view, &digest);
	view_close(&view);
	if (rc < 0)
		return rc;
	dlist_begin_map(writer);
	dlist_put_text_of(writer, "ACCOUNT", name);
	if (header != NULL) {
		dlist_put_number_of(writer, "SEQUENCE", header->sequence);
		dlist_put_number_of(writer, "HIGHEST", header->highest);
		wire_put_digest_of(writer, "DIGEST", digest);
	}
	dlist_end_map(writer);
	return 0;
}

static int put_named_points(struct sync_call *call, struct kv_txn *kv, const struct dlist *names,
	struct dlist_writer *writer)
{
	const struct sync_rights *rights = &call->session->rights;

	if (names->count > SURVEY_ACCOUNT_COUNT_MAX)
		return error_set(call->error, ERR_TOO_LARGE, "too many accounts in one request");
	for (const struct dlist *at = names->first; at != NULL; at = at->next) {
		char name[ACCOUNT_NAME_SIZE_MAX + 1];
		struct account_header header;
		struct bytes text;
		uint32_t number;
		int rc;

		if (dlist_text(at, &text) < 0 || account_name_normalize(text, name) < 0)
			return error_set(call->error, ERR_INVALID, "bad account name");
		if (!rights_sees_account(rights, name))
			return error_set(call->error, ERR_REFUSED, "this account is not for you");
		rc = account_find(kv, bytes_of_string(name), &number);
		if (rc == 0)
			rc = account_load(kv, number, &header);
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
		rc = put_point(
			call->session, kv, writer, bytes_of_string(name), rc == 0 ? &header : NULL);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The cursor is the last account's number here; to peers it is only a number to give back. */
static int put_all_points(struct sync_call *call, struct kv_txn *kv, uint64_t cursor,
	struct dlist_writer *writer, uint64_t *cursor_r)
{
	const struct sync_rights *rights = &call->session->rights;
	unsigned count = 0, seen_count = 0;

	/* Whom few of many accounts are for comes back for the rest. */
	while (count < SURVEY_ACCOUNT_COUNT_MAX && seen_count++ < POINTS_SEEN_COUNT_MAX) {
		struct account_header header;
		int rc = account_next(kv, (uint32_t)cursor, &header);

		if (rc == ERR_NOT_FOUND) {
			cursor = 0;
			break;
		}
		if (rc < 0)
			return rc;
		cursor = header.number;
		if (!rights_sees_account(rights, header.name))
			continue;
		rc = put_point(call->session, kv, writer, bytes_of_string(header.name), &header);
		if (rc < 0)
			return rc;
		count++;
	}
	*cursor_r = cursor;
	return 0;
}

int respond_points(struct sync_call *call)
{
	const struct dlist *names;
	struct dlist_writer writer = wire_begin(call->answer, DLIST_ANSWER, "POINTS");
	struct kv_txn *kv = NULL;
	uint64_t cursor = 0;
	int rc = dlist_get_list(call->map, "ACCOUNTS", &names);

	if (rc == ERR_NOT_FOUND) {
		names = NULL;
		rc = call_number(call, "CURSOR", UINT32_MAX, &cursor);
	} else if (rc < 0) {
		rc = error_set(call->error, rc, "bad ACCOUNTS");
	}
	if (rc == 0)
		rc = mail_read_begin(call->session->mail, 0, &kv);
	if (rc < 0)
		return rc;
	dlist_put_atom(&writer, "ACCOUNTS");
	dlist_begin_list(&writer);
	if (names != NULL)
		rc = put_named_points(call, kv, names, &writer);
	else
		rc = put_all_points(call, kv, cursor, &writer, &cursor);
	dlist_end_list(&writer);
	if (cursor != 0)
		dlist_put_number_of(&writer, "CURSOR", cursor);
	dlist_end_map(&writer);
	mail_read_end(&kv);
	return rc;
}

/* ---- CHANGES ---- */

int respond_changes(struct sync_call *call)
{
	struct account_header header;
	struct change_set set = { 0 };
	struct dlist_writer writer;
	struct kv_txn *kv = NULL;
	struct view view = { .is_whole = true };
	struct digest digest;
	uint64_t since, common = 0;
	bool is_reset;
	int rc = call_number(call, "SINCE", UINT64_MAX, &since);

	if (rc == 0)
		rc = call_common(call, &common);
	if (rc == 0)
		rc = mail_read_begin(call->session->mail, 0, &kv);
	if (rc == 0)
		rc = call_account(call, kv, &header);
	is_reset = rc == 0 && since > header.sequence;
	if (rc == 0)
		rc = session_view(call->session, kv, header.number, &view);
	if (rc == 0)
		rc = view_digest(kv, &header, &view, &digest);
	if (rc == 0)
		rc = view_changes(kv, &header, &view, is_reset ? 0 : since, is_reset ? 0 : common,
			CHANGES_COUNT_MAX, call->arena, &set);
	view_close(&view);
	mail_read_end(&kv);
	if (rc == 0) {
		writer = wire_begin(call->answer, DLIST_ANSWER, "CHANGES");
		if (is_reset)
			dlist_put_number_of(&writer, "RESET", 1);
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
		rc = call_account(call, kv, &header);
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

/* Bodies are asked for by what shows them, so that a GUID alone opens nothing (P9). */
static int put_body(struct sync_call *call, struct kv_txn *kv, const struct view *view,
	struct stamp instance, struct dlist_writer *writer, struct buffer *body)
{
	struct message_record message;
	int rc = account_get_message(kv, view->account, instance, call->arena, &message);

	if (rc == ERR_NOT_FOUND || (rc == 0 && message_is_shown(&message) &&
					   !session_may_see(call->session, view, message.mailbox)))
		return 0;
	buffer_clear(body);
	if (rc == 0)
		rc = message_body(call->session->mail, kv, &message.guid, body);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	dlist_put_hex(writer, bytes_of(message.guid.bytes, sizeof(message.guid.bytes)));
	dlist_put_literal(writer, buffer_bytes(body));
	return 0;
}

int respond_get(struct sync_call *call)
{
	struct dlist_writer writer = wire_begin(call->answer, DLIST_ANSWER, "BODIES");
	size_t begin = call->answer->len;
	struct account_header header;
	const struct dlist *instances;
	struct buffer body = { 0 };
	struct view view = { .is_whole = true };
	struct kv_txn *kv = NULL;
	int rc = dlist_get_list(call->map, "INSTANCES", &instances);

	if (rc < 0)
		return error_set(call->error, ERR_INVALID, "bad or missing INSTANCES");
	rc = mail_read_begin(call->session->mail, 0, &kv);
	if (rc == 0)
		rc = call_account(call, kv, &header);
	if (rc == 0)
		rc = session_view(call->session, kv, header.number, &view);
	dlist_put_atom(&writer, "BODIES");
	dlist_begin_list(&writer);
	for (const struct dlist *at = instances->first; at != NULL && rc == 0; at = at->next) {
		struct stamp instance;

		if (wire_stamp(at, &instance) < 0)
			rc = error_set(call->error, ERR_INVALID, "bad instance");
		else if (call->answer->len - begin < SYNC_BATCH_SIZE)
			rc = put_body(call, kv, &view, instance, &writer, &body);
	}
	dlist_end_list(&writer);
	dlist_end_map(&writer);
	view_close(&view);
	mail_read_end(&kv);
	buffer_deinit(&body);
	return rc;
}
