/*
 * tool_run: runs a request on a node: by its daemon, over the control socket; or, while that is
 * stopped, here, with the store opened for it.
 */
#ifndef CHAPAR_CHAPAR_TOOL_RUN_H
#define CHAPAR_CHAPAR_TOOL_RUN_H

#include "backup/backup_source.h"
#include "chapard/config.h"

struct node;

/* `config` stays borrowed. ERR_UNAVAILABLE: the store is in use, but no daemon answers; those of
 * store_open(). */
int node_open(const struct config *config, struct node **node_r, struct error *error);
/* A store without a configuration in `folder`, which is made. Those of store_open(). */
int node_open_folder(const char *folder, struct node **node_r, struct error *error);
/* Of a node whose store is open here; NULL: a daemon has it. */
struct mail *node_mail(struct node *node);
void node_close(struct node **node); /* Sets *node to NULL. A NULL *node is allowed. */

/* Runs one admin request (chapard/admin.h); its output goes to `out` as it comes. */
int node_run(
	struct node *node, const char *const *words, size_t count, FILE *out, struct error *error);

/*
 * Lets SYNC requests be asked of the node, as those of a full peer that is `self`; after that
 * nothing else. *source_r is usable until node_close().
 */
int node_sync(struct node *node, const struct sync_self *self, struct backup_source *source_r,
	struct error *error);
/* HELLO, as the first request to a source. */
int source_hello(struct backup_source *source, const struct sync_self *self, struct error *error);

/* Makes the index anew from the segments. ERR_UNAVAILABLE: the store is open elsewhere; those of
 * store_rebuild(). */
int node_rebuild(const struct config *config, bool skips_damage, FILE *out, struct error *error);

/* Gives the store a new node id. ERR_UNAVAILABLE: it is open elsewhere. */
int node_renew_id(const struct config *config, FILE *out, struct error *error);

#endif
