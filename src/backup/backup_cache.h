/*
 * backup_cache: which message is in which pack: what a backup remembers on the machine that makes
 * it, so that it need not ask the target for each message. It can be removed at any time: it is
 * made anew from the indexes of the packs. What a pack holds that no point speaks of yet, as a
 * backup was interrupted, is in it too, so that nothing is fetched twice.
 *
 * Used by one thread, and one process (who has the target's lock), at a time.
 */
#ifndef CHAPAR_BACKUP_BACKUP_CACHE_H
#define CHAPAR_BACKUP_BACKUP_CACHE_H

#include "backup/backup_repository.h"

struct backup_cache; /* opaque */

/*
 * Opens it in `path`, which is made; NULL: in memory only. Brings it up to what packs the target
 * has. `repository` stays borrowed.
 */
int backup_cache_open(const char *path, struct backup_repository *repository,
	struct backup_cache **cache_r, struct error *error);
/* Sets *cache to NULL. A NULL *cache is allowed. */
void backup_cache_close(struct backup_cache **cache);

/* ERR_NOT_FOUND: the backup does not have that message. */
int backup_cache_find(struct backup_cache *cache, const struct guid *guid,
	struct backup_place *place_r, struct error *error);
/* Remembers a message whose pack is yet to be put; until backup_cache_save() in memory. */
void backup_cache_add(
	struct backup_cache *cache, const struct guid *guid, const struct backup_place *place);
/* The packs with all that was added were put. */
int backup_cache_save(struct backup_cache *cache, struct error *error);

/* ---- packs that the target has ---- */
struct backup_pack_name {
	struct id128 id;
	uint64_t size;
};
int backup_pack_list(struct backup_repository *repository, struct backup_pack_name **packs_r,
	size_t *count_r, struct error *error);

#endif
