/*
 * A push of very many messages, applied in parts: one commit of all of them would keep every other
 * session of the peer's node waiting for as long as it takes.
 *
 * Each part must be one that clients of the peer may see (P2 to P4). So messages go in the order of
 * their modseqs, and a part ends only where all UIDs that follow are above those before, in each
 * mailbox. Mailboxes go with the first part, so that messages have where to be, but with the
 * UIDNEXT that the new messages begin at, and without those that were deleted, whose messages go
 * first; and with the last again, as they are, together with all else. Only after the last both
 * copies are equal, and only then is there a new common point: when an exchange ends between, the
 * next finds a peer that changed, as if a third node had brought it these records.
 */
#include "sync/exchange_private.h"

#include "base/mem.h"

#include <stdlib.h>

/* Where a message that the peer sees in a new place stands among all. */
struct new_place {
	const struct message_record *message;
	size_t at;
};

static int compare_modseqs(const void *a, const void *b)
{
	const struct message_change *left = a, *right = b;

	if (left->record.modseq != right->record.modseq)
		return left->record.modseq < right->record.modseq ? -1 : 1;
	return stamp_compare(left->record.instance, right->record.instance);
}

static int compare_places(const void *a, const void *b)
{
	const struct new_place *left = a, *right = b;
	int order = id128_compare(left->message->mailbox, right->message->mailbox);

	if (order != 0 || left->message->uid == right->message->uid)
		return order;
	return left->message->uid < right->message->uid ? -1 : 1;
}

/* By mailbox and UID. */
static struct new_place *list_places(
	const struct change_set *whole, uint64_t since, struct arena *arena, size_t *count_r)
{
	struct new_place *places = arena_alloc(arena, whole->message_count * sizeof(*places));
	size_t count = 0;

	for (size_t i = 0; i < whole->message_count; i++) {
		const struct message_record *message = &whole->messages[i].record;

		if (message_is_shown(message) && message->shown_sequence > since)
			places[count++] = (struct new_place){ message, i };
	}
	if (count > 0)
		qsort(places, count, sizeof(*places), compare_places);
	*count_r = count;
	return places;
}

/* For each place between two messages by how much more spans, in which no part may end, begin than
 * end there: a message before such a span has a UID above that of one behind it. */
static int *find_spans(
	const struct new_place *places, size_t count, size_t message_count, struct arena *arena)
{
	int *spans = arena_zalloc(arena, (message_count + 1) * sizeof(*spans));
	size_t last = 0;

	for (size_t i = 0; i < count; i++) {
		bool is_first = i == 0 || !id128_equal(places[i].message->mailbox,
						  places[i - 1].message->mailbox);

		if (is_first || places[i].at > last) {
			last = places[i].at;
			continue;
		}
		spans[places[i].at + 1]++;
		spans[last + 1]--;
	}
	return spans;
}

/* push->part_ends: where each part ends, the last one apart. */
static void find_ends(struct exchange_push *push, const int *spans)
{
	const struct change_set *whole = &push->whole;
	size_t begin = 0;
	int depth = 0;

	push->part_ends = arena_alloc(push->arena,
		(whole->message_count / APPLY_PART_COUNT_MAX + 1) * sizeof(*push->part_ends));
	for (size_t i = 1; i < whole->message_count; i++) {
		depth += spans[i];
		if (depth > 0 || i - begin < APPLY_PART_COUNT_MAX ||
			whole->messages[i - 1].record.modseq == whole->messages[i].record.modseq)
			continue;
		push->part_ends[push->part_end_count++] = begin = i;
	}
}

/* The UIDNEXT of the first part: where its new messages begin. */
static uint32_t first_uidnext(
	const struct mailbox_record *mailbox, const struct new_place *places, size_t count)
{
	struct message_record key = { .mailbox = mailbox->id };
	struct new_place wanted = { &key, 0 };
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_places(&places[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == count || !id128_equal(places[low].message->mailbox, mailbox->id) ||
		places[low].message->uid > mailbox->uidnext)
		return mailbox->uidnext;
	return places[low].message->uid;
}

static void add_mailboxes(struct change_set *part, const struct change_set *whole,
	const struct new_place *places, size_t place_count, bool is_last)
{
	for (size_t i = 0; i < whole->mailbox_count; i++) {
		struct mailbox_record mailbox = whole->mailboxes[i];

		if (!is_last && !mailbox_is_live(&mailbox))
			continue;
		mailbox.uidnext = first_uidnext(&mailbox, places, place_count);
		change_set_add_mailbox(part, &mailbox);
	}
}

/* The present part becomes push.changes. */
static void take_part(struct exchange_push *push, uint64_t since)
{
	const struct change_set *whole = &push->whole;
	size_t begin = push->part_next > 0 ? push->part_ends[push->part_next - 1] : 0, end, count;
	struct change_set part = { .account = whole->account,
		.since = whole->since,
		.sequence = whole->sequence,
		.highest = whole->highest,
		.has_forgotten = whole->has_forgotten };
	const struct new_place *places;

	push->is_part = push->part_next < push->part_end_count;
	end = push->is_part ? push->part_ends[push->part_next] : whole->message_count;
	if (push->part_next == 0) {
		places = list_places(whole, since, push->arena, &count);
		add_mailboxes(&part, whole, places, count, false);
	}
	for (size_t i = begin; i < end; i++)
		change_set_add_message(
			&part, &whole->messages[i].record, whole->messages[i].was_common);
	if (!push->is_part) {
		add_mailboxes(&part, whole, NULL, 0, true);
		for (size_t i = 0; i < whole->register_count; i++)
			change_set_add_register(&part, &whole->registers[i]);
	}
	change_set_normalize(&part);
	change_set_deinit(&push->changes);
	push->changes = part;
}

/* Its name is not free before the last part, and where its messages go is to be said at once. */
static bool deleted_may_part(const struct change_set *changes, const struct mailbox_record *deleted)
{
	for (size_t i = 0; i < changes->mailbox_count; i++) {
		const struct mailbox_record *other = &changes->mailboxes[i];

		if (mailbox_is_live(other) && bytes_equal(other->name, deleted->name))
			return false;
	}
	return id128_is_none(deleted->forward);
}

/*
 * A mailbox that was deleted goes after its messages. One that is new there announces its record's
 * modseq, which must be below those of its messages.
 */
static bool mailboxes_may_part(
	const struct change_set *changes, const struct new_place *places, size_t count)
{
	for (size_t i = 0; i < changes->mailbox_count; i++)
		if (!mailbox_is_live(&changes->mailboxes[i]) &&
			!deleted_may_part(changes, &changes->mailboxes[i]))
			return false;
	for (size_t i = 0; i < count; i++) {
		const struct message_record *message = places[i].message;
		const struct mailbox_record *mailbox =
			change_set_mailbox(changes, message->mailbox);

		if (mailbox != NULL && mailbox->modseq >= message->modseq)
			return false;
	}
	return true;
}

/* Only where the peer is where we left it, and takes what we say as it is. */
static bool may_part(const struct exchange *exchange)
{
	return exchange->point.mine != 0 && !exchange->point.is_sorted_out &&
	       !exchange->has_theirs && exchange->repair == NULL && !exchange->is_lossy &&
	       !exchange->is_restricted && view_filter_is_whole(exchange->filter) &&
	       !exchange_is_foreign(exchange) && exchange->own.hold == ACCOUNT_SERVED &&
	       exchange->behind == 0;
}

void exchange_parts_begin(struct exchange *exchange)
{
	struct exchange_push *push = &exchange->push;
	uint64_t since = exchange->point.mine;
	const struct new_place *places;
	size_t count;

	if (push->changes.message_count < 2 * APPLY_PART_COUNT_MAX || !may_part(exchange))
		return;
	places = list_places(&push->changes, since, push->arena, &count);
	if (!mailboxes_may_part(&push->changes, places, count))
		return;
	push->whole = push->changes;
	push->changes = (struct change_set){ 0 };
	qsort(push->whole.messages, push->whole.message_count, sizeof(*push->whole.messages),
		compare_modseqs);
	places = list_places(&push->whole, since, push->arena, &count);
	find_ends(push, find_spans(places, count, push->whole.message_count, push->arena));
	take_part(push, since);
}

int exchange_parts_next(struct exchange *exchange)
{
	struct exchange_push *push = &exchange->push;

	exchange->expect = push->sequence;
	exchange->refused_in_row = 0;
	push->part_next++;
	take_part(push, exchange->point.mine);
	push->body_count = push->body_next = 0;
	return exchange_push_prepared(exchange);
}
