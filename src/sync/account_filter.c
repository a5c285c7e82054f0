#include "sync/account_filter.h"

#include "mail/account.h"

#include <ctype.h>
#include <fnmatch.h>
#include <string.h>

#define BLANKS " \t"
#define ACCOUNT_SEPARATORS " \t,"
#define MAILBOX_SEPARATORS ","

static bool matches(const char *pattern, size_t length, const char *name)
{
	char text[ACCOUNT_FILTER_SIZE_MAX + 1];

	memcpy(text, pattern, length);
	text[length] = '\0';
	return fnmatch(text, name, FNM_NOESCAPE) == 0;
}

static size_t trimmed(const char *pattern, size_t length)
{
	while (length > 0 && strchr(BLANKS, pattern[length - 1]) != NULL)
		length--;
	return length;
}

static bool passes(const char *patterns, const char *separators, const char *name)
{
	bool is_named = false, has_names = false;

	for (const char *at = patterns; at != NULL && *at != '\0';) {
		size_t length, whole;
		bool excludes;

		at += strspn(at, ACCOUNT_SEPARATORS);
		excludes = *at == '!';
		at += excludes ? 1 : 0;
		whole = strcspn(at, separators);
		length = trimmed(at, whole);
		if (length > ACCOUNT_FILTER_SIZE_MAX)
			return false;
		if (excludes && matches(at, length, name))
			return false;
		if (!excludes && length > 0) {
			has_names = true;
			is_named = is_named || matches(at, length, name);
		}
		at += whole;
	}
	return is_named || !has_names;
}

bool account_filter_passes(const char *patterns, const char *name)
{
	return passes(patterns, ACCOUNT_SEPARATORS, name);
}

bool mailbox_filter_passes(const char *patterns, struct bytes name)
{
	char text[MAILBOX_NAME_SIZE_MAX + 1];

	if (patterns == NULL || patterns[0] == '\0')
		return true;
	if (name.len > MAILBOX_NAME_SIZE_MAX || memchr(name.ptr, '\0', name.len) != NULL)
		return false;
	memcpy(text, name.ptr, name.len);
	text[name.len] = '\0';
	return passes(patterns, MAILBOX_SEPARATORS, text);
}

static int check(const char *patterns, const char *separators, struct error *error)
{
	if (strlen(patterns) > ACCOUNT_FILTER_SIZE_MAX)
		return error_set(
			error, ERR_INVALID, "patterns of over %d bytes", ACCOUNT_FILTER_SIZE_MAX);
	for (const char *at = patterns; *at != '\0'; at++) {
		bool is_first = at == patterns || strchr(ACCOUNT_SEPARATORS, at[-1]) != NULL;

		if (iscntrl((unsigned char)*at) && *at != '\t')
			return error_set(error, ERR_INVALID, "a pattern holds a control character");
		if (*at == '!' && is_first && (at[1] == '\0' || strchr(separators, at[1]) != NULL))
			return error_set(error, ERR_INVALID, "a '!' without a pattern");
	}
	return 0;
}

int account_filter_check(const char *patterns, struct error *error)
{
	return check(patterns, ACCOUNT_SEPARATORS, error);
}

int mailbox_filter_check(const char *patterns, struct error *error)
{
	return check(patterns, MAILBOX_SEPARATORS, error);
}
