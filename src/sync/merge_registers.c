/*
 * Registers: joined one by one; and the three rules that look at more than one. What is said of
 * things that are gone is tidied then (merge_tidy.c).
 *
 * (1) In a repair, what was common and has no record on the other side was cleared there, which is
 *     forgotten. (2) A script that was edited on both sides is kept twice. (3) An account that was
 *     deleted on one side, and got mail on the other, lives on.
 */
#include "sync/merge_private.h"

#include "mail/script.h"

#include <stdio.h>
#include <time.h>

static struct bytes register_map_key(struct arena *arena, const struct register_record *record)
{
	unsigned char *key = arena_alloc(arena, 1 + sizeof(record->mailbox) + record->key.len);

	key[0] = (unsigned char)record->kind;
	memcpy(key + 1, record->mailbox.bytes, sizeof(record->mailbox));
	if (record->key.len > 0)
		memcpy(key + 1 + sizeof(record->mailbox), record->key.ptr, record->key.len);
	return bytes_of(key, 1 + sizeof(record->mailbox) + record->key.len);
}

struct register_record *merge_output_register(
	struct merge_state *state, struct merge_output *output, const struct register_record *key)
{
	struct bytes map_key = register_map_key(state->arena, key);
	uintptr_t place = (uintptr_t)map_get(&state->written, map_key);

	if (place != 0)
		return &output->registers[place - 1];
	if (output->register_count == state->register_room) {
		const struct register_record *before = output->registers;

		state->register_room = 2 * state->register_room + 16;
		output->registers = arena_alloc(
			state->arena, state->register_room * sizeof(*output->registers));
		if (before != NULL)
			memcpy(output->registers, before,
				output->register_count * sizeof(*output->registers));
	}
	output->registers[output->register_count] = (struct register_record){
		.kind = key->kind, .mailbox = key->mailbox, .key = key->key
	};
	map_put(&state->written, map_key, (void *)(uintptr_t)++output->register_count);
	return &output->registers[output->register_count - 1];
}

static void put_output(struct merge_state *state, struct merge_output *output,
	const struct register_record *record)
{
	*merge_output_register(state, output, record) = *record;
}

int merge_find_register(struct merge_state *state, const struct merge_output *output,
	const struct register_record *key, struct register_record *record_r)
{
	const struct merge_copy *own = &state->input->mine;
	uintptr_t place = (uintptr_t)map_get(&state->written, register_map_key(state->arena, key));

	if (place != 0) {
		*record_r = output->registers[place - 1];
		return 0;
	}
	return own->find_register(own->context, key->kind, key->mailbox, key->key, record_r);
}

/* The other side had it at the common point and has no record of it: it was cleared there, and that
 * is forgotten. */
static void clear_register(struct merge_state *state, struct register_record *record)
{
	record->is_set = false;
	record->stamp = merge_act(state);
}

/* Where a node's clock was behind, all that it did had one millisecond. */
struct bytes merge_conflict_name(struct merge_state *state, struct bytes name, struct stamp stamp)
{
	time_t seconds = (time_t)(stamp.modseq / 1024 / 1000);
	unsigned ms = (unsigned)(stamp.modseq / 1024 % 1000);
	unsigned counter = (unsigned)(stamp.modseq % 1024);
	struct tm parts = { 0 };
	char when[32], nth[16] = "";

	if (gmtime_r(&seconds, &parts) == NULL)
		parts = (struct tm){ 0 };
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &parts);
	if (counter > 0)
		snprintf(nth, sizeof(nth), "+%u", counter);
	return bytes_of_string(arena_printf(state->arena, "%.*s (conflict %s.%03uZ%s %016llx)",
		BYTES_ARGS(name), when, ms, nth, (unsigned long long)stamp.node));
}

/* That very version is here under its new name already, or comes with their changes. */
static int is_kept(struct merge_state *state, const struct register_record *copy)
{
	const struct merge_copy *own = &state->input->mine;
	const struct register_record *theirs =
		change_set_register(state->input->their_changes, copy);
	struct register_record mine;
	int rc;

	if (theirs != NULL && stamp_compare(theirs->stamp, copy->stamp) >= 0)
		return 1;
	rc = own->find_register(own->context, copy->kind, copy->mailbox, copy->key, &mine);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	return stamp_compare(mine.stamp, copy->stamp) >= 0;
}

/*
 * A script that loses against a version not made from it is kept under a name made of its stamp,
 * with that stamp: whoever merges makes the same record.
 */
static int keep_script(struct merge_state *state, const struct register_record *loser,
	const struct register_record *winner, struct merge_output *output)
{
	struct register_record copy = *loser;
	int rc;

	if (loser->kind != RECORD_SCRIPT || loser->key.len == 0 || !loser->is_set ||
		stamp_compare(loser->stamp, winner->stamp) == 0 ||
		script_is_made_from(winner->value, loser->stamp) ||
		(winner->is_set &&
			bytes_equal(script_text(winner->value), script_text(loser->value))))
		return 0;
	copy.key = merge_conflict_name(state, loser->key, loser->stamp);
	if (copy.key.len > REGISTER_KEY_SIZE_MAX)
		return 0;
	rc = is_kept(state, &copy);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	copy.modseq = merge_result_modseq(state, loser->modseq, true, true);
	put_output(state, output, &copy);
	merge_note_named(state, MERGE_SCRIPT_KEPT, copy.mailbox, copy.key);
	return 0;
}

static bool is_internal(const struct register_record *record)
{
	return record->kind == RECORD_ACCOUNT &&
	       bytes_equal_string(record->key, ACCOUNT_MERGED_KEY);
}

/* Both sides have changed it since the common point. */
static int join_changed(struct merge_state *state, const struct register_record *mine,
	const struct register_record *theirs, struct merge_output *output)
{
	bool is_mine = stamp_compare(mine->stamp, theirs->stamp) >= 0;
	size_t count = state->conflict_count;
	int rc;

	if (stamp_compare(mine->stamp, theirs->stamp) == 0)
		return 0;
	rc = is_mine ? keep_script(state, theirs, mine, output)
		     : keep_script(state, mine, theirs, output);
	if (rc == 0 && state->conflict_count == count && !is_internal(mine) &&
		(mine->is_set != theirs->is_set || !bytes_equal(mine->value, theirs->value))) {
		merge_note_named(state, MERGE_SET_TWICE, mine->mailbox, mine->key);
		merge_note_lost(state, mine->stamp, theirs->stamp);
	}
	return rc;
}

/* Joins one register of theirs, or (theirs is NULL) looks at one that only I changed. */
static int put_register(struct merge_state *state, const struct register_record *theirs,
	const struct register_record *changed_mine, struct merge_output *output)
{
	const struct merge_copy *copy = &state->input->mine;
	struct register_record mine, joined;
	bool has_mine = true;
	int rc = 0;

	if (changed_mine != NULL) {
		mine = *changed_mine;
		if (theirs != NULL)
			rc = join_changed(state, &mine, theirs, output);
		if (rc < 0)
			return rc;
	} else {
		rc = copy->find_register(
			copy->context, theirs->kind, theirs->mailbox, theirs->key, &mine);

		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
		has_mine = rc == 0;
		/* Made elsewhere, and passed on by a copy that has forgotten what it lost to. */
		rc = has_mine && stamp_compare(mine.stamp, theirs->stamp) > 0
			     ? keep_script(state, theirs, &mine, output)
			     : 0;
		if (rc < 0)
			return rc;
	}
	joined = has_mine ? mine : *theirs;
	if (has_mine && theirs != NULL)
		merge_register(&mine, theirs, &joined);
	else if (state->input->is_repair && joined.is_set && joined.was_common)
		clear_register(state, &joined);
	joined.modseq = merge_result_modseq(state, joined.modseq,
		!has_mine || !register_same(&joined, &mine),
		theirs == NULL || !register_same(&joined, theirs));
	if (!has_mine || !register_same(&joined, &mine) || joined.modseq != mine.modseq ||
		(changed_mine == NULL &&
			(!register_same(&joined, theirs) || joined.modseq != theirs->modseq)))
		put_output(state, output, &joined);
	return 0;
}

/* Tells every copy that cursors of one side may not be compared with what the other noted
 * (mail/account.h). */
static void put_merged(struct merge_state *state, struct merge_output *output)
{
	struct register_record merged = { .kind = RECORD_ACCOUNT, .is_set = true };

	/* What a repair finds may have been done by acts that are forgotten. */
	if (!state->input->is_repair && (!state->have_i_acted || !state->have_they_acted))
		return;
	merged.key = BYTES_LITERAL(ACCOUNT_MERGED_KEY);
	merged.stamp = (struct stamp){ merge_tick(state), state->input->node };
	merged.modseq = merged.stamp.modseq;
	put_output(state, output, &merged);
}

static bool has_live_message(const struct merge_state *state)
{
	for (size_t i = 0; i < state->message_count; i++)
		if (!id128_is_none(state->message_list[i]->joined.placed_in))
			return true;
	return false;
}

/*
 * Whoever deletes an account expunges all that he sees in it. A live message among what changed is
 * one that he did not see.
 */
static int revive_account(struct merge_state *state, struct merge_output *output)
{
	struct register_record key = { .kind = RECORD_ACCOUNT,
		.key = BYTES_LITERAL(ACCOUNT_DELETED_KEY) };
	struct register_record mark;
	int rc = merge_find_register(state, output, &key, &mark);

	if (rc < 0 || !mark.is_set || !has_live_message(state))
		return rc == ERR_NOT_FOUND ? 0 : rc;
	mark.is_set = false;
	mark.stamp = (struct stamp){ merge_tick(state), state->input->node };
	mark.modseq = mark.stamp.modseq;
	put_output(state, output, &mark);
	merge_note_named(state, MERGE_ACCOUNT_REVIVED, mark.mailbox, bytes_of(NULL, 0));
	return 0;
}

int merge_put_registers(struct merge_state *state, struct merge_output *output)
{
	const struct change_set *mine = state->input->my_changes,
				*theirs = state->input->their_changes;
	struct map changed = { 0 }, seen = { 0 };
	int rc = 0;

	for (size_t i = 0; i < mine->register_count; i++)
		map_put(&changed, register_map_key(state->arena, &mine->registers[i]),
			&mine->registers[i]);
	for (size_t i = 0; rc == 0 && i < theirs->register_count; i++) {
		struct bytes key = register_map_key(state->arena, &theirs->registers[i]);

		if (map_get(&seen, key) != NULL)
			rc = error_set(
				state->error, ERR_ILLEGAL, "a register occurs twice in one change");
		else
			rc = put_register(
				state, &theirs->registers[i], map_get(&changed, key), output);
		map_put(&seen, key, &theirs->registers[i]);
	}
	for (size_t i = 0; rc == 0 && i < mine->register_count; i++)
		if (map_get(&seen, register_map_key(state->arena, &mine->registers[i])) == NULL)
			rc = put_register(state, NULL, &mine->registers[i], output);
	if (rc == 0)
		rc = merge_tidy(state, output);
	if (rc == 0)
		rc = revive_account(state, output);
	put_merged(state, output);
	map_deinit(&changed);
	map_deinit(&seen);
	return rc;
}
