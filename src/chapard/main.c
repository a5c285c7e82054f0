/*
 * chapard: the daemon's command line. See chapard(8).
 */
#include "base/log.h"
#include "chapard/config.h"
#include "chapard/daemon.h"
#include "chapard/exit_code.h"

#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#define KEPT_MEMORY_MAX (1024 * 1024) /* bytes, of one allocation or at the top of an arena */

enum long_option { OPTION_CHECK = 256, OPTION_HELP_CONFIG, OPTION_HELP, OPTION_VERSION };

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "check", no_argument, NULL, OPTION_CHECK },
	{ "help-config", no_argument, NULL, OPTION_HELP_CONFIG },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ NULL, 0, NULL, 0 },
};

static const char usage[] =
	"usage: chapard [-c FILE] [--check]\n"
	"  -c, --config FILE  configuration; by default " CONFIG_FILE_DEFAULT "\n"
	"      --check        check the configuration and the files it names, then end\n"
	"      --help-config  tell all configuration keys\n"
	"      --help, --version\n"
	"The daemon stays in the foreground and logs to standard error. SIGTERM and SIGINT stop "
	"it,\n"
	"SIGHUP makes it read the TLS certificate again.\n";

static int failure(int code, const struct error *error)
{
	fprintf(stderr, "chapard: %s\n", error->text);
	return code;
}

static int serve(const struct config *config)
{
	struct daemon *daemon;
	struct error error = { 0 };
	int rc;

	log_level_set((enum log_level)config->log_level);
	rc = daemon_start(config, &daemon, &error);
	if (rc < 0)
		return failure(exit_code_of(rc), &error);
	rc = daemon_wait(daemon);
	daemon_stop(&daemon);
	return exit_code_of(rc);
}

/* glibc raises both by what was freed last: after one large message or commit it would keep that
 * much in each thread's arena for good. */
static void give_memory_back(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, KEPT_MEMORY_MAX);
	(void)mallopt(M_TRIM_THRESHOLD, KEPT_MEMORY_MAX);
}

int main(int argc, char **argv)
{
	const char *file = CONFIG_FILE_DEFAULT;
	struct config *config;
	struct error error = { 0 };
	bool is_check = false;
	int option, code;

	give_memory_back();
	while ((option = getopt_long(argc, argv, "c:", options, NULL)) != -1)
		switch (option) {
		case 'c':
			file = optarg;
			break;
		case OPTION_CHECK:
			is_check = true;
			break;
		case OPTION_HELP_CONFIG:
			config_help(stdout);
			return 0;
		case OPTION_HELP:
			fputs(usage, stdout);
			return 0;
		case OPTION_VERSION:
			puts("chapard " CHAPAR_VERSION);
			return 0;
		default:
			fputs(usage, stderr);
			return EX_USAGE;
		}
	if (optind < argc) {
		fputs(usage, stderr);
		return EX_USAGE;
	}
	if (config_load(file, &config, &error) < 0)
		return failure(EX_CONFIG, &error);
	/* Also before serving, so that nothing is made if a file is not right. */
	if (daemon_check(config, &error) < 0)
		code = failure(EX_CONFIG, &error);
	else
		code = is_check ? 0 : serve(config);
	config_free(&config);
	return code;
}
