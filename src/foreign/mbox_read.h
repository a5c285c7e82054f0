/*
 * mbox_read: a file of mail as a source, which goes to INBOX; or a folder of such files, each a
 * mailbox of its name: folders are levels above, as they are or as NAME.sbd beside the file NAME.
 *
 * A message's key is made from its bytes, so that it stays what it is when flags change or others
 * before it are removed; equal ones are counted. UIDs are those of X-UID, if the file has
 * X-IMAPbase. INTERNALDATE is that of the line "From ". No lock is taken: nothing may write
 * meanwhile.
 */
#ifndef CHAPAR_FOREIGN_MBOX_READ_H
#define CHAPAR_FOREIGN_MBOX_READ_H

#include "foreign/source.h"

/* Does no I/O yet. */
struct source *mbox_read_new(const char *path);

#endif
