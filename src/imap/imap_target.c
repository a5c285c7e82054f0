#include "imap/imap_target.h"

int imap_target_check(const struct imap_target *target, unsigned needs, struct error *error)
{
	if ((target->rights & needs) == needs)
		return 0;
	if ((target->rights & ACL_LOOKUP) == 0)
		return error_set(error, ERR_NOT_FOUND, "no such mailbox");
	return error_set(error, ERR_REFUSED, "you may not do that with this mailbox");
}

int imap_target_resolve(struct imap_session *session, struct kv_txn *kv, struct bytes name,
	struct imap_target *target_r)
{
	struct imap_target target = { .account = session->identity.account,
		.is_own = true,
		.rights = ACL_ALL,
		.name = name };
	int rc;

	if (bytes_equal_string_nocase(name, "INBOX"))
		target.name = BYTES_LITERAL("INBOX");
	rc = account_find_mailbox(kv, target.account, target.name, session->arena, &target.mailbox);
	target.exists = rc == 0;
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	*target_r = target;
	return 0;
}

int imap_target_find(struct imap_session *session, struct kv_txn *kv, struct bytes name,
	unsigned needs, struct imap_target *target_r, struct error *error)
{
	struct kv_txn *own = NULL;
	struct imap_target target;
	int rc = 0;

	if (kv == NULL) {
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
