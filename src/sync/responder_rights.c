/*
 * What a peer node with less than all rights may see and change. Each is a pure check of one thing
 * that is asked for or told; the answers to the peer's requests call them where they judge it.
 */
#include "sync/responder_private.h"

#include "sync/account_filter.h"

bool rights_sees_account(const struct sync_rights *rights, const char *name)
{
	if (!rights->is_full)
		return strcmp(rights->account, name) == 0;
	return account_filter_passes(rights->accounts, name);
}

bool rights_sees_bodies(const struct sync_rights *rights)
{
	return rights->is_full && (rights->accounts == NULL || rights->accounts[0] == '\0') &&
	       (rights->mailboxes == NULL || rights->mailboxes[0] == '\0');
}

static bool is_expunged(const struct message_record *message)
{
	return id128_is_none(message->placed_in);
}

int rights_check_message(const struct sync_rights *rights, const struct message_record *mine,
	const struct message_record *theirs, struct error *error)
{
	/* A tombstone that is older than our placement takes nothing away. */
	if (!rights->no_delete || mine == NULL || is_expunged(mine) || !is_expunged(theirs) ||
		placement_compare(mine->instance, theirs->placed, mine->placed) <= 0)
		return 0;
	return error_set(
		error, ERR_REFUSED, "this peer may not expunge messages (%s)", RIGHTS_NO_DELETE);
}

int rights_check_mailbox(const struct sync_rights *rights, const struct mailbox_record *mine,
	const struct mailbox_record *theirs, struct error *error)
{
	/* One that was united with another lives on in it. */
	if (!rights->no_delete || mine == NULL || !mailbox_is_live(mine) ||
		mailbox_is_live(theirs) || !id128_is_none(theirs->forward))
		return 0;
	return error_set(
		error, ERR_REFUSED, "this peer may not delete mailboxes (%s)", RIGHTS_NO_DELETE);
}

/* Limits, the password, whether he may log in, who takes his changes: the operator's. What merges
 * note for cursors is not. */
static bool is_operators(const struct register_record *record)
{
	return record->kind == RECORD_ACCOUNT &&
	       !bytes_equal_string(record->key, ACCOUNT_MERGED_KEY);
}

int rights_check_register(const struct sync_rights *rights, const struct register_record *mine,
	const struct register_record *theirs, struct error *error)
{
	/* A merge of his may give it another modseq. */
	if (!rights->is_full && is_operators(theirs) &&
		(mine == NULL || !register_same(mine, theirs)))
		return error_set(error, ERR_REFUSED, "only the operator may change this setting");
	if (!rights->no_delete || theirs->kind != RECORD_ACCOUNT || !theirs->is_set ||
		!bytes_equal_string(theirs->key, ACCOUNT_DELETED_KEY) ||
		(mine != NULL && mine->is_set))
		return 0;
	return error_set(
		error, ERR_REFUSED, "this peer may not delete accounts (%s)", RIGHTS_NO_DELETE);
}

static int check_registers(const struct sync_rights *rights, struct account_write *write,
	const struct change_set *theirs, struct error *error)
{
	int rc = 0;

	for (size_t i = 0; i < theirs->register_count && rc == 0; i++) {
		const struct register_record *record = &theirs->registers[i];
		struct register_record mine;

		rc = account_get_register(write->kv, write->header.number, record->kind,
			record->mailbox, record->key, write->arena, &mine);
		if (rc == 0 || rc == ERR_NOT_FOUND)
			rc = rights_check_register(rights, rc == 0 ? &mine : NULL, record, error);
	}
	return rc;
}

static int check_mailboxes(const struct sync_rights *rights, struct account_write *write,
	const struct change_set *theirs, struct error *error)
{
	struct mailbox_record mine;
	int rc = 0;

	for (size_t i = 0; i < theirs->mailbox_count && rc == 0; i++) {
		rc = account_get_mailbox(write->kv, write->header.number, theirs->mailboxes[i].id,
			write->arena, &mine);
		if (rc == 0)
			rc = rights_check_mailbox(rights, &mine, &theirs->mailboxes[i], error);
		else if (rc == ERR_NOT_FOUND)
			rc = 0;
	}
	return rc;
}

int rights_check_changes(const struct sync_rights *rights, struct account_write *write,
	const struct change_set *theirs, struct error *error)
{
	struct message_record mine;
	int rc;

	if (!rights->no_delete)
		return 0;
	rc = check_registers(rights, write, theirs, error);
	if (rc == 0)
		rc = check_mailboxes(rights, write, theirs, error);
	for (size_t i = 0; i < theirs->message_count && rc == 0; i++) {
		const struct message_record *message = &theirs->messages[i].record;

		rc = account_get_message(
			write->kv, write->header.number, message->instance, write->arena, &mine);
		if (rc == 0)
			rc = rights_check_message(rights, &mine, message, error);
		else if (rc == ERR_NOT_FOUND)
			rc = 0;
	}
	return rc;
}
