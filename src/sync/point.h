/*
 * point: the last common point of an account's copies here and on a peer: the local sequence of
 * each at which both were equal. Kept per (account, peer node); a node restored from a backup has a
 * new node id and thus no common point. Losing one costs time, never correctness.
 */
#ifndef CHAPAR_SYNC_POINT_H
#define CHAPAR_SYNC_POINT_H

#include "mail/mail.h"

struct common_point {    /* both 0: none */
	uint64_t mine;   /* our account sequence */
	uint64_t theirs; /* the peer's */
	/*
	 * Our copy never was as the peer's: a merge sorted it out afterwards, by writing all that
	 * the peer did not have once more, behind `mine` (integrate.c). Of these, placed_again and
	 * shown_again count towards this point.
	 */
	bool is_sorted_out;
};

/* Whether `a` is the later of two points of the same account and peer. */
static inline bool common_point_is_later(struct common_point a, struct common_point b)
{
	return a.mine > b.mine || (a.mine == b.mine && a.theirs > b.theirs);
}

/*
 * Where less than the whole account is exchanged, points are of that part (view_filter_key(), 0:
 * the whole): copies that are equal in one part need not be in another.
 */
int point_get_of(struct kv_txn *kv, uint32_t account, uint64_t peer, uint64_t part,
	struct common_point *point_r);
int point_put_of(struct store_write *store, uint32_t account, uint64_t peer, uint64_t part,
	struct common_point point);
/* Forgets it: the peer's copy was restored to a state from before it. */
int point_forget_of(struct store_write *store, uint32_t account, uint64_t peer, uint64_t part);
/* The saved point of the whole, or none. Errors: of kv_get(), ERR_CORRUPT, ERR_VERSION. */
int point_get(struct kv_txn *kv, uint32_t account, uint64_t peer, struct common_point *point_r);
/* Saves it as part of a commit, unless a later one is there. */
int point_put(
	struct store_write *store, uint32_t account, uint64_t peer, struct common_point point);
/* The same as a commit of its own. */
int point_save(struct mail *mail, uint32_t account, uint64_t peer, struct common_point point,
	struct error *error);

#endif
