/*
 * P9: a request of a guest changes at the node that holds the account what his rights let him
 * change, by what they were before it, and nothing else. Said here anew, and not by the code under
 * test.
 */
#include "sim_guest.h"

#include "mail/annotation.h"

struct comparing {
	struct sim *sim;
	struct kv_txn *before, *after;
	struct arena *arena;
	uint32_t account;
	struct identity identity;
};

static unsigned rights_before(const struct comparing *comparing, struct id128 mailbox)
{
	unsigned rights = 0;

	if (acl_rights(comparing->before, &comparing->identity, comparing->account, mailbox,
		    &rights) < 0)
		return 0;
	return rights;
}

static bool may(const struct comparing *comparing, struct id128 mailbox, unsigned needs)
{
	unsigned all = needs | ACL_LOOKUP | ACL_READ;

	return (rights_before(comparing, mailbox) & all) == all;
}

/* ---- messages ---- */

static bool is_set(const struct message_record *message, struct bytes name)
{
	const struct flag_state *flag = message_flag(message, name);

	return flag != NULL && flag->is_set;
}

static unsigned right_of_flag(struct bytes name)
{
	return bytes_equal_string(name, "\\Deleted") ? ACL_MARK : ACL_WRITE;
}

static void compare_flags(struct comparing *comparing, const struct message_record *before,
	const struct message_record *after)
{
	for (size_t i = 0; i < after->flag_count; i++) {
		struct bytes name = after->flags[i].name;

		if (is_set(before, name) == is_set(after, name))
			continue;
		if (bytes_equal_string(name, "\\Seen"))
			sim_fail(comparing->sim, "P9: a guest changes the owner's \\Seen");
		else if (!may(comparing, before->mailbox, right_of_flag(name)))
			sim_fail(comparing->sim, "P9: a guest changes %.*s without the right",
				BYTES_ARGS(name));
	}
}

static void compare_shown(struct comparing *comparing, const struct message_record *before,
	const struct message_record *after)
{
	unsigned needs = ACL_EXPUNGE |
			 (is_set(before, BYTES_LITERAL("\\Deleted")) ? 0u : (unsigned)ACL_MARK);

	if (!message_is_shown(after)) {
		if (!may(comparing, before->mailbox, needs) &&
			!may(comparing, before->mailbox, ACL_DELETE))
			sim_fail(comparing->sim, "P9: a guest expunges without the right");
		return;
	}
	if (before->uid != after->uid || !id128_equal(before->mailbox, after->mailbox))
		sim_fail(comparing->sim, "P9: a guest moves or renumbers a message");
	compare_flags(comparing, before, after);
}

static int compare_message(void *context, const struct message_record *after)
{
	struct comparing *comparing = context;
	struct message_record before;
	int rc = account_get_message(
		comparing->before, comparing->account, after->instance, comparing->arena, &before);

	if (rc == 0 && message_is_shown(&before))
		compare_shown(comparing, &before, after);
	else if (rc == 0 && message_is_shown(after))
		sim_fail(comparing->sim, "P9: a guest brings back what was expunged");
	else if (rc < 0 && message_is_shown(after) && !may(comparing, after->mailbox, ACL_INSERT))
		sim_fail(comparing->sim, "P9: a guest appends without the right");
	return 0;
}

/* ---- mailboxes ---- */

/* Of the nearest live mailbox above the name. */
static bool may_create(struct comparing *comparing, struct bytes name)
{
	struct mailbox_record above;

	while (name.len > 0) {
		name.len--;
		if (name.ptr[name.len] == '/' &&
			account_find_mailbox(comparing->before, comparing->account, name,
				comparing->arena, &above) == 0)
			return may(comparing, above.id, ACL_CREATE);
	}
	return false;
}

/* It, or one above it that took it along. */
static bool may_rename(struct comparing *comparing, const struct mailbox_record *before)
{
	struct mailbox_record above;
	struct bytes name = before->name;

	if (may(comparing, before->id, ACL_DELETE))
		return true;
	while (name.len > 0) {
		name.len--;
		if (name.ptr[name.len] == '/' &&
			account_find_mailbox(comparing->before, comparing->account, name,
				comparing->arena, &above) == 0 &&
			may(comparing, above.id, ACL_DELETE))
			return true;
	}
	return false;
}

static int compare_mailbox(void *context, const struct mailbox_record *after)
{
	struct comparing *comparing = context;
	struct mailbox_record before;
	int rc = account_get_mailbox(
		comparing->before, comparing->account, after->id, comparing->arena, &before);

	if (rc < 0) {
		if (mailbox_is_live(after) && !may_create(comparing, after->name))
			sim_fail(comparing->sim, "P9: a guest makes mailbox %.*s without the right",
				BYTES_ARGS(after->name));
		return 0;
	}
	if (mailbox_is_live(&before) != mailbox_is_live(after)) {
		if (mailbox_is_live(after) || !may(comparing, after->id, ACL_DELETE))
			sim_fail(comparing->sim,
				"P9: a guest deletes or revives mailbox %.*s without the right",
				BYTES_ARGS(before.name));
		return 0;
	}
	if (!bytes_equal(before.name, after->name) &&
		(!may_rename(comparing, &before) || !may_create(comparing, after->name)))
		sim_fail(comparing->sim, "P9: a guest renames mailbox %.*s without the right",
			BYTES_ARGS(before.name));
	if (!bytes_equal(before.special_use, after->special_use) ||
		before.uidvalidity != after->uidvalidity)
		sim_fail(comparing->sim, "P9: a guest changes what mailbox %.*s is",
			BYTES_ARGS(before.name));
	return 0;
}

/* ---- registers ---- */

static bool may_change_register(
	struct comparing *comparing, const struct register_record *after, bool existed)
{
	struct mailbox_record mailbox;
	struct stamp instance;

	if (annotation_instance(after, &instance))
		return !after->is_set; /* it went with its message, which is looked at */
	if (after->kind == RECORD_ACCOUNT)
		return bytes_equal_string(after->key, ACCOUNT_MERGED_KEY);
	if (account_get_mailbox(comparing->before, comparing->account, after->mailbox,
		    comparing->arena, &mailbox) < 0)
		return !existed; /* a new mailbox has the rights of the one above */
	if (!after->is_set && may(comparing, after->mailbox, ACL_DELETE))
		return true;
	return after->kind == RECORD_ANNOTATION && annotation_is_shared(after) &&
	       may(comparing, after->mailbox, ACL_WRITE);
}

static int compare_register(void *context, const struct register_record *after)
{
	struct comparing *comparing = context;
	struct register_record before;
	bool existed = account_get_register(comparing->before, comparing->account, after->kind,
			       after->mailbox, after->key, comparing->arena, &before) == 0;

	if (existed && before.is_set == after->is_set && bytes_equal(before.value, after->value))
		return 0;
	if (!may_change_register(comparing, after, existed))
		sim_fail(comparing->sim, "P9: a guest changes setting %u %.*s",
			(unsigned)after->kind, BYTES_ARGS(after->key));
	return 0;
}

/* ---- all of it ---- */

void guest_watch_begin(struct sim *sim, struct guest_watch *watch)
{
	struct sim_node *server = guests_server(sim);

	watch->sequence = header_of(sim, server).sequence;
	watch->before = node_read(server);
}

void guest_watch_end(struct sim *sim, struct guest_watch *watch)
{
	static const struct account_change_functions functions = { compare_mailbox, compare_message,
		compare_register };
	struct sim_node *server = guests_server(sim);
	struct comparing comparing = { .sim = sim,
		.before = watch->before,
		.after = node_read(server),
		.arena = arena_new(),
		.account = server->account,
		.identity = guest_identity(guests_own_there(sim)) };

	if (account_each_change(comparing.after, server->account, watch->sequence, comparing.arena,
		    &functions, &comparing) < 0)
		sim_fail(sim, "the changes cannot be read");
	arena_free(&comparing.arena);
	mail_read_end(&comparing.after);
	mail_read_end(&watch->before);
}
