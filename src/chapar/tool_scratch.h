/*
 * tool_scratch: a folder for what a command needs while it runs, which nobody else may read. It is
 * gone when the command is, however that ends: a child process removes it when it is told to, or
 * when this process is no more, killed or not.
 */
#ifndef CHAPAR_CHAPAR_TOOL_SCRATCH_H
#define CHAPAR_CHAPAR_TOOL_SCRATCH_H

#include "base/error.h"

struct tool_scratch; /* opaque */

/* Makes one in `parent`. Forks: call it before there are threads. ERR_NOT_FOUND, ERR_FULL, ERR_IO.
 */
int tool_scratch_new(const char *parent, struct tool_scratch **scratch_r, struct error *error);
const char *tool_scratch_path(const struct tool_scratch *scratch);
/* Waits until it is removed. Sets *scratch to NULL. A NULL *scratch is allowed. */
void tool_scratch_free(struct tool_scratch **scratch);

/* Removes a folder with all that is in it, as far as it can. */
void tool_folder_remove(const char *folder);

#endif
