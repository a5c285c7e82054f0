/*
 * compare: whether accounts are the same here and on a peer, and what differs first. Asks the peer
 * request by request (docs/protocol.md); who carries them is the caller's. One request tells of
 * COMPARE_ACCOUNT_COUNT_MAX accounts.
 */
#ifndef CHAPAR_SYNC_COMPARE_H
#define CHAPAR_SYNC_COMPARE_H

#include "sync/exchange.h"
#include "sync/survey.h"

#define COMPARE_ACCOUNT_COUNT_MAX SURVEY_ACCOUNT_COUNT_MAX

struct compare_peer {
	uint64_t node;
	/* Appends the answer to one request. */
	int (*ask)(void *context, struct bytes request, struct buffer *answer, struct error *error);
	void *context;
};

enum compare_state {
	COMPARE_EQUAL,
	COMPARE_UNDER_WAY, /* one side has changes that the other is yet to have */
	COMPARE_MISSING,   /* the peer has no such account, or it is not for us */
	COMPARE_DIFFERS    /* though neither has changed since they were equal */
};

/* Errors: those of ask(), ERR_INVALID, and of reading. */
int compare_accounts(struct mail *mail, const struct compare_peer *peer, const uint32_t *numbers,
	size_t count, enum compare_state *states_r, struct error *error);

/*
 * Appends where the copies of an account differ first, in words: a mailbox and UID, a mailbox, or
 * settings. Nothing is appended if they are equal by now.
 */
int compare_first_difference(struct mail *mail, const struct compare_peer *peer, uint32_t number,
	struct buffer *text, struct error *error);

/* Exchanges what differs, of an account that was judged COMPARE_DIFFERS: of each record the later
 * change stays, and what one side lacks comes back from the other (sync/exchange.h). */
int compare_repair(struct mail *mail, const struct compare_peer *peer, uint32_t number,
	struct exchange_result *result_r, struct error *error);

#endif
