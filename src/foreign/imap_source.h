/*
 * imap_source: an account on any IMAP server as a source. Keys are UIDs. Mailboxes are opened with
 * EXAMINE, so that nothing there changes, not even \Recent; others' and shared mailboxes are left
 * out. Where the server has QRESYNC or CONDSTORE (RFC 7162) later reads tell what changed; else all
 * flags are told each time. A lost connection ends the import; the next one goes on.
 */
#ifndef CHAPAR_FOREIGN_IMAP_SOURCE_H
#define CHAPAR_FOREIGN_IMAP_SOURCE_H

#include "foreign/imap_link.h"

/* Copies the options. Does no I/O yet. */
struct source *imap_source_new(const struct imap_link_options *options);

#endif
