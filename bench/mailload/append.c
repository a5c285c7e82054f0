/* append: messages by IMAP APPEND, one by one, pipelined, or many in one command (MULTIAPPEND). */
#include "commands.h"

#include "base/mem.h"
#include "client.h"
#include "jobs.h"

#include <stdio.h>
#include <stdlib.h>

struct appender {
	struct job *job;
	struct connection connection;
	const struct buffer *message; /* the item's */
	const char *mailbox;
};

/* Takes the next item and makes its message; false: none is left. */
static bool next_message(struct appender *appender)
{
	long index = job_take(appender->job);

	if (index < 0)
		return false;
	appender->message = job_message(appender->job, index);
	appender->job->bytes += appender->message->len;
	return true;
}

/* Commands of up to `batch` messages each; the server must know LITERAL+. */
static void append_batches(struct appender *appender, long batch)
{
	struct connection *connection = &appender->connection;
	struct job *job = appender->job;
	struct buffer out = { 0 };
	long count;

	do {
		double began = seconds_now(), seconds;

		buffer_clear(&out);
		buffer_printf(&out, "a%u APPEND \"%s\"", ++connection->tag, appender->mailbox);
		for (count = 0; count < batch && next_message(appender); count++) {
			buffer_printf(&out, " {%zu+}\r\n", appender->message->len);
			buffer_append_bytes(&out, buffer_bytes(appender->message));
		}
		if (count == 0)
			break;
		buffer_append_string(&out, "\r\n");
		connection_send(connection, out.data, out.len);
		if (imap_wait(connection, connection->tag, NULL, NULL) != 0)
			die("multiappend: %s", connection->last);
		seconds = seconds_now() - began;
		for (long i = 0; i < count; i++)
			job->latencies[job->count++] = seconds;
	} while (count == batch);
	buffer_deinit(&out);
}

/* Commands of one message each, with up to `window` of them unanswered. */
static void append_singly(struct appender *appender, long window)
{
	struct connection *connection = &appender->connection;
	struct job *job = appender->job;
	double *began = mem_zalloc_array((size_t)window, sizeof(*began));
	unsigned *tags = mem_zalloc_array((size_t)window, sizeof(*tags));
	long sent = 0, answered = 0;
	bool has_more = true;

	while (has_more) {
		has_more = next_message(appender);
		if (has_more) {
			began[sent % window] = seconds_now();
			tags[sent % window] = imap_append_send(connection, appender->mailbox, NULL,
				buffer_bytes(appender->message));
			sent++;
		}
		while (answered < sent && (sent - answered >= window || !has_more)) {
			if (imap_wait(connection, tags[answered % window], NULL, NULL) != 0 &&
				job->failed++ == 0)
				fprintf(stderr, "append: %s\n", connection->last);
			job->latencies[job->count++] = seconds_now() - began[answered % window];
			answered++;
		}
	}
	free(began);
	free(tags);
}

static void append(struct job *job)
{
	const struct options *options = job->options;
	struct appender appender = { .job = job, .mailbox = option(options, "mailbox", "INBOX") };
	long batch = option_number(options, "multi", 1);
	char name[USER_NAME_SIZE];

	user_name(options, option_number(options, "first", 1) + job->number, name);
	imap_login(&appender.connection, options, option_needed(options, "imap"),
		option(options, "user", name));
	if (batch > 1)
		append_batches(&appender, batch);
	else
		append_singly(&appender, option_number(options, "pipeline", 1));
	imap_logout(&appender.connection);
}

int command_append(const struct options *options)
{
	return jobs_run(options, "append", append, NULL, NULL);
}
