/* What a dialogue cannot show: TLS, clients that are slow or gone, and many messages. */
#include "imap_fixture.h"

#include "base/mem.h"
#include "mail/deletion.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MESSAGE_COUNT 1500
#define BODY_SIZE 2000

static void expect_greeting(struct net_client *client)
{
	test_expect_start(client, "* OK [CAPABILITY IMAP4rev1 ");
}

static void log_in(struct net_client *client)
{
	test_send(client, "a LOGIN alice secret\r\n");
	test_expect_start(client, "a OK ");
}

/* Reads up to the line that begins with `end`. Returns the number of lines before it. */
static size_t read_up_to(struct net_client *client, const char *end)
{
	struct error error = { 0 };
	struct bytes line;
	size_t count = 0;

	for (;; count++) {
		if (net_client_read_line(client, 1000000, &line, HELPER_TIMEOUT_MS, &error) < 0)
			fail_msg("instead of \"%s\": %s", end, error.text);
		if (bytes_start_with(line, bytes_of_string(end)))
			return count;
	}
}

static void fill_inbox(struct net_client *client)
{
	struct buffer command = { NULL, 0, 0 };
	char body[BODY_SIZE + 1];
	struct error error = { 0 };

	memset(body, 'x', BODY_SIZE);
	body[BODY_SIZE] = '\0';
	buffer_append_string(&command, "f APPEND INBOX");
	for (unsigned i = 0; i < MESSAGE_COUNT; i++)
		buffer_printf(
			&command, " {%d+}\r\nSubject: %04u\r\n\r\n%s", BODY_SIZE + 17, i, body);
	buffer_append_string(&command, "\r\n");
	assert_int_equal(
		net_client_write(client, buffer_bytes(&command), HELPER_TIMEOUT_MS, &error), 0);
	test_expect_start(client, "f OK [APPENDUID ");
	buffer_deinit(&command);
	test_send(client, "f SELECT INBOX\r\n");
	read_up_to(client, "f OK ");
}

static void passwords_are_refused_without_tls(void **state)
{
	struct imap_fixture server;
	struct net_client *client;

	(void)state;
	imap_fixture_start_with(&server, false, 0);
	client = test_connect(server.port);
	test_expect_start(client, "* OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE "
				  "LOGIN-REFERRALS STARTTLS "
				  "LOGINDISABLED AUTH=SCRAM-SHA-256]");
	test_send(client, "a LOGIN alice secret\r\n");
	test_expect_start(client, "a NO [PRIVACYREQUIRED] ");
	test_send(client, "b AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\n");
	test_expect_start(client, "b NO [PRIVACYREQUIRED] ");
	test_send(client, "c STARTTLS\r\n");
	test_expect_start(client, "c OK ");
	test_start_tls(client);
	test_send(client, "d STARTTLS\r\n");
	test_expect_start(client, "d BAD ");
	test_send(client, "e CAPABILITY\r\n");
	test_expect_start(client, "* CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE "
				  "LOGIN-REFERRALS AUTH=");
	test_expect_start(client, "e OK ");
	log_in(client);
	net_client_free(&client);
	imap_fixture_stop(&server);
}

/* What was sent in the clear before TLS is not taken for what came in it (CVE-2021-33515 and
 * others). */
static void plaintext_behind_starttls_is_dropped(void **state)
{
	struct imap_fixture server;
	struct net_client *client;

	(void)state;
	imap_fixture_start_with(&server, false, 0);
	client = test_connect(server.port);
	expect_greeting(client);
	test_send(client, "a STARTTLS\r\nb NOOP\r\n");
	test_expect_start(client, "a OK ");
	test_start_tls(client);
	test_send(client, "c NOOP\r\n");
	test_expect_start(client, "c OK ");
	net_client_free(&client);
	imap_fixture_stop(&server);
}

/* The answers are many times what the server gathers for one client. */
static void a_slow_client_gets_all_in_order(void **state)
{
	struct imap_fixture server;
	struct net_client *client;
	char expected[64];

	(void)state;
	imap_fixture_start(&server);
	client = test_connect(server.port);
	expect_greeting(client);
	log_in(client);
	fill_inbox(client);
	test_send(client, "a FETCH 1:* BODY.PEEK[]\r\nb FETCH 1:* FLAGS\r\nc NOOP\r\n");
	for (unsigned i = 1; i <= MESSAGE_COUNT; i++) {
		snprintf(expected, sizeof(expected), "* %u FETCH (BODY[] {%d}", i, BODY_SIZE + 17);
		test_expect(client, expected);
		snprintf(expected, sizeof(expected), "Subject: %04u", i - 1);
		test_expect(client, expected);
		test_expect(client, "");
		test_expect_start(client, "xxx");
	}
	test_expect_start(client, "a OK ");
	assert_int_equal(read_up_to(client, "b OK "), MESSAGE_COUNT);
	test_expect_start(client, "c OK ");
	net_client_free(&client);
	imap_fixture_stop(&server);
}

#define LAZY_COUNT 6 /* more than there are workers */

/* What each asks for is far more than sockets and one buffer hold; he takes nothing of it. */
static void clients_that_stop_reading_hold_no_worker_and_are_ended_in_time(void **state)
{
	struct net_client *lazy[LAZY_COUNT], *client;
	struct net_server_stats stats;
	struct imap_fixture server;

	(void)state;
	imap_fixture_start_impatient(&server, 2);
	client = test_connect(server.port);
	expect_greeting(client);
	log_in(client);
	fill_inbox(client);
	net_client_free(&client);
	for (int i = 0; i < LAZY_COUNT; i++) {
		lazy[i] = test_connect(server.port);
		expect_greeting(lazy[i]);
		log_in(lazy[i]);
		test_send(lazy[i], "a SELECT INBOX\r\n");
		read_up_to(lazy[i], "a OK ");
		for (int round = 0; round < 10; round++)
			test_send(lazy[i], "b FETCH 1:* BODY.PEEK[]\r\n");
	}
	/* A new one: the first may have been idle for too long by now, on a busy machine. */
	client = test_connect(server.port);
	expect_greeting(client);
	log_in(client);
	for (int i = 0; i < 100; i++) {
		test_send(client, "c NOOP\r\n");
		test_expect_start(client, "c OK ");
		net_server_stats(server.net, &stats);
		if (stats.connection_count == 1)
			break;
		usleep(100000);
	}
	assert_int_equal(stats.connection_count, 1);
	/* Of what they asked for, no more left the store than sockets and buffers take. */
	assert_true(
		stats.output_size < (uint64_t)LAZY_COUNT * 10 * MESSAGE_COUNT * BODY_SIZE * 3 / 4);
	for (int i = 0; i < LAZY_COUNT; i++)
		net_client_free(&lazy[i]);
	net_client_free(&client);
	imap_fixture_stop(&server);
}

static void a_client_that_goes_in_the_midst_of_an_answer_is_no_harm(void **state)
{
	struct imap_fixture server;
	struct net_client *client;

	(void)state;
	imap_fixture_start(&server);
	client = test_connect(server.port);
	expect_greeting(client);
	log_in(client);
	fill_inbox(client);
	test_send(client, "a FETCH 1:* BODY[]\r\n");
	test_expect_start(client, "* 1 FETCH ");
	net_client_free(&client);
	client = test_connect(server.port);
	expect_greeting(client);
	log_in(client);
	test_send(client, "b STATUS INBOX (MESSAGES)\r\n");
	test_expect(client, "* STATUS INBOX (MESSAGES 1500)");
	net_client_free(&client);
	imap_fixture_stop(&server);
}

/* Steps of STORE, MOVE and EXPUNGE are smaller than this. */
static void changes_of_many_messages_are_told_in_full(void **state)
{
	struct imap_fixture server;
	struct net_client *client, *other;

	(void)state;
	imap_fixture_start(&server);
	client = test_connect(server.port);
	expect_greeting(client);
	log_in(client);
	fill_inbox(client);
	other = test_connect(server.port);
	expect_greeting(other);
	log_in(other);
	test_send(other, "o ENABLE QRESYNC\r\no SELECT INBOX\r\no IDLE\r\n");
	read_up_to(other, "+ idling");
	test_send(client, "a STORE 1:* +FLAGS.SILENT (\\Deleted)\r\n");
	test_expect_start(client, "a OK ");
	test_send(other, "DONE\r\n");
	assert_int_equal(read_up_to(other, "o OK "), MESSAGE_COUNT);
	test_send(client, "b STORE 2:* -FLAGS (\\Deleted)\r\n");
	assert_int_equal(read_up_to(client, "b OK "), MESSAGE_COUNT - 1);
	test_send(client, "c EXPUNGE\r\n");
	test_expect(client, "* 1 EXPUNGE");
	test_expect_start(client, "c OK ");
	test_send(client, "d CREATE x\r\nd MOVE 1:* x\r\n");
	test_expect_start(client, "d OK [MAILBOXID ");
	test_expect_start(client, "* OK [COPYUID ");
	assert_int_equal(read_up_to(client, "d OK "), MESSAGE_COUNT - 1);
	test_send(client, "e SEARCH ALL\r\n");
	test_expect(client, "* SEARCH");
	test_expect_start(client, "e OK ");
	test_send(other, "p NOOP\r\n");
	test_expect(other, "* VANISHED 1:1500");
	read_up_to(other, "p OK ");
	net_client_free(&client);
	net_client_free(&other);
	imap_fixture_stop(&server);
}

/* RFC 9585. Other clients change the mailbox meanwhile, and some go. */
static void a_long_search_tells_how_far_it_is(void **state)
{
	struct imap_fixture server;
	struct net_client *client, *other;

	(void)state;
	imap_fixture_start_telling(&server);
	client = test_connect(server.port);
	expect_greeting(client);
	log_in(client);
	fill_inbox(client);
	other = test_connect(server.port);
	expect_greeting(other);
	log_in(other);
	test_send(other, "o SELECT INBOX\r\n");
	read_up_to(other, "o OK ");
	test_send(client, "s SEARCH TEXT nothing\r\n");
	test_expect_start(client, "* OK [INPROGRESS (\"s\" 500 1500)] ");
	test_send(other, "p UID STORE 1,1500 +FLAGS.SILENT (\\Deleted)\r\nq EXPUNGE\r\n");
	read_up_to(other, "q OK ");
	test_expect_start(client, "* OK [INPROGRESS (\"s\" 1000 1500)] ");
	test_expect(client, "* SEARCH");
	read_up_to(client, "s OK ");
	test_send(client, "t NOOP\r\n");
	read_up_to(client, "t OK ");
	test_send(client, "u UID SORT (SUBJECT) UTF-8 TEXT nothing\r\n");
	test_expect_start(client, "* OK [INPROGRESS (\"u\" 500 1498)] ");
	net_client_free(&client);
	test_send(other, "r SEARCH RETURN (COUNT) ALL\r\n");
	test_expect(other, "* ESEARCH (TAG \"r\") COUNT 1498");
	test_expect_start(other, "r OK ");
	net_client_free(&other);
	imap_fixture_stop(&server);
}

static int give_uidvalidity(struct account_write *write, void *context)
{
	const struct id128 *id = context;
	struct mailbox_record mailbox;
	int rc = account_get_mailbox(write->kv, write->header.number, *id, write->arena, &mailbox);

	if (rc < 0)
		return rc;
	mailbox.uidvalidity = 4000000000u;
	mailbox.modseq = account_tick(write, 0);
	return account_put_mailbox(write, &mailbox);
}

/* RFC 5465, section 5: STATUS has it. As a merge with another node gives it. */
static void a_new_uidvalidity_is_told(void **state)
{
	struct imap_fixture server;
	struct net_client *client;
	uint32_t account;
	struct id128 inbox = id128_derive("chapar inbox", BYTES_LITERAL("alice"));

	(void)state;
	imap_fixture_start(&server);
	client = test_connect(server.port);
	expect_greeting(client);
	log_in(client);
	test_send(client, "a NOTIFY SET (personal (MessageNew MessageExpunge))\r\n");
	test_expect_start(client, "a OK ");
	assert_int_equal(mail_account_find(server.mail, BYTES_LITERAL("alice"), NULL, &account), 0);
	assert_int_equal(
		mail_node_commit(server.mail, account, give_uidvalidity, &inbox, NULL, NULL), 0);
	test_expect_start(
		client, "* STATUS INBOX (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 4000000000 UNSEEN 0");
	net_client_free(&client);
	imap_fixture_stop(&server);
}

/* Whatever he sends meanwhile; and once he has, the time is no matter any more. */
static void who_does_not_log_in_in_time_is_ended(void **state)
{
	struct net_client *slow, *quick;
	struct error error = { 0 };
	struct imap_fixture server;
	struct bytes line;
	unsigned count = 0;

	(void)state;
	imap_fixture_start_hurried(&server, 2);
	slow = test_connect(server.port);
	expect_greeting(slow);
	quick = test_connect(server.port);
	expect_greeting(quick);
	log_in(quick);
	do {
		assert_true(count++ < 100);
		usleep(100000);
		if (net_client_write(slow, BYTES_LITERAL("b NOOP\r\n"), HELPER_TIMEOUT_MS, &error) <
			0)
			break;
		assert_int_equal(
			net_client_read_line(slow, 1000, &line, HELPER_TIMEOUT_MS, &error), 0);
	} while (!bytes_start_with(line, BYTES_LITERAL("* BYE ")));
	assert_true(count > 10);
	test_send(quick, "c NOOP\r\n");
	test_expect_start(quick, "c OK ");
	net_client_free(&slow);
	net_client_free(&quick);
	imap_fixture_stop(&server);
}

static void send_repeated(struct net_client *client, char byte, size_t count)
{
	struct buffer text = { NULL, 0, 0 };
	struct error error = { 0 };

	memset(buffer_extend(&text, count), byte, count);
	assert_int_equal(
		net_client_write(client, buffer_bytes(&text), HELPER_TIMEOUT_MS, &error), 0);
	buffer_deinit(&text);
}

static void before_the_login_lines_and_literals_are_short(void **state)
{
	struct net_client *client;
	struct imap_fixture server;

	(void)state;
	imap_fixture_start(&server);
	client = test_connect(server.port);
	expect_greeting(client);
	test_send(client, "b LOGIN alice {16385}\r\n");
	test_expect_start(client, "b BAD [TOOBIG] ");
	test_send(client, "c LOGIN alice {16385+}\r\n");
	send_repeated(client, 'x', 16385);
	test_send(client, "\r\n");
	test_expect_start(client, "c BAD [TOOBIG] ");
	test_send(client, "d LOGIN alice \"");
	send_repeated(client, 'x', 20000);
	test_send(client, "\"\r\n");
	test_expect_start(client, "d BAD [TOOBIG] ");
	test_send(client, "e AUTHENTICATE PLAIN\r\n");
	test_expect_start(client, "+ ");
	send_repeated(client, 'A', 20000);
	test_send(client, "\r\n");
	test_expect_start(client, "e BAD ");
	log_in(client);
	/* Then there may be more: 20,000 bytes are a name that there is not. */
	test_send(client, "f STATUS {20000+}\r\n");
	send_repeated(client, 'x', 20000);
	test_send(client, " (MESSAGES)\r\n");
	test_expect_start(client, "f NO ");
	net_client_free(&client);
	imap_fixture_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passwords_are_refused_without_tls),
		cmocka_unit_test(plaintext_behind_starttls_is_dropped),
		cmocka_unit_test(a_slow_client_gets_all_in_order),
		cmocka_unit_test(clients_that_stop_reading_hold_no_worker_and_are_ended_in_time),
		cmocka_unit_test(a_client_that_goes_in_the_midst_of_an_answer_is_no_harm),
		cmocka_unit_test(changes_of_many_messages_are_told_in_full),
		cmocka_unit_test(a_long_search_tells_how_far_it_is),
		cmocka_unit_test(a_new_uidvalidity_is_told),
		cmocka_unit_test(who_does_not_log_in_in_time_is_ended),
		cmocka_unit_test(before_the_login_lines_and_literals_are_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
