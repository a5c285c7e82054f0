/* Messages whose bytes cannot be read, here or at the peer (withheld.h). */
#include "sync/exchange_private.h"

int exchange_release(struct exchange *exchange)
{
	size_t count;
	int rc = withheld_release(
		exchange->mail, exchange->account, &count, &exchange->result.error);

	if (rc == 0 && count > 0)
		exchange->position = mail_position(exchange->mail);
	return rc;
}

int exchange_take_withheld(struct exchange *exchange, const struct dlist *map)
{
	const struct dlist *list;
	int rc = dlist_get_list(map, "DAMAGED", &list);

	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return error_set(&exchange->result.error, ERR_INVALID, "bad DAMAGED in an answer");
	exchange->is_withheld_there = exchange->is_withheld_there || list->count > 0;
	exchange->result.withheld_there_count += (unsigned)list->count;
	return 0;
}

int exchange_withhold(struct exchange *exchange, const struct stamp *instances, size_t count)
{
	struct exchange_push *push = &exchange->push;
	int rc = 0;

	if (count == 0)
		return 0;
	push->is_outdated = true;
	if (!push->is_asked_for) {
		exchange->asks_first = true;
		return 0;
	}
	push->has_withheld = true;
	exchange->result.withheld_count += (unsigned)count;
	rc = withheld_note(exchange->mail, exchange->account, exchange->peer, exchange->point.mine,
		instances, count, &exchange->result.error);
	exchange->position = mail_position(exchange->mail);
	return rc;
}
