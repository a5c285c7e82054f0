/*
 * tool_commands: the one table of what `chapar` can do, from which the command line is parsed and
 * help and shell completion are made. Pure.
 */
#ifndef CHAPAR_CHAPAR_TOOL_COMMANDS_H
#define CHAPAR_CHAPAR_TOOL_COMMANDS_H

#include "chapar/tool_options.h"

enum option_flag {
	TAKES_JSON = 1,
	TAKES_BODIES = 1 << 1,
	TAKES_PASSWORD_FILE = 1 << 2,
	TAKES_FROM_FILE = 1 << 3,
	TAKES_ACCOUNT = 1 << 4,
	TAKES_LIMITS = 1 << 5,
	TAKES_SINCE = 1 << 6,
	TAKES_UNDELETE = 1 << 7,
	TAKES_SKIP_DAMAGE = 1 << 8,
	TAKES_ORIGIN = 1 << 9,
	TAKES_WATCH = 1 << 10,
	TAKES_SERVE = 1 << 11,
	TAKES_SECRET = 1 << 12,
	TAKES_POINT = 1 << 13,
	TAKES_REPLY = 1 << 14,
	TAKES_MOVE = 1 << 15,
	TAKES_CHECK = 1 << 16,
	TAKES_PEER = 1 << 17,
	TAKES_IMPORT = 1 << 18,
	TAKES_BACKUP = 1 << 19,
	TAKES_AT = 1 << 20,
	TAKES_RESTORE = 1 << 21,
	TAKES_KEEP = 1 << 22,
	TAKES_TARGET = 1 << 23,
	TAKES_LISTED = 1 << 24,
	TAKES_EXPORT = 1 << 25
};

struct tool_command {
	const char *words[2]; /* the second is NULL for commands of one word */
	enum tool_command_id id;
	unsigned takes;
	size_t name_count_min, name_count_max;
	const char *arguments, *help;
};

struct tool_option {
	const char *text;
	enum option_flag flag;
	const char *value; /* what it is called in help; NULL: the option has none */
	size_t offset;     /* in struct tool_options: bool, or const char * */
	const char *help;
};

/* Both arrays end with an entry of zeros. */
extern const struct tool_command tool_commands[];
extern const struct tool_option tool_option_rows[];

/* All commands whose words begin with these; ERR_NOT_FOUND: none. */
int tool_help_of(const char *const *words, size_t count, FILE *out);
/* Completion for "bash" or "zsh", to be read by it. ERR_NOT_FOUND: another shell. */
int tool_completion(const char *shell, FILE *out);

#endif
