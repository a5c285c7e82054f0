/* tool_backup: the commands backup and restore. Each prints to standard output. */
#ifndef CHAPAR_CHAPAR_TOOL_BACKUP_H
#define CHAPAR_CHAPAR_TOOL_BACKUP_H

#include "backup/backup_repository.h"
#include "chapar/tool_options.h"
#include "chapar/tool_run.h"

/* Whether the command needs no node of this machine, nor its configuration. */
bool tool_backup_is_bare(const struct tool_options *options);
/* Runs it; `node` is NULL if it is bare. */
int tool_backup(struct node *node, const struct tool_options *options, struct error *error);

/* ---- for tool_backup*.c ---- */

/*
 * Opens the target that the command names, with --key-file, --passphrase-file, CHAPAR_PASSPHRASE or
 * a question.
 */
int tool_backup_open(const struct tool_options *options, bool create, bool is_writer,
	struct backup_repository **repository_r, struct error *error);
/* --at; UINT64_MAX: the last point. */
int tool_backup_time(const struct tool_options *options, uint64_t *at_ms_r, struct error *error);

int tool_backup_run(struct node *node, const struct tool_options *options, struct error *error);
int tool_backup_list(const struct tool_options *options, struct error *error);
int tool_backup_prune(const struct tool_options *options, struct error *error);
int tool_backup_verify(const struct tool_options *options, struct error *error);
int tool_restore(struct node *node, const struct tool_options *options, struct error *error);

#endif
