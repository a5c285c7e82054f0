/* tool_bundle: bundles (sync/bundle.h), on a node or without one. */
#ifndef CHAPAR_CHAPAR_TOOL_BUNDLE_H
#define CHAPAR_CHAPAR_TOOL_BUNDLE_H

#include "chapar/tool_options.h"
#include "chapar/tool_run.h"

/* bundle create, bundle apply. */
int tool_bundle(struct node *node, const struct tool_options *options, struct error *error);
/* bundle info, bundle verify: need no node. */
int tool_bundle_check(const struct tool_options *options, FILE *out, struct error *error);

#endif
