/*
 * Tidying: nothing is said of what is gone. After it, for the registers among either side's
 * changes, and those that I have of messages and mailboxes that this merge ends:
 *
 * (1) An annotation of an expunged message is cleared. (2) Metadata and rights of a mailbox that
 * forwards to a live one are that one's, per entry by the later stamp, and cleared where they were.
 * (3) Those of a mailbox that leads nowhere are cleared, and those of one for whose mail another is
 * made anew: that one has none, and is its owner's alone.
 *
 * What is handed over or cleared keeps its stamp: whoever merges makes the same record, and a later
 * act on a third copy is not outdone by tidying. What was handed over keeps its value, too: copies
 * that united one mailbox with different ones agree on where it forwards only when they meet, and
 * what one of them had handed to the other end goes to that end then.
 */
#include "sync/merge_private.h"

#include "mail/annotation.h"

/* ---- whether it is gone ---- */

static int message_is_gone(struct merge_state *state, struct stamp instance, bool *is_gone_r)
{
	const struct merge_copy *mine = &state->input->mine;
	const struct work_message *work =
		map_get(&state->messages, bytes_of(&instance, sizeof(instance)));
	struct message_record record;
	int rc = 0;

	*is_gone_r = false;
	if (work != NULL) {
		*is_gone_r = id128_is_none(work->joined.placed_in);
		return 0;
	}
	rc = mine->message(mine->context, instance, &record);
	if (rc == 0)
		*is_gone_r = id128_is_none(record.placed_in);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* Whether one of the mailboxes on the way was made for the mail of the one before it. `to` is where
 * the forwards end. */
static int is_made_anew(
	struct merge_state *state, struct work_mailbox *from, const struct work_mailbox *to)
{
	while (from != to) {
		int rc;

		if (id128_equal(from->joined.forward, merge_successor_id(from->joined.id)))
			return 1;
		rc = merge_find_mailbox(state, from->joined.forward, &from);
		if (rc < 0)
			return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	}
	return 0;
}

/* ---- one register ---- */

static void put(struct merge_state *state, struct merge_output *output,
	const struct register_record *record, uint64_t greatest)
{
	struct register_record *written = merge_output_register(state, output, record);

	*written = *record;
	written->modseq = merge_result_modseq(state, greatest, true, true);
}

static int hand_over(struct merge_state *state, struct merge_output *output,
	const struct register_record *record, struct id128 to)
{
	struct register_record given = *record, present, joined;
	int rc;

	given.mailbox = to;
	rc = merge_find_register(state, output, &given, &present);
	if (rc == ERR_NOT_FOUND) {
		put(state, output, &given, given.modseq);
		return 0;
	}
	if (rc < 0)
		return rc;
	merge_register(&present, &given, &joined);
	if (!register_same(&joined, &present))
		put(state, output, &joined, joined.modseq);
	return 0;
}

/* Gives it to the mailbox that this one forwards to, if there is one and it was not made anew. */
static int pass_on(struct merge_state *state, struct merge_output *output,
	struct work_mailbox *mailbox, const struct register_record *record, bool *is_passed_r)
{
	struct work_mailbox *home;
	int rc = merge_follow_forwards(state, mailbox, &home);

	if (rc < 0 || !mailbox_is_live(&home->joined))
		return rc;
	rc = is_made_anew(state, mailbox, home);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	*is_passed_r = true;
	return hand_over(state, output, record, home->joined.id);
}

/* One side had united it with another mailbox than the one that it forwards to now. */
static bool was_led_elsewhere(
	const struct work_mailbox *mailbox, const struct mailbox_record *version)
{
	return !mailbox_is_live(version) && !id128_equal(version->forward, mailbox->joined.forward);
}

static bool is_led_elsewhere(const struct work_mailbox *mailbox)
{
	return (mailbox->has_mine && was_led_elsewhere(mailbox, &mailbox->mine)) ||
	       (mailbox->theirs != NULL && was_led_elsewhere(mailbox, mailbox->theirs));
}

/* Set, of a mailbox: it goes on to where its mailbox leads. */
static int leave_mailbox(struct merge_state *state, struct merge_output *output,
	const struct register_record *record)
{
	struct register_record cleared = *record;
	struct work_mailbox *mailbox;
	bool is_passed = false;
	int rc = merge_find_mailbox(state, record->mailbox, &mailbox);

	if (rc == ERR_NOT_FOUND)
		return 0; /* another account's */
	if (rc == 0 && mailbox_is_live(&mailbox->joined))
		return 0;
	if (rc == 0)
		rc = pass_on(state, output, mailbox, record, &is_passed);
	if (rc < 0)
		return rc;
	cleared.is_set = false;
	if (!is_passed)
		cleared.value = bytes_of(NULL, 0);
	put(state, output, &cleared, cleared.modseq);
	return 0;
}

/* Cleared, of a mailbox: where that was handed over, and the mailbox leads elsewhere now. */
static int leave_mailbox_again(struct merge_state *state, struct merge_output *output,
	const struct register_record *cleared)
{
	struct register_record record = *cleared;
	struct work_mailbox *mailbox;
	bool is_passed = false;
	int rc;

	if (cleared->value.len == 0)
		return 0;
	rc = merge_find_mailbox(state, cleared->mailbox, &mailbox);
	if (rc < 0 || mailbox_is_live(&mailbox->joined) || !is_led_elsewhere(mailbox))
		return rc == ERR_NOT_FOUND ? 0 : rc;
	record.is_set = true;
	return pass_on(state, output, mailbox, &record, &is_passed);
}

static int leave_message(struct merge_state *state, struct merge_output *output,
	const struct register_record *record, struct stamp instance)
{
	struct register_record cleared = *record;
	bool is_gone = false;
	int rc = message_is_gone(state, instance, &is_gone);

	if (rc < 0 || !is_gone)
		return rc;
	cleared.is_set = false;
	cleared.value = bytes_of(NULL, 0);
	put(state, output, &cleared, cleared.modseq);
	return 0;
}

static int tidy_one(
	struct merge_state *state, struct merge_output *output, const struct register_record *key)
{
	struct register_record record;
	struct stamp instance;
	int rc;

	if (key->kind != RECORD_ANNOTATION && key->kind != RECORD_ACL)
		return 0;
	rc = merge_find_register(state, output, key, &record);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	if (!id128_is_none(record.mailbox))
		return record.is_set ? leave_mailbox(state, output, &record)
				     : leave_mailbox_again(state, output, &record);
	if (record.is_set && annotation_instance(&record, &instance))
		return leave_message(state, output, &record, instance);
	return 0;
}

/* ---- which ones to look at ---- */

struct tidying {
	struct merge_state *state;
	struct merge_output *output;
};

static int tidy_mine(void *context, const struct register_record *record)
{
	struct tidying *tidying = context;

	return tidy_one(tidying->state, tidying->output, record);
}

static int tidy_changes(
	struct merge_state *state, struct merge_output *output, const struct change_set *changes)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < changes->register_count; i++)
		rc = tidy_one(state, output, &changes->registers[i]);
	return rc;
}

static int tidy_mailboxes(struct merge_state *state, struct merge_output *output)
{
	static const enum record_kind kinds[] = { RECORD_ANNOTATION, RECORD_ACL };
	const struct merge_copy *mine = &state->input->mine;
	struct tidying tidying = { state, output };
	size_t count = state->mailbox_count;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < 2 * count; i++) {
		const struct work_mailbox *mailbox = state->mailbox_list[i / 2];

		if (mailbox->has_mine && !mailbox_is_live(&mailbox->joined) &&
			(mailbox_is_live(&mailbox->mine) ||
				was_led_elsewhere(mailbox, &mailbox->mine)))
			rc = mine->each_register(mine->context, kinds[i % 2], mailbox->mine.id,
				bytes_of(NULL, 0), tidy_mine, &tidying);
	}
	return rc;
}

static int tidy_messages(struct merge_state *state, struct merge_output *output)
{
	const struct merge_copy *mine = &state->input->mine;
	struct tidying tidying = { state, output };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < state->message_count; i++) {
		const struct work_message *message = state->message_list[i];
		unsigned char at[REGISTER_KEY_SIZE_MAX];

		if (message->has_mine && !id128_is_none(message->mine.placed_in) &&
			id128_is_none(message->joined.placed_in) &&
			annotation_was_made(&message->mine))
			rc = mine->each_register(mine->context, RECORD_ANNOTATION,
				(struct id128){ { 0 } },
				annotation_prefix(at, message->mine.instance), tidy_mine, &tidying);
	}
	return rc;
}

int merge_tidy(struct merge_state *state, struct merge_output *output)
{
	int rc = tidy_changes(state, output, state->input->my_changes);

	if (rc == 0)
		rc = tidy_changes(state, output, state->input->their_changes);
	if (rc == 0)
		rc = tidy_mailboxes(state, output);
	return rc == 0 ? tidy_messages(state, output) : rc;
}
