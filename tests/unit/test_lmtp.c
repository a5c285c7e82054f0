#include "test_net_helper.h"

#include "base/mem.h"
#include "lmtp/lmtp_server.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define MESSAGE_SIZE_MAX 20000
#define DELIVERY_COUNT_MAX 16

/*
 * The backend knows the accounts "anna", "bert" and "zoë"; "full", "broken", "big", "busy" exist
 * but fail when mail is delivered; "closed" and "later" refuse and put off.
 */
struct delivery {
	struct buffer message;
	char recipients[200]; /* "account+detail account …" */
};

struct fixture {
	struct test_files files;
	struct net_server *server;
	struct lmtp_server *lmtp;
	uint16_t port;
	pthread_mutex_t mutex;
	struct delivery deliveries[DELIVERY_COUNT_MAX];
	size_t delivery_count;
	int result; /* of all deliveries, if not 0 */
};

static const struct {
	const char *name;
	int check, deliver;
} accounts[] = {
	{ "anna", 0, 0 },
	{ "bert", 0, 0 },
	{ "zo\xc3\xab", 0, 0 },
	{ "two words", 0, 0 },
	{ "full", 0, ERR_FULL },
	{ "broken", 0, ERR_IO },
	{ "big", 0, ERR_TOO_LARGE },
	{ "busy", 0, ERR_UNAVAILABLE },
	{ "overfull", 0, ERR_OVERQUOTA },
	{ "stuffed", ERR_OVERQUOTA, 0 },
	{ "narrow", 0, 0 }, /* room for 100 bytes */
	{ "closed", ERR_REFUSED, 0 },
	{ "later", ERR_UNAVAILABLE, 0 },
};

#define ACCOUNT_COUNT (sizeof(accounts) / sizeof(accounts[0]))

static int recipient_check(void *context, struct bytes account, uint64_t size, uint32_t *handle_r)
{
	(void)context;
	for (uint32_t i = 0; i < ACCOUNT_COUNT; i++) {
		if (!bytes_equal_string(account, accounts[i].name))
			continue;
		*handle_r = i;
		if (strcmp(accounts[i].name, "narrow") == 0 && size > 100)
			return ERR_OVERQUOTA;
		return accounts[i].check;
	}
	return ERR_NOT_FOUND;
}

static int deliver(void *context, struct bytes message, const struct lmtp_recipient *recipients,
	size_t count, int *results_r)
{
	struct fixture *fixture = context;
	struct delivery *delivery;

	pthread_mutex_lock(&fixture->mutex);
	assert_true(fixture->delivery_count < DELIVERY_COUNT_MAX);
	delivery = &fixture->deliveries[fixture->delivery_count++];
	buffer_append_bytes(&delivery->message, message);
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(delivery->recipients);

		assert_true(bytes_equal_string(
			recipients[i].account, accounts[recipients[i].handle].name));
		snprintf(delivery->recipients + len, sizeof(delivery->recipients) - len,
			"%s%.*s+%.*s", i > 0 ? " " : "", BYTES_ARGS(recipients[i].account),
			BYTES_ARGS(recipients[i].detail));
		results_r[i] = accounts[recipients[i].handle].deliver;
	}
	pthread_mutex_unlock(&fixture->mutex);
	return fixture->result;
}

static int set_up_with(void **state, bool quota_is_permanent)
{
	struct fixture *fixture = mem_zalloc(sizeof(*fixture));
	struct lmtp_options options = { .backend = { .context = fixture,
						.recipient_check = recipient_check,
						.deliver = deliver },
		.host_name = "mx.example",
		.message_size_max = MESSAGE_SIZE_MAX,
		.quota_is_permanent = quota_is_permanent };
	struct net_server_options server_options = { .worker_count = 2 };
	struct net_listener_options listener = { .address = "127.0.0.1", .tls = NET_TLS_START };
	struct net_listener_options socket_listener = { .path = fixture->files.socket_path };
	struct error error = { 0 };

	pthread_mutex_init(&fixture->mutex, NULL);
	test_files_make(&fixture->files);
	server_options.tls_certificate_path = fixture->files.certificate_path;
	server_options.tls_key_path = fixture->files.key_path;
	fixture->lmtp = lmtp_server_new(&options);
	listener.protocol = lmtp_server_protocol(fixture->lmtp);
	listener.context = fixture->lmtp;
	socket_listener.protocol = listener.protocol;
	socket_listener.context = fixture->lmtp;
	if (net_server_new(&server_options, &fixture->server, &error) < 0 ||
		net_server_listen(fixture->server, &listener, &fixture->port, &error) < 0 ||
		net_server_listen(fixture->server, &socket_listener, NULL, &error) < 0 ||
		net_server_start(fixture->server, &error) < 0)
		fail_msg("%s", error.text);
	*state = fixture;
	return 0;
}

static int set_up(void **state)
{
	return set_up_with(state, false);
}

static int set_up_permanent(void **state)
{
	return set_up_with(state, true);
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	net_server_free(&fixture->server);
	lmtp_server_free(&fixture->lmtp);
	for (size_t i = 0; i < fixture->delivery_count; i++)
		buffer_deinit(&fixture->deliveries[i].message);
	pthread_mutex_destroy(&fixture->mutex);
	test_files_remove(&fixture->files);
	free(fixture);
	return 0;
}

/* After LHLO. */
static struct net_client *greeted(struct fixture *fixture)
{
	struct net_client *client = test_connect(fixture->port);

	test_expect(client, "220 mx.example LMTP Chapar");
	test_send(client, "LHLO mta.example\r\n");
	test_expect(client, "250-mx.example");
	test_expect(client, "250-PIPELINING");
	test_expect(client, "250-ENHANCEDSTATUSCODES");
	test_expect(client, "250-8BITMIME");
	test_expect(client, "250-SMTPUTF8");
	if (!net_client_is_tls(client))
		test_expect(client, "250-STARTTLS");
	test_expect(client, "250 SIZE 20000");
	return client;
}

static void finish(struct net_client *client)
{
	test_send(client, "QUIT\r\n");
	test_expect(client, "221 2.0.0 bye");
	test_expect_end(client);
	net_client_free(&client);
}

/* What was delivered, after the two headers that are checked here. */
static const char *content_of(struct fixture *fixture, size_t index, const char *sender)
{
	const char *text = buffer_string(&fixture->deliveries[index].message);
	char expected[300];

	assert_true(index < fixture->delivery_count);
	snprintf(expected, sizeof(expected),
		"Return-Path: <%s>\r\nReceived: from mta.example ([127.0.0.1])\r\n\tby mx.example "
		"with ",
		sender);
	assert_memory_equal(text, expected, strlen(expected));
	text = strstr(text, ";\r\n\t");
	assert_non_null(text);
	text = strstr(text + 4, "\r\n");
	assert_non_null(text);
	return text + 2;
}

static void a_message_is_delivered_to_each_recipient_and_stored_once(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture);

	test_send(client, "MAIL FROM:<s@example.org> BODY=8BITMIME SIZE=100\r\n");
	test_expect(client, "250 2.1.0 ok");
	test_send(client, "RCPT TO:<anna@example.org>\r\nRCPT TO:<nobody@example.org>\r\n"
			  "RCPT TO:<bert+lists@example.org>\r\nDATA\r\n");
	test_expect(client, "250 2.1.5 ok");
	test_expect(client, "550 5.1.1 no such recipient");
	test_expect(client, "250 2.1.5 ok");
	test_expect(client, "354 go ahead, end with CRLF.CRLF");
	test_send(client, "Subject: x\r\n\r\nbody\r\n.\r\n");
	test_expect(client, "250 2.1.5 <anna@example.org> delivered");
	test_expect(client, "250 2.1.5 <bert+lists@example.org> delivered");
	finish(client);
	assert_int_equal(fixture->delivery_count, 1);
	assert_string_equal(fixture->deliveries[0].recipients, "anna+ bert+lists");
	assert_string_equal(content_of(fixture, 0, "s@example.org"), "Subject: x\r\n\r\nbody\r\n");
}

static void each_recipient_hears_his_own_result(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture);

	test_send(client,
		"MAIL FROM:<>\r\nRCPT TO:<full>\r\nRCPT TO:<anna>\r\nRCPT TO:<broken>\r\n"
		"RCPT TO:<big>\r\nRCPT TO:<busy>\r\nRCPT TO:<closed>\r\nRCPT TO:<later>\r\n"
		"DATA\r\nx\r\n.\r\n");
	for (int i = 0; i < 6; i++)
		test_expect_start(client, "250 ");
	test_expect(client, "550 5.7.1 not allowed");
	test_expect(client, "451 4.3.2 try again later");
	test_expect_start(client, "354 ");
	test_expect_start(client, "452 4.3.1 <full> ");
	test_expect_start(client, "250 2.1.5 <anna> ");
	test_expect_start(client, "451 4.3.0 <broken> ");
	test_expect_start(client, "552 5.2.3 <big> ");
	test_expect_start(client, "451 4.3.2 <busy> ");
	finish(client);
	assert_int_equal(fixture->delivery_count, 1);
	assert_string_equal(content_of(fixture, 0, ""), "x\r\n");
}

static void expect_quota(struct fixture *fixture, const char *at_rcpt, const char *after_data)
{
	struct net_client *client = greeted(fixture);

	test_send(client, "MAIL FROM:<>\r\nRCPT TO:<stuffed>\r\nRCPT TO:<overfull>\r\n"
			  "RCPT TO:<anna>\r\nDATA\r\nx\r\n.\r\n");
	test_expect_start(client, "250 ");
	test_expect(client, at_rcpt);
	test_expect_start(client, "250 ");
	test_expect_start(client, "250 ");
	test_expect_start(client, "354 ");
	test_expect(client, after_data);
	test_expect_start(client, "250 2.1.5 <anna> ");
	finish(client);
}

static void mail_over_a_quota_waits_at_its_sender(void **state)
{
	expect_quota(*state, "452 4.2.2 mailbox full", "452 4.2.2 <overfull> over quota");
}

static void mail_over_a_quota_goes_back_where_the_operator_says_so(void **state)
{
	expect_quota(*state, "552 5.2.2 mailbox full", "552 5.2.2 <overfull> over quota");
}

static void the_header_of_ours_says_where_the_client_was(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = net_client_new();
	const char *text;

	assert_int_equal(
		net_client_connect(client, fixture->files.socket_path, 0, HELPER_TIMEOUT_MS, NULL),
		0);
	test_send(client, "LHLO [127.0.0.1]\r\nMAIL FROM:<\"a b\"@c>\r\nRCPT TO:<anna>\r\n"
			  "DATA\r\nx\r\n.\r\n");
	test_expect_start(client, "220 ");
	for (int i = 0; i < 5; i++) /* no TLS there */
		test_expect_start(client, "250-");
	for (int i = 0; i < 3; i++)
		test_expect_start(client, "250 ");
	test_expect_start(client, "354 ");
	test_expect_start(client, "250 2.1.5 ");
	finish(client);
	text = buffer_string(&fixture->deliveries[0].message);
	assert_ptr_equal(
		strstr(text, "Return-Path: <\"a b\"@c>\r\n"
			     "Received: from [127.0.0.1] (local)\r\n\tby mx.example with LMTP id "),
		text);
}

static void a_store_that_fails_as_a_whole_fails_for_all(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture);

	fixture->result = ERR_FULL;
	test_send(client, "MAIL FROM:<>\r\nRCPT TO:<anna>\r\nRCPT TO:<bert>\r\nDATA\r\nx\r\n.\r\n");
	for (int i = 0; i < 3; i++)
		test_expect_start(client, "250 ");
	test_expect_start(client, "354 ");
	test_expect_start(client, "452 4.3.1 <anna> ");
	test_expect_start(client, "452 4.3.1 <bert> ");
	finish(client);
}

static void the_same_place_twice_gets_one_message_and_two_answers(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture);

	test_send(client,
		"MAIL FROM:<>\r\nRCPT TO:<anna@a>\r\nRCPT TO:<bert>\r\nRCPT TO:<anna@b>\r\n"
		"RCPT TO:<anna+x@a>\r\nDATA\r\nx\r\n.\r\n");
	for (int i = 0; i < 5; i++)
		test_expect_start(client, "250 ");
	test_expect_start(client, "354 ");
	test_expect_start(client, "250 2.1.5 <anna@a> ");
	test_expect_start(client, "250 2.1.5 <bert> ");
	test_expect_start(client, "250 2.1.5 <anna@b> ");
	test_expect_start(client, "250 2.1.5 <anna+x@a> ");
	finish(client);
	assert_string_equal(fixture->deliveries[0].recipients, "anna+ bert+ anna+x");
}

static void a_whole_dialogue_may_be_pipelined_or_come_byte_by_byte(void **state)
{
	struct fixture *fixture = *state;
	const char *dialogue = "LHLO mta.example\r\nMAIL FROM:<a@b>\r\nRCPT TO:<anna>\r\nDATA\r\n"
			       "one\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<bert>\r\nDATA\r\n"
			       "two\r\n.\r\nQUIT\r\n";

	for (int by_byte = 0; by_byte < 2; by_byte++) {
		struct net_client *client = test_connect(fixture->port);

		if (by_byte == 0)
			test_send(client, dialogue);
		for (const char *at = dialogue; by_byte == 1 && *at != '\0'; at++)
			test_send(client, (char[]){ *at, '\0' });
		test_expect_start(client, "220 ");
		for (int i = 0; i < 6; i++)
			test_expect_start(client, "250-");
		test_expect_start(client, "250 SIZE");
		for (int i = 0; i < 2; i++) {
			test_expect(client, "250 2.1.0 ok");
			test_expect(client, "250 2.1.5 ok");
			test_expect_start(client, "354 ");
			test_expect_start(client, "250 2.1.5 ");
		}
		test_expect(client, "221 2.0.0 bye");
		test_expect_end(client);
		net_client_free(&client);
		assert_int_equal(fixture->delivery_count, by_byte * 2 + 2);
		assert_string_equal(content_of(fixture, (size_t)by_byte * 2, "a@b"), "one\r\n");
		assert_string_equal(content_of(fixture, (size_t)by_byte * 2 + 1, "a@b"), "two\r\n");
	}
}

static void what_arrives_is_what_was_meant(void **state)
{
	static const struct {
		const char *sent, *stored;
	} rows[] = {
		{ ".\r\n", "" },            /* an empty message */
		{ "..\r\n.\r\n", ".\r\n" }, /* one stuffed dot */
		{ "...\r\n..x\r\n.\r\n", "..\r\n.x\r\n" },
		{ ".x\r\n.\r\n", "x\r\n" },        /* a dot that should have been stuffed */
		{ "a\nb\r\n.\r\n", "a\r\nb\r\n" }, /* a bare LF */
		{ "\n\n\r\n.\r\n", "\r\n\r\n\r\n" },
		/* a dot after a bare LF was not stuffed by anybody, and ends nothing */
		{ "a\n.\nRSET\n..b\r\n.\r\n", "a\r\n.\r\nRSET\r\n..b\r\n" },
		{ "a\n.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n" },
		{ "a\r\n.\nb\r\n.\r\n", "a\r\n\r\nb\r\n" },
		{ "a\rb\r\n.\r\n", "a\rb\r\n" }, /* a bare CR stays */
		{ "a\r\r\n.\r\n", "a\r\r\n" },
		{ "\xff\xfe\r\n.\r\n", "\xff\xfe\r\n" },
	};
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		test_send(client, "MAIL FROM:<>\r\nRCPT TO:<anna>\r\nDATA\r\n");
		test_send(client, rows[i].sent);
		test_expect(client, "250 2.1.0 ok");
		test_expect(client, "250 2.1.5 ok");
		test_expect_start(client, "354 ");
		test_expect(client, "250 2.1.5 <anna> delivered");
		assert_string_equal(content_of(fixture, i, ""), rows[i].stored);
	}
	finish(client);
}

static void a_message_with_nul_bytes_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture);

	test_send(client, "MAIL FROM:<>\r\nRCPT TO:<anna>\r\nDATA\r\n");
	for (int i = 0; i < 2; i++)
		test_expect_start(client, "250 ");
	test_expect_start(client, "354 ");
	assert_int_equal(
		net_client_write(client, BYTES_LITERAL("a\0b\r\n.\r\n"), HELPER_TIMEOUT_MS, NULL),
		0);
	test_expect(client, "554 5.6.0 message with NUL bytes");
	finish(client);
	assert_int_equal(fixture->delivery_count, 0);
}

static void a_message_too_large_is_refused_and_the_session_goes_on(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture);
	struct buffer lines = { 0 };

	test_send(client, "MAIL FROM:<> SIZE=101\r\nRCPT TO:<narrow>\r\nRSET\r\n");
	test_expect_start(client, "250 ");
	test_expect_start(client, "452 4.2.2");
	test_expect_start(client, "250 ");
	test_send(client, "MAIL FROM:<> SIZE=100\r\nRCPT TO:<narrow>\r\nRSET\r\n");
	test_expect_start(client, "250 ");
	test_expect_start(client, "250 ");
	test_expect_start(client, "250 ");
	test_send(client, "MAIL FROM:<> SIZE=20001\r\n");
	test_expect(client, "552 5.3.4 message too large");
	/* once a little too large, once so much that it is not even buffered */
	for (int size = 21000; size < 5000000; size *= 100) {
		buffer_clear(&lines);
		while (lines.len < (size_t)size)
			buffer_append_string(&lines, "a line of a message\r\n..\r\n");
		buffer_append_string(&lines, ".\r\n");
		test_send(client, "MAIL FROM:<>\r\nRCPT TO:<anna>\r\nRCPT TO:<bert>\r\nDATA\r\n");
		test_send(client, buffer_string(&lines));
		for (int i = 0; i < 3; i++)
			test_expect_start(client, "250 ");
		test_expect_start(client, "354 ");
		test_expect(client, "552 5.3.4 message too large");
		test_expect(client, "552 5.3.4 message too large");
	}
	buffer_deinit(&lines);
	test_send(client, "NOOP\r\n");
	test_expect(client, "250 2.0.0 ok");
	finish(client);
	assert_int_equal(fixture->delivery_count, 0);
}

static void a_message_of_the_very_limit_is_taken(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture);
	struct buffer lines = { 0 };

	while (lines.len + 100 <= MESSAGE_SIZE_MAX)
		buffer_printf(&lines, "%098d\r\n", 7);
	assert_int_equal(lines.len, MESSAGE_SIZE_MAX);
	buffer_append_string(&lines, ".\r\n");
	test_send(client, "MAIL FROM:<> SIZE=20000\r\nRCPT TO:<anna>\r\nDATA\r\n");
	test_send(client, buffer_string(&lines));
	for (int i = 0; i < 2; i++)
		test_expect_start(client, "250 ");
	test_expect_start(client, "354 ");
	test_expect(client, "250 2.1.5 <anna> delivered");
	buffer_deinit(&lines);
	finish(client);
}

static void commands_out_of_order_or_malformed_are_told_so(void **state)
{
	static const struct {
		const char *line, *answer;
	} rows[] = {
		{ "MAIL", "501 5.5.4" },
		{ "MAIL FROM:", "501 5.1.7" },
		{ "MAIL FROM:a@b", "501 5.1.7" },
		{ "MAIL FROM:<a@b", "501 5.1.7" },
		{ "MAIL FROM:<@b>", "501 5.1.7" },
		{ "MAIL FROM:<a@>", "501 5.1.7" },
		{ "MAIL FROM:<a@b>x", "501 5.5.4" },
		{ "MAIL FROM:<a@b> SIZE", "501 5.5.4" },
		{ "MAIL FROM:<a@b> SIZE=", "501 5.5.4" },
		{ "MAIL FROM:<a@b> SIZE=x", "501 5.5.4" },
		{ "MAIL FROM:<a@b> SIZE=99999999999999999999", "501 5.5.4" },
		{ "MAIL FROM:<a@b> BODY=BINARYMIME", "501 5.5.4" },
		{ "MAIL FROM:<a@b> RET=HDRS", "555 5.5.4" },
		{ "MAIL FROM:<zo\xc3\xab@b>", "553 5.6.7" },
		{ "RCPT TO:<anna>", "503 5.5.1" },
		{ "DATA", "503 5.5.1" },
		{ "RSET now", "501 5.5.4" },
		{ "VRFY", "501 5.5.4" },
		{ "VRFY anna", "252 2.1.5" },
		{ "HELP", "214 2.0.0" },
		{ "HELO x", "500 5.5.1" },
		{ "EHLO x", "500 5.5.1" },
		{ "LHLO", "501 5.5.4" },
		{ "LHLO a(b", "501 5.5.4" },
		{ "WHAT", "500 5.5.1" },
		{ "", "500 5.5.1" },
		{ "NOOP \x01", "500 5.5.2" },
		{ "mail from: <a@b> size=5 body=7bit ", "250 2.1.0" }, /* any case, blanks */
		{ "MAIL FROM:<c@d>", "503 5.5.1" },
		{ "DATA", "503 5.5.1" },
		{ "RCPT TO:<>", "501 5.1.3" },
		{ "RCPT TO:anna", "501 5.1.3" },
		{ "RCPT TO:<anna> NOTIFY=NEVER", "555 5.5.4" },
		{ "RCPT TO:<zo\xc3\xab@b>", "553 5.6.7" },
		{ "RCPT TO:<@relay.example:anna@b>", "250 2.1.5" }, /* a source route */
		{ "RCPT TO:<\"anna\"@b>", "250 2.1.5" },
		{ "RCPT TO:<\"two\\ words\"@[127.0.0.1]>", "250 2.1.5" },
		{ "RCPT TO:<\"two words@b>", "501 5.1.3" },
		{ "RCPT TO:<two words@b>", "501 5.1.3" },
		{ "RSET", "250 2.0.0" },
		{ "RCPT TO:<anna>", "503 5.5.1" },
	};
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		test_send(client, rows[i].line);
		test_send(client, "\r\n");
		test_expect_start(client, rows[i].answer);
	}
	finish(client);
}

static void nothing_is_taken_before_lhlo(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = test_connect(fixture->port);

	test_send(client, "MAIL FROM:<a@b>\r\nNOOP\r\n");
	test_expect_start(client, "220 ");
	test_expect(client, "503 5.5.1 say LHLO first");
	test_expect(client, "250 2.0.0 ok");
	finish(client);
}

static void addresses_that_are_not_ascii_need_smtputf8(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture);

	test_send(client, "MAIL FROM:<\xc3\xa9@b> SMTPUTF8\r\nRCPT TO:<zo\xc3\xab@b>\r\n"
			  "RCPT TO:<\xff@b>\r\nDATA\r\nx\r\n.\r\n");
	test_expect(client, "250 2.1.0 ok");
	test_expect(client, "250 2.1.5 ok");
	test_expect(client, "501 5.1.3 bad recipient address"); /* not UTF-8 */
	test_expect_start(client, "354 ");
	test_expect(client, "250 2.1.5 <zo\xc3\xab@b> delivered");
	finish(client);
	assert_string_equal(content_of(fixture, 0, "\xc3\xa9@b"), "x\r\n");
	assert_non_null(strstr(buffer_string(&fixture->deliveries[0].message), "with UTF8LMTP id"));
}

static void a_line_too_long_is_refused_and_the_session_goes_on(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture);
	struct buffer line = { 0 };

	memset(buffer_extend(&line, 100000), 'x', 100000);
	buffer_append_string(&line, "\r\nNOOP\r\n");
	test_send(client, buffer_string(&line));
	test_expect(client, "500 5.5.2 line too long");
	test_expect(client, "250 2.0.0 ok");
	buffer_deinit(&line);
	finish(client);
}

static void start_tls_forgets_what_was_said_before(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture);

	test_send(client, "MAIL FROM:<a@b>\r\nSTARTTLS\r\nRCPT TO:<anna>\r\n");
	test_expect(client, "250 2.1.0 ok");
	test_expect(client, "220 2.0.0 go ahead");
	test_start_tls(client);
	test_send(client, "RCPT TO:<anna>\r\n");
	test_expect(client, "503 5.5.1 say LHLO first");
	test_send(client, "LHLO mta.example\r\nSTARTTLS\r\n"
			  "MAIL FROM:<a@b>\r\nRCPT TO:<anna>\r\nDATA\r\nx\r\n.\r\n");
	for (int i = 0; i < 5; i++)
		test_expect_start(client, "250-");
	test_expect_start(client, "250 SIZE");
	test_expect(client, "502 5.5.1 no TLS here");
	test_expect(client, "250 2.1.0 ok");
	test_expect(client, "250 2.1.5 ok");
	test_expect_start(client, "354 ");
	test_expect(client, "250 2.1.5 <anna> delivered");
	finish(client);
	content_of(fixture, 0, "a@b");
	assert_non_null(strstr(buffer_string(&fixture->deliveries[0].message), "with LMTPS id"));
}

static void a_client_that_only_errs_is_sent_away(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture);

	for (int i = 0; i < LMTP_BAD_COMMAND_COUNT_MAX; i++) {
		test_send(client, "BAD\r\n");
		test_expect(client, "500 5.5.1 unknown command");
	}
	test_expect(client, "421 4.7.0 too many errors");
	test_expect_end(client);
	net_client_free(&client);
}

static void recipients_over_the_limit_are_put_off(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture);

	test_send(client, "MAIL FROM:<>\r\n");
	test_expect_start(client, "250 ");
	for (int i = 0; i < LMTP_RECIPIENT_COUNT_MAX; i++) {
		test_send(client, "RCPT TO:<anna>\r\n");
		test_expect_start(client, "250 ");
	}
	test_send(client, "RCPT TO:<anna>\r\n");
	test_expect(client, "452 4.5.3 too many recipients");
	test_send(client, "DATA\r\nx\r\n.\r\n");
	test_expect_start(client, "354 ");
	for (int i = 0; i < LMTP_RECIPIENT_COUNT_MAX; i++)
		test_expect(client, "250 2.1.5 <anna> delivered");
	finish(client);
	assert_string_equal(fixture->deliveries[0].recipients, "anna+");
}

static void a_message_cut_off_by_the_clients_end_is_not_delivered(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture);

	test_send(client, "MAIL FROM:<>\r\nRCPT TO:<anna>\r\nDATA\r\nhalf a mess");
	for (int i = 0; i < 2; i++)
		test_expect_start(client, "250 ");
	test_expect_start(client, "354 ");
	net_client_free(&client);
	net_server_stop(fixture->server, HELPER_TIMEOUT_MS);
	assert_int_equal(fixture->delivery_count, 0);
}

static void a_stopping_server_says_so(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture);

	net_server_stop(fixture->server, HELPER_TIMEOUT_MS);
	test_expect(client, "421 4.3.2 shutting down");
	test_expect_end(client);
	net_client_free(&client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_message_is_delivered_to_each_recipient_and_stored_once),
		TEST(each_recipient_hears_his_own_result),
		TEST(mail_over_a_quota_waits_at_its_sender),
		cmocka_unit_test_setup_teardown(
			mail_over_a_quota_goes_back_where_the_operator_says_so, set_up_permanent,
			tear_down),
		TEST(the_header_of_ours_says_where_the_client_was),
		TEST(a_store_that_fails_as_a_whole_fails_for_all),
		TEST(the_same_place_twice_gets_one_message_and_two_answers),
		TEST(a_whole_dialogue_may_be_pipelined_or_come_byte_by_byte),
		TEST(what_arrives_is_what_was_meant),
		TEST(a_message_with_nul_bytes_is_refused),
		TEST(a_message_too_large_is_refused_and_the_session_goes_on),
		TEST(a_message_of_the_very_limit_is_taken),
		TEST(commands_out_of_order_or_malformed_are_told_so),
		TEST(nothing_is_taken_before_lhlo),
		TEST(addresses_that_are_not_ascii_need_smtputf8),
		TEST(a_line_too_long_is_refused_and_the_session_goes_on),
		TEST(start_tls_forgets_what_was_said_before),
		TEST(a_client_that_only_errs_is_sent_away),
		TEST(recipients_over_the_limit_are_put_off),
		TEST(a_message_cut_off_by_the_clients_end_is_not_delivered),
		TEST(a_stopping_server_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
