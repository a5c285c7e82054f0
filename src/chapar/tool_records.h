/* tool_records: the commands on what was deleted and on scripts, as requests to a node. */
#ifndef CHAPAR_CHAPAR_TOOL_RECORDS_H
#define CHAPAR_CHAPAR_TOOL_RECORDS_H

#include "chapar/tool_options.h"
#include "chapar/tool_run.h"

int tool_undelete(struct node *node, const struct tool_options *options, struct error *error);
int tool_script_put(struct node *node, const struct tool_options *options, struct error *error);
int tool_conflict_list(struct node *node, const struct tool_options *options, struct error *error);

/*
 * A time as a person writes it: "2026-11-21", "2026-11-21T10:50:00" (both UTC), or so long ago:
 * "90m", "12h", "3d". Milliseconds since 1970. ERR_INVALID.
 */
int tool_time_parse(const char *text, uint64_t now_ms, uint64_t *ms_r, struct error *error);

#endif
