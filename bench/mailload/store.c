/* store: changes of flags one by one, pipelined, and of a whole mailbox in one command. */
#include "commands.h"

#include "base/mem.h"
#include "client.h"

#include <stdio.h>
#include <stdlib.h>

#define REPETITIONS_MAX 64

struct store_run {
	struct connection connection;
	long count;
	double *latencies;
	size_t latency_count;
};

/* Each returns changed messages per second. */
static double store_singly(struct store_run *run, char sign)
{
	double began = seconds_now();

	for (long i = 1; i <= run->count; i++) {
		double sent = seconds_now();

		imap_must(&run->connection, "STORE %ld %cFLAGS.SILENT (\\Flagged)", i, sign);
		run->latencies[run->latency_count++] = seconds_now() - sent;
	}
	return (double)run->count / (seconds_now() - began);
}

static double store_pipelined(struct store_run *run, char sign, long window)
{
	struct connection *connection = &run->connection;
	unsigned first_tag = connection->tag + 1;
	double began = seconds_now();
	long sent = 0;

	for (long answered = 0; answered < run->count; answered++) {
		for (; sent < run->count && sent - answered < window; sent++)
			imap_send(connection, "STORE %ld %cFLAGS.SILENT (\\Answered)", sent + 1,
				sign);
		if (imap_wait(connection, first_tag + (unsigned)answered, NULL, NULL) != 0)
			die("store: %s", connection->last);
	}
	return (double)run->count / (seconds_now() - began);
}

static double store_all(struct store_run *run, char sign, uint32_t exists)
{
	double began = seconds_now();

	imap_must(&run->connection, "STORE 1:* %cFLAGS.SILENT (\\Seen)", sign);
	return (double)exists / (seconds_now() - began);
}

static double median(double *values, long count)
{
	qsort(values, (size_t)count, sizeof(*values), compare_doubles);
	return percentile(values, (size_t)count, 50);
}

int command_store(const struct options *options)
{
	double singly[REPETITIONS_MAX], pipelined[REPETITIONS_MAX], all[REPETITIONS_MAX], rate;
	long window = option_number(options, "pipeline", 64);
	long repetitions = option_number(options, "reps", 3);
	struct store_run run = { .count = option_number(options, "count", 2000) };
	struct mailbox_state state;

	imap_login(&run.connection, options, option_needed(options, "imap"),
		option(options, "user", "u0001"));
	if (imap_select(&run.connection, "SELECT", option(options, "mailbox", "INBOX"), &state) !=
		0)
		die("select: %s", run.connection.last);
	if (run.count > (long)state.exists)
		run.count = (long)state.exists;
	if (repetitions > REPETITIONS_MAX)
		repetitions = REPETITIONS_MAX;
	run.latencies = mem_zalloc_array((size_t)(run.count * repetitions), sizeof(double));
	imap_must(&run.connection, "STORE 1:* -FLAGS.SILENT (\\Flagged \\Answered)");
	for (long i = 0; i < repetitions; i++) {
		char sign = i % 2 != 0 ? '-' : '+';

		singly[i] = store_singly(&run, sign);
		pipelined[i] = store_pipelined(&run, sign, window);
		all[i] = store_all(&run, sign, state.exists);
	}
	printf("store one-by-one n=%ld ops/s=%.0f\n", run.count, median(singly, repetitions));
	report_latency("store one-by-one", run.latencies, run.latency_count);
	printf("store pipelined window=%ld n=%ld ops/s=%.0f\n", window, run.count,
		median(pipelined, repetitions));
	rate = median(all, repetitions);
	printf("store single-command n=%u msgs/s=%.0f ms=%.1f\n", state.exists, rate,
		(double)state.exists / rate * 1e3);
	imap_logout(&run.connection);
	free(run.latencies);
	return 0;
}
