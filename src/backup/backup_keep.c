/* Which points are kept (backup_prune.h). */
#include "backup/backup_prune.h"

#include <stdlib.h>
#include <time.h>

#define HOUR_MS (3600 * (uint64_t)1000)
#define COUNT_MAX 100000u

static int rule_parse(const char *text, size_t len, struct backup_keep_rule *rule_r)
{
	static const struct {
		const char *name;
		char period;
	} periods[] = { { "hourly:", 'h' }, { "daily:", 'd' }, { "weekly:", 'w' },
		{ "monthly:", 'm' }, { "yearly:", 'y' } };
	static const struct {
		char letter;
		uint64_t ms;
	} ages[] = { { 'h', HOUR_MS }, { 'd', 24 * HOUR_MS }, { 'w', 7 * 24 * HOUR_MS },
		{ 'm', 31 * 24 * HOUR_MS }, { 'y', 366 * 24 * HOUR_MS } };
	unsigned long number;
	char *end;

	for (size_t i = 0; i < sizeof(periods) / sizeof(periods[0]); i++) {
		size_t name_len = strlen(periods[i].name);

		if (strncmp(text, periods[i].name, name_len) != 0)
			continue;
		if (text[name_len] < '0' || text[name_len] > '9')
			return ERR_INVALID;
		number = strtoul(text + name_len, &end, 10);
		if (end != text + len || number == 0 || number > COUNT_MAX)
			return ERR_INVALID;
		*rule_r = (struct backup_keep_rule){ 0, periods[i].period, (unsigned)number };
		return 0;
	}
	if (text[0] < '0' || text[0] > '9')
		return ERR_INVALID;
	number = strtoul(text, &end, 10);
	for (size_t i = 0; i < sizeof(ages) / sizeof(ages[0]); i++)
		if (*end == ages[i].letter && end + 1 == text + len && number > 0 &&
			number <= COUNT_MAX) {
			*rule_r = (struct backup_keep_rule){ number * ages[i].ms, 0, 0 };
			return 0;
		}
	return ERR_INVALID;
}

int backup_keep_parse(const char *text, struct backup_keep *keep_r, struct error *error)
{
	struct backup_keep keep = { 0 };
	const char *at = text;

	for (;;) {
		size_t len = strcspn(at, ",");

		if (keep.count == BACKUP_KEEP_RULE_MAX ||
			rule_parse(at, len, &keep.rules[keep.count]) < 0)
			return error_set(error, ERR_INVALID,
				"\"%.60s\" is no retention: rules such as 7d,daily:31,monthly:12",
				text);
		keep.count++;
		if (at[len] == '\0')
			break;
		at += len + 1;
	}
	*keep_r = keep;
	return 0;
}

/* A number that all points of one period have, and no others. */
static uint64_t period_of(char period, uint64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm parts;

	gmtime_r(&seconds, &parts);
	switch (period) {
	case 'h':
		return ms / HOUR_MS;
	case 'd':
		return ms / (24 * HOUR_MS);
	case 'w':
		return (ms / (24 * HOUR_MS) + 3) / 7; /* 1970 began on a Thursday */
	case 'm':
		return (uint64_t)parts.tm_year * 12 + (uint64_t)parts.tm_mon;
	default:
		return (uint64_t)parts.tm_year;
	}
}

static void rule_apply(const struct backup_keep_rule *rule, uint64_t now_ms,
	const struct backup_point_name *points, size_t count, bool *is_kept)
{
	uint64_t last = UINT64_MAX;
	unsigned found = 0;

	for (size_t i = count; i-- > 0;) {
		uint64_t period;

		if (rule->age_ms > 0) {
			if (points[i].made_ms + rule->age_ms >= now_ms)
				is_kept[i] = true;
			continue;
		}
		period = period_of(rule->period, points[i].made_ms);
		if (period == last)
			continue;
		if (found++ == rule->count)
			return;
		last = period;
		is_kept[i] = true;
	}
}

void backup_keep_choose(const struct backup_keep *keep, uint64_t now_ms,
	const struct backup_point_name *points, size_t count, bool *is_kept_r)
{
	for (size_t i = 0; i < count; i++)
		is_kept_r[i] = i + 1 == count;
	for (size_t i = 0; i < keep->count; i++)
		rule_apply(&keep->rules[i], now_ms, points, count, is_kept_r);
}
