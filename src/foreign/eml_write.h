/*
 * eml_write: a folder in which each message is a file of its own, as mail programs open and search
 * engines read them: MAILBOX/UID.eml, with folders for the levels of mailboxes. The bytes are the
 * message's, the time of the file is its INTERNALDATE; flags and keywords are not kept. The folder
 * must be empty, or not be there: there are no later runs.
 */
#ifndef CHAPAR_FOREIGN_EML_WRITE_H
#define CHAPAR_FOREIGN_EML_WRITE_H

#include "foreign/export.h"

/* Does no I/O yet. */
struct target *eml_write_new(const char *path);

#endif
