/*
 * mailload: a load driver and checker for any IMAP and LMTP server (see ../README.md).
 */
#include "commands.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct command {
	const char *name;
	int (*run)(const struct options *options);
} commands[] = {
	{ "deliver", command_deliver },
	{ "append", command_append },
	{ "fetch", command_fetch },
	{ "store", command_store },
	{ "idle", command_idle },
	{ "lag", command_lag },
	{ "catchup", command_catchup },
	{ "equal", command_equal },
	{ "splitbrain", command_splitbrain },
	{ "proxy", command_proxy },
	{ "dump", command_dump },
	{ "mkbox", command_make_mailboxes },
	{ "drain", command_drain },
	{ "pss", command_memory },
	{ "gen", command_generate },
};

int main(int argc, char **argv)
{
	struct options options = { argc, argv };
	size_t count = sizeof(commands) / sizeof(*commands);

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; argc > 1 && i < count; i++) {
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(&options);
	}
	fputs("usage: mailload ", stderr);
	for (size_t i = 0; i < count; i++)
		fprintf(stderr, "%s%s", i > 0 ? "|" : "", commands[i].name);
	fputs(" --option value ... (see README.md)\n", stderr);
	return 64;
}
