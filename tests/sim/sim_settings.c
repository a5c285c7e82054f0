/*
 * Acts of clients on a node that change settings: subscriptions, annotations and rights, special
 * use, quota, private \Seen, scripts, modes; and the account as a whole.
 */
#include "sim_client.h"

#include "mail/account_mode.h"
#include "mail/acl.h"
#include "mail/annotation.h"
#include "mail/deletion.h"
#include "mail/mail_private.h"
#include "mail/quota.h"
#include "mail/script.h"
#include "mail/seen.h"

void act_subscribe(struct client *client)
{
	struct sim_node *node = client->node;
	const char *name = client_mailbox_name(client);

	client_expect(client,
		mailbox_subscribe(node->mail, node->account, bytes_of_string(name),
			sim_chance(client->sim, 60), &client->error, &node->position),
		"subscribe");
}

static void act_annotate_messages(struct client *client, const struct annotation *change)
{
	struct sim_node *node = client->node;
	const struct mailbox_record *mailbox = client_mailbox_with_messages(client);
	struct uid_set uids, changed = { 0 }, modified = { 0 };

	if (mailbox == NULL)
		return;
	uids = client_some_uids(client);
	client_expect(client,
		message_annotate(node->mail, node->account, mailbox->id, &uids, change, 1,
			UINT64_MAX, &client->error, &changed, &modified, &node->position),
		"annotate messages");
	uid_set_deinit(&uids);
	uid_set_deinit(&changed);
	uid_set_deinit(&modified);
}

/* As SETMETADATA, STORE ANNOTATION and SETACL would. */
void act_annotate(struct client *client)
{
	static const char *const identifiers[] = { "bob", "anyone", "-bob" };
	struct sim_node *node = client->node;
	const struct mailbox_record *mailbox = client_any_mailbox(client);
	struct annotation change = { .scope = sim_chance(client->sim, 50) ? ANNOTATION_SHARED
									  : ANNOTATION_PRIVATE,
		.is_set = sim_chance(client->sim, 70) };
	bool is_of_server = sim_chance(client->sim, 30);
	struct metadata_change metadata = { .account = node->account,
		.own = node->account,
		.mailbox = is_of_server ? (struct id128){ { 0 } } : mailbox->id,
		.entries = &change,
		.count = 1 };

	change.entry =
		sim_chance(client->sim, 50) ? BYTES_LITERAL("/comment") : BYTES_LITERAL("/color");
	change.value = bytes_of_string(
		arena_printf(client->arena, "%u", (unsigned)sim_below(client->sim, 1000)));
	if (sim_chance(client->sim, 40)) {
		act_annotate_messages(client, &change);
	} else if (sim_chance(client->sim, 50)) {
		client_expect(client,
			metadata_set(node->mail, &metadata, &client->error, &node->position),
			"set metadata");
	} else {
		client_expect(client,
			acl_change(node->mail, node->account, mailbox->id,
				bytes_of_string(
					identifiers[sim_below(client->sim, COUNT(identifiers))]),
				ACL_SET, change.is_set ? ACL_LOOKUP | ACL_READ : 0, &client->error,
				&node->position),
			"set rights");
	}
	sim_trace(client->sim, "node %llu: annotate", (unsigned long long)node->id);
}

void act_special_use(struct client *client)
{
	static const char *const uses[] = { "\\Archive", "\\Sent", "" };
	struct sim_node *node = client->node;
	const struct mailbox_record *mailbox = client_any_mailbox(client);
	const char *use = uses[sim_below(client->sim, COUNT(uses))];
	int rc = mailbox_set_special_use(node->mail, node->account, mailbox->id,
		bytes_of_string(use), &client->error, &node->position);

	sim_trace(client->sim, "node %llu: special use %s of %.*s", (unsigned long long)node->id,
		use, BYTES_ARGS(mailbox->name));
	if (rc != ERR_EXISTS)
		client_expect(client, rc, "set a special use");
}

/* Some limits are soon reached: then what makes the account grow is refused here, and what grew
 * elsewhere comes all the same. */
void act_quota(struct client *client)
{
	struct sim_node *node = client->node;
	struct quota_changes changes = { 0 };
	size_t resource = sim_below(client->sim, QUOTA_MAILBOX + 1);

	changes.change[resource] = sim_chance(client->sim, 60) ? QUOTA_SET : QUOTA_RESET;
	changes.limits.of[resource] = sim_chance(client->sim, 30)
					      ? 3 + sim_below(client->sim, 10)
					      : 1000 + client->sim->append_count;
	client_expect(client,
		quota_set(node->mail, node->account, &changes, &client->error, &node->position),
		"set a limit");
	sim_trace(client->sim, "node %llu: limit of %s", (unsigned long long)node->id,
		quota_resource_name((enum quota_resource)resource));
}

/* Private \Seen of one of a few messages of another account. */
struct seeing {
	struct id128 owner;
	struct stamp instance;
	bool is_seen;
};

static int see_run(struct account_write *write, void *context)
{
	const struct seeing *seeing = context;

	return seen_put(
		write, seeing->owner, seeing->instance, seeing->is_seen, account_stamp(write));
}

void act_seen(struct client *client)
{
	struct sim_node *node = client->node;
	struct seeing seeing = { .owner =
					 id128_derive("chapar account", BYTES_LITERAL("neighbour")),
		.instance = { SIM_START_MS * 1024 + sim_below(client->sim, 3), 1 },
		.is_seen = sim_chance(client->sim, 60) };

	client_expect(client,
		mail_commit(node->mail, node->account, see_run, &seeing, &client->error,
			&node->position),
		"set \\Seen of another's message");
	sim_trace(client->sim, "node %llu: %s another's message", (unsigned long long)node->id,
		seeing.is_seen ? "has seen" : "has not seen");
}

/* ---- modes ---- */

bool account_is_replica(struct sim_node *node)
{
	struct account_mode mode = { 0 };
	struct kv_txn *kv = node_read(node);
	int rc = account_mode_get(kv, node->account, &mode);

	mail_read_end(&kv);
	return rc == 0 && account_mode_is_replica(&mode, node->id);
}

void act_mode(struct client *client)
{
	struct sim_node *node = client->node;
	struct account_mode multi = { 0 };
	bool is_own = sim_chance(client->sim, 50);

	client_expect(client,
		is_own ? mail_mode_set_own(node->mail, node->account, &client->error)
		       : mail_mode_set(node->mail, node->account, &multi, &client->error),
		"set the mode");
	sim_trace(client->sim, "node %llu: %s", (unsigned long long)node->id,
		is_own ? "is the master" : "all nodes take changes");
	node->position = mail_position(node->mail);
}

static uint64_t sequence_of(struct sim_node *node)
{
	struct account_header header = { 0 };
	struct kv_txn *kv = node_read(node);

	account_load(kv, node->account, &header);
	mail_read_end(&kv);
	return header.sequence;
}

void act_on_replica(struct client *client)
{
	struct sim_node *node = client->node;
	uint64_t before = sequence_of(node);
	struct mail_body *body = NULL;
	int rc, result = 0;

	if (sim_chance(client->sim, 25)) {
		act_mode(client); /* also where the master is lost */
		return;
	}
	client_expect(client,
		mail_body_prepare(node->mail, BYTES_LITERAL("Subject: refused\r\n\r\n"), &body),
		"prepare");
	rc = sim_chance(client->sim, 50)
		     ? mail_deliver(node->mail, &node->account, 1, body, &client->error, &result)
		     : mailbox_subscribe(node->mail, node->account, BYTES_LITERAL("Replica"), true,
			       &client->error, &node->position);
	mail_body_free(&body);
	node->position = mail_position(node->mail);
	sim_trace(client->sim, "node %llu: a replica refuses", (unsigned long long)node->id);
	if (rc != ERR_REPLICA || sequence_of(node) != before)
		sim_fail(client->sim, "a replica takes a change on node %llu",
			(unsigned long long)node->id);
}

void act_script(struct client *client)
{
	static const char *const names[] = { "main", "holiday" };
	struct sim_node *node = client->node;
	struct bytes name = bytes_of_string(names[sim_below(client->sim, COUNT(names))]);
	size_t draw = sim_below(client->sim, 10);
	int rc;

	if (draw < 7)
		rc = mail_script_put(node->mail, node->account, name,
			bytes_of_string(arena_printf(client->arena, "keep; # %u",
				(unsigned)sim_below(client->sim, 1000))),
			&client->error);
	else if (draw < 8)
		rc = mail_script_delete(node->mail, node->account, name, &client->error);
	else
		rc = mail_script_activate(node->mail, node->account, name, &client->error);
	sim_trace(client->sim, "node %llu: script %s act %zu", (unsigned long long)node->id,
		name.ptr, draw);
	if (rc != ERR_NOT_FOUND && rc != ERR_REFUSED)
		client_expect(client, rc, "script");
	node->position = mail_position(node->mail);
}

bool account_is_deleted(struct sim_node *node)
{
	struct account_header header;
	struct kv_txn *kv = node_read(node);
	int rc = account_load(kv, node->account, &header);

	mail_read_end(&kv);
	return rc == 0 && header.is_deleted;
}

void act_delete_account(struct client *client)
{
	struct sim_node *node = client->node;

	client_expect(client, mail_account_delete(node->mail, node->account, &client->error),
		"delete the account");
	sim_trace(client->sim, "node %llu: delete the account", (unsigned long long)node->id);
	node->position = mail_position(node->mail);
}

void act_undelete(struct client *client)
{
	struct sim_node *node = client->node;
	struct undelete undelete = { 0 };
	bool is_deleted = account_is_deleted(node);
	int rc;

	if (!is_deleted && sim_chance(client->sim, 50))
		undelete.mailbox = bytes_of_string(client_mailbox_name(client));
	rc = mail_undelete(node->mail, node->account, &undelete, &client->error);
	sim_trace(client->sim, "node %llu: undelete %.*s: %llu messages",
		(unsigned long long)node->id, BYTES_ARGS(undelete.mailbox),
		(unsigned long long)undelete.message_count);
	if (rc != ERR_NOT_FOUND && !(rc == ERR_REPLICA && account_is_replica(node)))
		client_expect_growth(client, rc, "undelete");
	node->position = mail_position(node->mail);
	if (rc == 0 && account_is_deleted(node))
		sim_fail(client->sim, "an account that was brought back is deleted");
}

/* Somebody makes the account again, or brings it back; else nobody can do anything in it. */
void act_on_deleted(struct client *client)
{
	struct sim_node *node = client->node;

	if (sim_chance(client->sim, 50)) {
		act_undelete(client);
		return;
	}
	sim_trace(client->sim, "node %llu: make the account again", (unsigned long long)node->id);
	client_expect(client,
		mail_account_open(node->mail, bytes_of_string(SIM_ACCOUNT), true, &client->error,
			&node->account),
		"make the account again");
}
