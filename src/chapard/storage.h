/*
 * storage: the node's store, opened as its configuration says; for the daemon and the tool.
 */
#ifndef CHAPAR_CHAPARD_STORAGE_H
#define CHAPAR_CHAPARD_STORAGE_H

#include "chapard/config.h"
#include "store/store.h"

/* Opens the store; its folder is made if it is not there. ERR_UNAVAILABLE: a process has it open;
 * those of store_open(). */
int storage_open(const struct config *config, struct store **store_r, struct error *error);

#endif
