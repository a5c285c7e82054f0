#include "chapar/tool_options.h"

#include "chapar/tool_commands.h"

#include <string.h>

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

static const struct tool_command *command_take(struct words *words)
{
	for (const struct tool_command *command = tool_commands; command->words[0] != NULL;
		command++) {
		size_t count = command->words[1] != NULL ? 2 : 1;

		if (words->count < count || strcmp(words->next[0], command->words[0]) != 0 ||
			(count == 2 && strcmp(words->next[1], command->words[1]) != 0))
			continue;
		words->next += count;
		words->count -= count;
		return command;
	}
	return NULL;
}

/* Takes one option, whose first word was taken off already. */
static int option_take(const struct tool_command *command, const char *text, struct words *words,
	struct tool_options *options, struct error *error)
{
	for (const struct tool_option *row = tool_option_rows; row->text != NULL; row++) {
		char *field = (char *)options + row->offset;

		if (strcmp(row->text, text) != 0 || (command->takes & (unsigned)row->flag) == 0)
			continue;
		if (row->value == NULL) {
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

/* "-" alone is a file: standard input. */
static bool is_option(const char *text)
{
	return text[0] == '-' && text[1] != '\0';
}

/* Names are told as they stand on the command line, so they must stand together. */
static int name_take(struct words *words, struct tool_options *options, struct error *error)
{
	if (options->name_count == 0)
		options->names = words->next;
	else if (options->names + options->name_count != words->next)
		return error_set(error, ERR_INVALID,
			"%s: names stand together, before or after the options", words->next[0]);
	word_take(words);
	options->name_count++;
	return 0;
}

static int check_exclusions(
	const struct tool_command *command, const struct tool_options *options, struct error *error)
{
	if (command->id == TOOL_ACCOUNT_ADD &&
		(options->name_count > 0) == (options->from_file != NULL))
		return error_set(error, ERR_INVALID, "give either names or --from-file");
	if (command->id == TOOL_ACCOUNT_MOVE && options->to == NULL)
		return error_set(error, ERR_INVALID, "--to NODE is missing");
	if (command->id == TOOL_BACKUP_PRUNE && options->keep == NULL)
		return error_set(error, ERR_INVALID, "--keep RULES is missing");
	if (command->id == TOOL_IMPORT &&
		options->name_count != (options->from_file != NULL ? 1u : 2u))
		return error_set(error, ERR_INVALID,
			options->from_file != NULL
				? "with --from-file only the source is named"
				: "give an account and a source, or a source and --from-file");
	if (options->token_file != NULL && options->password_file != NULL)
		return error_set(
			error, ERR_INVALID, "--token-file and --password-file exclude each other");
	if (command->id != TOOL_IMPORT && options->from_file != NULL &&
		options->password_file != NULL)
		return error_set(
			error, ERR_INVALID, "--from-file and --password-file exclude each other");
	if (options->is_repair && options->peer == NULL)
		return error_set(error, ERR_INVALID, "--repair needs --peer");
	if (options->peer != NULL && options->account != NULL)
		return error_set(error, ERR_INVALID, "--peer compares all accounts");
	if (options->is_without_tls && (options->ca_file != NULL || options->pin != NULL))
		return error_set(error, ERR_INVALID, "--no-tls leaves nothing to verify");
	if (options->ca_file != NULL && options->pin != NULL)
		return error_set(error, ERR_INVALID, "--ca-file and --pin exclude each other");
	return 0;
}

static int arguments_take(const struct tool_command *command, struct words *words,
	struct tool_options *options, struct error *error)
{
	int rc = 0;

	options->names = words->next;
	while (words->count > 0 && rc == 0) {
		if (is_option(words->next[0]))
			rc = option_take(command, word_take(words), words, options, error);
		else
			rc = name_take(words, options, error);
	}
	if (rc < 0)
		return rc;
	if (options->name_count < command->name_count_min)
		return error_set(error, ERR_INVALID, "a name is missing");
	if (options->name_count > command->name_count_max)
		return error_set(error, ERR_INVALID, "too many arguments");
	return check_exclusions(command, options, error);
}

/* What stands before the command. */
static int global_take(struct words *words, struct tool_options *options, struct error *error)
{
	while (words->count > 0 && words->next[0][0] == '-') {
		const char *text = word_take(words), **value;

		if (strcmp(text, "-c") == 0 || strcmp(text, "--config") == 0)
			value = &options->config_file;
		else if (strcmp(text, "-C") == 0)
			value = &options->folder;
		else
			return error_set(error, ERR_INVALID,
				"no such option before a command: %.100s", text);
		*value = word_take(words);
		if (*value == NULL)
			return error_set(error, ERR_INVALID, "%s needs a %s", text,
				value == &options->folder ? "folder" : "file");
	}
	if (words->count == 0)
		return error_set(error, ERR_INVALID, "a command is missing");
	if (options->folder != NULL && options->config_file != NULL)
		return error_set(error, ERR_INVALID, "-c and -C exclude each other");
	return 0;
}

int tool_options_parse(
	int argc, const char *const *argv, struct tool_options *options_r, struct error *error)
{
	struct tool_options options = { 0 };
	struct words words = { argv + 1, argc > 0 ? (size_t)argc - 1 : 0 };
	const struct tool_command *command;
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
