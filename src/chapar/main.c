/*
 * chapar: the command-line tool, for operators and for users with a clone. See chapar(1).
 */
#include "base/arena.h"
#include "chapar/tool_backup.h"
#include "chapar/tool_bundle.h"
#include "chapar/tool_clone.h"
#include "chapar/tool_commands.h"
#include "chapar/tool_foreign.h"
#include "chapar/tool_password.h"
#include "chapar/tool_records.h"
#include "chapar/tool_run.h"
#include "chapard/admin.h"
#include "chapard/config.h"
#include "chapard/exit_code.h"
#include "chapard/privileges.h"

#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#define WATCH_S 2         /* between two looks of status --watch */
#define ADD_COUNT_MAX 100 /* accounts in one request */

struct words {
	const char *list[2 * ADD_COUNT_MAX + 4];
	size_t count;
};

static void word_add(struct words *words, const char *text)
{
	assert(words->count < sizeof(words->list) / sizeof(words->list[0]));
	words->list[words->count++] = text;
}

static int words_run(struct node *node, const struct words *words, struct error *error)
{
	return node_run(node, words->list, words->count, stdout, error);
}

/* ---- account add, account passwd ---- */

static int names_add(struct node *node, const struct tool_options *options, struct error *error)
{
	struct buffer password = { 0 };
	int rc = password_read(options->password_file, &password, error);

	for (size_t i = 0; i < options->name_count && rc == 0;) {
		struct words words = { { "account-add" }, 1 };

		for (int k = 0; k < ADD_COUNT_MAX && i < options->name_count; k++, i++) {
			word_add(&words, options->names[i]);
			word_add(&words, buffer_string(&password));
		}
		rc = words_run(node, &words, error);
	}
	buffer_deinit(&password);
	return rc;
}

/* Cuts "NAME:PASSWORD" in two. Names may not hold a colon here; passwords may. */
static int pair_split(char *line, char **password_r, struct error *error)
{
	char *colon = strchr(line, ':');

	if (colon == NULL)
		return error_set(error, ERR_INVALID, "\"%.100s\" is not NAME:PASSWORD", line);
	*colon = '\0';
	*password_r = colon + 1;
	return 0;
}

/* Reads up to ADD_COUNT_MAX pairs. ERR_NOT_FOUND: the file has ended. */
static int pairs_read(FILE *in, struct arena *arena, struct words *words, struct error *error)
{
	struct buffer line = { 0 };
	int rc = 0;

	for (int i = 0; i < ADD_COUNT_MAX && rc == 0; i++) {
		char *name, *password = NULL;

		rc = line_read(in, &line, error);
		if (rc < 0 || line.len == 0)
			continue;
		name = arena_string(arena, buffer_bytes(&line));
		rc = pair_split(name, &password, error);
		if (rc < 0)
			break;
		word_add(words, name);
		word_add(words, password);
	}
	buffer_deinit(&line);
	return rc;
}

/* What was read before a bad line is added all the same. */
static int lines_add(struct node *node, FILE *in, struct arena *arena, struct error *error)
{
	struct words words = { { "account-add" }, 1 };
	struct error read_error = { 0 };
	int read_rc = pairs_read(in, arena, &words, &read_error);
	int rc = words.count > 1 ? words_run(node, &words, error) : 0;

	if (rc == 0 && read_rc < 0) {
		rc = read_rc;
		*error = read_error;
	}
	return rc;
}

static int file_add(struct node *node, const struct tool_options *options, struct error *error)
{
	struct arena *arena = arena_new();
	FILE *in = NULL;
	int rc = input_open(options->from_file, &in, error);
	bool is_open = rc == 0;

	while (rc == 0) {
		arena_reset(arena);
		rc = lines_add(node, in, arena, error);
	}
	/* What ended the loop is the end of the file, if the last lines went well. */
	if (is_open && rc == ERR_NOT_FOUND && feof(in))
		rc = 0;
	input_close(&in);
	arena_free(&arena);
	return rc;
}

static int account_passwd(
	struct node *node, const struct tool_options *options, struct error *error)
{
	struct words words = { { "account-passwd", options->names[0] }, 2 };
	struct buffer password = { 0 };
	int rc = password_read(options->password_file, &password, error);

	if (rc == 0) {
		word_add(&words, buffer_string(&password));
		rc = words_run(node, &words, error);
	}
	buffer_deinit(&password);
	return rc;
}

/* ---- all commands ---- */

static int simple_run(struct node *node, const char *command, const struct tool_options *options,
	struct error *error)
{
	struct words words = { { command }, 1 };

	if (options->is_json)
		word_add(&words, "--json");
	if (options->with_bodies)
		word_add(&words, "--bodies");
	if (options->is_check)
		word_add(&words, "--check");
	if (options->account != NULL)
		word_add(&words, options->account);
	return words_run(node, &words, error);
}

/* The command with all that was given as arguments. */
static int named_run(struct node *node, const char *command, const struct tool_options *options,
	struct error *error)
{
	struct words words = { { command }, 1 };

	if (options->is_json)
		word_add(&words, "--json");
	if (options->name_count + words.count >= sizeof(words.list) / sizeof(words.list[0]))
		return error_set(error, ERR_INVALID, "too many arguments");
	for (size_t i = 0; i < options->name_count; i++)
		word_add(&words, options->names[i]);
	return words_run(node, &words, error);
}

static int move_run(struct node *node, const struct tool_options *options, struct error *error)
{
	struct words words = { { "account-move" }, 1 };

	word_add(&words, options->names[0]);
	word_add(&words, options->to);
	if (options->removes_source)
		word_add(&words, "remove-source");
	return words_run(node, &words, error);
}

/* Without limits, tells them. */
static int quota_run(struct node *node, const struct tool_options *options, struct error *error)
{
	const struct {
		const char *resource, *limit;
	} rows[] = {
		{ "STORAGE", options->quota_storage },
		{ "MESSAGE", options->quota_messages },
		{ "MAILBOX", options->quota_mailboxes },
		{ "ANNOTATION-STORAGE", options->quota_annotations },
	};
	struct words words = { { "quota-set" }, 1 };

	if (options->name_count > 0)
		word_add(&words, options->names[0]);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].limit == NULL)
			continue;
		if (options->name_count == 0)
			return error_set(error, ERR_INVALID, "limits are those of one account");
		word_add(&words, rows[i].resource);
		word_add(&words, rows[i].limit);
	}
	if (words.count > 2)
		return words_run(node, &words, error);
	words = (struct words){ { "quota" }, 1 };
	if (options->is_json)
		word_add(&words, "--json");
	if (options->name_count > 0)
		word_add(&words, options->names[0]);
	return words_run(node, &words, error);
}

static int verify_peer_run(
	struct node *node, const struct tool_options *options, struct error *error)
{
	struct words words = { { "verify-peer" }, 1 };

	if (options->is_json)
		word_add(&words, "--json");
	if (options->with_bodies)
		word_add(&words, "--bodies");
	word_add(&words, options->peer);
	if (options->is_repair)
		word_add(&words, "repair");
	return words_run(node, &words, error);
}

typedef int command_function(struct node *node, const char *name,
	const struct tool_options *options, struct error *error);

/* Commands that go to the daemon as they were given. */
static const struct relayed_command {
	enum tool_command_id command;
	command_function *run;
	const char *name;
} relayed_commands[] = {
	{ TOOL_ACCOUNT_DELETE, named_run, "account-delete" },
	{ TOOL_ACCOUNT_DISABLE, named_run, "account-disable" },
	{ TOOL_ACCOUNT_ENABLE, named_run, "account-enable" },
	{ TOOL_ACCOUNT_LIST, simple_run, "account-list" },
	{ TOOL_ACCOUNT_MODE, named_run, "account-mode" },
	{ TOOL_ACCOUNT_SERVE, named_run, "account-serve" },
	{ TOOL_ACCOUNT_SHARE, named_run, "account-share" },
	{ TOOL_ACL, named_run, "acl" },
	{ TOOL_ACCOUNT_SWITCH, named_run, "account-switch" },
	{ TOOL_CHANNEL_ADD, named_run, "channel-add" },
	{ TOOL_CHANNEL_PAUSE, named_run, "channel-pause" },
	{ TOOL_CHANNEL_REMOVE, named_run, "channel-remove" },
	{ TOOL_CHANNEL_RESUME, named_run, "channel-resume" },
	{ TOOL_CHANNEL_LIST, simple_run, "channel-list" },
	{ TOOL_COMPACT, simple_run, "compact" },
	{ TOOL_SCRIPT_ACTIVATE, named_run, "script-activate" },
	{ TOOL_SCRIPT_DELETE, named_run, "script-delete" },
	{ TOOL_SCRIPT_GET, named_run, "script-get" },
	{ TOOL_SCRIPT_LIST, named_run, "script-list" },
	{ TOOL_TRACE, named_run, "trace" },
	{ TOOL_STATUS, simple_run, "status" },
};

static int command_run(const struct config *config, struct node *node,
	const struct tool_options *options, struct error *error)
{
	for (size_t i = 0; i < sizeof(relayed_commands) / sizeof(relayed_commands[0]); i++)
		if (relayed_commands[i].command == options->command)
			return relayed_commands[i].run(
				node, relayed_commands[i].name, options, error);
	switch (options->command) {
	case TOOL_ACCOUNT_ADD:
		return options->from_file != NULL ? file_add(node, options, error)
						  : names_add(node, options, error);
	case TOOL_ACCOUNT_PASSWD:
		return account_passwd(node, options, error);
	case TOOL_ACCOUNT_MOVE:
		return move_run(node, options, error);
	case TOOL_BACKUP:
	case TOOL_RESTORE:
		return tool_backup(node, options, error);
	case TOOL_BUNDLE_APPLY:
	case TOOL_BUNDLE_CREATE:
		return tool_bundle(node, options, error);
	case TOOL_CONFLICT_LIST:
		return tool_conflict_list(node, options, error);
	case TOOL_EXPORT:
		return tool_export(node, options, error);
	case TOOL_IMPORT:
		return tool_import(node, options, error);
	case TOOL_PULL:
	case TOOL_PUSH:
	case TOOL_SYNC:
		return tool_sync(config, node, options, error);
	case TOOL_QUOTA:
		return quota_run(node, options, error);
	case TOOL_SCRIPT_PUT:
		return tool_script_put(node, options, error);
	case TOOL_UNDELETE:
		return tool_undelete(node, options, error);
	case TOOL_VERIFY:
		return options->peer != NULL ? verify_peer_run(node, options, error)
					     : simple_run(node, "verify", options, error);
	default:
		return error_set(error, ERR_INVALID, "not a command for a node");
	}
}

/* Until it is ended, whatever becomes of the daemon. On a terminal in place of what was told
 * before.
 */
static int status_watch(
	const struct config *config, const struct tool_options *options, struct error *error)
{
	bool is_terminal = isatty(STDOUT_FILENO) && !options->is_json;

	while (!ferror(stdout)) {
		struct node *node = NULL;
		int rc = node_open(config, &node, error);

		if (is_terminal)
			fputs("\033[H\033[J", stdout);
		if (rc == 0)
			rc = command_run(config, node, options, error);
		node_close(&node);
		if (rc < 0)
			printf("%s\n", error->code != 0 ? error->text : error_name(rc));
		*error = (struct error){ 0 };
		fflush(stdout);
		sleep(WATCH_S);
	}
	return ERR_IO;
}

static int tool_run(
	const struct config *config, const struct tool_options *options, struct error *error)
{
	struct node *node;
	int rc = privileges_drop(config->user, false, error);

	if (rc < 0)
		return rc;
	if (options->command == TOOL_REBUILD)
		return node_rebuild(config, options->skips_damage, stdout, error);
	if (options->command == TOOL_RENEW_ID)
		return node_renew_id(config, stdout, error);
	if (options->command == TOOL_STATUS && options->is_watch)
		return status_watch(config, options, error);
	rc = node_open(config, &node, error);
	if (rc < 0)
		return rc;
	rc = command_run(config, node, options, error);
	node_close(&node);
	return rc;
}

/* The configuration that is meant: named, or of the clone that is named or stood in. */
static int config_file_find(
	const struct tool_options *options, struct buffer *file, struct error *error)
{
	bool has_folder = options->command == TOOL_PULL || options->command == TOOL_PUSH ||
			  options->command == TOOL_SYNC || options->command == TOOL_SERVE ||
			  options->command == TOOL_STATUS || options->command == TOOL_VERIFY;
	int rc;

	if (options->config_file != NULL) {
		buffer_append_string(file, options->config_file);
		return 0;
	}
	if (options->folder != NULL)
		return clone_find(options->folder, file, error);
	if (has_folder && options->name_count > 0)
		return clone_find(options->names[0], file, error);
	rc = clone_find(".", file, error);
	if (rc != ERR_NOT_FOUND)
		return rc;
	if (has_folder && options->command != TOOL_STATUS && options->command != TOOL_VERIFY)
		return error_set(error, rc, "this folder is no clone; say which is");
	*error = (struct error){ 0 };
	buffer_clear(file);
	buffer_append_string(file, CONFIG_FILE_DEFAULT);
	return 0;
}

/* The commands that need no node. ERR_NOT_FOUND with nothing in *error: another one. */
static int bare_run(const struct tool_options *options, struct error *error)
{
	if (tool_backup_is_bare(options))
		return tool_backup(NULL, options, error);
	switch (options->command) {
	case TOOL_HELP:
		if (options->name_count == 0)
			tool_help(stdout);
		else if (tool_help_of(options->names, options->name_count, stdout) < 0)
			return error_set(
				error, ERR_INVALID, "no such command: %.60s", options->names[0]);
		return 0;
	case TOOL_VERSION:
		puts("chapar " CHAPAR_VERSION);
		return 0;
	case TOOL_COMPLETION:
		if (tool_completion(options->names[0], stdout) < 0)
			return error_set(
				error, ERR_INVALID, "no completion for %.20s", options->names[0]);
		return 0;
	case TOOL_BUNDLE_INFO:
	case TOOL_BUNDLE_VERIFY:
		return tool_bundle_check(options, stdout, error);
	case TOOL_CLONE:
		return tool_clone(options, error);
	default:
		return ERR_NOT_FOUND;
	}
}

static int config_run(const struct tool_options *options, struct error *error, int *code_r)
{
	struct buffer file = { 0 };
	struct config *config = NULL;
	int rc = config_file_find(options, &file, error);

	if (rc == 0) {
		rc = config_load(buffer_string(&file), &config, error);
		*code_r = rc < 0 ? EX_CONFIG : 0;
	}
	if (rc == 0)
		rc = options->command == TOOL_SERVE ? tool_serve(config, options, error)
						    : tool_run(config, options, error);
	config_free(&config);
	buffer_deinit(&file);
	return rc;
}

/* In colour on a terminal that has them, unless NO_COLOR (no-color.org) says that nobody wants any.
 */
static void failure_print(const char *text)
{
	const char *none = getenv("NO_COLOR"), *terminal = getenv("TERM");
	bool has_colour = isatty(STDERR_FILENO) && (none == NULL || none[0] == '\0') &&
			  terminal != NULL && strcmp(terminal, "dumb") != 0;

	fprintf(stderr, "%schapar:%s %s\n", has_colour ? "\033[1;31m" : "",
		has_colour ? "\033[0m" : "", text);
}

int main(int argc, char **argv)
{
	struct tool_options options;
	struct error error = { 0 };
	int rc, code = 0;

	if (tool_options_parse(argc, (const char *const *)argv, &options, &error) < 0) {
		failure_print(error.text);
		fputs("chapar help tells all commands\n", stderr);
		return EX_USAGE;
	}
	rc = bare_run(&options, &error);
	if (rc == ERR_NOT_FOUND && error.code == 0)
		rc = config_run(&options, &error, &code);
	if (rc < 0)
		failure_print(error.code != 0 ? error.text : error_name(rc));
	if (fflush(stdout) != 0 && rc == 0)
		rc = ERR_IO;
	return code != 0 ? code : exit_code_of(rc);
}
