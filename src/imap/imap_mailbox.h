/* imap_mailbox: finding mailboxes by name, and naming them to clients. */
#ifndef CHAPAR_IMAP_MAILBOX_H
#define CHAPAR_IMAP_MAILBOX_H

#include "imap/imap_session.h"

/* The record lives in the session's arena. ERR_NOT_FOUND and the errors of reading. */
int imap_mailbox_find(
	struct imap_session *session, struct bytes name, struct mailbox_record *mailbox_r);

/* The MAILBOXID (RFC 8474): the mailbox's id, the same on all nodes. */
void imap_put_mailbox_id(struct buffer *out, struct id128 id);

#endif
