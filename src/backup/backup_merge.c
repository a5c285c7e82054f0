#include "backup/backup_merge.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/pack.h"
#include "mail/annotation.h"
#include "sync/wire.h"

#include <stdlib.h>

#define SUCCESSOR_COUNT_MAX 1000 /* times that one message was brought back */

struct target {
	struct mailbox_record mailbox; /* with uidnext as it becomes */
	bool is_new;
	struct id128 was; /* in the backup; none: --to */
};

struct origin {
	struct stamp instance;            /* that it gets */
	const struct message_record *was; /* in the backup */
};

struct merge {
	struct backup_restore_run *run;
	struct arena *arena;
	struct change_set live; /* all that the node has of the account */
	uint64_t sequence;
	uint64_t modseq; /* of what is made here */
	struct target *targets;
	size_t target_count, target_room;
	struct change_set made; /* what is to be merged */
	struct origin *origins; /* of its messages */
	size_t origin_count, origin_room;
	struct map by_instance; /* new instance -> struct origin, once all are made */
	struct map by_was;      /* instance in the backup -> the same */
};

/* ---- what is there ---- */

static int live_read(struct merge *merge, struct error *error)
{
	struct backup_changes page = { .has_more = true };
	int rc = 0;

	while (rc == 0 && page.has_more) {
		rc = backup_ask_changes(merge->run->node, merge->run->account, merge->sequence,
			merge->arena, &page, error);
		if (rc == ERR_NOT_FOUND) {
			*error = (struct error){ 0 }; /* it is made by what we send */
			return 0;
		}
		if (rc < 0)
			return rc;
		for (size_t i = 0; i < page.records.mailbox_count; i++)
			change_set_add_mailbox(&merge->live, &page.records.mailboxes[i]);
		for (size_t i = 0; i < page.records.message_count; i++)
			change_set_add_message(
				&merge->live, &page.records.messages[i].record, false);
		for (size_t i = 0; i < page.records.register_count; i++)
			change_set_add_register(&merge->live, &page.records.registers[i]);
		change_set_deinit(&page.records);
		merge->sequence = page.sequence;
		if (merge->modseq <= page.highest)
			merge->modseq = page.highest + 1;
	}
	change_set_normalize(&merge->live);
	return rc;
}

static struct stamp stamp_now(const struct merge *merge)
{
	return (struct stamp){ merge->modseq, merge->run->options->self };
}

/* ---- mailboxes ---- */

static const struct mailbox_record *live_named(const struct merge *merge, struct bytes name)
{
	for (size_t i = 0; i < merge->live.mailbox_count; i++)
		if (mailbox_is_live(&merge->live.mailboxes[i]) &&
			bytes_equal(merge->live.mailboxes[i].name, name))
			return &merge->live.mailboxes[i];
	return NULL;
}

static bool has_special_use(const struct merge *merge, struct bytes use)
{
	for (size_t i = 0; i < merge->live.mailbox_count; i++)
		if (mailbox_is_live(&merge->live.mailboxes[i]) &&
			bytes_equal(merge->live.mailboxes[i].special_use, use))
			return true;
	return false;
}

static struct target *target_add(
	struct merge *merge, const struct mailbox_record *mailbox, bool is_new, struct id128 was)
{
	struct target *target;

	mem_grow((void **)&merge->targets, &merge->target_room, merge->target_count + 1,
		sizeof(*merge->targets));
	target = &merge->targets[merge->target_count++];
	*target = (struct target){ *mailbox, is_new, was };
	return target;
}

static struct target *target_named(struct merge *merge, struct bytes name)
{
	for (size_t i = 0; i < merge->target_count; i++)
		if (bytes_equal(merge->targets[i].mailbox.name, name))
			return &merge->targets[i];
	return NULL;
}

/* INBOX is the one that every node makes; others are new. */
static struct mailbox_record mailbox_make(
	const struct merge *merge, struct bytes name, const struct mailbox_record *like)
{
	struct mailbox_record made = { .name = name, .uidnext = 1, .modseq = merge->modseq };

	if (bytes_equal_string(name, "INBOX")) {
		made.id = id128_derive("chapar inbox", bytes_of_string(merge->run->account));
		made.uidvalidity = 1;
		made.modseq = 1;
		return made;
	}
	made.id = id128_random();
	made.name_stamp = stamp_now(merge);
	made.uidvalidity = (uint32_t)(clock_now_ms(clock_system()) / 1000);
	if (like != NULL && like->special_use.len > 0 &&
		!has_special_use(merge, like->special_use)) {
		made.special_use = like->special_use;
		made.special_use_stamp = stamp_now(merge);
	}
	return made;
}

/* Mailboxes above it come too, if they are not there. */
static struct target *target_make(
	struct merge *merge, struct bytes name, const struct mailbox_record *like)
{
	const struct id128 none = { { 0 } };
	const struct mailbox_record *found;
	struct mailbox_record made;
	struct target *target;

	for (size_t at = 0; at < name.len; at++)
		if (name.ptr[at] == '/' && target_named(merge, bytes_of(name.ptr, at)) == NULL &&
			live_named(merge, bytes_of(name.ptr, at)) == NULL)
			target_make(merge, bytes_of(name.ptr, at), NULL);
	target = target_named(merge, name);
	if (target != NULL)
		return target;
	found = live_named(merge, name);
	if (found != NULL)
		return target_add(merge, found, false, like != NULL ? like->id : none);
	made = mailbox_make(merge, name, like);
	merge->run->result->mailbox_count++;
	return target_add(merge, &made, true, like != NULL ? like->id : none);
}

/* Where what was in that mailbox of the backup goes. */
static struct target *target_of(struct merge *merge, struct id128 was)
{
	const struct change_set *records = &merge->run->state->records;
	const struct mailbox_record *mailbox = change_set_mailbox(records, was), *live;

	if (merge->run->options->to != NULL)
		return target_make(merge, bytes_of_string(merge->run->options->to), NULL);
	if (mailbox == NULL)
		return target_make(merge, BYTES_LITERAL("INBOX"), NULL);
	live = change_set_mailbox(&merge->live, was);
	if (live == NULL || !mailbox_is_live(live))
		return target_make(merge, mailbox->name, mailbox);
	for (size_t i = 0; i < merge->target_count; i++)
		if (id128_equal(merge->targets[i].mailbox.id, live->id))
			return &merge->targets[i];
	return target_add(merge, live, false, was);
}

/* ---- messages ---- */

/* As undelete makes them (mail/undelete.c), but for a purpose of its own. */
static struct stamp successor_of(struct stamp instance)
{
	unsigned char at[16];

	put_u64(at, instance.modseq);
	put_u64(at + 8, instance.node);
	return (struct stamp){ instance.modseq, hash64(bytes_of(at, sizeof(at)), 0xbac) | 1 };
}

/* The first that the node has no record of. False: one of them is shown there. */
static bool instance_find(
	const struct merge *merge, const struct message_record *was, struct stamp *instance_r)
{
	const struct message_change *there = change_set_message(&merge->live, was->instance);
	struct stamp instance = was->instance;

	for (int i = 0; i < SUCCESSOR_COUNT_MAX; i++) {
		if (there != NULL && message_is_shown(&there->record))
			return false;
		instance = successor_of(instance);
		there = change_set_message(&merge->live, instance);
		if (there == NULL) {
			*instance_r = instance;
			return true;
		}
	}
	return false;
}

static void flags_copy(
	struct merge *merge, const struct message_record *was, struct message_record *made)
{
	made->flags = arena_alloc(merge->arena, (was->flag_count + 1) * sizeof(*made->flags));
	for (size_t i = 0; i < was->flag_count; i++) {
		if (!was->flags[i].is_set || bytes_equal_string(was->flags[i].name, "\\Deleted"))
			continue;
		made->flags[made->flag_count] = was->flags[i];
		made->flags[made->flag_count++].stamp = made->instance;
	}
}

/* It was placed when it was made: so whoever brings back the same makes the same. */
static void message_make(struct merge *merge, const struct message_record *was)
{
	struct backup_restore_result *result = merge->run->result;
	struct message_record made = { .guid = was->guid,
		.size = was->size,
		.internaldate = was->internaldate,
		.internaldate_zone = was->internaldate_zone,
		.savedate_ms = clock_now_ms(clock_system()),
		.thread = was->thread,
		.modseq = merge->modseq };
	struct target *target;

	if (!instance_find(merge, was, &made.instance)) {
		result->there_count++;
		return;
	}
	target = target_of(merge, was->mailbox);
	made.placed = made.instance;
	made.placed_in = made.mailbox = target->mailbox.id;
	made.uid = target->mailbox.uidnext++;
	flags_copy(merge, was, &made);
	change_set_add_message(&merge->made, &made, false);
	mem_grow((void **)&merge->origins, &merge->origin_room, merge->origin_count + 1,
		sizeof(*merge->origins));
	merge->origins[merge->origin_count++] = (struct origin){ made.instance, was };
}

static const struct backup_place *place_of(void *context, const struct message_record *message)
{
	const struct merge *merge = context;
	const struct origin *origin = map_get(
		&merge->by_instance, bytes_of(&message->instance, sizeof(message->instance)));

	return origin != NULL ? backup_state_place(merge->run->state, origin->was) : NULL;
}

/* ---- settings ---- */

static void register_make(struct merge *merge, const struct register_record *was,
	struct id128 mailbox, struct bytes key)
{
	struct register_record made = *was;
	const struct register_record *there;

	made.mailbox = mailbox;
	made.key = key;
	made.stamp = stamp_now(merge);
	made.modseq = merge->modseq;
	there = change_set_register(&merge->live, &made);
	if (there == NULL || !there->is_set)
		change_set_add_register(&merge->made, &made);
}

/* An annotation of a message that comes back. */
static void annotation_make(
	struct merge *merge, const struct register_record *was, struct stamp instance)
{
	const struct origin *origin =
		map_get(&merge->by_was, bytes_of(&instance, sizeof(instance)));
	unsigned char *key = arena_alloc(merge->arena, REGISTER_KEY_SIZE_MAX);
	struct bytes prefix, rest = was->key;

	if (origin == NULL)
		return;
	prefix = annotation_prefix(key, origin->instance);
	bytes_skip(&rest, prefix.len);
	memcpy(key + prefix.len, rest.ptr, rest.len);
	register_make(merge, was, was->mailbox, bytes_of(key, was->key.len));
}

static void registers_make(struct merge *merge, bool is_whole)
{
	const struct change_set *records = &merge->run->state->records;

	for (size_t i = 0; i < records->register_count; i++) {
		const struct register_record *was = &records->registers[i];
		struct stamp instance;
		bool is_wanted = was->kind == RECORD_ANNOTATION || was->kind == RECORD_ACL ||
				 was->kind == RECORD_SUBSCRIPTION || was->kind == RECORD_SCRIPT;

		if (!was->is_set || !is_wanted)
			continue;
		if (annotation_instance(was, &instance))
			annotation_make(merge, was, instance);
		else if (id128_is_none(was->mailbox) && is_whole)
			register_make(merge, was, was->mailbox, was->key);
		for (size_t k = 0; k < merge->target_count && !id128_is_none(was->mailbox); k++)
			if (merge->targets[k].is_new &&
				id128_equal(merge->targets[k].was, was->mailbox))
				register_make(merge, was, merge->targets[k].mailbox.id, was->key);
	}
}

/* ---- the request ---- */

static int integrate_ask(struct merge *merge, uint64_t part_count, struct error *error)
{
	struct buffer request = { 0 };
	struct dlist_writer writer = wire_begin(&request, DLIST_REQUEST, "INTEGRATE");
	struct arena *arena = arena_new();
	const struct dlist *map;
	struct bytes verb;
	int rc;

	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(merge->run->account));
	dlist_put_number_of(&writer, "SINCE", merge->sequence);
	/* We have no sequence: it only has to be greater than any that we told before. */
	dlist_put_number_of(&writer, "SEQUENCE", merge->modseq);
	dlist_put_number_of(&writer, "HIGHEST", merge->modseq);
	dlist_put_number_of(&writer, "PARTS", part_count);
	dlist_end_map(&writer);
	rc = backup_ask_any(merge->run->node, buffer_bytes(&request), arena, &verb, &map, error);
	if (rc == 0 && !bytes_equal_string(verb, "INTEGRATED"))
		rc = error_set(error, ERR_CHANGED, "the node answers %.*s: it is changing",
			(int)(verb.len < 40 ? verb.len : 40), (const char *)verb.ptr);
	arena_free(&arena);
	buffer_deinit(&request);
	return rc;
}

static int all_send(struct merge *merge, bool is_whole, struct error *error)
{
	uint64_t part_count = 0;
	int rc;

	for (size_t i = 0; i < merge->origin_count; i++) {
		struct origin *origin = &merge->origins[i];

		map_put(&merge->by_instance, bytes_of(&origin->instance, sizeof(origin->instance)),
			origin);
		map_put(&merge->by_was,
			bytes_of(&origin->was->instance, sizeof(origin->was->instance)), origin);
	}
	rc = backup_send_bodies(merge->run, &merge->made, place_of, merge, error);
	if (rc < 0)
		return rc;
	registers_make(merge, is_whole);
	for (size_t i = 0; i < merge->target_count; i++)
		change_set_add_mailbox(&merge->made, &merge->targets[i].mailbox);
	merge->run->result->message_count = merge->made.message_count;
	if (merge->made.mailbox_count + merge->made.message_count + merge->made.register_count == 0)
		return 0;
	rc = backup_send_records(merge->run, &merge->made, &part_count, error);
	return rc < 0 ? rc : integrate_ask(merge, part_count, error);
}

static int mailboxes_select(struct merge *merge, const struct backup_selection *selection)
{
	const struct change_set *records = &merge->run->state->records;
	int count = 0;

	for (size_t i = 0; i < records->mailbox_count; i++) {
		const struct mailbox_record *mailbox = &records->mailboxes[i];

		if (!mailbox_is_live(mailbox) ||
			(selection->mailbox != NULL &&
				!bytes_equal_string(mailbox->name, selection->mailbox)))
			continue;
		count++;
		if (selection->instance_count == 0 && merge->run->options->to == NULL)
			(void)target_of(merge, mailbox->id);
	}
	return count;
}

int backup_merge(struct backup_restore_run *run, struct error *error)
{
	const struct backup_selection *selection = &run->options->selection;
	const struct change_set *records = &run->state->records;
	struct merge merge = { .run = run,
		.arena = arena_new(),
		.modseq = modseq_of_ms(clock_now_ms(clock_system())) };
	bool is_whole = selection->mailbox == NULL && selection->instance_count == 0;
	size_t selected_count = 0;
	int rc = live_read(&merge, error);

	if (rc == 0 && mailboxes_select(&merge, selection) == 0 && selection->mailbox != NULL)
		rc = error_set(error, ERR_NOT_FOUND, "there was no mailbox %.100s then",
			selection->mailbox);
	for (size_t i = 0; i < records->message_count && rc == 0; i++)
		if (backup_is_selected(run->state, selection, &records->messages[i].record)) {
			selected_count++;
			message_make(&merge, &records->messages[i].record);
		}
	if (rc == 0 && selected_count == 0 && selection->instance_count > 0)
		rc = error_set(error, ERR_NOT_FOUND, "the backup has none of these messages");
	if (rc == 0)
		rc = all_send(&merge, is_whole, error);
	free(merge.targets);
	free(merge.origins);
	map_deinit(&merge.by_instance);
	map_deinit(&merge.by_was);
	change_set_deinit(&merge.live);
	change_set_deinit(&merge.made);
	arena_free(&merge.arena);
	return rc;
}
