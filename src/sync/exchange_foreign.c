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

struct unlisted {
	const struct change_set *theirs;
	struct stamp *list;
	size_t count, room;
};

static int note_unlisted(void *context, const struct message_record *message)
{
	struct unlisted *unlisted = context;
	const struct message_change *change =
		change_set_message(unlisted->theirs, message->instance);

	if (change != NULL && message_is_shown(&change->record))
		return 0;
	mem_grow((void **)&unlisted->list, &unlisted->room, unlisted->count + 1,
		sizeof(*unlisted->list));
	unlisted->list[unlisted->count++] = message->instance;
	return 0;
}

int exchange_forget_unlisted(struct exchange *exchange)
{
	struct unlisted unlisted = { .theirs = &exchange->theirs };
	const struct view_foreign *foreign;
	struct arena *arena;
	struct kv_txn *kv = NULL;
	int rc;

	if (!exchange_is_foreign(exchange) || exchange->point.mine != 0)
		return 0;
	foreign = exchange->filter->foreign;
	arena = arena_new();
	rc = mail_read_begin(exchange->mail, exchange->position, &kv);
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
