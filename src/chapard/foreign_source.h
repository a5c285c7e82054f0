/*
 * foreign_source: what is named on a command line as the other end of an import:
 * "maildir:/home/anna/Maildir".
 */
#ifndef CHAPAR_CHAPARD_FOREIGN_SOURCE_H
#define CHAPAR_CHAPARD_FOREIGN_SOURCE_H

#include "foreign/source.h"

/* `words` may hold further settings KEY=VALUE; others among them are left to others. ERR_INVALID.
 */
int foreign_source_new(const char *text, const char *const *words, size_t count,
	struct source **source_r, struct error *error);

#endif
