/* Help and shell completion, from the table of commands. */
#include "chapar/tool_commands.h"

#include "chapard/config.h"

#include <string.h>

static void name_print(const struct tool_command *command, FILE *out)
{
	fprintf(out, "%s%s%s", command->words[0], command->words[1] != NULL ? " " : "",
		command->words[1] != NULL ? command->words[1] : "");
}

static void options_print(const struct tool_command *command, FILE *out)
{
	for (const struct tool_option *row = tool_option_rows; row->text != NULL; row++)
		if ((command->takes & (unsigned)row->flag) != 0)
			fprintf(out, " [%s%s%s]", row->text, row->value != NULL ? " " : "",
				row->value != NULL ? row->value : "");
}

static void usage_print(const struct tool_command *command, FILE *out)
{
	name_print(command, out);
	if (command->arguments[0] != '\0')
		fprintf(out, " %s", command->arguments);
	options_print(command, out);
}

void tool_help(FILE *out)
{
	fputs("usage: chapar [-c FILE | -C DIR] COMMAND\n"
	      "Works on the node whose configuration is FILE, by default " CONFIG_FILE_DEFAULT
	      ",\nor on the clone in DIR; in the folder of a clone, on that.\n\n",
		out);
	for (const struct tool_command *command = tool_commands; command->words[0] != NULL;
		command++) {
		fputs("  ", out);
		usage_print(command, out);
		fprintf(out, "\n      %s\n", command->help);
	}
	fputs("\nA FILE of - is standard input. Exit codes are those of sysexits.h; see "
	      "chapar(1).\n",
		out);
}

static bool begins_with(const struct tool_command *command, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (i >= 2 || command->words[i] == NULL || strcmp(command->words[i], words[i]) != 0)
			return false;
	return true;
}

static void command_print(const struct tool_command *command, FILE *out)
{
	fputs("usage: chapar ", out);
	usage_print(command, out);
	fprintf(out, "\n\n  %s\n", command->help);
	for (const struct tool_option *row = tool_option_rows; row->text != NULL; row++)
		if ((command->takes & (unsigned)row->flag) != 0)
			fprintf(out, "\n  %s%s%s\n      %s\n", row->text,
				row->value != NULL ? " " : "", row->value != NULL ? row->value : "",
				row->help);
}

int tool_help_of(const char *const *words, size_t count, FILE *out)
{
	size_t found_count = 0;

	for (const struct tool_command *command = tool_commands; command->words[0] != NULL;
		command++) {
		if (!begins_with(command, words, count))
			continue;
		if (found_count++ > 0)
			fputc('\n', out);
		command_print(command, out);
	}
	return found_count > 0 ? 0 : ERR_NOT_FOUND;
}

/* ---- completion ---- */

/* "account" once, though several commands begin with it. */
static bool is_first(const struct tool_command *command)
{
	for (const struct tool_command *other = tool_commands; other < command; other++)
		if (strcmp(other->words[0], command->words[0]) == 0)
			return false;
	return true;
}

static void case_print(const struct tool_command *command, FILE *out)
{
	fputs("    '", out);
	name_print(command, out);
	fputs("') options='", out);
	for (const struct tool_option *row = tool_option_rows; row->text != NULL; row++)
		if ((command->takes & (unsigned)row->flag) != 0)
			fprintf(out, "%s ", row->text);
	fputs("' ;;\n", out);
}

static void seconds_print(const struct tool_command *command, FILE *out)
{
	fprintf(out, "    %s) words='", command->words[0]);
	for (const struct tool_command *other = tool_commands; other->words[0] != NULL; other++)
		if (strcmp(other->words[0], command->words[0]) == 0 && other->words[1] != NULL)
			fprintf(out, "%s ", other->words[1]);
	fputs("' ;;\n", out);
}

/*
 * The words before the cursor, without -c FILE and -C DIR, are a command of one or two words, and
 * what follows it: an option, or the name of a file or folder, which the shell completes itself.
 */
static void bash_print(FILE *out)
{
	fputs("_chapar() {\n"
	      "  local current=${COMP_WORDS[COMP_CWORD]} words='' options='' first='' second=''\n"
	      "  local i=1\n"
	      "  while [[ ${COMP_WORDS[i]} == -[cC] ]]; do ((i += 2)); done\n"
	      "  ((i > COMP_CWORD)) && return\n"
	      "  ((i < COMP_CWORD)) && first=${COMP_WORDS[i]}\n"
	      "  ((i + 1 < COMP_CWORD)) && second=${COMP_WORDS[i + 1]}\n"
	      "  case $first in\n    '') words='",
		out);
	for (const struct tool_command *command = tool_commands; command->words[0] != NULL;
		command++)
		if (is_first(command))
			fprintf(out, "%s ", command->words[0]);
	fputs("' ;;\n", out);
	for (const struct tool_command *command = tool_commands; command->words[0] != NULL;
		command++)
		if (is_first(command) && command->words[1] != NULL)
			seconds_print(command, out);
	fputs("  esac\n"
	      "  [[ -n $words && -n $second ]] && words=''\n"
	      "  case \"$first $second\" in\n",
		out);
	for (const struct tool_command *command = tool_commands; command->words[0] != NULL;
		command++)
		if (command->words[1] != NULL)
			case_print(command, out);
	fputs("  esac\n  [[ -z $options ]] && case $first in\n", out);
	for (const struct tool_command *command = tool_commands; command->words[0] != NULL;
		command++)
		if (command->words[1] == NULL)
			case_print(command, out);
	fputs("  esac\n"
	      "  [[ $current == -* ]] && words=$options\n"
	      "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
	      "}\n"
	      "complete -o default -F _chapar chapar\n",
		out);
}

int tool_completion(const char *shell, FILE *out)
{
	bool is_zsh = strcmp(shell, "zsh") == 0;

	if (!is_zsh && strcmp(shell, "bash") != 0)
		return ERR_NOT_FOUND;
	/* zsh runs bash's completions, if told to. */
	if (is_zsh)
		fputs("autoload -U +X bashcompinit && bashcompinit\n", out);
	bash_print(out);
	return 0;
}
