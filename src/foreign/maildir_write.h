/*
 * maildir_write: a Maildir that Dovecot can be started on: it shows the same UIDs, UIDVALIDITY,
 * flags, keywords (26 of a mailbox), dates and subscriptions.
 *
 * A message's file is named after its instance, so the next run finds what is there already: it
 * writes what is new, renames what has other flags, and removes what is no more here, of those
 * files that an export wrote. `chapar-export` in the folder says which folders those are. A file is
 * there whole or not at all. Lines end in LF as in other Maildirs; a message that would not come
 * back the same from that is written with its CRLFs.
 *
 * No server may use the folder meanwhile. A level of a name that Maildir++ has no place for (with a
 * dot in it) gets '_' there.
 */
#ifndef CHAPAR_FOREIGN_MAILDIR_WRITE_H
#define CHAPAR_FOREIGN_MAILDIR_WRITE_H

#include "foreign/export.h"

/* Does no I/O yet. `is_fs`: folders inside folders (LAYOUT=fs). */
struct target *maildir_write_new(const char *path, bool is_fs);

#endif
