/*
 * guest_arrange: mailboxes that a user made, renamed or deleted off line, in his copy of another
 * user's account, told to the node that holds it (SYNC ARRANGE; docs/replication.md, Others'
 * mailboxes). Told again, an act does nothing more.
 */
#ifndef CHAPAR_SYNC_GUEST_ARRANGE_H
#define CHAPAR_SYNC_GUEST_ARRANGE_H

#include "mail/mail.h"

/* It is to have its present name, or, if it is deleted, to go. `common`: the node's sequence at the
 * last common point. */
void guest_arrange_request(const char *account, const struct mailbox_record *mailbox,
	uint64_t common, struct buffer *request);
/* *id_r: the mailbox that has the name now. Errors as of guest_append_answer(). */
int guest_arrange_answer(struct bytes answer, struct id128 *id_r, struct error *error);

#endif
