/*
 * backup_run: takes into a backup what is new at a node since the last point, and makes a point.
 *
 * Nothing that the node sends takes anything away: what it expunged or deleted is told by new
 * records, and what was before stays in the points before. Messages are fetched once, also those
 * that came and were expunged between two points, as long as the node keeps them. Accounts that did
 * not change cost a share of one answer for each thousand (SYNC POINTS).
 *
 * An account that cannot be read is told, and stays as it was at the point before; the others go
 * on. Interrupted at any moment, the last point is whole, and what was fetched is not fetched
 * again.
 */
#ifndef CHAPAR_BACKUP_BACKUP_RUN_H
#define CHAPAR_BACKUP_BACKUP_RUN_H

#include "backup/backup_cache.h"
#include "backup/backup_source.h"

struct backup_run_result {
	uint64_t account_count, changed_count, failed_count, absent_count;
	uint64_t record_count, message_count, message_bytes; /* that are new here */
	uint64_t missing_count; /* messages that the node shows and did not give */
	uint64_t written_bytes, object_count;
	uint64_t request_count;
	bool has_point; /* one was made: something was new */
	char point[OBJECT_NAME_SIZE_MAX + 1];
	struct error first_error; /* of an account */
};

struct backup_run_options {   /* all is borrowed */
	const char *accounts; /* patterns (sync/account_filter.h); NULL: all */
	bool is_whole;        /* reads all records of all accounts anew */
	/* How far it is; may be NULL. */
	void (*progress)(void *context, const char *account, uint64_t done, uint64_t total);
	/* An account was done, or failed (error->code is not 0); may be NULL. */
	void (*tell)(void *context, const char *account, uint64_t record_count,
		uint64_t message_count, const struct error *error);
	void *context;
};

/*
 * Errors: of the connection and the target; else the first of an account, when all others are done
 * and the point is made. *result_r is set in any case.
 */
int backup_run(struct backup_repository *repository, struct backup_cache *cache,
	struct backup_source *source, const struct backup_run_options *options,
	struct backup_run_result *result_r, struct error *error);

#endif
