/*
 * tool_clone: clones: folders that hold a copy of an account, with a configuration file of a node
 * (clone.conf) whose section `origin` says where it comes from.
 */
#ifndef CHAPAR_CHAPAR_TOOL_CLONE_H
#define CHAPAR_CHAPAR_TOOL_CLONE_H

#include "chapar/tool_options.h"
#include "chapar/tool_run.h"

#define CLONE_CONFIG_NAME "clone.conf"

/* `chapar clone`: makes the folder, and fills it. What was made is removed again if the origin
 * cannot be reached, or refuses the login. */
int tool_clone(const struct tool_options *options, struct error *error);
/* pull, push, sync. */
int tool_sync(const struct config *config, struct node *node, const struct tool_options *options,
	struct error *error);
/* `chapar serve`: until SIGTERM or SIGINT. May choose a port, which it writes into clone.conf. */
int tool_serve(struct config *config, const struct tool_options *options, struct error *error);

/*
 * Appends the configuration file of the clone in `folder`. ERR_NOT_FOUND: there is none;
 * ERR_REFUSED: it is another user's, and may lead anywhere.
 */
int clone_find(const char *folder, struct buffer *file, struct error *error);

#endif
