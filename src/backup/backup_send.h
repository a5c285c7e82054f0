/*
 * backup_send: bodies and records on their way from a backup to a node, for backup_restore*.c only.
 */
#ifndef CHAPAR_BACKUP_BACKUP_SEND_H
#define CHAPAR_BACKUP_BACKUP_SEND_H

#include "backup/backup_restore.h"

struct backup_restore_run {
	struct backup_repository *repository;
	struct backup_source *node;
	const struct backup_restore_options *options;
	struct backup_restore_result *result;
	struct backup_state *state;
	char account[ACCOUNT_NAME_SIZE_MAX + 1]; /* at the node */
};

/*
 * Puts the bodies of the shown messages of `records` that the node lacks; `place_of` tells where
 * each is. Messages whose bodies cannot be had are taken out of *records, and counted.
 */
typedef const struct backup_place *backup_place_function(
	void *context, const struct message_record *message);
int backup_send_bodies(struct backup_restore_run *run, struct change_set *records,
	backup_place_function *place_of, void *context, struct error *error);
/* Stages the records; *part_count_r is for PARTS. */
int backup_send_records(struct backup_restore_run *run, const struct change_set *records,
	uint64_t *part_count_r, struct error *error);

#endif
