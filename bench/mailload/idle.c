/* idle: the memory of many idle connections, and how soon one of them hears of a new message. */
#include "commands.h"

#include "base/mem.h"
#include "client.h"
#include "generate.h"
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define WAKE_TIMEOUT_MS 5000

static void open_idle(
	struct connection *connection_r, const struct options *options, const char *user)
{
	imap_login(connection_r, options, option_needed(options, "imap"), user);
	if (imap_select(connection_r, "SELECT", "INBOX", NULL) != 0)
		die("select: %s", connection_r->last);
	imap_idle(connection_r);
	connection_shrink(connection_r);
}

static void print_memory(const struct process_cost *before, const struct process_cost *after,
	long count, double seconds)
{
	double connections = (double)count;

	printf("idle conns=%ld open_secs=%.2f opens/s=%.0f procs %ld -> %ld PSS_MiB %.1f -> %.1f "
	       "RSS_MiB %.1f -> %.1f PrivDirty_MiB %.1f -> %.1f\n",
		count, seconds, connections / seconds, before->processes, after->processes,
		(double)before->pss / 1024, (double)after->pss / 1024, (double)before->rss / 1024,
		(double)after->rss / 1024, (double)before->private_dirty / 1024,
		(double)after->private_dirty / 1024);
	printf("idle per_conn PSS_KiB=%.1f RSS_KiB=%.1f PrivDirty_KiB=%.1f\n",
		(double)(after->pss - before->pss) / connections,
		(double)(after->rss - before->rss) / connections,
		(double)(after->private_dirty - before->private_dirty) / connections);
	fflush(stdout);
}

/* Appends to the idler's mailbox; the seconds until it says EXISTS, or -1 if it does not. */
static double wake(struct connection *idler, const struct options *options, const char *user,
	struct bytes message)
{
	struct connection appender;
	double began, seconds = -1;

	imap_login(&appender, options, option_needed(options, "imap"), user);
	imap_append(&appender, "INBOX", NULL, message);
	began = seconds_now();
	while (seconds < 0 && connection_has_input(idler, WAKE_TIMEOUT_MS)) {
		if (strstr(imap_response(idler, NULL), "EXISTS") != NULL)
			seconds = seconds_now() - began;
	}
	imap_logout(&appender);
	return seconds;
}

static void time_wakes(const struct options *options, struct connection *idlers, long count)
{
	long wakes = option_number(options, "wakes", 50);
	long users = option_number(options, "users", 200), late = 0;
	double *latencies = mem_zalloc_array((size_t)wakes + 1, sizeof(*latencies));
	struct buffer message = { 0 };
	size_t seen = 0;

	for (long i = 0; i < wakes; i++) {
		long chosen = i * count / wakes;
		char name[USER_NAME_SIZE];
		double seconds;

		user_name(options, 1 + chosen % users, name);
		generate_message(&message, 99, (uint64_t)i, "3000", NULL);
		seconds = wake(&idlers[chosen], options, name, buffer_bytes(&message));
		if (seconds < 0)
			late++;
		else
			latencies[seen++] = seconds;
	}
	if (wakes > 0)
		report_latency("idle wake (append OK to EXISTS on one idler)", latencies, seen);
	if (late > 0)
		printf("idle wake: %ld of %ld not seen within 5 s\n", late, wakes);
	buffer_deinit(&message);
	free(latencies);
}

int command_idle(const struct options *options)
{
	long count = option_number(options, "conns", 100),
	     users = option_number(options, "users", 200);
	const char *pids = option_needed(options, "pid");
	struct connection *idlers = mem_zalloc_array((size_t)count, sizeof(*idlers));
	struct process_cost before, after;
	struct rlimit limit;
	double began, seconds;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	before = measure_processes(pids, true);
	began = seconds_now();
	for (long i = 0; i < count; i++) {
		char name[USER_NAME_SIZE];

		user_name(options, 1 + i % users, name);
		open_idle(&idlers[i], options, name);
	}
	seconds = seconds_now() - began;
	sleep_ms(option_seconds(options, "settle", 3000));
	after = measure_processes(pids, true);
	print_memory(&before, &after, count, seconds);
	time_wakes(options, idlers, count);
	sleep_ms(option_seconds(options, "hold", 0));
	for (long i = 0; i < count; i++)
		connection_close(&idlers[i]);
	free(idlers);
	return 0;
}
