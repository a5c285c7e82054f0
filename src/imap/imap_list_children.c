/* Whether a single name has children, without a list of all. */
#include "imap/imap_list.h"

static int found(void *context, const struct mailbox_record *mailbox)
{
	(void)context;
	(void)mailbox;
	return 1;
}

struct looking {
	struct imap_session *session;
	struct kv_txn *kv;
	const struct imap_target *above;
};

/* Of another account's mailboxes those count that the user may know of. */
static int found_visible(void *context, const struct mailbox_record *mailbox)
{
	const struct looking *looking = context;
	struct imap_target target = { .account = looking->above->account, .mailbox = *mailbox };
	int rc;

	if (bytes_equal_string(mailbox->name, "INBOX"))
		return 0; /* it is the one above all others */
	rc = imap_target_complete(looking->session, looking->kv, &target);
	if (rc < 0)
		return rc;
	return (target.rights & ACL_LOOKUP) != 0 ? 1 : 0;
}

static struct bytes prefix_below(struct imap_session *session, struct bytes name)
{
	return bytes_of_string(arena_printf(session->arena, "%.*s/", BYTES_ARGS(name)));
}

/* A level of the namespaces, such as "Shared": that is rarely asked, so the whole list will do. */
static int has_listed_children(
	struct imap_session *session, struct kv_txn *kv, struct bytes name, bool *answer_r)
{
	struct imap_list list;
	int rc = imap_list_read(session, kv, true, &list);

	for (size_t i = 0; rc == 0 && i < list.count; i++) {
		if (bytes_equal(list.entries[i].name, name))
			*answer_r = list.entries[i].has_children;
	}
	return rc;
}

static bool is_at_or_above(struct bytes name, const char *prefix)
{
	struct bytes whole = bytes_of_string(prefix);

	return bytes_start_with(whole, name) &&
	       (whole.len == name.len || whole.ptr[name.len] == '/');
}

int imap_list_has_children(
	struct imap_session *session, struct kv_txn *kv, struct bytes name, bool *answer_r)
{
	struct imap_target target;
	struct looking looking = { session, kv, &target };
	struct bytes prefix = prefix_below(session, name);
	int rc;

	*answer_r = false;
	rc = account_each_mailbox_of(
		kv, session->identity.account, prefix, session->arena, found, NULL);
	if (rc == 0 && (is_at_or_above(name, session->options->other_users_prefix) ||
			       is_at_or_above(name, session->options->shared_prefix)))
		return has_listed_children(session, kv, name, answer_r);
	if (rc == 0)
		rc = imap_target_resolve(session, kv, name, &target);
	if (rc == 0 && !target.is_own) {
		prefix = bytes_equal_string(target.name, "INBOX")
				 ? bytes_of(NULL, 0)
				 : prefix_below(session, target.name);
		rc = account_each_mailbox_of(
			kv, target.account, prefix, session->arena, found_visible, &looking);
	}
	*answer_r = rc > 0;
	return rc < 0 && rc != ERR_NOT_FOUND ? rc : 0;
}
