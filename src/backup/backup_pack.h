/*
 * backup_pack: packs: objects of some MiB that hold the frames of messages and records, with an
 * index at the end that says what is in them.
 *
 *	pack   = object head, frames, index frame, trailer
 *	trailer = offset of the index frame(8, big-endian) "CHAPARIX"
 *	index  = entries of kind(1) offset(4) size(4), of messages GUID(32)
 *
 * A pack is put when it is full, or when it is asked for; until then what was added is nowhere.
 */
#ifndef CHAPAR_BACKUP_BACKUP_PACK_H
#define CHAPAR_BACKUP_BACKUP_PACK_H

#include "backup/backup_repository.h"

#define BACKUP_PACK_SIZE (16u * 1024 * 1024) /* bytes; the last frame goes over it */

struct backup_pack_entry {
	uint32_t offset, size;
	enum backup_kind kind;
	struct guid guid; /* of messages */
};

struct backup_pack_writer; /* opaque */

/* `repository` stays borrowed, and must have the lock. */
struct backup_pack_writer *backup_pack_writer_new(struct backup_repository *repository);
/* What was not put is dropped. Sets *writer to NULL. A NULL *writer is allowed. */
void backup_pack_writer_free(struct backup_pack_writer **writer);

/*
 * Adds a message (`guid` its GUID) or records (NULL). *place_r is where it will be; if that made
 * the pack full, it is put.
 */
int backup_pack_add(struct backup_pack_writer *writer, enum backup_kind kind,
	const struct guid *guid, struct bytes data, struct backup_place *place_r,
	struct error *error);
/* Puts what was added. Once a pack could not be put, this and backup_pack_add() fail for ever. */
int backup_pack_flush(struct backup_pack_writer *writer, struct error *error);
bool backup_pack_has_failed(const struct backup_pack_writer *writer);
/* Bytes that were put, and objects. */
uint64_t backup_pack_written(const struct backup_pack_writer *writer, uint64_t *count_r);

/* Reads what a pack says that it holds; *entries_r is the caller's, to be freed. */
int backup_pack_index(struct backup_repository *repository, struct id128 pack, uint64_t size,
	struct backup_pack_entry **entries_r, size_t *count_r, struct error *error);
/* The same of a pack whose bytes are here. Pure; for the fuzzer, too. */
int backup_pack_index_decode(
	struct bytes in, struct backup_pack_entry **entries_r, size_t *count_r);

#endif
