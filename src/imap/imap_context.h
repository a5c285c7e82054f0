/*
 * imap_context: searches whose results the client is kept told of (RFC 5267, UPDATE), for as long
 * as the mailbox is selected.
 *
 * Invariant: `uids` are the results as the client knows them, in their order: that of the mailbox,
 * or of the sort. Changes are told with the others of the mailbox (imap_update.c): what vanished
 * before EXPUNGE, all else after EXISTS. A change costs looking at the changed messages, and where
 * there is a sort a few summaries for each that comes in.
 *
 * Refused (NOUPDATE) are programs whose answer changes without a change of the messages: message
 * numbers, "$", OLDER and YOUNGER.
 */
#ifndef CHAPAR_IMAP_CONTEXT_H
#define CHAPAR_IMAP_CONTEXT_H

#include "imap/imap_fetch.h"
#include "imap/imap_returns.h"
#include "imap/imap_sort.h"

#define IMAP_CONTEXT_COUNT_MAX 16 /* of one session */

struct imap_context {
	struct imap_context *next;
	char tag[IMAP_TAG_SIZE_MAX + 1];
	bool is_uid;
	bool is_sort;
	struct arena *arena; /* the program and its text */
	struct imap_search search;
	struct imap_sort sort;
	struct imap_fetch fetch; /* of new messages that are results; no items: nothing */
	uint32_t *uids;
	size_t count;
	size_t room;
};

/* The context of that tag, or NULL. */
struct imap_context *imap_context_find(struct imap_view *view, struct bytes tag);

/*
 * Makes one of the command that runs, whose results are given, or tells the client that there will
 * be none. `program` is the command's text from the sort criteria or the search keys on, `items`
 * that of UPDATE's FETCH items.
 */
void imap_context_add(struct imap_session *session, struct bytes program, struct bytes items,
	const struct imap_search *search, bool is_sort, const struct imap_results *results);
/* False if there is none of that tag. */
bool imap_context_remove(struct imap_view *view, struct bytes tag);
/* All of a view. */
void imap_contexts_free(struct imap_context **contexts);

/* Whether some are to FETCH new messages, and the telling of one message to those that it is a
 * result of. */
bool imap_contexts_fetch(const struct imap_view *view);
int imap_contexts_tell_new(
	struct imap_session *session, struct kv_txn *kv, const struct message_record *message);

/* Tells of results that are in view->vanished; call it just before EXPUNGE is told. */
void imap_contexts_tell_vanished(struct imap_session *session);
/*
 * Looks at the next of the messages in view->recheck and tells what came and went. 0: at all; 1:
 * call again; or an error of reading the store.
 */
int imap_contexts_step(struct imap_session *session);

#endif
