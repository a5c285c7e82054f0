/* GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208). An account is a quota root of the account's name. */
#include "imap/imap_commands.h"
#include "imap/imap_quota.h"
#include "imap/imap_reply.h"
#include "imap/imap_target.h"

#include "mail/quota.h"

void imap_quota_warn(struct imap_session *session, struct kv_txn *kv, uint32_t account)
{
	unsigned threshold = session->options->quota_warning_percent, percent;
	struct quota quota;

	if (threshold == 0 || quota_read(session->mail, kv, account, &quota) < 0)
		return;
	percent = quota_percent(&quota);
	if (percent >= threshold)
		imap_printf(session, "* NO [OVERQUOTA] %u%% of the quota is used\r\n", percent);
}

static void put_quota(struct imap_session *session, const char *root, const struct quota *quota)
{
	const char *blank = "";

	imap_put(session, "* QUOTA ");
	imap_put_astring(&session->out, bytes_of_string(root));
	imap_put(session, " (");
	for (int i = 0; i < QUOTA_RESOURCE_COUNT; i++) {
		if (quota->limits.of[i] == QUOTA_UNLIMITED)
			continue;
		imap_printf(session, "%s%s %llu %llu", blank,
			quota_resource_name((enum quota_resource)i),
			(unsigned long long)quota->usage[i],
			(unsigned long long)quota->limits.of[i]);
		blank = " ";
	}
	imap_put(session, ")\r\n");
}

static int tell_quota(struct imap_session *session, struct kv_txn *kv, uint32_t account)
{
	struct account_header header;
	struct quota quota;
	int rc = account_load(kv, account, &header);

	if (rc == 0)
		rc = quota_read(session->mail, kv, account, &quota);
	if (rc == 0)
		put_quota(session, header.name, &quota);
	return rc;
}

/* The account behind a quota root: the user's own; for administrators any. */
static int root_find(struct imap_session *session, struct kv_txn *kv, struct bytes root,
	uint32_t *account_r, struct error *error)
{
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	int rc = account_name_normalize(root, name);

	if (rc == 0)
		rc = account_find(kv, bytes_of_string(name), account_r);
	if (rc == ERR_INVALID ||
		(rc == 0 && *account_r != session->identity.account && !session->identity.is_admin))
		rc = ERR_NOT_FOUND;
	return rc == ERR_NOT_FOUND ? error_set(error, rc, "no such quota root") : rc;
}

enum net_result cmd_getquota(struct imap_session *session, struct imap_parser *args)
{
	struct error error = { 0 };
	struct kv_txn *kv = NULL;
	struct bytes root;
	uint32_t account;
	int rc;

	if (imap_parse_space(args) < 0 || imap_parse_astring(args, &root) < 0 ||
		imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	imap_catch_up(session);
	rc = imap_read_begin(session, &kv);
	if (rc == 0)
		rc = root_find(session, kv, root, &account, &error);
	if (rc == 0)
		rc = tell_quota(session, kv, account);
	mail_read_end(&kv);
	return rc < 0 ? imap_fail(session, rc, &error) : imap_ok(session, "Done");
}

static int tell_quotaroot(
	struct imap_session *session, struct kv_txn *kv, struct bytes name, struct error *error)
{
	struct account_header header;
	struct imap_target target;
	int rc = imap_target_resolve(session, kv, name, &target);

	/* One's own that is not there yet would be in the same root (RFC 9208, section 4.1.2). */
	if (rc != 0 || target.exists || !target.is_own)
		rc = imap_target_find(session, kv, name, ACL_READ, &target, error);
	if (rc == 0)
		rc = account_load(kv, target.account, &header);
	if (rc < 0)
		return rc;
	imap_put(session, "* QUOTAROOT ");
	imap_put_mailbox(session, name);
	imap_put(session, " ");
	imap_put_astring(&session->out, bytes_of_string(header.name));
	imap_put(session, "\r\n");
	return tell_quota(session, kv, target.account);
}

enum net_result cmd_getquotaroot(struct imap_session *session, struct imap_parser *args)
{
	struct error error = { 0 };
	struct kv_txn *kv = NULL;
	struct bytes name;
	int rc;

	if (imap_parse_space(args) < 0 || imap_parse_mailbox(args, &name) < 0 ||
		imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	imap_catch_up(session);
	rc = imap_read_begin(session, &kv);
	if (rc == 0)
		rc = tell_quotaroot(session, kv, name, &error);
	mail_read_end(&kv);
	return rc < 0 ? imap_fail(session, rc, &error) : imap_ok(session, "Done");
}

/* "(STORAGE 512 MESSAGE 100)": what is not named has no limit (RFC 9208, section 4.1.3). */
static int parse_limits(struct imap_parser *args, struct quota_changes *changes)
{
	for (int i = 0; i < QUOTA_RESOURCE_COUNT; i++) {
		changes->change[i] = QUOTA_SET;
		changes->limits.of[i] = QUOTA_UNLIMITED;
	}
	if (imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	if (imap_parse_take(args, ')'))
		return 0;
	do {
		enum quota_resource resource;
		struct bytes name;

		if (imap_parse_atom(args, &name) < 0 || imap_parse_space(args) < 0)
			return ERR_INVALID;
		resource = quota_resource_find(name);
		if (resource == QUOTA_RESOURCE_COUNT)
			return imap_parse_fail(args, ERR_REFUSED, "Unknown quota resource");
		if (imap_parse_number(args, QUOTA_LIMIT_MAX, &changes->limits.of[resource]) < 0)
			return ERR_INVALID;
	} while (imap_parse_take(args, ' '));
	return imap_parse_expect(args, ')');
}

static int set_limits(struct imap_session *session, struct bytes root,
	const struct quota_changes *changes, struct error *error)
{
	struct kv_txn *kv = NULL;
	uint64_t position = 0;
	uint32_t account;
	int rc = imap_read_begin(session, &kv);

	if (rc == 0)
		rc = root_find(session, kv, root, &account, error);
	mail_read_end(&kv);
	if (rc == 0 && (!session->identity.is_admin || session->identity.is_read_only))
		rc = error_set(error, ERR_REFUSED, "only administrators set quotas");
	if (rc == 0)
		rc = quota_set(session->mail, account, changes, error, &position);
	imap_wrote(session, position);
	if (rc == 0)
		rc = imap_read_begin(session, &kv);
	if (rc == 0)
		rc = tell_quota(session, kv, account);
	mail_read_end(&kv);
	return rc;
}

enum net_result cmd_setquota(struct imap_session *session, struct imap_parser *args)
{
	struct quota_changes changes;
	struct error error = { 0 };
	struct bytes root;
	int rc;

	if (imap_parse_space(args) < 0 || imap_parse_astring(args, &root) < 0 ||
		imap_parse_space(args) < 0)
		return imap_bad_args(session, args);
	rc = parse_limits(args, &changes);
	if (rc == ERR_REFUSED)
		return imap_no(session, "[CANNOT] %s", args->problem);
	if (rc < 0 || imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	rc = set_limits(session, root, &changes, &error);
	return rc < 0 ? imap_fail(session, rc, &error) : imap_ok(session, "Quota set");
}
