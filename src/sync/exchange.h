/*
 * exchange: one account brought together with the copy on a peer (docs/replication.md,
 *docs/protocol.md).
 *
 * The initiator's half, as steps without I/O: it says what to send and is told what was answered.
 *Who carries the texts does not matter: a replication channel (IMAP's SYNC command), a bundle, or
 *the simulation.
 *
 *	while ((step = exchange_next(exchange, &request)) == EXCHANGE_SEND || step == EXCHANGE_WAIT)
 *{ if (step == EXCHANGE_SEND)
 *			... carry `request` to the peer, without waiting for the answer
 *		else
 *			exchange_answer(exchange, ... the answer to the oldest request not yet
 *answered);
 *	}
 *
 * Requests that may go out together are given one after the other before EXCHANGE_WAIT, so that a
 *small change with its body costs one round trip. A lost answer or connection is no harm: free the
 *exchange, and begin a new one later (P8).
 *
 * Invariants: nothing is half-merged: what a peer sends becomes visible in one commit, or not at
 *all; no commit spans a wait for the peer (P10); only one of the two sides merges. Not safe for use
 *by several threads at once; exchanges of different accounts are independent of each other.
 */
#ifndef CHAPAR_SYNC_EXCHANGE_H
#define CHAPAR_SYNC_EXCHANGE_H

#include "mail/mail.h"
#include "sync/point.h"
#include "sync/view.h"

#include "base/error.h"

struct exchange;

enum exchange_step {
	EXCHANGE_SEND,  /* *request_r is to be sent; ask for the next step at once */
	EXCHANGE_WAIT,  /* an answer is needed first */
	EXCHANGE_DONE,  /* both copies were equal, at the point in the result */
	EXCHANGE_FAILED /* see the result's error; it may be begun again later */
};

/* What happened; complete once the exchange is done or has failed. */
struct exchange_result {
	struct error error; /* why it failed; code 0 if it did not */
	struct common_point
		point; /* the new common point, to be saved; also after a failure if it is not 0 */
	unsigned request_count;
	unsigned refused_count;   /* the peer had changed meanwhile */
	unsigned integrate_count; /* the peer was asked to merge, because it changed all the time */
	unsigned repair_count;    /* digests differed although nothing had changed */
	unsigned conflict_count;  /* resolved in merges here */
	unsigned sent_count;      /* records that the peer has taken */
	unsigned offered_count;   /* records sent, taken or not */
	unsigned received_count;
	unsigned sent_body_count;
	unsigned received_body_count;
	/* Of another's account: changes that the peer refused by name, and that are undone here. */
	unsigned given_up_count;
	unsigned part_count; /* of a first copy (fill.h), sent or taken in */
	/* Messages whose bytes are damaged (withheld.h): here, found by this exchange; and there,
	 * as the peer named them. All else was exchanged. */
	unsigned withheld_count, withheld_there_count;
	/* It failed because one side's first copy comes from another node just now: try again once
	 * that may have ended. */
	bool is_postponed;
	/* It failed because the peer's copy was given up: the account was moved to this node
	 * (mail/away.h). 0: that is not so. */
	uint64_t away_to;
};

/*
 * Begins an exchange of a local account with the copy of the same name on node `peer`, which is not
 * our own node. `known`, which may be NULL, is a common point that was not saved yet; the later of
 * it and the saved one is used. `mail` stays borrowed. Does no I/O yet.
 */
struct exchange *exchange_new(
	struct mail *mail, uint32_t account, uint64_t peer, const struct common_point *known);
/* Before the first step: takes in what the peer changed, and sends nothing of ours. */
void exchange_set_pull(struct exchange *exchange);
/* Before the first step: the peer does not merge for us (HELLO told that we have no full rights).
 */
void exchange_set_restricted(struct exchange *exchange);
/*
 * Before the first step: only this part of the account is exchanged, and `known` is a common point
 * of it. The filter and its texts stay borrowed. NULL: the whole account.
 */
void exchange_set_filter(struct exchange *exchange, const struct view_filter *filter);
/* Before the first step: begins as if the copies had never been equal. */
void exchange_set_anew(struct exchange *exchange);
struct map;
/* Of another's account: instances (as struct stamp) that were appended here and that the peer has
 * said to have. Borrowed. */
void exchange_set_told(struct exchange *exchange, const struct map *told);
/*
 * Before the first step: neither side has changed since they were equal, so what one of them lacks
 * was lost there, not deleted: it comes back from the other. Else a repair must take what is not
 * there any more for deleted (its tombstone may have expired).
 */
void exchange_set_lossy(struct exchange *exchange);
/* Before the first step: the peer takes bodies compressed, as they are stored (sync_peer). */
void exchange_set_packed(struct exchange *exchange);
/* Before the first step, for tests: a first copy comes in parts of so many records (fill.h). */
void exchange_set_part_size(struct exchange *exchange, size_t record_count);
/* Frees it, at any step. Sets *exchange to NULL. A NULL *exchange is allowed. */
void exchange_free(struct exchange **exchange);

/* The next step; reads the store and may commit to it. *request_r is emptied first. */
enum exchange_step exchange_next(struct exchange *exchange, struct buffer *request_r);
/*
 * A request of very many records goes in parts, of which the peer holds those of one exchange on a
 * connection. Where exchanges share one: whether this one is between two parts; and that it must
 * not begin with them now, but wait (exchange_next() says so, even if it has asked nothing).
 */
bool exchange_is_staging(const struct exchange *exchange);
void exchange_hold_staging(struct exchange *exchange, bool is_held);
/* Feeds an answer. It is looked at in exchange_next(); `answer` is copied. */
void exchange_answer(struct exchange *exchange, struct bytes answer);

/* How many message bodies have gone over, of those that are known to have to. */
struct exchange_progress {
	uint64_t body_count, body_total;
	uint64_t byte_count, byte_total;
};
void exchange_get_progress(const struct exchange *exchange, struct exchange_progress *progress_r);

/* Borrowed until exchange_free(). */
const struct exchange_result *exchange_result(const struct exchange *exchange);
/* The peer's sequence of the account, as it told last. */
uint64_t exchange_their_sequence(const struct exchange *exchange);

#endif
