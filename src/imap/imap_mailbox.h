/* imap_mailbox: naming mailboxes to clients. */
#ifndef CHAPAR_IMAP_MAILBOX_H
#define CHAPAR_IMAP_MAILBOX_H

#include "base/buffer.h"
#include "base/hash.h"

/* The MAILBOXID (RFC 8474): the mailbox's id, the same on all nodes. */
void imap_put_mailbox_id(struct buffer *out, struct id128 id);

#endif
