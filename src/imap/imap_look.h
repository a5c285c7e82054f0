/*
 * imap_look: a search under way: SEARCH, SORT, THREAD and ESEARCH go through a mailbox with it.
 *
 * A step looks at some hundred messages, or some megabytes of bodies, in one short snapshot. The
 * view stays as it is while a search runs: a message that is expunged meanwhile is not found, one
 * that arrives is not looked at. Between steps the worker can be given back.
 */
#ifndef CHAPAR_IMAP_LOOK_H
#define CHAPAR_IMAP_LOOK_H

#include "imap/imap_search.h"

struct imap_match {
	uint32_t uid;
	uint64_t modseq; /* 0 if UIDs alone decided */
};

struct imap_look { /* zeroed, then the first five set by the one who asks */
	struct imap_session *session;
	struct imap_search *search; /* bound to the view that is searched */
	/*
	 * Called for each match, in order of UIDs and within the snapshot; may be NULL. Errors end
	 * nothing, as those of reading a message do not.
	 */
	int (*found)(void *context, struct kv_txn *kv, const struct message_record *message);
	void *context;
	bool is_of_many; /* other mailboxes follow: how much there is to do is not known */

	struct imap_match *matches; /* in order of UIDs */
	size_t match_count;
	size_t match_room;
	int rc; /* the first failure to read a message */

	/* Private: */
	struct uid_set scope; /* UIDs that may match */
	bool has_scope;
	bool is_done;
	uint64_t next_uid;
	size_t step_count;
	uint64_t step_body_bytes;
	struct kv_txn *kv;
	uint64_t looked_count; /* messages so far ... */
	uint64_t scope_count;  /* ... of so many */
	uint64_t told_ms;      /* when the client last heard of it */
};

/*
 * Goes on until the mailbox is searched or the worker has been busy for long enough. 0: it is; 1:
 * call again, after giving the worker back; or an error of the store. ERR_CLOSED: the client has
 * gone. Tells the client of the progress now and then (RFC 9585).
 */
int imap_look_run(struct imap_look *look);
/* Frees what it holds, not the search. */
void imap_look_deinit(struct imap_look *look);

#endif
