/* Shared accounts, and the rights to mailboxes. */
#include "chapard/admin_private.h"

#include "chapard/json.h"
#include "mail/acl.h"
#include "mail/annotation.h"

/* Arguments: NAME. */
int admin_account_share(struct admin_call *call, struct buffer *out, struct error *error)
{
	char normal[ACCOUNT_NAME_SIZE_MAX + 1];
	struct mail *mail = call->admin->mail;
	uint32_t number;
	int rc = account_name_normalize(bytes_of_string(call->arguments[0]), normal);

	if (rc < 0)
		return error_set(
			error, rc, "\"%.100s\" cannot be an account's name", call->arguments[0]);
	if (strcmp(normal, ANNOTATION_SERVER_ACCOUNT) == 0)
		return error_set(error, ERR_REFUSED, "%s is the server's own", normal);
	rc = mail_account_open(mail, bytes_of_string(normal), false, NULL, &number);
	if (rc == 0)
		return error_set(error, ERR_EXISTS, "account \"%s\" is there already", normal);
	if (rc == ERR_NOT_FOUND)
		rc = mail_account_open(mail, bytes_of_string(normal), true, error, &number);
	if (rc == 0 && call->admin->new_accounts_have_master)
		rc = mail_mode_set_own(mail, number, error);
	if (rc == 0)
		rc = mail_account_mark_shared(mail, number, error);
	if (rc == 0)
		buffer_printf(out, "added %s, shared; nobody has rights yet\n", normal);
	return rc < 0 ? rc : ADMIN_DONE;
}

static int find_mailbox(struct admin_call *call, uint32_t *account_r, struct id128 *mailbox_r,
	struct acl *acl_r, struct error *error)
{
	struct mailbox_record mailbox;
	struct kv_txn *kv = NULL;
	int rc = admin_account_find(call, call->arguments[0], account_r, error);

	if (rc == 0)
		rc = mail_read_begin(call->admin->mail, 0, &kv);
	if (rc < 0)
		return rc;
	rc = account_find_mailbox(
		kv, *account_r, bytes_of_string(call->arguments[1]), call->arena, &mailbox);
	if (rc == 0)
		rc = acl_read(kv, *account_r, mailbox.id, call->arena, acl_r);
	mail_read_end(&kv);
	if (rc == ERR_NOT_FOUND)
		return error_set(error, rc, "no mailbox \"%s\"", call->arguments[1]);
	*mailbox_r = mailbox.id;
	return rc;
}

static void tell_json(const struct acl *acl, struct buffer *out)
{
	struct buffer letters = { 0 };

	for (size_t i = 0; i < acl->count; i++) {
		buffer_clear(&letters);
		acl_write_rights(&letters, acl->entries[i].rights);
		json_member_string(
			out, i == 0 ? "[{" : ",{", "identifier", acl->entries[i].identifier);
		json_member_string(out, ",", "rights", buffer_bytes(&letters));
		buffer_append_byte(out, '}');
	}
	buffer_append_string(out, acl->count == 0 ? "[]\n" : "]\n");
	buffer_deinit(&letters);
}

static void tell(const struct acl *acl, struct buffer *out)
{
	for (size_t i = 0; i < acl->count; i++) {
		buffer_printf(out, "%-32.*s ", BYTES_ARGS(acl->entries[i].identifier));
		acl_write_rights(out, acl->entries[i].rights);
		buffer_append_string(out, "\n");
	}
}

static int set(struct admin_call *call, uint32_t account, struct id128 mailbox, struct buffer *out,
	struct error *error)
{
	char identifier[ACL_IDENTIFIER_SIZE_MAX + 1];
	const char *letters = call->arguments[3];
	unsigned rights = 0;
	int rc = acl_identifier_normalize(bytes_of_string(call->arguments[2]), identifier);

	if (rc < 0)
		return error_set(error, rc, "\"%.100s\" is no identifier", call->arguments[2]);
	if (strcmp(letters, "none") != 0)
		rc = acl_parse_rights(bytes_of_string(letters), &rights);
	if (rc < 0)
		return error_set(error, rc, "rights are letters of lrswipkxteancd, or \"none\"");
	rc = acl_change(call->admin->mail, account, mailbox, bytes_of_string(identifier), ACL_SET,
		rights, error, NULL);
	if (rc == 0)
		buffer_printf(out, "set %s\n", identifier);
	return rc;
}

/* Arguments: NAME MAILBOX [IDENTIFIER RIGHTS]. */
int admin_acl(struct admin_call *call, struct buffer *out, struct error *error)
{
	struct id128 mailbox;
	struct acl acl;
	uint32_t account;
	int rc;

	if (call->argument_count == 3)
		return error_set(error, ERR_INVALID, "an identifier needs rights, or \"none\"");
	rc = find_mailbox(call, &account, &mailbox, &acl, error);
	if (rc == 0 && call->argument_count == 2)
		(admin_has(call, ADMIN_OPTION_JSON) ? tell_json : tell)(&acl, out);
	else if (rc == 0)
		rc = set(call, account, mailbox, out, error);
	return rc < 0 ? rc : ADMIN_DONE;
}
