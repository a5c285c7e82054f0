/*
 * backup_point: a point of a backup: when it was made, from which node, and for each account what
 * it was like and where its records are. The object "points/TIME-ID"; TIME is in milliseconds since
 * 1970, with leading zeros, so that names sort by time.
 *
 * It names every account that the backup has ever seen, so that a restore reads one point only.
 */
#ifndef CHAPAR_BACKUP_BACKUP_POINT_H
#define CHAPAR_BACKUP_BACKUP_POINT_H

#include "backup/backup_repository.h"
#include "base/arena.h"
#include "mail/account.h"
#include "mail/account_mode.h"

struct backup_account {
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	uint64_t node;              /* whose sequence it is */
	uint64_t sequence, highest; /* the node's copy's, at the point */
	struct digest digest;
	struct backup_place part; /* the last of its records (backup_part.h) */
	/* Since all records were written last: bytes of those, bytes and number of what followed.
	 */
	uint64_t whole_size, after_size, after_count;
	uint64_t missing_count; /* messages whose bytes the node did not give */
	bool is_absent;         /* the node does not have it any more */
};

struct backup_point {
	char name[OBJECT_NAME_SIZE_MAX + 1];    /* of its object */
	uint64_t begun_ms, made_ms;             /* since 1970; every account was read in between */
	uint64_t node;                          /* that it was made from ... */
	char node_name[NODE_NAME_SIZE_MAX + 1]; /* ... as it calls itself, or "" */
	struct backup_account *accounts;        /* sorted by name */
	size_t account_count, account_room;
};

/* A zeroed point is empty. */
void backup_point_deinit(struct backup_point *point);
/* The account of that name, or NULL; of a point that was read. */
const struct backup_account *backup_point_find(const struct backup_point *point, const char *name);
/* Adds one, at the end, which is to be sorted before it is looked at. */
void backup_point_add(struct backup_point *point, const struct backup_account *account);
void backup_point_sort(struct backup_point *point);

/* Sets its name, and writes it: then it is there. It must be sorted. */
int backup_point_put(
	struct backup_repository *repository, struct backup_point *point, struct error *error);
int backup_point_get(struct backup_repository *repository, const char *name,
	struct backup_point *point_r, struct error *error);
/* Pure. `in` is the whole object. */
int backup_point_decode(const struct backup_key *key, const char *name, struct bytes in,
	struct backup_point *point_r, struct error *error);

struct backup_point_name {
	char name[OBJECT_NAME_SIZE_MAX + 1];
	uint64_t made_ms, size;
};

/* All points, the oldest first; *names_r is the caller's, to be freed. */
int backup_point_list(struct backup_repository *repository, struct backup_point_name **names_r,
	size_t *count_r, struct error *error);
/* The last point that was made at `at_ms` or before. ERR_NOT_FOUND: there is none. */
int backup_point_get_at(struct backup_repository *repository, uint64_t at_ms,
	struct backup_point *point_r, struct error *error);

#endif
