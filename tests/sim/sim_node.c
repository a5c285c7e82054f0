/*
 * Nodes: a store in memory with its mail layer and a clock that may be wrong; backups of it, and
 * nodes that are restored from one under a new node id.
 */
#include "sim.h"

#include "base/mem.h"
#include "base/pack.h"
#include "mail/expiry.h"
#include "mail/hold.h"
#include "mail/seen.h"

#include <stdlib.h>

struct snapshot_entry {
	unsigned table;
	struct bytes key, value;
};

struct snapshot {
	struct arena *arena;
	struct snapshot_entry *entries; /* of the mail layer's tables, as they are */
	size_t entry_count, entry_room;
	struct bytes *bodies; /* one per message shown: each counts a reference */
	size_t body_count, body_room;
	uint32_t account;
	struct observer *observer; /* what clients had been told by then */
};

/* All randomness of the process comes from the schedule's seed; set while one runs. */
static struct random *current_random;
static uint64_t current_node_id; /* what the next store is to be called */

void __real_random_bytes(void *ptr, size_t len);
void __wrap_random_bytes(void *ptr, size_t len);

/* Takes the place of random_bytes() (see meson.build). */
void __wrap_random_bytes(void *ptr, size_t len)
{
	unsigned char *at = ptr;

	if (current_random == NULL) {
		__real_random_bytes(ptr, len);
		return;
	}
	if (current_node_id != 0 && len == sizeof(current_node_id)) {
		put_u64(at, current_node_id);
		return;
	}
	for (size_t i = 0; i < len; i++)
		at[i] = (unsigned char)random_next(current_random);
}

static uint64_t skewed_now_ms(const struct clock *clock)
{
	const struct sim_clock *own = (const struct sim_clock *)(const void *)clock;

	return own->sim->now_ms + (uint64_t)own->skew_ms;
}

/* The store and the mail layer of a new node, without an account. */
static void open_store(struct sim *sim, struct sim_node *node)
{
	struct store *store = NULL;

	node->clock.clock.now_ms = skewed_now_ms;
	node->clock.sim = sim;
	current_random = &sim->random;
	current_node_id = ++sim->next_id;
	if (store_open_memory(&store) < 0 || mail_open(store, &node->clock.clock, &node->mail) < 0)
		abort();
	current_node_id = 0;
	node->store = store;
	node->id = store_node_id(store);
}

void node_open_apart(struct sim *sim, struct sim_node *node)
{
	open_store(sim, node);
	node->observer = observer_new();
}

void node_open(struct sim *sim, struct sim_node *node)
{
	node_open_apart(sim, node);
	forward_open(sim, node);
	if (sim_chance(sim, 75))
		node_need_account(sim, node);
}

void node_need_account(struct sim *sim, struct sim_node *node)
{
	struct error error = { 0 };

	if (node->account == 0 && mail_account_open(node->mail, bytes_of_string(SIM_ACCOUNT), true,
					  &error, &node->account) < 0)
		sim_fail(sim, "the account cannot be made: %s", error.text);
}

void node_find_account(struct sim_node *node)
{
	struct kv_txn *kv;

	if (node->account != 0)
		return;
	kv = node_read(node);
	account_find(kv, bytes_of_string(SIM_ACCOUNT), &node->account);
	mail_read_end(&kv);
}

void node_close(struct sim_node *node)
{
	if (node->store == NULL)
		return;
	mail_close(&node->mail);
	store_close(&node->store);
	current_random = NULL;
}

struct kv_txn *node_read(struct sim_node *node)
{
	struct kv_txn *kv = NULL;

	if (mail_read_begin(node->mail, node->position, &kv) < 0)
		abort();
	return kv;
}

/* ---- backups ---- */

static void take_table(struct snapshot *snapshot, struct kv_txn *kv, unsigned table)
{
	struct kv_cursor *cursor;
	int rc = kv_cursor_open(kv, table, &cursor);

	if (rc < 0)
		abort();
	for (rc = kv_cursor_seek(cursor, bytes_of("", 1)); rc == 0; rc = kv_cursor_next(cursor)) {
		mem_grow((void **)&snapshot->entries, &snapshot->entry_room,
			snapshot->entry_count + 1, sizeof(*snapshot->entries));
		snapshot->entries[snapshot->entry_count++] = (struct snapshot_entry){ table,
			arena_copy(snapshot->arena, kv_cursor_key(cursor)),
			arena_copy(snapshot->arena, kv_cursor_value(cursor)) };
	}
	kv_cursor_close(&cursor);
}

struct body_search {
	struct sim *sim;
	struct sim_node *node;
	struct kv_txn *kv;
	struct snapshot *snapshot;
	struct arena *arena;
};

static int take_body(void *context, const struct message_record *message)
{
	struct body_search *search = context;
	struct snapshot *snapshot = search->snapshot;
	struct buffer body = { 0 };

	if (!message_is_shown(message) && !message->has_body)
		return 0;
	if (message_body(search->node->mail, search->kv, &message->guid, &body) < 0)
		sim_fail(search->sim, "P1: the body of a message cannot be read");
	mem_grow((void **)&snapshot->bodies, &snapshot->body_room, snapshot->body_count + 1,
		sizeof(*snapshot->bodies));
	snapshot->bodies[snapshot->body_count++] = arena_copy(snapshot->arena, buffer_bytes(&body));
	buffer_deinit(&body);
	return 0;
}

void node_backup(struct sim *sim, struct sim_node *node)
{
	struct snapshot *snapshot = mem_zalloc(sizeof(*snapshot));
	static const struct account_change_functions functions = { .message = take_body };
	struct body_search search = { sim, node, node_read(node), snapshot, arena_new() };
	struct account_header header = { 0 };

	snapshot_free(&node->snapshot);
	sim_trace(sim, "node %llu is backed up", (unsigned long long)node->id);
	snapshot->arena = arena_new();
	snapshot->account = node->account;
	snapshot->observer = observer_copy(node->observer);
	for (unsigned table = STORE_TABLE_FIRST_FREE; table < STORE_TABLE_COUNT; table++)
		take_table(snapshot, search.kv, table);
	while (account_next(search.kv, header.number, &header) == 0) {
		account_each_change(search.kv, header.number, 0, search.arena, &functions, &search);
	}
	mail_read_end(&search.kv);
	arena_free(&search.arena);
	node->snapshot = snapshot;
}

void snapshot_free(struct snapshot **snapshot)
{
	if (*snapshot == NULL)
		return;
	observer_free(&(*snapshot)->observer);
	arena_free(&(*snapshot)->arena);
	free((*snapshot)->entries);
	free((*snapshot)->bodies);
	free(*snapshot);
	*snapshot = NULL;
}

struct put_context {
	const struct snapshot *snapshot;
	struct store_body **bodies;
};

static int put_snapshot(struct store_write *write, void *context)
{
	const struct put_context *put = context;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < put->snapshot->entry_count; i++) {
		const struct snapshot_entry *entry = &put->snapshot->entries[i];

		rc = store_put(write, entry->table, entry->key, entry->value);
	}
	for (size_t i = 0; rc == 0 && i < put->snapshot->body_count; i++)
		rc = store_body_add(write, put->bodies[i]);
	return rc;
}

void node_restore(struct sim *sim, size_t index)
{
	struct sim_node *node = &sim->nodes[index];
	struct snapshot *snapshot = node->snapshot;
	struct put_context put = { snapshot,
		mem_zalloc_array(snapshot->body_count + 1, sizeof(struct store_body *)) };
	struct error error = { 0 };
	uint64_t lost_id = node->id;
	uint32_t returning = 0;

	for (size_t i = 0; i < sim->pair_count; i++)
		if (sim->links[i].exchange != NULL &&
			(sim->links[i].from == index || sim->links[i].to == index))
			link_abort(&sim->links[i]);
	late_drop(sim, lost_id);
	for (size_t i = 0; i < SIM_ROAMER_COUNT; i++) /* they may have seen what is lost now */
		if (sim->roamers[i].node_id == lost_id)
			observer_free(&sim->roamers[i].observer);
	node_close(node);
	observer_free(&node->observer);
	open_store(sim, node);
	forward_open(sim, node);
	sim_trace(sim, "node %llu is lost; its backup becomes node %llu",
		(unsigned long long)lost_id, (unsigned long long)node->id);
	for (size_t i = 0; i < snapshot->body_count; i++)
		if (store_body_prepare(node->store, snapshot->bodies[i], &put.bodies[i]) < 0)
			abort();
	if (store_commit(node->store, put_snapshot, &put, &error, &node->position) < 0)
		sim_fail(sim, "a backup cannot be restored: %s", error.text);
	for (size_t i = 0; i < snapshot->body_count; i++)
		store_body_free(&put.bodies[i]);
	free(put.bodies);
	node->account = snapshot->account;
	while (mail_hold_returning(node->mail, &returning, &error) == 0)
		;
	node->observer = observer_copy(snapshot->observer);
	snapshot_free(&node->snapshot);
	ledger_lose(sim);
}

/* ---- expiry ---- */

struct expiry {
	struct sim *sim;
	uint64_t before_ms;
};

static int note_message(void *context, const struct message_record *message)
{
	struct expiry *expiry = context;

	if (!message_is_shown(message) && message->gone_ms < expiry->before_ms)
		ledger_note_expired(expiry->sim->ledger, message->instance);
	return 0;
}

static int note_register(void *context, const struct register_record *record)
{
	struct expiry *expiry = context;

	if (!record->is_set && record->gone_ms < expiry->before_ms)
		ledger_note_expired_register(expiry->sim->ledger, record);
	return 0;
}

/* What users had seen of a message of the neighbour's is forgotten with it (mail/seen.h). */
static int note_neighbours_message(void *context, const struct message_record *message)
{
	struct expiry *expiry = context;
	unsigned char key[SEEN_REGISTER_KEY_SIZE];
	struct register_record seen = { .kind = RECORD_SEEN,
		.mailbox = id128_derive("chapar account", BYTES_LITERAL("neighbour")),
		.key = seen_register_key(key, message->instance) };

	if (!message_is_shown(message) && message->gone_ms < expiry->before_ms)
		ledger_note_expired_register(expiry->sim->ledger, &seen);
	return 0;
}

static void note_expired(struct sim *sim, struct sim_node *node, uint64_t before_ms)
{
	static const struct account_change_functions own = { .message = note_message,
		.record = note_register };
	static const struct account_change_functions neighbours = {
		.message = note_neighbours_message
	};
	struct expiry expiry = { sim, before_ms };
	struct arena *arena = arena_new();
	struct kv_txn *kv = node_read(node);
	uint32_t neighbour;
	int rc = account_each_change(kv, node->account, 0, arena, &own, &expiry);

	if (rc == 0)
		rc = account_find(kv, BYTES_LITERAL("neighbour"), &neighbour);
	if (rc == 0)
		rc = account_each_change(kv, neighbour, 0, arena, &neighbours, &expiry);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		sim_fail(sim, "the changes cannot be read");
	mail_read_end(&kv);
	arena_free(&arena);
}

void node_expire(struct sim *sim, struct sim_node *node, uint64_t age_ms)
{
	uint64_t before_ms = clock_now_ms(&node->clock.clock) - age_ms;
	struct error error = { 0 };
	struct buffer after = { 0 };
	int rc = 1;

	sim_trace(sim, "node %llu forgets what has been gone for %llu ms",
		(unsigned long long)node->id, (unsigned long long)age_ms);
	if (node->account != 0)
		note_expired(sim, node, before_ms);
	while (rc > 0)
		rc = mail_expire(node->mail, before_ms, &error);
	if (rc == 0 && sim_chance(sim, 30))
		for (rc = 1; rc > 0;)
			rc = mail_expire_local_bodies(
				node->mail, before_ms + sim_below(sim, age_ms + 1), &after, &error);
	if (rc < 0)
		sim_fail(sim, "what is gone cannot be forgotten: %s", error.text);
	buffer_deinit(&after);
	node->position = mail_position(node->mail);
	if (node->account != 0)
		observe(sim, node, false);
}

/* ---- what a node holds, for traces ---- */

static int tell_mailbox(void *context, const struct mailbox_record *mailbox)
{
	sim_trace(context,
		"  mailbox %02x%02x %s %.*s uidvalidity %u uidnext %u modseq %llu to %02x%02x",
		mailbox->id.bytes[0], mailbox->id.bytes[1],
		mailbox_is_live(mailbox) ? "live" : "deleted", BYTES_ARGS(mailbox->name),
		mailbox->uidvalidity, mailbox->uidnext, (unsigned long long)mailbox->modseq,
		mailbox->forward.bytes[0], mailbox->forward.bytes[1]);
	return 0;
}

static int tell_message(void *context, const struct message_record *message)
{
	sim_trace(context, "  message %llu.%llu in %02x%02x UID %u modseq %llu placed %llu",
		(unsigned long long)message->instance.modseq,
		(unsigned long long)message->instance.node, message->mailbox.bytes[0],
		message->mailbox.bytes[1], message->uid, (unsigned long long)message->modseq,
		(unsigned long long)message->placed.modseq);
	return 0;
}

static int tell_register(void *context, const struct register_record *record)
{
	sim_trace(context, "  %s %u %02x%02x %.*s = %.*s stamp %llu.%llu",
		record->is_set ? "register" : "cleared", (unsigned)record->kind,
		record->mailbox.bytes[0], record->mailbox.bytes[1], BYTES_ARGS(record->key),
		BYTES_ARGS(record->value), (unsigned long long)record->stamp.modseq,
		(unsigned long long)record->stamp.node);
	return 0;
}

void node_tell(struct sim *sim, struct sim_node *node)
{
	static const struct account_change_functions functions = { tell_mailbox, tell_message,
		tell_register };
	struct arena *arena = arena_new();
	struct kv_txn *kv = node_read(node);

	sim_trace(sim, "node %llu holds", (unsigned long long)node->id);
	account_each_change(kv, node->account, 0, arena, &functions, sim);
	mail_read_end(&kv);
	arena_free(&arena);
}
