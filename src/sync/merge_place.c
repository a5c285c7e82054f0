/*
 * Placing: after it every live message is shown at a UID of its home mailbox that both sides may
 * show.
 *
 * (1) A UID is good for a side that shows this very message there, or whose UIDNEXT is not above
 * it. Two different messages at one UID never satisfy this for both sides, so both move and the UID
 * is retired (P2); and nothing appears below a UIDNEXT that was announced (P3). (2) New UIDs are
 * given above both UIDNEXTs in order of instance, so that every integrator gives the same. (3) Of a
 * mailbox that is not among their changes their UIDNEXT is what it was at the common point: a UID
 * that I gave after that point is good for them, and one that I gave before they show as I do.
 * (4) What is not in the view is mine alone. A message that was moved there is shown by who has
 * that mailbox.
 */
#include "sync/merge_private.h"

#include <stdlib.h>

static int compare_instance(const void *a, const void *b)
{
	struct work_message *const *message_a = a, *const *message_b = b;

	return stamp_compare((*message_a)->joined.instance, (*message_b)->joined.instance);
}

static bool shows(const struct message_record *message, struct id128 mailbox, uint32_t uid)
{
	return message->uid == uid && id128_equal(message->mailbox, mailbox);
}

/* The UID that one of the two gave the message at its present placement, the greater if both did,
 * or 0. */
static uint32_t candidate_uid(const struct work_message *message, struct id128 home)
{
	const struct message_record *joined = &message->joined;
	const struct message_record *versions[2] = {
		message->has_mine ? &message->mine : NULL,
		message->theirs != NULL ? &message->theirs->record : NULL,
	};
	uint32_t uid = 0;

	for (int i = 0; i < 2; i++) {
		const struct message_record *version = versions[i];

		if (version != NULL && id128_equal(version->mailbox, home) &&
			stamp_compare(version->placed, joined->placed) == 0 &&
			id128_equal(version->placed_in, joined->placed_in) && version->uid > uid)
			uid = version->uid;
	}
	return uid;
}

static bool is_good_for_me(
	const struct work_message *message, const struct work_mailbox *home, uint32_t uid)
{
	if (message->has_mine && shows(&message->mine, home->joined.id, uid))
		return true;
	return !home->has_mine || uid >= home->mine.uidnext;
}

static bool is_good_for_them(const struct merge_state *state, const struct work_message *message,
	const struct work_mailbox *home, uint32_t uid)
{
	const struct merge_input *input = state->input;
	bool was_given_before;

	if (!merge_is_in_view(state, home->joined.id))
		return true; /* they do not hear of it */
	if (message->theirs != NULL && shows(&message->theirs->record, home->joined.id, uid))
		return true;
	if (home->theirs != NULL && uid >= home->theirs->uidnext)
		return true;
	if (message->theirs == NULL && !message->is_mine_changed)
		return true;
	if (!message->has_mine || !shows(&message->mine, home->joined.id, uid))
		return home->theirs == NULL && !home->has_mine;
	was_given_before = message->mine.shown_sequence <= input->my_changes->since &&
			   merge_was_in_view(state, home->joined.id);
	if (message->theirs == NULL && was_given_before)
		return !input->is_repair;
	return home->theirs == NULL && !was_given_before;
}

/* Else it was moved out of the view before I had it, and nobody here has its body: who shows it, or
 * who knows whoever shows it, will tell of it. */
static bool is_shown_by_any(const struct work_message *message)
{
	return (message->has_mine && message_is_shown(&message->mine)) ||
	       (message->theirs != NULL && message_is_shown(&message->theirs->record));
}

static int place_message(struct merge_state *state, struct work_message *message)
{
	struct message_record *joined = &message->joined;
	struct work_mailbox *home;
	uint32_t uid;
	int rc;

	if (id128_is_none(joined->placed_in)) {
		joined->mailbox = (struct id128){ { 0 } };
		joined->uid = 0;
		return 0;
	}
	if (!is_shown_by_any(message))
		return 0;
	rc = merge_home(state, joined, &home);
	if (rc == ERR_NOT_FOUND) /* in a mailbox that neither side has: shown nowhere */
		return 0;
	if (rc < 0)
		return rc;
	uid = candidate_uid(message, home->joined.id);
	if (uid == 0 || !is_good_for_me(message, home, uid) ||
		!is_good_for_them(state, message, home, uid)) {
		if (uid != 0)
			merge_note_conflict(
				state, MERGE_RENUMBERED, home->joined.id, joined->instance, uid);
		if (home->next == UINT32_MAX)
			return error_set(state->error, ERR_ILLEGAL,
				"no UID is left in mailbox \"%.*s\"",
				BYTES_ARGS(home->joined.name));
		uid = home->next++;
	} else if (uid >= home->next) {
		return error_set(state->error, ERR_ILLEGAL,
			"UID %u is not below the mailbox's UIDNEXT", uid);
	}
	joined->mailbox = home->joined.id;
	joined->uid = uid;
	return 0;
}

int merge_place(struct merge_state *state)
{
	qsort(state->message_list, state->message_count, sizeof(struct work_message *),
		compare_instance);
	for (size_t i = 0; i < state->message_count; i++) {
		int rc = place_message(state, state->message_list[i]);

		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < state->mailbox_count; i++)
		state->mailbox_list[i]->joined.uidnext = state->mailbox_list[i]->next;
	return 0;
}
