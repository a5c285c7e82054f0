/*
 * storage: the node's store, opened as its configuration says; for the daemon and the tool.
 */
#ifndef CHAPAR_CHAPARD_STORAGE_H
#define CHAPAR_CHAPARD_STORAGE_H

#include "chapard/config.h"
#include "store/store.h"

/*
 * Opens the store; its folder is made if it is not there (its parent must be). Errors: those of
 * store_open(); `error` names the store.
 */
int storage_open(const struct config *config, struct store **store_r, struct error *error);
/* store_rebuild() of the configured store. */
int storage_rebuild(const struct config *config, bool skips_damage, struct error *error,
	uint64_t *commit_count_r);

#endif
