/*
 * POINTS: which accounts there are for the peer, and how far they are.
 *
 * A user who asks for OTHERS is told of other accounts too, if he may see a mailbox in them: which
 * ones, with his rights to each. Of these neither DIGEST nor HIGHEST is told, as it would cost
 * reading the mailboxes; SEQUENCE says whether anything may have changed.
 */
#include "sync/responder_private.h"

#include "sync/fill.h"
#include "sync/survey.h"

#include "base/clock.h"

#define POINTS_SEEN_COUNT_MAX 20000u /* accounts looked at in one request */

/* Whether the peer may send its first copy in parts, and where it is. */
static int put_fill(const struct sync_session *session, struct kv_txn *kv,
	struct dlist_writer *writer, const struct account_header *header)
{
	struct fill_driver driver = { .source = session->peer,
		.view = view_filter_key(&session->filter) };
	uint64_t reached = 0, other = 0;
	int rc = 0;

	if (!session->rights.is_full || session->rights.is_read_only ||
		session_is_limited(session) || (header != NULL && header->hold == ACCOUNT_AWAY))
		return 0;
	if (header != NULL && header->hold == ACCOUNT_FILLING)
		rc = fill_may_go_on(kv, header->number, driver,
			clock_now_ms(mail_clock(session->mail)), &reached, &other);
	if (rc == 0)
		dlist_put_number_of(writer, "FILL", reached);
	if (other != 0)
		wire_put_node_of(writer, "FILLING", other);
	return rc == ERR_UNAVAILABLE ? 0 : rc;
}

/* One that is being filled, or away, is as if it was not there, for who does not know better. */
static bool is_told(const struct account_header *header)
{
	return header != NULL && header->hold != ACCOUNT_FILLING && header->hold != ACCOUNT_AWAY;
}

/* `header` is NULL if there is no such account. */
static int put_point(const struct sync_session *session, struct kv_txn *kv,
	struct dlist_writer *writer, struct bytes name, const struct account_header *header)
{
	struct view view = { .is_whole = true };
	struct digest digest = { 0 };
	uint64_t away = 0;
	int rc = header != NULL ? away_node(kv, header, &away) : 0;

	if (rc == 0 && is_told(header))
		rc = session_view(session, kv, header->number, &view);
	if (is_told(header) && rc == 0)
		rc = view_digest(kv, header, &view, &digest);
	view_close(&view);
	if (rc < 0)
		return rc;
	dlist_begin_map(writer);
	dlist_put_text_of(writer, "ACCOUNT", name);
	if (is_told(header)) {
		dlist_put_number_of(writer, "SEQUENCE", header->sequence);
		dlist_put_number_of(writer, "HIGHEST", header->highest);
		wire_put_digest_of(writer, "DIGEST", digest);
	}
	if (is_told(header) && header->hold == ACCOUNT_RETURNING)
		dlist_put_number_of(writer, "RETURNING", 1);
	if (away != 0)
		wire_put_node_of(writer, "AWAY", away);
	else if (!is_told(header) || fill_is_pristine(header))
		rc = put_fill(session, kv, writer, header);
	dlist_end_map(writer);
	return rc;
}

/* `list` are the mailboxes of one account. */
static int put_foreign_point(struct kv_txn *kv, struct dlist_writer *writer,
	const struct foreign_mailbox *list, size_t count)
{
	struct account_header header;
	struct buffer letters = { 0 };
	bool is_shared = false;
	int rc = account_load(kv, list[0].account, &header);

	if (rc == 0)
		rc = account_is_shared(kv, list[0].account, &is_shared);
	if (rc < 0)
		return rc;
	dlist_begin_map(writer);
	dlist_put_text_of(writer, "ACCOUNT", bytes_of_string(header.name));
	dlist_put_number_of(writer, "SEQUENCE", header.sequence);
	if (is_shared)
		dlist_put_number_of(writer, "SHARED", 1);
	dlist_put_atom(writer, "RIGHTS");
	dlist_begin_list(writer);
	for (size_t i = 0; i < count; i++) {
		buffer_clear(&letters);
		acl_write_rights(&letters, list[i].rights);
		dlist_put_hex(writer, bytes_of(list[i].id.bytes, sizeof(list[i].id.bytes)));
		dlist_put_text(writer, buffer_bytes(&letters));
	}
	dlist_end_list(writer);
	dlist_end_map(writer);
	buffer_deinit(&letters);
	return 0;
}

static int put_named_point(
	struct sync_call *call, struct kv_txn *kv, const char *name, struct dlist_writer *writer)
{
	struct foreign_list list = { 0 };
	struct account_header header;
	uint32_t number;
	int rc = call_find(call, kv, name, &number);

	if (rc == ERR_NOT_FOUND)
		return put_point(call->session, kv, writer, bytes_of_string(name), NULL);
	if (rc < 0)
		return rc;
	rc = session_is_foreign(call->session, kv, number);
	if (rc > 0) {
		rc = session_foreign(call->session, kv, number, &list);
		if (rc == 0 && list.count > 0)
			rc = put_foreign_point(kv, writer, list.list, list.count);
		foreign_list_deinit(&list);
		return rc;
	}
	if (rc == 0)
		rc = account_load(kv, number, &header);
	return rc < 0 ? rc : put_point(call->session, kv, writer, bytes_of_string(name), &header);
}

static int put_named_points(struct sync_call *call, struct kv_txn *kv, const struct dlist *names,
	struct dlist_writer *writer)
{
	int rc = 0;

	if (names->count > SURVEY_ACCOUNT_COUNT_MAX)
		return error_set(call->error, ERR_TOO_LARGE, "too many accounts in one request");
	for (const struct dlist *at = names->first; at != NULL && rc == 0; at = at->next) {
		char name[ACCOUNT_NAME_SIZE_MAX + 1];
		struct bytes text;

		if (dlist_text(at, &text) < 0 || account_name_normalize(text, name) < 0)
			return error_set(call->error, ERR_INVALID, "bad account name");
		rc = put_named_point(call, kv, name, writer);
	}
	return rc;
}

/* The cursor is the last account's number here; to peers it is only a number to give back. */
static int put_all_points(struct sync_call *call, struct kv_txn *kv, uint64_t cursor,
	struct dlist_writer *writer, uint64_t *cursor_r)
{
	const struct sync_rights *rights = &call->session->rights;
	unsigned count = 0, seen_count = 0;
	uint64_t count_max = SURVEY_ACCOUNT_COUNT_MAX;

	(void)dlist_get_number(call->map, "COUNT", SURVEY_ALL_COUNT_MAX, &count_max);
	/* Whom few of many accounts are for comes back for the rest. */
	while (count < count_max && seen_count++ < POINTS_SEEN_COUNT_MAX) {
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

static int put_own_point(struct sync_call *call, struct kv_txn *kv, struct dlist_writer *writer)
{
	const char *name = call->session->rights.account;
	struct account_header header;
	uint32_t number;
	int rc = account_find(kv, bytes_of_string(name), &number);

	if (rc == 0)
		rc = account_load(kv, number, &header);
	if (rc == 0)
		rc = put_point(call->session, kv, writer, bytes_of_string(name), &header);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* His own comes first, then the others in order. */
static int put_users_points(struct sync_call *call, struct kv_txn *kv, uint64_t cursor,
	struct dlist_writer *writer, uint64_t *cursor_r)
{
	uint64_t wants_others = 0;
	struct foreign_list list = { 0 };
	unsigned count = 0;
	size_t next;
	int rc = cursor == 0 ? put_own_point(call, kv, writer) : 0;

	(void)dlist_get_number(call->map, "OTHERS", 1, &wants_others);
	if (rc == 0 && wants_others != 0)
		rc = session_foreign(call->session, kv, 0, &list);
	*cursor_r = 0;
	for (size_t i = 0; i < list.count && rc == 0; i = next) {
		uint32_t account = list.list[i].account;

		for (next = i + 1; next < list.count && list.list[next].account == account; next++)
			;
		if (account <= cursor)
			continue;
		rc = put_foreign_point(kv, writer, &list.list[i], next - i);
		if (++count == SURVEY_ACCOUNT_COUNT_MAX - 1 && next < list.count) {
			*cursor_r = account;
			break;
		}
	}
	foreign_list_deinit(&list);
	return rc;
}

/* What he knows them by. */
static void put_prefixes(const struct sync_call *call, struct dlist_writer *writer)
{
	const struct sync_rights *rights = &call->session->rights;

	if (rights->is_full || dlist_get(call->map, "OTHERS") == NULL)
		return;
	if (rights->other_users_prefix != NULL)
		dlist_put_text_of(
			writer, "OTHERSPREFIX", bytes_of_string(rights->other_users_prefix));
	if (rights->shared_prefix != NULL)
		dlist_put_text_of(writer, "SHAREDPREFIX", bytes_of_string(rights->shared_prefix));
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
	else if (call->session->rights.is_full)
		rc = put_all_points(call, kv, cursor, &writer, &cursor);
	else
		rc = put_users_points(call, kv, cursor, &writer, &cursor);
	dlist_end_list(&writer);
	if (cursor != 0)
		dlist_put_number_of(&writer, "CURSOR", cursor);
	put_prefixes(call, &writer);
	dlist_end_map(&writer);
	mail_read_end(&kv);
	return rc;
}
