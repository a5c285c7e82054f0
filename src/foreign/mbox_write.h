/*
 * mbox_write: a folder of mbox files (mboxrd), one for each mailbox: NAME, and NAME.sbd for the
 * levels below, as Thunderbird has it. Flags and UIDs are in Status, X-Status, X-Keywords, X-UID
 * and X-IMAPbase, which c-client, Dovecot, mutt and our own import read.
 *
 * A file is written anew if its mailbox changed since the last run, and is there whole or not at
 * all; `chapar-export` in the folder notes how far each is. Not kept: time zones of dates, fields
 * of those names in messages themselves, and that a message's last line had no end.
 */
#ifndef CHAPAR_FOREIGN_MBOX_WRITE_H
#define CHAPAR_FOREIGN_MBOX_WRITE_H

#include "foreign/export.h"

/* Does no I/O yet. */
struct target *mbox_write_new(const char *path);

#endif
