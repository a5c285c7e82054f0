/*
 * sieve_read: a user's Sieve scripts as a source without mailboxes: his home folder, as Dovecot's
 * Pigeonhole has it (sieve/NAME.sieve, and .dovecot.sieve, which is the active one or a link to
 * it), or his folder of Cyrus's sievedir (NAME.script; defaultbc is a link to NAME.bc of the active
 * one). Links are read, not followed.
 */
#ifndef CHAPAR_FOREIGN_SIEVE_READ_H
#define CHAPAR_FOREIGN_SIEVE_READ_H

#include "foreign/source.h"

/* Does no I/O yet. */
struct source *sieve_read_new(const char *path);

#endif
