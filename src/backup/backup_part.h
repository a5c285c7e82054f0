/*
 * backup_part: records of an account in a backup, as SYNC tells them, with the places of their
 * messages' bodies; and an account's state, which is put together from them.
 *
 *	part = PART %(ACCOUNT name [PREVIOUS place] PLACES literal [MAILBOXES ...] [MESSAGES ...]
 *	       [REGISTERS ...])
 *
 * The records are what the account's records were at a point, so far as they changed since the part
 * before (PREVIOUS); without one they are all there were. PLACES: varint(count) and so many pack
 * ids, then for each message of MESSAGES varint(number of its pack, from 1; 0: the backup has no
 * body of it), offset(4), size(4).
 */
#ifndef CHAPAR_BACKUP_BACKUP_PART_H
#define CHAPAR_BACKUP_BACKUP_PART_H

#include "backup/backup_point.h"
#include "sync/changes.h"

struct backup_part {
	char account[ACCOUNT_NAME_SIZE_MAX + 1];
	struct backup_place previous;
	struct change_set records;   /* not normalized */
	struct backup_place *places; /* of the messages, in their order */
};

/* `count` records from the `*next`th of all on, which is moved on; places[i] is of messages[i]. */
void backup_part_encode(const char *account, const struct backup_place *previous,
	const struct change_set *records, const struct backup_place *places, size_t *next,
	struct buffer *out);
/* Pure. What is read borrows from `in` and `arena`, but for the change set's arrays. ERR_CORRUPT.
 */
int backup_part_decode(
	struct bytes in, struct arena *arena, struct backup_part *part_r, struct error *error);

/* Reads one part of the account's; *part_r borrows from `arena`, but for the set's arrays. */
int backup_part_read(struct backup_repository *repository, const struct backup_account *account,
	const struct backup_place *place, struct arena *arena, struct backup_part *part_r,
	struct error *error);

/* ---- the state of an account ---- */

struct backup_state {
	struct arena *arena;
	struct change_set records; /* normalized */
	struct map places;         /* message instance (struct stamp) -> struct backup_place */
	struct digest digest;      /* of the records, as they are */
};

/* Reads all parts. A zeroed state is empty. ERR_CORRUPT, with the place. */
int backup_state_read(struct backup_repository *repository, const struct backup_account *account,
	struct backup_state *state_r, struct error *error);
void backup_state_deinit(struct backup_state *state);
/* Where the body of one of its messages is; NULL: the backup does not have it. */
const struct backup_place *backup_state_place(
	const struct backup_state *state, const struct message_record *message);

/* The sum of the terms of live records (mail/record.h). */
struct digest backup_digest_of(const struct change_set *records);

/* Calls for each part of the account, the last one first. Also for those who only count. */
typedef int backup_part_function(void *context, const struct backup_place *place,
	const struct backup_part *part, struct error *error);
int backup_each_part(struct backup_repository *repository, const struct backup_account *account,
	backup_part_function *function, void *context, struct error *error);

#endif
