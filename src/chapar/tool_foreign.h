/* tool_foreign: import and export, as requests to a node. */
#ifndef CHAPAR_CHAPAR_TOOL_FOREIGN_H
#define CHAPAR_CHAPAR_TOOL_FOREIGN_H

#include "chapar/tool_options.h"
#include "chapar/tool_run.h"

int tool_export(struct node *node, const struct tool_options *options, struct error *error);
int tool_import(struct node *node, const struct tool_options *options, struct error *error);

#endif
