/*
 * imap_notify: what a client asked to be told of by NOTIFY (RFC 5465), and the telling.
 *
 * What it takes from memory is the command itself: mailboxes are matched by name when something
 * happens to them, not listed. What waits to be told is bounded by mail/watch.h; if it becomes too
 * much, the client is told NOTIFICATIONOVERFLOW and notifications end.
 *
 * Changes that a session makes itself are not told to it.
 */
#ifndef CHAPAR_IMAP_NOTIFY_H
#define CHAPAR_IMAP_NOTIFY_H

#include "imap/imap_fetch.h"

#define IMAP_NOTIFY_GROUP_MAX 100 /* event groups of one command */

struct imap_list;

enum imap_notify_event { /* a set of bits */
	NOTIFY_MESSAGE_NEW = 1,
	NOTIFY_MESSAGE_EXPUNGE = 2,
	NOTIFY_FLAG_CHANGE = 4,
	NOTIFY_MAILBOX_NAME = 8,
	NOTIFY_SUBSCRIPTION = 16,
	NOTIFY_MAILBOX_METADATA = 32,
	NOTIFY_SERVER_METADATA = 64,
	NOTIFY_ANNOTATION_CHANGE = 128
};
#define NOTIFY_CHANGE_EVENTS (NOTIFY_FLAG_CHANGE | NOTIFY_ANNOTATION_CHANGE)
#define NOTIFY_MESSAGE_EVENTS (NOTIFY_MESSAGE_NEW | NOTIFY_MESSAGE_EXPUNGE | NOTIFY_CHANGE_EVENTS)

enum imap_notify_filter {
	NOTIFY_SELECTED,
	NOTIFY_SELECTED_DELAYED,
	NOTIFY_INBOXES,
	NOTIFY_PERSONAL,
	NOTIFY_SUBSCRIBED,
	NOTIFY_SUBTREE,
	NOTIFY_MAILBOXES
};

struct imap_notify_group { /* not of the selected mailbox */
	enum imap_notify_filter filter;
	unsigned events;
	struct bytes *names;
	size_t name_count;
};

struct imap_notify {
	struct arena *arena; /* of all it consists of */
	bool wants_status;   /* of each mailbox, at once */
	struct imap_notify_group *groups;
	size_t group_count;

	bool has_selected;        /* while it is parsed: the selected mailbox was named */
	bool is_immediate;        /* EXPUNGE needs no command to go with */
	unsigned selected_events; /* 0: NONE */
	struct imap_fetch fetch;  /* of new messages; no items: nothing */
};

/*
 * Reads what follows "NOTIFY SET". ERR_REFUSED: an event that is not supported. On success
 * *notify_r is the caller's, for imap_notify_free().
 */
int imap_notify_parse(struct imap_parser *args, struct imap_notify **notify_r);
/* Sets *notify to NULL. A NULL *notify is allowed. */
void imap_notify_free(struct imap_notify **notify);

/* What is to be told of a mailbox, unless it is the selected one. `name` is the client's for it. */
unsigned imap_notify_events(struct imap_session *session, struct kv_txn *kv,
	const struct imap_notify *notify, struct bytes name);

/* Begins to watch the accounts that are concerned. */
void imap_notify_watch(
	struct imap_session *session, struct kv_txn *kv, const struct imap_list *list);
/* For a session without NOTIFY that enabled METADATA: watches the user's account and that of the
 * selected mailbox, and the server's entries if there are any yet. */
void imap_notify_watch_metadata(struct imap_session *session);
/* Tells what happened elsewhere than in the selected mailbox. */
void imap_notify_tell(struct imap_session *session);

#endif
