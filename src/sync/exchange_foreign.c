/*
 * Our copy of what we see of another's account (foreign.h). It follows the owner's: messages come
 * from there only. So where no common point is known, or the copies differ though one is, all of it
 * is listed once more, and what is not listed is not there any more, or not for us: it is forgotten
 * (mail/forget.h), for no tombstone tells of it.
 */
#include "sync/exchange_private.h"

#include "base/map.h"
#include "base/mem.h"
#include "mail/forget.h"

#include <stdlib.h>

static bool was_told(const struct exchange *exchange, struct stamp instance)
{
	return exchange->told_there != NULL &&
	       map_get(exchange->told_there, bytes_of(&instance, sizeof(instance))) != NULL;
}

/* What was appended here, and the owner's node may not have yet. */
static bool is_unsent(const struct exchange *exchange, uint64_t writer, uint64_t point,
	const struct message_record *message)
{
	return writer != 0 && message->instance.node == writer && message->placed.node == writer &&
	       message_is_shown(message) && message->placed_sequence > point &&
	       !was_told(exchange, message->instance) &&
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

/* ---- what the owner's node does not take ---- */

/* What was appended here and is not there yet is nothing that could come anew. */
static int keep_unsent(struct exchange *exchange, struct stamp *instances, size_t *count)
{
	struct arena *arena = arena_new();
	struct account_header header;
	struct common_point point;
	struct kv_txn *kv = NULL;
	size_t kept = 0;
	int rc = mail_read_begin(exchange->mail, mail_position(exchange->mail), &kv);

	if (rc == 0)
		rc = account_load(kv, exchange->account, &header);
	if (rc == 0)
		rc = point_get(kv, exchange->account, exchange->peer, &point);
	for (size_t i = 0; i < *count && rc == 0; i++) {
		struct message_record message;

		rc = account_get_message(kv, exchange->account, instances[i], arena, &message);
		if (rc == 0 && !is_unsent(exchange, header.writer, point.mine, &message))
			instances[kept++] = instances[i];
		rc = rc == ERR_NOT_FOUND ? 0 : rc;
	}
	mail_read_end(&kv);
	arena_free(&arena);
	*count = kept;
	return rc;
}

static int give_up_messages(struct exchange *exchange, const struct dlist *list)
{
	struct stamp *instances = mem_alloc((list->count + 1) * sizeof(*instances));
	size_t count = 0;
	int rc = 0;

	for (const struct dlist *at = list->first; at != NULL && rc == 0; at = at->next)
		rc = wire_stamp(at, &instances[count++]);
	if (rc == 0)
		rc = keep_unsent(exchange, instances, &count);
	if (rc == 0)
		rc = message_forget(exchange->mail, exchange->account, instances, count,
			&exchange->result.error);
	if (rc == 0)
		exchange->result.given_up_count += (unsigned)count;
	free(instances);
	return rc;
}

static int give_up_setting(struct exchange *exchange, const struct dlist *map)
{
	struct id128 mailbox;
	struct bytes key;
	int rc = wire_get_id(map, "MAILBOX", &mailbox);

	if (rc == 0)
		rc = dlist_get_text(map, "KEY", &key);
	if (rc == 0)
		rc = metadata_forget(
			exchange->mail, exchange->account, mailbox, key, &exchange->result.error);
	if (rc == 0)
		exchange->result.given_up_count++;
	return rc;
}

int exchange_give_up(struct exchange *exchange, const struct dlist *map)
{
	const struct error refused = exchange->result.error;
	const struct dlist *list;
	int rc = 0;

	exchange->result.error = (struct error){ 0 };
	if (dlist_get_list(map, "INSTANCES", &list) == 0)
		rc = give_up_messages(exchange, list);
	if (rc == 0 && dlist_get_list(map, "SETTINGS", &list) == 0)
		for (const struct dlist *at = list->first; at != NULL && rc == 0; at = at->next)
			rc = give_up_setting(exchange, at);
	exchange->position = mail_position(exchange->mail);
	if (rc == 0 || exchange->result.error.code == 0)
		exchange->result.error = refused;
	return rc;
}
