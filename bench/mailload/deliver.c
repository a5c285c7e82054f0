/* deliver: messages by LMTP, one transaction after the other on each connection. */
#include "commands.h"

#include "arrivals.h"
#include "base/random.h"
#include "client.h"
#include "jobs.h"

#include <stdio.h>

static void greet(struct connection *connection)
{
	char line[512];

	if (lmtp_reply(connection, line, sizeof(line)) != 220)
		die("lmtp greeting: %s", line);
	connection_send(connection, "LHLO bench.example\r\n", 20);
	if (lmtp_reply(connection, line, sizeof(line)) != 250)
		die("lhlo: %s", line);
}

/* The envelope of message `index`, pipelined up to DATA. */
static void send_envelope(
	struct job *job, struct connection *connection, long index, long recipients)
{
	const struct options *options = job->options;
	long users = option_number(options, "users", 200),
	     first = option_number(options, "first", 1);
	const char *domain = option(options, "domain", "localhost");
	struct random random = { (uint64_t)option_number(options, "seed", 1) * 31 +
				 (uint64_t)index };
	struct buffer out = { 0 };
	long user;

	random_next(&random);
	user = (long)(unsigned)random_below(&random, (uint64_t)users);
	buffer_append_string(&out, "MAIL FROM:<p1@dom1.example>\r\n");
	for (long i = 0; i < recipients; i++) {
		char name[USER_NAME_SIZE];

		user_name(options, first + (user + i) % users, name);
		if (job->context != NULL)
			arrivals_expect(job->context, (user + i) % users);
		buffer_printf(
			&out, "RCPT TO:<%s%s%s>\r\n", name, *domain != '\0' ? "@" : "", domain);
	}
	buffer_append_string(&out, "DATA\r\n");
	connection_send(connection, out.data, out.len);
	buffer_deinit(&out);
}

/* Counts a refusal; the first of a job is shown. */
static void note_failure(struct job *job, const char *what, const char *line)
{
	if (job->failed++ == 0)
		fprintf(stderr, "%s: %s\n", what, line);
}

static void deliver_one(
	struct job *job, struct connection *connection, long index, struct buffer *message)
{
	long recipients = option_number(job->options, "rcpts", 1), accepted = 0;
	double began = seconds_now();
	char line[512];
	bool is_sender_good;
	int answer;

	send_envelope(job, connection, index, recipients);
	is_sender_good = lmtp_reply(connection, line, sizeof(line)) == 250;
	for (long i = 0; i < recipients; i++) {
		if (lmtp_reply(connection, line, sizeof(line)) == 250)
			accepted++;
		else
			note_failure(job, "rcpt", line);
	}
	answer = lmtp_reply(connection, line, sizeof(line));
	if (!is_sender_good || answer != 354) {
		if (accepted > 0)
			die("DATA: %s", line);
		connection_send(connection, "RSET\r\n", 6);
		lmtp_reply(connection, NULL, 0);
		job->failed++;
		return;
	}
	buffer_append_string(message, ".\r\n");
	connection_send(connection, message->data, message->len);
	for (; accepted > 0; accepted--) {
		if (lmtp_reply(connection, line, sizeof(line)) != 250)
			note_failure(job, "final", line);
	}
	job->latencies[job->count++] = seconds_now() - began;
	job->bytes += message->len;
}

static void deliver(struct job *job)
{
	const struct options *options = job->options;
	struct connection connection;
	long index;

	connection_open(&connection, options, option_needed(options, "lmtp"));
	greet(&connection);
	while ((index = job_take(job)) >= 0)
		deliver_one(job, &connection, index, job_message(job, index));
	connection_send(&connection, "QUIT\r\n", 6);
	connection_close(&connection);
}

int command_deliver(const struct options *options)
{
	struct arrivals *arrivals = NULL;
	double ended;
	int rc;

	if (option(options, "imap-b", NULL) != NULL)
		arrivals = arrivals_new(options);
	rc = jobs_run(options, "deliver", deliver, arrivals, &ended);
	if (arrivals != NULL && !arrivals_wait(arrivals, ended))
		rc = 1;
	arrivals_free(&arrivals);
	return rc;
}
