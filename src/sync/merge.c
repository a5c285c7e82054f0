/*
 * Integrating: the other copy's changes and mine become what both are to have. In order:
 *
 * (1) Every record that is among either side's changes is joined with its other version.
 * (2) A message that is new here, although its sender had it at the common point already, was
 * deleted here and the tombstone has expired: it gets a new tombstone. What is not so marked is
 * new, and kept. (3) Mailboxes are settled (merge_mailboxes.c), then messages placed
 * (merge_place.c). (4) Every record gets the greater modseq of both; where its content changes on a
 * side and that is not above what either has shown, a fresh tick (P4). Messages get theirs in order
 * of mailbox and UID.
 */
#include "sync/merge_private.h"

#include "base/mem.h"

#include <stdlib.h>

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

uint64_t merge_tick(struct merge_state *state)
{
	state->clock = max_u64(state->clock + 1, state->input->now_ms * 1024);
	return state->clock;
}

static bool is_partial(const struct merge_state *state)
{
	return state->input->view != NULL && !state->input->view->is_whole;
}

bool merge_is_in_view(const struct merge_state *state, struct id128 mailbox)
{
	return state->input->view == NULL || view_has(state->input->view, mailbox);
}

bool merge_was_in_view(const struct merge_state *state, struct id128 mailbox)
{
	const struct merge_input *input = state->input;

	return input->view == NULL ||
	       view_is_common(input->view, mailbox, input->my_changes->since);
}

struct stamp merge_act(struct merge_state *state)
{
	if (stamp_is_none(state->act))
		state->act = (struct stamp){ merge_tick(state), state->input->node };
	return state->act;
}

void merge_note_conflict(struct merge_state *state, enum merge_conflict_kind kind,
	struct id128 mailbox, struct stamp instance, uint32_t uid)
{
	mem_grow((void **)&state->conflicts, &state->conflict_room, state->conflict_count + 1,
		sizeof(*state->conflicts));
	state->conflicts[state->conflict_count++] =
		(struct merge_conflict){ kind, mailbox, instance, uid, { 0 }, { 0 } };
}

void merge_note_lost(struct merge_state *state, struct stamp a, struct stamp b)
{
	state->conflicts[state->conflict_count - 1].lost = stamp_compare(a, b) < 0 ? a : b;
}

void merge_note_named(struct merge_state *state, enum merge_conflict_kind kind,
	struct id128 mailbox, struct bytes name)
{
	merge_note_conflict(state, kind, mailbox, (struct stamp){ 0 }, 0);
	state->conflicts[state->conflict_count - 1].name = name;
}

/* Both sides have changed the mailbox since the common point. */
static void note_mailbox_conflict(struct merge_state *state, const struct work_mailbox *mailbox,
	const struct mailbox_record *theirs)
{
	const struct mailbox_record *mine = &mailbox->mine;
	bool is_mine_live = mailbox_is_live(mine), is_live = mailbox_is_live(theirs);

	if (!mailbox->is_mine_changed || bytes_equal(mine->name, theirs->name))
		return;
	if (is_mine_live && is_live) {
		merge_note_named(state, MERGE_RENAMED_TWICE, mine->id,
			stamp_compare(mine->name_stamp, theirs->name_stamp) < 0 ? mine->name
										: theirs->name);
		merge_note_lost(state, mine->name_stamp, theirs->name_stamp);
	} else if (is_mine_live != is_live) {
		struct stamp lost = is_live ? theirs->name_stamp : mine->name_stamp;

		merge_note_named(state, MERGE_DELETED_RENAMED, mine->id,
			is_live ? theirs->name : mine->name);
		merge_note_lost(state, lost, lost);
	}
}

static struct work_mailbox *add_mailbox(struct merge_state *state, struct id128 id)
{
	struct work_mailbox *mailbox = arena_zalloc(state->arena, sizeof(*mailbox));

	mailbox->joined.id = id;
	mem_grow((void **)&state->mailbox_list, &state->mailbox_room, state->mailbox_count + 1,
		sizeof(struct work_mailbox *));
	state->mailbox_list[state->mailbox_count++] = mailbox;
	map_put(&state->mailboxes, bytes_of(mailbox->joined.id.bytes, sizeof(id.bytes)), mailbox);
	return mailbox;
}

int merge_find_mailbox(struct merge_state *state, struct id128 id, struct work_mailbox **mailbox_r)
{
	const struct merge_copy *mine = &state->input->mine;
	struct work_mailbox *mailbox =
		map_get(&state->mailboxes, bytes_of(id.bytes, sizeof(id.bytes)));
	struct mailbox_record record;
	int rc;

	if (mailbox == NULL) {
		rc = mine->mailbox(mine->context, id, &record);
		if (rc < 0)
			return rc;
		mailbox = add_mailbox(state, id);
		mailbox->has_mine = true;
		mailbox->mine = record;
		mailbox->joined = record;
		mailbox->next = record.uidnext;
	}
	*mailbox_r = mailbox;
	return 0;
}

struct work_mailbox *merge_new_mailbox(
	struct merge_state *state, const struct mailbox_record *record)
{
	struct work_mailbox *mailbox = add_mailbox(state, record->id);

	mailbox->joined = *record;
	mailbox->next = record->uidnext > 0 ? record->uidnext : 1;
	return mailbox;
}

static struct work_message *add_message(
	struct merge_state *state, const struct message_record *joined)
{
	struct work_message *message = arena_zalloc(state->arena, sizeof(*message));

	message->joined = *joined;
	mem_grow((void **)&state->message_list, &state->message_room, state->message_count + 1,
		sizeof(struct work_message *));
	state->message_list[state->message_count++] = message;
	map_put(&state->messages,
		bytes_of(&message->joined.instance, sizeof(message->joined.instance)), message);
	return message;
}

struct work_message *merge_take_mine(struct merge_state *state, const struct message_record *mine)
{
	struct work_message *message = add_message(state, mine);

	message->has_mine = true;
	message->mine = *mine;
	return message;
}

void merge_expunge(struct merge_state *state, struct work_message *message)
{
	message->joined.placed = merge_act(state);
	message->joined.placed_in = (struct id128){ { 0 } };
	merge_note_conflict(state, MERGE_DELETED_LONG_AGO, message->joined.mailbox,
		message->joined.instance, message->joined.uid);
}

static int take_mailboxes(struct merge_state *state)
{
	const struct change_set *mine = state->input->my_changes,
				*theirs = state->input->their_changes;
	struct work_mailbox *mailbox;

	for (size_t i = 0; i < mine->mailbox_count; i++) {
		int rc = merge_find_mailbox(state, mine->mailboxes[i].id, &mailbox);

		if (rc < 0)
			return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
		mailbox->is_mine_changed = true;
	}
	for (size_t i = 0; i < theirs->mailbox_count; i++) {
		const struct mailbox_record *record = &theirs->mailboxes[i];
		int rc = merge_find_mailbox(state, record->id, &mailbox);

		if (rc == ERR_NOT_FOUND)
			mailbox = merge_new_mailbox(state, record);
		else if (rc < 0)
			return rc;
		if (mailbox->theirs != NULL)
			return error_set(
				state->error, ERR_ILLEGAL, "a mailbox occurs twice in one change");
		if (mailbox->has_mine && merge_is_inbox(&mailbox->mine) &&
			(!merge_is_inbox(record) || !mailbox_is_live(record)))
			return error_set(
				state->error, ERR_ILLEGAL, "INBOX cannot be renamed or deleted");
		mailbox->theirs = record;
		if (mailbox->has_mine)
			note_mailbox_conflict(state, mailbox, record);
		merge_mailbox(&mailbox->joined, record, &mailbox->joined);
		mailbox->next = mailbox->joined.uidnext;
	}
	return 0;
}

static void note_message_conflict(struct merge_state *state, const struct work_message *message,
	const struct message_change *change)
{
	const struct message_record *mine = &message->mine, *theirs = &change->record;
	bool is_placed_here = mine->placed_sequence > state->input->my_changes->since;

	if (stamp_compare(mine->placed, theirs->placed) == 0)
		return;
	if (is_placed_here && !change->was_common)
		merge_note_conflict(
			state, MERGE_PLACED_TWICE, mine->mailbox, mine->instance, mine->uid);
	else if (message->is_mine_changed && message_is_shown(mine) != message_is_shown(theirs))
		merge_note_conflict(state, MERGE_CHANGED_EXPUNGED,
			message_is_shown(mine) ? mine->mailbox : theirs->mailbox, mine->instance,
			message_is_shown(mine) ? mine->uid : theirs->uid);
	else
		return;
	merge_note_lost(state, mine->placed, theirs->placed);
}

/*
 * A restored copy shows what was moved, after its backup was made, into a mailbox that only the
 * lost one knew; of that a partial copy heard only that it left. It stays here, as an act of its
 * own: no one has the mailbox.
 */
static int keep_returning(struct merge_state *state, struct work_message *message)
{
	struct message_record *joined = &message->joined;
	struct work_mailbox *mailbox;
	int rc;

	if (!state->input->is_returning || message_is_shown(joined) ||
		!message_is_shown(&message->mine) || id128_is_none(joined->placed_in))
		return 0;
	rc = merge_find_mailbox(state, joined->placed_in, &mailbox);
	if (rc != ERR_NOT_FOUND)
		return rc;
	joined->placed = merge_act(state);
	joined->placed_in = joined->mailbox = message->mine.mailbox;
	joined->uid = message->mine.uid;
	return 0;
}

static int take_their_message(struct merge_state *state, const struct message_change *change)
{
	const struct merge_copy *mine = &state->input->mine;
	const struct message_record *record = &change->record;
	struct work_message *message =
		map_get(&state->messages, bytes_of(&record->instance, sizeof(record->instance)));
	struct message_record own;
	int rc;

	if (message == NULL) {
		rc = mine->message(mine->context, record->instance, &own);
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
		message = rc == 0 ? merge_take_mine(state, &own) : add_message(state, record);
	}
	if (message->theirs != NULL)
		return error_set(state->error, ERR_ILLEGAL, "a message occurs twice in one change");
	message->theirs = change;
	if (!message->has_mine) {
		if (change->was_common && message_is_shown(record))
			merge_expunge(state, message);
		return 0;
	}
	note_message_conflict(state, message, change);
	rc = merge_message(&message->mine, record, state->arena, &message->joined);
	if (rc < 0)
		return error_set(state->error, rc, "one message (%llu.%llx) with two contents",
			(unsigned long long)record->instance.modseq,
			(unsigned long long)record->instance.node);
	return keep_returning(state, message);
}

static bool was_common(const struct merge_state *state, const struct message_record *mine)
{
	const struct merge_input *input = state->input;
	uint64_t since = input->my_changes->since;

	return input->view == NULL ? mine->placed_sequence <= since
				   : view_message_is_common(input->view, mine, since);
}

/* What is shown here outside of the view is told as hidden, but is to stay where it is. */
static int take_my_message(struct merge_state *state, const struct message_record *told)
{
	const struct merge_copy *copy = &state->input->mine;
	struct message_record mine = *told;
	int rc = 0;

	if (is_partial(state) && !message_is_shown(told))
		rc = copy->message(copy->context, told->instance, &mine);
	if (rc == 0)
		merge_take_mine(state, &mine)->is_mine_changed = true;
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

static int take_messages(struct merge_state *state)
{
	const struct merge_input *input = state->input;
	const struct change_set *mine = input->my_changes, *theirs = input->their_changes;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < mine->message_count; i++)
		rc = take_my_message(state, &mine->messages[i].record);
	for (size_t i = 0; rc == 0 && i < theirs->message_count; i++)
		rc = take_their_message(state, &theirs->messages[i]);
	for (size_t i = 0; rc == 0 && input->is_repair && i < state->message_count; i++) {
		struct work_message *message = state->message_list[i];

		if (message->theirs == NULL && message_is_shown(&message->mine) &&
			was_common(state, &message->mine))
			merge_expunge(state, message);
	}
	return rc;
}

/*
 * The modseq of what a record becomes: the greater of both, unless it changes the content on a side
 * that has already shown as much (P4). What they have of a record that is not among their changes
 * is not known here, only that mine changed since: that is a change for them. A mere rise needs no
 * fresh tick, so that restamping never chases itself round a ring.
 */
uint64_t merge_result_modseq(
	struct merge_state *state, uint64_t greatest, bool changes_mine, bool changes_theirs)
{
	if ((changes_mine && greatest <= state->input->my_highest) ||
		(changes_theirs && greatest <= state->input->their_changes->highest))
		return merge_tick(state);
	return greatest;
}

static int compare_mailbox_id(const void *a, const void *b)
{
	struct work_mailbox *const *mailbox_a = a, *const *mailbox_b = b;

	return id128_compare((*mailbox_a)->joined.id, (*mailbox_b)->joined.id);
}

/*
 * A record is written if it changes here, and also if it only changes there and is not among my
 * changes (they came with an earlier state of it than the one that I had at the common point, from
 * a third copy): so that it becomes one, and is sent.
 */
static bool must_write_mailbox(const struct merge_state *state, const struct work_mailbox *mailbox)
{
	const struct mailbox_record *joined = &mailbox->joined, *mine = &mailbox->mine;
	const struct mailbox_record *theirs = mailbox->theirs;

	if (!mailbox->has_mine || !mailbox_same(joined, mine) || joined->modseq != mine->modseq ||
		joined->uidnext != mine->uidnext)
		return true;
	if (theirs == NULL || (mailbox->is_mine_changed && !state->input->is_repair))
		return false;
	return !mailbox_same(joined, theirs) || joined->modseq != theirs->modseq ||
	       joined->uidnext != theirs->uidnext;
}

/* Who has done anything since the common point; what is the same on both sides tells nothing, nor
 * does a modseq that no client's cursor counts. */
static void note_acts(struct merge_state *state, bool is_mine, bool is_theirs, bool is_equal)
{
	state->have_i_acted |= is_mine && !is_equal;
	state->have_they_acted |= is_theirs && !is_equal;
}

/* INBOX as every node makes it: nobody has done anything in it yet. */
static bool is_pristine(const struct mailbox_record *mailbox)
{
	return mailbox->modseq <= 1 && mailbox->uidnext <= 1;
}

static void put_mailboxes(struct merge_state *state, struct merge_output *output)
{
	output->mailboxes =
		arena_alloc(state->arena, (state->mailbox_count + 1) * sizeof(*output->mailboxes));
	qsort(state->mailbox_list, state->mailbox_count, sizeof(struct work_mailbox *),
		compare_mailbox_id);
	for (size_t i = 0; i < state->mailbox_count; i++) {
		struct work_mailbox *mailbox = state->mailbox_list[i];
		struct mailbox_record *joined = &mailbox->joined;
		bool changes_mine = !mailbox->has_mine || !mailbox_same(joined, &mailbox->mine);
		bool changes_theirs = mailbox->theirs != NULL
					      ? !mailbox_same(joined, mailbox->theirs)
					      : mailbox->is_mine_changed;
		bool is_equal;

		joined->modseq =
			merge_result_modseq(state, joined->modseq, changes_mine, changes_theirs);
		is_equal = mailbox->has_mine && mailbox->theirs != NULL &&
			   mailbox_same(&mailbox->mine, mailbox->theirs) &&
			   mailbox->mine.uidnext == mailbox->theirs->uidnext;
		note_acts(state, mailbox->is_mine_changed && !is_pristine(&mailbox->mine),
			mailbox->theirs != NULL && !is_pristine(mailbox->theirs), is_equal);
		if (is_equal && mailbox->is_mine_changed && !is_pristine(&mailbox->mine))
			state->is_equal_changed = true;
		if (must_write_mailbox(state, mailbox))
			output->mailboxes[output->mailbox_count++] = *joined;
	}
}

static int compare_shown(const void *a, const void *b)
{
	const struct message_record *message_a = &(*(struct work_message *const *)a)->joined;
	const struct message_record *message_b = &(*(struct work_message *const *)b)->joined;
	int order = id128_compare(message_a->mailbox, message_b->mailbox);

	if (order == 0 && message_a->uid != message_b->uid)
		order = message_a->uid < message_b->uid ? -1 : 1;
	return order != 0 ? order : stamp_compare(message_a->instance, message_b->instance);
}

static bool must_write_message(const struct work_message *message)
{
	const struct message_record *joined = &message->joined;

	if (!message->has_mine || !message_same(joined, &message->mine) ||
		joined->modseq != message->mine.modseq)
		return true;
	if (message->theirs == NULL || message->is_mine_changed)
		return false;
	return !message_same(joined, &message->theirs->record) ||
	       joined->modseq != message->theirs->record.modseq;
}

/* As the peer is told of it: what is shown outside of the view is not shown to it. */
static bool is_told_same(const struct merge_state *state, const struct message_record *joined,
	const struct message_record *theirs)
{
	struct message_record told = *joined;

	if (is_partial(state))
		view_hide(state->input->view, &told);
	return message_same(&told, theirs);
}

static void put_messages(struct merge_state *state, struct merge_output *output)
{
	output->messages =
		arena_alloc(state->arena, (state->message_count + 1) * sizeof(*output->messages));
	qsort(state->message_list, state->message_count, sizeof(struct work_message *),
		compare_shown);
	for (size_t i = 0; i < state->message_count; i++) {
		struct work_message *message = state->message_list[i];
		struct message_record *joined = &message->joined;
		bool changes_mine = !message->has_mine || !message_same(joined, &message->mine);
		bool changes_theirs = message->is_mine_changed;
		bool is_equal;

		if (message->theirs != NULL)
			changes_theirs = !is_told_same(state, joined, &message->theirs->record);
		joined->modseq =
			merge_result_modseq(state, joined->modseq, changes_mine, changes_theirs);
		is_equal = message->has_mine && message->theirs != NULL &&
			   message_same(&message->mine, &message->theirs->record);
		note_acts(state, message->is_mine_changed, message->theirs != NULL, is_equal);
		if (must_write_message(message))
			output->messages[output->message_count++] = *joined;
	}
}

/*
 * Where only one side has acted, a mailbox that is the same on both is no act of the other; but its
 * UIDNEXT may be the same by chance. Then each side has given these UIDs to messages of its own,
 * and nothing else need be left of those that the other gave and has forgotten.
 */
static void note_equal_acts(struct merge_state *state)
{
	if (state->is_equal_changed && (state->have_i_acted || state->have_they_acted))
		state->have_i_acted = state->have_they_acted = true;
}

/* The clock goes on above everything that either side knows. */
static void observe(struct merge_state *state)
{
	const struct change_set *theirs = state->input->their_changes;

	state->clock = max_u64(state->input->clock_last, state->input->my_highest);
	state->clock = max_u64(state->clock, theirs->highest);
	for (size_t i = 0; i < theirs->mailbox_count; i++)
		state->clock = max_u64(state->clock, theirs->mailboxes[i].modseq);
	for (size_t i = 0; i < theirs->message_count; i++)
		state->clock = max_u64(state->clock, theirs->messages[i].record.modseq);
	for (size_t i = 0; i < theirs->register_count; i++)
		state->clock = max_u64(state->clock, theirs->registers[i].modseq);
}

int merge_integrate(const struct merge_input *input, struct arena *arena, struct error *error,
	struct merge_output *output_r)
{
	struct merge_state state = { .input = input, .arena = arena, .error = error };
	struct merge_output output = { 0 };
	int rc;

	state.uidvalidity_last = input->uidvalidity_last;
	observe(&state);
	mem_grow((void **)&state.mailbox_list, &state.mailbox_room, 1,
		sizeof(struct work_mailbox *));
	mem_grow((void **)&state.message_list, &state.message_room, 1,
		sizeof(struct work_message *));
	/* Those acts cannot be seen any more, but clients may have. */
	state.have_i_acted = input->my_changes->has_forgotten;
	state.have_they_acted = input->their_changes->has_forgotten;
	rc = take_mailboxes(&state);
	if (rc == 0)
		rc = take_messages(&state);
	if (rc == 0)
		rc = merge_settle_mailboxes(&state);
	if (rc == 0)
		rc = merge_place(&state);
	if (rc == 0) {
		put_mailboxes(&state, &output);
		put_messages(&state, &output);
		note_equal_acts(&state);
		rc = merge_put_registers(&state, &output);
	}
	if (rc == 0) {
		output.clock_last = state.clock;
		output.conflict_count = state.conflict_count;
		output.conflicts =
			arena_alloc(arena, (state.conflict_count + 1) * sizeof(*output.conflicts));
		if (state.conflict_count > 0)
			memcpy(output.conflicts, state.conflicts,
				state.conflict_count * sizeof(*output.conflicts));
		*output_r = output;
	}
	free(state.conflicts);
	free(state.mailbox_list);
	free(state.message_list);
	map_deinit(&state.mailboxes);
	map_deinit(&state.messages);
	map_deinit(&state.names);
	map_deinit(&state.written);
	return rc;
}
