/* The small subcommands: mkbox, drain, equal, dump, pss, gen. */
#include "commands.h"

#include "base/mem.h"
#include "client.h"
#include "generate.h"
#include "measure.h"
#include "snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int command_make_mailboxes(const struct options *options)
{
	long count = option_number(options, "count", 200), each = option_number(options, "msgs", 5);
	struct connection connection;
	struct buffer message = { 0 };

	imap_login(&connection, options, option_needed(options, "imap"),
		option_needed(options, "user"));
	for (long i = 1; i <= count; i++) {
		char mailbox[32];

		snprintf(mailbox, sizeof(mailbox), "Box%03ld", i);
		imap_must(&connection, "CREATE %s", mailbox);
		for (long k = 0; k < each; k++) {
			generate_message(&message, 11, (uint64_t)(i * 100 + k), "mix", NULL);
			imap_append(&connection, mailbox, NULL, buffer_bytes(&message));
		}
	}
	imap_logout(&connection);
	buffer_deinit(&message);
	printf("mkbox made %ld mailboxes of %ld messages\n", count, each);
	return 0;
}

static void note_messages(char *line, size_t len, void *context)
{
	const char *found = strcasestr(line, "(MESSAGES ");

	(void)len;
	if (found != NULL)
		*(long *)context = atol(found + 10);
}

/* Whether B's INBOX reaches `wanted` messages before `deadline`. */
static bool drain_user(
	const struct options *options, const char *user, long wanted, double deadline)
{
	struct connection b;
	long messages = -1;

	imap_login(&b, options, option_needed(options, "imap-b"), user);
	for (;;) {
		messages = -1;
		imap_command(&b, note_messages, &messages, "STATUS INBOX (MESSAGES)");
		if (messages >= wanted || seconds_now() > deadline)
			break;
		sleep_ms(50);
	}
	imap_logout(&b);
	return messages >= wanted;
}

int command_drain(const struct options *options)
{
	long users = option_number(options, "users", 200),
	     first = option_number(options, "first", 1);
	double began = seconds_now(), deadline = began + option_seconds(options, "max", 600);
	long *wanted = mem_zalloc_array((size_t)users, sizeof(*wanted)), total = 0, reached = 0;
	char name[USER_NAME_SIZE];

	for (long i = 0; i < users; i++) {
		struct connection a;

		user_name(options, first + i, name);
		imap_login(&a, options, option_needed(options, "imap-a"), name);
		imap_command(&a, note_messages, &wanted[i], "STATUS INBOX (MESSAGES)");
		imap_logout(&a);
		total += wanted[i];
	}
	for (long i = 0; i < users; i++) {
		user_name(options, first + i, name);
		reached += drain_user(options, name, wanted[i], deadline);
	}
	printf("drain users=%ld reached=%ld messages=%ld secs=%.2f\n", users, reached, total,
		seconds_now() - began);
	free(wanted);
	return reached != users;
}

int command_equal(const struct options *options)
{
	const char *user = option_needed(options, "user");
	enum snapshot_depth depth =
		option(options, "no-body", NULL) != NULL ? SNAPSHOT_MESSAGE_IDS : SNAPSHOT_BODIES;
	struct snapshot a, b;
	size_t messages = 0;
	int differences;

	snapshot_take(&a, options, option_needed(options, "imap-a"), user, depth);
	snapshot_take(&b, options, option_needed(options, "imap-b"), user, depth);
	differences = snapshot_compare(&a, &b, (int)option_number(options, "show", 40),
		option(options, "modseq", NULL) != NULL);
	for (size_t i = 0; i < a.count; i++)
		messages += a.mailboxes[i].count;
	printf("equal user=%s mailboxes A=%zu B=%zu messages_A=%zu differences=%d %s\n", user,
		a.count, b.count, messages, differences, differences != 0 ? "NOT EQUAL" : "EQUAL");
	snapshot_deinit(&a);
	snapshot_deinit(&b);
	return differences != 0;
}

int command_dump(const struct options *options)
{
	struct snapshot snapshot;

	snapshot_take(&snapshot, options, option_needed(options, "imap"),
		option_needed(options, "user"), SNAPSHOT_MESSAGE_IDS);
	snapshot_print(&snapshot, " ");
	snapshot_deinit(&snapshot);
	return 0;
}

int command_memory(const struct options *options)
{
	struct process_cost cost = measure_processes(option_needed(options, "pid"), true);

	printf("pss procs=%ld PSS_MiB=%.1f RSS_MiB=%.1f PrivDirty_MiB=%.1f cpu_s=%.2f "
	       "written_MiB=%.1f\n",
		cost.processes, (double)cost.pss / 1024, (double)cost.rss / 1024,
		(double)cost.private_dirty / 1024, cost.cpu_seconds, cost.written / 1048576);
	return 0;
}

/* As a file of a Maildir's cur folder. */
static void write_maildir_file(const char *folder, long number, struct bytes message)
{
	char path[600];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%08ld.M1P1.bench,S=%zu:2,", folder, number, message.len);
	file = fopen(path, "w");
	if (file == NULL)
		die("%s: %s", path, strerror(errno));
	fwrite(message.ptr, 1, message.len, file);
	fclose(file);
}

int command_generate(const struct options *options)
{
	long count = option_number(options, "count", 1), start = option_number(options, "start", 0);
	uint64_t seed = (uint64_t)option_number(options, "seed", 1), bytes = 0;
	const char *folder = option(options, "dir", NULL);
	bool is_count_only = option(options, "stat", NULL) != NULL;
	struct buffer message = { 0 };

	for (long i = 0; i < count; i++) {
		generate_message(&message, seed, (uint64_t)(i + start),
			option(options, "size", "mix"), NULL);
		bytes += message.len;
		if (folder != NULL)
			write_maildir_file(folder, i, buffer_bytes(&message));
		else if (!is_count_only)
			fwrite(message.data, 1, message.len, stdout);
	}
	if (folder != NULL || is_count_only)
		printf("gen count=%ld bytes=%llu avg=%.0f\n", count, (unsigned long long)bytes,
			(double)bytes / (double)count);
	buffer_deinit(&message);
	return 0;
}
