/*
 * foreign: what a user may exchange of other accounts (P9; docs/replication.md, Others' mailboxes):
 * the live mailboxes that his rights give him lookup and reading of, in accounts that are visible.
 *
 * It is looked up anew for each request, so what rights give and take counts at once.
 */
#ifndef CHAPAR_SYNC_FOREIGN_H
#define CHAPAR_SYNC_FOREIGN_H

#include "mail/acl.h"

struct foreign_mailbox {
	uint32_t account;
	struct id128 id;
	unsigned rights; /* of enum acl_right */
};

struct foreign_list {
	struct foreign_mailbox *list; /* in order of account and id, each once */
	size_t count, room;
};

/*
 * Of one account, or of all (0), `own` (0: he has none) left out. Costs what was ever granted him,
 * not how many accounts there are. foreign_list_deinit() it, also after errors (of reading).
 */
int foreign_list_read(struct kv_txn *kv, const struct identity *identity, uint32_t own,
	uint32_t account, struct foreign_list *list_r);
void foreign_list_deinit(struct foreign_list *list);

/*
 * The id by which a user's acts in others' accounts are stamped in his copy at `node`. It is in
 * nobody's power to choose, so the instances that he gives are his own: none of a node's, and none
 * of another user's.
 */
uint64_t foreign_writer(const char *user, uint64_t node);

/* The rights to a mailbox of the list; 0 if it is not among them. */
unsigned foreign_rights(const struct foreign_list *list, uint32_t account, struct id128 id);

#endif
