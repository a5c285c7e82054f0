/*
 * give_way: before and after a merge into our copy of another user's account (foreign.h), in its
 * commit: what was shown here where the owner's node shows something else goes out of the way.
 */
#ifndef CHAPAR_SYNC_GIVE_WAY_H
#define CHAPAR_SYNC_GIVE_WAY_H

#include "sync/changes.h"

struct give_way_mailbox {
	struct id128 id;
	uint32_t first; /* the smallest UID that is another message's there */
};

struct give_way { /* zeroed: nothing is in the way */
	struct give_way_mailbox *mailboxes;
	size_t mailbox_count, mailbox_room;
	struct stamp *hidden;
	size_t hidden_count, hidden_room;
};

/*
 * Hides what was shown since our sequence `since` in mailboxes in which something is in the way of
 * `theirs`, all that changed there since then, and renews their UIDVALIDITY.
 */
int give_way_begin(struct give_way *way, struct account_write *write,
	const struct change_set *theirs, uint64_t since);
/* Shows again what the merge has not. ERR_CHANGED: its mailbox went with that. */
int give_way_end(const struct give_way *way, struct account_write *write);
/* Also after errors. */
void give_way_deinit(struct give_way *way);

#endif
