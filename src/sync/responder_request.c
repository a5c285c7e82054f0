/* What APPLY, INTEGRATE and FILL have in common: reading the request, making the answer. */
#include "sync/responder_apply.h"

#include "mail/deletion.h"
#include "sync/conflict.h"
#include "sync/integrate.h"
#include "sync/point.h"

/*
 * Takes the staged records if the request says that they are its own. A request without PARTS
 * leaves them: those of other accounts come between the parts of a large one.
 */
static int take_parts(struct apply *apply)
{
	struct sync_call *call = apply->call;
	uint64_t part_count = 0;
	int rc = dlist_get_number(call->map, "PARTS", UINT32_MAX, &part_count);

	if (rc == ERR_INVALID)
		return error_set(call->error, rc, "bad PARTS");
	if (part_count == 0)
		return 0;
	apply->is_staged = true;
	if (part_count != call->session->part_count)
		return error_set(call->error, ERR_UNAVAILABLE, "a STAGE is missing");
	apply->changes = call->session->staged;
	call->session->staged = (struct change_set){ 0 };
	return 0;
}

/* Staged records come first, so that those of the request itself count if a record is in both. */
int apply_read(struct apply *apply)
{
	struct sync_call *call = apply->call;
	uint64_t highest = 0;
	int rc = call_number(call, "SINCE", UINT64_MAX, &apply->since);

	if (rc == 0)
		rc = call_number(call, "SEQUENCE", UINT64_MAX, &apply->sequence);
	if (rc == 0)
		rc = call_number(call, "HIGHEST", MODSEQ_MAX, &highest);
	if (rc == 0)
		rc = take_parts(apply);
	if (rc < 0)
		return rc;
	(void)dlist_get_number(call->map, "BEHIND", UINT64_MAX, &apply->told_behind);
	apply->changes.sequence = apply->sequence;
	apply->changes.highest = highest;
	rc = wire_get_changes(call->map, call->arena, &apply->changes, call->error);
	if (rc == 0)
		change_set_normalize(&apply->changes);
	return rc;
}

void apply_deinit(struct apply *apply)
{
	change_set_deinit(&apply->changes);
	change_set_deinit(&apply->ours);
	change_set_deinit(&apply->reminders);
	view_close(&apply->view);
	if (apply->is_staged)
		session_unstage(apply->call->session);
}

/* Another's, of which he sees something. */
static int find_foreign(struct sync_call *call, uint32_t *number_r)
{
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->session->mail, 0, &kv);

	if (rc == 0)
		rc = call_account(call, kv, &header);
	mail_read_end(&kv);
	if (rc == 0)
		*number_r = header.number;
	return rc;
}

int apply_find_account(struct apply *apply, bool create, uint32_t *number_r)
{
	struct sync_call *call = apply->call;
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	int rc = call_account_name(call, name);

	if (rc == ERR_REFUSED && !create)
		return find_foreign(call, number_r);
	if (rc < 0)
		return rc;
	/* That an account is deleted is brought to it as any change. */
	rc = mail_account_find(call->session->mail, bytes_of_string(name), call->error, number_r);
	if (rc != ERR_NOT_FOUND || !create)
		return rc;
	return mail_account_open(call->session->mail, bytes_of_string(name),
		create && call->session->rights.is_full, call->error, number_r);
}

static bool is_shown_already(const struct message_record *mine, const struct message_record *theirs)
{
	return message_is_shown(mine) && guid_equal(&mine->guid, &theirs->guid);
}

int apply_open_view(struct apply *apply, struct account_write *write)
{
	view_close(&apply->view);
	return call_view_told(apply->call, write->kv, write->header.number, &apply->changes,
		&apply->view, &apply->checked);
}

int apply_open_view_again(struct apply *apply, struct account_write *write)
{
	int rc;

	view_close(&apply->view);
	rc = call_view(apply->call, write->kv, write->header.number, &apply->view);
	return rc < 0 || apply->view.is_foreign
		       ? rc
		       : integrate_tell(write->kv, &apply->changes, &apply->view);
}

/* Lists the shown messages whose bodies nobody has brought. */
int apply_find_missing(struct apply *apply, struct account_write *write)
{
	const struct change_set *changes = &apply->changes;
	const struct sync_session *session = apply->call->session;

	for (size_t i = 0; i < changes->message_count; i++) {
		const struct message_record *message = &changes->messages[i].record;
		struct message_record mine;
		int rc;

		if (!message_is_shown(message) ||
			session_has_body(session, write->kv, &message->guid))
			continue;
		rc = account_get_message(
			write->kv, write->header.number, message->instance, write->arena, &mine);
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
		if (rc == 0 && is_shown_already(&mine, message))
			continue;
		if (apply->missing == NULL)
			apply->missing = arena_alloc(
				apply->call->arena, MISSING_COUNT_MAX * sizeof(struct stamp));
		if (apply->missing_count < MISSING_COUNT_MAX)
			apply->missing[apply->missing_count++] = message->instance;
	}
	if (apply->missing_count > 0)
		apply->outcome = OUTCOME_MISSING;
	return 0;
}

int apply_forget_point(struct apply *apply, struct account_write *write)
{
	const struct sync_session *session = apply->call->session;

	return apply->told_behind == 0 || !session->rights.is_full
		       ? 0
		       : point_forget_of(write->store, write->header.number, session->peer,
				 view_filter_key(&session->filter));
}

static void put_changed(struct apply *apply, struct dlist_writer *writer)
{
	if (apply->is_reset)
		dlist_put_number_of(writer, "RESET", 1);
	if (apply->behind != 0)
		dlist_put_number_of(writer, "BEHIND", apply->behind);
	if (apply->illegal.code != 0)
		dlist_put_text_of(writer, "ILLEGAL", bytes_of_string(apply->illegal.text));
	answer_changes(writer, &apply->header, apply->digest, &apply->ours);
}

/* That they cannot be read is no reason to call the merge failed. */
static void tell_conflicts(const struct apply *apply, struct dlist_writer *writer)
{
	struct sync_session *session = apply->call->session;
	struct kv_txn *kv = NULL;

	if (mail_read_begin(session->mail, mail_position(session->mail), &kv) == 0)
		(void)conflict_tell(
			kv, apply->header.number, session->peer, apply->clock_before, writer);
	mail_read_end(&kv);
}

void apply_put_outcome(struct apply *apply)
{
	static const char *const verbs[] = { "APPLIED", "CHANGED", "MISSING", "DIFFERS",
		"INTEGRATED", "FILLED" };
	struct dlist_writer writer =
		wire_begin(apply->call->answer, DLIST_ANSWER, verbs[apply->outcome]);

	switch (apply->outcome) {
	case OUTCOME_APPLIED:
	case OUTCOME_INTEGRATED:
		dlist_put_number_of(&writer, "SEQUENCE", apply->header.sequence);
		if (apply->clock_before != 0)
			tell_conflicts(apply, &writer);
		break;
	case OUTCOME_FILLED:
		dlist_put_number_of(&writer, "SEQUENCE", apply->header.sequence);
		dlist_put_number_of(&writer, "REACHED", apply->part.reached);
		if (apply->part.is_whole)
			dlist_put_number_of(&writer, "WHOLE", 1);
		break;
	case OUTCOME_CHANGED:
		put_changed(apply, &writer);
		break;
	case OUTCOME_MISSING:
		dlist_put_atom(&writer, "INSTANCES");
		dlist_begin_list(&writer);
		for (size_t i = 0; i < apply->missing_count; i++)
			wire_put_stamp(&writer, apply->missing[i]);
		dlist_end_list(&writer);
		break;
	case OUTCOME_DIFFERS:
		dlist_put_number_of(&writer, "SEQUENCE", apply->header.sequence);
		wire_put_digest_of(&writer, "DIGEST", apply->digest);
		break;
	}
	dlist_end_map(&writer);
}
