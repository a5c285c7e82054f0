/*
 * tool_link: a node elsewhere, named by an IMAP URL, for who asks it SYNC requests without a store
 * of his own: backup and restore.
 */
#ifndef CHAPAR_CHAPAR_TOOL_LINK_H
#define CHAPAR_CHAPAR_TOOL_LINK_H

#include "backup/backup_source.h"
#include "chapar/tool_options.h"

struct tool_link; /* opaque */

/*
 * Connects, with --password-file, CHAPAR_PASSWORD or a question, and --ca-file, --pin, --no-tls.
 * *source_r is usable until tool_link_close(). Errors: those of clone_url_parse() and
 * channel_link_open().
 */
int tool_link_open(const char *url, const struct tool_options *options,
	const struct sync_self *self, struct tool_link **link_r, struct backup_source *source_r,
	struct error *error);
/* Sets *link to NULL. A NULL *link is allowed. */
void tool_link_close(struct tool_link **link);

#endif
