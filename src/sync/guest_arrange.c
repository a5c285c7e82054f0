#include "sync/guest_arrange.h"

#include "mail/arrange.h"
#include "sync/responder_private.h"

/* ---- the copy that asks ---- */

void guest_arrange_request(const char *account, const struct mailbox_record *mailbox,
	uint64_t common, struct buffer *request)
{
	struct dlist_writer writer = wire_begin(request, DLIST_REQUEST, "ARRANGE");

	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(account));
	wire_put_id_of(&writer, "MAILBOX", mailbox->id);
	if (mailbox_is_live(mailbox)) {
		dlist_put_text_of(&writer, "NAME", mailbox->name);
		wire_put_stamp_of(&writer, "NAMED", mailbox->name_stamp);
	} else {
		dlist_put_number_of(&writer, "COMMON", common);
	}
	dlist_end_map(&writer);
}

int guest_arrange_answer(struct bytes answer, struct id128 *id_r, struct error *error)
{
	struct arena *arena = arena_new();
	const struct dlist *map;
	int rc = wire_answer_as(answer, "ARRANGE", "ARRANGED", arena, &map, error);

	if (rc == 0 && wire_get_id(map, "MAILBOX", id_r) < 0)
		rc = wire_unanswered("ARRANGE", error);
	arena_free(&arena);
	return rc;
}

/* ---- the node that is asked ---- */

struct arrange {
	struct sync_call *call;
	uint32_t account;
	struct id128 id;   /* as it is asked; in the end the one that is so */
	struct bytes name; /* empty: it is to be deleted ... */
	uint64_t common;   /* ... if nothing came there after our sequence `common` */
	uint64_t writer;   /* of what he appended there himself */
	struct stamp named;
	struct mailbox_deletion deletion;
	/* As of the last look: */
	struct foreign_list list;   /* what he sees */
	struct mailbox_record mine; /* of that id; valid if `exists` */
	bool exists;                /* for him */
	bool is_done;               /* nothing is left to do */
};

static int refuse(const struct arrange *arrange)
{
	return error_set(arrange->call->error, ERR_REFUSED,
		"your rights do not let you arrange this mailbox so");
}

static bool has_rights(const struct arrange *arrange, struct id128 id, unsigned needs)
{
	unsigned rights = foreign_rights(&arrange->list, arrange->account, id);

	return rights != 0 && (rights & needs) == needs;
}

/* "k" is needed of the nearest mailbox above the name (in a shared account INBOX is above all). */
static int check_above(const struct arrange *arrange, struct kv_txn *kv)
{
	struct arena *arena = arrange->call->arena;
	struct bytes above = arrange->name;
	struct mailbox_record mailbox;
	bool is_shared;
	int rc = ERR_NOT_FOUND;

	while (rc == ERR_NOT_FOUND && above.len > 0) {
		above.len--;
		if (above.ptr[above.len] == '/')
			rc = account_find_mailbox(kv, arrange->account, above, arena, &mailbox);
	}
	if (rc == ERR_NOT_FOUND) {
		rc = account_is_shared(kv, arrange->account, &is_shared);
		if (rc == 0)
			rc = is_shared ? account_find_mailbox(kv, arrange->account,
						 BYTES_LITERAL("INBOX"), arena, &mailbox)
				       : ERR_NOT_FOUND;
	}
	if (rc == ERR_NOT_FOUND || (rc == 0 && !has_rights(arrange, mailbox.id, ACL_CREATE)))
		return refuse(arrange);
	return rc;
}

/* A mailbox that he sees has the name already: it is the one. Of others nothing is told. */
static int take_named(struct arrange *arrange, const struct mailbox_record *named, bool is_rename)
{
	if (!has_rights(arrange, named->id, 0))
		return refuse(arrange);
	if (is_rename && !id128_equal(named->id, arrange->id))
		return error_set(arrange->call->error, ERR_EXISTS,
			"a mailbox of the new name exists already");
	arrange->id = named->id;
	arrange->is_done = true;
	return 0;
}

static int look_name(struct arrange *arrange, struct kv_txn *kv)
{
	bool is_seen = arrange->exists && has_rights(arrange, arrange->id, 0);
	struct error *error = arrange->call->error;
	struct mailbox_record named;
	int rc = mailbox_name_check(arrange->name, error);

	if (rc == 0 && arrange->exists && !mailbox_is_live(&arrange->mine))
		rc = error_set(error, ERR_NOT_FOUND, "the mailbox was deleted");
	if (rc < 0)
		return rc;
	/* It was renamed here later. */
	if (is_seen && stamp_compare(arrange->named, arrange->mine.name_stamp) < 0) {
		arrange->is_done = true;
		return 0;
	}
	rc = account_find_mailbox(
		kv, arrange->account, arrange->name, arrange->call->arena, &named);
	if (rc != ERR_NOT_FOUND)
		return rc < 0 ? rc : take_named(arrange, &named, is_seen);
	if (is_seen && (!has_rights(arrange, arrange->id, ACL_DELETE) ||
			       bytes_equal_string(arrange->mine.name, "INBOX")))
		return refuse(arrange);
	arrange->exists = is_seen;
	return check_above(arrange, kv);
}

static int look_delete(struct arrange *arrange)
{
	/* What he cannot see is as what is not there. */
	if (!arrange->exists || !has_rights(arrange, arrange->id, 0)) {
		arrange->is_done = true;
		return 0;
	}
	if (!has_rights(arrange, arrange->id, ACL_DELETE) ||
		bytes_equal_string(arrange->mine.name, "INBOX"))
		return refuse(arrange);
	return 0;
}

/* Whether he may have it so, and what is left to do. */
static int look(struct arrange *arrange, struct kv_txn *kv)
{
	struct sync_call *call = arrange->call;
	int rc = session_foreign(call->session, kv, arrange->account, &arrange->list);

	if (rc == 0) {
		rc = account_get_mailbox(
			kv, arrange->account, arrange->id, call->arena, &arrange->mine);
		arrange->exists = rc == 0;
		rc = rc == ERR_NOT_FOUND ? 0 : rc;
	}
	if (rc == 0)
		rc = arrange->name.len > 0 ? look_name(arrange, kv) : look_delete(arrange);
	foreign_list_deinit(&arrange->list);
	return rc;
}

/* A delete expunges what its issuer saw, and no more. */
static int check_seen(void *context, const struct message_record *message)
{
	const struct arrange *arrange = context;

	if (message->placed_sequence <= arrange->common ||
		message->instance.node == arrange->writer)
		return 0;
	return error_set(
		arrange->call->error, ERR_EXISTS, "messages came there that were not seen");
}

/* So that commits need not look for long: what may not be is found here first, as a rule. */
static int look_before(struct arrange *arrange)
{
	struct sync_call *call = arrange->call;
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(call->session->mail, 0, &kv);

	if (rc == 0)
		rc = call_account(call, kv, &header);
	if (rc == 0)
		rc = session_is_foreign(call->session, kv, header.number);
	if (rc == 0)
		rc = error_set(call->error, ERR_REFUSED, "ARRANGE is for mailboxes of others");
	if (rc > 0) {
		arrange->account = header.number;
		rc = look(arrange, kv);
	}
	if (rc == 0 && !arrange->is_done && arrange->name.len == 0)
		rc = account_each_message(kv, arrange->account, arrange->id, 1, UINT32_MAX,
			call->arena, check_seen, arrange);
	mail_read_end(&kv);
	return rc;
}

/* What counts is how it is now: it may have been renamed, its name given to another, mail have come
 * there, or his rights have gone. */
static int act_run(struct account_write *write, void *context)
{
	struct arrange *arrange = context;
	int rc = look(arrange, write->kv);

	if (rc < 0 || arrange->is_done)
		return rc;
	if (arrange->name.len > 0)
		return arrange->exists ? mailbox_rename_in(write, &arrange->mine, arrange->name,
						 arrange->call->error)
				       : mailbox_create_in(write, arrange->name, &arrange->id);
	rc = mailbox_delete_step(write, &arrange->deletion);
	arrange->is_done = arrange->deletion.is_done;
	return rc;
}

static int act(struct arrange *arrange)
{
	struct sync_call *call = arrange->call;
	uint64_t position;
	int rc;

	arrange->deletion.id = arrange->id;
	arrange->deletion.check = check_seen;
	arrange->deletion.context = arrange;
	do {
		rc = mail_commit(call->session->mail, arrange->account, act_run, arrange,
			call->error, &position);
	} while (rc == 0 && arrange->name.len == 0 && !arrange->is_done);
	return rc;
}

static int read_arrange(struct arrange *arrange)
{
	const struct dlist *map = arrange->call->map;
	struct error *error = arrange->call->error;
	const struct dlist *named;
	int rc;

	if (wire_get_id(map, "MAILBOX", &arrange->id) < 0 || id128_is_none(arrange->id))
		return error_set(error, ERR_INVALID, "bad or missing MAILBOX");
	rc = dlist_get_text(map, "NAME", &arrange->name);
	if (rc == ERR_NOT_FOUND)
		return call_number(arrange->call, "COMMON", UINT64_MAX, &arrange->common);
	named = dlist_get(map, "NAMED");
	if (rc < 0 || arrange->name.len == 0 || named == NULL ||
		wire_stamp(named, &arrange->named) < 0)
		return error_set(error, ERR_INVALID, "bad NAME, or bad or missing NAMED");
	return 0;
}

int respond_arrange(struct sync_call *call)
{
	struct arrange arrange = { .call = call,
		.writer = foreign_writer(call->session->rights.account, call->session->peer) };
	struct dlist_writer writer;
	int rc = read_arrange(&arrange);

	if (rc == 0)
		rc = look_before(&arrange);
	if (rc == 0 && !arrange.is_done)
		rc = act(&arrange);
	if (rc < 0)
		return rc;
	writer = wire_begin(call->answer, DLIST_ANSWER, "ARRANGED");
	wire_put_id_of(&writer, "MAILBOX", arrange.id);
	dlist_end_map(&writer);
	return 0;
}
