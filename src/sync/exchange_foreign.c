/*
 * Our copy of what we see of another's account (foreign.h). It follows the owner's: messages come
 * from there only. So where no common point is known, or the copies differ though one is, all of it
 * is listed once more, and what is not listed is not there any more, or not for us: it is forgotten
 * (mail/forget.h), for no tombstone tells of it.
 */
#include "sync/exchange_private.h"

#include "base/mem.h"
#include "mail/forget.h"

#include <stdlib.h>

/* What was appended here, and the owner's node may not have yet. */
static bool is_unsent(const struct exchange *exchange, uint64_t writer, uint64_t point,
	const struct message_record *message)
{
	return writer != 0 && message->instance.node == writer && message_is_shown(message) &&
	       message->placed_sequence > point &&
	       change_set_message(&exchange->theirs, message->instance) == NULL;
}

bool exchange_has_unsent(const struct exchange *exchange)
{
	const struct exchange_push *push = &exchange->push;

	for (size_t i = 0; i < push->changes.message_count; i++)
		if (is_unsent(exchange, push->header.writer, exchange->point.mine,
			    &push->changes.messages[i].record))
			return true;
	return false;
}

struct unlisted {
	const struct exchange *exchange;
	uint64_t writer;
	struct common_point point; /* the last one, though all is listed */
	struct stamp *list;
	size_t count, room;
};

static int note_unlisted(void *context, const struct message_record *message)
{
	struct unlisted *unlisted = context;
	const struct message_change *change =
		change_set_message(&unlisted->exchange->theirs, message->instance);

	if ((change != NULL && message_is_shown(&change->record)) ||
		is_unsent(unlisted->exchange, unlisted->writer, unlisted->point.mine, message))
		return 0;
	mem_grow((void **)&unlisted->list, &unlisted->room, unlisted->count + 1,
		sizeof(*unlisted->list));
	unlisted->list[unlisted->count++] = message->instance;
	return 0;
}

int exchange_forget_unlisted(struct exchange *exchange)
{
	struct unlisted unlisted = { .exchange = exchange };
	struct account_header header = { 0 };
	const struct view_foreign *foreign;
	struct arena *arena;
	struct kv_txn *kv = NULL;
	int rc;

	if (!exchange_is_foreign(exchange) || exchange->point.mine != 0)
		return 0;
	foreign = exchange->filter->foreign;
	arena = arena_new();
	rc = mail_read_begin(exchange->mail, exchange->position, &kv);
	if (rc == 0)
		rc = account_load(kv, exchange->account, &header);
	unlisted.writer = header.writer;
	if (rc == 0)
		rc = point_get(kv, exchange->account, exchange->peer, &unlisted.point);
	for (size_t i = 0; i < foreign->count && rc == 0; i++)
		rc = account_each_message(kv, exchange->account, foreign->ids[i], 1, UINT32_MAX,
			arena, note_unlisted, &unlisted);
	mail_read_end(&kv);
	if (rc == 0)
		rc = message_forget(exchange->mail, exchange->account, unlisted.list,
			unlisted.count, &exchange->result.error);
	exchange->position = mail_position(exchange->mail);
	free(unlisted.list);
	arena_free(&arena);
	return rc;
}
