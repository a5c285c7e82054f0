/*
 * What was acknowledged, as one message record per instance: of the placement and of every flag the
 * latest act that any client was told had been done. It is joined by comparing stamps here, not by
 * the code under test.
 */
#include "sim.h"

#include "mail/annotation.h"

#include "base/mem.h"

#include <stdlib.h>

#define LEDGER_FLAG_COUNT_MAX 16

struct ledger_flag {
	char name[32];
	struct stamp stamp;
	bool is_set;
};

struct ledger_message {
	struct stamp instance;
	struct guid guid;
	struct stamp placed;
	bool is_expunged;  /* by the act `placed` */
	bool was_expunged; /* by any act: then its annotations are cleared, also if it lives on */
	bool is_expired;
	bool is_lost;
	struct ledger_flag flags[LEDGER_FLAG_COUNT_MAX];
	size_t flag_count;
};

struct ledger_register {
	enum record_kind kind;
	struct id128 mailbox;
	unsigned char key[REGISTER_KEY_SIZE_MAX];
	size_t key_len;
	struct stamp stamp;
	bool is_set;
	bool is_expired;
};

struct ledger {
	struct ledger_register *registers;
	size_t register_count, register_room;
	struct id128 *deleted; /* mailboxes, by clients; some more than once */
	size_t deleted_count, deleted_room;
	struct map by_instance;
	struct ledger_message **messages;
	size_t count, room;
	struct ledger_more *more;
};

struct ledger *ledger_new(void)
{
	struct ledger *ledger = mem_zalloc(sizeof(*ledger));

	ledger->more = ledger_more_new();
	return ledger;
}

void ledger_free(struct ledger **ledger)
{
	if (*ledger == NULL)
		return;
	for (size_t i = 0; i < (*ledger)->count; i++)
		free((*ledger)->messages[i]);
	free((*ledger)->messages);
	free((*ledger)->registers);
	free((*ledger)->deleted);
	ledger_more_free(&(*ledger)->more);
	map_deinit(&(*ledger)->by_instance);
	free(*ledger);
	*ledger = NULL;
}

static struct ledger_message *find(const struct ledger *ledger, struct stamp instance)
{
	return map_get(&ledger->by_instance, bytes_of(&instance, sizeof(instance)));
}

bool ledger_has(const struct ledger *ledger, struct stamp instance)
{
	return find(ledger, instance) != NULL;
}

bool ledger_has_expired(const struct ledger *ledger, struct stamp instance)
{
	const struct ledger_message *own = find(ledger, instance);

	return own != NULL && own->is_expired;
}

static void take_flag(struct ledger_message *own, const struct flag_state *flag)
{
	struct ledger_flag *known = own->flags;

	while (known < own->flags + own->flag_count && !bytes_equal_string(flag->name, known->name))
		known++;
	if (known == own->flags + own->flag_count) {
		assert(own->flag_count < LEDGER_FLAG_COUNT_MAX &&
			flag->name.len < sizeof(known->name));
		own->flag_count++;
		memcpy(known->name, flag->name.ptr, flag->name.len);
	}
	if (stamp_compare(known->stamp, flag->stamp) < 0) {
		known->stamp = flag->stamp;
		known->is_set = flag->is_set;
	}
}

static void take(struct ledger_message *own, const struct message_record *message)
{
	if (stamp_is_none(own->placed) ||
		placement_compare(own->instance, own->placed, message->placed) < 0) {
		own->placed = message->placed;
		own->is_expunged = id128_is_none(message->placed_in);
	}
	own->was_expunged = own->was_expunged || id128_is_none(message->placed_in);
	for (size_t i = 0; i < message->flag_count; i++)
		take_flag(own, &message->flags[i]);
}

void ledger_acknowledge(struct ledger *ledger, const struct message_record *message)
{
	struct ledger_message *own = find(ledger, message->instance);

	if (own == NULL) {
		own = mem_zalloc(sizeof(*own));
		own->instance = message->instance;
		own->guid = message->guid;
		mem_grow((void **)&ledger->messages, &ledger->room, ledger->count + 1,
			sizeof(struct ledger_message *));
		ledger->messages[ledger->count++] = own;
		map_put(&ledger->by_instance, bytes_of(&own->instance, sizeof(own->instance)), own);
	}
	take(own, message);
}

static void take_register(struct ledger_register *own, const struct register_record *record)
{
	if (stamp_compare(own->stamp, record->stamp) < 0) {
		own->stamp = record->stamp;
		own->is_set = record->is_set;
	}
}

static struct bytes register_key_of(const struct ledger_register *own)
{
	return bytes_of(own->key, own->key_len);
}

static struct ledger_register *find_own_register(
	struct ledger *ledger, const struct register_record *record)
{
	struct ledger_register *own = ledger->registers, *end = own + ledger->register_count;

	while (own < end &&
		(own->kind != record->kind || !id128_equal(own->mailbox, record->mailbox) ||
			!bytes_equal(record->key, register_key_of(own))))
		own++;
	return own;
}

void ledger_note_expired_register(struct ledger *ledger, const struct register_record *record)
{
	struct ledger_register *own = find_own_register(ledger, record);

	if (own < ledger->registers + ledger->register_count)
		own->is_expired = true;
	ledger_more_expire(ledger->more, record);
}

void ledger_acknowledge_script(
	struct ledger *ledger, const struct register_record *record, struct stamp before)
{
	ledger_more_script(ledger->more, record, before);
}

void ledger_acknowledge_mailbox(struct ledger *ledger, const struct mailbox_record *mailbox)
{
	ledger_more_mailbox(ledger->more, mailbox);
}

void ledger_acknowledge_register(struct ledger *ledger, const struct register_record *record)
{
	struct ledger_register *own = find_own_register(ledger, record);

	if (own == ledger->registers + ledger->register_count) {
		mem_grow((void **)&ledger->registers, &ledger->register_room,
			ledger->register_count + 1, sizeof(*own));
		own = &ledger->registers[ledger->register_count++];
		*own = (struct ledger_register){ .kind = record->kind, .mailbox = record->mailbox };
		own->key_len = record->key.len;
		if (record->key.len > 0)
			memcpy(own->key, record->key.ptr, record->key.len);
	}
	take_register(own, record);
}

void ledger_note_expired(struct ledger *ledger, struct stamp instance)
{
	struct ledger_message *own = find(ledger, instance);

	if (own != NULL)
		own->is_expired = true;
}

/* What an account with that node knows of the message is all that is left. */
static void lose_message(struct sim *sim, struct ledger_message *own, struct arena *arena)
{
	struct ledger_message left = { .instance = own->instance, .guid = own->guid };

	left.is_expired = own->is_expired;
	left.was_expunged = own->was_expunged;
	left.is_lost = true;
	for (size_t i = 0; i < sim->node_count; i++) {
		struct kv_txn *kv = node_read(&sim->nodes[i]);
		struct message_record message;

		if (account_get_message(
			    kv, sim->nodes[i].account, own->instance, arena, &message) == 0) {
			/* Of what was moved out of a view, a copy knows only that: where
			 * another shows it, that may place it anew. */
			if (message_is_shown(&message) || id128_is_none(message.placed_in))
				left.is_lost = false;
			else
				left.is_expired = true;
			take(&left, &message);
		}
		mail_read_end(&kv);
	}
	*own = left;
}

static int find_register(struct sim_node *node, const struct ledger_register *own,
	struct arena *arena, struct register_record *record_r)
{
	struct kv_txn *kv = node_read(node);
	int rc = account_get_register(
		kv, node->account, own->kind, own->mailbox, register_key_of(own), arena, record_r);

	mail_read_end(&kv);
	return rc;
}

static void lose_register(struct sim *sim, struct ledger_register *own, struct arena *arena)
{
	struct register_record record;

	own->stamp = (struct stamp){ 0 };
	own->is_set = false;
	for (size_t i = 0; i < sim->node_count; i++)
		if (find_register(&sim->nodes[i], own, arena, &record) == 0)
			take_register(own, &record);
}

void ledger_lose(struct sim *sim)
{
	struct arena *arena = arena_new();

	for (size_t i = 0; i < sim->ledger->register_count; i++)
		lose_register(sim, &sim->ledger->registers[i], arena);

	for (size_t i = 0; i < sim->ledger->count; i++)
		lose_message(sim, sim->ledger->messages[i], arena);
	ledger_more_lose(sim, sim->ledger->more);
	arena_free(&arena);
}

static void check_flags(
	struct sim *sim, const struct ledger_message *own, const struct message_record *found)
{
	for (size_t i = 0; i < own->flag_count; i++) {
		const struct ledger_flag *known = &own->flags[i];
		const struct flag_state *flag = message_flag(found, bytes_of_string(known->name));

		if (flag == NULL || stamp_compare(flag->stamp, known->stamp) != 0 ||
			flag->is_set != known->is_set)
			sim_fail(sim, "P7: flag %s of message %llu.%llu is not as last changed",
				known->name, (unsigned long long)own->instance.modseq,
				(unsigned long long)own->instance.node);
	}
}

static void check_message(struct sim *sim, struct sim_node *node, struct kv_txn *kv,
	const struct ledger_message *own, struct arena *arena)
{
	struct message_record found;
	int rc = account_get_message(kv, node->account, own->instance, arena, &found);
	unsigned long long modseq = own->instance.modseq, origin = own->instance.node;

	if (own->is_lost || own->is_expired)
		return;
	if (rc < 0 && own->is_expunged)
		return; /* its tombstone need not be everywhere, and of two any will do */
	if (rc < 0)
		sim_fail(sim, "P1: message %llu.%llu is lost on node %llu", modseq, origin,
			(unsigned long long)node->id);
	else if (!guid_equal(&found.guid, &own->guid))
		sim_fail(sim, "P1: message %llu.%llu has become another", modseq, origin);
	else if (message_is_shown(&found) == own->is_expunged)
		sim_fail(sim, "P1: message %llu.%llu is %s, but the last act was to %s it", modseq,
			origin, own->is_expunged ? "shown" : "gone",
			own->is_expunged ? "expunge" : "place");
	else if (message_is_shown(&found) && stamp_compare(found.placed, own->placed) != 0)
		sim_fail(sim, "P1: message %llu.%llu is not where the last act placed it", modseq,
			origin);
	else if (message_is_shown(&found))
		check_flags(sim, own, &found);
	if (rc == 0 && message_is_shown(&found) && store_body_exists(kv, &found.guid, NULL) < 0)
		sim_fail(sim, "P1: the body of message %llu.%llu is not there", modseq, origin);
}

/* ---- what is said of messages and mailboxes ---- */

void ledger_note_deleted_mailbox(struct ledger *ledger, struct id128 mailbox)
{
	mem_grow((void **)&ledger->deleted, &ledger->deleted_room, ledger->deleted_count + 1,
		sizeof(*ledger->deleted));
	ledger->deleted[ledger->deleted_count++] = mailbox;
}

static bool was_deleted(const struct ledger *ledger, struct id128 mailbox)
{
	for (size_t i = 0; i < ledger->deleted_count; i++)
		if (id128_equal(ledger->deleted[i], mailbox))
			return true;
	return false;
}

static void check_annotation(struct sim *sim, struct sim_node *node, struct kv_txn *kv,
	const struct ledger_register *own, struct stamp instance, struct arena *arena)
{
	const struct ledger_message *known = find(sim->ledger, instance);
	struct register_record found = { 0 };
	struct message_record message;
	int rc = account_get_message(kv, node->account, instance, arena, &message);

	find_register(node, own, arena, &found);
	/* In a mailbox that a lost node had outside of what its neighbours saw. */
	if (rc == 0 && !message_is_shown(&message) && !id128_is_none(message.placed_in))
		return;
	if (rc < 0 || !message_is_shown(&message)) {
		if (found.is_set)
			sim_fail(sim, "P7: a message that is gone is annotated on node %llu",
				(unsigned long long)node->id);
	} else if (own->is_set && !found.is_set && known != NULL && !known->was_expunged &&
		   !known->is_lost) {
		sim_fail(sim, "P7: an annotation of a message is lost on node %llu",
			(unsigned long long)node->id);
	}
}

/* The live mailbox that it was united with; false: a client deleted it, or the one that it was
 * united with. */
static bool find_home(struct sim *sim, struct sim_node *node, struct kv_txn *kv,
	struct arena *arena, struct mailbox_record *home)
{
	for (int i = 0; i < 100; i++) {
		struct id128 id = home->forward;

		if (mailbox_is_live(home))
			return true;
		if (id128_is_none(id) || was_deleted(sim->ledger, home->id))
			return false;
		if (account_get_mailbox(kv, node->account, id, arena, home) < 0)
			return false;
	}
	return false;
}

/* What was said of the mailbox that it was united with was cleared, and that is forgotten. */
static bool is_expired_there(struct ledger *ledger, const struct ledger_register *own)
{
	struct register_record key = {
		.kind = own->kind, .mailbox = own->mailbox, .key = register_key_of(own)
	};
	const struct ledger_register *there = find_own_register(ledger, &key);

	return there < ledger->registers + ledger->register_count && there->is_expired;
}

static void check_of_mailbox(struct sim *sim, struct sim_node *node, struct kv_txn *kv,
	const struct ledger_register *own, struct arena *arena)
{
	struct ledger_register at_home = *own;
	struct register_record found = { 0 };
	struct mailbox_record mailbox;

	if (account_get_mailbox(kv, node->account, own->mailbox, arena, &mailbox) < 0)
		return;
	find_register(node, own, arena, &found);
	if (!mailbox_is_live(&mailbox) && found.is_set)
		sim_fail(sim, "P7: a mailbox that is gone has metadata or rights on node %llu",
			(unsigned long long)node->id);
	if (!own->is_set || !find_home(sim, node, kv, arena, &mailbox))
		return;
	at_home.mailbox = mailbox.id;
	if (is_expired_there(sim->ledger, &at_home))
		return;
	found = (struct register_record){ 0 };
	if (find_register(node, &at_home, arena, &found) < 0 ||
		stamp_compare(found.stamp, own->stamp) < 0)
		sim_fail(sim,
			"P7: metadata or rights of a mailbox are not as last set on node %llu",
			(unsigned long long)node->id);
}

static void check_register(struct sim *sim, struct sim_node *node, struct kv_txn *kv,
	const struct ledger_register *own, struct arena *arena)
{
	struct register_record found = { 0 };
	struct register_record key = {
		.kind = own->kind, .mailbox = own->mailbox, .key = register_key_of(own)
	};
	struct stamp instance;

	if (own->is_expired)
		return; /* who forgot that it was cleared may take it for new */
	if (annotation_instance(&key, &instance)) {
		check_annotation(sim, node, kv, own, instance, arena);
		return;
	}
	if (own->kind == RECORD_ACL || own->kind == RECORD_ANNOTATION) {
		check_of_mailbox(sim, node, kv, own, arena);
		return;
	}
	find_register(node, own, arena, &found);
	if (own->kind == RECORD_SCRIPT && stamp_is_none(own->stamp))
		return; /* all went with a lost node: a merge may keep that version once more */
	if (!own->is_set && !found.is_set)
		return; /* cleared more than once: any of the tombstones will do */
	if (found.is_set != own->is_set || stamp_compare(found.stamp, own->stamp) != 0)
		sim_fail(sim, "P7: %.*s is not as last changed on node %llu", BYTES_ARGS(key.key),
			(unsigned long long)node->id);
}

void ledger_check(struct sim *sim, struct sim_node *node)
{
	struct kv_txn *kv = node_read(node);
	struct arena *arena = arena_new();

	for (size_t i = 0; i < sim->ledger->register_count; i++)
		check_register(sim, node, kv, &sim->ledger->registers[i], arena);

	for (size_t i = 0; i < sim->ledger->count && !sim->has_failed; i++)
		check_message(sim, node, kv, sim->ledger->messages[i], arena);
	arena_free(&arena);
	mail_read_end(&kv);
	ledger_more_check(sim, sim->ledger->more, node);
}
