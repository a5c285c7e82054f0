/*
 * backup_prune: takes away points that need not be kept, and what only they needed.
 *
 * First the points go; then packs of which nothing is needed; then packs of which less than half is
 * needed are written anew, with a note where their frames are now ("moved"). Interrupted at any
 * moment, what is left is a whole backup, and the next prune goes on. A message stays as long as
 * one of the points that are left shows it.
 */
#ifndef CHAPAR_BACKUP_BACKUP_PRUNE_H
#define CHAPAR_BACKUP_BACKUP_PRUNE_H

#include "backup/backup_history.h"

/*
 * Which points are kept, as text: rules separated by commas. "30d" (also m, h, w, y): all of that
 * age at most; "hourly:48", "daily:31", "weekly:8", "monthly:12", "yearly:10": the last point of
 * each of so many of the latest hours, days, ... (UTC) that have any. The last point of all is
 * always kept.
 */
#define BACKUP_KEEP_RULE_MAX 8
struct backup_keep {
	struct backup_keep_rule {
		uint64_t age_ms; /* 0: one of each period */
		char period;     /* h, d, w, m, y */
		unsigned count;
	} rules[BACKUP_KEEP_RULE_MAX];
	size_t count;
};

/* ERR_INVALID with the reason. */
int backup_keep_parse(const char *text, struct backup_keep *keep_r, struct error *error);
/* Says which of the points, which are in order of time, are kept. Pure. */
void backup_keep_choose(const struct backup_keep *keep, uint64_t now_ms,
	const struct backup_point_name *points, size_t count, bool *is_kept_r);

struct backup_prune_result {
	uint64_t point_count, removed_point_count;
	uint64_t removed_pack_count, rewritten_pack_count;
	uint64_t removed_bytes; /* what is less than before */
};

struct backup_prune_options {
	struct backup_keep keep;
	bool is_dry; /* only counts what would go */
	void (*progress)(void *context, uint64_t done, uint64_t total); /* may be NULL */
	void *context;
};

/* ERR_CORRUPT: records that are needed cannot be read; then no pack is touched. */
int backup_prune(struct backup_repository *repository, const struct backup_prune_options *options,
	struct backup_prune_result *result_r, struct error *error);

#endif
