/*
 * imap_view: the selected mailbox as its client knows it.
 *
 * Invariants:
 * (1) uids[n - 1] is the UID of message n, ascending. A message goes from it only when EXPUNGE or
 *     VANISHED is sent, and comes into it just before EXISTS is.
 * (2) All changes of the mailbox with a modseq up to `modseq` are in it, or in `vanished` or
 *     `changed`, which wait to be told.
 * It holds the mailbox's id, so that a renaming elsewhere does not disturb it.
 */
#ifndef CHAPAR_IMAP_VIEW_H
#define CHAPAR_IMAP_VIEW_H

#include "mail/shared.h"

#define IMAP_KEYWORD_COUNT_MAX                                                                     \
	1000 /* of one mailbox that FLAGS tells of; others are usable too                          \
	      */

struct imap_context;

struct imap_view {
	char *name;            /* as at selection, UTF-8, for logs */
	uint32_t account;      /* that it belongs to; maybe not the user's own */
	unsigned rights;       /* of enum acl_right: the user's, as of the last look */
	uint32_t seen_account; /* where his \Seen is (mail/seen.h) ... */
	struct id128 owner;    /* ... of messages of this account's id */
	struct id128 mailbox;
	uint32_t uidvalidity;
	bool is_read_only;

	uint32_t *uids;
	size_t count;
	size_t room;
	size_t told_count; /* EXISTS as last sent */
	uint64_t modseq;
	size_t gathered_count; /* changes taken in since it was kept last (imap_uid_cache.h) */

	struct uid_set vanished;
	uint64_t vanished_since; /* all of them vanished after this modseq ... */
	bool is_modseq_lower;    /* ... which was told to be the highest that counts */
	struct uid_set changed;
	struct uid_set held; /* of them: NOTIFY asked for other changes; for the next command */
	/* Own writes whose outcome the client knows already (but for MODSEQ: `silent`) ... */
	struct uid_set told;
	struct uid_set silent;
	/* ... unless someone else changed the message as well, after this modseq. */
	uint64_t told_since;
	uint64_t announce_next;     /* where telling `changed` goes on */
	size_t announce_count;      /* messages looked at in this step */
	bool wants_annotations;     /* told with changed messages: SELECT (ANNOTATE) */
	struct kv_txn *announce_kv; /* the snapshot of this step */

	/* New messages from here on are to be told as NOTIFY asked, or as contexts did; 0: none. */
	uint64_t new_next;
	uint64_t context_next;
	bool is_announced; /* `changed` was told, contexts are next */

	struct uid_set saved; /* "$", the result of the last SEARCH RETURN (SAVE) */

	struct imap_context *contexts; /* searches whose results are kept up to date */
	struct uid_set recheck;        /* messages that they have to look at ... */
	uint64_t recheck_next;         /* ... from this UID on */

	uint32_t recent_first; /* UIDs from here on are \Recent in this session; 0: none */
	size_t recent_told;

	char **keywords; /* as last told in FLAGS, without regard to case */
	size_t keyword_count;
	size_t keyword_room;

	/* What SELECT found when it looked at the first messages: these keywords and the first that
	 * is unseen, or 0; as of this modseq. 0: it has not looked, or for another than the owner.
	 */
	uint64_t looked_modseq;
	uint32_t unseen_first;
};

struct imap_view *imap_view_new(
	const struct mailbox_record *mailbox, const struct shared_place *place, bool is_read_only);
struct shared_place imap_view_place(const struct imap_view *view);
/* As account_each_message(), with flags as the user is to see them. */
int imap_view_each_message(const struct imap_view *view, struct kv_txn *kv, uint32_t first,
	uint32_t last, struct arena *arena, account_message_function *function, void *context);
/* Whether reading a body sets \Seen. */
bool imap_view_marks_seen(const struct imap_view *view);
/* Sets *view to NULL. A NULL *view is allowed. */
void imap_view_free(struct imap_view **view);

/*
 * Takes in what changed in the mailbox. ERR_NOT_FOUND: it was deleted, united with another, or its
 * UIDVALIDITY changed; the view is as before. ERR_CHANGED: first imap_view_settle(), then again.
 */
int imap_view_gather(struct imap_view *view, struct mail *mail, struct kv_txn *kv);
/*
 * The same where the client was told nothing yet: the UIDs are those of some time ago, and become
 * those of now.
 */
int imap_view_renew(struct imap_view *view, struct mail *mail, struct kv_txn *kv);
/* ERR_NOT_FOUND as imap_view_gather() has it, else 0. */
int imap_view_verify(const struct imap_view *view, struct kv_txn *kv);
/* See seen_settle(). */
int imap_view_settle(const struct imap_view *view, struct mail *mail, uint64_t *position_r);

/* Index of the first UID that is `uid` or greater; `count` if none. */
size_t imap_view_find(const struct imap_view *view, uint32_t uid);
/* Index of `uid` itself, if it is there. */
bool imap_view_has(const struct imap_view *view, uint32_t uid, size_t *index_r);
/* Where those of the range begin; returns where they end. */
size_t imap_view_range(
	const struct imap_view *view, const struct uid_range *range, size_t *first_r);
/* Takes the messages of `uids` out; what is left is moved, not looked at. */
void imap_view_remove(struct imap_view *view, const struct uid_set *uids);

/* False if it is known, or there are too many. */
bool imap_view_add_keyword(struct imap_view *view, struct bytes name);
/* Notes the keywords among the message's flags; true if some were not known. */
bool imap_view_note_keywords(struct imap_view *view, const struct message_record *message);
bool imap_view_is_recent(const struct imap_view *view, uint32_t uid);
size_t imap_view_recent_count(const struct imap_view *view);

#endif
