#include "sync/guest.h"

#include "base/clock.h"
#include "mail/shared.h"
#include "sync/integrate.h"
#include "sync/merge.h"
#include "sync/responder_private.h"

#define SEEN_FLAG BYTES_LITERAL("\\Seen")

/* ---- the copy that asks ---- */

void guest_append_request(const char *account, const struct message_record *message,
	struct bytes raw, struct buffer *request)
{
	struct dlist_writer writer = wire_begin(request, DLIST_REQUEST, "APPEND");
	struct message_change change = { .record = *message };

	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(account));
	dlist_put_atom(&writer, "MESSAGE");
	wire_put_message(&writer, &change);
	dlist_put_atom(&writer, "BODY");
	dlist_put_literal(&writer, raw);
	dlist_end_map(&writer);
}

static int read_place(const struct dlist *map, struct guest_place *place_r, struct error *error)
{
	uint64_t uidvalidity = 0, uid = 0;
	int rc = dlist_get_number(map, "UID", UINT32_MAX, &uid);

	if (rc == 0)
		rc = dlist_get_number(map, "UIDVALIDITY", UINT32_MAX, &uidvalidity);
	else if (rc == ERR_NOT_FOUND)
		rc = 0;
	if (rc < 0)
		return error_set(error, ERR_INVALID, "bad UID or UIDVALIDITY in an answer");
	*place_r = (struct guest_place){ (uint32_t)uidvalidity, (uint32_t)uid };
	return 0;
}

int guest_append_answer(struct bytes answer, struct guest_place *place_r, struct error *error)
{
	struct arena *arena = arena_new();
	const struct dlist *map;
	int rc = wire_answer_as(answer, "APPEND", "APPENDED", arena, &map, error);

	if (rc == 0)
		rc = read_place(map, place_r, error);
	arena_free(&arena);
	return rc;
}

bool guest_is_final(int code)
{
	return code == ERR_REFUSED || code == ERR_NOT_FOUND || code == ERR_ILLEGAL ||
	       code == ERR_INVALID || code == ERR_TOO_LARGE || code == ERR_EXISTS;
}

/* ---- the node that is asked ---- */

struct guest_append {
	struct sync_call *call;
	uint32_t account, own;
	unsigned rights; /* to the mailbox */
	struct message_record record;
	struct bytes raw;
	struct guest_place place; /* the result */
};

/*
 * His instances are those of this copy of his, and no others: so he can neither name a message that
 * is here already, and learn of it, nor take the instance that a node will give.
 */
static int check_record(struct guest_append *append)
{
	const struct message_record *record = &append->record;
	const struct sync_session *session = append->call->session;
	uint64_t limit = integrate_modseq_limit(
		clock_now_ms(mail_clock(session->mail)), session->rights.skew_ms);
	struct error *error = append->call->error;
	int rc = merge_check_message(NULL, record, limit, error);

	if (rc < 0)
		return rc;
	if (record->instance.node != foreign_writer(session->rights.account, session->peer))
		return error_set(
			error, ERR_ILLEGAL, "the instance is not one that this user may give");
	if (!message_is_shown(record) || !id128_equal(record->placed_in, record->mailbox))
		return error_set(error, ERR_INVALID, "a message to be appended has no mailbox");
	return 0;
}

static int read_append(struct guest_append *append)
{
	struct sync_call *call = append->call;
	const struct dlist *map = dlist_get(call->map, "MESSAGE");
	struct message_change change;
	int rc;

	if (map == NULL || dlist_get_text(call->map, "BODY", &append->raw) < 0)
		return error_set(call->error, ERR_INVALID, "bad or missing MESSAGE or BODY");
	rc = wire_message(map, call->arena, &change, call->error);
	if (rc == 0)
		append->record = change.record;
	return rc;
}

/* 1: it came before. What became of it since is told as far as he may see it. */
static int find_before(
	struct guest_append *append, struct kv_txn *kv, const struct foreign_list *list)
{
	struct sync_call *call = append->call;
	struct message_record mine;
	struct mailbox_record mailbox;
	int rc = account_get_message(
		kv, append->account, append->record.instance, call->arena, &mine);

	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	if (!guid_equal(&mine.guid, &append->record.guid) || mine.size != append->record.size)
		return error_set(call->error, ERR_ILLEGAL, "one message with two contents");
	if (!message_is_shown(&mine) || foreign_rights(list, append->account, mine.mailbox) == 0)
		return 1;
	rc = account_get_mailbox(kv, append->account, mine.mailbox, call->arena, &mailbox);
	append->place = (struct guest_place){ mailbox.uidvalidity, mine.uid };
	return rc < 0 ? rc : 1;
}

/* 1: it came before to an account in which he sees nothing now. He is told no more than that. */
static int find_before_unseen(struct guest_append *append, struct kv_txn *kv)
{
	struct sync_call *call = append->call;
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	struct message_record mine;
	struct bytes text;
	uint32_t account;

	if (append->record.instance.node !=
			foreign_writer(call->session->rights.account, call->session->peer) ||
		dlist_get_text(call->map, "ACCOUNT", &text) < 0 ||
		account_name_normalize(text, name) < 0 ||
		account_find(kv, bytes_of_string(name), &account) < 0)
		return 0;
	return account_get_message(kv, account, append->record.instance, call->arena, &mine) == 0 &&
	       guid_equal(&mine.guid, &append->record.guid);
}

/* The account, what he may do there, and whether the message came before: 1. */
static int look(struct guest_append *append)
{
	struct sync_call *call = append->call;
	struct foreign_list list = { 0 };
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->session->mail, 0, &kv);

	if (rc == 0)
		rc = call_account(call, kv, &header);
	if ((rc == ERR_REFUSED || rc == ERR_NOT_FOUND) && find_before_unseen(append, kv)) {
		mail_read_end(&kv);
		return 1;
	}
	if (rc == 0)
		rc = session_is_foreign(call->session, kv, header.number);
	if (rc == 0)
		rc = error_set(call->error, ERR_REFUSED,
			"APPEND is for peer nodes, or for "
			"mailboxes of others");
	if (rc > 0)
		rc = check_record(append);
	if (rc == 0)
		rc = session_foreign(call->session, kv, header.number, &list);
	if (rc == 0) {
		append->account = header.number;
		append->own = call->session->rights.identity.account;
		append->rights = foreign_rights(&list, header.number, append->record.mailbox);
		rc = find_before(append, kv, &list);
	}
	foreign_list_deinit(&list);
	mail_read_end(&kv);
	if (rc == 0 && (append->rights & ACL_INSERT) == 0)
		rc = error_set(
			call->error, ERR_REFUSED, "your rights do not let you put messages there");
	return rc;
}

/* \Seen is in his own account; flags that he may not set are left out, as over IMAP. */
static void take_flags(struct guest_append *append, struct append_message *message)
{
	const struct message_record *record = &append->record;
	struct bytes *flags =
		arena_alloc(append->call->arena, (record->flag_count + 1) * sizeof(*flags));

	message->flags = flags;
	for (size_t i = 0; i < record->flag_count; i++)
		if (record->flags[i].is_set &&
			!bytes_equal_nocase(record->flags[i].name, SEEN_FLAG))
			flags[message->flag_count++] = record->flags[i].name;
}

static int append_body(struct guest_append *append, const struct mail_body *body)
{
	const struct message_record *record = &append->record;
	struct sync_call *call = append->call;
	struct shared_place place = { .account = append->account,
		.mailbox = record->mailbox,
		.rights = append->rights,
		.seen_account = append->own };
	struct append_message message = { .body = body,
		.internaldate = record->internaldate,
		.internaldate_zone = record->internaldate_zone,
		.instance = record->instance,
		.is_of_guest = true };
	uint64_t position;

	if (!guid_equal(mail_body_guid(body), &record->guid) ||
		mail_body_size(body) != record->size)
		return error_set(call->error, ERR_ILLEGAL, "the body is not the message's");
	take_flags(append, &message);
	return shared_append(call->session->mail, &place, &message, 1, call->error,
		&append->place.uidvalidity, &append->place.uid, &position);
}

static void answer(const struct guest_append *append)
{
	struct dlist_writer writer = wire_begin(append->call->answer, DLIST_ANSWER, "APPENDED");

	if (append->place.uid != 0) {
		dlist_put_number_of(&writer, "UIDVALIDITY", append->place.uidvalidity);
		dlist_put_number_of(&writer, "UID", append->place.uid);
	}
	dlist_end_map(&writer);
}

int respond_guest_append(struct sync_call *call)
{
	struct guest_append append = { .call = call };
	struct mail_body *body = NULL;
	bool is_there;
	int rc = read_append(&append);

	if (rc == 0)
		rc = look(&append);
	is_there = rc > 0;
	if (rc == 0)
		rc = mail_body_prepare(call->session->mail, append.raw, &body);
	if (rc == 0)
		rc = append_body(&append, body);
	mail_body_free(&body);
	if (rc == 0 || is_there)
		answer(&append);
	return rc < 0 ? rc : 0;
}
