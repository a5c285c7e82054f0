/* lag: how long after the answer on A a change is visible to a client on B. */
#include "commands.h"

#include "base/mem.h"
#include "base/random.h"
#include "client.h"
#include "generate.h"

#include <stdio.h>
#include <stdlib.h>

#define MAILBOX "LagBox"

enum awaited { AWAIT_APPEND, AWAIT_FLAGGED, AWAIT_DELETED, AWAIT_EXPUNGE };

struct watch {
	enum awaited awaited;
	long exists; /* AWAIT_APPEND: as many messages */
	bool is_seen;
};

struct samples {
	double *seconds;
	size_t count;
};

struct lag_run {
	const struct options *options;
	struct connection a, b;
	struct random random;
	struct buffer message;
	struct samples append, flag, expunge, append_itself;
	bool is_idle; /* B hears by IDLE, else it asks by NOOP */
	double limit; /* seconds */
	long exists;
	long missed;
};

static void watch_line(struct watch *watch, const char *line)
{
	unsigned long number;
	bool is_fetch = strstr(line, " FETCH ") != NULL;

	switch (watch->awaited) {
	case AWAIT_APPEND:
		if (strstr(line, " EXISTS") != NULL && sscanf(line, "* %lu", &number) == 1 &&
			(long)number >= watch->exists)
			watch->is_seen = true;
		break;
	case AWAIT_FLAGGED:
		watch->is_seen |= is_fetch && strstr(line, "\\Flagged") != NULL;
		break;
	case AWAIT_DELETED:
		watch->is_seen |= is_fetch && strstr(line, "\\Deleted") != NULL;
		break;
	case AWAIT_EXPUNGE:
		watch->is_seen |=
			strstr(line, " EXPUNGE") != NULL || strstr(line, "VANISHED") != NULL;
		break;
	}
}

static void watch_response(char *line, size_t len, void *context)
{
	(void)len;
	watch_line(context, line);
}

/* Whether B saw it within the limit. */
static bool wait_on_b(struct lag_run *run, struct watch watch)
{
	double began = seconds_now();

	while (!watch.is_seen) {
		if (run->is_idle) {
			if (connection_has_input(&run->b, 200)) {
				watch_line(&watch, imap_response(&run->b, NULL));
				continue;
			}
		} else if (imap_command(&run->b, watch_response, &watch, "NOOP") != 0) {
			die("noop: %s", run->b.last);
		}
		if (!watch.is_seen && seconds_now() - began > run->limit)
			return false;
		if (!watch.is_seen && !run->is_idle)
			sleep_ms(1);
	}
	return true;
}

static void pause_randomly(struct lag_run *run)
{
	double fraction = (double)(random_next(&run->random) >> 11) * (1.0 / 9007199254740992.0);

	sleep_ms(fraction * option_seconds(run->options, "jitter", 1000));
}

static void add_sample(struct samples *samples, double seconds)
{
	samples->seconds[samples->count++] = seconds;
}

static void note_missed(struct lag_run *run, const char *what, long sample)
{
	run->missed++;
	printf("lag %s %ld missed\n", what, sample);
}

/* Appends on A; *uid_r is what it got. False: B did not see it. */
static bool sample_append(struct lag_run *run, long sample, uint32_t *uid_r)
{
	struct watch watch = { AWAIT_APPEND, run->exists + 1, false };
	double began, answered;

	generate_message(&run->message, 5, (uint64_t)sample + 1000,
		option(run->options, "size", "mix"), NULL);
	pause_randomly(run);
	began = seconds_now();
	*uid_r = imap_append(&run->a, MAILBOX, NULL, buffer_bytes(&run->message));
	answered = seconds_now();
	add_sample(&run->append_itself, answered - began);
	if (!wait_on_b(run, watch)) {
		struct mailbox_state state;

		run->missed++;
		printf("lag append %ld not seen in %.0f s\n", sample, run->limit);
		if (!run->is_idle) {
			imap_select(&run->b, "SELECT", MAILBOX, &state);
			run->exists = (long)state.exists;
		}
		return false;
	}
	if (strchr(option(run->options, "only", "afx"), 'a') != NULL)
		add_sample(&run->append, seconds_now() - answered);
	run->exists++;
	return true;
}

static void sample_flag(struct lag_run *run, long sample, uint32_t uid)
{
	double answered;

	pause_randomly(run);
	imap_must(&run->a, "UID STORE %u +FLAGS.SILENT (\\Flagged)", uid);
	answered = seconds_now();
	if (wait_on_b(run, (struct watch){ .awaited = AWAIT_FLAGGED }))
		add_sample(&run->flag, seconds_now() - answered);
	else
		note_missed(run, "flag", sample);
}

static void sample_expunge(struct lag_run *run, long sample, uint32_t uid)
{
	double answered;

	imap_must(&run->a, "UID STORE %u +FLAGS.SILENT (\\Deleted)", uid);
	if (!wait_on_b(run, (struct watch){ .awaited = AWAIT_DELETED }))
		note_missed(run, "del", sample);
	pause_randomly(run);
	imap_must(&run->a, "UID EXPUNGE %u", uid);
	answered = seconds_now();
	if (!wait_on_b(run, (struct watch){ .awaited = AWAIT_EXPUNGE })) {
		note_missed(run, "expunge", sample);
		return;
	}
	add_sample(&run->expunge, seconds_now() - answered);
	run->exists--;
}

/* Logs in on both sides and sees to it that the mailbox is on both. */
static void prepare(struct lag_run *run)
{
	const struct options *options = run->options;
	const char *user = option(options, "user", "u0001");
	struct mailbox_state on_a, on_b;
	double began;

	imap_login(&run->a, options, option_needed(options, "imap-a"), user);
	imap_login(&run->b, options, option_needed(options, "imap-b"), user);
	imap_command(&run->a, NULL, NULL, "CREATE %s", MAILBOX);
	generate_message(&run->message, 5, 0, "3000", NULL);
	imap_append(&run->a, MAILBOX, NULL, buffer_bytes(&run->message));
	began = seconds_now();
	while (imap_select(&run->b, "SELECT", MAILBOX, &on_b) != 0 || on_b.exists < 1) {
		if (seconds_now() - began > 120)
			die("%s never shows on B", MAILBOX);
		sleep_ms(100);
	}
	imap_must(&run->a, "SELECT %s", MAILBOX);
	imap_select(&run->a, "SELECT", MAILBOX, &on_a);
	sleep_ms(3000);
	imap_select(&run->b, "SELECT", MAILBOX, &on_b);
	run->exists = (long)on_b.exists;
	if (on_a.exists != on_b.exists)
		printf("lag note: A has %u, B %u at start\n", on_a.exists, on_b.exists);
	if (run->is_idle)
		imap_idle(&run->b);
}

static void report(struct lag_run *run)
{
	report_latency(run->is_idle ? "lag append (B by IDLE)" : "lag append (B by NOOP)",
		run->append.seconds, run->append.count);
	if (run->flag.count > 0)
		report_latency("lag flag", run->flag.seconds, run->flag.count);
	if (run->expunge.count > 0)
		report_latency("lag expunge", run->expunge.seconds, run->expunge.count);
	report_latency(
		"lag (APPEND itself on A)", run->append_itself.seconds, run->append_itself.count);
	if (run->missed > 0)
		printf("lag missed=%ld\n", run->missed);
}

int command_lag(const struct options *options)
{
	long count = option_number(options, "count", 200);
	const char *only = option(options, "only", "afx");
	double seconds = option_seconds(options, "seconds", 100000), began;
	struct lag_run run = { .options = options,
		.random = { (uint64_t)option_number(options, "seed", 5) },
		.is_idle = strcmp(option(options, "mode", "noop"), "idle") == 0,
		.limit = option_seconds(options, "max", 60) };
	struct samples *all[] = { &run.append, &run.flag, &run.expunge, &run.append_itself };

	for (size_t i = 0; i < 4; i++)
		all[i]->seconds = mem_zalloc_array((size_t)count, sizeof(double));
	prepare(&run);
	began = seconds_now();
	for (long i = 0; i < count && seconds_now() - began < seconds; i++) {
		uint32_t uid;

		if (!sample_append(&run, i, &uid))
			continue;
		if (uid == 0)
			die("no APPENDUID from A");
		imap_must(&run.a, "NOOP");
		if (strchr(only, 'f') != NULL)
			sample_flag(&run, i, uid);
		if (strchr(only, 'x') != NULL)
			sample_expunge(&run, i, uid);
	}
	report(&run);
	for (size_t i = 0; i < 4; i++)
		free(all[i]->seconds);
	connection_close(&run.a);
	connection_close(&run.b);
	buffer_deinit(&run.message);
	return 0;
}
