/*
 * tool_link: a node elsewhere, named by an IMAP URL, for who asks it SYNC requests without a store
 * of his own: backup and restore.
 */
#ifndef CHAPAR_CHAPAR_TOOL_LINK_H
#define CHAPAR_CHAPAR_TOOL_LINK_H

#include "backup/backup_source.h"
#include "chapar/tool_options.h"

struct tool_link; /* opaque */

/* How we log in there. All is borrowed. */
struct tool_login {
	const char *password_file; /* "-": standard input; NULL: none */
	const char *variable;      /* of the environment, with the password; goes after the file */
	struct bytes password;     /* what was found so before; empty: look for it */
	const char *ca_file, *pin; /* NULL: none */
	bool is_without_tls;
};

/* What --password-file, CHAPAR_PASSWORD, --ca-file, --pin and --no-tls say. */
struct tool_login tool_login_of(const struct tool_options *options);

/*
 * Appends the password for the node that the URL names: of the file, the variable, or a question.
 * ERR_INVALID: no such URL, or one without a user; those of password_read().
 */
int tool_login_password(const char *url, const struct tool_login *login, struct buffer *password,
	struct error *error);

/*
 * Connects. *source_r is usable until tool_link_close(). Errors: those of clone_url_parse() and
 * channel_link_open().
 */
int tool_link_open(const char *url, const struct tool_login *login, const struct sync_self *self,
	struct tool_link **link_r, struct backup_source *source_r, struct error *error);
/* Sets *link to NULL. A NULL *link is allowed. */
void tool_link_close(struct tool_link **link);

#endif
