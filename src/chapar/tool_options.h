/*
 * tool_options: the command line of `chapar`, parsed. Pure.
 */
#ifndef CHAPAR_CHAPAR_TOOL_OPTIONS_H
#define CHAPAR_CHAPAR_TOOL_OPTIONS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TOOL_NAME_COUNT_MAX 1000 /* accounts named on one command line */

enum tool_command_id {
	TOOL_ACCOUNT_ADD,
	TOOL_ACCOUNT_DELETE,
	TOOL_ACCOUNT_DISABLE,
	TOOL_ACCOUNT_ENABLE,
	TOOL_ACCOUNT_LIST,
	TOOL_ACCOUNT_MODE,
	TOOL_ACCOUNT_PASSWD,
	TOOL_ACCOUNT_SERVE,
	TOOL_ACCOUNT_SHARE,
	TOOL_ACCOUNT_MOVE,
	TOOL_ACCOUNT_SWITCH,
	TOOL_ACL,
	TOOL_BACKUP,
	TOOL_BACKUP_LIST,
	TOOL_BACKUP_PRUNE,
	TOOL_BACKUP_VERIFY,
	TOOL_BUNDLE_APPLY,
	TOOL_BUNDLE_CREATE,
	TOOL_BUNDLE_INFO,
	TOOL_BUNDLE_VERIFY,
	TOOL_CHANNEL_ADD,
	TOOL_CHANNEL_LIST,
	TOOL_CHANNEL_PAUSE,
	TOOL_CHANNEL_REMOVE,
	TOOL_CHANNEL_RESUME,
	TOOL_CLONE,
	TOOL_COMPACT,
	TOOL_TRACE,
	TOOL_COMPLETION,
	TOOL_CONFLICT_LIST,
	TOOL_EXPORT,
	TOOL_HELP,
	TOOL_IMPORT,
	TOOL_PULL,
	TOOL_PUSH,
	TOOL_QUOTA,
	TOOL_REBUILD,
	TOOL_RENEW_ID,
	TOOL_RESTORE,
	TOOL_SCRIPT_ACTIVATE,
	TOOL_SCRIPT_DELETE,
	TOOL_SCRIPT_GET,
	TOOL_SCRIPT_LIST,
	TOOL_SCRIPT_PUT,
	TOOL_SERVE,
	TOOL_STATUS,
	TOOL_SYNC,
	TOOL_UNDELETE,
	TOOL_VERIFY,
	TOOL_VERSION
};

/* All strings borrow from the arguments. */
struct tool_options {
	const char *config_file; /* NULL: not given */
	const char *folder;      /* of a clone; NULL: not given */
	enum tool_command_id command;
	bool is_json;
	bool with_bodies;
	const char *password_file; /* "-": standard input; NULL: ask */
	const char *from_file;     /* likewise; NULL: none */
	const char *account;       /* NULL: all */
	/* Limits: "10G", "none" or "default"; NULL: as they are. */
	const char *quota_storage, *quota_messages, *quota_mailboxes, *quota_annotations;
	const char *mailbox, *to; /* NULL: not given */
	const char *since;
	bool is_list;
	bool skips_damage;
	const char *ca_file, *pin; /* of an origin; NULL: not given */
	bool is_without_tls;
	const char *reply, *key_file, *passphrase_file; /* of bundles; NULL: not given */
	bool is_encrypted;
	bool is_watch, is_check;
	bool removes_source;
	bool is_dry_run, is_over_quota, keeps_gone; /* of imports */
	const char *peer;                           /* a channel's name; NULL: not given */
	const char *login;                          /* of an import; NULL: the user himself */
	const char *token_file;                     /* likewise; NULL: a password */
	bool is_repair;
	/* Of backup and restore; NULL: not given. */
	const char *from, *into, *accounts, *cache, *at, *as, *message, *keep;
	bool is_whole, with_expunged, is_dry, is_exact;
	/* How to log in at the node that keeps the backup; NULL: not given. */
	const char *target_password_file, *target_ca_file, *target_pin;
	bool is_target_without_tls;
	const char *port; /* NULL: not given */
	bool has_local_password;
	const char *const *names; /* what is no option */
	size_t name_count;
};

/* ERR_INVALID with the reason: no such command or option, or one that the command does not take. */
int tool_options_parse(
	int argc, const char *const *argv, struct tool_options *options_r, struct error *error);

/* Prints all commands with their options. */
void tool_help(FILE *out);

#endif
