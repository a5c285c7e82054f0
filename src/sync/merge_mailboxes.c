/*
 * The mailbox level of a merge. After it:
 * (1) No two live mailboxes have one name. Of several, INBOX or else the greatest (UIDVALIDITY, id)
 * stays, the others forward to it: a total order that no copy disagrees on, so all unite the same
 * way. (2) Every placed message has a live home. Mail in a deleted mailbox that forwards nowhere
 * goes to the live mailbox of its name, or to one whose id derives from the deleted one's, so that
 * all copies revive the same. (3) The messages of mine whose home differs from where they are shown
 * are in the working state.
 */
#include "sync/merge_private.h"

#include "base/mem.h"
#include "base/pack.h"

#include <stdlib.h>
#include <string.h>

/* No mailbox can be called so (mailbox_name_check()). */
#define RETIRED_NAME "/uidvalidity"
#define NAME_BASE_SIZE_MAX (MAILBOX_NAME_SIZE_MAX - 80) /* room for what a conflict adds */

static int compare_rank(const struct work_mailbox *a, const struct work_mailbox *b)
{
	bool is_inbox = merge_is_inbox(&a->joined);

	if (is_inbox != merge_is_inbox(&b->joined))
		return is_inbox ? 1 : -1;
	if (a->joined.uidvalidity != b->joined.uidvalidity)
		return a->joined.uidvalidity < b->joined.uidvalidity ? -1 : 1;
	return id128_compare(a->joined.id, b->joined.id);
}

static bool has_forward(const struct mailbox_record *mailbox)
{
	return !mailbox_is_live(mailbox) && !id128_is_none(mailbox->forward);
}

static int greatest_of_circle(
	struct merge_state *state, struct work_mailbox *start, struct work_mailbox **greatest_r)
{
	struct work_mailbox *greatest = start, *at = start;

	do {
		int rc = merge_find_mailbox(state, at->joined.forward, &at);

		if (rc < 0)
			return rc;
		if (compare_rank(at, greatest) > 0)
			greatest = at;
	} while (at != start);
	*greatest_r = greatest;
	return 0;
}

int merge_follow_forwards(
	struct merge_state *state, struct work_mailbox *at, struct work_mailbox **home_r)
{
	state->walk++;
	while (has_forward(&at->joined)) {
		struct work_mailbox *next;
		int rc = merge_find_mailbox(state, at->joined.forward, &next);

		if (rc == ERR_NOT_FOUND)
			break;
		if (rc < 0)
			return rc;
		if (at->walk == state->walk)
			return greatest_of_circle(state, at, home_r);
		at->walk = state->walk;
		at = next;
	}
	*home_r = at;
	return 0;
}

int merge_home(struct merge_state *state, const struct message_record *message,
	struct work_mailbox **home_r)
{
	struct work_mailbox *placed_in;
	int rc = merge_find_mailbox(state, message->placed_in, &placed_in);

	if (rc == ERR_NOT_FOUND && message_is_shown(message))
		rc = merge_find_mailbox(state, message->mailbox, &placed_in);
	if (rc == ERR_NOT_FOUND && message_is_shown(message))
		return error_set(state->error, ERR_ILLEGAL, "a message lies in an unknown mailbox");
	return rc < 0 ? rc : merge_follow_forwards(state, placed_in, home_r);
}

/* Where the mailbox's mail is shown on my copy now; NULL: nowhere. */
static int home_before(
	struct merge_state *state, struct work_mailbox *mailbox, struct work_mailbox **home_r)
{
	struct work_mailbox *at = mailbox;
	int rc = 0;

	state->walk++;
	*home_r = NULL;
	while (rc == 0 && at->has_mine && at->walk != state->walk) {
		at->walk = state->walk;
		if (mailbox_is_live(&at->mine)) {
			*home_r = at;
			return 0;
		}
		if (!has_forward(&at->mine))
			return 0;
		rc = merge_find_mailbox(state, at->mine.forward, &at);
	}
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

static int load_mailbox(void *context, const struct mailbox_record *mailbox)
{
	struct merge_state *state = context;
	struct work_mailbox *work;

	return merge_find_mailbox(state, mailbox->id, &work);
}

static int compare_rank_falling(const void *a, const void *b)
{
	struct work_mailbox *const *mailbox_a = a, *const *mailbox_b = b;

	return compare_rank(*mailbox_b, *mailbox_a);
}

/*
 * A UIDVALIDITY that no mailbox here has had, for this one. Not simply the next: a partial copy may
 * have given that to a mailbox that is not told of. Two that took the next one in turn would run
 * into one another for ever.
 */
static uint32_t uidvalidity_new(struct merge_state *state, struct id128 id)
{
	unsigned char of[sizeof(id.bytes) + 4];
	uint32_t step, room = UINT32_MAX - state->uidvalidity_last;

	memcpy(of, id.bytes, sizeof(id.bytes));
	put_u32(of + sizeof(id.bytes), state->uidvalidity_last);
	step = 1u + id128_derive("next uidvalidity", bytes_of(of, sizeof(of))).bytes[0];
	state->uidvalidity_last += step < room ? step : room;
	return state->uidvalidity_last;
}

static struct id128 retired_id(uint32_t uidvalidity)
{
	unsigned char number[4];

	put_u32(number, uidvalidity);
	return id128_derive("uidvalidity", bytes_of(number, sizeof(number)));
}

bool merge_is_retired(const struct mailbox_record *mailbox)
{
	return bytes_equal_string(mailbox->name, RETIRED_NAME) && !mailbox_is_live(mailbox) &&
	       id128_is_none(mailbox->forward) &&
	       id128_equal(mailbox->id, retired_id(mailbox->uidvalidity));
}

/* A deleted mailbox, known to all copies, keeps others from this UIDVALIDITY. It is called the same
 * wherever it is made, and by no name that a mailbox had: not all who are told may know that. */
static int retire_uidvalidity(struct merge_state *state, uint32_t uidvalidity)
{
	struct mailbox_record marker = { .id = retired_id(uidvalidity),
		.name = bytes_of_string(RETIRED_NAME),
		.uidvalidity = uidvalidity,
		.uidnext = 1 };
	struct work_mailbox *known;
	int rc = merge_find_mailbox(state, marker.id, &known);

	if (rc != ERR_NOT_FOUND)
		return rc;
	marker.deleted = merge_act(state);
	merge_new_mailbox(state, &marker);
	return 0;
}

/* Those of one UIDVALIDITY; they are `count` in a row. */
static int separate_group(struct merge_state *state, size_t begin, size_t count)
{
	uint32_t uidvalidity = state->mailbox_list[begin]->joined.uidvalidity;
	bool is_retired = false;

	for (size_t i = begin; i < begin + count; i++) {
		struct mailbox_record *mailbox = &state->mailbox_list[i]->joined;

		if (mailbox_is_live(mailbox))
			mailbox->uidvalidity = uidvalidity_new(state, mailbox->id);
		else
			is_retired = true;
	}
	return is_retired ? 0 : retire_uidvalidity(state, uidvalidity);
}

/*
 * Clients know a mailbox by its name and UIDVALIDITY. Made in one second on two copies, two
 * mailboxes have the same, and by a rename, a deletion or a union one could become what the other
 * was (P2). So of those with one UIDVALIDITY all live ones get a greater one: some copy may have
 * shown each of them by the name that another has now. None gets the old one again.
 */
static int separate_uidvalidities(struct merge_state *state)
{
	size_t count = state->mailbox_count, end;
	int rc = 0;

	for (size_t i = 0; i < count; i++)
		if (state->mailbox_list[i]->joined.uidvalidity > state->uidvalidity_last)
			state->uidvalidity_last = state->mailbox_list[i]->joined.uidvalidity;
	for (size_t begin = 0; begin < count && rc == 0; begin = end) {
		uint32_t uidvalidity = state->mailbox_list[begin]->joined.uidvalidity;

		end = begin + 1;
		while (end < count && state->mailbox_list[end]->joined.uidvalidity == uidvalidity)
			end++;
		if (end - begin > 1)
			rc = separate_group(state, begin, end - begin);
	}
	return rc;
}

/* A UIDVALIDITY that one side gave up for the other's greater one is not to come back either. */
static int retire_outdone(struct merge_state *state)
{
	size_t count = state->mailbox_count;
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		const struct work_mailbox *mailbox = state->mailbox_list[i];
		uint32_t uidvalidity = mailbox->joined.uidvalidity;

		if (mailbox->has_mine && mailbox->mine.uidvalidity != uidvalidity)
			rc = retire_uidvalidity(state, mailbox->mine.uidvalidity);
		if (rc == 0 && mailbox->theirs != NULL &&
			mailbox->theirs->uidvalidity != uidvalidity)
			rc = retire_uidvalidity(state, mailbox->theirs->uidvalidity);
	}
	return rc;
}

/* United with one that it may not see, what the peer sees would show it that. */
static bool is_kept_apart(const struct merge_state *state, struct id128 a, struct id128 b)
{
	const struct view *view = state->input->view;

	return view != NULL && view->is_limited && view_has(view, a) != view_has(view, b);
}

/* Of two of one name, which the peer may not both see, what it sees gets another. */
static int keep_apart(
	struct merge_state *state, struct work_mailbox *mailbox, struct work_mailbox *stays)
{
	bool is_seen = view_has(state->input->view, mailbox->joined.id);
	struct mailbox_record *seen = is_seen ? &mailbox->joined : &stays->joined;
	struct bytes name = seen->name, base = name;

	while (base.len > NAME_BASE_SIZE_MAX ||
		(base.len < name.len && base.len > 0 && (base.ptr[base.len] & 0xc0) == 0x80))
		base.len--;
	if (!is_seen)
		map_put(&state->names, name, mailbox);
	seen->name_stamp = merge_act(state);
	seen->name = merge_conflict_name(state, base, seen->name_stamp);
	merge_note_named(state, MERGE_NAME_TAKEN, seen->id, name);
	if (map_get(&state->names, seen->name) != NULL)
		return error_set(state->error, ERR_ILLEGAL, "a mailbox has a conflict's name");
	map_put(&state->names, seen->name, is_seen ? mailbox : stays);
	return 0;
}

/* Reads all mailboxes of mine and unites those of one name. */
static int unite_names(struct merge_state *state)
{
	const struct merge_copy *mine = &state->input->mine;
	int rc = mine->each_mailbox(mine->context, load_mailbox, state);

	if (rc == 0)
		rc = retire_outdone(state);
	if (rc < 0)
		return rc;
	qsort(state->mailbox_list, state->mailbox_count, sizeof(struct work_mailbox *),
		compare_rank_falling);
	for (size_t i = 0; i < state->mailbox_count && rc == 0; i++) {
		struct work_mailbox *mailbox = state->mailbox_list[i], *stays;

		if (!mailbox_is_live(&mailbox->joined))
			continue;
		stays = map_get(&state->names, mailbox->joined.name);
		if (stays == NULL) {
			map_put(&state->names, mailbox->joined.name, mailbox);
			continue;
		}
		if (is_kept_apart(state, mailbox->joined.id, stays->joined.id)) {
			rc = keep_apart(state, mailbox, stays);
			continue;
		}
		mailbox->joined.deleted = merge_act(state);
		mailbox->joined.forward = stays->joined.id;
		merge_note_conflict(
			state, MERGE_MAILBOXES_UNITED, mailbox->joined.id, (struct stamp){ 0 }, 0);
	}
	state->has_names = true;
	return rc < 0 ? rc : separate_uidvalidities(state);
}

static bool is_name_in_question(const struct work_mailbox *mailbox)
{
	return !mailbox->has_mine || mailbox->joined.uidvalidity != mailbox->mine.uidvalidity ||
	       (mailbox->theirs != NULL &&
		       mailbox->theirs->uidvalidity != mailbox->joined.uidvalidity) ||
	       !bytes_equal(mailbox->joined.name, mailbox->mine.name) ||
	       mailbox_is_live(&mailbox->joined) != mailbox_is_live(&mailbox->mine);
}

static struct work_mailbox *make_successor(
	struct merge_state *state, const struct work_mailbox *deleted, struct id128 id)
{
	struct mailbox_record record = {
		.id = id,
		.name_stamp = deleted->joined.name_stamp,
		.name = deleted->joined.name,
		.special_use_stamp = deleted->joined.special_use_stamp,
		.special_use = deleted->joined.special_use,
		.uidvalidity = uidvalidity_new(state, id),
		.uidnext = 1,
	};

	return merge_new_mailbox(state, &record);
}

struct id128 merge_successor_id(struct id128 deleted)
{
	return id128_derive("revived", bytes_of(deleted.bytes, sizeof(deleted.bytes)));
}

/* Nobody deleted those of a circle: copies united them in different ways. So what takes their place
 * is no successor, and what was said of them goes to it (merge_tidy.c). */
static struct id128 reunited_id(struct id128 greatest)
{
	return id128_derive("reunited", bytes_of(greatest.bytes, sizeof(greatest.bytes)));
}

/* Gives the mail of a deleted mailbox that leads nowhere a live home, or one step towards it. */
static int revive(struct merge_state *state, struct work_mailbox *deleted)
{
	struct work_mailbox *to;
	struct id128 id;
	int rc;

	if (!state->has_names) {
		rc = unite_names(state);
		if (rc < 0)
			return rc;
	}
	to = map_get(&state->names, deleted->joined.name);
	if (to == NULL) {
		id = has_forward(&deleted->joined) ? reunited_id(deleted->joined.id)
						   : merge_successor_id(deleted->joined.id);
		rc = merge_find_mailbox(state, id, &to);
		if (rc == ERR_NOT_FOUND)
			to = make_successor(state, deleted, id);
		else if (rc < 0)
			return rc;
		if (mailbox_is_live(&to->joined) && map_get(&state->names, to->joined.name) == NULL)
			map_put(&state->names, to->joined.name, to);
		merge_note_conflict(
			state, MERGE_MAILBOX_REVIVED, deleted->joined.id, (struct stamp){ 0 }, 0);
	}
	deleted->joined.forward = to->joined.id;
	return 0;
}

static int find_live_homes(struct merge_state *state)
{
	for (size_t i = 0; i < state->message_count; i++) {
		const struct message_record *message = &state->message_list[i]->joined;
		struct work_mailbox *home;
		int rc;

		if (id128_is_none(message->placed_in))
			continue;
		rc = merge_home(state, message, &home);
		while (rc == 0 && !mailbox_is_live(&home->joined)) {
			rc = revive(state, home);
			if (rc == 0)
				rc = merge_home(state, message, &home);
		}
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
	}
	return 0;
}

static int take_shown(void *context, const struct message_record *message)
{
	struct merge_state *state = context;
	struct bytes key = bytes_of(&message->instance, sizeof(message->instance));

	if (map_get(&state->messages, key) == NULL)
		merge_take_mine(state, message);
	return 0;
}

/* Takes in what I show of mailboxes that no longer lead where they did. */
static int scan_closed(struct merge_state *state)
{
	const struct merge_copy *mine = &state->input->mine;

	for (size_t i = 0; i < state->mailbox_count; i++) {
		struct work_mailbox *mailbox = state->mailbox_list[i], *before;
		int rc;

		if (!mailbox->has_mine || mailbox_is_live(&mailbox->joined) ||
			(!mailbox_is_live(&mailbox->mine) &&
				id128_equal(mailbox->joined.forward, mailbox->mine.forward)))
			continue;
		rc = home_before(state, mailbox, &before);
		if (rc < 0)
			return rc;
		if (before == NULL || before->is_scanned)
			continue;
		before->is_scanned = true;
		rc = mine->each_shown(mine->context, before->mine.id, take_shown, state);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int merge_settle_mailboxes(struct merge_state *state)
{
	size_t message_count;
	int rc = 0;

	for (size_t i = 0; rc == 0 && !state->has_names && i < state->mailbox_count; i++)
		if (is_name_in_question(state->mailbox_list[i]))
			rc = unite_names(state);
	do {
		message_count = state->message_count;
		if (rc == 0)
			rc = find_live_homes(state);
		if (rc == 0)
			rc = scan_closed(state);
	} while (rc == 0 && state->message_count > message_count);
	return rc;
}
