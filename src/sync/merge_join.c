/*
 * Joining two versions of one record, from two copies or from one at two times.
 *
 * (1) Every part is a register with a total order (stamp, then what the stamp cannot decide,
 * bytewise) or a number that only grows, and the greater one stays: so joins are commutative,
 * associative and idempotent, and copies that saw the same acts agree in whatever order they heard
 * of them (P6, P8). (2) A flag that one side only knows stays: silence never undoes a change (P7).
 * (3) Placement and flags do not look at each other: a flag set here survives a MOVE there.
 * (4) What a message is shown as follows its placement; with equal placement the greater (mailbox,
 * UID) stays, which placing (merge_place.c) then judges.
 */
#include "sync/merge.h"

#include <stdlib.h>

static int flag_compare(const struct flag_state *a, const struct flag_state *b)
{
	int order = stamp_compare(a->stamp, b->stamp);

	return order != 0 ? order : (int)a->is_set - (int)b->is_set;
}

/* Latest first; of equal stamps the greater name. */
static int compare_latest(const void *a, const void *b)
{
	const struct flag_state *flag_a = a, *flag_b = b;
	int order = stamp_compare(flag_b->stamp, flag_a->stamp);

	return order != 0 ? order : bytes_compare(flag_b->name, flag_a->name);
}

static int compare_name(const void *a, const void *b)
{
	const struct flag_state *flag_a = a, *flag_b = b;

	return bytes_compare(flag_a->name, flag_b->name);
}

/* The flags that changed last stay. As what is dropped from a part would be dropped from the whole
 * too, the join remains associative. */
static void drop_oldest_flags(struct message_record *message)
{
	if (message->flag_count <= MESSAGE_FLAG_COUNT_MAX)
		return;
	qsort(message->flags, message->flag_count, sizeof(*message->flags), compare_latest);
	message->flag_count = MESSAGE_FLAG_COUNT_MAX;
	qsort(message->flags, message->flag_count, sizeof(*message->flags), compare_name);
}

static void join_flags(const struct message_record *a, const struct message_record *b,
	struct arena *arena, struct message_record *joined)
{
	size_t room = a->flag_count + b->flag_count, at_a = 0, at_b = 0;

	joined->flags = room > 0 ? arena_alloc(arena, room * sizeof(*joined->flags)) : NULL;
	joined->flag_count = 0;
	while (at_a < a->flag_count || at_b < b->flag_count) {
		const struct flag_state *flag_a = at_a < a->flag_count ? &a->flags[at_a] : NULL;
		const struct flag_state *flag_b = at_b < b->flag_count ? &b->flags[at_b] : NULL;
		int order = flag_a == NULL   ? 1
			    : flag_b == NULL ? -1
					     : bytes_compare(flag_a->name, flag_b->name);

		if (order <= 0)
			at_a++;
		if (order >= 0)
			at_b++;
		if (order == 0)
			order = flag_compare(flag_a, flag_b) >= 0 ? -1 : 1;
		joined->flags[joined->flag_count++] = order < 0 ? *flag_a : *flag_b;
	}
	drop_oldest_flags(joined);
}

/* Which placement stays; the savedate, which is a fact of the placement, breaks no tie between
 * honest copies. */
static int place_compare(const struct message_record *a, const struct message_record *b)
{
	int order = placement_compare(a->instance, a->placed, b->placed);

	if (order == 0)
		order = id128_compare(a->placed_in, b->placed_in);
	if (order == 0)
		order = id128_compare(a->mailbox, b->mailbox);
	if (order == 0)
		order = a->uid < b->uid ? -1 : a->uid > b->uid;
	if (order == 0)
		order = a->savedate_ms < b->savedate_ms ? -1 : a->savedate_ms > b->savedate_ms;
	return order;
}

int merge_message(const struct message_record *a, const struct message_record *b,
	struct arena *arena, struct message_record *joined_r)
{
	const struct message_record *winner = place_compare(a, b) >= 0 ? a : b;
	struct message_record joined = *winner;

	if (stamp_compare(a->instance, b->instance) != 0 || !guid_equal(&a->guid, &b->guid) ||
		a->size != b->size || a->internaldate != b->internaldate)
		return ERR_ILLEGAL;
	joined.modseq = a->modseq > b->modseq ? a->modseq : b->modseq;
	joined.internaldate_zone = a->internaldate_zone > b->internaldate_zone
					   ? a->internaldate_zone
					   : b->internaldate_zone;
	joined.thread = id128_compare(a->thread, b->thread) >= 0 ? a->thread : b->thread;
	join_flags(a, b, arena, &joined);
	joined.sequence = 0;
	joined.placed_sequence = 0;
	joined.shown_sequence = 0;
	*joined_r = joined;
	return 0;
}

static bool text_wins(
	struct stamp stamp, struct bytes text, struct stamp over_stamp, struct bytes over)
{
	int order = stamp_compare(stamp, over_stamp);

	return order > 0 || (order == 0 && bytes_compare(text, over) > 0);
}

void merge_mailbox(const struct mailbox_record *a, const struct mailbox_record *b,
	struct mailbox_record *joined_r)
{
	struct mailbox_record joined = { .id = a->id };

	joined.name_stamp = a->name_stamp;
	joined.name = a->name;
	if (text_wins(b->name_stamp, b->name, a->name_stamp, a->name)) {
		joined.name_stamp = b->name_stamp;
		joined.name = b->name;
	}
	joined.special_use_stamp = a->special_use_stamp;
	joined.special_use = a->special_use;
	if (text_wins(b->special_use_stamp, b->special_use, a->special_use_stamp, a->special_use)) {
		joined.special_use_stamp = b->special_use_stamp;
		joined.special_use = b->special_use;
	}
	joined.uidvalidity = a->uidvalidity > b->uidvalidity ? a->uidvalidity : b->uidvalidity;
	joined.uidnext = a->uidnext > b->uidnext ? a->uidnext : b->uidnext;
	joined.deleted = stamp_compare(a->deleted, b->deleted) >= 0 ? a->deleted : b->deleted;
	joined.forward = id128_compare(a->forward, b->forward) >= 0 ? a->forward : b->forward;
	joined.modseq = a->modseq > b->modseq ? a->modseq : b->modseq;
	*joined_r = joined;
}

/*
 * Equal stamps: what was cleared because its message or mailbox is gone keeps its stamp, so that a
 * later act of a user, wherever it was, still counts. Unequal values of one stamp come from no
 * honest peer; a right that is in doubt is not given.
 */
static int register_compare(const struct register_record *a, const struct register_record *b)
{
	int order = stamp_compare(a->stamp, b->stamp);
	int sign = a->kind == RECORD_ACL ? -1 : 1;

	if (order != 0)
		return order;
	if (a->is_set != b->is_set)
		return a->is_set ? -1 : 1;
	if (a->value.len != b->value.len)
		return sign * (a->value.len < b->value.len ? -1 : 1);
	return sign * bytes_compare(a->value, b->value);
}

void merge_register(const struct register_record *a, const struct register_record *b,
	struct register_record *joined_r)
{
	struct register_record joined = register_compare(a, b) >= 0 ? *a : *b;

	joined.modseq = a->modseq > b->modseq ? a->modseq : b->modseq;
	joined.sequence = 0;
	*joined_r = joined;
}
