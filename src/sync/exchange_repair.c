/*
 * The repair: the peer is where we expect it, our changes were legal, and yet its copy would not be
 * ours. Both compare mailboxes, then ranges of UIDs, split by 16, until few messages are left in
 * those that differ; these are exchanged, by range and by instance, and merged as in any exchange.
 *
 * All answers must be of the one sequence at which the peer said so, and our own copy must stay
 * where it was when the comparison began; else it begins anew, as after any refusal.
 */
#include "sync/exchange_private.h"

#include "sync/repair.h"

#include "base/mem.h"

#include <stdlib.h>

struct repair_range {
	struct id128 mailbox;
	uint32_t first, last;
};

struct repair_list {
	struct repair_range *ranges;
	size_t count, room, next;
};

struct exchange_repair {
	struct arena *arena;
	uint64_t own_sequence;
	struct change_set mine;      /* what was compared of our copy */
	struct view view;            /* of our copy where the comparison began */
	struct repair_list compare;  /* ranges of which digests are to be compared */
	struct repair_list exchange; /* ranges of which records are to be exchanged */
	size_t asked_from;           /* of those asked in the request under way */
	struct stamp *instances;     /* records that only we have shown */
	size_t instance_count, instance_room, instance_next;
	bool registers_differ, asks_registers; /* they do; they are yet to be asked for */
	bool is_asked;
	bool is_merged; /* what was compared is merged, and is to be in every push that follows */
	bool has_moved; /* the peer or we are no longer where we were */
};

void exchange_repair_free(struct exchange_repair **repair_ptr)
{
	struct exchange_repair *repair = *repair_ptr;

	if (repair == NULL)
		return;
	change_set_deinit(&repair->mine);
	view_close(&repair->view);
	free(repair->compare.ranges);
	free(repair->exchange.ranges);
	free(repair->instances);
	arena_free(&repair->arena);
	free(repair);
	*repair_ptr = NULL;
}

static void add_range(struct repair_list *list, struct id128 mailbox, uint32_t first, uint32_t last)
{
	mem_grow((void **)&list->ranges, &list->room, list->count + 1, sizeof(*list->ranges));
	list->ranges[list->count++] = (struct repair_range){ mailbox, first, last };
}

/* What was there then and is no more was deleted. */
static struct common_point since_when(const struct exchange *exchange)
{
	return exchange->is_lossy ? (struct common_point){ 0 } : exchange->point;
}

/* Opens a snapshot of our copy, if it is still where the comparison began. */
static int read_own(struct exchange *exchange, struct kv_txn **kv_r)
{
	struct account_header header;
	int rc = mail_read_begin(exchange->mail, exchange->position, kv_r);

	if (rc == 0)
		rc = account_load(*kv_r, exchange->account, &header);
	if (rc == 0 && header.sequence != exchange->repair->own_sequence)
		exchange->repair->has_moved = true;
	return rc;
}

/* Every answer tells at which sequence it was made. */
static int check_answer(
	struct exchange *exchange, struct bytes verb, const char *wanted, const struct dlist *map)
{
	uint64_t sequence, highest;

	if (!bytes_equal_string(verb, wanted) ||
		dlist_get_number(map, "SEQUENCE", UINT64_MAX, &sequence) < 0 ||
		dlist_get_number(map, "HIGHEST", MODSEQ_MAX, &highest) < 0)
		return wire_unanswered(wanted, &exchange->result.error);
	if (sequence != exchange->expect)
		exchange->repair->has_moved = true;
	exchange->theirs.highest = highest;
	return 0;
}

static int give_up_if_moved(struct exchange *exchange)
{
	int rc;

	if (!exchange->repair->has_moved)
		return 0;
	rc = exchange_count_refusal(exchange);
	if (rc == 0)
		rc = exchange_begin_changes(exchange);
	return rc < 0 ? rc : 1;
}

/* ---- which mailboxes differ ---- */

static int outline_send(struct exchange *exchange, struct buffer *request)
{
	struct dlist_writer writer;

	if (exchange->repair->is_asked)
		return 0;
	exchange->repair->is_asked = true;
	writer = wire_begin(request, DLIST_REQUEST, "RANGE");
	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(exchange->name));
	exchange_put_also(exchange, &writer);
	dlist_end_map(&writer);
	return 1;
}

/* The peer's digests stand in the order of its mailboxes, as sent: put each into its record. */
static int read_outline(struct exchange *exchange, const struct dlist *map)
{
	struct error *error = &exchange->result.error;
	struct change_set *theirs = &exchange->theirs;
	const struct dlist *list, *at;
	int rc = wire_get_changes(map, exchange->their_arena, theirs, error);

	if (rc < 0)
		return rc;
	if (dlist_get_list(map, "POINTS", &list) < 0 || list->count != 2 * theirs->mailbox_count)
		return error_set(error, ERR_INVALID, "bad POINTS in an answer");
	at = list->first;
	for (size_t i = 0; i < theirs->mailbox_count; i++) {
		uint64_t count;

		if (wire_digest(at, &theirs->mailboxes[i].digest) < 0 ||
			dlist_number(at->next, UINT32_MAX, &count) < 0)
			return error_set(error, ERR_INVALID, "bad POINTS in an answer");
		theirs->mailboxes[i].message_count = (uint32_t)count;
		at = at->next->next;
	}
	change_set_normalize(theirs);
	exchange_note_told(exchange, theirs);
	return 0;
}

static void compare_mailbox(struct exchange_repair *repair, const struct mailbox_record *mine,
	const struct mailbox_record *theirs)
{
	uint32_t last = 0;

	if (mine != NULL && theirs != NULL && digest_equal(mine->digest, theirs->digest))
		return;
	if (mine != NULL && mine->uidnext > last)
		last = mine->uidnext;
	if (theirs != NULL && theirs->uidnext > last)
		last = theirs->uidnext;
	add_range(&repair->compare, mine != NULL ? mine->id : theirs->id, 1, last);
}

static int compare_outline(struct exchange *exchange, const struct dlist *map, struct kv_txn *kv)
{
	struct exchange_repair *repair = exchange->repair;
	struct change_set *mine = &repair->mine, *theirs = &exchange->theirs;
	struct digest ours_digest, their_digest;
	uint64_t ours_count, their_count;
	int rc = exchange_view(exchange, kv, &repair->view);

	if (rc == 0)
		rc = repair_collect_mailboxes(kv, &repair->view, repair->arena, mine);
	if (rc == 0)
		rc = repair_sum_registers(
			kv, &repair->view, repair->arena, &ours_digest, &ours_count);
	if (rc < 0)
		return rc;
	if (wire_get_digest(map, "REGISTERDIGEST", &their_digest) < 0 ||
		dlist_get_number(map, "REGISTERCOUNT", UINT64_MAX, &their_count) < 0)
		return error_set(
			&exchange->result.error, ERR_INVALID, "bad REGISTERDIGEST in an answer");
	repair->registers_differ =
		ours_count != their_count || !digest_equal(ours_digest, their_digest);
	repair->asks_registers = repair->registers_differ;
	change_set_normalize(mine);
	for (size_t i = 0; i < mine->mailbox_count; i++)
		compare_mailbox(repair, &mine->mailboxes[i],
			change_set_mailbox(theirs, mine->mailboxes[i].id));
	for (size_t i = 0; i < theirs->mailbox_count; i++)
		if (change_set_mailbox(mine, theirs->mailboxes[i].id) == NULL)
			compare_mailbox(repair, NULL, &theirs->mailboxes[i]);
	return 0;
}

static int outline_take(
	struct exchange *exchange, struct bytes verb, const struct dlist *map, struct bytes text)
{
	struct kv_txn *kv = NULL;
	int rc = check_answer(exchange, verb, "RANGE", map);

	if (rc < 0 || exchange->repair->has_moved)
		return rc;
	text = arena_copy(exchange->their_arena, text);
	rc = wire_parse(text, exchange->their_arena, &verb, &map, &exchange->result.error);
	if (rc == 0)
		rc = read_outline(exchange, map);
	if (rc == 0)
		rc = read_own(exchange, &kv);
	if (rc == 0)
		rc = compare_outline(exchange, map, kv);
	mail_read_end(&kv);
	return rc;
}

/* ---- which ranges differ ---- */

/* Puts the next ranges of one mailbox, from list->next on, and moves it on. */
static void put_ranges(
	struct exchange *exchange, struct repair_list *list, struct dlist_writer *writer)
{
	struct id128 mailbox = list->ranges[list->next].mailbox;
	size_t end = list->next + REPAIR_RANGE_BATCH;

	dlist_put_text_of(writer, "ACCOUNT", bytes_of_string(exchange->name));
	wire_put_id_of(writer, "MAILBOX", mailbox);
	dlist_put_atom(writer, "RANGES");
	dlist_begin_list(writer);
	for (; list->next < list->count && list->next < end; list->next++) {
		const struct repair_range *range = &list->ranges[list->next];

		if (!id128_equal(range->mailbox, mailbox))
			break;
		dlist_put_number(writer, range->first);
		dlist_put_number(writer, range->last);
	}
	dlist_end_list(writer);
}

static int ranges_send(struct exchange *exchange, struct buffer *request)
{
	struct exchange_repair *repair = exchange->repair;
	struct dlist_writer writer;

	if (exchange->awaiting > 0 || repair->has_moved ||
		repair->compare.next == repair->compare.count)
		return 0;
	writer = wire_begin(request, DLIST_REQUEST, "RANGE");
	repair->asked_from = repair->compare.next;
	put_ranges(exchange, &repair->compare, &writer);
	dlist_end_map(&writer);
	return 1;
}

static void split_range(struct exchange_repair *repair, const struct repair_range *range)
{
	uint64_t width = (uint64_t)range->last - range->first + 1;
	uint64_t step = (width + REPAIR_SPLIT - 1) / REPAIR_SPLIT;

	for (uint64_t first = range->first; first <= range->last; first += step) {
		uint64_t last = first + step - 1;

		add_range(&repair->compare, range->mailbox, (uint32_t)first,
			(uint32_t)(last < range->last ? last : range->last));
	}
}

static int compare_range(struct exchange *exchange, struct kv_txn *kv, struct repair_range range,
	struct digest their_digest, uint64_t their_count)
{
	struct exchange_repair *repair = exchange->repair;
	struct digest digest;
	uint32_t count;
	int rc = account_range_digest(
		kv, exchange->account, range.mailbox, range.first, range.last, &digest, &count);

	if (rc < 0)
		return rc;
	view_withheld_subtract(
		&repair->view, range.mailbox, range.first, range.last, &digest, &count);
	if (digest_equal(digest, their_digest) && count == their_count)
		return 0;
	if ((count <= REPAIR_SMALL && their_count <= REPAIR_SMALL) || range.first == range.last)
		add_range(&repair->exchange, range.mailbox, range.first, range.last);
	else
		split_range(repair, &range);
	return 0;
}

static int ranges_take(
	struct exchange *exchange, struct bytes verb, const struct dlist *map, struct bytes text)
{
	struct exchange_repair *repair = exchange->repair;
	const struct dlist *list, *at;
	struct kv_txn *kv = NULL;
	size_t end = repair->compare.next;
	int rc = check_answer(exchange, verb, "RANGE", map);

	(void)text;
	if (rc < 0 || repair->has_moved)
		return rc;
	if (dlist_get_list(map, "POINTS", &list) < 0 ||
		list->count != 2 * (end - repair->asked_from))
		return error_set(&exchange->result.error, ERR_INVALID, "bad POINTS in an answer");
	rc = read_own(exchange, &kv);
	at = list->first;
	for (size_t i = repair->asked_from; i < end && rc == 0; i++) {
		struct digest digest;
		uint64_t count;

		if (wire_digest(at, &digest) < 0 || dlist_number(at->next, UINT32_MAX, &count) < 0)
			rc = error_set(
				&exchange->result.error, ERR_INVALID, "bad POINTS in an answer");
		else
			rc = compare_range(exchange, kv, repair->compare.ranges[i], digest, count);
		at = at->next->next;
	}
	mail_read_end(&kv);
	return rc;
}

/* ---- the records themselves ---- */

static int records_send(struct exchange *exchange, struct buffer *request)
{
	struct exchange_repair *repair = exchange->repair;
	struct dlist_writer writer;

	if (repair->has_moved ||
		(!repair->asks_registers && repair->exchange.next == repair->exchange.count))
		return 0;
	writer = wire_begin(request, DLIST_REQUEST, "RECORDS");
	dlist_put_number_of(&writer, "SINCE", since_when(exchange).theirs);
	exchange_put_also(exchange, &writer);
	if (repair->asks_registers) {
		repair->asks_registers = false;
		dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(exchange->name));
		dlist_put_number_of(&writer, "REGISTERS", 1);
	} else {
		put_ranges(exchange, &repair->exchange, &writer);
	}
	dlist_end_map(&writer);
	return 1;
}

static int records_take(
	struct exchange *exchange, struct bytes verb, const struct dlist *map, struct bytes text)
{
	struct error *error = &exchange->result.error;
	int rc = check_answer(exchange, verb, "RECORDS", map);

	if (rc < 0 || exchange->repair->has_moved)
		return rc;
	text = arena_copy(exchange->their_arena, text);
	rc = wire_parse(text, exchange->their_arena, &verb, &map, error);
	return rc < 0 ? rc : wire_get_changes(map, exchange->their_arena, &exchange->theirs, error);
}

static int instances_send(struct exchange *exchange, struct buffer *request)
{
	struct exchange_repair *repair = exchange->repair;
	size_t end = repair->instance_next + REPAIR_INSTANCE_BATCH;
	struct dlist_writer writer;

	if (repair->has_moved || repair->instance_next == repair->instance_count)
		return 0;
	writer = wire_begin(request, DLIST_REQUEST, "RECORDS");
	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(exchange->name));
	dlist_put_number_of(&writer, "SINCE", since_when(exchange).theirs);
	exchange_put_also(exchange, &writer);
	dlist_put_atom(&writer, "INSTANCES");
	dlist_begin_list(&writer);
	for (; repair->instance_next < repair->instance_count && repair->instance_next < end;
		repair->instance_next++)
		wire_put_stamp(&writer, repair->instances[repair->instance_next]);
	dlist_end_list(&writer);
	dlist_end_map(&writer);
	return 1;
}

static int instances_finish(struct exchange *exchange)
{
	int rc = give_up_if_moved(exchange);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	exchange->theirs.since = since_when(exchange).theirs;
	exchange->theirs.sequence = exchange->expect;
	exchange->has_theirs = true;
	exchange->has_more = false;
	return exchange_begin_bodies(exchange);
}

static const struct exchange_phase instances_phase = { instances_send, records_take,
	instances_finish };

/* Our side of the exchanged ranges, and of what else the peer has shown in them. */
static int collect_own(struct exchange *exchange, struct kv_txn *kv)
{
	struct exchange_repair *repair = exchange->repair;
	const struct repair_list *list = &repair->exchange;
	const struct change_set *theirs = &exchange->theirs;
	uint64_t since = since_when(exchange).mine;
	int rc = 0;

	for (size_t i = 0; i < list->count && rc == 0; i++)
		rc = repair_collect_messages(kv, &repair->view, list->ranges[i].mailbox,
			list->ranges[i].first, list->ranges[i].last, since, repair->arena,
			&repair->mine);
	for (size_t i = 0; i < theirs->message_count && rc == 0; i++)
		rc = repair_collect_instance(kv, &repair->view, theirs->messages[i].record.instance,
			since, repair->arena, &repair->mine);
	if (rc == 0 && repair->registers_differ)
		rc = repair_collect_registers(
			kv, &repair->view, since, repair->arena, &repair->mine);
	change_set_normalize(&repair->mine);
	if (exchange->point.is_sorted_out)
		change_set_sort_out(&repair->mine, since);
	return rc;
}

static void list_instances(struct exchange *exchange)
{
	struct exchange_repair *repair = exchange->repair;

	for (size_t i = 0; i < repair->mine.message_count; i++) {
		struct stamp instance = repair->mine.messages[i].record.instance;

		if (change_set_message(&exchange->theirs, instance) != NULL)
			continue;
		mem_grow((void **)&repair->instances, &repair->instance_room,
			repair->instance_count + 1, sizeof(*repair->instances));
		repair->instances[repair->instance_count++] = instance;
	}
}

static int records_finish(struct exchange *exchange)
{
	struct kv_txn *kv = NULL;
	int rc = give_up_if_moved(exchange);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	change_set_normalize(&exchange->theirs);
	rc = read_own(exchange, &kv);
	if (rc == 0)
		rc = collect_own(exchange, kv);
	mail_read_end(&kv);
	if (rc < 0)
		return rc;
	list_instances(exchange);
	exchange->phase = &instances_phase;
	return 0;
}

static const struct exchange_phase records_phase = { records_send, records_take, records_finish };

static int ranges_finish(struct exchange *exchange)
{
	int rc = give_up_if_moved(exchange);

	if (rc == 0)
		exchange->phase = &records_phase;
	return rc < 0 ? rc : 0;
}

static const struct exchange_phase ranges_phase = { ranges_send, ranges_take, ranges_finish };

static int outline_finish(struct exchange *exchange)
{
	int rc = give_up_if_moved(exchange);

	if (rc == 0)
		exchange->phase = &ranges_phase;
	return rc < 0 ? rc : 0;
}

static const struct exchange_phase outline_phase = { outline_send, outline_take, outline_finish };

static int read_also(struct exchange *exchange)
{
	struct kv_txn *kv = NULL;
	struct view view = { .is_whole = true };
	int rc = mail_read_begin(exchange->mail, exchange->position, &kv);

	if (rc == 0)
		rc = exchange_view(exchange, kv, &view);
	view_close(&view);
	mail_read_end(&kv);
	return rc < 0 ? error_set(&exchange->result.error, rc, "the account cannot be read") : 0;
}

int exchange_begin_repair(struct exchange *exchange)
{
	struct exchange_repair *repair;

	if (exchange->result.repair_count > 0)
		return error_set(&exchange->result.error, ERR_CORRUPT,
			"the copies differ even after a repair; verify both stores");
	exchange_repair_free(&exchange->repair);
	exchange_forget_theirs(exchange);
	repair = mem_zalloc(sizeof(*repair));
	repair->arena = arena_new();
	repair->own_sequence = exchange->push.header.sequence;
	exchange->repair = repair;
	exchange->phase = &outline_phase;
	exchange->tells_all = true;
	return read_also(exchange);
}

/* ---- the end of it ---- */

int exchange_repair_merge(struct exchange *exchange)
{
	struct exchange_repair *repair = exchange->repair;
	int rc;

	repair->mine.since = since_when(exchange).mine;
	repair->mine.sequence = repair->own_sequence;
	rc = exchange_merge(exchange, &repair->mine, repair->own_sequence);
	if (rc == ERR_CHANGED || rc == ERR_NOT_FOUND) {
		exchange->result.error = (struct error){ 0 };
		rc = exchange_count_refusal(exchange);
		return rc < 0 ? rc : exchange_begin_changes(exchange);
	}
	if (rc < 0)
		return rc;
	exchange->result.repair_count++;
	repair->is_merged = true;
	return exchange_begin_push(exchange);
}

bool exchange_is_comparing(const struct exchange *exchange)
{
	return exchange->repair != NULL && !exchange->repair->is_merged;
}

static int list_messages(struct exchange *exchange, const struct change_set *named,
	struct kv_txn *kv, struct arena *arena, struct change_set *changes)
{
	int rc = 0;

	for (size_t i = 0; i < named->message_count && rc == 0; i++)
		rc = repair_collect_instance(kv, &exchange->push.view,
			named->messages[i].record.instance, exchange->point.mine, arena, changes);
	return rc;
}

int exchange_repair_list(struct exchange *exchange, struct kv_txn *kv, struct arena *arena,
	struct change_set *changes)
{
	const struct change_set *mine = &exchange->repair->mine;
	const struct view *view = &exchange->push.view;
	int rc = repair_collect_mailboxes(kv, view, arena, changes);

	if (rc == 0)
		rc = list_messages(exchange, mine, kv, arena, changes);
	if (rc == 0)
		rc = list_messages(exchange, &exchange->theirs, kv, arena, changes);
	if (rc == 0 && exchange->repair->registers_differ)
		rc = repair_collect_registers(kv, view, 0, arena, changes);
	change_set_normalize(changes);
	return rc;
}
