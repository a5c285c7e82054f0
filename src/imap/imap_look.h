/*
 * imap_look: a search under way: SEARCH, SORT, THREAD and ESEARCH go through a mailbox with it.
 *
 * A step looks at some hundred messages, or some megabytes of bodies, in one short snapshot. The
 * view stays as it is while a search runs: a message that is expunged meanwhile is not found, one
 * that arrives is not looked at. Between steps the worker can be given back.
 */
#ifndef CHAPAR_IMAP_LOOK_H
#define CHAPAR_IMAP_LOOK_H

#include "imap/imap_look_batch.h"
#include "imap/imap_search.h"

struct imap_match {
	uint32_t uid;
	uint64_t modseq; /* 0 if UIDs alone decided */
};

struct imap_look { /* zeroed, then prepared; these may be set: */
	/*
	 * Called for each match, in order of UIDs and within the snapshot; may be NULL. Errors end
	 * nothing, as those of reading a message do not.
	 */
	int (*found)(void *context, struct kv_txn *kv, const struct message_record *message);
	void *context;
	bool is_of_many; /* other mailboxes follow: how much there is to do is not known */

	struct imap_match *matches; /* of this view, in order of UIDs */
	size_t match_count;
	size_t match_room;

	struct imap_session *session;
	struct imap_search search; /* what is looked for */

	/* Private: */
	struct uid_set scope; /* UIDs that may match */
	bool has_scope;
	bool is_done;
	uint64_t next_uid;
	size_t step_count;
	uint64_t step_body_bytes;
	struct kv_txn *kv;
	struct imap_look_batch batch; /* of the step */
	uint64_t looked_count;        /* messages so far ... */
	uint64_t scope_count;         /* ... of so many */
	uint64_t told_ms;             /* when the client last heard of it */
	int rc;                       /* the first failure to read a message */
};

/* What a command begins with; then it parses into look->search. */
void imap_look_prepare(struct imap_look *look, struct imap_session *session);
/* Answers a search that cannot be parsed: `rc` is what parsing it returned. */
enum net_result imap_look_refuse(
	struct imap_session *session, const struct imap_parser *args, int rc);
/* Begins to look in `view`, which must live until then; after that perhaps in another: the progress
 * told is of all. */
void imap_look_begin(struct imap_look *look, const struct imap_view *view);
/*
 * Goes on until the mailbox is searched or the worker has been busy for long enough. 0: it is; 1:
 * the command returns *result_r, and `resume` goes on with it if it does at all; or an error of the
 * store, or the first of those of reading messages: one that cannot be read must not look as if it
 * did not match. Tells the client of the progress now and then (RFC 9585).
 */
int imap_look_turn(struct imap_look *look, enum net_result (*resume)(struct imap_session *session),
	enum net_result *result_r);
void imap_look_deinit(struct imap_look *look);

#endif
