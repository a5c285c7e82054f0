/*
 * The push itself: the bodies that the peer may lack (PUT), then our changes (STAGE, and APPLY,
 * INTEGRATE or FILL), all sent at once; and what it answered.
 */
#include "sync/exchange_private.h"

#include "sync/conflict.h"

/* ---- PUT, STAGE, APPLY or INTEGRATE ---- */

/*
 * Appends one body. Without one the message should be gone too: it was expunged here since the
 * changes were read, and the peer will not need it, or say MISSING. ERR_CORRUPT if it is still
 * shown: its bytes are lost or damaged.
 */
static int put_body(struct exchange *exchange, struct kv_txn *kv, const struct push_body *body,
	struct dlist_writer *writer)
{
	struct exchange_push *push = &exchange->push;
	struct bytes key = bytes_of(body->guid.bytes, sizeof(body->guid.bytes));
	struct message_record message;
	struct buffer raw = { 0 };
	uint64_t packed_size = 0;
	int rc = exchange->puts_packed ? store_body_read_stored(mail_store(exchange->mail), kv,
						 &body->guid, &raw, &packed_size)
				       : message_body(exchange->mail, kv, &body->guid, &raw);

	if (rc == 0) {
		dlist_put_hex(writer, key);
		if (exchange->puts_packed)
			dlist_put_number(writer, packed_size);
		dlist_put_literal(writer, buffer_bytes(&raw));
		exchange->result.sent_body_count++;
		exchange->progress.body_count++;
		exchange->progress.byte_count += raw.len;
		map_put(&push->put, arena_copy(push->arena, key), push);
	} else if (rc == ERR_NOT_FOUND) {
		rc = account_get_message(
			kv, exchange->account, body->instance, push->arena, &message);
		if (rc == 0 && message_is_shown(&message))
			rc = ERR_CORRUPT;
		else if (rc == ERR_NOT_FOUND)
			rc = 0;
		push->is_outdated = true;
	}
	buffer_deinit(&raw);
	return rc;
}

static int put_send(struct exchange *exchange, struct buffer *request)
{
	struct exchange_push *push = &exchange->push;
	struct dlist_writer writer = wire_begin(request, DLIST_REQUEST, "PUT");
	struct stamp damaged[EXCHANGE_GET_BATCH];
	size_t damaged_count = 0, size = 0;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(exchange->mail, exchange->position, &kv);

	dlist_put_atom(&writer, exchange->puts_packed ? "PACKED" : "BODIES");
	dlist_begin_list(&writer);
	for (size_t count = 0; rc == 0 && count < EXCHANGE_GET_BATCH; count++) {
		const struct push_body *next = &push->bodies[push->body_next];

		if (push->body_next == push->body_count ||
			(count > 0 && (request->len > size ? request->len : size) + next->size >
					      SYNC_BATCH_SIZE))
			break;
		size += next->size;
		push->body_next++;
		rc = put_body(exchange, kv, next, &writer);
		if (rc == ERR_CORRUPT) {
			damaged[damaged_count++] = next->instance;
			rc = 0;
		}
	}
	dlist_end_list(&writer);
	dlist_end_map(&writer);
	mail_read_end(&kv);
	if (rc < 0)
		return error_set(&exchange->result.error, rc, "a message cannot be read");
	rc = exchange_withhold(exchange, damaged, damaged_count);
	return rc < 0 ? rc : 1;
}

/* The part of an array that lies in the window of `count` records from `from`, which is moved on.
 */
static size_t window(size_t *from, size_t *count, size_t length, size_t *begin_r)
{
	size_t taken;

	if (*from >= length) {
		*from -= length;
		*begin_r = 0;
		return 0;
	}
	*begin_r = *from;
	taken = length - *from < *count ? length - *from : *count;
	*from = 0;
	*count -= taken;
	return taken;
}

static void put_records(struct exchange *exchange, struct dlist_writer *writer)
{
	struct exchange_push *push = &exchange->push;
	const struct change_set *all = &push->changes;
	struct change_set part = *all;
	size_t from = push->record_next, count = EXCHANGE_STAGE_BATCH, begin;

	part.mailbox_count = window(&from, &count, all->mailbox_count, &begin);
	if (part.mailbox_count > 0)
		part.mailboxes = all->mailboxes + begin;
	part.message_count = window(&from, &count, all->message_count, &begin);
	if (part.message_count > 0)
		part.messages = all->messages + begin;
	part.register_count = window(&from, &count, all->register_count, &begin);
	if (part.register_count > 0)
		part.registers = all->registers + begin;
	wire_put_changes(writer, &part);
	push->record_next += EXCHANGE_STAGE_BATCH - count;
	exchange->result.offered_count += (unsigned)(EXCHANGE_STAGE_BATCH - count);
}

/* Up to where we know the peer's changes. A merge needs all since the common point, even if known.
 */
static uint64_t known_sequence(const struct exchange *exchange)
{
	if (exchange_knows_theirs(exchange) && !exchange->push.is_integrate)
		return exchange->theirs.sequence;
	return exchange->point.theirs;
}

static const char *verb_of(const struct exchange_push *push)
{
	if (push->is_fill)
		return "FILL";
	return push->is_integrate ? "INTEGRATE" : "APPLY";
}

static void put_fill_keys(const struct exchange *exchange, struct dlist_writer *writer)
{
	const struct exchange_push *push = &exchange->push;

	exchange_put_also(exchange, writer);
	dlist_put_number_of(writer, "SINCE", exchange->fill.reached);
	dlist_put_number_of(writer, "SEQUENCE", push->changes.sequence);
	dlist_put_number_of(writer, "HIGHEST", push->header.highest);
	if (push->is_last)
		wire_put_digest_of(writer, "RESULT", push->digest);
}

/* What merges here have decided, the peer's journal is to tell too. */
static int put_conflicts(const struct exchange *exchange, struct dlist_writer *writer)
{
	struct kv_txn *kv = NULL;
	int rc;

	if (exchange->conflicts_since == 0 || exchange->is_restricted)
		return 0;
	rc = mail_read_begin(exchange->mail, exchange->position, &kv);
	if (rc == 0)
		rc = conflict_tell(
			kv, exchange->account, exchange->peer, exchange->conflicts_since, writer);
	mail_read_end(&kv);
	return rc;
}

struct journal_note {
	const struct exchange *exchange;
	const struct dlist *map;
	struct error error;
};

static int note_conflicts_run(struct account_write *write, void *context)
{
	struct journal_note *note = context;

	return conflict_take(write, note->exchange->peer, note->map, &note->error);
}

/* What the peer's merge has decided. */
static int note_conflicts(struct exchange *exchange, const struct dlist *map)
{
	struct journal_note note = { .exchange = exchange, .map = map };
	int rc;

	if (dlist_get(map, "CONFLICTS") == NULL)
		return 0;
	rc = mail_node_commit(exchange->mail, exchange->account, note_conflicts_run, &note,
		&exchange->result.error, &exchange->position);
	if (rc < 0 && note.error.code != 0)
		exchange->result.error = note.error;
	return rc;
}

static void put_keys(const struct exchange *exchange, struct dlist_writer *writer)
{
	const struct exchange_push *push = &exchange->push;

	if (!push->is_integrate)
		dlist_put_number_of(writer, "EXPECT", exchange->expect);
	dlist_put_number_of(writer, "SINCE", known_sequence(exchange));
	exchange_put_also(exchange, writer);
	if (!push->is_integrate)
		dlist_put_number_of(writer, "COMMON", exchange->point.theirs);
	dlist_put_number_of(writer, "SEQUENCE", push->header.sequence);
	dlist_put_number_of(writer, "HIGHEST", push->header.highest);
	if (!push->is_integrate && !push->is_part)
		wire_put_digest_of(writer, "RESULT", push->digest);
	if (exchange->behind != 0)
		dlist_put_number_of(writer, "BEHIND", exchange->behind);
}

static size_t records_left(const struct exchange_push *push)
{
	const struct change_set *changes = &push->changes;

	return changes->mailbox_count + changes->message_count + changes->register_count -
	       push->record_next;
}

static int push_send(struct exchange *exchange, struct buffer *request)
{
	struct exchange_push *push = &exchange->push;
	struct dlist_writer writer;

	if (push->body_next < push->body_count)
		return put_send(exchange, request);
	if (push->is_sent)
		return 0;
	if (records_left(push) > EXCHANGE_STAGE_BATCH) {
		writer = wire_begin(request, DLIST_REQUEST, "STAGE");
		dlist_put_number_of(&writer, "PART", ++push->part_count);
		put_records(exchange, &writer);
		dlist_end_map(&writer);
		return 1;
	}
	writer = wire_begin(request, DLIST_REQUEST, verb_of(push));
	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(exchange->name));
	if (push->is_fill)
		put_fill_keys(exchange, &writer);
	else
		put_keys(exchange, &writer);
	if (!push->is_fill && !push->is_part && put_conflicts(exchange, &writer) < 0)
		return error_set(&exchange->result.error, ERR_IO, "the journal cannot be read");
	if (push->part_count > 0)
		dlist_put_number_of(&writer, "PARTS", push->part_count);
	put_records(exchange, &writer);
	dlist_end_map(&writer);
	push->is_sent = true;
	return 1;
}

static int take_missing(struct exchange *exchange, const struct dlist *map)
{
	struct exchange_push *push = &exchange->push;
	struct error *error = &exchange->result.error;
	const struct dlist *list;

	if (dlist_get_list(map, "INSTANCES", &list) < 0 || list->count == 0)
		return error_set(error, ERR_INVALID, "bad INSTANCES in an answer");
	push->body_count = push->body_next = 0;
	push->is_missing_again = true;
	push->is_asked_for = true;
	for (const struct dlist *at = list->first; at != NULL; at = at->next) {
		const struct message_change *change;
		struct stamp instance;

		if (wire_stamp(at, &instance) < 0)
			return error_set(error, ERR_INVALID, "bad INSTANCES in an answer");
		change = change_set_message(&push->changes, instance);
		if (change == NULL)
			return error_set(error, ERR_INVALID, "the peer misses what was not sent");
		exchange_push_add_body(push, &change->record);
		if (map_get(&push->put, bytes_of(change->record.guid.bytes,
						sizeof(change->record.guid.bytes))) == NULL)
			push->is_missing_again = false;
	}
	exchange_push_unique_bodies(push);
	return 0;
}

static int take_illegal(struct exchange *exchange, const struct dlist *map)
{
	struct bytes text;

	if (dlist_get_text(map, "ILLEGAL", &text) < 0)
		return 0;
	if (++exchange->illegal_count <= EXCHANGE_REFUSED_MAX)
		return 0;
	return error_set(
		&exchange->result.error, ERR_ILLEGAL, "the peer says: %.*s", BYTES_ARGS(text));
}

static int take_differs(struct exchange *exchange, const struct dlist *map)
{
	struct error *error = &exchange->result.error;

	if (wire_get_digest(map, "DIGEST", &exchange->their_digest) < 0)
		return error_set(error, ERR_INVALID, "bad DIGEST in an answer");
	/* The part was taken all the same. */
	if (exchange->push.is_fill &&
		dlist_get_number(map, "SEQUENCE", UINT64_MAX, &exchange->expect) < 0)
		return error_set(error, ERR_INVALID, "bad SEQUENCE in an answer");
	return 0;
}

static int take_filled(struct exchange_push *push, const struct dlist *map, struct error *error)
{
	uint64_t is_whole = 0;

	if (dlist_get_number(map, "REACHED", UINT64_MAX, &push->reached) < 0)
		return error_set(error, ERR_INVALID, "bad REACHED in an answer");
	(void)dlist_get_number(map, "WHOLE", 1, &is_whole);
	push->is_whole = is_whole != 0;
	return 0;
}

static int push_take(
	struct exchange *exchange, struct bytes verb, const struct dlist *map, struct bytes text)
{
	struct exchange_push *push = &exchange->push;
	struct error *error = &exchange->result.error;

	if (bytes_equal_string(verb, "PUT") || bytes_equal_string(verb, "STAGED"))
		return 0;
	push->has_changed = bytes_equal_string(verb, "CHANGED");
	push->has_applied = bytes_equal_string(verb, "APPLIED");
	push->has_differed = bytes_equal_string(verb, "DIFFERS");
	push->has_integrated = bytes_equal_string(verb, "INTEGRATED");
	push->has_filled = push->is_fill && bytes_equal_string(verb, "FILLED");
	if (bytes_equal_string(verb, "MISSING"))
		return take_missing(exchange, map);
	if (push->has_changed) {
		int rc = take_illegal(exchange, map);

		if (!exchange_knows_theirs(exchange))
			exchange_forget_theirs(exchange);
		return rc < 0 ? rc : exchange_take_changes(exchange, map, text);
	}
	if (push->has_differed)
		return take_differs(exchange, map);
	if ((!push->has_applied && !push->has_integrated && !push->has_filled) ||
		dlist_get_number(map, "SEQUENCE", UINT64_MAX, &push->sequence) < 0)
		return wire_unanswered(verb_of(push), error);
	if (push->has_integrated) {
		exchange->conflicts_since = 0; /* the peer has heard of them */
		return note_conflicts(exchange, map);
	}
	return push->has_filled ? take_filled(push, map, error) : 0;
}

struct view_saving {
	const struct exchange *exchange;
	struct common_point point;
};

static int save_view_run(struct account_write *write, void *context)
{
	const struct view_saving *saving = context;
	const struct exchange *exchange = saving->exchange;

	return view_save(write->store, exchange->peer, exchange->filter, &exchange->push.view,
		saving->point);
}

/* At once: that mailboxes were common must not be known later than that others were. */
static int save_view(struct exchange *exchange)
{
	struct view_saving saving = { exchange, exchange->result.point };

	return mail_node_commit(exchange->mail, exchange->account, save_view_run, &saving,
		&exchange->result.error, NULL);
}

static void count_sent(struct exchange *exchange)
{
	const struct change_set *changes = &exchange->push.changes;

	exchange->result.sent_count += (unsigned)(changes->mailbox_count + changes->message_count +
						  changes->register_count);
}

static int finish_applied(struct exchange *exchange)
{
	struct exchange_push *push = &exchange->push;
	int rc = exchange_end_hold(exchange);

	if (rc < 0)
		return rc;
	count_sent(exchange);
	exchange->result.point = (struct common_point){ push->header.sequence, push->sequence };
	exchange->is_done = true;
	return view_is_news(&push->view) ? save_view(exchange) : 0;
}

/*
 * The peer misses bodies: it was guessed, or promised in an answer to LACKS, that it has them, or
 * it can hold those that were put no longer, as another of its accounts has given them up. There
 * are as many rounds as it takes to name and put all of them. Only a round that brings nothing new
 * counts as a refusal: where a message was expunged here since the changes were read, they are read
 * anew.
 */
static int finish_missing(struct exchange *exchange)
{
	struct exchange_push *push = &exchange->push;
	int rc;

	if (!push->is_outdated && !push->is_missing_again)
		return exchange_push_prepared(exchange);
	rc = push->has_withheld ? 0 : exchange_count_refusal(exchange);
	if (rc < 0)
		return rc;
	if (push->is_outdated && push->is_fill)
		return exchange_fill_send(exchange);
	if (!push->is_outdated)
		return exchange_push_prepared(exchange);
	return push->is_integrate ? exchange_begin_integrate(exchange)
				  : exchange_begin_push(exchange);
}

static int push_finish(struct exchange *exchange)
{
	struct exchange_push *push = &exchange->push;
	int rc;

	if (push->has_applied && push->is_part) {
		count_sent(exchange);
		return exchange_parts_next(exchange);
	}
	if (push->has_applied || (push->has_filled && push->is_whole))
		return finish_applied(exchange);
	if (push->has_filled) {
		count_sent(exchange);
		return exchange_fill_sent(exchange);
	}
	if (push->has_differed && exchange_is_foreign(exchange))
		return error_set(
			&exchange->result.error, ERR_CHANGED, "the peer made something else of it");
	if (push->has_differed) {
		if (push->is_fill)
			exchange->fill.reached = push->changes.sequence;
		return exchange_begin_repair(exchange);
	}
	if (push->has_integrated) {
		exchange->result.integrate_count++;
		exchange->integrated_at = push->header.sequence;
		exchange->refused_in_row = exchange->illegal_count = 0;
		return exchange_begin_changes(exchange);
	}
	if (push->has_changed) {
		rc = exchange_count_refusal(exchange);
		return rc < 0 ? rc : exchange_begin_bodies(exchange);
	}
	return finish_missing(exchange);
}

static const struct exchange_phase push_phase = { push_send, push_take, push_finish };

bool exchange_push_would_stage(const struct exchange *exchange)
{
	const struct exchange_push *push = &exchange->push;

	return exchange->phase == &push_phase && push->body_next >= push->body_count &&
	       !push->is_sent && push->part_count == 0 && records_left(push) > EXCHANGE_STAGE_BATCH;
}

bool exchange_is_staging(const struct exchange *exchange)
{
	return exchange->phase == &push_phase && exchange->result.error.code == 0 &&
	       !exchange->push.is_sent && exchange->push.part_count > 0;
}

int exchange_push_prepared(struct exchange *exchange)
{
	struct exchange_push *push = &exchange->push;

	exchange->progress.body_total = exchange->progress.body_count + push->body_count;
	exchange->progress.byte_total = exchange->progress.byte_count;
	for (size_t i = 0; i < push->body_count; i++)
		exchange->progress.byte_total += push->bodies[i].size;
	push->record_next = 0;
	push->part_count = 0;
	push->is_sent = false;
	push->has_changed = push->has_applied = push->has_differed = push->has_integrated = false;
	push->has_filled = false;
	exchange->phase = &push_phase;
	return 0;
}
