/*
 * tool_restore_files: a restore into Maildir or mbox. Each account goes exactly as it was into a
 * store of its own in a private folder, and from there is exported; the folder is gone when the
 * command is. For tool_restore.c.
 */
#ifndef CHAPAR_CHAPAR_TOOL_RESTORE_FILES_H
#define CHAPAR_CHAPAR_TOOL_RESTORE_FILES_H

#include "backup/backup_restore.h"
#include "chapar/tool_backup.h"

/* What became of an account. */
struct tool_restored {
	struct backup_restore_result result;
	const char *folder;     /* where its files are; NULL: it went to a node */
	bool is_skipped;        /* not asked for by name, and it has no mail of anybody */
	uint64_t unnamed_count; /* keywords that the format has no room for */
};

struct tool_restore_files; /* opaque */

/* Whether --into names files. */
bool tool_restore_is_files(const struct tool_options *options);
/*
 * Makes the folder that --into names. If exactly one account is named on the command line, that is
 * its own; else each gets one below it, of its name. `options` and `repository` stay borrowed.
 */
int tool_restore_files_begin(const struct tool_options *options,
	struct backup_repository *repository, struct tool_restore_files **files_r,
	struct error *error);
/*
 * `wanted` is for a node; of it, what is selected and `progress` count. restored_r->folder lives
 * until the next call. ERR_EXISTS: its folder is not empty; ERR_NOT_FOUND: there is no such
 * mailbox, or the account was deleted then; those of backup_restore() and export_step().
 */
int tool_restore_files_bring(struct tool_restore_files *files, const struct backup_account *account,
	const struct backup_restore_options *wanted, struct tool_restored *restored_r,
	struct error *error);
/* Sets *files to NULL. A NULL *files is allowed. */
void tool_restore_files_end(struct tool_restore_files **files);

#endif
