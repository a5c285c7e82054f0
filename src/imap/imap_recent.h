/*
 * imap_recent: who is the first to hear of a message (RFC 3501, 2.3.2, \Recent).
 *
 * Of each mailbox the UID up to which some session on this node was told. That is kept in memory
 * and now and then written to a file, from which it is read at the start: what a crash forgets is
 * recent once more (RFC 3501: what cannot be determined should be). A mailbox that no session on
 * this node has opened or asked for has no recent messages, so that a copy, a first start of this
 * version or a lost file does not make old mail recent; nothing is replicated. Any thread.
 *
 * The file: "CHRECENT", a u32 of 1, then for each mailbox its id and a u32, and a CRC32C of all
 * before.
 */
#ifndef CHAPAR_IMAP_RECENT_H
#define CHAPAR_IMAP_RECENT_H

#include "base/error.h"
#include "base/hash.h"

#define IMAP_RECENT_MAILBOX_MAX 65536 /* remembered; the table is emptied when it is full */

struct imap_recent;

struct imap_recent *imap_recent_new(void);
/* ERR_IO; ERR_CORRUPT, ERR_VERSION: the file is not such, and nothing was taken from it. No file is
 * an empty one. Before any other use. */
int imap_recent_load(struct imap_recent *recent, const char *path);
/* Replaces the file if something is to be written that is not in it. ERR_IO. */
int imap_recent_save(struct imap_recent *recent, const char *path);
/* Sets *recent to NULL. A NULL *recent is allowed. */
void imap_recent_free(struct imap_recent **recent);

/*
 * The first UID that is recent for a session that sees the mailbox up to `uidnext` - 1. `claim`:
 * they are told from now on (not so for EXAMINE and STATUS).
 */
uint32_t imap_recent_first(
	struct imap_recent *recent, struct id128 mailbox, uint32_t uidnext, bool claim);

#endif
