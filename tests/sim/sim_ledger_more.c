/*
 * What was acknowledged of mailboxes and scripts.
 *
 * A mailbox has the name and special use that the latest act gave it, however copies were united;
 * one that a client deleted is deleted. A version of a script that no client replaced or removed
 * knowing it, is there: under its name, or under one that was made for it.
 */
#include "sim.h"

#include "base/mem.h"
#include "mail/script.h"

#include <stdlib.h>

#define NAME_SIZE 64 /* bytes; the names of the simulation are short */

struct own_text {
	struct stamp stamp;
	char text[NAME_SIZE];
	size_t len;
};

struct own_mailbox {
	struct id128 id;
	struct own_text name, special_use;
	bool is_deleted;
};

struct own_script {
	struct own_text name; /* with the stamp of the version */
	struct buffer text;
	bool is_replaced; /* by a client that knew it */
	bool may_be_lost; /* with the only node that had it */
};

struct ledger_more {
	struct own_mailbox *mailboxes;
	size_t mailbox_count, mailbox_room;
	struct own_text *names; /* all that clients ever gave to mailboxes */
	size_t name_count, name_room;
	struct own_script *scripts;
	size_t script_count, script_room;
};

struct ledger_more *ledger_more_new(void)
{
	return mem_zalloc(sizeof(struct ledger_more));
}

void ledger_more_free(struct ledger_more **more)
{
	for (size_t i = 0; i < (*more)->script_count; i++)
		buffer_deinit(&(*more)->scripts[i].text);
	free((*more)->scripts);
	free((*more)->names);
	free((*more)->mailboxes);
	free(*more);
	*more = NULL;
}

static void take_text(struct own_text *own, struct stamp stamp, struct bytes text)
{
	assert(text.len <= NAME_SIZE);
	if (stamp_compare(own->stamp, stamp) > 0)
		return;
	own->stamp = stamp;
	own->len = text.len;
	if (text.len > 0)
		memcpy(own->text, text.ptr, text.len);
}

static bool is_text(const struct own_text *own, struct stamp stamp, struct bytes text)
{
	return stamp_compare(own->stamp, stamp) == 0 &&
	       bytes_equal(text, bytes_of(own->text, own->len));
}

static void note_name(struct ledger_more *more, const struct own_text *name)
{
	mem_grow((void **)&more->names, &more->name_room, more->name_count + 1,
		sizeof(*more->names));
	more->names[more->name_count++] = *name;
}

/* That, or a later one that a client gave the mailbox whose mail this one was made for, and which
 * may be called otherwise since then. */
static bool is_latest(const struct ledger_more *more, const struct own_text *own, bool is_name,
	struct stamp stamp, struct bytes text)
{
	if (is_text(own, stamp, text))
		return true;
	if (stamp_compare(stamp, own->stamp) <= 0)
		return false;
	for (size_t i = 0; is_name && i < more->name_count; i++)
		if (is_text(&more->names[i], stamp, text))
			return true;
	for (size_t i = 0; !is_name && i < more->mailbox_count; i++)
		if (is_text(&more->mailboxes[i].special_use, stamp, text))
			return true;
	return false;
}

/* ---- scripts ---- */

/* Its own name, or one that was made for the version. */
static bool is_of_script(const struct own_script *own, struct bytes name)
{
	return bytes_start_with(name, bytes_of(own->name.text, own->name.len));
}

/* Of two versions with the same text one stands for both. */
static void replace_script(struct ledger_more *more, const struct own_script *known)
{
	for (size_t i = 0; i < more->script_count; i++) {
		struct own_script *own = &more->scripts[i];

		if (own->name.len == known->name.len &&
			is_of_script(own, bytes_of(known->name.text, known->name.len)) &&
			bytes_equal(buffer_bytes(&own->text), buffer_bytes(&known->text)))
			own->is_replaced = true;
	}
}

/* A later version with the same text stands for it, and somebody who knew that one replaced it. */
static bool is_stood_for(const struct ledger_more *more, const struct own_script *fresh)
{
	for (size_t i = 0; i < more->script_count; i++) {
		const struct own_script *own = &more->scripts[i];

		if (own->is_replaced && own->name.len == fresh->name.len &&
			is_of_script(own, bytes_of(fresh->name.text, fresh->name.len)) &&
			stamp_compare(own->name.stamp, fresh->name.stamp) > 0 &&
			bytes_equal(buffer_bytes(&own->text), buffer_bytes(&fresh->text)))
			return true;
	}
	return false;
}

void ledger_more_script(
	struct ledger_more *more, const struct register_record *record, struct stamp before)
{
	struct own_script *own;
	if (stamp_compare(record->stamp, before) == 0)
		return; /* it is what a merge wrote again */
	for (size_t i = 0; i < more->script_count; i++) {
		own = &more->scripts[i];
		if (stamp_compare(own->name.stamp, record->stamp) == 0)
			return;
		if (is_of_script(own, record->key) && stamp_compare(own->name.stamp, before) == 0)
			replace_script(more, own);
	}
	/* What was kept under a longer name and then changed is that version's affair. */
	if (!record->is_set || bytes_find(record->key, '(') < record->key.len)
		return;
	mem_grow((void **)&more->scripts, &more->script_room, more->script_count + 1,
		sizeof(*more->scripts));
	own = &more->scripts[more->script_count++];
	*own = (struct own_script){ 0 };
	take_text(&own->name, record->stamp, record->key);
	buffer_append_bytes(&own->text, script_text(record->value));
	own->is_replaced = is_stood_for(more, own);
}

void ledger_more_expire(struct ledger_more *more, const struct register_record *record)
{
	for (size_t i = 0; record->kind == RECORD_SCRIPT && i < more->script_count; i++)
		if (is_of_script(&more->scripts[i], record->key))
			more->scripts[i].is_replaced = true; /* who forgot it cannot keep it */
}

struct script_search {
	const struct own_script *own;
	bool is_found;
};

static int find_script(void *context, const struct register_record *record)
{
	struct script_search *search = context;
	const struct own_script *own = search->own;

	if (record->is_set &&
		bytes_start_with(record->key, bytes_of(own->name.text, own->name.len)) &&
		bytes_equal(script_text(record->value), buffer_bytes(&own->text)))
		search->is_found = true;
	return 0;
}

static void check_script(struct sim *sim, struct sim_node *node, struct kv_txn *kv,
	const struct own_script *own, struct arena *arena)
{
	struct script_search search = { .own = own };

	if (own->is_replaced || own->may_be_lost)
		return;
	account_each_register(kv, node->account, RECORD_SCRIPT, arena, find_script, &search);
	if (!search.is_found)
		sim_fail(sim, "P1: version %llu.%llu of script %.*s is lost on node %llu",
			(unsigned long long)own->name.stamp.modseq,
			(unsigned long long)own->name.stamp.node, (int)own->name.len,
			own->name.text, (unsigned long long)node->id);
}

/* ---- mailboxes ---- */

static struct own_mailbox *find_mailbox(struct ledger_more *more, struct id128 id)
{
	struct own_mailbox *own = more->mailboxes;

	while (own < more->mailboxes + more->mailbox_count && !id128_equal(own->id, id))
		own++;
	return own;
}

void ledger_more_mailbox(struct ledger_more *more, const struct mailbox_record *mailbox)
{
	struct own_mailbox *own = find_mailbox(more, mailbox->id);

	if (own == more->mailboxes + more->mailbox_count) {
		mem_grow((void **)&more->mailboxes, &more->mailbox_room, more->mailbox_count + 1,
			sizeof(*more->mailboxes));
		own = &more->mailboxes[more->mailbox_count++];
		*own = (struct own_mailbox){ .id = mailbox->id };
	}
	take_text(&own->name, mailbox->name_stamp, mailbox->name);
	if (is_text(&own->name, mailbox->name_stamp, mailbox->name))
		note_name(more, &own->name);
	take_text(&own->special_use, mailbox->special_use_stamp, mailbox->special_use);
	own->is_deleted = own->is_deleted || !mailbox_is_live(mailbox);
}

/* United with another by partial copies: where all is equal at last, nothing tells the others. */
static bool is_closed_somewhere(struct sim *sim, struct id128 id, struct arena *arena)
{
	bool is_closed = false;

	for (size_t i = 0; i < sim->node_count && sim->is_filtered && !is_closed; i++) {
		struct kv_txn *kv = node_read(&sim->nodes[i]);
		struct mailbox_record found;

		is_closed =
			account_get_mailbox(kv, sim->nodes[i].account, id, arena, &found) == 0 &&
			!mailbox_is_live(&found);
		mail_read_end(&kv);
	}
	return is_closed;
}

/* That of one which a limited peer may not see: the merge gave it another. */
static bool is_conflict_name(const struct sim *sim, const struct own_text *own, struct bytes name)
{
	static const char added[] = " (conflict ";

	return sim->is_filtered && name.len > own->len + strlen(added) &&
	       memcmp(name.ptr, own->text, own->len) == 0 &&
	       memcmp(name.ptr + own->len, added, strlen(added)) == 0;
}

static void check_mailbox(struct sim *sim, struct sim_node *node, struct kv_txn *kv,
	const struct ledger_more *more, const struct own_mailbox *own, struct arena *arena)
{
	struct mailbox_record found;

	if (account_get_mailbox(kv, node->account, own->id, arena, &found) < 0) {
		/* Of what is deleted not all need ever hear. */
		if (!own->is_deleted && !is_closed_somewhere(sim, own->id, arena))
			sim_fail(sim, "P1: mailbox %.*s is not known on node %llu",
				(int)own->name.len, own->name.text, (unsigned long long)node->id);
		return;
	}
	if (own->is_deleted && mailbox_is_live(&found))
		sim_fail(sim, "P5: mailbox %.*s was deleted and is there on node %llu",
			(int)own->name.len, own->name.text, (unsigned long long)node->id);
	if (!own->is_deleted && !mailbox_is_live(&found) && id128_is_none(found.forward))
		sim_fail(sim, "P1: mailbox %.*s, which nobody deleted, is gone on node %llu",
			(int)own->name.len, own->name.text, (unsigned long long)node->id);
	/* Tombstones are in no digest: how it was called last, a partial copy need not hear. */
	if (own->is_deleted && sim->is_filtered)
		return;
	if (!is_latest(more, &own->name, true, found.name_stamp, found.name) &&
		!is_conflict_name(sim, &own->name, found.name))
		sim_fail(sim, "P7: the name of a mailbox is not the latest (%.*s) on node %llu",
			(int)own->name.len, own->name.text, (unsigned long long)node->id);
	if (!is_latest(more, &own->special_use, false, found.special_use_stamp, found.special_use))
		sim_fail(sim, "P7: the special use of %.*s is not the latest on node %llu",
			(int)own->name.len, own->name.text, (unsigned long long)node->id);
}

/* ---- all ---- */

static void lose_mailbox(struct sim *sim, struct own_mailbox *own, struct arena *arena)
{
	struct own_mailbox left = { .id = own->id };

	for (size_t i = 0; i < sim->node_count; i++) {
		struct kv_txn *kv = node_read(&sim->nodes[i]);
		struct mailbox_record found;

		if (account_get_mailbox(kv, sim->nodes[i].account, own->id, arena, &found) == 0) {
			take_text(&left.name, found.name_stamp, found.name);
			take_text(&left.special_use, found.special_use_stamp, found.special_use);
			left.is_deleted =
				left.is_deleted || (!mailbox_is_live(&found) && own->is_deleted);
		}
		mail_read_end(&kv);
	}
	*own = left;
}

void ledger_more_lose(struct sim *sim, struct ledger_more *more)
{
	struct arena *arena = arena_new();
	size_t kept = 0;

	for (size_t i = 0; i < more->script_count; i++)
		more->scripts[i].may_be_lost = true;
	for (size_t i = 0; i < more->mailbox_count; i++) {
		lose_mailbox(sim, &more->mailboxes[i], arena);
		if (more->mailboxes[i].name.len > 0)
			more->mailboxes[kept++] = more->mailboxes[i];
	}
	more->mailbox_count = kept;
	arena_free(&arena);
}

void ledger_more_check(struct sim *sim, struct ledger_more *more, struct sim_node *node)
{
	struct arena *arena = arena_new();
	struct kv_txn *kv = node_read(node);

	for (size_t i = 0; i < more->mailbox_count && !sim->has_failed; i++)
		check_mailbox(sim, node, kv, more, &more->mailboxes[i], arena);
	for (size_t i = 0; i < more->script_count && !sim->has_failed; i++)
		check_script(sim, node, kv, &more->scripts[i], arena);
	mail_read_end(&kv);
	arena_free(&arena);
}
