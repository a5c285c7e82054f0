/*
 * forward: a message on its way to the node that gives its UID (SYNC APPEND, docs/protocol.md).
 * Its instance is given by the node that it came to, so that it is the same message whoever comes
 * to append it in the end.
 */
#ifndef CHAPAR_SYNC_FORWARD_H
#define CHAPAR_SYNC_FORWARD_H

#include "mail/mail.h"

#define FORWARD_HOP_COUNT_MAX                                                                      \
	1 /* the authority may pass it on to the node that it lent the account */

struct forward {
	const char *account;
	struct id128 mailbox;
	uint32_t uidnext; /* of the mailbox here; a node that is below it must not give UIDs */
	struct stamp instance;
	const struct append_message *message;
	unsigned hop_count; /* nodes it has passed already */
};

void forward_request(const struct forward *forward, struct buffer *request);

enum forward_outcome {
	FORWARD_APPENDED, /* there; it will come here as any change */
	FORWARD_LENT,     /* the account is lent to us: append it here */
	FORWARD_BEHIND    /* the peer has not yet got what was appended here before */
};

struct forward_result {
	enum forward_outcome outcome;
	uint64_t lent_ms; /* from when it was asked for */
};

/* The error that the peer answered, or ERR_INVALID. */
int forward_answer(struct bytes answer, struct forward_result *result_r, struct error *error);

#endif
