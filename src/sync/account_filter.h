/*
 * account_filter: which accounts a channel serves, or a peer may see: a list of patterns,
 * separated by blanks or commas. `*`, `?` and `[...]` are those of fnmatch(3); a pattern that
 * begins with '!' excludes. An account passes if a pattern matches it, or there are only
 * exclusions, and no exclusion does. An empty list, or NULL, lets all pass. Pure.
 */
#ifndef CHAPAR_SYNC_ACCOUNT_FILTER_H
#define CHAPAR_SYNC_ACCOUNT_FILTER_H

#include "base/error.h"

#include <stdbool.h>

#define ACCOUNT_FILTER_SIZE_MAX 4096 /* bytes */

bool account_filter_passes(const char *patterns, const char *name);
/* ERR_INVALID with the reason: too long, a control character, a '!' alone. */
int account_filter_check(const char *patterns, struct error *error);

#endif
