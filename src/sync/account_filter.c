#include "sync/account_filter.h"

#include "mail/account.h"

#include <ctype.h>
#include <fnmatch.h>
#include <string.h>

#define SEPARATORS " \t,"

static bool matches(const char *pattern, size_t length, const char *name)
{
	char text[ACCOUNT_FILTER_SIZE_MAX + 1];

	memcpy(text, pattern, length);
	text[length] = '\0';
	return fnmatch(text, name, FNM_NOESCAPE) == 0;
}

bool account_filter_passes(const char *patterns, const char *name)
{
	bool is_named = false, has_names = false;

	for (const char *at = patterns; at != NULL && *at != '\0';) {
		size_t length;
		bool excludes;

		at += strspn(at, SEPARATORS);
		excludes = *at == '!';
		at += excludes ? 1 : 0;
		length = strcspn(at, SEPARATORS);
		if (length > ACCOUNT_FILTER_SIZE_MAX)
			return false;
		if (excludes && matches(at, length, name))
			return false;
		if (!excludes && length > 0) {
			has_names = true;
			is_named = is_named || matches(at, length, name);
		}
		at += length;
	}
	return is_named || !has_names;
}

int account_filter_check(const char *patterns, struct error *error)
{
	if (strlen(patterns) > ACCOUNT_FILTER_SIZE_MAX)
		return error_set(
			error, ERR_INVALID, "patterns of over %d bytes", ACCOUNT_FILTER_SIZE_MAX);
	for (const char *at = patterns; *at != '\0'; at++) {
		if (iscntrl((unsigned char)*at) && *at != '\t')
			return error_set(error, ERR_INVALID, "a pattern holds a control character");
		if (*at == '!' && (at[1] == '\0' || strchr(SEPARATORS, at[1]) != NULL))
			return error_set(error, ERR_INVALID, "a '!' without a pattern");
	}
	return 0;
}
