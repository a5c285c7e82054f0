/* imap_mailbox: naming mailboxes to clients. */
#ifndef CHAPAR_IMAP_MAILBOX_H
#define CHAPAR_IMAP_MAILBOX_H

#include "base/buffer.h"
#include "base/hash.h"

/* The MAILBOXID (RFC 8474): the mailbox's id, the same on all nodes. */
void imap_put_mailbox_id(struct buffer *out, struct id128 id);

/* A special use of RFC 6154 by its name in any case; *use_r is a constant. */
bool imap_special_use_find(struct bytes name, struct bytes *use_r);

#endif
