/* imap_list_private: a list while it is gathered, for imap_list*.c. */
#ifndef CHAPAR_IMAP_LIST_PRIVATE_H
#define CHAPAR_IMAP_LIST_PRIVATE_H

#include "imap/imap_list.h"

struct imap_list_reading {
	struct imap_session *session;
	struct kv_txn *kv;
	struct imap_list_entry *entries;
	size_t count;
	size_t room;
	struct arena *arena;
};

struct imap_list_entry *imap_list_add(struct imap_list_reading *reading, struct bytes name);
/* Adds the mailboxes of other accounts that the user may know of. */
int imap_list_read_foreign(struct imap_list_reading *reading);

#endif
