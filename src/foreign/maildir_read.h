/*
 * maildir_read: a Maildir as a source: its INBOX and its folders, as Maildir++ (".Sent.2025") or as
 * folders inside folders (Dovecot's LAYOUT=fs), by Dovecot, Courier or a delivery agent alone.
 *
 * A message's key is made from the name of its file up to the flags, which stays the same whatever
 * becomes of lists of UIDs. UIDs are those of dovecot-uidlist or courierimapuiddb; messages that
 * are not in it yet get the next ones in the order of their names, as the server would give them.
 * Nothing is written, and no lock is taken: files that are renamed meanwhile are looked for again.
 */
#ifndef CHAPAR_FOREIGN_MAILDIR_READ_H
#define CHAPAR_FOREIGN_MAILDIR_READ_H

#include "foreign/source.h"

/* Does no I/O yet. */
struct source *maildir_read_new(const char *path);

#endif
