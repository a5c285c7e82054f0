/*
 * imap_recent: who is the first to hear of a message (RFC 3501, 2.3.2, \Recent).
 *
 * Kept in memory only: of each mailbox the UID up to which some session of this process was told. A
 * mailbox seen for the first time since the start has no recent messages, so a restart never makes
 * old mail recent again; nothing is replicated. Any thread.
 */
#ifndef CHAPAR_IMAP_RECENT_H
#define CHAPAR_IMAP_RECENT_H

#include "base/hash.h"

#define IMAP_RECENT_MAILBOX_MAX 65536 /* remembered; the table is emptied when it is full */

struct imap_recent;

struct imap_recent *imap_recent_new(void);
/* Sets *recent to NULL. A NULL *recent is allowed. */
void imap_recent_free(struct imap_recent **recent);

/*
 * The first UID that is recent for a session that sees the mailbox up to `uidnext` - 1. `claim`:
 * they are told from now on (not so for EXAMINE and STATUS).
 */
uint32_t imap_recent_first(
	struct imap_recent *recent, struct id128 mailbox, uint32_t uidnext, bool claim);

#endif
