/* tool_backup: the commands backup and restore. Each prints to standard output. */
#ifndef CHAPAR_CHAPAR_TOOL_BACKUP_H
#define CHAPAR_CHAPAR_TOOL_BACKUP_H

#include "backup/backup_repository.h"
#include "chapar/tool_link.h"
#include "chapar/tool_options.h"
#include "chapar/tool_progress.h"
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

/* The backup is known to nodes by an id that derives from its own. */
struct sync_self tool_backup_self(const struct backup_repository *repository);
/* Elsewhere, if `url` is given; *link is to be closed then. */
int tool_backup_source(struct node *node, const char *url, const struct tool_options *options,
	const struct sync_self *self, struct tool_link **link, struct backup_source *source,
	struct error *error);

/* What is told meanwhile, and of each account. */
struct tool_telling {
	struct tool_progress progress;
	bool is_json;
	uint64_t line_count;
};
/* How far it is; `context` is the telling. */
void tool_telling_progress(void *context, const char *account, uint64_t done, uint64_t total);
/* Puts the line out, and frees its room. */
void tool_telling_line(struct tool_telling *telling, struct buffer *line);

int tool_backup_run(struct node *node, const struct tool_options *options, struct error *error);
int tool_backup_list(const struct tool_options *options, struct error *error);
int tool_backup_prune(const struct tool_options *options, struct error *error);
int tool_backup_verify(const struct tool_options *options, struct error *error);
int tool_restore(struct node *node, const struct tool_options *options, struct error *error);

#endif
