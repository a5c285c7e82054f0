#include "imap/imap_target.h"

#include "imap/imap_reply.h"
#include "imap/imap_update.h"

#define FLAG_RIGHTS (ACL_SEEN | ACL_WRITE | ACL_MARK)

int imap_target_check(const struct imap_target *target, unsigned needs, struct error *error)
{
	if ((target->rights & needs) == needs)
		return 0;
	if ((target->rights & ACL_LOOKUP) == 0)
		return error_set(error, ERR_NOT_FOUND, "no such mailbox");
	return error_set(error, ERR_REFUSED, "you may not do that with this mailbox");
}

int imap_view_check(const struct imap_session *session, unsigned needs, struct error *error)
{
	if ((session->view->rights & needs) == needs)
		return 0;
	return error_set(error, ERR_REFUSED, "you may not do that with this mailbox");
}

struct shared_place imap_target_place(const struct imap_target *target)
{
	return (struct shared_place){ target->account, target->mailbox.id, target->rights,
		target->seen_account };
}

/* ---- names ---- */

/* Takes "PREFIX/" off the front. */
static bool take_prefix(struct bytes *name, const char *prefix)
{
	struct bytes rest = *name, bytes = bytes_of_string(prefix);

	if (!bytes_start_with(rest, bytes) || rest.len <= bytes.len || rest.ptr[bytes.len] != '/')
		return false;
	bytes_skip(&rest, bytes.len + 1);
	*name = rest;
	return true;
}

static bool take_namespace(
	const struct imap_session *session, struct bytes *name, bool *is_shared_r)
{
	*is_shared_r = take_prefix(name, session->options->shared_prefix);
	return *is_shared_r || take_prefix(name, session->options->other_users_prefix);
}

struct bytes imap_target_foreign_name(
	struct imap_session *session, const char *account_name, bool is_shared, struct bytes name)
{
	const char *prefix =
		is_shared ? session->options->shared_prefix : session->options->other_users_prefix;

	if (bytes_equal_string(name, "INBOX"))
		return bytes_of_string(arena_printf(session->arena, "%s/%s", prefix, account_name));
	return bytes_of_string(
		arena_printf(session->arena, "%s/%s/%.*s", prefix, account_name, BYTES_ARGS(name)));
}

/* ---- finding ---- */

int imap_target_complete(
	struct imap_session *session, struct kv_txn *kv, struct imap_target *target)
{
	int rc = acl_rights(
		kv, &session->identity, target->account, target->mailbox.id, &target->rights);

	target->exists = true;
	target->seen_account = target->is_own ? 0 : session->identity.account;
	/* Who has no account has nowhere to keep it. */
	if (!target->is_own && session->identity.account == 0)
		target->rights &= ~(unsigned)ACL_SEEN;
	return rc;
}

/*
 * The rights to the nearest mailbox above the name. If there is none: in the own account all, in a
 * shared one those to its INBOX, in another user's what an administrator always has.
 */
static int find_rights_above(
	struct imap_session *session, struct kv_txn *kv, struct imap_target *target)
{
	struct bytes above = target->name;
	struct mailbox_record mailbox;
	int rc = ERR_NOT_FOUND;

	while (rc == ERR_NOT_FOUND && above.len > 0) {
		while (above.len > 0 && above.ptr[above.len - 1] != '/')
			above.len--;
		if (above.len > 0)
			above.len--;
		if (above.len > 0)
			rc = account_find_mailbox(
				kv, target->account, above, session->arena, &mailbox);
	}
	if (rc == ERR_NOT_FOUND && target->is_shared)
		rc = account_find_mailbox(
			kv, target->account, BYTES_LITERAL("INBOX"), session->arena, &mailbox);
	if (rc == 0)
		return acl_rights(
			kv, &session->identity, target->account, mailbox.id, &target->rights);
	target->rights = acl_effective(&session->identity, target->is_own, NULL, 0);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int find_inside(struct imap_session *session, struct kv_txn *kv, struct imap_target *target)
{
	int rc = account_find_mailbox(
		kv, target->account, target->name, session->arena, &target->mailbox);

	if (rc == 0)
		return imap_target_complete(session, kv, target);
	return rc == ERR_NOT_FOUND ? find_rights_above(session, kv, target) : rc;
}

/* `name` is what follows the prefix: NAME or NAME/REST. */
static int find_foreign(struct imap_session *session, struct kv_txn *kv, struct bytes name,
	bool is_shared, struct imap_target *target)
{
	struct bytes account = bytes_take(&name, bytes_find(name, '/'));
	char normal[ACCOUNT_NAME_SIZE_MAX + 1];
	struct account_header header;
	int rc;

	*target = (struct imap_target){ .is_shared = is_shared, .name = BYTES_LITERAL("INBOX") };
	if (name.len > 0) {
		bytes_skip(&name, 1);
		target->name = name;
		/* One mailbox has one name. */
		if (name.len == 0 || bytes_equal_string_nocase(name, "INBOX"))
			return ERR_NOT_FOUND;
	}
	if (account_name_normalize(account, normal) < 0)
		return ERR_NOT_FOUND;
	rc = account_find(kv, bytes_of_string(normal), &target->account);
	if (rc == 0)
		rc = account_load(kv, target->account, &header);
	if (rc == 0 && !account_is_visible(&header))
		rc = ERR_NOT_FOUND;
	if (rc == 0)
		rc = account_is_shared(kv, target->account, &is_shared);
	if (rc == 0 &&
		(is_shared != target->is_shared || target->account == session->identity.account))
		rc = ERR_NOT_FOUND;
	return rc < 0 ? rc : find_inside(session, kv, target);
}

int imap_target_resolve(struct imap_session *session, struct kv_txn *kv, struct bytes name,
	struct imap_target *target_r)
{
	struct imap_target target = {
		.account = session->identity.account, .is_own = true, .name = name
	};
	bool is_shared;
	int rc;

	if (bytes_equal_string_nocase(name, "INBOX"))
		target.name = BYTES_LITERAL("INBOX");
	rc = find_inside(session, kv, &target);
	if (rc == 0 && !target.exists && take_namespace(session, &name, &is_shared))
		rc = find_foreign(session, kv, name, is_shared, &target);
	if (rc == 0)
		*target_r = target;
	return rc;
}

int imap_target_find(struct imap_session *session, struct kv_txn *kv, struct bytes name,
	unsigned needs, struct imap_target *target_r, struct error *error)
{
	struct kv_txn *own = NULL;
	struct imap_target target;
	int rc = 0;

	if (kv == NULL) {
		imap_catch_up(session);
		rc = imap_read_begin(session, &own);
		kv = own;
	}
	if (rc == 0)
		rc = imap_target_resolve(session, kv, name, &target);
	mail_read_end(&own);
	if (rc == ERR_NOT_FOUND || (rc == 0 && !target.exists))
		return error_set(error, ERR_NOT_FOUND, "no such mailbox");
	if (rc == 0)
		rc = imap_target_check(&target, needs, error);
	if (rc == 0)
		*target_r = target;
	return rc;
}

enum net_result imap_no_destination(struct imap_session *session, struct bytes name)
{
	struct error error = { 0 };
	int rc = mailbox_name_check(name, &error);

	return rc < 0 ? imap_fail(session, rc, &error)
		      : imap_no(session, "[TRYCREATE] No such mailbox");
}

/* ---- the selected mailbox ---- */

int imap_view_refresh(struct imap_session *session)
{
	struct imap_view *view = session->view;
	struct imap_target target = { .account = view->account,
		.is_own = view->account == session->identity.account,
		.mailbox = { .id = view->mailbox } };
	unsigned changed;
	struct kv_txn *kv;
	int rc;

	if (!target.is_own)
		imap_catch_up(session);
	rc = imap_read_begin(session, &kv);
	if (rc < 0)
		return rc;
	rc = imap_view_verify(view, kv);
	if (rc == 0)
		rc = imap_target_complete(session, kv, &target);
	mail_read_end(&kv);
	if (rc < 0)
		return rc;
	changed = view->rights ^ target.rights;
	view->rights = target.rights;
	if ((changed & FLAG_RIGHTS) != 0)
		imap_put_mailbox_flags(session);
	return (view->rights & ACL_READ) == 0 ? 1 : 0;
}
