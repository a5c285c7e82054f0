#include "arrivals.h"

#include "base/mem.h"
#include "client.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct user {
	struct connection b;
	atomic_long wanted; /* messages in INBOX */
	long seen;
	unsigned tag;
};

struct arrivals {
	const struct options *options;
	long count;
	struct user *users;
};

static void note_messages(char *line, size_t len, void *context)
{
	const char *found = strcasestr(line, "(MESSAGES ");

	(void)len;
	if (found != NULL)
		*(long *)context = atol(found + 10);
}

/* Asks for all users whose messages are not there, then reads the answers. Whether all are. */
static bool look(struct arrivals *arrivals)
{
	bool is_all = true;

	for (long i = 0; i < arrivals->count; i++) {
		struct user *user = &arrivals->users[i];

		user->tag = 0;
		if (user->seen < user->wanted)
			user->tag = imap_send(&user->b, "STATUS INBOX (MESSAGES)");
	}
	for (long i = 0; i < arrivals->count; i++) {
		struct user *user = &arrivals->users[i];

		if (user->tag != 0)
			imap_wait(&user->b, user->tag, note_messages, &user->seen);
		is_all = is_all && user->seen >= user->wanted;
	}
	return is_all;
}

struct arrivals *arrivals_new(const struct options *options)
{
	long first = option_number(options, "first", 1);
	struct arrivals *arrivals = mem_zalloc(sizeof(*arrivals));
	char name[USER_NAME_SIZE];

	arrivals->options = options;
	arrivals->count = option_number(options, "users", 200);
	arrivals->users = mem_zalloc_array((size_t)arrivals->count, sizeof(*arrivals->users));
	for (long i = 0; i < arrivals->count; i++) {
		user_name(options, first + i, name);
		imap_login(&arrivals->users[i].b, options, option_needed(options, "imap-b"), name);
		arrivals->users[i].seen = -1;
	}
	look(arrivals);
	for (long i = 0; i < arrivals->count; i++) {
		struct user *user = &arrivals->users[i];

		if (user->seen < 0) /* a mailbox that replication will make */
			user->seen = 0;
		user->wanted = user->seen;
	}
	return arrivals;
}

void arrivals_free(struct arrivals **arrivals)
{
	if (*arrivals == NULL)
		return;
	for (long i = 0; i < (*arrivals)->count; i++)
		connection_close(&(*arrivals)->users[i].b);
	free((*arrivals)->users);
	free(*arrivals);
	*arrivals = NULL;
}

void arrivals_expect(struct arrivals *arrivals, long user)
{
	arrivals->users[user].wanted++;
}

bool arrivals_wait(struct arrivals *arrivals, double ended)
{
	double deadline = ended + option_seconds(arrivals->options, "drain-max", 120);
	bool is_all = look(arrivals);

	while (!is_all && seconds_now() < deadline) {
		sleep_ms(2);
		is_all = look(arrivals);
	}
	printf("drain %s secs=%.3f\n", is_all ? "complete" : "INCOMPLETE", seconds_now() - ended);
	return is_all;
}
