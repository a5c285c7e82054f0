/*
 * imap_list: the tree of mailbox names that LIST and LSUB choose from: mailboxes, subscriptions,
 * and the levels above them that are no mailboxes.
 */
#ifndef CHAPAR_IMAP_LIST_H
#define CHAPAR_IMAP_LIST_H

#include "imap/imap_target.h"

struct imap_list_entry {
	struct bytes name;          /* the client's for it */
	struct imap_target *target; /* its mailbox; NULL: there is none of that name */
	bool is_subscribed;
	bool has_children;            /* mailboxes below it, or levels that lead to some */
	bool has_subscribed_children; /* at any depth */
};

struct imap_list {
	struct imap_list_entry *entries; /* in order of name, levels apart; each name once */
	size_t count;
};

/* Reads the user's account and, `with_foreign`, what others share with him; lives in the session's
 * arena. Of mailboxes with one name the user's own is in the list. */
int imap_list_read(struct imap_session *session, struct kv_txn *kv, bool with_foreign,
	struct imap_list *list_r);

/* Whether the name is above some mailbox that the user may know of; costs what it takes to find
 * one, not what there is. */
int imap_list_has_children(
	struct imap_session *session, struct kv_txn *kv, struct bytes name, bool *answer_r);

/* Puts out what is to be said of one name, if anything; an error ends the walk. */
typedef int imap_list_function(struct imap_session *session, struct kv_txn *kv, void *context,
	const struct imap_list_entry *entry);
/*
 * Goes through the list from *next on, in short snapshots. 0: to its end; 1: the client has to take
 * what was put out, then call again; or an error, of `function` or of reading.
 */
int imap_list_walk(struct imap_session *session, const struct imap_list *list, size_t *next,
	imap_list_function *function, void *context);

#endif
