/*
 * fill: the first copy of a large account, taken in parts (docs/replication.md, The first copy).
 *
 * A part is what the source wrote between two of its sequences, as it is now, at most some thousand
 * records, with all mailboxes that it has by then; each part is a commit, in which it is noted how
 * far the copy is. So neither side ever holds up others for long, and whatever ends on the way,
 * the copy goes on from there: by who drives it, or, if that one is not heard of for a while, by
 * any other.
 *
 * (1) Within the commits of one source nothing is merged: what is not changed there since is as it
 *     was, and what is changed comes once more in a later part.
 * (2) Users are not served before the copy is the source's, digest for digest (mail/hold.h): parts
 *     come in the order in which records were written, and so break P3 and P4 for who would look.
 * (3) Where another source goes on, records are joined (merge.h), a message whose UID is another's
 *     there gets another, and two mailboxes may have one name for a while. At the end the copies
 *     differ, and a repair brings to the source what only the first one had. Nothing is lost.
 * (4) The copy may be of some mailboxes only (view.h). What leaves them meanwhile is told as placed
 *     elsewhere; a mailbox that comes among them is brought by a repair at the end.
 */
#ifndef CHAPAR_SYNC_FILL_H
#define CHAPAR_SYNC_FILL_H

#include "mail/hold.h"
#include "sync/body_set.h"
#include "sync/view.h"

#include "base/error.h"

/* Who else may go on with a copy after its driver was not heard of for so long; milliseconds. */
#ifndef SYNC_SMALL_LIMITS
#define FILL_IDLE_MS 60000
#else
#define FILL_IDLE_MS 0
#endif

struct fill_driver {
	uint64_t source; /* the node whose copy it is */
	bool is_pulled;  /* we ask for it; else the source sends it */
	uint64_t view;   /* view_filter_key() of what is copied */
};

struct fill_part {
	struct fill_driver driver;
	uint64_t since;                   /* of the source, after which it begins */
	const struct change_set *changes; /* normalized; its sequence is where the part ends */
	bool is_last;                     /* ... which is where the source is, ... */
	struct digest result;             /* ... with this digest */
	const struct body_set *bodies;
	const struct view_filter *filter; /* NULL: of the whole account */
	struct view_also also;            /* mailboxes that the source told of; borrowed */
	uint64_t skew_ms;

	/* Results. `reached`: where the copy is now. If that is not changes->sequence, another was
	 * quicker, and nothing of the part was taken. */
	uint64_t reached;
	bool is_whole;        /* it is the last, and users are served from now on */
	struct digest digest; /* of our copy */
};

/* Whether the account can be filled from its beginning: it is here, but as it was made. */
bool fill_is_pristine(const struct account_header *header);
/*
 * Whether this driver may go on with a copy that is being filled; *reached_r is where. It is not
 * for now if another is at it: ERR_UNAVAILABLE, and *other_r is that one's source. Nor is it ever
 * if it would copy some mailboxes only, and others than the one before: nobody could tell when the
 * copy is whole. ERR_NOT_FOUND: it is not being filled.
 */
int fill_may_go_on(struct kv_txn *kv, uint32_t account, struct fill_driver driver, uint64_t now_ms,
	uint64_t *reached_r, uint64_t *other_r);

/*
 * Takes a part, within a commit. ERR_UNAVAILABLE: another is at it, or there is a copy already;
 * ERR_ILLEGAL; ERR_NOT_FOUND: a body is missing; all with nothing changed once the commit is
 * undone.
 */
int fill_take(struct account_write *write, struct fill_part *part, struct error *error);

/*
 * Reads a part of our copy, of what is in the view: at most `count_max` records written after
 * `since`, and all mailboxes written after `mailboxes_since`. If set_r->sequence is the header's,
 * it is the last. What has left the view since `since` is told as placed elsewhere. The set is
 * normalized; records borrow from `arena`. On errors *set_r is empty.
 */
int fill_read(struct kv_txn *kv, const struct account_header *header, const struct view *view,
	uint64_t since, uint64_t mailboxes_since, size_t count_max, struct arena *arena,
	struct change_set *set_r);

#endif
