/*
 * smoke: the main operations, each once and small, for counting instructions under callgrind
 * (smoke.sh). The client is a process of its own, which is not counted; it tells the server by a
 * socket when counting begins and ends.
 *
 * What is counted is dumped with a name "OPERATION COUNT": COUNT is what the instructions are
 * divided by. Messages are a pure function of their number, so runs differ by little more than the
 * timing of threads.
 */
#include "../tests/unit/imap_fixture.h"
#include "../tests/unit/sync_fixture.h"

#include "base/mem.h"
#include "lmtp/lmtp_server.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#define MESSAGE_COUNT 1000 /* in the large mailbox */
#define SINGLE_COUNT 50    /* of what is done one by one */
#define CHANGED_COUNT 10
#define EXPUNGED_COUNT 200

struct smoke {
	struct imap_fixture server;
	struct lmtp_server *lmtp;
	struct net_server *lmtp_net;
	uint16_t lmtp_port;
	int fd; /* of the client */
	int control_fd;
	struct buffer out;
	unsigned message; /* the number of the next */
};

/* ---- messages ---- */

static void body_append(struct buffer *out, unsigned number)
{
	uint64_t state = number * 2654435761u + 1;

	for (int line = 0; line < 80; line++) {
		char text[77];

		for (int i = 0; i < 76; i++) {
			state = state * 6364136223846793005u + 1442695040888963407u;
			text[i] = "abcdefghijklmnopqrstuvwxyz      "[state >> 59];
		}
		buffer_append(out, text, 76);
		buffer_append(out, "\r\n", 2);
	}
}

/* About 8 KB: text and an attachment. */
static void message_append(struct buffer *out, unsigned number)
{
	buffer_printf(out,
		"Received: from mx.example.org (mx.example.org [192.0.2.1])\r\n"
		"\tby mail.example.org with ESMTP id %08x; Sat, 21 Nov 2026 10:00:00 +0000\r\n"
		"From: \"Sender %u\" <sender%u@example.org>\r\n"
		"To: Anna <anna@example.org>, Bert <bert@example.net>\r\n"
		"Cc: list-%u@lists.example.com\r\n"
		"Subject: =?UTF-8?Q?Message_n=C2=BA_%u?= about the %s\r\n"
		"Date: Sat, 21 Nov 2026 10:%02u:%02u +0000\r\n"
		"Message-ID: <%u.smoke@example.org>\r\n"
		"In-Reply-To: <%u.smoke@example.org>\r\n"
		"List-Id: <list-%u.lists.example.com>\r\n"
		"X-Priority: 3\r\n"
		"MIME-Version: 1.0\r\n"
		"Content-Type: multipart/mixed; boundary=\"=-b%u\"\r\n\r\n"
		"--=-b%u\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
		number, number % 97, number % 97, number % 7, number,
		number % 100 == 0 ? "needle" : "hay", number / 60 % 60, number % 60, number,
		number - number % 5, number % 7, number, number);
	body_append(out, number);
	buffer_printf(out,
		"--=-b%u\r\nContent-Type: application/pdf; name=\"a%u.pdf\"\r\n"
		"Content-Disposition: attachment; filename=\"a%u.pdf\"\r\n"
		"Content-Transfer-Encoding: base64\r\n\r\nQUJDRA==\r\n--=-b%u--\r\n",
		number, number, number, number);
}

/* ---- the client ---- */

static int client_connect(uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
	return fd;
}

/* Reads until a line begins with `start`; the last bytes read are its end. */
static void client_await(struct smoke *smoke, const char *start)
{
	static char in[1 << 18];
	size_t len = 0;

	for (;;) {
		ssize_t got = recv(smoke->fd, in + len, sizeof(in) - 1 - len, 0);
		char *line;

		assert_true(got > 0);
		len += (size_t)got;
		in[len] = '\0';
		if (in[len - 1] == '\n') {
			in[len - 1] = '\0';
			line = strrchr(in, '\n');
			in[len - 1] = '\n';
			line = line == NULL ? in : line + 1;
			if (strncmp(line, start, strlen(start)) == 0)
				return;
			if (strncmp(line, "a ", 2) == 0 || line[0] == '5' || line[0] == '4')
				fail_msg("%s", line);
		}
		if (len > sizeof(in) / 2) { /* keep enough for a last line */
			memmove(in, in + len - 4096, 4096);
			len = 4096;
		}
	}
}

static void client_send(struct smoke *smoke, struct bytes bytes)
{
	while (bytes.len > 0) {
		ssize_t sent = send(smoke->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);

		assert_true(sent > 0);
		bytes_skip(&bytes, (size_t)sent);
	}
}

static void command(struct smoke *smoke, const char *text)
{
	buffer_clear(&smoke->out);
	buffer_printf(&smoke->out, "a %s\r\n", text);
	client_send(smoke, buffer_bytes(&smoke->out));
	client_await(smoke, "a OK");
}

static void append(struct smoke *smoke, const char *mailbox, unsigned count)
{
	struct buffer message = { 0 };

	buffer_clear(&smoke->out);
	buffer_printf(&smoke->out, "a APPEND %s", mailbox);
	for (unsigned i = 0; i < count; i++) {
		buffer_clear(&message);
		message_append(&message, smoke->message++);
		buffer_printf(&smoke->out, " {%zu+}\r\n", message.len);
		buffer_append_bytes(&smoke->out, buffer_bytes(&message));
	}
	buffer_append(&smoke->out, "\r\n", 2);
	client_send(smoke, buffer_bytes(&smoke->out));
	client_await(smoke, "a OK");
	buffer_deinit(&message);
}

static void log_in(struct smoke *smoke)
{
	smoke->fd = client_connect(smoke->server.port);
	client_await(smoke, "* OK");
	command(smoke, "LOGIN alice secret");
}

/* ---- what is counted ---- */

/* The server may still be at work after its answer: sending, telling listeners. */
static void settle(void)
{
	usleep(50000);
}

static void count_begin(void)
{
	settle();
	CALLGRIND_START_INSTRUMENTATION;
	CALLGRIND_ZERO_STATS;
}

static void count_end(const char *name)
{
	settle();
	CALLGRIND_DUMP_STATS_AT(name);
	CALLGRIND_STOP_INSTRUMENTATION;
}

/* The client's wishes: "(" begins, another text ends under that name, "compact" is done here. */
static void serve_counting(struct smoke *smoke, int fd)
{
	char text[80];
	ssize_t got;
	uint64_t freed;

	while ((got = read(fd, text, sizeof(text) - 1)) > 0) {
		text[got] = '\0';
		if (strcmp(text, "(") == 0)
			count_begin();
		else if (strcmp(text, "compact") == 0)
			assert_int_equal(store_compact(smoke->server.store, NULL, &freed), 0);
		else
			count_end(text);
		assert_int_equal(write(fd, "", 1), 1);
	}
}

/* ---- what the client does ---- */

static void ask(struct smoke *smoke, const char *text)
{
	char done;

	assert_int_equal(write(smoke->control_fd, text, strlen(text)), strlen(text));
	assert_int_equal(read(smoke->control_fd, &done, 1), 1);
}

static void begin(struct smoke *smoke)
{
	ask(smoke, "(");
}

static void end(struct smoke *smoke, const char *operation, unsigned count)
{
	char name[80];

	snprintf(name, sizeof(name), "%s %u", operation, count);
	ask(smoke, name);
}

#define SMALL_COUNT 20 /* of commands so small that tidying up of the allocator's would show */

struct reading {
	const char *operation;
	const char *text;
	unsigned count; /* of what one command is about */
	unsigned times; /* 0: once */
};

static const struct reading readings[] = {
	{ "noop", "NOOP", 1, SMALL_COUNT },
	{ "status", "STATUS big (MESSAGES UNSEEN UIDNEXT HIGHESTMODSEQ SIZE)", 1, SMALL_COUNT },
	{ "list-100-mailboxes", "LIST \"\" *", 1 },
	{ "select-1000", "SELECT big", 1 },
	{ "select-unchanged", "SELECT big", 1, SMALL_COUNT },
	{ "fetch-flags", "FETCH 1:* (FLAGS)", MESSAGE_COUNT },
	{ "fetch-listing", "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)",
		MESSAGE_COUNT },
	{ "fetch-header-fields", "FETCH 1:* BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)]",
		MESSAGE_COUNT },
	{ "fetch-other-fields", "FETCH 1:* BODY.PEEK[HEADER.FIELDS (RECEIVED X-PRIORITY)]",
		MESSAGE_COUNT },
	{ "fetch-bodystructure", "FETCH 1:* BODYSTRUCTURE", MESSAGE_COUNT },
	{ "fetch-whole", "FETCH 1:* BODY.PEEK[]", MESSAGE_COUNT },
	{ "search-flagged", "SEARCH FLAGGED", MESSAGE_COUNT },
	{ "search-flagged-again", "SEARCH FLAGGED", MESSAGE_COUNT },
	{ "search-subject", "SEARCH SUBJECT needle", MESSAGE_COUNT },
	{ "search-subject-again", "SEARCH SUBJECT needle", MESSAGE_COUNT },
	{ "search-text", "SEARCH TEXT needle", MESSAGE_COUNT },
};

static void count_reading(struct smoke *smoke)
{
	for (size_t i = 0; i < sizeof(readings) / sizeof(readings[0]); i++) {
		unsigned times = readings[i].times > 0 ? readings[i].times : 1;

		begin(smoke);
		for (unsigned j = 0; j < times; j++)
			command(smoke, readings[i].text);
		end(smoke, readings[i].operation, readings[i].count * times);
	}
}

static void count_appending(struct smoke *smoke)
{
	begin(smoke);
	for (int i = 0; i < SINGLE_COUNT; i++)
		append(smoke, "INBOX", 1);
	end(smoke, "append", SINGLE_COUNT);
	begin(smoke);
	append(smoke, "INBOX", SINGLE_COUNT);
	end(smoke, "append-50-at-once", SINGLE_COUNT);
}

static void count_delivery(struct smoke *smoke)
{
	int imap = smoke->fd;

	smoke->fd = client_connect(smoke->lmtp_port);
	client_await(smoke, "220 ");
	client_send(smoke, BYTES_LITERAL("LHLO smoke\r\n"));
	client_await(smoke, "250 ");
	begin(smoke);
	for (int i = 0; i < SINGLE_COUNT; i++) {
		buffer_clear(&smoke->out);
		buffer_append_string(&smoke->out,
			"MAIL FROM:<x@example.org>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n");
		client_send(smoke, buffer_bytes(&smoke->out));
		client_await(smoke, "354 ");
		buffer_clear(&smoke->out);
		message_append(&smoke->out, smoke->message++);
		buffer_append_string(&smoke->out, ".\r\n");
		client_send(smoke, buffer_bytes(&smoke->out));
		client_await(smoke, "250 ");
	}
	end(smoke, "deliver", SINGLE_COUNT);
	close(smoke->fd);
	smoke->fd = imap;
}

static void count_changing(struct smoke *smoke)
{
	char text[128];

	begin(smoke);
	for (int i = 1; i <= SINGLE_COUNT; i++) {
		snprintf(text, sizeof(text), "STORE %d +FLAGS (\\Flagged)", i);
		command(smoke, text);
	}
	end(smoke, "store", SINGLE_COUNT);
	begin(smoke);
	command(smoke, "STORE 1:* +FLAGS.SILENT (\\Seen)");
	end(smoke, "store-1000-at-once", MESSAGE_COUNT);
	command(smoke, "CREATE copies");
	begin(smoke);
	command(smoke, "COPY 1:200 copies");
	end(smoke, "copy-200-at-once", 200);
	command(smoke, "STORE 1:200 +FLAGS.SILENT (\\Deleted)");
	begin(smoke);
	command(smoke, "EXPUNGE");
	end(smoke, "expunge-200-at-once", EXPUNGED_COUNT);
}

/* After the last change of the mailbox, which is left and selected again. */
static void count_synchronising(struct smoke *smoke)
{
	unsigned long long modseq = 0;
	char text[160], in[4096];
	ssize_t got;

	command(smoke, "ENABLE QRESYNC");
	client_send(smoke, BYTES_LITERAL("a STATUS big (HIGHESTMODSEQ)\r\n"));
	got = recv(smoke->fd, in, sizeof(in) - 1, MSG_WAITALL * 0);
	assert_true(got > 0);
	in[got] = '\0';
	assert_non_null(strstr(in, "HIGHESTMODSEQ "));
	modseq = strtoull(strstr(in, "HIGHESTMODSEQ ") + 14, NULL, 10);
	if (strstr(in, "a OK") == NULL)
		client_await(smoke, "a OK");
	snprintf(text, sizeof(text), "STORE 1:%d -FLAGS.SILENT (\\Seen)", CHANGED_COUNT);
	command(smoke, text);
	snprintf(text, sizeof(text), "FETCH 1:* (FLAGS) (CHANGEDSINCE %llu)", modseq);
	begin(smoke);
	command(smoke, text);
	end(smoke, "fetch-changedsince-10", 1);
	command(smoke, "CLOSE");
	begin(smoke);
	command(smoke, "SELECT big (CONDSTORE)");
	end(smoke, "select-again-800", 1);
}

/* In a mailbox that nobody has read: no listing before left in memory what searches need. */
static void count_first_searches(struct smoke *smoke)
{
	unsigned count = MESSAGE_COUNT - EXPUNGED_COUNT;

	command(smoke, "CREATE fresh");
	command(smoke, "COPY 1:* fresh");
	ask(smoke, "compact");
	command(smoke, "SELECT fresh");
	begin(smoke);
	command(smoke, "SEARCH FLAGGED");
	end(smoke, "search-flagged-unread", count);
	begin(smoke);
	command(smoke, "SEARCH SUBJECT needle");
	end(smoke, "search-subject-unread", count);
}

static void count_replication(void)
{
	struct node *a = node_new_with_account(), *b = node_new();
	struct buffer text = { 0 };

	nodes_connect(a, b, NULL);
	nodes_exchange(a, b, NULL);
	for (unsigned i = 0; i < 200; i++) {
		buffer_clear(&text);
		message_append(&text, 1000000 + i);
		buffer_append(&text, "", 1);
		node_append(a, "INBOX", (const char *)text.data);
	}
	count_begin();
	nodes_exchange(a, b, NULL);
	count_end("exchange-200-messages 200");
	for (uint32_t uid = 1; uid <= 100; uid++)
		node_flag(a, "INBOX", uid, "\\Seen");
	count_begin();
	nodes_exchange(a, b, NULL);
	count_end("exchange-100-flags 100");
	count_begin();
	nodes_exchange(a, b, NULL);
	count_end("exchange-nothing 1");
	buffer_deinit(&text);
	node_free(&a);
	node_free(&b);
}

/* ---- the servers ---- */

static int recipient_check(void *context, struct bytes account, uint64_t size, uint32_t *handle_r)
{
	struct smoke *smoke = context;

	(void)size;
	return mail_account_open(smoke->server.mail, account, false, NULL, handle_r);
}

static int deliver(void *context, struct bytes message, const struct lmtp_recipient *recipients,
	size_t count, int *results_r)
{
	struct smoke *smoke = context;
	struct mail_body *body = NULL;
	int rc = mail_body_prepare(smoke->server.mail, message, &body);

	assert_int_equal(count, 1);
	if (rc == 0)
		rc = mail_deliver(
			smoke->server.mail, &recipients[0].handle, 1, body, NULL, results_r);
	mail_body_free(&body);
	return rc;
}

static void start_lmtp(struct smoke *smoke)
{
	struct lmtp_options lmtp = { .host_name = "smoke",
		.backend = { smoke, recipient_check, deliver, NULL } };
	struct net_server_options net = { .io_thread_count = 1, .worker_count = 1 };
	struct net_listener_options listener = { .address = "127.0.0.1" };
	struct error error = { 0 };

	smoke->lmtp = lmtp_server_new(&lmtp);
	listener.protocol = lmtp_server_protocol(smoke->lmtp);
	listener.context = smoke->lmtp;
	if (net_server_new(&net, &smoke->lmtp_net, &error) < 0 ||
		net_server_listen(smoke->lmtp_net, &listener, &smoke->lmtp_port, &error) < 0 ||
		net_server_start(smoke->lmtp_net, &error) < 0)
		fail_msg("%s", error.text);
}

static void be_client(struct smoke *smoke)
{
	char text[40];

	log_in(smoke);
	command(smoke, "CREATE big");
	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "CREATE box%d", i);
		command(smoke, text);
	}
	for (unsigned i = 0; i < MESSAGE_COUNT; i += 100)
		append(smoke, "big", 100);
	count_delivery(smoke);
	count_appending(smoke);
	begin(smoke);
	ask(smoke, "compact");
	end(smoke, "index-flush-and-compaction", MESSAGE_COUNT);
	count_reading(smoke);
	count_changing(smoke);
	count_synchronising(smoke);
	count_first_searches(smoke);
	close(smoke->fd);
	buffer_deinit(&smoke->out);
}

int main(void)
{
	/* valgrind has no room for an index of the usual size; and what is moved down to the disk
	 * at some time must not be counted with what happens to be done then. */
	struct store_options store_options = {
		.compression = 1, .index_size_max = 1 << 30, .index_lag_ms_max = 3600000
	};
	struct smoke smoke = { 0 };
	int control[2], status;
	pid_t client;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, control), 0);
	imap_fixture_start_storing(&smoke.server, &store_options);
	start_lmtp(&smoke);
	client = fork();
	if (client == 0) {
		close(control[0]);
		smoke.control_fd = control[1];
		be_client(&smoke);
		_exit(0);
	}
	close(control[1]);
	serve_counting(&smoke, control[0]);
	assert_true(waitpid(client, &status, 0) == client && status == 0);
	net_server_stop(smoke.lmtp_net, 1000);
	net_server_free(&smoke.lmtp_net);
	lmtp_server_free(&smoke.lmtp);
	imap_fixture_stop(&smoke.server);
	count_replication();
	return 0;
}
