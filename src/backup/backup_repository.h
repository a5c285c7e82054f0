/*
 * backup_repository: a backup's target, opened with its key: frames by their place, and what was
 * moved. docs/backup.md tells the whole form.
 *
 * Objects: "chapar-backup" (its id, and what the key is made from), "packs/ID" (messages and
 * records), "points/TIME-ID" (what all accounts were like), "moved/ID" (where the frames of a pack
 * are that prune took away). A pack is written before the point that speaks of it; nothing is
 * changed in place. Used by one thread at a time.
 */
#ifndef CHAPAR_BACKUP_BACKUP_REPOSITORY_H
#define CHAPAR_BACKUP_BACKUP_REPOSITORY_H

#include "backup/backup_frame.h"
#include "backup/object_store.h"
#include "base/hash.h"
#include "base/map.h"

#define BACKUP_HEAD_NAME "chapar-backup"

/* Where a frame is. All zero: nowhere. */
struct backup_place {
	struct id128 pack;
	uint32_t offset, size; /* bytes in the object; the size is the whole frame's */
};

static inline bool backup_place_is_none(const struct backup_place *place)
{
	return place->size == 0;
}

struct backup_repository {
	struct object_store *store;
	struct backup_key key;
	struct id128 id;
	struct arena *arena; /* of what follows */
	struct map moved;    /* pack id -> struct backup_moves, once they were listed */
	bool has_moved;
	/* The piece of a pack that was read last: what is wanted next is often beside it. */
	struct id128 near_pack;
	uint64_t near_offset;
	struct buffer near;
	uint64_t get_count; /* reads from the target */
};

struct backup_repository_options { /* all is borrowed */
	const char *target;
	const struct object_way *way; /* to nodes; NULL: none */
	struct bundle_secret secret;  /* what it is encrypted with, if it is made */
	bool create;                  /* make it, if there is none */
	bool is_writer;               /* takes the lock */
	bool *needs_secret_r; /* set if it is encrypted and no secret was given; may be NULL */
};

/*
 * ERR_NOT_FOUND: there is no backup; ERR_INVALID: it is encrypted and no secret was given;
 * ERR_REFUSED: the secret is not the one; ERR_CORRUPT, ERR_VERSION; those of object_store_open()
 * and object_lock().
 */
int backup_repository_open(const struct backup_repository_options *options,
	struct backup_repository **repository_r, struct error *error);
/* Sets *repository to NULL. A NULL *repository is allowed. */
void backup_repository_close(struct backup_repository **repository);

/* "packs/ID", in `name_r`. */
void backup_pack_name(struct id128 pack, char name_r[OBJECT_NAME_SIZE_MAX + 1]);
/* The id that the name of an object in `folder` tells. ERR_INVALID: it is none of ours. */
int backup_name_id(const char *folder, const char *name, struct id128 *id_r);

/* Reads one frame, wherever it is by now. ERR_CORRUPT: also if it is of another kind. */
int backup_read(struct backup_repository *repository, const struct backup_place *place,
	enum backup_kind kind, struct buffer *data, struct error *error);
/* A message, which must have that GUID. */
int backup_read_body(struct backup_repository *repository, const struct backup_place *place,
	const struct guid *guid, struct buffer *raw, struct error *error);

/* ---- what was moved ---- */

struct backup_move {
	uint32_t offset; /* in the pack that is gone */
	struct backup_place to;
};

/* Says where the frames of `pack` are; moves in order of their offsets. */
int backup_moved_put(struct backup_repository *repository, struct id128 pack,
	const struct backup_move *moves, size_t count, struct error *error);
/* 1: the frame was moved, *place is where to, from where it may have been moved on; 0: it was not.
 */
int backup_moved_step(
	struct backup_repository *repository, struct backup_place *place, struct error *error);
/* Where the frame is now: *place is changed if it was moved. */
int backup_moved_find(
	struct backup_repository *repository, struct backup_place *place, struct error *error);
/* Whether the frames of that pack were moved; reads what was moved. */
int backup_is_moved(struct backup_repository *repository, struct id128 pack, struct error *error);

/* For qsort() and bsearch(): offsets, or what begins with its offset (uint32_t). */
int backup_compare_offsets(const void *a, const void *b);

/* Places in data that are kept: a pack id, offset and size; of dlists. */
void backup_place_pack(struct buffer *out, const struct backup_place *place);
int backup_place_unpack(struct bytes *in, struct backup_place *place_r);

#endif
