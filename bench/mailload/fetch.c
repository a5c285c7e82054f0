/* fetch: what a client asks when it opens, searches and resynchronizes a large mailbox. */
#include "commands.h"

#include "client.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define REPETITIONS_MAX 64

struct fetch_run {
	struct connection connection;
	const char *mailbox;
	long repetitions;
	struct mailbox_state state;
};

static void count_search(const char *line, uint64_t *items)
{
	for (const char *at = line + 8; *at != '\0'; at++) {
		if (*at == ' ' && isdigit((unsigned char)at[1]))
			(*items)++;
	}
}

/* Counts the messages that a response is about. */
static void count_items(char *line, size_t len, void *context)
{
	uint64_t *items = context;
	const char *at = line + 2;

	if (*line != '*' || len < 2)
		return;
	while (isdigit((unsigned char)*at))
		at++;
	if (strncmp(at, " FETCH", 6) == 0)
		(*items)++;
	else if (strncasecmp(line, "* SEARCH", 8) == 0)
		count_search(line, items);
	else if (strncasecmp(line, "* ESEARCH", 9) == 0 || strncasecmp(line, "* VANISHED", 10) == 0)
		(*items)++;
}

static void time_command(
	struct fetch_run *run, long repetitions, const char *label, const char *command)
{
	double seconds[REPETITIONS_MAX], first, median;
	uint64_t items = 0, bytes = 0;

	for (long i = 0; i < repetitions; i++) {
		uint64_t bytes_before = run->connection.bytes_in;
		double began = seconds_now();

		items = 0;
		if (imap_command(&run->connection, count_items, &items, "%s", command) != 0) {
			printf("fetch %-22s FAILED %s\n", label, run->connection.last);
			return;
		}
		seconds[i] = seconds_now() - began;
		bytes = run->connection.bytes_in - bytes_before;
	}
	first = seconds[0];
	qsort(seconds, (size_t)repetitions, sizeof(*seconds), compare_doubles);
	median = percentile(seconds, (size_t)repetitions, 50);
	printf("fetch %-22s first_ms=%.3f median_ms=%.3f min_ms=%.3f items=%llu bytes=%llu "
	       "items/s=%.0f MBps=%.1f\n",
		label, first * 1e3, median * 1e3, seconds[0] * 1e3, (unsigned long long)items,
		(unsigned long long)bytes, (double)items / median, (double)bytes / median / 1e6);
	fflush(stdout);
}

static void time_select(struct fetch_run *run)
{
	double seconds[REPETITIONS_MAX], first;

	for (long i = 0; i < run->repetitions; i++) {
		double began = seconds_now();

		if (imap_select(&run->connection, "SELECT", run->mailbox, &run->state) != 0)
			die("select: %s", run->connection.last);
		seconds[i] = seconds_now() - began;
		if (i + 1 < run->repetitions)
			imap_unselect(&run->connection);
	}
	first = seconds[0];
	qsort(seconds, (size_t)run->repetitions, sizeof(*seconds), compare_doubles);
	printf("fetch %-22s first_ms=%.3f median_ms=%.3f min_ms=%.3f exists=%u\n", "SELECT",
		first * 1e3, percentile(seconds, (size_t)run->repetitions, 50) * 1e3,
		seconds[0] * 1e3, run->state.exists);
}

static void time_qresync(struct fetch_run *run)
{
	struct connection *connection = &run->connection;
	double seconds[REPETITIONS_MAX];
	uint64_t items = 0, bytes = 0;
	long count = 0;

	imap_unselect(connection);
	for (; count < run->repetitions; count++) {
		uint64_t bytes_before = connection->bytes_in;
		double began = seconds_now();

		items = 0;
		if (imap_command(connection, count_items, &items,
			    "SELECT \"%s\" (QRESYNC (%u %llu))", run->mailbox,
			    run->state.uidvalidity,
			    (unsigned long long)run->state.highestmodseq) != 0) {
			printf("qresync: %s\n", connection->last);
			break;
		}
		seconds[count] = seconds_now() - began;
		bytes = connection->bytes_in - bytes_before;
		imap_unselect(connection);
	}
	qsort(seconds, (size_t)count, sizeof(*seconds), compare_doubles);
	printf("fetch %-22s median_ms=%.3f items=%llu bytes=%llu\n", "SELECT-QRESYNC",
		percentile(seconds, (size_t)count, 50) * 1e3, (unsigned long long)items,
		(unsigned long long)bytes);
	imap_select(connection, "SELECT", run->mailbox, &run->state);
}

/* What a client that was here before asks: nothing changed, some flags changed. */
static void time_changes(struct fetch_run *run)
{
	struct connection *connection = &run->connection;
	unsigned changes = (unsigned)option_number(connection->options, "change", 100);
	unsigned step = run->state.exists / (changes > 0 ? changes : 1);
	char command[256];

	snprintf(command, sizeof(command), "UID FETCH 1:* (FLAGS) (CHANGEDSINCE %llu)",
		(unsigned long long)run->state.highestmodseq);
	time_command(run, run->repetitions, "CHANGEDSINCE-none", command);
	if (step == 0)
		step = 1;
	for (unsigned i = 1; changes > 0 && i <= run->state.exists; i += step)
		imap_must(connection, "STORE %u +FLAGS.SILENT (\\Draft)", i);
	time_command(run, run->repetitions, "CHANGEDSINCE-100", command);
	if (imap_command(connection, NULL, NULL, "ENABLE QRESYNC") == 0)
		time_qresync(run);
	for (unsigned i = 1; changes > 0 && i <= run->state.exists; i += step)
		imap_must(connection, "STORE %u -FLAGS.SILENT (\\Draft)", i);
}

int command_fetch(const struct options *options)
{
	struct fetch_run run = { .mailbox = option(options, "mailbox", "INBOX"),
		.repetitions = option_number(options, "reps", 5) };
	long few;

	if (run.repetitions > REPETITIONS_MAX)
		run.repetitions = REPETITIONS_MAX;
	few = option_number(options, "few", run.repetitions < 3 ? run.repetitions : 3);
	if (few > REPETITIONS_MAX)
		few = REPETITIONS_MAX;
	imap_login(&run.connection, options, option_needed(options, "imap"),
		option(options, "user", "u0001"));
	time_select(&run);
	time_command(&run, run.repetitions, "FLAGS", "UID FETCH 1:* (FLAGS)");
	time_command(&run, run.repetitions, "ENVELOPE",
		"UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)");
	time_command(&run, run.repetitions, "HEADER.FIELDS",
		"UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)])");
	time_command(&run, run.repetitions, "HEADER.FIELDS-uncached",
		"UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM X-BENCH USER-AGENT)])");
	time_command(&run, run.repetitions, "BODYSTRUCTURE", "UID FETCH 1:* (BODYSTRUCTURE)");
	time_command(&run, run.repetitions, "SEARCH-SUBJECT", "UID SEARCH SUBJECT xylophone");
	time_command(&run, run.repetitions, "SEARCH-FLAGGED", "UID SEARCH FLAGGED");
	time_command(&run, few, "SEARCH-TEXT", "UID SEARCH TEXT quixotic");
	time_command(&run, few, "BODY.PEEK[]", "UID FETCH 1:* (BODY.PEEK[])");
	if (run.connection.has_condstore)
		time_changes(&run);
	imap_logout(&run.connection);
	return 0;
}
