/*
 * survey: which accounts differ between two nodes, asked in batches (SYNC POINTS); the first thing
 * a channel does with a peer it has not met before, or to find out what it missed.
 */
#ifndef CHAPAR_SYNC_SURVEY_H
#define CHAPAR_SYNC_SURVEY_H

#include "sync/foreign.h"
#include "sync/point.h"

#define SURVEY_ACCOUNT_COUNT_MAX 1000 /* accounts in one request */
#define SURVEY_ALL_COUNT_MAX 10000    /* ... in one answer, to who asks for so many */

/* A peer's account as it tells it. */
struct survey_account {
	struct bytes name; /* borrowed from the arena or the answer */
	bool exists;
	uint64_t sequence;
	uint64_t highest;
	struct digest digest;
	/* Of another user, or of nobody (is_shared): what we may do there; digest and highest are
	 * not told. From the arena; `account` is 0 in it. */
	bool is_foreign, is_shared;
	struct foreign_list mailboxes;
	bool is_returning;     /* there, and to be exchanged in any case (mail/hold.h) */
	bool may_fill;         /* it takes our first copy in parts (fill.h) ... */
	uint64_t fill_reached; /* ... from this sequence of ours on */
	uint64_t away;         /* it was moved to that node, and is not there; 0: it was not */
	uint64_t filling;      /* it has begun with that of this node; 0: with none */
};

/*
 * Whether copies of one digest need no exchange. What is gone is not in the digest: if both sides
 * expunged one message by themselves, their cursors must still be told of each other's act (P4,
 * merge.h), and then their greatest modseqs differ.
 */
static inline bool survey_is_settled(
	const struct account_header *mine, const struct digest *digest, uint64_t highest)
{
	return digest_equal(mine->digest, *digest) && mine->highest == highest;
}

/* Asks for named accounts. */
void survey_request(const struct bytes *names, size_t count, struct buffer *request);
/* Asks for the peer's own list, from `cursor` (0: the beginning, else as the last answer gave it):
 * SURVEY_ALL_COUNT_MAX accounts of it, or fewer. */
void survey_request_all(uint64_t cursor, struct buffer *request);
/* The same, of a user: with the accounts in which others let him see something. */
void survey_request_others(uint64_t cursor, struct buffer *request);
/* Under what names their mailboxes are shown there, as the answer to that tells; empty if not. */
void survey_prefixes(struct bytes answer, struct arena *arena, struct bytes *other_users_r,
	struct bytes *shared_r);
/* *cursor_r is 0 if there are no more. ERR_INVALID, or the error that the peer answered. */
int survey_answer(struct bytes answer, struct arena *arena, struct survey_account **accounts_r,
	size_t *count_r, uint64_t *cursor_r, struct error *error);

#endif
