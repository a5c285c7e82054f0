/*
 * Acts of clients on one node, through the functions that IMAP and LMTP call. What the functions
 * answer is compared with what they did; the records that they leave are acknowledged in the ledger
 * by observe().
 */
#include "sim_client.h"

#include <stdlib.h>

static const char *const mailbox_names[] = { "Archive", "Work", "Work/Deep", "Junk", "Ünïcode" };
static const char *const flag_names[] = { "\\Seen", "\\Answered", "\\Flagged", "\\Deleted",
	"$Later" };

static int list_mailbox(void *context, const struct mailbox_record *mailbox)
{
	struct client *client = context;

	if (mailbox_is_live(mailbox) && client->mailbox_count < MAILBOX_COUNT_MAX)
		client->mailboxes[client->mailbox_count++] = *mailbox;
	return 0;
}

static int list_message(void *context, const struct message_record *message)
{
	struct client *client = context;

	if (client->message_count < MESSAGE_COUNT_MAX)
		client->messages[client->message_count++] = *message;
	return 0;
}

const struct mailbox_record *client_any_mailbox(struct client *client)
{
	return &client->mailboxes[sim_below(client->sim, client->mailbox_count)];
}

/* A mailbox with messages, which are listed then; NULL if the one that was drawn is empty. */
const struct mailbox_record *client_mailbox_with_messages(struct client *client)
{
	const struct mailbox_record *mailbox = client_any_mailbox(client);
	struct kv_txn *kv;

	for (size_t i = 0; mailbox->message_count == 0 && i < 4; i++)
		mailbox = client_any_mailbox(client);
	if (mailbox->message_count == 0)
		return NULL;
	kv = node_read(client->node);
	client->message_count = 0;
	account_each_message(kv, client->node->account, mailbox->id, 1, UINT32_MAX, client->arena,
		list_message, client);
	mail_read_end(&kv);
	if (client->message_count != mailbox->message_count)
		sim_fail(client->sim, "a mailbox counts %u messages and shows %zu",
			mailbox->message_count, client->message_count);
	return client->message_count > 0 ? mailbox : NULL;
}

/* One UID, or some neighbours. */
struct uid_set client_some_uids(struct client *client)
{
	struct uid_set uids = { 0 };
	size_t first = sim_below(client->sim, client->message_count), last = first;

	if (sim_chance(client->sim, 20))
		last += sim_below(client->sim, client->message_count - first);
	uid_set_add(&uids, client->messages[first].uid, client->messages[last].uid);
	return uids;
}

const char *client_mailbox_name(struct client *client)
{
	return mailbox_names[sim_below(client->sim, COUNT(mailbox_names))];
}

void client_expect_growth(struct client *client, int rc, const char *what)
{
	if (rc == ERR_OVERQUOTA)
		client->error = (struct error){ 0 };
	else
		client_expect(client, rc, what);
}

void client_expect(struct client *client, int rc, const char *what)
{
	if (rc < 0)
		sim_fail(client->sim, "%s on node %llu: %s (%s)", what,
			(unsigned long long)client->node->id, error_name(rc), client->error.text);
}

static void check_appended(struct client *client, const struct mailbox_record *mailbox,
	uint32_t uid, const struct guid *guid)
{
	struct kv_txn *kv = node_read(client->node);
	struct message_record message;
	int rc = account_get_message_at(
		kv, client->node->account, mailbox->id, uid, client->arena, &message);

	if (rc < 0 || !guid_equal(&message.guid, guid))
		sim_fail(client->sim, "P1: a message appended as UID %u is not there", uid);
	mail_read_end(&kv);
}

static struct bytes message_text(struct client *client, unsigned number)
{
	return bytes_of_string(arena_printf(client->arena,
		"Subject: %u\r\nMessage-Id: <%u@sim>\r\n\r\nText.\r\n", number, number));
}

static void act_append(struct client *client)
{
	struct sim_node *node = client->node;
	const struct mailbox_record *mailbox = client_any_mailbox(client);
	struct bytes flags[2] = { BYTES_LITERAL("\\Seen"), BYTES_LITERAL("$Later") };
	struct append_message messages[3];
	size_t count = 1 + (sim_chance(client->sim, 10) ? sim_below(client->sim, 3) : 0);
	uint32_t uidvalidity, uid;
	int rc;

	for (size_t i = 0; i < count; i++) {
		/* now and then the same bytes again: one body, several messages */
		unsigned number = sim_chance(client->sim, 10) ? 0 : ++client->sim->append_count;
		struct mail_body *body = NULL;

		client_expect(client,
			mail_body_prepare(node->mail, message_text(client, number), &body),
			"prepare");
		messages[i] = (struct append_message){ body, flags, sim_below(client->sim, 3),
			(int64_t)(client->sim->now_ms / 1000), 60 };
	}
	client->sim->is_routed = false;
	rc = mailbox_append(node->mail, node->account, mailbox->id, messages, count, &client->error,
		&uidvalidity, &uid, &node->position);
	client_expect_growth(client, rc, "append");
	sim_trace(client->sim, "node %llu: append %zu to %.*s as UID %u",
		(unsigned long long)node->id, count, BYTES_ARGS(mailbox->name), uid);
	for (size_t i = 0; i < count; i++) {
		if (rc == 0 && !client->sim->is_routed)
			check_appended(client, mailbox, uid + (uint32_t)i,
				mail_body_guid(messages[i].body));
		mail_body_free((struct mail_body **)&messages[i].body);
	}
}

static void act_store(struct client *client)
{
	static const enum flag_operation operations[] = { FLAGS_ADD, FLAGS_ADD, FLAGS_REMOVE,
		FLAGS_REPLACE };
	struct sim_node *node = client->node;
	const struct mailbox_record *mailbox = client_mailbox_with_messages(client);
	struct uid_set uids, changed = { 0 }, modified = { 0 };
	struct bytes flags[2];
	size_t count = 1 + sim_below(client->sim, 2);
	enum flag_operation operation = operations[sim_below(client->sim, COUNT(operations))];

	if (mailbox == NULL)
		return;
	uids = client_some_uids(client);
	for (size_t i = 0; i < count; i++)
		flags[i] = bytes_of_string(flag_names[sim_below(client->sim, COUNT(flag_names))]);
	client_expect(client,
		message_store(node->mail, node->account, mailbox->id, &uids, operation, flags,
			count, UINT64_MAX, &client->error, &changed, &modified, &node->position),
		"store");
	sim_trace(client->sim, "node %llu: flags %u %.*s in %.*s from UID %u",
		(unsigned long long)node->id, (unsigned)operation, BYTES_ARGS(flags[0]),
		BYTES_ARGS(mailbox->name), uids.ranges[0].first);
	uid_set_deinit(&uids);
	uid_set_deinit(&changed);
	uid_set_deinit(&modified);
}

static void act_expunge(struct client *client)
{
	struct sim_node *node = client->node;
	const struct mailbox_record *mailbox = client_mailbox_with_messages(client);
	struct bytes deleted = BYTES_LITERAL("\\Deleted");
	struct uid_set uids, changed = { 0 }, modified = { 0 }, expunged = { 0 };

	if (mailbox == NULL)
		return;
	uids = client_some_uids(client);
	client_expect(client,
		message_store(node->mail, node->account, mailbox->id, &uids, FLAGS_ADD, &deleted, 1,
			UINT64_MAX, &client->error, &changed, &modified, &node->position),
		"store");
	client_expect(client,
		message_expunge(node->mail, node->account, mailbox->id, &uids, &client->error,
			&expunged, &node->position),
		"expunge");
	sim_trace(client->sim, "node %llu: expunge %.*s UID %u", (unsigned long long)node->id,
		BYTES_ARGS(mailbox->name), uids.ranges[0].first);
	for (size_t i = 0; i < client->message_count; i++)
		if (uid_set_has(&uids, client->messages[i].uid) !=
			uid_set_has(&expunged, client->messages[i].uid))
			sim_fail(client->sim, "an expunge did more or less than was asked for");
	uid_set_deinit(&uids);
	uid_set_deinit(&changed);
	uid_set_deinit(&modified);
	uid_set_deinit(&expunged);
}

static void act_copy(struct client *client, bool is_move)
{
	struct sim_node *node = client->node;
	const struct mailbox_record *from = client_mailbox_with_messages(client),
				    *to = client_any_mailbox(client);
	struct uid_set uids;
	struct copy_result result = { 0 };
	int rc;

	if (from == NULL || (is_move && from == to))
		return;
	uids = client_some_uids(client);
	rc = message_copy(node->mail, node->account, from->id, to->id, &uids, is_move,
		&client->error, &result, &node->position);
	client_expect_growth(client, rc, is_move ? "move" : "copy");
	sim_trace(client->sim, "node %llu: %s %.*s UID %u to %.*s", (unsigned long long)node->id,
		is_move ? "move" : "copy", BYTES_ARGS(from->name), uids.ranges[0].first,
		BYTES_ARGS(to->name));
	for (size_t i = 0; i < result.count; i++)
		for (size_t at = 0; at < client->message_count; at++)
			if (client->messages[at].uid == result.pairs[i].from)
				check_appended(
					client, to, result.pairs[i].to, &client->messages[at].guid);
	free(result.pairs);
	uid_set_deinit(&uids);
}

static bool is_inbox(const struct mailbox_record *mailbox)
{
	return bytes_equal_string(mailbox->name, "INBOX");
}

static void act_create(struct client *client)
{
	struct sim_node *node = client->node;
	const char *name = client_mailbox_name(client);
	struct bytes special_use = { 0 };
	struct id128 id;
	int rc = mailbox_create(node->mail, node->account, bytes_of_string(name), special_use,
		&client->error, &id, &node->position);

	sim_trace(client->sim, "node %llu: create %s", (unsigned long long)node->id, name);
	if (rc != ERR_EXISTS)
		client_expect_growth(client, rc, "create");
}

static void act_rename(struct client *client)
{
	struct sim_node *node = client->node;
	const struct mailbox_record *mailbox = client_any_mailbox(client);
	const char *name = client_mailbox_name(client);
	int rc;

	if (is_inbox(mailbox) && sim_chance(client->sim, 80))
		return;
	rc = mailbox_rename(node->mail, node->account, mailbox->name, bytes_of_string(name),
		&client->error, &node->position);
	sim_trace(client->sim, "node %llu: rename %.*s to %s", (unsigned long long)node->id,
		BYTES_ARGS(mailbox->name), name);
	if (rc != ERR_EXISTS && rc != ERR_INVALID)
		client_expect_growth(client, rc, "rename");
}

static void act_delete(struct client *client)
{
	struct sim_node *node = client->node;
	const struct mailbox_record *mailbox = client_any_mailbox(client);
	int rc = mailbox_delete(
		node->mail, node->account, mailbox->name, &client->error, &node->position);

	sim_trace(client->sim, "node %llu: delete %.*s", (unsigned long long)node->id,
		BYTES_ARGS(mailbox->name));
	if (is_inbox(mailbox) != (rc == ERR_REFUSED))
		client_expect(client, rc < 0 ? rc : ERR_ILLEGAL, "delete");
}

/* False: the account is full. */
static bool deliver(struct client *client)
{
	struct sim_node *node = client->node;
	char *text = arena_printf(client->arena, "Subject: delivered %u\r\n\r\nText.\r\n",
		++client->sim->append_count);
	struct mail_body *body = NULL;
	int result = 0;

	client_expect(
		client, mail_body_prepare(node->mail, bytes_of_string(text), &body), "prepare");
	client_expect_growth(client,
		mail_deliver(node->mail, &node->account, 1, body, &client->error, &result),
		"deliver");
	client_expect_growth(client, result, "deliver");
	sim_trace(client->sim, "node %llu: deliver", (unsigned long long)node->id);
	mail_body_free(&body);
	node->position = mail_position(node->mail);
	return result == 0;
}

static void act_deliver(struct client *client)
{
	(void)deliver(client);
}

static void act_move(struct client *client)
{
	act_copy(client, true);
}

static void act_copy_only(struct client *client)
{
	act_copy(client, false);
}

/* Who does it in schedules where one node gives all UIDs. */
enum doer { EVERYONE, WRITER, NOBODY };

/* What clients do, and how often, of all. */
static const struct {
	void (*run)(struct client *client);
	size_t weight;
	enum doer doer;
} acts[] = { { act_append, 280, WRITER }, { act_deliver, 60, WRITER }, { act_store, 220, EVERYONE },
	{ act_expunge, 90, EVERYONE }, { act_move, 95, WRITER }, { act_copy_only, 30, WRITER },
	{ act_create, 65, WRITER }, { act_rename, 45, WRITER }, { act_delete, 36, WRITER },
	{ act_subscribe, 10, EVERYONE }, { act_annotate, 25, EVERYONE },
	{ act_special_use, 8, WRITER }, { act_quota, 5, NOBODY }, { act_seen, 8, EVERYONE },
	{ act_script, 10, EVERYONE }, { act_mode, 3, NOBODY }, { act_undelete, 5, NOBODY },
	{ act_delete_account, 3, NOBODY } };

#define EMPHASIS 300 /* a weight */

void client_change_one(struct sim *sim, struct sim_node *node)
{
	struct client client = { .sim = sim, .node = node, .arena = arena_new() };

	sim->forward_percent = 0;
	sim->counts.acts++;
	if (account_is_deleted(node) || account_is_replica(node))
		act_mode(&client);
	else if (!deliver(&client))
		act_mode(&client);
	arena_free(&client.arena);
	observe(sim, node, true);
}

size_t client_emphasis(struct sim *sim)
{
	return sim_chance(sim, 50) ? sim_below(sim, COUNT(acts)) : COUNT(acts);
}

static size_t draw_act(struct sim *sim)
{
	size_t sum = sim->emphasis < COUNT(acts) ? EMPHASIS : 0, draw;

	for (size_t i = 0; i < COUNT(acts); i++)
		sum += acts[i].weight;
	draw = sim_below(sim, sum);
	for (size_t i = 0; i < COUNT(acts); i++) {
		if (draw < acts[i].weight)
			return i;
		draw -= acts[i].weight;
	}
	return sim->emphasis;
}

static bool may_act(const struct client *client, size_t act)
{
	if (client->sim->is_guests)
		return acts[act].doer != NOBODY;
	if (!client->sim->is_one_writer || acts[act].doer == EVERYONE)
		return true;
	return acts[act].doer == WRITER && client->node == &client->sim->nodes[0];
}

static void any_act(struct client *client)
{
	size_t act;

	do
		act = draw_act(client->sim);
	while (!may_act(client, act));
	acts[act].run(client);
}

void client_act(struct sim *sim, struct sim_node *node)
{
	struct client client = { .sim = sim, .node = node, .arena = arena_new() };
	struct kv_txn *kv;

	node_need_account(sim, node);
	if (header_of(sim, node).hold != ACCOUNT_SERVED) {
		arena_free(&client.arena);
		return;
	}
	kv = node_read(node);
	account_each_mailbox(kv, node->account, client.arena, list_mailbox, &client);
	mail_read_end(&kv);
	sim->counts.acts++;
	if (client.mailbox_count == 0)
		sim_fail(sim, "node %llu has no mailbox, not even INBOX",
			(unsigned long long)node->id);
	else if (account_is_deleted(node))
		act_on_deleted(&client);
	else if (account_is_replica(node))
		act_on_replica(&client);
	else
		any_act(&client);
	arena_free(&client.arena);
	observe(sim, node, true);
}

/*
 * Another account of the same node, which is never exchanged. Its messages have the same bytes as
 * some of the first account's, so bodies are there that no exchange brought, and are given up
 * without a trace in the account being exchanged.
 */
void neighbour_act(struct sim *sim, struct sim_node *node)
{
	struct client client = { .sim = sim, .node = node, .arena = arena_new() };
	struct mail_body *body = NULL;
	struct uid_set all = { 0 }, changed = { 0 }, modified = { 0 }, expunged = { 0 };
	struct bytes deleted = BYTES_LITERAL("\\Deleted");
	struct mailbox_record inbox;
	uint32_t account;
	struct kv_txn *kv;
	int result = 0;

	client_expect(&client,
		mail_account_open(
			node->mail, BYTES_LITERAL("neighbour"), true, &client.error, &account),
		"open");
	if (sim_chance(sim, 60)) {
		unsigned number = (unsigned)sim_below(sim, sim->append_count + 1);

		client_expect(&client,
			mail_body_prepare(node->mail, message_text(&client, number), &body),
			"prepare");
		client_expect(&client,
			mail_deliver(node->mail, &account, 1, body, &client.error, &result),
			"deliver");
		mail_body_free(&body);
		sim_trace(sim, "node %llu: deliver number %u to the neighbour",
			(unsigned long long)node->id, number);
	} else {
		kv = node_read(node);
		account_find_mailbox(kv, account, BYTES_LITERAL("INBOX"), client.arena, &inbox);
		mail_read_end(&kv);
		uid_set_add(&all, 1, UINT32_MAX - 1);
		client_expect(&client,
			message_store(node->mail, account, inbox.id, &all, FLAGS_ADD, &deleted, 1,
				UINT64_MAX, &client.error, &changed, &modified, &node->position),
			"store");
		client_expect(&client,
			message_expunge(node->mail, account, inbox.id, &all, &client.error,
				&expunged, &node->position),
			"expunge");
		sim_trace(sim, "node %llu: expunge all of the neighbour",
			(unsigned long long)node->id);
	}
	uid_set_deinit(&all);
	uid_set_deinit(&changed);
	uid_set_deinit(&modified);
	uid_set_deinit(&expunged);
	arena_free(&client.arena);
}
