/*
 * view: the part of an account that one exchange is about: all of it, or a set of its mailboxes
 * with what belongs to them (docs/replication.md, Partial copies).
 *
 * A mailbox is in a view if its name passes the filter, if it was at the last common point (so one
 * that is renamed out of the filter goes on being exchanged under its new name: losing it would be
 * worse), if the peer told of it, or if one of these forwards to it. Messages are in it where their
 * mailbox is. One that was moved out of the view is told as placed where it is, but not shown: the
 * peer takes it away, and still knows that it was not expunged.
 *
 * Which mailboxes were part of the common point, and since when, is kept beside that
 * (view_save()); one that was not has all its records told, and nothing in it counts as common. So
 * a mailbox that is renamed into the filter appears whole.
 *
 * A view is of one snapshot or commit. Not safe for use by several threads at once.
 */
#ifndef CHAPAR_SYNC_VIEW_H
#define CHAPAR_SYNC_VIEW_H

#include "sync/changes.h"
#include "sync/point.h"
#include "sync/withheld.h"

/*
 * Which mailboxes: patterns as of mailbox_filter_passes(), of both sides of a connection; a name
 * must pass both. NULL or empty: all. Borrowed.
 */
struct view_filter {
	const char *mine;
	const char *theirs;
	/* Of another user's account, what one may see of it (foreign.h): these, whatever they are
	 * called, and no patterns. NULL: one's own. Borrowed. */
	const struct view_foreign *foreign;
};

struct view_foreign {
	const struct id128 *ids;
	size_t count;
};

/*
 * Mailboxes of a view that the other side need not have in its: their names do not pass, or they
 * were no part of the common point, and may be called otherwise there. Each exchange tells of them.
 * Zeroed: none; view_also_deinit() it.
 */
#define VIEW_ALSO_COUNT_MAX 10000u
struct view_also {
	struct id128 *ids;
	size_t count, room;
};

/* A mailbox that was part of a common point, and our sequence at the first of these. */
struct view_member {
	struct id128 id;
	uint64_t since;
};

struct view {
	bool is_whole; /* all of the account, but for what is withheld; nothing else counts then */
	/* In no view towards this peer (withheld.h). Whoever reads messages and digests by other
	 * ways than those below leaves them out by view_leave_out() and view_withheld_*(). */
	struct withheld *withheld;
	size_t withheld_count;
	bool is_limited; /* the peer may be told of nothing else */
	/* What belongs to no mailbox is in it too: settings, subscriptions, scripts, private \Seen.
	 */
	bool has_settings;
	/*
	 * What a user sees of another's account: no settings, no rights, no private annotations.
	 * Modseqs and \Seen are not in its digest: the first are each copy's own, the second is
	 * each user's (mail/seen.h).
	 */
	bool is_foreign;
	/* Nothing is said of messages that were moved out of it; digests tell. Of a foreign one,
	 * at the owner's: \Seen, which is the owner's, is not told. */
	bool is_discreet;
	/* A first copy in parts (fill.h): no mailbox is told whole, and if one came into the view
	 * meanwhile, the comparison at the end brings it. */
	bool is_in_parts;
	uint32_t account;
	struct id128 *ids; /* sorted, each once; deleted ones too */
	size_t id_count, id_room;
	struct id128 *told; /* those of them that the peer told of, in no order */
	size_t told_count, told_room;
	struct view_member *members; /* sorted by id */
	size_t member_count, member_room;
};

/* Whether any name can fail to pass. */
bool view_filter_is_whole(const struct view_filter *filter);
/* Names the filter where points are kept; the same on both sides. 0: the whole account. */
uint64_t view_filter_key(const struct view_filter *filter);

/*
 * The view of an account as it is in `kv`, towards a peer node. NULL `filter`: the whole account.
 * view_close() it, also after errors (of reading).
 */
int view_open(struct kv_txn *kv, uint32_t account, const struct view_filter *filter, uint64_t peer,
	struct view *view_r);
/* Leaves out what is withheld from the peer (withheld.h). Once, after view_open(). */
int view_withhold(struct kv_txn *kv, struct view *view, uint64_t peer);
/*
 * The foreign view of the mailboxes named, as the one who holds the account gives it to a user:
 * discreet, and nothing in it counts as common.
 */
void view_open_foreign(
	uint32_t account, const struct id128 *ids, size_t count, struct view *view_r);
void view_close(struct view *view);

/* The peer told of these: they are in the view. With what they forward to, as far as it is here. */
int view_tell(struct kv_txn *kv, struct view *view, const struct id128 *ids, size_t count);
/* Whether a peer that may see only mailboxes whose names pass `limit` may see this one. */
bool view_is_within(const struct mailbox_record *mailbox, const char *limit);
/*
 * view_tell() of a peer that may see no other mailboxes than those whose names pass `limit`: what
 * else he told of, or is not here (yet), is passed over. He may have asked for fewer, and know one
 * by a name among these that it has here no longer.
 */
int view_tell_within(struct kv_txn *kv, struct view *view, const char *limit,
	const struct id128 *ids, size_t count);

/* Lists those of the view anew, up to VIEW_ALSO_COUNT_MAX of them; NULL `filter`: all that are in
 * it. */
int view_also_read(struct kv_txn *kv, const struct view *view, const struct view_filter *filter,
	struct view_also *also);
void view_also_deinit(struct view_also *also);

bool view_has(const struct view *view, struct id128 mailbox);
/* Whether what came to the mailbox up to our sequence `common` was part of that common point. */
bool view_is_common(const struct view *view, struct id128 mailbox, uint64_t common);
/*
 * Whether the message was placed so, and seen so by both, at that common point. One that came into
 * its mailbox as that was united with another may have been outside of the view before.
 */
bool view_message_is_common(
	const struct view *view, const struct message_record *message, uint64_t common);
/* The mailbox was part of no common point. */
bool view_is_fresh(const struct view *view, struct id128 mailbox);

/* The record as it is told: unless it is shown within the view, it is not shown. */
void view_hide(const struct view *view, struct message_record *message);
/*
 * The opposite, of a peer's record: where `mine` is placed as it is and shown outside of the view,
 * it is shown so. Else it stays.
 */
void view_unhide(
	const struct view *view, const struct message_record *mine, struct message_record *theirs);
/* The message as it is told to a user who sees it in another's account: without \Seen, and if it
 * is gone without flags. */
void view_mask(const struct view *view, struct arena *arena, struct message_record *message);
/* view_digest() of a foreign one: reads all messages in it. */
int view_foreign_digest(struct kv_txn *kv, const struct view *view, struct digest *digest_r);
/* Takes out of a normalized set what is withheld. */
void view_leave_out(const struct view *view, struct change_set *set);
bool view_withholds(const struct view *view, struct stamp instance);
/* Takes out of a sum of message terms, and their count, what is withheld of these UIDs. */
void view_withheld_subtract(const struct view *view, struct id128 mailbox, uint32_t first,
	uint32_t last, struct digest *digest, uint32_t *count);
/* Whether the register is in the view: 1, 0, or an error of reading. */
int view_has_register(struct kv_txn *kv, const struct view *view,
	const struct register_record *record, struct arena *arena);
/* The same of a setting that is unchanged since `common`. */
int view_register_is_common(struct kv_txn *kv, const struct view *view,
	const struct register_record *record, uint64_t common, struct arena *arena);

/* The sum of the terms of all that is live in the view. Mailbox rows must have been flushed. */
int view_digest(struct kv_txn *kv, const struct account_header *header, const struct view *view,
	struct digest *digest_r);

/*
 * change_set_read() of what is in the view: also all of the mailboxes in it that are fresh and were
 * renamed since, or told of, or are what one of them forwards to since then. These come with the
 * first part where `count_max` cuts.
 */
int view_changes(struct kv_txn *kv, const struct account_header *header, const struct view *view,
	uint64_t since, uint64_t common, size_t count_max, struct arena *arena,
	struct change_set *set_r);

/* Adds a message to a set as view_changes() does, in the view or not. */
void view_add_message(const struct view *view, const struct message_record *message,
	uint64_t common, struct arena *arena, struct change_set *set);

/*
 * The view's live mailboxes are part of this common point, which is saved with them. Within a
 * commit.
 */
int view_save(struct store_write *store, uint64_t peer, const struct view_filter *filter,
	const struct view *view, struct common_point point);
/* Whether view_save() would write more than the point. */
bool view_is_news(const struct view *view);

#endif
