#include "chapar/tool_options.h"

#include "chapard/config.h"

#include <string.h>

enum option_flag {
	TAKES_JSON = 1,
	TAKES_BODIES = 2,
	TAKES_PASSWORD_FILE = 4,
	TAKES_FROM_FILE = 8,
	TAKES_ACCOUNT = 16,
	TAKES_LIMITS = 32,
	TAKES_SINCE = 64,
	TAKES_UNDELETE = 128,
	TAKES_SKIP_DAMAGE = 256
};

struct command {
	const char *words[2]; /* the second is NULL for commands of one word */
	enum tool_command_id id;
	unsigned takes;
	size_t name_count_min, name_count_max;
	const char *arguments, *help;
};

static const struct command commands[] = {
	{ { "account", "add" }, TOOL_ACCOUNT_ADD, TAKES_PASSWORD_FILE | TAKES_FROM_FILE, 0,
		TOOL_NAME_COUNT_MAX, "NAME... [--password-file FILE] | --from-file FILE",
		"Make accounts with that password, or one for each line NAME:PASSWORD." },
	{ { "account", "delete" }, TOOL_ACCOUNT_DELETE, 0, 1, 1, "NAME",
		"Delete an account, on all nodes; undelete brings it back." },
	{ { "account", "disable" }, TOOL_ACCOUNT_DISABLE, 0, 1, 1, "NAME",
		"Let a user log in no more, on no node, and close his sessions; mail still "
		"comes." },
	{ { "account", "enable" }, TOOL_ACCOUNT_ENABLE, 0, 1, 1, "NAME", "Let him log in again." },
	{ { "account", "list" }, TOOL_ACCOUNT_LIST, TAKES_JSON, 0, 0, "[--json]",
		"List the accounts with their messages and bytes." },
	{ { "account", "mode" }, TOOL_ACCOUNT_MODE, 0, 2, 3,
		"PATTERN multi | PATTERN master [NODE]",
		"Let accounts be changed on all nodes, or on one: this, or NODE." },
	{ { "account", "passwd" }, TOOL_ACCOUNT_PASSWD, TAKES_PASSWORD_FILE, 1, 1,
		"NAME [--password-file FILE]", "Change a password, on all nodes." },
	{ { "account", "share" }, TOOL_ACCOUNT_SHARE, 0, 1, 1, "NAME",
		"Make an account that belongs to nobody, for shared mailboxes." },
	{ { "account", "switch" }, TOOL_ACCOUNT_SWITCH, 0, 1, 2, "NAME [NODE]",
		"Make this node, or NODE, the master of an account that has another." },
	{ { "acl", NULL }, TOOL_ACL, 0, 2, 4, "NAME MAILBOX [IDENTIFIER RIGHTS]",
		"Tell who has which rights to a mailbox, or set them, on all nodes." },
	{ { "channel", "add" }, TOOL_CHANNEL_ADD, 0, 1, TOOL_NAME_COUNT_MAX, "NAME KEY=VALUE...",
		"Replicate to a further node from now on; keys as in a peer section." },
	{ { "channel", "list" }, TOOL_CHANNEL_LIST, TAKES_JSON, 0, 0, "[--json]",
		"Tell the state of replication to each peer." },
	{ { "channel", "pause" }, TOOL_CHANNEL_PAUSE, 0, 1, 1, "NAME",
		"Stop sending there until it is resumed; changes are kept for it." },
	{ { "channel", "remove" }, TOOL_CHANNEL_REMOVE, 0, 1, 1, "NAME",
		"Forget a channel that was added by this tool." },
	{ { "channel", "resume" }, TOOL_CHANNEL_RESUME, 0, 1, 1, "NAME",
		"Go on with a paused channel." },
	{ { "compact", NULL }, TOOL_COMPACT, 0, 0, 0, "", "Give the space of deleted mail back." },
	{ { "conflict", "list" }, TOOL_CONFLICT_LIST, TAKES_JSON | TAKES_ACCOUNT | TAKES_SINCE, 0,
		0, "[--account NAME] [--since TIME] [--json]",
		"List what merges decided by more than that the later change stays." },
	{ { "help", NULL }, TOOL_HELP, 0, 0, 0, "", "Tell the commands." },
	{ { "quota", NULL }, TOOL_QUOTA, TAKES_JSON | TAKES_LIMITS, 0, 1,
		"[NAME] [--storage N] [--messages N] [--mailboxes N] [--annotations N] [--json]",
		"Tell what accounts hold and may hold, or set an account's limits on all nodes." },
	{ { "rebuild", NULL }, TOOL_REBUILD, TAKES_SKIP_DAMAGE, 0, 0, "[--skip-damage]",
		"Make the index anew from the segments; the daemon must be stopped." },
	{ { "renew-id", NULL }, TOOL_RENEW_ID, 0, 0, 0, "",
		"Give a copied or restored store an id of its own; the daemon must be stopped." },
	{ { "script", "activate" }, TOOL_SCRIPT_ACTIVATE, 0, 1, 2, "ACCOUNT [SCRIPT]",
		"Make that Sieve script the active one, or none." },
	{ { "script", "delete" }, TOOL_SCRIPT_DELETE, 0, 2, 2, "ACCOUNT SCRIPT",
		"Delete a Sieve script that is not active." },
	{ { "script", "get" }, TOOL_SCRIPT_GET, 0, 2, 2, "ACCOUNT SCRIPT", "Tell its text." },
	{ { "script", "list" }, TOOL_SCRIPT_LIST, TAKES_JSON, 1, 1, "ACCOUNT [--json]",
		"List the Sieve scripts of an account." },
	{ { "script", "put" }, TOOL_SCRIPT_PUT, TAKES_FROM_FILE, 2, 2,
		"ACCOUNT SCRIPT [--from-file FILE]", "Write a Sieve script, new or in place." },
	{ { "status", NULL }, TOOL_STATUS, TAKES_JSON, 0, 0, "[--json]",
		"Tell the state of the node, its clients and its channels." },
	{ { "undelete", NULL }, TOOL_UNDELETE, TAKES_JSON | TAKES_SINCE | TAKES_UNDELETE, 1,
		TOOL_NAME_COUNT_MAX,
		"ACCOUNT [ID...] [--mailbox NAME] [--to NAME] [--since TIME] [--list [--json]]",
		"Bring back messages, a mailbox or an account; or list what can be." },
	{ { "verify", NULL }, TOOL_VERIFY, TAKES_JSON | TAKES_BODIES | TAKES_ACCOUNT, 0, 0,
		"[--account NAME] [--bodies] [--json]",
		"Recompute digests, counts and indexes from the records." },
	{ { "version", NULL }, TOOL_VERSION, 0, 0, 0, "", "Tell the version." },
};

static const struct {
	const char *text;
	enum option_flag flag;
	bool has_value;
	size_t offset;
} option_rows[] = {
	{ "--json", TAKES_JSON, false, offsetof(struct tool_options, is_json) },
	{ "--bodies", TAKES_BODIES, false, offsetof(struct tool_options, with_bodies) },
	{ "--password-file", TAKES_PASSWORD_FILE, true,
		offsetof(struct tool_options, password_file) },
	{ "--from-file", TAKES_FROM_FILE, true, offsetof(struct tool_options, from_file) },
	{ "--account", TAKES_ACCOUNT, true, offsetof(struct tool_options, account) },
	{ "--storage", TAKES_LIMITS, true, offsetof(struct tool_options, quota_storage) },
	{ "--messages", TAKES_LIMITS, true, offsetof(struct tool_options, quota_messages) },
	{ "--mailboxes", TAKES_LIMITS, true, offsetof(struct tool_options, quota_mailboxes) },
	{ "--annotations", TAKES_LIMITS, true, offsetof(struct tool_options, quota_annotations) },
	{ "--since", TAKES_SINCE, true, offsetof(struct tool_options, since) },
	{ "--mailbox", TAKES_UNDELETE, true, offsetof(struct tool_options, mailbox) },
	{ "--to", TAKES_UNDELETE, true, offsetof(struct tool_options, to) },
	{ "--list", TAKES_UNDELETE, false, offsetof(struct tool_options, is_list) },
	{ "--skip-damage", TAKES_SKIP_DAMAGE, false, offsetof(struct tool_options, skips_damage) },
};

#define ROW_COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

struct words { /* what is left of the command line */
	const char *const *next;
	size_t count;
};

static const char *word_take(struct words *words)
{
	if (words->count == 0)
		return NULL;
	words->count--;
	return *words->next++;
}

static const struct command *command_take(struct words *words)
{
	for (size_t i = 0; i < ROW_COUNT(commands); i++) {
		size_t count = commands[i].words[1] != NULL ? 2 : 1;

		if (words->count < count || strcmp(words->next[0], commands[i].words[0]) != 0 ||
			(count == 2 && strcmp(words->next[1], commands[i].words[1]) != 0))
			continue;
		words->next += count;
		words->count -= count;
		return &commands[i];
	}
	return NULL;
}

/* Takes one option, whose first word was taken off already. */
static int option_take(const struct command *command, const char *text, struct words *words,
	struct tool_options *options, struct error *error)
{
	for (size_t i = 0; i < ROW_COUNT(option_rows); i++) {
		char *field = (char *)options + option_rows[i].offset;

		if (strcmp(option_rows[i].text, text) != 0 ||
			(command->takes & (unsigned)option_rows[i].flag) == 0)
			continue;
		if (!option_rows[i].has_value) {
			*(bool *)field = true;
			return 0;
		}
		*(const char **)field = word_take(words);
		if (*(const char **)field == NULL)
			return error_set(error, ERR_INVALID, "%s needs a value", text);
		return 0;
	}
	return error_set(error, ERR_INVALID, "%s%s%s does not take %s", command->words[0],
		command->words[1] != NULL ? " " : "",
		command->words[1] != NULL ? command->words[1] : "", text);
}

static bool is_option(const char *text)
{
	return text[0] == '-';
}

static int arguments_take(const struct command *command, struct words *words,
	struct tool_options *options, struct error *error)
{
	options->names = words->next;
	while (words->count > 0 && !is_option(words->next[0])) {
		word_take(words);
		options->name_count++;
	}
	while (words->count > 0) {
		const char *text = word_take(words);
		int rc;

		if (!is_option(text))
			return error_set(error, ERR_INVALID, "%s: names go before options", text);
		rc = option_take(command, text, words, options, error);
		if (rc < 0)
			return rc;
	}
	if (options->name_count < command->name_count_min)
		return error_set(error, ERR_INVALID, "a name is missing");
	if (options->name_count > command->name_count_max)
		return error_set(error, ERR_INVALID, "too many arguments");
	if (command->id == TOOL_ACCOUNT_ADD &&
		(options->name_count > 0) == (options->from_file != NULL))
		return error_set(error, ERR_INVALID, "give either names or --from-file");
	if (options->from_file != NULL && options->password_file != NULL)
		return error_set(
			error, ERR_INVALID, "--from-file and --password-file exclude each other");
	return 0;
}

/* What stands before the command. */
static int global_take(struct words *words, struct tool_options *options, struct error *error)
{
	while (words->count > 0 && words->next[0][0] == '-') {
		const char *text = word_take(words);

		if (strcmp(text, "-c") != 0 && strcmp(text, "--config") != 0)
			return error_set(error, ERR_INVALID,
				"no such option before a command: %.100s", text);
		options->config_file = word_take(words);
		if (options->config_file == NULL)
			return error_set(error, ERR_INVALID, "%s needs a file", text);
	}
	if (words->count == 0)
		return error_set(error, ERR_INVALID, "a command is missing");
	return 0;
}

int tool_options_parse(
	int argc, const char *const *argv, struct tool_options *options_r, struct error *error)
{
	struct tool_options options = { .config_file = CONFIG_FILE_DEFAULT };
	struct words words = { argv + 1, argc > 0 ? (size_t)argc - 1 : 0 };
	const struct command *command;
	int rc;

	if (words.count == 1 && strcmp(words.next[0], "--help") == 0) {
		options.command = TOOL_HELP;
		goto out;
	}
	if (words.count == 1 && strcmp(words.next[0], "--version") == 0) {
		options.command = TOOL_VERSION;
		goto out;
	}
	rc = global_take(&words, &options, error);
	if (rc < 0)
		return rc;
	command = command_take(&words);
	if (command == NULL)
		return error_set(error, ERR_INVALID, "no such command: %.100s%s%.100s",
			words.next[0], words.count > 1 ? " " : "",
			words.count > 1 ? words.next[1] : "");
	options.command = command->id;
	rc = arguments_take(command, &words, &options, error);
	if (rc < 0)
		return rc;
out:
	*options_r = options;
	return 0;
}

void tool_help(FILE *out)
{
	fputs("usage: chapar [-c FILE] COMMAND\n"
	      "FILE is the daemon's configuration; by default " CONFIG_FILE_DEFAULT ".\n\n",
		out);
	for (size_t i = 0; i < ROW_COUNT(commands); i++) {
		const struct command *command = &commands[i];

		fprintf(out, "  %s%s%s%s%s\n      %s\n", command->words[0],
			command->words[1] != NULL ? " " : "",
			command->words[1] != NULL ? command->words[1] : "",
			command->arguments[0] != '\0' ? " " : "", command->arguments,
			command->help);
	}
	fputs("\nA FILE of - is standard input. Exit codes are those of sysexits.h; see "
	      "chapar(1).\n",
		out);
}
