/*
 * backup_verify: reads a whole backup back: each byte of each object, each message against its
 * GUID, each account's records at each point against its digest, and that each message that was
 * shown then is there. Changes nothing.
 */
#ifndef CHAPAR_BACKUP_BACKUP_VERIFY_H
#define CHAPAR_BACKUP_BACKUP_VERIFY_H

#include "backup/backup_history.h"

struct backup_verify_result {
	uint64_t point_count, pack_count;
	uint64_t state_count;               /* of accounts, each that differs from the one before */
	uint64_t message_count, byte_count; /* in packs; bytes of the packs */
	uint64_t damage_count;
	uint64_t missing_count; /* messages that the node did not give when the backup was made */
};

struct backup_verify_options { /* may be NULL */
	void (*progress)(void *context, uint64_t done, uint64_t total);
	void (*damage)(void *context, const char *what);
	void *context;
};

/* ERR_CORRUPT: damage, which was told; errors of the target. *result_r is set in any case. */
int backup_verify(struct backup_repository *repository, const struct backup_verify_options *options,
	struct backup_verify_result *result_r, struct error *error);

#endif
