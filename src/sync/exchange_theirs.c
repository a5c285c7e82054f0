/*
 * What the peer has: its changes (CHANGES), and the bodies of its messages that are not here (GET).
 * When all is here, both sides are merged, and what comes of it is pushed.
 */
#include "sync/exchange_private.h"

#include "base/mem.h"

#include <stdlib.h>

/* ---- their changes ---- */

bool exchange_knows_theirs(const struct exchange *exchange)
{
	return exchange->has_theirs && exchange->result.repair_count == 0;
}

void exchange_forget_theirs(struct exchange *exchange)
{
	change_set_deinit(&exchange->theirs);
	arena_reset(exchange->their_arena);
	exchange->has_theirs = false;
	exchange->has_more = true;
	exchange->theirs.sequence =
		exchange->fill.is_pull ? exchange->fill.reached : exchange->point.theirs;
}

static bool was_told(const struct exchange *exchange, struct id128 id)
{
	for (size_t i = exchange->told_count; i > 0; i--)
		if (id128_equal(exchange->told[i - 1], id))
			return true;
	return false;
}

/* The next request tells the peer of it. */
static void add_also(struct exchange *exchange, struct id128 id)
{
	struct view_also *also = &exchange->also;

	for (size_t i = 0; i < also->count; i++)
		if (id128_equal(also->ids[i], id))
			return;
	if (also->count == VIEW_ALSO_COUNT_MAX)
		return;
	mem_grow((void **)&also->ids, &also->room, also->count + 1, sizeof(*also->ids));
	also->ids[also->count++] = id;
}

void exchange_note_told(struct exchange *exchange, const struct change_set *theirs)
{
	struct id128 last = { { 0 } };

	if (view_filter_is_whole(exchange->filter))
		return;
	for (size_t i = 0; i < theirs->mailbox_count; i++) {
		mem_grow((void **)&exchange->told, &exchange->told_room, exchange->told_count + 1,
			sizeof(*exchange->told));
		exchange->told[exchange->told_count++] = theirs->mailboxes[i].id;
	}
	/* A mailbox may leave the view between the part that has its mail and its own. */
	for (size_t i = 0; i < theirs->message_count; i++) {
		const struct message_record *message = &theirs->messages[i].record;

		if (!message_is_shown(message) || id128_equal(message->mailbox, last))
			continue;
		last = message->mailbox;
		if (!was_told(exchange, last))
			add_also(exchange, last);
	}
}

int exchange_take_changes(struct exchange *exchange, const struct dlist *map, struct bytes text)
{
	struct error *error = &exchange->result.error;
	struct change_set *theirs = &exchange->theirs;
	uint64_t sequence, highest, more = 0, reset = 0, behind;
	struct bytes verb;
	int rc;

	text = arena_copy(exchange->their_arena, text);
	rc = wire_parse(text, exchange->their_arena, &verb, &map, error);
	if (rc < 0)
		return rc;
	if (dlist_get_number(map, "SEQUENCE", UINT64_MAX, &sequence) < 0 ||
		dlist_get_number(map, "HIGHEST", MODSEQ_MAX, &highest) < 0 ||
		wire_get_digest(map, "DIGEST", &exchange->their_digest) < 0)
		return error_set(
			error, ERR_INVALID, "bad SEQUENCE, HIGHEST or DIGEST in an answer");
	(void)dlist_get_number(map, "MORE", 1, &more);
	(void)dlist_get_number(map, "RESET", 1, &reset);
	if (dlist_get_number(map, "BEHIND", UINT64_MAX, &behind) == 0) {
		rc = exchange_return(exchange, behind);
		if (rc < 0)
			return rc;
	}
	if (reset != 0) {
		/* The peer was never where we thought: what was common is not known. */
		exchange->point = (struct common_point){ 0 };
		change_set_deinit(theirs);
	}
	rc = wire_get_changes(map, exchange->their_arena, theirs, error);
	if (rc == 0)
		rc = exchange_fill_look(exchange, map);
	if (rc < 0)
		return rc;
	exchange_note_told(exchange, theirs);
	theirs->since = exchange->point.theirs;
	theirs->sequence = sequence;
	theirs->highest = highest;
	exchange->has_more = more != 0;
	exchange->has_theirs = true;
	exchange->expect = sequence;
	return 0;
}

static int changes_send(struct exchange *exchange, struct buffer *request)
{
	struct dlist_writer writer;

	if (exchange->is_asked || !exchange->has_more ||
		(exchange->has_theirs && exchange_fill_is_part(exchange)))
		return 0;
	exchange->is_asked = true;
	writer = wire_begin(request, DLIST_REQUEST, "CHANGES");
	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(exchange->name));
	dlist_put_number_of(&writer, "SINCE", exchange->theirs.sequence);
	dlist_put_number_of(&writer, "COMMON", exchange->point.theirs);
	exchange_put_also(exchange, &writer);
	exchange_fill_ask(exchange, &writer);
	dlist_end_map(&writer);
	return 1;
}

static int changes_take(
	struct exchange *exchange, struct bytes verb, const struct dlist *map, struct bytes text)
{
	exchange->is_asked = false;
	if (!bytes_equal_string(verb, "CHANGES"))
		return wire_unanswered("CHANGES", &exchange->result.error);
	return exchange_take_changes(exchange, map, text);
}

static const struct exchange_phase changes_phase = { changes_send, changes_take,
	exchange_begin_bodies };

int exchange_begin_changes(struct exchange *exchange)
{
	if (exchange_is_comparing(exchange)) {
		exchange_forget_theirs(exchange);
		exchange_repair_free(&exchange->repair);
	} else if (!exchange_knows_theirs(exchange)) {
		exchange_forget_theirs(exchange);
	}
	exchange->has_more = true;
	exchange->is_asked = false;
	exchange->phase = &changes_phase;
	return 0;
}

/* ---- the bodies of their messages ---- */

static int list_wanted(struct exchange *exchange)
{
	const struct change_set *theirs = &exchange->theirs;
	uint64_t byte_total = exchange->progress.byte_count;
	size_t room = 0, sizes_room = 0;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(exchange->mail, exchange->position, &kv);

	free(exchange->wanted);
	free(exchange->wanted_sizes);
	exchange->wanted = NULL;
	exchange->wanted_sizes = NULL;
	exchange->wanted_count = exchange->wanted_next = 0;
	for (size_t i = 0; i < theirs->message_count && rc == 0; i++) {
		const struct message_record *message = &theirs->messages[i].record;

		if (!message_is_shown(message) ||
			body_set_has(&exchange->bodies, kv, &message->guid))
			continue;
		rc = store_body_exists(kv, &message->guid, NULL);
		if (rc != ERR_NOT_FOUND)
			continue;
		rc = 0;
		mem_grow((void **)&exchange->wanted, &room, exchange->wanted_count + 1,
			sizeof(*exchange->wanted));
		mem_grow((void **)&exchange->wanted_sizes, &sizes_room, exchange->wanted_count + 1,
			sizeof(*exchange->wanted_sizes));
		exchange->wanted_sizes[exchange->wanted_count] = message->size;
		exchange->wanted[exchange->wanted_count++] = message->instance;
		byte_total += message->size;
	}
	mail_read_end(&kv);
	exchange->progress.body_total = exchange->progress.body_count + exchange->wanted_count;
	exchange->progress.byte_total = byte_total;
	return rc;
}

static int get_send(struct exchange *exchange, struct buffer *request)
{
	struct dlist_writer writer;
	uint64_t size = 0;

	if (exchange->wanted_next == exchange->wanted_count ||
		exchange->awaiting >= EXCHANGE_GET_WINDOW)
		return 0;
	writer = wire_begin(request, DLIST_REQUEST, "GET");
	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(exchange->name));
	dlist_put_number_of(&writer, "COMMON", exchange->point.theirs);
	dlist_put_atom(&writer, "INSTANCES");
	dlist_begin_list(&writer);
	for (size_t count = 0; count < EXCHANGE_GET_BATCH; count++) {
		size_t next = exchange->wanted_next;

		if (next == exchange->wanted_count ||
			(count > 0 && size + exchange->wanted_sizes[next] > SYNC_BATCH_SIZE))
			break;
		size += exchange->wanted_sizes[next];
		wire_put_stamp(&writer, exchange->wanted[next]);
		exchange->wanted_next++;
	}
	dlist_end_list(&writer);
	dlist_end_map(&writer);
	return 1;
}

static int get_take(
	struct exchange *exchange, struct bytes verb, const struct dlist *map, struct bytes text)
{
	struct error *error = &exchange->result.error;
	struct body_item *items;
	const struct dlist *list;
	size_t count = 0;
	int rc;

	(void)text;
	if (!bytes_equal_string(verb, "BODIES") || dlist_get_list(map, "BODIES", &list) < 0)
		return wire_unanswered("GET", error);
	items = arena_alloc(exchange->scratch, (list->count + 1) * sizeof(*items));
	for (const struct dlist *at = list->first; at != NULL; at = at->next->next) {
		items[count].packed = bytes_of(NULL, 0);
		if (at->next == NULL || wire_guid(at, &items[count].guid) < 0 ||
			dlist_text(at->next, &items[count].raw) < 0)
			return error_set(error, ERR_INVALID, "bad body in an answer");
		exchange->progress.byte_count += items[count].raw.len;
		count++;
	}
	rc = body_set_add(&exchange->bodies, exchange->mail, items, count, error);
	if (rc < 0)
		return rc;
	exchange->has_got = exchange->has_got || count > 0;
	exchange->progress.body_count += count;
	exchange->result.received_body_count += (unsigned)count;
	return exchange_take_withheld(exchange, map);
}

static bool has_nothing(const struct change_set *set)
{
	return set->mailbox_count == 0 && set->message_count == 0 && set->register_count == 0;
}

/*
 * If both sides begin exchanges of one busy account and both merge, each merge makes the other's
 * push come too late. So the one with the smaller node id leaves the merging to the other sooner.
 * Where a push is refused and the peer has nothing to tell, what is in the way lies outside of the
 * view (a name or a UIDVALIDITY that is taken): only the peer can merge it.
 */
static bool is_time_to_integrate(const struct exchange *exchange)
{
	unsigned most = mail_node(exchange->mail) < exchange->peer ? EXCHANGE_REFUSED_MAX / 2
								   : EXCHANGE_REFUSED_MAX;

	if (exchange->is_restricted)
		return false;
	return exchange->refused_in_row >= most ||
	       (exchange->illegal_count > 0 && has_nothing(&exchange->theirs));
}

static int merge_and_push(struct exchange *exchange)
{
	int rc;

	if (exchange_is_comparing(exchange))
		return exchange_repair_merge(exchange);
	if (exchange_fill_is_part(exchange))
		return exchange_fill_take(exchange);
	if (exchange->is_pull && has_nothing(&exchange->theirs) && !exchange_is_foreign(exchange))
		return exchange_finish_pull(exchange);
	rc = exchange_forget_unlisted(exchange);
	if (rc < 0)
		return rc;
	rc = exchange_merge(exchange, NULL, 0);
	if (rc == ERR_NOT_FOUND) {
		/* A body that was here has gone meanwhile: look again. */
		rc = exchange_count_refusal(exchange);
		return rc < 0 ? rc : exchange_begin_changes(exchange);
	}
	if (rc < 0)
		return rc;
	return is_time_to_integrate(exchange) ? exchange_begin_integrate(exchange)
					      : exchange_begin_push(exchange);
}

static int get_finish(struct exchange *exchange)
{
	bool has_got = exchange->has_got;
	int rc = list_wanted(exchange);

	exchange->has_got = false;
	if (rc == 0 && exchange->is_withheld_there) {
		/* Its changes are others now; bodies that came stay. */
		exchange->is_withheld_there = false;
		if (!has_got)
			rc = exchange_count_refusal(exchange);
		exchange_forget_theirs(exchange);
		return rc < 0 ? rc : exchange_begin_changes(exchange);
	}
	if (rc < 0 || (exchange->wanted_count > 0 && has_got))
		return rc;
	if (exchange->wanted_count == 0)
		return merge_and_push(exchange);
	/* What we asked for has been expunged there since it was told of. */
	rc = exchange_count_refusal(exchange);
	if (rc == 0 && exchange_fill_is_part(exchange))
		exchange_forget_theirs(exchange);
	return rc < 0 ? rc : exchange_begin_changes(exchange);
}

static const struct exchange_phase get_phase = { get_send, get_take, get_finish };

int exchange_begin_bodies(struct exchange *exchange)
{
	const struct change_set *theirs = &exchange->theirs;
	int rc;

	if (exchange->has_more && !exchange_fill_is_part(exchange)) {
		exchange->is_asked = false;
		exchange->phase = &changes_phase;
		return 0;
	}
	change_set_normalize(&exchange->theirs);
	exchange->result.received_count +=
		(unsigned)(theirs->mailbox_count + theirs->message_count + theirs->register_count);
	exchange->has_got = false;
	exchange->phase = &get_phase;
	rc = list_wanted(exchange);
	return rc < 0 || exchange->wanted_count > 0 ? rc : merge_and_push(exchange);
}
