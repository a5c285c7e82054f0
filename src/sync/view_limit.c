/* What a peer may be told of that may see some mailboxes only, whatever it asks for. */
#include "sync/account_filter.h"
#include "sync/view.h"

#include "base/arena.h"
#include "base/error.h"

bool view_is_within(const struct mailbox_record *mailbox, const char *limit)
{
	return mailbox_is_live(mailbox) && mailbox_filter_passes(limit, mailbox->name);
}

int view_tell_within(struct kv_txn *kv, struct view *view, const char *limit,
	const struct id128 *ids, size_t count)
{
	struct arena *arena = arena_new();
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		struct mailbox_record mailbox;

		rc = account_get_mailbox(kv, view->account, ids[i], arena, &mailbox);
		if (rc == 0 && view_is_within(&mailbox, limit))
			rc = view_tell(kv, view, &ids[i], 1);
		rc = rc == ERR_NOT_FOUND ? 0 : rc;
	}
	arena_free(&arena);
	return rc;
}
