/*
 * splitbrain: both copies of an account are changed while the wire is cut; after healing every
 * message is looked for on both sides.
 */
#include "splitbrain.h"

#include "client.h"
#include "commands.h"
#include "generate.h"

#include <stdio.h>

struct split_run {
	const struct options *options;
	const char *user;
	struct connection a, b;
	uint32_t shared_uids[SHARED_MESSAGES + 1];
};

/* A change to a shared message, made while the wire is cut. */
struct change {
	char side;           /* 'a' or 'b' */
	int message;         /* S01 is 1 */
	const char *command; /* "EXPUNGE", or what follows UID STORE n or UID MOVE n */
};

/* In this order: of two changes to one flag the later wins. */
static const struct change changes[] = {
	{ 'a', 1, "+FLAGS (\\Flagged)" },
	{ 'b', 2, "+FLAGS (\\Flagged)" },
	{ 'a', 3, "+FLAGS (\\Flagged)" },
	{ 'b', 3, "+FLAGS (\\Answered)" },
	{ 'a', 4, "+FLAGS (\\Flagged)" },
	{ 'b', 4, "+FLAGS (\\Flagged)" },
	{ 'a', 5, "-FLAGS (\\Flagged)" },
	{ 'b', 5, "+FLAGS (\\Answered)" },
	{ 'a', 6, "+FLAGS ($Alpha)" },
	{ 'b', 6, "+FLAGS ($Beta)" },
	{ 'a', 7, "-FLAGS (\\Seen)" },
	{ 'b', 8, "-FLAGS (\\Seen)" },
	{ 'a', 18, "-FLAGS ($Work)" },
	{ 'b', 19, "+FLAGS (\\Seen)" },
	{ 'b', 19, "+FLAGS (\\Answered)" },
	{ 'a', 19, "+FLAGS (\\Flagged)" },
	{ 'a', 9, "EXPUNGE" },
	{ 'b', 9, "+FLAGS (\\Flagged)" },
	{ 'b', 10, "EXPUNGE" },
	{ 'a', 10, "+FLAGS (\\Flagged)" },
	{ 'a', 11, "EXPUNGE" },
	{ 'b', 11, "EXPUNGE" },
	{ 'a', 12, "EXPUNGE" },
	{ 'b', 13, "EXPUNGE" },
	{ 'a', 14, "Keep" },
	{ 'b', 14, "+FLAGS (\\Flagged)" },
	{ 'a', 15, "Keep" },
	{ 'b', 15, "Keep2" },
	{ 'b', 16, "Keep" },
};

static const char *const prepared_mailboxes[] = { "Keep", "Keep2", "RenMe", "RenBoth", "DelA",
	"DelB" };

/* Appends the message that `tag` names; returns its UID. */
static uint32_t put(
	struct connection *connection, const char *mailbox, const char *tag, const char *flags)
{
	uint64_t seed = (uint64_t)option_number(connection->options, "seed", 3), index = 5381;
	struct buffer message = { 0 };
	uint32_t uid;

	for (const char *at = tag; *at != '\0'; at++)
		index = index * 33 + (unsigned char)*at;
	generate_message(&message, seed, index & 0xffffff, "mix", tag);
	uid = imap_append(connection, mailbox, flags, buffer_bytes(&message));
	buffer_deinit(&message);
	return uid;
}

static uint32_t put_numbered(
	struct connection *connection, const char *mailbox, const char *prefix, int number)
{
	char tag[32];

	snprintf(tag, sizeof(tag), "%s%d", prefix, number);
	return put(connection, mailbox, tag, NULL);
}

/* A command that the server may refuse; that is noted. */
static void try_command(struct connection *connection, const char *command)
{
	if (imap_command(connection, NULL, NULL, "%s", command) != 0)
		printf("  note: %s said %s to: %s\n", connection->server, connection->last,
			command);
}

static void apply_change(struct split_run *run, const struct change *change)
{
	struct connection *connection = change->side == 'a' ? &run->a : &run->b;
	uint32_t uid = run->shared_uids[change->message];
	char command[128];

	if (strcmp(change->command, "EXPUNGE") == 0) {
		snprintf(command, sizeof(command), "UID STORE %u +FLAGS (\\Deleted)", uid);
		try_command(connection, command);
		snprintf(command, sizeof(command), "UID EXPUNGE %u", uid);
	} else if (change->command[0] == '+' || change->command[0] == '-') {
		snprintf(command, sizeof(command), "UID STORE %u %s", uid, change->command);
	} else {
		snprintf(command, sizeof(command), "UID MOVE %u %s", uid, change->command);
	}
	try_command(connection, command);
}

/* The flags that a shared message starts with. */
static const char *first_flags(int message)
{
	switch (message) {
	case 5:
		return "(\\Flagged)";
	case 7:
	case 8:
		return "(\\Seen)";
	case 18:
		return "($Work)";
	default:
		return NULL;
	}
}

static void prepare(struct split_run *run)
{
	const struct options *options = run->options;
	double limit = option_seconds(options, "max", 120), seconds;
	int left;

	imap_login(&run->a, options, option_needed(options, "imap-a"), run->user);
	imap_must(&run->a, "SELECT INBOX");
	for (int i = 1; i <= SHARED_MESSAGES; i++) {
		char tag[32];

		snprintf(tag, sizeof(tag), "S%02d", i);
		run->shared_uids[i] = put(&run->a, "INBOX", tag, first_flags(i));
	}
	for (int i = 0; i < 6; i++) {
		char command[64];

		snprintf(command, sizeof(command), "CREATE %s", prepared_mailboxes[i]);
		try_command(&run->a, command);
		put_numbered(&run->a, prepared_mailboxes[i], "P", i);
	}
	imap_logout(&run->a);
	seconds = snapshot_wait_equal(options, run->user, SNAPSHOT_MESSAGE_IDS, limit, &left);
	printf("splitbrain prepared; equal after %.1f s\n", seconds);
	if (seconds < 0) {
		struct snapshot a, b;

		snapshot_take(&a, options, option_needed(options, "imap-a"), run->user,
			SNAPSHOT_MESSAGE_IDS);
		snapshot_take(&b, options, option_needed(options, "imap-b"), run->user,
			SNAPSHOT_MESSAGE_IDS);
		snapshot_compare(&a, &b, 20, false);
		die("A and B never became equal before the cut");
	}
}

static void change_mailboxes(struct split_run *run)
{
	try_command(&run->a, "CREATE Same");
	try_command(&run->b, "CREATE Same");
	for (int i = 1; i <= 2; i++)
		put_numbered(&run->a, "Same", "SA", i);
	for (int i = 1; i <= 3; i++)
		put_numbered(&run->b, "Same", "SB", i);
	try_command(&run->a, "RENAME RenMe RenA");
	try_command(&run->b, "DELETE RenMe");
	try_command(&run->a, "RENAME RenBoth RenX");
	try_command(&run->b, "RENAME RenBoth RenY");
	try_command(&run->a, "CREATE OnlyA");
	put(&run->a, "OnlyA", "OA", NULL);
	try_command(&run->b, "CREATE OnlyB");
	put(&run->b, "OnlyB", "OB", NULL);
	try_command(&run->a, "DELETE DelA");
	put(&run->b, "DelA", "DA", NULL);
	try_command(&run->b, "DELETE DelB");
	put(&run->a, "DelB", "DB", NULL);
	try_command(&run->a, "SUBSCRIBE Keep");
	try_command(&run->b, "SUBSCRIBE Keep2");
}

static void change_both_sides(struct split_run *run)
{
	const struct options *options = run->options;
	int same = 0;

	imap_login(&run->a, options, option_needed(options, "imap-a"), run->user);
	imap_login(&run->b, options, option_needed(options, "imap-b"), run->user);
	imap_must(&run->a, "SELECT INBOX");
	imap_must(&run->b, "SELECT INBOX");
	for (int i = 1; i <= 5; i++) {
		uint32_t on_a = put_numbered(&run->a, "INBOX", "A", i);
		uint32_t on_b = put_numbered(&run->b, "INBOX", "B", i);

		same += on_a == on_b;
	}
	printf("splitbrain: %d of 5 pairs got the same UID on both sides\n", same);
	imap_must(&run->a, "NOOP");
	imap_must(&run->b, "NOOP");
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++)
		apply_change(run, &changes[i]);
	change_mailboxes(run);
	imap_logout(&run->a);
	imap_logout(&run->b);
}

static void look(const struct split_run *run, struct both_sides *sides_r)
{
	snapshot_take(&sides_r->a, run->options, option_needed(run->options, "imap-a"), run->user,
		SNAPSHOT_MESSAGE_IDS);
	snapshot_take(&sides_r->b, run->options, option_needed(run->options, "imap-b"), run->user,
		SNAPSHOT_MESSAGE_IDS);
}

static void forget(struct both_sides *sides)
{
	snapshot_deinit(&sides->a);
	snapshot_deinit(&sides->b);
}

/* Watches until nothing changed for --quiet seconds; *sides_r is the last view. Returns the seconds
 * from `began` to the last change. */
static double wait_quiet(const struct split_run *run, double began, struct both_sides *sides_r)
{
	double quiet = option_seconds(run->options, "quiet", 8);
	double limit = option_seconds(run->options, "max", 120), changed = began;
	struct both_sides next;

	look(run, sides_r);
	do {
		sleep_ms(300);
		look(run, &next);
		if (snapshot_compare(&sides_r->a, &next.a, 0, true) != 0 ||
			snapshot_compare(&sides_r->b, &next.b, 0, true) != 0)
			changed = seconds_now();
		forget(sides_r);
		*sides_r = next;
	} while (seconds_now() - changed <= quiet && seconds_now() - began <= limit);
	return changed - began;
}

int command_splitbrain(const struct options *options)
{
	struct split_run run = { .options = options, .user = option(options, "user", "u0003") };
	struct both_sides before, after;
	double seconds;

	prepare(&run);
	sleep_ms(2000);
	option_run_command(options, "cut");
	change_both_sides(&run);
	look(&run, &before);
	printf("splitbrain: before heal A and B differ in %d points\n",
		snapshot_compare(&before.a, &before.b, 0, false));
	option_run_command(options, "heal");
	seconds = wait_quiet(&run, seconds_now(), &after);
	printf("splitbrain: last change seen %.1f s after heal (quiet for %.0f s after)\n", seconds,
		option_seconds(options, "quiet", 8));
	if (option(options, "kick", NULL) != NULL) {
		option_run_command(options, "kick");
		forget(&after);
		seconds = wait_quiet(&run, seconds_now(), &after);
		printf("splitbrain: after kick last change %.1f s\n", seconds);
	}
	snapshot_print(&after.a, "A");
	snapshot_print(&after.b, "B");
	splitbrain_judge(options, run.user, &before, &after);
	forget(&before);
	forget(&after);
	return 0;
}
