/* create_as: a mailbox that was made elsewhere already, in a copy that had to tell of it first. */
#ifndef CHAPAR_MAIL_CREATE_AS_H
#define CHAPAR_MAIL_CREATE_AS_H

#include "mail/mail.h"

/* As mailbox_create(), with this id, or, if the account has or had another of that id, a fresh one.
 */
int mailbox_create_as(struct mail *mail, uint32_t account, struct id128 id, struct bytes name,
	struct error *error, struct id128 *id_r, uint64_t *position_r);

#endif
