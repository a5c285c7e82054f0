#include "imap/imap_list.h"
#include "imap/imap_notify_private.h"
#include "imap/imap_reply.h"

int imap_notify_is_subscribed(
	struct imap_session *session, struct kv_txn *kv, struct bytes name, bool *answer_r)
{
	struct register_record record;
	int rc = account_get_register(kv, session->identity.account, RECORD_SUBSCRIPTION,
		(struct id128){ { 0 } }, name, session->arena, &record);

	*answer_r = rc == 0 && record.is_set;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* As LIST has them. */
static int put_attributes(
	struct imap_session *session, struct kv_txn *kv, const struct imap_notify_name *name)
{
	const struct imap_target *target = name->target;
	bool has_children, is_subscribed;
	int rc = imap_list_has_children(session, kv, name->name, &has_children);

	if (rc == 0)
		rc = imap_notify_is_subscribed(session, kv, name->name, &is_subscribed);
	if (rc < 0)
		return rc;
	imap_put(session, has_children ? "\\HasChildren" : "\\HasNoChildren");
	if (target == NULL)
		imap_put(session, " \\NonExistent");
	if (is_subscribed)
		imap_put(session, " \\Subscribed");
	/* What others use mailboxes for is their matter. */
	if (target != NULL && target->is_own && target->mailbox.special_use.len > 0) {
		imap_put(session, " ");
		imap_put_bytes(session, target->mailbox.special_use);
	}
	return 0;
}

int imap_notify_put_name(struct imap_session *session, struct kv_txn *kv, struct map *told,
	const struct imap_notify_name *name)
{
	size_t start = session->out.len;
	int rc;

	if (name->old_name.len == 0 && map_get(told, name->name) != NULL)
		return 0;
	imap_put(session, "* LIST (");
	rc = put_attributes(session, kv, name);
	if (rc < 0) {
		buffer_truncate(&session->out, start);
		return rc;
	}
	imap_put(session, ") \"/\" ");
	imap_put_mailbox(session, name->name);
	if (name->old_name.len > 0) {
		imap_put(session, " (\"OLDNAME\" (");
		imap_put_mailbox(session, name->old_name);
		imap_put(session, "))");
	}
	imap_put(session, "\r\n");
	map_put(told, name->name, session);
	return 0;
}

struct bytes imap_notify_parent(struct bytes name)
{
	while (name.len > 0 && name.ptr[name.len - 1] != '/')
		name.len--;
	if (name.len > 0)
		name.len--;
	return name;
}

int imap_notify_put_parent(
	struct imap_session *session, struct kv_txn *kv, struct map *told, struct bytes name)
{
	struct imap_notify_name parent = { .name = imap_notify_parent(name) };
	struct imap_target target;
	int rc;

	if (parent.name.len == 0 || (imap_notify_events(session, kv, session->notify, parent.name) &
					    NOTIFY_MAILBOX_NAME) == 0)
		return 0;
	rc = imap_target_resolve(session, kv, parent.name, &target);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (rc == 0 && target.exists && (target.rights & ACL_LOOKUP) != 0)
		parent.target = &target;
	return imap_notify_put_name(session, kv, told, &parent);
}
