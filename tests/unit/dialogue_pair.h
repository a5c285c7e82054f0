/*
 * dialogue_pair: a second node that follows the server of a dialogue: after each change the
 * accounts that changed are exchanged with it, and in the end its clients must see what those of
 * the first see. Its own store, its own server; what they say to each other goes from function to
 * function.
 */
#ifndef CHAPAR_TESTS_DIALOGUE_PAIR_H
#define CHAPAR_TESTS_DIALOGUE_PAIR_H

#include "imap_fixture.h"
#include "sync_fixture.h"

#define DIALOGUE_ACCOUNT_COUNT_MAX 16

struct dialogue_pair {
	struct imap_fixture *server;
	struct imap_fixture other;
	struct node a, b;
	uint64_t sequences[DIALOGUE_ACCOUNT_COUNT_MAX]; /* of A's accounts at the last exchange */
	const char *path;                               /* for failures */
};

void dialogue_pair_start(struct dialogue_pair *pair, struct imap_fixture *server, const char *path);
/* Brings the other node up to date. Costs little if nothing has changed. */
void dialogue_pair_follow(struct dialogue_pair *pair);
/*
 * Fails the test unless both nodes show each user the same, in LIST, STATUS, EXAMINE, FETCH and
 * what is told of rights, quotas, metadata and annotations, and `verify` finds nothing; before and
 * after every message of the users gets a flag on the other node.
 */
void dialogue_pair_compare(struct dialogue_pair *pair);
void dialogue_pair_stop(struct dialogue_pair *pair);

#endif
