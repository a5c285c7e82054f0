/*
 * guest: what a user appended off line, in his copy, to another user's mailbox, on its way to the
 * node that holds it (SYNC APPEND of a user; docs/replication.md, Others' mailboxes). That node
 * gives the UID, once for each instance, however often it is told.
 */
#ifndef CHAPAR_SYNC_GUEST_H
#define CHAPAR_SYNC_GUEST_H

#include "mail/mail.h"

/* `message` as it is shown here, with its bytes. */
void guest_append_request(const char *account, const struct message_record *message,
	struct bytes raw, struct buffer *request);

struct guest_place { /* as the owner's node has it; uid 0: it is not there any more, or out of sight
		      */
	uint32_t uidvalidity;
	uint32_t uid;
};

/* The error that the node answered, with its text, or ERR_INVALID. */
int guest_append_answer(struct bytes answer, struct guest_place *place_r, struct error *error);

/* Whether an error of a node's answer is its last word on what it was told. If not, it may be told
 * again later. */
bool guest_is_final(int code);

#endif
