/*
 * backup_history: what became of each account over a number of points, told so that each part of
 * its records is read once, from the oldest to the latest: for prune and verify.
 */
#ifndef CHAPAR_BACKUP_BACKUP_HISTORY_H
#define CHAPAR_BACKUP_BACKUP_HISTORY_H

#include "backup/backup_part.h"

/* An account's state at one point or several that follow each other. */
struct backup_moment {
	struct backup_account account;
	const char *point; /* the first of them */
};

struct backup_history {
	struct arena *arena;
	struct map by_name; /* account name -> struct account_history */
	struct account_history **accounts;
	size_t account_count, room;
};

/* A zeroed history is empty. Points are added from the oldest to the latest. */
void backup_history_add(struct backup_history *history, const struct backup_point *point);
void backup_history_deinit(struct backup_history *history);

struct backup_history_functions {
	/* What follows begins anew: a part that holds all records. */
	void (*begin)(void *context);
	/* The records that come next; messages with their places. */
	int (*part)(void *context, const struct backup_place *place, const struct backup_part *part,
		struct error *error);
	/* The account is as it was at that moment. */
	int (*moment)(void *context, const struct backup_moment *moment, struct error *error);
	/* The records of these moments cannot be read. Return 0 to go on with what else there is.
	 */
	int (*broken)(void *context, const struct backup_moment *moment, struct error *error);
};

/* All accounts, or one (`name`). Errors: those that the functions return. */
int backup_history_each(struct backup_repository *repository, const struct backup_history *history,
	const char *name, const struct backup_history_functions *functions, void *context,
	struct error *error);

#endif
