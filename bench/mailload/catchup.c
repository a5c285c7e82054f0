/* catchup: B is cut off while A changes; the time from healing until both are equal. */
#include "commands.h"

#include "client.h"
#include "generate.h"
#include "snapshot.h"

#include <stdio.h>

#define APPEND_WINDOW 16

/* Appends --count messages, pipelined; returns their bytes. */
static uint64_t append_many(struct connection *connection, const char *mailbox)
{
	const struct options *options = connection->options;
	long count = option_number(options, "count", 5000), sent = 0;
	uint64_t seed = (uint64_t)option_number(options, "seed", 77), bytes = 0;
	unsigned tags[APPEND_WINDOW];
	struct buffer message = { 0 };

	for (long answered = 0; answered < count; answered++) {
		for (; sent < count && sent - answered < APPEND_WINDOW; sent++) {
			generate_message(&message, seed, (uint64_t)sent,
				option(options, "size", "mix"), NULL);
			bytes += message.len;
			tags[sent % APPEND_WINDOW] =
				imap_append_send(connection, mailbox, NULL, buffer_bytes(&message));
		}
		if (imap_wait(connection, tags[answered % APPEND_WINDOW], NULL, NULL) != 0)
			die("append: %s", connection->last);
	}
	buffer_deinit(&message);
	return bytes;
}

/* Flags about --flag messages, spread over the mailbox; returns how many. */
static long flag_some(struct connection *connection, uint32_t exists)
{
	long wanted = option_number(connection->options, "flag", 1000), flagged = 0, step;

	if (wanted == 0)
		return 0;
	step = (long)exists / wanted > 0 ? (long)exists / wanted : 1;
	for (long i = 1; i <= (long)exists && flagged < wanted; i += step, flagged++)
		imap_must(connection, "STORE %ld +FLAGS.SILENT (\\Flagged)", i);
	return flagged;
}

/* Watches B until it shows `exists` messages; *first_r is when the first new ones showed, or -1. */
static void watch_arrival(const struct options *options, const char *user, const char *mailbox,
	uint32_t exists, double healed, double *first_r)
{
	double limit = option_seconds(options, "max", 600);
	struct mailbox_state state;
	struct connection b;
	uint32_t before = 0;

	*first_r = -1;
	imap_login(&b, options, option_needed(options, "imap-b"), user);
	for (;;) {
		imap_select(&b, "EXAMINE", mailbox, &state);
		if (before == 0)
			before = state.exists;
		if (*first_r < 0 && state.exists != before)
			*first_r = seconds_now() - healed;
		if (state.exists >= exists)
			break;
		if (seconds_now() - healed > limit) {
			printf("catchup gave up: B has %u of %u\n", state.exists, exists);
			break;
		}
		sleep_ms(20);
	}
	imap_logout(&b);
}

int command_catchup(const struct options *options)
{
	const char *user = option(options, "user", "u0002");
	const char *mailbox = option(options, "mailbox", "INBOX");
	double limit = option_seconds(options, "max", 600), began, first, arrived, equal, total;
	long count = option_number(options, "count", 5000), flagged;
	struct mailbox_state state;
	struct connection a;
	uint64_t bytes;
	int left;

	equal = snapshot_wait_equal(options, user, SNAPSHOT_FLAGS, 300, &left);
	printf("catchup start equal after %.1f s\n", equal);
	option_run_command(options, "cut");
	imap_login(&a, options, option_needed(options, "imap-a"), user);
	imap_select(&a, "SELECT", mailbox, &state);
	began = seconds_now();
	bytes = append_many(&a, mailbox);
	imap_must(&a, "NOOP");
	imap_select(&a, "SELECT", mailbox, &state);
	flagged = flag_some(&a, state.exists);
	printf("catchup changed A: %ld appended (%.1f MB), %ld flagged, in %.1f s\n", count,
		(double)bytes / 1e6, flagged, seconds_now() - began);
	imap_select(&a, "SELECT", mailbox, &state);
	imap_logout(&a);

	began = seconds_now();
	option_run_command(options, "heal");
	watch_arrival(options, user, mailbox, state.exists, began, &first);
	arrived = seconds_now() - began;
	equal = snapshot_wait_equal(options, user, SNAPSHOT_FLAGS, limit, &left);
	total = seconds_now() - began;
	printf("catchup first_visible_s=%.2f exists_equal_s=%.2f all_equal_s=%.2f differences=%d "
	       "rate=%.0f msgs/s MBps=%.1f\n",
		first, arrived, equal < 0 ? -1 : total, left, (double)count / total,
		(double)bytes / total / 1e6);
	return equal < 0;
}
