#include "sync/guest_acl.h"

#include "base/map.h"
#include "sync/responder_private.h"

#define ANSWER_SIZE_MAX (256u * 1024)              /* bytes; then comes MORE */
#define OWNER_RIGHTS (ACL_LOOKUP | ACL_ADMINISTER) /* an owner always keeps */

/* ---- the copy that asks ---- */

void guest_acl_request(
	const char *account, uint64_t since, struct id128 after, struct buffer *request)
{
	struct dlist_writer writer = wire_begin(request, DLIST_REQUEST, "GETACL");

	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(account));
	dlist_put_number_of(&writer, "SINCE", since);
	if (!id128_is_none(after))
		wire_put_id_of(&writer, "AFTER", after);
	dlist_end_map(&writer);
}

/* Pairs of identifier and letters. Rights that are not known here give nothing. */
static int read_entries(const struct dlist *pairs, struct arena *arena, struct acl *acl_r)
{
	struct acl acl = { 0 };

	if (pairs->kind != DLIST_LIST || pairs->count % 2 != 0 ||
		pairs->count / 2 > ACL_ENTRY_COUNT_MAX)
		return ERR_INVALID;
	acl.entries = arena_alloc(arena, (pairs->count / 2 + 1) * sizeof(*acl.entries));
	for (const struct dlist *at = pairs->first; at != NULL; at = at->next->next) {
		char normal[ACL_IDENTIFIER_SIZE_MAX + 1];
		struct bytes identifier, letters;
		unsigned rights;

		if (dlist_text(at, &identifier) < 0 || dlist_text(at->next, &letters) < 0 ||
			acl_identifier_normalize(identifier, normal) < 0)
			return ERR_INVALID;
		if (acl_parse_rights(letters, &rights) == 0 && rights != 0)
			acl.entries[acl.count++] =
				(struct acl_entry){ arena_copy(arena, bytes_of_string(normal)),
					rights };
	}
	*acl_r = acl;
	return 0;
}

static int read_list(const struct dlist *map, struct arena *arena, struct guest_acl_list *list)
{
	const struct dlist *pairs;
	uint64_t more = 0;

	if (dlist_get_number(map, "SEQUENCE", UINT64_MAX, &list->sequence) < 0 ||
		dlist_get_list(map, "LIST", &pairs) < 0 || pairs->count % 2 != 0)
		return ERR_INVALID;
	list->list = arena_alloc(arena, (pairs->count / 2 + 1) * sizeof(*list->list));
	for (const struct dlist *at = pairs->first; at != NULL; at = at->next->next) {
		struct guest_acl *acl = &list->list[list->count++];

		if (wire_id(at, &acl->mailbox) < 0 ||
			read_entries(at->next, arena, &acl->entries) < 0)
			return ERR_INVALID;
	}
	(void)dlist_get_number(map, "MORE", 1, &more);
	list->has_more = more != 0 && list->count > 0;
	return 0;
}

int guest_acl_answer(struct bytes answer, struct arena *arena, struct guest_acl_list *list_r,
	struct error *error)
{
	const struct dlist *map;
	int rc = wire_answer_as(answer, "GETACL", "ACL", arena, &map, error);

	*list_r = (struct guest_acl_list){ 0 };
	if (rc == 0 && read_list(map, arena, list_r) < 0)
		rc = wire_unanswered("GETACL", error);
	return rc;
}

void guest_acl_set_request(const char *account, const struct acl_act *act, struct buffer *request)
{
	struct dlist_writer writer = wire_begin(request, DLIST_REQUEST, "SETACL");
	struct buffer letters = { 0 };

	acl_write_rights(&letters, act->rights);
	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(account));
	wire_put_id_of(&writer, "MAILBOX", act->mailbox);
	dlist_put_text_of(&writer, "IDENTIFIER", act->identifier);
	dlist_put_text_of(&writer, "RIGHTS", buffer_bytes(&letters));
	if (act->has_was) {
		buffer_clear(&letters);
		acl_write_rights(&letters, act->was);
		dlist_put_text_of(&writer, "WAS", buffer_bytes(&letters));
	}
	wire_put_stamp_of(&writer, "STAMP", act->stamp);
	dlist_end_map(&writer);
	buffer_deinit(&letters);
}

int guest_acl_set_answer(struct bytes answer, struct error *error)
{
	struct arena *arena = arena_new();
	const struct dlist *map;
	int rc = wire_answer_as(answer, "SETACL", "ACLSET", arena, &map, error);

	arena_free(&arena);
	return rc;
}

/* ---- the node that is asked ---- */

/* The account, which is another's of which he sees something. */
static int find_account(struct sync_call *call, struct kv_txn *kv, struct account_header *header_r,
	const char *verb)
{
	int rc = call_account(call, kv, header_r);

	if (rc == 0)
		rc = session_is_foreign(call->session, kv, header_r->number);
	if (rc == 0)
		return error_set(call->error, ERR_REFUSED, "%s is for mailboxes of others", verb);
	return rc < 0 ? rc : 0;
}

struct asked_acl {
	struct sync_call *call;
	uint64_t since;
	struct id128 after;
	struct map changed; /* mailboxes */
	struct account_header header;
	struct foreign_list list; /* what he sees */
	struct dlist_writer writer;
};

static struct bytes id_key(const struct id128 *id)
{
	return bytes_of(id->bytes, sizeof(id->bytes));
}

static int note_changed(void *context, const struct register_record *record)
{
	struct asked_acl *asked = context;
	struct id128 *key;

	if (record->kind != RECORD_ACL ||
		map_get(&asked->changed, id_key(&record->mailbox)) != NULL)
		return 0;
	key = arena_alloc(asked->call->arena, sizeof(*key));
	*key = record->mailbox;
	map_put(&asked->changed, id_key(key), key);
	return 0;
}

static int put_acl(struct asked_acl *asked, struct kv_txn *kv, struct id128 mailbox)
{
	struct arena *arena = arena_new();
	struct buffer letters = { 0 };
	struct acl acl;
	int rc = acl_read(kv, asked->header.number, mailbox, arena, &acl);

	if (rc == 0) {
		dlist_put_hex(&asked->writer, id_key(&mailbox));
		dlist_begin_list(&asked->writer);
		for (size_t i = 0; i < acl.count; i++) {
			buffer_clear(&letters);
			acl_write_rights(&letters, acl.entries[i].rights);
			dlist_put_text(&asked->writer, acl.entries[i].identifier);
			dlist_put_text(&asked->writer, buffer_bytes(&letters));
		}
		dlist_end_list(&asked->writer);
	}
	buffer_deinit(&letters);
	arena_free(&arena);
	return rc;
}

static int put_list(struct asked_acl *asked, struct kv_txn *kv)
{
	bool has_more = false;
	int rc = 0;

	asked->writer = wire_begin(asked->call->answer, DLIST_ANSWER, "ACL");
	dlist_put_number_of(&asked->writer, "SEQUENCE", asked->header.sequence);
	dlist_put_atom(&asked->writer, "LIST");
	dlist_begin_list(&asked->writer);
	for (size_t i = 0; i < asked->list.count && rc == 0 && !has_more; i++) {
		const struct foreign_mailbox *mailbox = &asked->list.list[i];

		if ((mailbox->rights & ACL_ADMINISTER) == 0 ||
			id128_compare(mailbox->id, asked->after) <= 0 ||
			(asked->since > 0 &&
				map_get(&asked->changed, id_key(&mailbox->id)) == NULL))
			continue;
		has_more = asked->call->answer->len > ANSWER_SIZE_MAX;
		if (!has_more)
			rc = put_acl(asked, kv, mailbox->id);
	}
	dlist_end_list(&asked->writer);
	if (has_more)
		dlist_put_number_of(&asked->writer, "MORE", 1);
	dlist_end_map(&asked->writer);
	return rc;
}

int respond_getacl(struct sync_call *call)
{
	static const struct account_change_functions functions = { .record = note_changed };
	struct asked_acl asked = { .call = call };
	struct kv_txn *kv = NULL;
	int rc = call_number(call, "SINCE", UINT64_MAX, &asked.since);

	if (rc < 0)
		return rc;
	rc = wire_get_id(call->map, "AFTER", &asked.after);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return error_set(call->error, ERR_INVALID, "bad AFTER");
	rc = mail_read_begin(call->session->mail, 0, &kv);
	if (rc == 0)
		rc = find_account(call, kv, &asked.header, "GETACL");
	if (rc == 0)
		rc = session_foreign(call->session, kv, asked.header.number, &asked.list);
	if (rc == 0 && asked.since > 0)
		rc = account_each_change(
			kv, asked.header.number, asked.since, call->arena, &functions, &asked);
	if (rc == 0)
		rc = put_list(&asked, kv);
	mail_read_end(&kv);
	foreign_list_deinit(&asked.list);
	map_deinit(&asked.changed);
	return rc;
}

struct asked_entry {
	struct sync_call *call;
	struct acl_act act;
	char identifier[ACL_IDENTIFIER_SIZE_MAX + 1];
};

static int read_entry(struct asked_entry *asked)
{
	const struct dlist *map = asked->call->map, *stamp = dlist_get(map, "STAMP");
	struct error *error = asked->call->error;
	struct bytes text;

	if (wire_get_id(map, "MAILBOX", &asked->act.mailbox) < 0)
		return error_set(error, ERR_INVALID, "bad or missing MAILBOX");
	if (dlist_get_text(map, "IDENTIFIER", &text) < 0 ||
		acl_identifier_normalize(text, asked->identifier) < 0)
		return error_set(error, ERR_INVALID, "bad or missing IDENTIFIER");
	if (dlist_get_text(map, "RIGHTS", &text) < 0 ||
		acl_parse_rights(text, &asked->act.rights) < 0)
		return error_set(error, ERR_INVALID, "bad or missing RIGHTS");
	asked->act.has_was = dlist_get(map, "WAS") != NULL;
	if (asked->act.has_was && (dlist_get_text(map, "WAS", &text) < 0 ||
					  acl_parse_rights(text, &asked->act.was) < 0))
		return error_set(error, ERR_INVALID, "bad WAS");
	if (stamp == NULL || wire_stamp(stamp, &asked->act.stamp) < 0)
		return error_set(error, ERR_INVALID, "bad or missing STAMP");
	asked->act.identifier = bytes_of_string(asked->identifier);
	return 0;
}

/* An owner without an entry has all rights, and one with an entry never less than some. */
static int keep_owner(struct account_write *write, struct acl_act *act)
{
	bool is_shared;
	int rc = account_is_shared(write->kv, write->header.number, &is_shared);

	if (rc == 0 && !is_shared && act->rights != 0 &&
		bytes_equal_string(act->identifier, write->header.name))
		act->rights |= OWNER_RIGHTS;
	return rc;
}

/* 1: there is nothing to do, as it is so, or was changed here later. */
static int look_entry(
	struct asked_entry *asked, struct account_write *write, const struct acl_act *act)
{
	struct register_record mine;
	unsigned before = 0;
	struct acl acl;
	int rc = account_get_register(write->kv, write->header.number, RECORD_ACL, act->mailbox,
		act->identifier, write->arena, &mine);

	bool is_later = rc == 0 && stamp_compare(mine.stamp, act->stamp) > 0;

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	rc = acl_read(write->kv, write->header.number, act->mailbox, write->arena, &acl);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < acl.count; i++)
		if (bytes_equal(acl.entries[i].identifier, act->identifier))
			before = acl.entries[i].rights;
	if (is_later && (!act->has_was || before != act->was))
		return 1;
	if (before == 0 && act->rights != 0 && acl.count >= ACL_ENTRY_COUNT_MAX)
		return error_set(asked->call->error, ERR_TOO_LARGE,
			"a mailbox has at most %d entries of rights", ACL_ENTRY_COUNT_MAX);
	return before == act->rights;
}

static int set_run(struct account_write *write, void *context)
{
	struct asked_entry *asked = context;
	struct acl_act act = asked->act;
	struct foreign_list list = { 0 };
	unsigned rights;
	int rc = session_foreign(asked->call->session, write->kv, write->header.number, &list);

	rights = foreign_rights(&list, write->header.number, act.mailbox);
	foreign_list_deinit(&list);
	if (rc == 0 && (rights & ACL_ADMINISTER) == 0)
		rc = error_set(asked->call->error, ERR_REFUSED,
			"your rights do not let you say who may do what with this mailbox");
	if (rc == 0)
		rc = keep_owner(write, &act);
	if (rc == 0)
		rc = look_entry(asked, write, &act);
	if (rc == 0)
		rc = acl_put(write, act.mailbox, act.identifier, act.rights);
	return rc < 0 ? rc : 0;
}

int respond_setacl(struct sync_call *call)
{
	struct asked_entry asked = { .call = call };
	struct account_header header;
	struct dlist_writer writer;
	struct kv_txn *kv = NULL;
	uint64_t position;
	int rc = read_entry(&asked);

	if (rc < 0)
		return rc;
	rc = mail_read_begin(call->session->mail, 0, &kv);
	if (rc == 0)
		rc = find_account(call, kv, &header, "SETACL");
	mail_read_end(&kv);
	if (rc == 0)
		rc = mail_commit(call->session->mail, header.number, set_run, &asked, call->error,
			&position);
	if (rc < 0)
		return rc;
	writer = wire_begin(call->answer, DLIST_ANSWER, "ACLSET");
	dlist_end_map(&writer);
	return 0;
}
