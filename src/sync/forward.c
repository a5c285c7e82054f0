#include "sync/forward.h"

#include "base/clock.h"
#include "mail/uid_authority.h"
#include "sync/integrate.h"
#include "sync/responder_private.h"

#define LENT_MS_MAX 60000

/* ---- the node that asks ---- */

static void put_message(struct dlist_writer *writer, const struct forward *forward)
{
	const struct append_message *from = forward->message;
	struct arena *arena = arena_new();
	struct message_change change = { .record = { .instance = forward->instance,
						 .guid = *mail_body_guid(from->body),
						 .size = mail_body_size(from->body),
						 .internaldate = from->internaldate,
						 .internaldate_zone = from->internaldate_zone,
						 .placed = forward->instance,
						 .placed_in = forward->mailbox,
						 .mailbox = forward->mailbox,
						 .uid = 1 /* to be given */ } };

	for (size_t i = 0; i < from->flag_count; i++)
		(void)message_flag_put(&change.record, arena,
			(struct flag_state){ from->flags[i], forward->instance, true });
	dlist_put_atom(writer, "MESSAGE");
	wire_put_message(writer, &change);
	arena_free(&arena);
}

void forward_request(const struct forward *forward, struct buffer *request)
{
	struct dlist_writer writer = wire_begin(request, DLIST_REQUEST, "APPEND");

	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(forward->account));
	dlist_put_number_of(&writer, "HOPS", forward->hop_count);
	dlist_put_number_of(&writer, "UIDNEXT", forward->uidnext);
	put_message(&writer, forward);
	dlist_put_atom(&writer, "BODY");
	dlist_put_literal(&writer, mail_body_raw(forward->message->body));
	dlist_end_map(&writer);
}

int forward_answer(struct bytes answer, struct forward_result *result_r, struct error *error)
{
	struct arena *arena = arena_new();
	const struct dlist *map;
	struct bytes verb;
	int rc = wire_answer(answer, arena, &verb, &map, error);

	*result_r = (struct forward_result){ 0 };
	if (rc == 0 && bytes_equal_string(verb, "LENT"))
		result_r->outcome = FORWARD_LENT;
	else if (rc == 0 && bytes_equal_string(verb, "BEHIND"))
		result_r->outcome = FORWARD_BEHIND;
	else if (rc == 0 && !bytes_equal_string(verb, "APPENDED"))
		rc = wire_unanswered("APPEND", error);
	if (rc == 0 && result_r->outcome == FORWARD_LENT &&
		dlist_get_number(map, "MS", LENT_MS_MAX, &result_r->lent_ms) < 0)
		rc = error_set(error, ERR_INVALID, "bad or missing MS in an answer");
	arena_free(&arena);
	return rc;
}

/* ---- the node that is asked ---- */

struct asked_append {
	struct message_change change;
	struct bytes raw;
	uint64_t hop_count;
	uint64_t uidnext; /* of the mailbox at the node that asks */
};

static int read_append(struct sync_call *call, struct asked_append *append)
{
	const struct dlist *message;
	int rc = call_number(call, "HOPS", FORWARD_HOP_COUNT_MAX, &append->hop_count);

	if (rc == 0)
		rc = call_number(call, "UIDNEXT", UINT32_MAX, &append->uidnext);
	if (rc < 0)
		return rc;
	message = dlist_get(call->map, "MESSAGE");
	if (message == NULL || dlist_get_text(call->map, "BODY", &append->raw) < 0)
		return error_set(call->error, ERR_INVALID, "bad or missing MESSAGE or BODY");
	rc = wire_message(message, call->arena, &append->change, call->error);
	if (rc < 0)
		return rc;
	if (append->hop_count == 0 && append->change.record.instance.node != call->session->peer)
		return error_set(call->error, ERR_ILLEGAL,
			"a message to be appended is not of the node that asks");
	if (append->change.record.instance.modseq >
		integrate_modseq_limit(clock_now_ms(mail_clock(call->session->mail)),
			call->session->rights.skew_ms))
		return error_set(
			call->error, ERR_ILLEGAL, "the peer's clock is too far in the future");
	return 0;
}

/*
 * A UID given below the UIDNEXT of the node that asks would be given twice. Where its mailbox is
 * not known here yet, it is to append by itself too.
 */
static int is_behind(struct sync_call *call, const struct asked_append *append, uint32_t account)
{
	struct mailbox_record mailbox;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->session->mail, 0, &kv);

	if (rc == 0)
		rc = account_get_mailbox(
			kv, account, append->change.record.placed_in, call->arena, &mailbox);
	mail_read_end(&kv);
	if (rc == ERR_NOT_FOUND)
		return 1;
	return rc < 0 ? rc : mailbox.uidnext < append->uidnext;
}

static void answer_lent(struct sync_call *call, uint64_t lent_ms)
{
	struct dlist_writer writer = wire_begin(call->answer, DLIST_ANSWER, "LENT");

	dlist_put_number_of(&writer, "MS", lent_ms);
	dlist_end_map(&writer);
}

static int append_here(struct sync_call *call, const struct asked_append *append, uint32_t account)
{
	const struct message_record *record = &append->change.record;
	struct bytes *flags = arena_zalloc(call->arena, (record->flag_count + 1) * sizeof(*flags));
	struct append_message message = { .flags = flags,
		.flag_count = record->flag_count,
		.internaldate = record->internaldate,
		.internaldate_zone = record->internaldate_zone,
		.instance = record->instance,
		.hop_count = (unsigned)append->hop_count + 1 };
	struct mail *mail = call->session->mail;
	struct mail_body *body = NULL;
	uint32_t uidvalidity, uid;
	uint64_t position;
	int rc = mail_body_prepare(mail, append->raw, &body);

	for (size_t i = 0; i < record->flag_count; i++)
		flags[i] = record->flags[i].name;
	message.body = body;
	if (rc == 0 && !guid_equal(mail_body_guid(body), &record->guid))
		rc = error_set(call->error, ERR_INVALID, "the body is not the message's");
	if (rc == 0)
		rc = mailbox_append(mail, account, record->placed_in, &message, 1, call->error,
			&uidvalidity, &uid, &position);
	mail_body_free(&body);
	return rc;
}

int respond_append(struct sync_call *call)
{
	struct sync_session *session = call->session;
	struct asked_append append = { 0 };
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	struct dlist_writer writer;
	uint64_t lent_ms = 0;
	bool is_appended;
	uint32_t account;
	int rc;

	if (!session->rights.is_full)
		return respond_guest_append(call);
	rc = call_account_name(call, name);
	if (rc == 0 && !view_filter_is_whole(&session->filter))
		rc = error_set(call->error, ERR_REFUSED, "not all mailboxes are exchanged");
	if (rc == 0)
		rc = read_append(call, &append);
	if (rc == 0)
		rc = mail_account_open(
			session->mail, bytes_of_string(name), false, call->error, &account);
	if (rc < 0)
		return rc;
	/* What was lent to us, by the node that asks or by another, is not ours to lend. */
	if (append.hop_count == 0 && mail_node(session->mail) < session->peer)
		lent_ms = uid_authority_lend(mail_uid_authority(session->mail), account,
			session->peer, clock_monotonic_ms());
	if (lent_ms > 0) {
		answer_lent(call, lent_ms);
		return 0;
	}
	rc = is_behind(call, &append, account);
	is_appended = rc == 0;
	if (is_appended)
		rc = append_here(call, &append, account);
	if (rc < 0)
		return rc;
	writer = wire_begin(call->answer, DLIST_ANSWER, is_appended ? "APPENDED" : "BEHIND");
	dlist_end_map(&writer);
	return 0;
}
