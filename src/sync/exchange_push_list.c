/*
 * What a push consists of: our changes that the peer does not know, and the bodies that it may
 * lack. Few and small bodies go without asking; else LACKS finds out first which are needed.
 */
#include "sync/exchange_private.h"

#include "base/mem.h"

#include <stdlib.h>

void exchange_push_reset(struct exchange_push *push)
{
	change_set_deinit(&push->changes);
	change_set_deinit(&push->whole);
	free(push->bodies);
	view_close(&push->view);
	map_deinit(&push->put);
	arena_free(&push->arena);
	*push = (struct exchange_push){ 0 };
}

void exchange_push_add_body(struct exchange_push *push, const struct message_record *message)
{
	mem_grow((void **)&push->bodies, &push->body_room, push->body_count + 1,
		sizeof(*push->bodies));
	push->bodies[push->body_count++] =
		(struct push_body){ message->guid, message->size, message->instance };
}

void exchange_push_unique_bodies(struct exchange_push *push)
{
	struct map seen = { 0 };
	size_t kept = 0;

	for (size_t i = 0; i < push->body_count; i++) {
		struct push_body *body = arena_alloc(push->arena, sizeof(*body));
		struct bytes key = bytes_of(body->guid.bytes, sizeof(body->guid.bytes));

		*body = push->bodies[i];
		if (map_get(&seen, key) != NULL)
			continue;
		map_put(&seen, key, body);
		push->bodies[kept++] = *body;
	}
	push->body_count = kept;
	map_deinit(&seen);
}

/* ---- which ---- */

static bool has_same_message(const struct change_set *theirs, const struct message_record *mine)
{
	const struct message_change *change = change_set_message(theirs, mine->instance);

	return change != NULL && message_same(&change->record, mine) &&
	       change->record.modseq == mine->modseq;
}

static bool has_same_mailbox(const struct change_set *theirs, const struct mailbox_record *mine)
{
	const struct mailbox_record *mailbox = change_set_mailbox(theirs, mine->id);

	return mailbox != NULL && mailbox_same(mailbox, mine) && mailbox->modseq == mine->modseq &&
	       mailbox->uidnext == mine->uidnext;
}

static bool has_same_register(const struct change_set *theirs, const struct register_record *mine)
{
	const struct register_record *record = change_set_register(theirs, mine);

	return record != NULL && register_same(record, mine) && record->modseq == mine->modseq;
}

/* Leaves out what the peer has just shown to have. */
static void leave_out_known(struct change_set *changes, const struct change_set *theirs)
{
	size_t kept = 0;

	for (size_t i = 0; i < changes->mailbox_count; i++)
		if (!has_same_mailbox(theirs, &changes->mailboxes[i]))
			changes->mailboxes[kept++] = changes->mailboxes[i];
	changes->mailbox_count = kept;
	kept = 0;
	for (size_t i = 0; i < changes->message_count; i++)
		if (!has_same_message(theirs, &changes->messages[i].record))
			changes->messages[kept++] = changes->messages[i];
	changes->message_count = kept;
	kept = 0;
	for (size_t i = 0; i < changes->register_count; i++)
		if (!has_same_register(theirs, &changes->registers[i]))
			changes->registers[kept++] = changes->registers[i];
	changes->register_count = kept;
}

/* Whether the peer is likely to see the message for the first time; if not, MISSING will tell. */
static bool is_new_there(const struct exchange *exchange, const struct message_record *message)
{
	bool is_fresh = view_is_fresh(&exchange->push.view, message->mailbox);

	if (!message_is_shown(message) ||
		(exchange->has_theirs &&
			change_set_message(&exchange->theirs, message->instance) != NULL))
		return false;
	return exchange->point.mine == 0 || is_fresh ||
	       (message->placed_sequence > exchange->point.mine &&
		       stamp_compare(message->placed, message->instance) == 0);
}

/* Since when the peer does not have what we wrote. */
static uint64_t push_since(const struct exchange *exchange)
{
	return exchange->fill.is_on ? exchange->fill.reached : exchange->point.mine;
}

int exchange_push_open(struct exchange *exchange, struct kv_txn **kv_r)
{
	struct exchange_push *push = &exchange->push;
	int rc;

	exchange_push_reset(push);
	push->arena = arena_new();
	rc = mail_read_begin(exchange->mail, exchange->position, kv_r);
	if (rc == 0)
		rc = account_load(*kv_r, exchange->account, &push->header);
	if (rc == 0)
		rc = exchange_view(exchange, *kv_r, &push->view);
	return rc < 0 ? rc : view_digest(*kv_r, &push->header, &push->view, &push->digest);
}

static int read_push(struct exchange *exchange)
{
	struct exchange_push *push = &exchange->push;
	struct kv_txn *kv = NULL;
	int rc = exchange_push_open(exchange, &kv);

	if (rc == 0)
		rc = view_changes(kv, &push->header, &push->view, push_since(exchange),
			exchange->point.mine, SIZE_MAX, push->arena, &push->changes);
	if (rc == 0 && exchange->repair != NULL)
		rc = exchange_repair_list(exchange, kv, push->arena, &push->changes);
	if (rc == 0 && exchange->point.is_sorted_out)
		change_set_sort_out(&push->changes, exchange->point.mine);
	if (rc == 0 && exchange->is_lossy)
		change_set_all_new(&push->changes);
	mail_read_end(&kv);
	return rc;
}

static void list_bodies(struct exchange *exchange)
{
	struct exchange_push *push = &exchange->push;

	for (size_t i = 0; i < push->changes.message_count; i++)
		if (is_new_there(exchange, &push->changes.messages[i].record))
			exchange_push_add_body(push, &push->changes.messages[i].record);
	exchange_push_unique_bodies(push);
}

static bool should_guess(const struct exchange_push *push, bool asks_first)
{
	uint64_t size = 0;

	/* Parts before this one, or before an interruption, have brought many of its bodies. */
	if (push->is_fill || asks_first)
		return push->body_count == 0;
	for (size_t i = 0; i < push->body_count; i++)
		size += push->bodies[i].size;
	return push->body_count <= EXCHANGE_GUESS_COUNT_MAX && size <= EXCHANGE_GUESS_SIZE_MAX;
}

/* ---- LACKS ---- */

static int lacks_send(struct exchange *exchange, struct buffer *request)
{
	struct exchange_push *push = &exchange->push;
	struct dlist_writer writer;
	size_t end = push->asked_count + EXCHANGE_GUID_BATCH;

	if (push->asked_count == push->body_count)
		return 0;
	writer = wire_begin(request, DLIST_REQUEST, "LACKS");
	dlist_put_text_of(&writer, "ACCOUNT", bytes_of_string(exchange->name));
	dlist_put_atom(&writer, "GUIDS");
	dlist_begin_list(&writer);
	for (; push->asked_count < push->body_count && push->asked_count < end;
		push->asked_count++) {
		const struct guid *guid = &push->bodies[push->asked_count].guid;

		dlist_put_hex(&writer, bytes_of(guid->bytes, sizeof(guid->bytes)));
	}
	dlist_end_list(&writer);
	dlist_end_map(&writer);
	return 1;
}

/* Bodies that the peer lacks move to the front of the list, before body_next. */
static int lacks_take(
	struct exchange *exchange, struct bytes verb, const struct dlist *map, struct bytes text)
{
	struct exchange_push *push = &exchange->push;
	struct error *error = &exchange->result.error;
	const struct dlist *list;
	struct map lacking = { 0 };
	uint64_t sequence;

	(void)text;
	if (!bytes_equal_string(verb, "LACKS") || dlist_get_list(map, "GUIDS", &list) < 0 ||
		dlist_get_number(map, "SEQUENCE", UINT64_MAX, &sequence) < 0)
		return wire_unanswered("LACKS", error);
	for (const struct dlist *at = list->first; at != NULL; at = at->next) {
		struct guid *guid = arena_alloc(exchange->scratch, sizeof(*guid));

		if (wire_guid(at, guid) < 0) {
			map_deinit(&lacking);
			return error_set(error, ERR_INVALID, "bad GUID in an answer");
		}
		map_put(&lacking, bytes_of(guid->bytes, sizeof(guid->bytes)), guid);
	}
	for (size_t i = push->body_next; i < push->body_count; i++) {
		struct push_body body = push->bodies[i];

		if (map_get(&lacking, bytes_of(body.guid.bytes, sizeof(body.guid.bytes))) == NULL)
			continue;
		push->bodies[i] = push->bodies[push->body_next];
		push->bodies[push->body_next++] = body;
	}
	map_deinit(&lacking);
	if (sequence != exchange->expect)
		push->has_changed = true;
	return 0;
}

static int lacks_finish(struct exchange *exchange)
{
	struct exchange_push *push = &exchange->push;
	int rc;

	push->body_count = push->body_next;
	push->body_next = 0;
	push->is_asked_for = true;
	if (!push->has_changed || push->is_integrate || push->is_fill)
		return exchange_push_prepared(exchange);
	rc = exchange_count_refusal(exchange);
	return rc < 0 ? rc : exchange_begin_changes(exchange);
}

static const struct exchange_phase lacks_phase = { lacks_send, lacks_take, lacks_finish };

/* ---- the beginning ---- */

int exchange_push_begin(struct exchange *exchange)
{
	struct exchange_push *push = &exchange->push;

	list_bodies(exchange);
	if (exchange->has_theirs && !push->is_integrate)
		leave_out_known(&push->changes, &exchange->theirs);
	if (!push->is_integrate && !push->is_fill)
		exchange_parts_begin(exchange);
	if (should_guess(push, exchange->asks_first))
		return exchange_push_prepared(exchange);
	exchange->phase = &lacks_phase;
	return 0;
}

static int begin_push(struct exchange *exchange, bool is_integrate)
{
	struct exchange_push *push = &exchange->push;
	int rc = read_push(exchange);

	push->is_integrate = is_integrate;
	if (rc < 0)
		return error_set(&exchange->result.error, rc, "the account cannot be read");
	if (exchange_is_foreign(exchange)) {
		push->changes.mailbox_count = 0; /* these are the owner's */
		if (exchange_has_unsent(exchange))
			return exchange->has_theirs ? exchange_finish_pull(exchange)
						    : exchange_begin_changes(exchange);
	}
	return exchange_push_begin(exchange);
}

int exchange_begin_push(struct exchange *exchange)
{
	if (exchange->is_pull)
		return exchange_finish_pull(exchange);
	return begin_push(exchange, false);
}

int exchange_begin_integrate(struct exchange *exchange)
{
	if (exchange->is_pull)
		return exchange_finish_pull(exchange);
	return begin_push(exchange, true);
}
