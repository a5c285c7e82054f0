/*
 * imap_look_batch: the messages of a step of a search whose bodies have to be asked, and those that
 * match already, in order of UIDs. Bodies are read and searched by several threads, if no other
 * session has some do so: one large search takes the processors that are idle, several do not
 * crowd out the rest. What is held is a body for each thread, whatever the number of messages.
 */
#ifndef CHAPAR_IMAP_LOOK_BATCH_H
#define CHAPAR_IMAP_LOOK_BATCH_H

#include "imap/imap_search.h"

#include "store/store.h"

struct imap_look_entry { /* private */
	struct message_record message;
	struct store_place place;
	bool is_decided;
	uint64_t answers;
	int rc; /* of reading the body */
};

struct imap_look_batch { /* zeroed at first */
	struct imap_look_entry *entries;
	size_t count;
	size_t room;
	struct imap_search *search; /* private, as all of these */
	struct store *store;
};

/*
 * A message of which imap_search_decide() said 1 or IMAP_SEARCH_UNDECIDED; its record must live
 * until the batch is done. Errors of finding its body: then it is not in it.
 */
int imap_look_batch_add(struct imap_look_batch *batch, struct imap_search *search,
	struct kv_txn *kv, const struct message_record *message, bool is_decided);
/* Asks the bodies; then `function` is called for each message in turn, with 1, 0 or an error of
 * reading it. The batch is empty then. */
void imap_look_batch_run(struct imap_look_batch *batch, struct kv_txn *kv,
	void (*function)(void *context, const struct message_record *message, int outcome),
	void *context);
void imap_look_batch_deinit(struct imap_look_batch *batch);

#endif
