/*
 * account_filter: which accounts a channel serves, or a peer may see, and which of their mailboxes:
 * a list of patterns. `*`, `?` and `[...]` are those of fnmatch(3), and match '/' too; a pattern
 * that begins with '!' excludes. A name passes if a pattern matches it, or there are only
 * exclusions, and no exclusion does. An empty list, or NULL, lets all pass. Patterns of accounts
 * are separated by blanks or commas; those of mailboxes, whose names may hold blanks, by commas
 * with blanks around them. Pure.
 */
#ifndef CHAPAR_SYNC_ACCOUNT_FILTER_H
#define CHAPAR_SYNC_ACCOUNT_FILTER_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdbool.h>

#define ACCOUNT_FILTER_SIZE_MAX 4096 /* bytes */

bool account_filter_passes(const char *patterns, const char *name);
/* `name` as in a mailbox record: INBOX in capitals. One with a NUL passes no pattern. */
bool mailbox_filter_passes(const char *patterns, struct bytes name);
/* ERR_INVALID with the reason: too long, a control character, a '!' alone. */
int account_filter_check(const char *patterns, struct error *error);
int mailbox_filter_check(const char *patterns, struct error *error);

#endif
