/*
 * What the clients of one copy were told. After every commit the changed records are compared with
 * it:
 *
 * P2 a (mailbox, UIDVALIDITY, UID) that was ever shown names that one message for ever;
 * P3 no message appears below a UIDNEXT that was announced;
 * P4 what becomes visible, a UID that vanishes included, has a modseq above the HIGHESTMODSEQ
 * announced; P5 no modseq, UIDVALIDITY, UIDNEXT or HIGHESTMODSEQ decreases.
 *
 * Besides, a client is played that never looks at a whole mailbox, but asks for changes since its
 * cursor (CONDSTORE, QRESYNC): its picture must remain what the copy shows.
 */
#include "sim.h"

#include "base/mem.h"

#include <stdlib.h>

struct seen_uid {
	struct stamp instance; /* none: never shown */
	uint64_t flags_hash;
	uint64_t check_number; /* of the last check that found it */
	bool is_shown;         /* in the client's picture */
};

struct seen_mailbox {
	struct id128 id;
	uint32_t uidvalidity;
	uint32_t uidnext;
	uint64_t highestmodseq;
	struct seen_uid *uids; /* by UID */
	size_t room;
	struct seen_name *name;
	bool is_touched;
};

struct seen_message {
	struct stamp instance;
	struct stamp placed;
	struct id128 mailbox;
	uint32_t uid;
	uint64_t flags_hash;
	uint64_t modseq;
};

/* Clients know a mailbox by its name and UIDVALIDITY only. */
struct seen_name {
	unsigned char key[MAILBOX_NAME_SIZE_MAX + 4];
	size_t key_size;
	struct stamp *instances; /* by UID; none: never shown */
	size_t room;
};

struct seen_script {
	unsigned char name[64];
	size_t name_size;
	struct stamp stamp;
};

struct observer {
	struct seen_script *scripts;
	size_t script_count, script_room;
	struct map names;
	struct seen_name **name_list;
	size_t name_count, name_room;
	uint64_t sequence; /* of the copy, looked at so far */
	uint64_t check_number;
	struct map mailboxes;
	struct seen_mailbox **mailbox_list;
	size_t mailbox_count, mailbox_room;
	struct map messages;
	struct seen_message **message_list;
	size_t message_count, message_room;
};

/* One look at a copy. */
struct look {
	struct sim *sim;
	struct sim_node *node;
	struct observer *observer;
	struct kv_txn *kv;
	struct arena *arena;
	struct seen_mailbox *mailbox; /* being followed */
	bool is_client_act;
};

struct observer *observer_new(void)
{
	return mem_zalloc(sizeof(struct observer));
}

void observer_free(struct observer **observer)
{
	if (*observer == NULL)
		return;
	for (size_t i = 0; i < (*observer)->mailbox_count; i++) {
		free((*observer)->mailbox_list[i]->uids);
		free((*observer)->mailbox_list[i]);
	}
	for (size_t i = 0; i < (*observer)->message_count; i++)
		free((*observer)->message_list[i]);
	for (size_t i = 0; i < (*observer)->name_count; i++) {
		free((*observer)->name_list[i]->instances);
		free((*observer)->name_list[i]);
	}
	free((*observer)->name_list);
	free((*observer)->scripts);
	map_deinit(&(*observer)->names);
	free((*observer)->mailbox_list);
	free((*observer)->message_list);
	map_deinit(&(*observer)->mailboxes);
	map_deinit(&(*observer)->messages);
	free(*observer);
	*observer = NULL;
}

static struct seen_mailbox *add_mailbox(
	struct observer *observer, const struct seen_mailbox *mailbox)
{
	struct seen_mailbox *added = mem_dup(mailbox, sizeof(*mailbox));

	mem_grow((void **)&observer->mailbox_list, &observer->mailbox_room,
		observer->mailbox_count + 1, sizeof(struct seen_mailbox *));
	observer->mailbox_list[observer->mailbox_count++] = added;
	map_put(&observer->mailboxes, bytes_of(added->id.bytes, sizeof(added->id.bytes)), added);
	return added;
}

static struct seen_message *add_message(
	struct observer *observer, const struct seen_message *message)
{
	struct seen_message *added = mem_dup(message, sizeof(*message));

	mem_grow((void **)&observer->message_list, &observer->message_room,
		observer->message_count + 1, sizeof(struct seen_message *));
	observer->message_list[observer->message_count++] = added;
	map_put(&observer->messages, bytes_of(&added->instance, sizeof(added->instance)), added);
	return added;
}

static struct seen_name *add_name(struct observer *observer, const struct seen_name *name)
{
	struct seen_name *added = mem_dup(name, sizeof(*name));

	mem_grow((void **)&observer->name_list, &observer->name_room, observer->name_count + 1,
		sizeof(struct seen_name *));
	observer->name_list[observer->name_count++] = added;
	map_put(&observer->names, bytes_of(added->key, added->key_size), added);
	return added;
}

static struct seen_name *find_name(
	struct observer *observer, struct bytes name, uint32_t uidvalidity)
{
	struct seen_name key = { .key_size = name.len + 4 };
	struct seen_name *found;

	memcpy(key.key, &uidvalidity, 4);
	memcpy(key.key + 4, name.ptr, name.len);
	found = map_get(&observer->names, bytes_of(key.key, key.key_size));
	return found != NULL ? found : add_name(observer, &key);
}

struct observer *observer_copy(const struct observer *observer)
{
	struct observer *copy = observer_new();

	copy->sequence = observer->sequence;
	if (observer->script_count > 0) {
		copy->scripts = mem_dup(
			observer->scripts, observer->script_count * sizeof(*observer->scripts));
		copy->script_count = copy->script_room = observer->script_count;
	}
	for (size_t i = 0; i < observer->mailbox_count; i++) {
		struct seen_mailbox *mailbox = add_mailbox(copy, observer->mailbox_list[i]);

		mailbox->name = NULL; /* looked up again when it is needed */
		if (mailbox->uids != NULL)
			mailbox->uids =
				mem_dup(mailbox->uids, mailbox->room * sizeof(*mailbox->uids));
	}
	for (size_t i = 0; i < observer->name_count; i++) {
		struct seen_name *name = add_name(copy, observer->name_list[i]);

		if (name->instances != NULL)
			name->instances =
				mem_dup(name->instances, name->room * sizeof(*name->instances));
	}
	for (size_t i = 0; i < observer->message_count; i++)
		add_message(copy, observer->message_list[i]);
	return copy;
}

static struct seen_mailbox *find_mailbox(struct observer *observer, struct id128 id)
{
	struct seen_mailbox *mailbox =
		map_get(&observer->mailboxes, bytes_of(id.bytes, sizeof(id.bytes)));

	return mailbox != NULL ? mailbox
			       : add_mailbox(observer, &(struct seen_mailbox){ .id = id });
}

static struct seen_uid *find_uid(struct seen_mailbox *mailbox, uint32_t uid)
{
	size_t before = mailbox->room;

	mem_grow((void **)&mailbox->uids, &mailbox->room, (size_t)uid + 1, sizeof(*mailbox->uids));
	if (mailbox->room > before)
		memset(mailbox->uids + before, 0,
			(mailbox->room - before) * sizeof(*mailbox->uids));
	return &mailbox->uids[uid];
}

static uint64_t hash_flags(const struct message_record *message)
{
	uint64_t hash = 1;

	for (size_t i = 0; i < message->flag_count; i++)
		if (message->flags[i].is_set)
			hash = hash64(message->flags[i].name, hash);
	return hash;
}

/* P2, P3 */
static void check_uid(struct look *look, const struct message_record *message)
{
	struct seen_mailbox *mailbox = find_mailbox(look->observer, message->mailbox);
	struct seen_uid *seen = find_uid(mailbox, message->uid);

	mailbox->is_touched = true;
	if (stamp_is_none(seen->instance)) {
		if (message->uid < mailbox->uidnext)
			sim_fail(look->sim, "P3: UID %u appears on node %llu below UIDNEXT %u",
				message->uid, (unsigned long long)look->node->id, mailbox->uidnext);
		seen->instance = message->instance;
	} else if (stamp_compare(seen->instance, message->instance) != 0) {
		sim_fail(look->sim, "P2: UID %u means two messages on node %llu", message->uid,
			(unsigned long long)look->node->id);
	}
}

/* P4, P5 */
static void check_modseq(struct look *look, const struct seen_message *before,
	const struct message_record *message, uint64_t flags_hash)
{
	bool is_moved =
		before->uid != message->uid || !id128_equal(before->mailbox, message->mailbox);

	/* A tombstone that was forgotten here may come back from a copy that knew an earlier one.
	 */
	if (message->modseq < before->modseq && before->uid != 0)
		sim_fail(look->sim, "P5: the modseq of a message decreases on node %llu",
			(unsigned long long)look->node->id);
	if (!is_moved && before->flags_hash == flags_hash)
		return;
	if (message->uid != 0 &&
		message->modseq <= find_mailbox(look->observer, message->mailbox)->highestmodseq)
		sim_fail(look->sim,
			"P4: UID %u changes on node %llu with modseq %llu, announced was %llu",
			message->uid, (unsigned long long)look->node->id,
			(unsigned long long)message->modseq,
			(unsigned long long)find_mailbox(look->observer, message->mailbox)
				->highestmodseq);
	if (before->uid != 0 && is_moved)
		find_mailbox(look->observer, before->mailbox)->is_touched = true;
}

static int see_message(void *context, const struct message_record *message)
{
	struct look *look = context;
	struct seen_message *seen = map_get(
		&look->observer->messages, bytes_of(&message->instance, sizeof(message->instance)));
	uint64_t flags_hash = hash_flags(message);

	if (look->is_client_act)
		ledger_acknowledge(look->sim->ledger, message);
	if (message_is_shown(message))
		check_uid(look, message);
	if (seen == NULL)
		seen = add_message(
			look->observer, &(struct seen_message){ .instance = message->instance });
	check_modseq(look, seen, message, flags_hash);
	if (look->sim->is_one_writer && seen->uid != 0 && message->uid != seen->uid &&
		message->uid != 0 && id128_equal(seen->mailbox, message->mailbox) &&
		stamp_compare(seen->placed, message->placed) == 0)
		sim_fail(look->sim,
			"node %llu gives UID %u a new one, %u, though none was given twice",
			(unsigned long long)look->node->id, seen->uid, message->uid);
	seen->placed = message->placed;
	seen->mailbox = message->mailbox;
	seen->uid = message->uid;
	seen->flags_hash = flags_hash;
	seen->modseq = message->modseq;
	return 0;
}

static int see_mailbox(void *context, const struct mailbox_record *mailbox)
{
	struct look *look = context;

	find_mailbox(look->observer, mailbox->id)->is_touched = true;
	if (look->is_client_act && !mailbox_is_live(mailbox))
		ledger_note_deleted_mailbox(look->sim->ledger, mailbox->id);
	if (look->is_client_act)
		ledger_acknowledge_mailbox(look->sim->ledger, mailbox);
	return 0;
}

/* Which version of a script was seen here before; now it is this one. */
static struct stamp see_script(struct observer *observer, const struct register_record *record)
{
	struct seen_script *seen = observer->scripts;
	struct stamp before;

	while (seen < observer->scripts + observer->script_count &&
		!bytes_equal(record->key, bytes_of(seen->name, seen->name_size)))
		seen++;
	if (seen == observer->scripts + observer->script_count) {
		mem_grow((void **)&observer->scripts, &observer->script_room,
			observer->script_count + 1, sizeof(*observer->scripts));
		seen = &observer->scripts[observer->script_count++];
		*seen = (struct seen_script){ .name_size = record->key.len };
		memcpy(seen->name, record->key.ptr, record->key.len);
	}
	before = seen->stamp;
	seen->stamp = record->stamp;
	return before;
}

static int see_register(void *context, const struct register_record *record)
{
	struct look *look = context;

	if (record->kind == RECORD_SCRIPT && record->key.len > 0 &&
		record->key.len <= sizeof(((struct seen_script *)NULL)->name)) {
		struct stamp before = see_script(look->observer, record);

		if (look->is_client_act)
			ledger_acknowledge_script(look->sim->ledger, record, before);
	}

	/* Whether the account is deleted is decided by more than the latest act (sim_schedule.c).
	 */
	if (look->is_client_act && !bytes_equal_string(record->key, ACCOUNT_DELETED_KEY))
		ledger_acknowledge_register(look->sim->ledger, record);
	return 0;
}

/* P2, as clients see it. */
static void check_name(struct look *look, uint32_t uid, struct stamp instance)
{
	struct seen_name *name = look->mailbox->name;
	size_t before = name->room;

	mem_grow((void **)&name->instances, &name->room, (size_t)uid + 1, sizeof(*name->instances));
	if (name->room > before)
		memset(name->instances + before, 0,
			(name->room - before) * sizeof(*name->instances));
	if (!stamp_is_none(name->instances[uid]) &&
		stamp_compare(name->instances[uid], instance) != 0)
		sim_fail(look->sim,
			"P2: UID %u of %.*s means messages %llu.%llu and %llu.%llu on node %llu",
			uid, (int)name->key_size - 4, (const char *)name->key + 4,
			(unsigned long long)name->instances[uid].modseq,
			(unsigned long long)name->instances[uid].node,
			(unsigned long long)instance.modseq, (unsigned long long)instance.node,
			(unsigned long long)look->node->id);
	name->instances[uid] = instance;
}

/* What the played client learns from "changes since". */
static int follow_uid(void *context, uint32_t uid, uint64_t modseq, bool is_vanished)
{
	struct look *look = context;
	struct seen_uid *seen = find_uid(look->mailbox, uid);
	struct message_record message;

	if (modseq <= look->mailbox->highestmodseq)
		sim_fail(look->sim, "P4: changes since a modseq list an earlier one");
	seen->is_shown = !is_vanished;
	if (is_vanished)
		return 0;
	if (account_get_message_at(look->kv, look->node->account, look->mailbox->id, uid,
		    look->arena, &message) < 0) {
		sim_fail(look->sim, "UID %u is listed as changed, but not shown", uid);
		return 0;
	}
	seen->flags_hash = hash_flags(&message);
	if (look->mailbox->name != NULL)
		check_name(look, uid, message.instance);
	return 0;
}

/* All UIDs shown have a new name; those that come later are checked as they come. */
static void take_name(struct look *look, struct seen_mailbox *seen, struct seen_name *name)
{
	seen->name = name;
	for (uint32_t uid = 0; uid < seen->room; uid++)
		if (seen->uids[uid].is_shown)
			check_name(look, uid, seen->uids[uid].instance);
}

/* Asks for the changes since the cursor. */
static void follow_mailbox(struct look *look, struct seen_mailbox *seen)
{
	struct mailbox_record mailbox;
	struct seen_name *name;
	bool is_new_name;

	seen->is_touched = false;
	if (account_get_mailbox(look->kv, look->node->account, seen->id, look->arena, &mailbox) <
		0) {
		sim_fail(look->sim, "P5: a mailbox is gone without a tombstone");
		return;
	}
	if (mailbox.uidvalidity < seen->uidvalidity || mailbox.uidnext < seen->uidnext ||
		mailbox.highestmodseq < seen->highestmodseq)
		sim_fail(look->sim,
			"P5: UIDVALIDITY, UIDNEXT or HIGHESTMODSEQ decreases on node %llu",
			(unsigned long long)look->node->id);
	look->mailbox = seen;
	name = find_name(look->observer, mailbox.name, mailbox.uidvalidity);
	is_new_name = seen->name != name;
	if (is_new_name)
		seen->name = NULL;
	account_each_uid_change(
		look->kv, look->node->account, seen->id, seen->highestmodseq, follow_uid, look);
	if (is_new_name && mailbox_is_live(&mailbox))
		take_name(look, seen, name);
	seen->uidvalidity = mailbox.uidvalidity;
	seen->uidnext = mailbox.uidnext;
	seen->highestmodseq = mailbox.highestmodseq;
}

void observe(struct sim *sim, struct sim_node *node, bool is_client_act)
{
	static const struct account_change_functions functions = { see_mailbox, see_message,
		see_register };
	struct look look = {
		.sim = sim, .node = node, .observer = node->observer, .is_client_act = is_client_act
	};
	struct account_header header;

	if (node->account == 0)
		return;
	look.kv = node_read(node);
	if (account_load(look.kv, node->account, &header) < 0) {
		sim_fail(sim, "the account cannot be loaded");
	} else if (header.sequence > node->observer->sequence &&
		   header.hold != ACCOUNT_FILLING) { /* else nobody may look */
		look.arena = arena_new();
		if (account_each_change(look.kv, node->account, node->observer->sequence,
			    look.arena, &functions, &look) < 0)
			sim_fail(sim, "the changes cannot be read");
		node->observer->sequence = header.sequence;
		for (size_t i = 0; i < node->observer->mailbox_count; i++)
			if (node->observer->mailbox_list[i]->is_touched)
				follow_mailbox(&look, node->observer->mailbox_list[i]);
		arena_free(&look.arena);
	}
	mail_read_end(&look.kv);
}

static int check_shown(void *context, const struct message_record *message)
{
	struct look *look = context;
	struct seen_uid *seen = find_uid(look->mailbox, message->uid);

	if (!seen->is_shown || seen->flags_hash != hash_flags(message))
		sim_fail(look->sim,
			"P4: a client that follows by cursor has missed UID %u on node %llu",
			message->uid, (unsigned long long)look->node->id);
	seen->check_number = look->observer->check_number;
	return 0;
}

static void check_picture(struct look *look, struct seen_mailbox *seen)
{
	struct mailbox_record mailbox;
	uint32_t uid;

	look->mailbox = seen;
	if (account_get_mailbox(look->kv, look->node->account, seen->id, look->arena, &mailbox) < 0)
		return;
	account_each_message(look->kv, look->node->account, seen->id, 1, UINT32_MAX, look->arena,
		check_shown, look);
	if (!mailbox_is_live(&mailbox) && mailbox.message_count > 0)
		sim_fail(look->sim, "P1: a deleted mailbox shows messages");
	for (uid = 0; uid < seen->room; uid++)
		if (seen->uids[uid].is_shown &&
			seen->uids[uid].check_number != look->observer->check_number)
			sim_fail(look->sim,
				"P4: a client that follows by cursor still shows UID %u on %llu",
				uid, (unsigned long long)look->node->id);
}

void observer_check(struct sim *sim, struct sim_node *node)
{
	struct look look = { .sim = sim, .node = node, .observer = node->observer };

	node->observer->check_number++;
	look.kv = node_read(node);
	look.arena = arena_new();
	for (size_t i = 0; i < node->observer->mailbox_count && !sim->has_failed; i++)
		check_picture(&look, node->observer->mailbox_list[i]);
	arena_free(&look.arena);
	mail_read_end(&look.kv);
}

/* Another copy's client goes on here with its cursors, after both copies were brought together. */
static void roam(struct look *look, struct seen_mailbox *seen)
{
	struct mailbox_record mailbox;

	if (account_get_mailbox(look->kv, look->node->account, seen->id, look->arena, &mailbox) <
			0 ||
		!mailbox_is_live(&mailbox) || mailbox.uidvalidity != seen->uidvalidity)
		return; /* the client drops its picture */
	look->mailbox = seen;
	account_each_uid_change_roaming(
		look->kv, look->node->account, seen->id, seen->highestmodseq, follow_uid, look);
	check_picture(look, seen);
}

void observer_roam(struct sim *sim, const struct observer *client, struct sim_node *to)
{
	struct look look = { .sim = sim, .node = to, .observer = observer_copy(client) };

	look.kv = node_read(to);
	look.arena = arena_new();
	look.observer->check_number++;
	for (size_t i = 0; i < look.observer->mailbox_count && !sim->has_failed; i++)
		roam(&look, look.observer->mailbox_list[i]);
	arena_free(&look.arena);
	mail_read_end(&look.kv);
	observer_free(&look.observer);
}
