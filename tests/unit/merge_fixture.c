#include "merge_fixture.h"

#include "base/mem.h"
#include "mail/annotation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

const struct id128 inbox_id = { { 0xff } };

static void put_mailbox(struct copy *copy, const struct mailbox_record *mailbox)
{
	struct mailbox_record *own = copy_mailbox(copy, mailbox->id);

	if (own == NULL) {
		mem_grow((void **)&copy->mailboxes, &copy->mailbox_room, copy->mailbox_count + 1,
			sizeof(*copy->mailboxes));
		own = &copy->mailboxes[copy->mailbox_count++];
		*own = (struct mailbox_record){ .uidnext = 1 };
	}
	assert_true(mailbox->modseq >= own->modseq);
	assert_true(mailbox->uidvalidity >= own->uidvalidity);
	assert_true(mailbox->uidnext >= own->uidnext);
	*own = *mailbox;
	own->name = arena_copy(copy->arena, mailbox->name);
	own->special_use = arena_copy(copy->arena, mailbox->special_use);
	own->sequence = ++copy->sequence;
	if (copy->clock < mailbox->modseq)
		copy->clock = mailbox->modseq;
}

/* P2: what a UID was once shown for, it is shown for. P3: else it is not below UIDNEXT. */
static void note_shown(struct copy *copy, const struct message_record *message)
{
	struct mailbox_record *mailbox = copy_mailbox(copy, message->mailbox);

	assert_non_null(mailbox);
	for (size_t i = 0; i < copy->shown_count; i++) {
		struct shown_uid *shown = &copy->shown[i];

		if (shown->uid == message->uid && id128_equal(shown->mailbox, message->mailbox)) {
			assert_int_equal(stamp_compare(shown->instance, message->instance), 0);
			return;
		}
	}
	assert_true(mailbox_is_live(mailbox));
	mem_grow((void **)&copy->shown, &copy->shown_room, copy->shown_count + 1,
		sizeof(*copy->shown));
	copy->shown[copy->shown_count++] =
		(struct shown_uid){ message->mailbox, message->uid, message->instance };
}

static struct message_record *new_message(struct copy *copy, const struct message_record *message)
{
	struct message_record *own;

	mem_grow((void **)&copy->messages, &copy->message_room, copy->message_count + 1,
		sizeof(*copy->messages));
	own = &copy->messages[copy->message_count++];
	*own = (struct message_record){ .instance = message->instance };
	return own;
}

static void put_message(struct copy *copy, const struct message_record *message)
{
	struct message_record *own = copy_message(copy, message->instance), old;

	if (own == NULL)
		own = new_message(copy, message);
	old = *own;
	assert_true(message->modseq >= old.modseq);
	if (message_is_shown(message))
		note_shown(copy, message);
	*own = *message;
	own->flags = arena_alloc(copy->arena, (message->flag_count + 1) * sizeof(*own->flags));
	if (message->flag_count > 0)
		memcpy(own->flags, message->flags, message->flag_count * sizeof(*own->flags));
	own->sequence = ++copy->sequence;
	own->placed_sequence = stamp_compare(old.placed, message->placed) == 0 ? old.placed_sequence
									       : copy->sequence;
	own->shown_sequence = old.uid == message->uid && id128_equal(old.mailbox, message->mailbox)
				      ? old.shown_sequence
				      : copy->sequence;
	if (copy->clock < message->modseq)
		copy->clock = message->modseq;
}

static void put_register(struct copy *copy, const struct register_record *record)
{
	struct register_record *own = NULL;

	for (size_t i = 0; i < copy->register_count; i++)
		if (copy->registers[i].kind == record->kind &&
			id128_equal(copy->registers[i].mailbox, record->mailbox) &&
			bytes_equal(copy->registers[i].key, record->key))
			own = &copy->registers[i];
	if (own == NULL) {
		mem_grow((void **)&copy->registers, &copy->register_room, copy->register_count + 1,
			sizeof(*copy->registers));
		own = &copy->registers[copy->register_count++];
	}
	*own = *record;
	own->key = arena_copy(copy->arena, record->key);
	own->value = arena_copy(copy->arena, record->value);
	own->sequence = ++copy->sequence;
	if (copy->clock < record->modseq)
		copy->clock = record->modseq;
}

static struct stamp next_stamp(struct copy *copy)
{
	return (struct stamp){ ++copy->clock, copy->node };
}

/* What clients may have seen by now. */
static void announce(struct copy *copy)
{
	for (size_t i = 0; i < copy->message_count; i++)
		if (copy->messages[i].modseq > copy->highest)
			copy->highest = copy->messages[i].modseq;
	for (size_t i = 0; i < copy->mailbox_count; i++)
		if (copy->mailboxes[i].modseq > copy->highest)
			copy->highest = copy->mailboxes[i].modseq;
	for (size_t i = 0; i < copy->register_count; i++)
		if (copy->registers[i].modseq > copy->highest)
			copy->highest = copy->registers[i].modseq;
}

void copy_init(struct copy *copy, uint64_t node)
{
	struct mailbox_record inbox = { .id = inbox_id, .name = BYTES_LITERAL("INBOX") };

	*copy = (struct copy){ .node = node, .arena = arena_new() };
	inbox.uidvalidity = 1;
	inbox.uidnext = 1;
	put_mailbox(copy, &inbox);
}

void copy_deinit(struct copy *copy)
{
	arena_free(&copy->arena);
	free(copy->mailboxes);
	free(copy->messages);
	free(copy->registers);
	free(copy->shown);
}

struct message_record *copy_message(struct copy *copy, struct stamp instance)
{
	for (size_t i = 0; i < copy->message_count; i++)
		if (stamp_compare(copy->messages[i].instance, instance) == 0)
			return &copy->messages[i];
	return NULL;
}

struct mailbox_record *copy_mailbox(struct copy *copy, struct id128 id)
{
	for (size_t i = 0; i < copy->mailbox_count; i++)
		if (id128_equal(copy->mailboxes[i].id, id))
			return &copy->mailboxes[i];
	return NULL;
}

struct mailbox_record *copy_live_mailbox(struct copy *copy, const char *name)
{
	for (size_t i = 0; i < copy->mailbox_count; i++)
		if (mailbox_is_live(&copy->mailboxes[i]) &&
			bytes_equal_string(copy->mailboxes[i].name, name))
			return &copy->mailboxes[i];
	return NULL;
}

struct register_record *copy_register(
	struct copy *copy, enum record_kind kind, struct id128 mailbox, const char *key)
{
	for (size_t i = 0; i < copy->register_count; i++)
		if (copy->registers[i].kind == kind &&
			id128_equal(copy->registers[i].mailbox, mailbox) &&
			bytes_equal_string(copy->registers[i].key, key))
			return &copy->registers[i];
	return NULL;
}

struct stamp copy_shown_at(struct copy *copy, struct id128 mailbox, uint32_t uid)
{
	for (size_t i = 0; i < copy->message_count; i++)
		if (copy->messages[i].uid == uid && id128_equal(copy->messages[i].mailbox, mailbox))
			return copy->messages[i].instance;
	return (struct stamp){ 0 };
}

struct id128 copy_create(struct copy *copy, const char *name)
{
	struct stamp stamp = next_stamp(copy);
	struct mailbox_record mailbox = { .name_stamp = stamp, .name = bytes_of_string(name) };

	mailbox.id = id128_derive("test", bytes_of(&stamp, sizeof(stamp)));
	mailbox.uidvalidity = (uint32_t)stamp.modseq + 1;
	mailbox.uidnext = 1;
	mailbox.modseq = stamp.modseq;
	put_mailbox(copy, &mailbox);
	return mailbox.id;
}

void copy_rename(struct copy *copy, struct id128 id, const char *name)
{
	struct mailbox_record mailbox = *copy_mailbox(copy, id);

	mailbox.name_stamp = next_stamp(copy);
	mailbox.name = bytes_of_string(name);
	mailbox.modseq = mailbox.name_stamp.modseq;
	put_mailbox(copy, &mailbox);
}

void copy_delete(struct copy *copy, struct id128 id)
{
	struct mailbox_record mailbox = *copy_mailbox(copy, id);

	for (size_t i = 0; i < copy->message_count; i++)
		if (id128_equal(copy->messages[i].mailbox, id))
			copy_expunge(copy, copy->messages[i].instance);
	mailbox.deleted = next_stamp(copy);
	mailbox.modseq = mailbox.deleted.modseq;
	put_mailbox(copy, &mailbox);
}

static void show_at_next_uid(struct copy *copy, struct message_record *message, struct id128 id)
{
	struct mailbox_record mailbox = *copy_mailbox(copy, id);

	message->placed_in = id;
	message->mailbox = id;
	message->uid = mailbox.uidnext++;
	put_mailbox(copy, &mailbox);
}

struct stamp copy_append(struct copy *copy, struct id128 id)
{
	struct stamp stamp = next_stamp(copy);
	struct message_record message = {
		.instance = stamp, .placed = stamp, .modseq = stamp.modseq
	};

	guid_of(bytes_of(&stamp, sizeof(stamp)), &message.guid);
	show_at_next_uid(copy, &message, id);
	put_message(copy, &message);
	return stamp;
}

void copy_flag(struct copy *copy, struct stamp instance, const char *name, bool is_set)
{
	struct message_record message = *copy_message(copy, instance);
	struct flag_state flag = { bytes_of_string(name), next_stamp(copy), is_set };

	assert_int_equal(message_flag_put(&message, copy->arena, flag), 0);
	message.modseq = flag.stamp.modseq;
	put_message(copy, &message);
}

void copy_move(struct copy *copy, struct stamp instance, struct id128 id)
{
	struct message_record message = *copy_message(copy, instance);

	message.placed = next_stamp(copy);
	message.modseq = message.placed.modseq;
	show_at_next_uid(copy, &message, id);
	put_message(copy, &message);
}

void copy_expunge(struct copy *copy, struct stamp instance)
{
	struct message_record message = *copy_message(copy, instance);

	message.placed = next_stamp(copy);
	message.modseq = message.placed.modseq;
	message.placed_in = (struct id128){ { 0 } };
	message.mailbox = message.placed_in;
	message.uid = 0;
	put_message(copy, &message);
}

void copy_set_register(struct copy *copy, enum record_kind kind, struct id128 mailbox,
	const char *key, const char *value)
{
	struct register_record record = { .kind = kind, .mailbox = mailbox };

	record.key = bytes_of_string(key);
	record.value = bytes_of_string(value);
	record.is_set = true;
	record.stamp = next_stamp(copy);
	record.modseq = record.stamp.modseq;
	put_register(copy, &record);
}

void copy_annotate(struct copy *copy, struct stamp instance, const char *value)
{
	const struct bytes rest = BYTES_LITERAL("s/comment");
	unsigned char *at = arena_alloc(copy->arena, REGISTER_KEY_SIZE_MAX);
	struct register_record record = { .kind = RECORD_ANNOTATION, .is_set = true };

	copy_flag(copy, instance, ANNOTATION_FLAG, false);
	record.key = annotation_prefix(at, instance);
	memcpy(at + record.key.len, rest.ptr, rest.len);
	record.key.len += rest.len;
	record.value = bytes_of_string(value);
	record.stamp = next_stamp(copy);
	record.modseq = record.stamp.modseq;
	put_register(copy, &record);
}

void copy_expire(struct copy *copy)
{
	size_t kept = 0;

	for (size_t i = 0; i < copy->message_count; i++)
		if (message_is_shown(&copy->messages[i]))
			copy->messages[kept++] = copy->messages[i];
	copy->message_count = kept;
}

void copy_changes(struct copy *copy, uint64_t since, struct change_set *changes_r)
{
	struct change_set changes = { .since = since, .sequence = copy->sequence };

	announce(copy);
	changes.highest = copy->highest;
	changes.mailboxes =
		arena_alloc(copy->arena, (copy->mailbox_count + 1) * sizeof(*changes.mailboxes));
	changes.messages =
		arena_alloc(copy->arena, (copy->message_count + 1) * sizeof(*changes.messages));
	changes.registers =
		arena_alloc(copy->arena, (copy->register_count + 1) * sizeof(*changes.registers));
	for (size_t i = 0; i < copy->mailbox_count; i++)
		if (copy->mailboxes[i].sequence > since)
			changes.mailboxes[changes.mailbox_count++] = copy->mailboxes[i];
	for (size_t i = 0; i < copy->message_count; i++)
		if (copy->messages[i].sequence > since)
			changes.messages[changes.message_count++] =
				(struct message_change){ copy->messages[i],
					copy->messages[i].placed_sequence <= since };
	for (size_t i = 0; i < copy->register_count; i++)
		if (copy->registers[i].sequence > since)
			changes.registers[changes.register_count++] = copy->registers[i];
	*changes_r = changes;
}

static int find_message(void *context, struct stamp instance, struct message_record *message_r)
{
	struct message_record *message = copy_message(context, instance);

	if (message == NULL)
		return ERR_NOT_FOUND;
	*message_r = *message;
	return 0;
}

static int find_mailbox(void *context, struct id128 id, struct mailbox_record *mailbox_r)
{
	struct mailbox_record *mailbox = copy_mailbox(context, id);

	if (mailbox == NULL)
		return ERR_NOT_FOUND;
	*mailbox_r = *mailbox;
	return 0;
}

static int each_mailbox(void *context, account_mailbox_function *function, void *function_context)
{
	struct copy *copy = context;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < copy->mailbox_count; i++)
		rc = function(function_context, &copy->mailboxes[i]);
	return rc;
}

static int each_shown(void *context, struct id128 mailbox, account_message_function *function,
	void *function_context)
{
	struct copy *copy = context;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < copy->message_count; i++)
		if (id128_equal(copy->messages[i].mailbox, mailbox))
			rc = function(function_context, &copy->messages[i]);
	return rc;
}

static int find_register(void *context, enum record_kind kind, struct id128 mailbox,
	struct bytes key, struct register_record *record_r)
{
	struct copy *copy = context;

	for (size_t i = 0; i < copy->register_count; i++)
		if (copy->registers[i].kind == kind &&
			id128_equal(copy->registers[i].mailbox, mailbox) &&
			bytes_equal(copy->registers[i].key, key)) {
			*record_r = copy->registers[i];
			return 0;
		}
	return ERR_NOT_FOUND;
}

static int each_register(void *context, enum record_kind kind, struct id128 mailbox,
	struct bytes prefix, account_register_function *function, void *function_context)
{
	struct copy *copy = context;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < copy->register_count; i++)
		if (copy->registers[i].kind == kind &&
			id128_equal(copy->registers[i].mailbox, mailbox) &&
			bytes_start_with(copy->registers[i].key, prefix))
			rc = function(function_context, &copy->registers[i]);
	return rc;
}

struct merge_copy copy_callbacks(struct copy *copy)
{
	return (struct merge_copy){ copy, find_message, find_mailbox, each_mailbox, each_shown,
		find_register, each_register };
}

/* P3 and P4: what becomes visible is above what was announced before the write. */
static void check_announced(struct copy *copy, const struct merge_output *output)
{
	for (size_t i = 0; i < output->message_count; i++) {
		const struct message_record *message = &output->messages[i];
		struct message_record *own = copy_message(copy, message->instance);
		struct mailbox_record *mailbox = copy_mailbox(copy, message->mailbox);
		bool is_new_here = own == NULL || own->uid != message->uid ||
				   !id128_equal(own->mailbox, message->mailbox);

		if (own == NULL || !message_same(own, message))
			assert_true(message->modseq > copy->highest);
		if (is_new_here && message_is_shown(message) && mailbox != NULL)
			assert_true(message->uid >= mailbox->uidnext);
	}
}

static void write_output(struct copy *copy, const struct merge_output *output)
{
	check_announced(copy, output);
	for (size_t i = 0; i < output->mailbox_count; i++)
		put_mailbox(copy, &output->mailboxes[i]);
	for (size_t i = 0; i < output->message_count; i++) {
		const struct message_record *message = &output->messages[i];

		if (message_is_shown(message))
			assert_true(message->uid < copy_mailbox(copy, message->mailbox)->uidnext);
		put_message(copy, message);
	}
	for (size_t i = 0; i < output->register_count; i++)
		put_register(copy, &output->registers[i]);
	if (copy->clock < output->clock_last)
		copy->clock = output->clock_last;
	announce(copy);
}

size_t copy_integrate(
	struct copy *copy, const struct change_set *theirs, uint64_t since, bool is_repair)
{
	struct change_set mine;
	struct merge_output output;
	struct error error = { 0 };
	struct merge_input input = { .mine = copy_callbacks(copy),
		.my_changes = &mine,
		.their_changes = theirs,
		.node = copy->node,
		.clock_last = copy->clock,
		.is_repair = is_repair };

	copy_changes(copy, is_repair ? 0 : since, &mine);
	mine.since = since;
	input.my_highest = copy->highest;
	if (merge_integrate(&input, copy->arena, &error, &output) < 0)
		fail_msg("%s", error.text);
	write_output(copy, &output);
	return output.conflict_count;
}

void copy_apply(struct copy *copy, const struct change_set *theirs)
{
	struct merge_output output = { .clock_last = copy->clock };

	announce(copy);
	output.mailboxes =
		arena_alloc(copy->arena, (theirs->mailbox_count + 1) * sizeof(*output.mailboxes));
	output.messages =
		arena_alloc(copy->arena, (theirs->message_count + 1) * sizeof(*output.messages));
	output.registers =
		arena_alloc(copy->arena, (theirs->register_count + 1) * sizeof(*output.registers));
	for (size_t i = 0; i < theirs->register_count; i++) {
		const struct register_record *record = &theirs->registers[i];
		struct register_record own;

		if (find_register(copy, record->kind, record->mailbox, record->key, &own) < 0 ||
			!register_same(&own, record) || own.modseq != record->modseq)
			output.registers[output.register_count++] = *record;
	}
	for (size_t i = 0; i < theirs->mailbox_count; i++) {
		const struct mailbox_record *own = copy_mailbox(copy, theirs->mailboxes[i].id);

		if (own == NULL || !mailbox_same(own, &theirs->mailboxes[i]) ||
			own->modseq != theirs->mailboxes[i].modseq ||
			own->uidnext != theirs->mailboxes[i].uidnext)
			output.mailboxes[output.mailbox_count++] = theirs->mailboxes[i];
	}
	for (size_t i = 0; i < theirs->message_count; i++) {
		const struct message_record *message = &theirs->messages[i].record;
		const struct message_record *own = copy_message(copy, message->instance);

		if (own == NULL || !message_same(own, message) || own->modseq != message->modseq)
			output.messages[output.message_count++] = *message;
	}
	write_output(copy, &output);
}

size_t copy_exchange(struct copy *a, struct copy *b, struct common *common)
{
	struct change_set theirs, push;
	size_t conflicts = 0;

	copy_changes(b, common->theirs, &theirs);
	if (theirs.mailbox_count + theirs.message_count + theirs.register_count > 0)
		conflicts = copy_integrate(a, &theirs, common->mine, false);
	copy_changes(a, common->mine, &push);
	copy_apply(b, &push);
	assert_true(copy_same(a, b));
	*common = (struct common){ a->sequence, b->sequence };
	return conflicts;
}

static struct digest live_digest(struct copy *copy)
{
	struct digest sum = { 0 };

	for (size_t i = 0; i < copy->mailbox_count; i++)
		digest_add(&sum, mailbox_term(&copy->mailboxes[i]));
	for (size_t i = 0; i < copy->message_count; i++)
		digest_add(&sum, message_term(&copy->messages[i]));
	for (size_t i = 0; i < copy->register_count; i++)
		digest_add(&sum, register_term(&copy->registers[i]));
	return sum;
}

bool copy_same(struct copy *a, struct copy *b)
{
	return digest_equal(live_digest(a), live_digest(b));
}
