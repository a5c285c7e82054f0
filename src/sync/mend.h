/*
 * mend: reads the bodies of an account's messages, and brings those that are damaged or lost here
 * anew from a peer that has them (SYNC GET). What can be read again is withheld from nobody any
 * more.
 */
#ifndef CHAPAR_SYNC_MEND_H
#define CHAPAR_SYNC_MEND_H

#include "sync/compare.h"

struct mend {
	struct mail *mail;
	const struct compare_peer *peer;
	bool is_repair; /* else it only tells */
	/* Called for each message whose body is damaged: what is wrong, and what was done. */
	void (*tell)(void *context, const char *text);
	void *context;
	uint64_t checked_count, damaged_count, mended_count;
	uint64_t released_count; /* that were withheld from peers, and no longer are (withheld.h) */
	/* Where it is. */
	uint32_t account;
	uint64_t since;
};

/*
 * Looks at some more messages of mend->account; begin with `since` 0. Returns 1 if there are more,
 * 0 at the end. Errors: of reading, of the peer's ask(), and of commits.
 */
int mend_step(struct mend *mend, struct error *error);

#endif
