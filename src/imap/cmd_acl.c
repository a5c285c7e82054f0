/* SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314). */
#include "imap/imap_acl.h"
#include "imap/imap_commands.h"
#include "imap/imap_reply.h"
#include "imap/imap_target.h"

/* Any of these lets a user ask for his rights (RFC 4314, section 4). */
#define MYRIGHTS_RIGHTS                                                                            \
	(ACL_LOOKUP | ACL_READ | ACL_INSERT | ACL_CREATE | ACL_DELETE | ACL_ADMINISTER)
#define OWNER_RIGHTS (ACL_LOOKUP | ACL_ADMINISTER) /* what an owner always keeps */

static void put_rights(struct imap_session *session, unsigned rights)
{
	struct buffer letters = { NULL, 0, 0 };

	acl_tell_rights(&letters, rights);
	imap_put_astring(&session->out, buffer_bytes(&letters));
	buffer_deinit(&letters);
}

void imap_put_my_rights(struct imap_session *session, struct bytes mailbox, unsigned rights)
{
	imap_put(session, "* MYRIGHTS ");
	imap_put_mailbox(session, mailbox);
	imap_put(session, " ");
	put_rights(session, rights);
	imap_put(session, "\r\n");
}

struct request {
	struct bytes mailbox;
	struct bytes given;                           /* the identifier as the client wrote it */
	char identifier[ACL_IDENTIFIER_SIZE_MAX + 1]; /* normalized */
	struct imap_target target;
	bool is_owner; /* the identifier is the name of the account's owner */
	bool is_kept;  /* the entry is not to be deleted */
};

static int parse_identifier(struct imap_parser *args, struct request *request)
{
	if (imap_parse_space(args) < 0 || imap_parse_mailbox(args, &request->mailbox) < 0 ||
		imap_parse_space(args) < 0 || imap_parse_astring(args, &request->given) < 0)
		return ERR_INVALID;
	if (acl_identifier_normalize(request->given, request->identifier) < 0)
		return imap_parse_fail(args, ERR_INVALID, "Invalid identifier");
	return 0;
}

/* Finds the mailbox, and whether its owner is meant. */
static int find(struct imap_session *session, struct request *request, struct error *error)
{
	struct account_header header;
	struct kv_txn *kv;
	int rc;

	imap_catch_up(session);
	rc = imap_target_find(
		session, NULL, request->mailbox, ACL_ADMINISTER, &request->target, error);

	if (rc == 0)
		rc = imap_read_begin(session, &kv);
	if (rc < 0)
		return rc;
	rc = account_load(kv, request->target.account, &header);
	mail_read_end(&kv);
	request->is_owner = rc == 0 && !request->target.is_shared &&
			    strcmp(header.name, request->identifier) == 0;
	return rc;
}

/* ---- changing ---- */

static int read_entries(struct imap_session *session, const struct imap_target *target,
	struct acl *acl_r, struct account_header *header_r)
{
	struct kv_txn *kv;
	int rc = imap_read_begin(session, &kv);

	if (rc < 0)
		return rc;
	rc = acl_list(kv, target->account, target->mailbox.id, session->arena, acl_r);
	if (rc == 0)
		rc = account_load(kv, target->account, header_r);
	mail_read_end(&kv);
	return rc;
}

/*
 * An owner without an entry has all rights, and one with an entry has never less than some: so what
 * his entry is to be is computed from what he has, and an entry without any right is not made.
 */
static int change_owner(struct imap_session *session, const struct request *request,
	enum acl_change *how, unsigned *rights)
{
	struct account_header header;
	unsigned before = ACL_ALL;
	struct acl acl;
	int rc = read_entries(session, &request->target, &acl, &header);

	for (size_t i = 0; rc == 0 && i < acl.count; i++) {
		if (bytes_equal_string(acl.entries[i].identifier, request->identifier))
			before = acl.entries[i].rights;
	}
	if (*how == ACL_ADD)
		*rights |= before;
	else if (*how == ACL_REMOVE)
		*rights = before & ~*rights;
	*rights |= OWNER_RIGHTS;
	*how = ACL_SET;
	return rc;
}

static enum net_result change(struct imap_session *session, struct request *request,
	enum acl_change how, unsigned rights, const char *done)
{
	struct error error = { 0 };
	uint64_t position = 0;
	int rc = find(session, request, &error);

	if (rc == 0 && request->is_owner && request->is_kept)
		rc = change_owner(session, request, &how, &rights);
	if (rc == 0)
		rc = acl_change(session->mail, request->target.account, request->target.mailbox.id,
			bytes_of_string(request->identifier), how, rights, &error, &position);
	if (rc < 0)
		return imap_fail(session, rc, &error);
	imap_wrote(session, position);
	/* The client's own rights to what he has selected may be among them. */
	if (session->view != NULL && imap_view_refresh(session) > 0)
		return imap_bye(session, "You may no longer read the selected mailbox");
	return imap_ok(session, "%s", done);
}

/* ["+" / "-"] letters */
static int parse_modification(struct imap_parser *args, enum acl_change *how_r, unsigned *rights_r)
{
	struct bytes letters;

	if (imap_parse_space(args) < 0 || imap_parse_astring(args, &letters) < 0)
		return ERR_INVALID;
	*how_r = ACL_SET;
	if (bytes_peek(letters) == '+' || bytes_peek(letters) == '-') {
		*how_r = bytes_peek(letters) == '+' ? ACL_ADD : ACL_REMOVE;
		bytes_skip(&letters, 1);
	}
	if (acl_parse_rights(letters, rights_r) < 0)
		return imap_parse_fail(args, ERR_INVALID, "Unknown right");
	return imap_parse_end(args);
}

enum net_result cmd_setacl(struct imap_session *session, struct imap_parser *args)
{
	struct request *request = arena_zalloc(session->arena, sizeof(*request));
	enum acl_change how;
	unsigned rights;

	if (parse_identifier(args, request) < 0 || parse_modification(args, &how, &rights) < 0)
		return imap_bad_args(session, args);
	request->is_kept = true;
	return change(session, request, how, rights, "Set");
}

enum net_result cmd_deleteacl(struct imap_session *session, struct imap_parser *args)
{
	struct request *request = arena_zalloc(session->arena, sizeof(*request));

	if (parse_identifier(args, request) < 0 || imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	return change(session, request, ACL_REMOVE, ACL_ALL, "Deleted");
}

/* ---- asking ---- */

static void put_entry(struct imap_session *session, struct bytes identifier, unsigned rights)
{
	imap_put(session, " ");
	imap_put_astring(&session->out, identifier);
	imap_put(session, " ");
	put_rights(session, rights);
}

/* The owner is among those who have rights, also where no entry says so. */
static void put_acl(struct imap_session *session, struct bytes mailbox, const struct acl *acl,
	const char *owner)
{
	bool has_owner = owner == NULL;

	for (size_t i = 0; i < acl->count; i++)
		has_owner = has_owner || bytes_equal_string(acl->entries[i].identifier, owner);
	imap_put(session, "* ACL ");
	imap_put_mailbox(session, mailbox);
	if (!has_owner)
		put_entry(session, bytes_of_string(owner), ACL_ALL);
	for (size_t i = 0; i < acl->count; i++)
		put_entry(session, acl->entries[i].identifier, acl->entries[i].rights);
	imap_put(session, "\r\n");
}

enum net_result cmd_getacl(struct imap_session *session, struct imap_parser *args)
{
	struct account_header header;
	struct imap_target target;
	struct error error = { 0 };
	struct bytes name;
	struct acl acl;
	int rc;

	if (imap_parse_space(args) < 0 || imap_parse_mailbox(args, &name) < 0 ||
		imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	imap_catch_up(session);
	rc = imap_target_find(session, NULL, name, ACL_ADMINISTER, &target, &error);
	if (rc == 0)
		rc = read_entries(session, &target, &acl, &header);
	if (rc < 0)
		return imap_fail(session, rc, &error);
	put_acl(session, name, &acl, target.is_shared ? NULL : header.name);
	return imap_ok(session, "Listed");
}

enum net_result cmd_listrights(struct imap_session *session, struct imap_parser *args)
{
	struct request *request = arena_zalloc(session->arena, sizeof(*request));
	struct error error = { 0 };
	int rc;

	if (parse_identifier(args, request) < 0 || imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	rc = find(session, request, &error);
	if (rc < 0)
		return imap_fail(session, rc, &error);
	imap_put(session, "* LISTRIGHTS ");
	imap_put_mailbox(session, request->mailbox);
	imap_put(session, " ");
	imap_put_astring(&session->out, request->given);
	imap_put(session, request->is_owner ? " la r s w i p k x t e n c d\r\n"
					    : " \"\" l r s w i p k x t e a n c d\r\n");
	return imap_ok(session, "Listed");
}

enum net_result cmd_myrights(struct imap_session *session, struct imap_parser *args)
{
	struct imap_target target;
	struct error error = { 0 };
	struct bytes name;
	int rc;

	if (imap_parse_space(args) < 0 || imap_parse_mailbox(args, &name) < 0 ||
		imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	imap_catch_up(session);
	rc = imap_target_find(session, NULL, name, 0, &target, &error);
	if (rc == 0 && (target.rights & MYRIGHTS_RIGHTS) == 0)
		rc = error_set(&error, ERR_NOT_FOUND, "no such mailbox");
	if (rc < 0)
		return imap_fail(session, rc, &error);
	imap_put_my_rights(session, name, target.rights);
	return imap_ok(session, "Listed");
}
