#include "test_net_helper.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * A protocol for tests. A unit is a line; or, after "LITERAL n", n bytes. Commands:
 *	ECHO text	answers the text
 *	LITERAL n	asks "+ go", takes n bytes, answers their number
 *	FLOOD n		answers n lines of 1,000 bytes, with NET_AGAIN
 *	SLEEP ms	answers "slept" after that time
 *	WATCH		publishes the connection for waking
 *	IDLE s, DEADLINE s	set the timeouts
 *	TLS		"go", then NET_START_TLS
 *	PAUSE ms	answers "paused", and looks at nothing for that time
 *	STATE		"tls" or "plain", and what was said with REMEMBER
 *	QUIT		answers "bye" and closes
 */
#define LINE_SIZE_MAX 1000
#define INPUT_SIZE_MAX (4u * 1024 * 1024)

struct fixture {
	struct test_files files;
	struct net_server *server;
	uint16_t port, tls_port;
	atomic_int session_count, ended_count, goodbye_count, overlap_count, wake_count;
	atomic_uint scanned_size;
	pthread_mutex_t mutex;
	struct net_connection *watched;
};

struct session {
	struct fixture *fixture;
	struct net_connection *connection;
	size_t literal_size, scanned_len;
	unsigned flood_count, flood_index;
	atomic_int inside;
	bool asked;
};

static void *session_new(struct net_connection *connection, void *context)
{
	struct session *session = mem_zalloc(sizeof(*session));

	session->fixture = context;
	session->connection = connection;
	atomic_fetch_add(&session->fixture->session_count, 1);
	net_connection_write_string(connection, "hello\r\n");
	return session;
}

static void enter(struct session *session)
{
	if (atomic_fetch_add(&session->inside, 1) != 0)
		atomic_fetch_add(&session->fixture->overlap_count, 1);
}

static void leave(struct session *session)
{
	atomic_fetch_sub(&session->inside, 1);
}

static enum net_frame frame_find(
	struct session *session, struct bytes input, struct net_unit *unit_r)
{
	struct bytes rest = input;

	if (session->literal_size > 0) {
		if (!session->asked)
			unit_r->reply = BYTES_LITERAL("+ go\r\n");
		session->asked = true;
		unit_r->wanted = session->literal_size;
		unit_r->len = session->literal_size;
		return input.len < session->literal_size ? NET_FRAME_MORE : NET_FRAME_READY;
	}
	if (bytes_start_with(input, BYTES_LITERAL("#"))) {
		unit_r->len = 1;
		return NET_FRAME_SKIP;
	}
	bytes_skip(&rest, session->scanned_len);
	atomic_fetch_add(&session->fixture->scanned_size, (unsigned)rest.len);
	unit_r->len = session->scanned_len + bytes_find(rest, '\n') + 1;
	if (unit_r->len <= input.len) {
		session->scanned_len = 0;
		return NET_FRAME_READY;
	}
	session->scanned_len = input.len;
	if (input.len <= LINE_SIZE_MAX)
		return NET_FRAME_MORE;
	unit_r->reply = BYTES_LITERAL("too long\r\n");
	return NET_FRAME_BAD;
}

static enum net_frame frame(void *context, struct bytes input, struct net_unit *unit_r)
{
	struct session *session = context;
	enum net_frame found;

	enter(session);
	found = frame_find(session, input, unit_r);
	leave(session);
	if (found == NET_FRAME_MORE)
		unit_r->len = 0;
	return found;
}

static enum net_result flood(struct session *session)
{
	while (session->flood_index < session->flood_count) {
		if (net_connection_is_full(session->connection))
			return NET_AGAIN;
		net_connection_printf(session->connection, "%0998u\r\n", session->flood_index++);
	}
	return NET_DONE;
}

static void watch(struct session *session)
{
	pthread_mutex_lock(&session->fixture->mutex);
	net_connection_unref(&session->fixture->watched);
	session->fixture->watched = net_connection_ref(session->connection);
	pthread_mutex_unlock(&session->fixture->mutex);
	net_connection_write_string(session->connection, "watching\r\n");
}

static enum net_result line_do(struct session *session, const char *line)
{
	struct net_connection *connection = session->connection;
	unsigned number = 0;

	if (sscanf(line, "FLOOD %u", &number) == 1) {
		session->flood_count = number;
		session->flood_index = 0;
		return flood(session);
	}
	if (sscanf(line, "LITERAL %u", &number) == 1) {
		session->literal_size = number;
		session->asked = false;
		net_connection_write_string(connection, "+ go\r\n");
		session->asked = true;
		return NET_DONE;
	}
	if (sscanf(line, "SLEEP %u", &number) == 1) {
		usleep(number * 1000);
		net_connection_write_string(connection, "slept\r\n");
	} else if (sscanf(line, "IDLE %u", &number) == 1) {
		net_connection_set_idle_timeout(connection, number);
		net_connection_write_string(connection, "ok\r\n");
	} else if (sscanf(line, "PAUSE %u", &number) == 1) {
		net_connection_pause(connection, number);
		net_connection_write_string(connection, "paused\r\n");
	} else if (sscanf(line, "DEADLINE %u", &number) == 1) {
		net_connection_set_deadline(connection, number);
		net_connection_write_string(connection, "ok\r\n");
	} else if (strcmp(line, "WATCH") == 0) {
		watch(session);
	} else if (strcmp(line, "STATE") == 0) {
		net_connection_printf(
			connection, "%s\r\n", net_connection_is_tls(connection) ? "tls" : "plain");
	} else if (strcmp(line, "PEER") == 0) {
		net_connection_printf(connection, "%s %d\r\n",
			net_connection_peer_address(connection),
			net_connection_is_loopback(connection));
	} else if (strcmp(line, "TLS") == 0 && net_connection_can_start_tls(connection)) {
		net_connection_write_string(connection, "go\r\n");
		return NET_START_TLS;
	} else if (strcmp(line, "QUIT") == 0) {
		net_connection_write_string(connection, "bye\r\n");
		return NET_CLOSE;
	} else {
		net_connection_printf(connection, "%s\r\n", line);
	}
	return NET_DONE;
}

static enum net_result command(void *context, struct bytes unit)
{
	struct session *session = context;
	char line[LINE_SIZE_MAX + 8];
	enum net_result result;

	enter(session);
	if (session->literal_size > 0) {
		session->literal_size = 0;
		net_connection_printf(session->connection, "took %zu, ends in %c\r\n", unit.len,
			unit.ptr[unit.len - 1]);
		result = NET_DONE;
	} else {
		snprintf(line, sizeof(line), "%.*s", BYTES_ARGS(unit));
		line[strcspn(line, "\r\n")] = '\0';
		result = line_do(session, line);
	}
	leave(session);
	return result;
}

static enum net_result resume(void *context)
{
	struct session *session = context;
	enum net_result result;

	enter(session);
	result = flood(session);
	leave(session);
	return result;
}

static enum net_result wake(void *context)
{
	struct session *session = context;

	enter(session);
	atomic_fetch_add(&session->fixture->wake_count, 1);
	net_connection_write_string(session->connection, "woken\r\n");
	leave(session);
	return NET_DONE;
}

static void goodbye(void *context, enum net_goodbye reason)
{
	static const char *const texts[] = { "idle", "deadline", "stop", "kicked", "memory" };
	struct session *session = context;

	atomic_fetch_add(&session->fixture->goodbye_count, 1);
	net_connection_printf(session->connection, "goodbye %s\r\n", texts[reason]);
}

static void session_free(void *context)
{
	struct session *session = context;

	enter(session);
	atomic_fetch_add(&session->fixture->ended_count, 1);
	free(session);
}

static const struct net_protocol protocol = {
	.name = "test",
	.input_max = INPUT_SIZE_MAX,
	.busy_text = "busy\r\n",
	.session_new = session_new,
	.frame = frame,
	.command = command,
	.resume = resume,
	.wake = wake,
	.goodbye = goodbye,
	.session_free = session_free,
};

static void listen_on(struct fixture *fixture, enum net_tls_mode tls, uint16_t *port_r)
{
	struct net_listener_options listener = {
		.address = "127.0.0.1", .tls = tls, .protocol = &protocol, .context = fixture
	};
	struct error error = { 0 };

	if (net_server_listen(fixture->server, &listener, port_r, &error) < 0)
		fail_msg("%s", error.text);
}

static struct fixture *fixture_new(const struct net_server_options *wanted)
{
	struct fixture *fixture = mem_zalloc(sizeof(*fixture));
	struct net_server_options options = *wanted;
	struct net_listener_options socket_listener = {
		.path = fixture->files.socket_path, .protocol = &protocol, .context = fixture
	};
	struct error error = { 0 };

	test_files_make(&fixture->files);
	pthread_mutex_init(&fixture->mutex, NULL);
	options.tls_certificate_path = fixture->files.certificate_path;
	options.tls_key_path = fixture->files.key_path;
	if (net_server_new(&options, &fixture->server, &error) < 0)
		fail_msg("%s", error.text);
	listen_on(fixture, NET_TLS_START, &fixture->port);
	listen_on(fixture, NET_TLS_IMPLICIT, &fixture->tls_port);
	if (net_server_listen(fixture->server, &socket_listener, NULL, &error) < 0)
		fail_msg("%s", error.text);
	if (net_server_start(fixture->server, &error) < 0)
		fail_msg("%s", error.text);
	return fixture;
}

static void fixture_free(struct fixture *fixture)
{
	net_server_free(&fixture->server);
	assert_int_equal(fixture->overlap_count, 0);
	assert_int_equal(fixture->session_count, fixture->ended_count);
	net_connection_unref(&fixture->watched);
	pthread_mutex_destroy(&fixture->mutex);
	test_files_remove(&fixture->files);
	free(fixture);
}

static int set_up(void **state)
{
	struct net_server_options options = { .worker_count = 2 };

	*state = fixture_new(&options);
	return 0;
}

static int tear_down(void **state)
{
	fixture_free(*state);
	return 0;
}

static struct net_client *greeted(uint16_t port)
{
	struct net_client *client = test_connect(port);

	test_expect(client, "hello");
	return client;
}

/* Waits until the server has `count` connections. */
static void connections_await(struct fixture *fixture, unsigned count)
{
	uint64_t until_ms = clock_monotonic_ms() + HELPER_TIMEOUT_MS;
	struct net_server_stats stats;

	do {
		net_server_stats(fixture->server, &stats);
		if (stats.connection_count == count)
			return;
		usleep(2000);
	} while (clock_monotonic_ms() < until_ms);
	fail_msg("%u connections instead of %u", stats.connection_count, count);
}

static void a_command_is_answered(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture->port);

	test_send(client, "one\r\n");
	test_expect(client, "one");
	test_send(client, "PEER\r\n");
	test_expect(client, "127.0.0.1 1");
	net_client_free(&client);
}

static void pipelined_commands_are_answered_in_order(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture->port);
	struct buffer commands = { 0 };
	char expected[32];

	for (int i = 0; i < 500; i++)
		buffer_printf(&commands, "#line %d\r\n", i);
	test_send(client, buffer_string(&commands));
	for (int i = 0; i < 500; i++) {
		snprintf(expected, sizeof(expected), "line %d", i);
		test_expect(client, expected);
	}
	buffer_deinit(&commands);
	net_client_free(&client);
}

static void input_that_comes_byte_by_byte_is_scanned_once(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture->port);
	const char *text = "byte by byte\r\n";

	for (const char *at = text; *at != '\0'; at++) {
		test_send(client, (char[]){ *at, '\0' });
		usleep(1000);
	}
	test_expect(client, "byte by byte");
	assert_int_equal(fixture->scanned_size, strlen(text));
	net_client_free(&client);
}

static void a_literal_arrives_whole_and_its_bytes_are_not_commands(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture->port);
	size_t size = 3000000;
	struct buffer literal = { 0 };

	test_send(client, "LITERAL 3000000\r\n");
	test_expect(client, "+ go");
	memset(buffer_extend(&literal, size), '\n', size);
	literal.data[size - 1] = 'z';
	test_send(client, buffer_string(&literal));
	test_expect(client, "took 3000000, ends in z");
	test_send(client, "after\r\n");
	test_expect(client, "after");
	buffer_deinit(&literal);
	net_client_free(&client);
}

static void a_line_too_long_gets_the_last_words_and_the_end(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture->port);
	char line[3000];

	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	test_send(client, line);
	test_expect(client, "too long");
	test_expect_end(client);
	net_client_free(&client);
}

static void commands_before_the_clients_end_are_all_answered(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture->port);

	test_send(client, "a\r\nFLOOD 2000\r\nb\r\nQUIT\r\n");
	test_expect(client, "a");
	for (int i = 0; i < 2000; i++)
		test_expect_start(client, "0000");
	test_expect(client, "b");
	test_expect(client, "bye");
	test_expect_end(client);
	net_client_free(&client);
}

static void a_client_that_does_not_read_costs_one_buffer_and_no_worker(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *lazy[4], *client;
	struct net_server_stats stats;

	for (int i = 0; i < 4; i++) {
		lazy[i] = greeted(fixture->port);
		test_send(lazy[i], "FLOOD 50000\r\n");
	}
	usleep(200000);
	client = greeted(fixture->port);
	test_send(client, "still served\r\n");
	test_expect(client, "still served");
	net_server_stats(fixture->server, &stats);
	assert_int_equal(stats.worker_queue_length, 0);
	assert_true(stats.output_size < 4ull * 20 * 1000 * 1000);
	for (int i = 0; i < 50000; i++)
		test_expect_start(lazy[0], "0000");
	for (int i = 0; i < 4; i++)
		net_client_free(&lazy[i]);
	net_client_free(&client);
	connections_await(fixture, 0);
}

static void many_wakes_are_one_and_none_is_lost(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture->port);

	test_send(client, "WATCH\r\n");
	test_expect(client, "watching");
	for (int round = 0; round < 200; round++) {
		net_connection_wake(fixture->watched);
		test_expect(client, "woken");
	}
	test_send(client, "SLEEP 200\r\nlast\r\n");
	usleep(50000);
	for (int i = 0; i < 100; i++)
		net_connection_wake(fixture->watched);
	test_expect(client, "slept");
	test_expect(client, "woken"); /* between pipelined commands */
	test_expect(client, "last");
	test_send(client, "end\r\n");
	test_expect(client, "end");
	net_client_free(&client);
}

static void a_closed_connection_may_still_be_woken(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture->port);

	test_send(client, "WATCH\r\nQUIT\r\n");
	test_expect(client, "watching");
	test_expect(client, "bye");
	net_client_free(&client);
	connections_await(fixture, 0);
	net_connection_wake(fixture->watched);
	net_connection_close(fixture->watched);
	net_server_stop(fixture->server, 1000);
	net_connection_wake(fixture->watched);
	assert_int_equal(fixture->wake_count, 0);
}

static void *wake_run(void *context)
{
	struct fixture *fixture = context;

	for (int i = 0; i < 20000; i++) {
		struct net_connection *connection = NULL;

		pthread_mutex_lock(&fixture->mutex);
		if (fixture->watched != NULL)
			connection = net_connection_ref(fixture->watched);
		pthread_mutex_unlock(&fixture->mutex);
		if (connection != NULL)
			net_connection_wake(connection);
		net_connection_unref(&connection);
	}
	return NULL;
}

static void clients_come_and_go_while_others_wake_them(void **state)
{
	struct fixture *fixture = *state;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, wake_run, fixture), 0);
	for (int i = 0; i < 100; i++) {
		struct net_client *client = test_connect(fixture->port);

		test_send(client, i % 3 == 0 ? "WATCH\r\n" : "WATCH\r\nFLOOD 900\r\nQUIT\r\n");
		if (i % 2 == 0)
			test_expect(client, "hello");
		net_client_free(&client);
	}
	pthread_join(thread, NULL);
	connections_await(fixture, 0);
}

static void start_tls_drops_plaintext_that_was_pipelined(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture->port);

	test_send(client, "STATE\r\n");
	test_expect(client, "plain");
	test_send(client, "TLS\r\ninjected\r\n");
	test_expect(client, "go");
	test_start_tls(client);
	test_send(client, "STATE\r\n");
	test_expect(client, "tls");
	test_send(client, "FLOOD 3000\r\nafter\r\n");
	for (int i = 0; i < 3000; i++)
		test_expect_start(client, "0000");
	test_expect(client, "after");
	net_client_free(&client);
}

static void a_fast_client_hello_is_never_taken_for_plain_text(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < 100; i++) {
		struct net_client *client = greeted(fixture->port);

		test_send(client, "one\r\nTLS\r\n");
		test_expect(client, "one");
		test_expect(client, "go");
		test_start_tls(client);
		test_send(client, "STATE\r\n");
		test_expect(client, "tls");
		net_client_free(&client);
	}
}

static void implicit_tls_serves_pipelined_commands(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = test_connect(fixture->tls_port);
	struct buffer commands = { 0 };

	test_start_tls(client);
	test_expect(client, "hello");
	for (int i = 0; i < 3000; i++)
		buffer_append_string(
			&commands, "a line of some length, many in one TLS record\r\n");
	test_send(client, buffer_string(&commands));
	for (int i = 0; i < 3000; i++)
		test_expect_start(client, "a line");
	buffer_deinit(&commands);
	net_client_free(&client);
}

static void a_failed_handshake_ends_the_connection_only(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = test_connect(fixture->tls_port);
	struct net_server_stats stats;

	test_send(client, "this is not TLS at all\r\n");
	test_expect_end(client);
	connections_await(fixture, 0);
	net_server_stats(fixture->server, &stats);
	assert_int_equal(stats.tls_failed_count, 1);
	net_client_free(&client);
	client = greeted(fixture->port);
	net_client_free(&client);
}

static void a_new_certificate_serves_new_connections_and_a_bad_one_none(void **state)
{
	struct fixture *fixture = *state;
	unsigned char before[NET_PIN_SIZE], after[NET_PIN_SIZE];
	struct net_client *old = test_connect(fixture->tls_port), *client;

	test_start_tls(old);
	test_expect(old, "hello");
	assert_int_equal(net_client_peer_pin(old, before), 0);
	test_files_renew(&fixture->files);
	assert_int_equal(net_server_reload_tls(fixture->server, NULL), 0);
	unlink(fixture->files.certificate_path);
	assert_int_equal(net_server_reload_tls(fixture->server, NULL), ERR_INVALID);
	client = test_connect(fixture->tls_port);
	test_start_tls(client);
	test_expect(client, "hello");
	assert_int_equal(net_client_peer_pin(client, after), 0);
	assert_memory_not_equal(before, after, sizeof(before));
	test_send(old, "still here\r\n");
	test_expect(old, "still here");
	net_client_free(&old);
	net_client_free(&client);
}

static void idle_sessions_are_ended_with_a_text(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture->port);

	test_send(client, "IDLE 1\r\n");
	test_expect(client, "ok");
	test_expect(client, "goodbye idle");
	test_expect_end(client);
	net_client_free(&client);
}

static void a_deadline_ends_even_a_busy_client(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture->port);
	uint64_t start_ms = clock_monotonic_ms();
	struct bytes line;

	test_send(client, "DEADLINE 1\r\n");
	do {
		test_send(client, "x\r\n");
		assert_int_equal(
			net_client_read_line(client, 1000, &line, HELPER_TIMEOUT_MS, NULL), 0);
		usleep(10000);
	} while (!bytes_equal_string(line, "goodbye deadline"));
	assert_true(clock_monotonic_ms() - start_ms < 3000);
	net_client_free(&client);
}

static void a_paused_client_waits_and_holds_no_worker(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *paused[4], *client;
	uint64_t start_ms = clock_monotonic_ms();

	for (int i = 0; i < 4; i++) {
		paused[i] = greeted(fixture->port);
		test_send(paused[i], i % 2 == 0 ? "PAUSE 500\r\nafter\r\n" : "PAUSE 500\r\n");
		test_expect(paused[i], "paused");
		test_send(paused[i], "more\r\n");
	}
	client = greeted(fixture->port);
	test_send(client, "x\r\n");
	test_expect(client, "x");
	assert_true(clock_monotonic_ms() - start_ms < 400);
	for (int i = 0; i < 4; i++) {
		if (i % 2 == 0)
			test_expect(paused[i], "after");
		test_expect(paused[i], "more");
		net_client_free(&paused[i]);
	}
	assert_in_range(clock_monotonic_ms() - start_ms, 490, 5000);
	net_client_free(&client);
}

static void a_kicked_session_is_told(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = greeted(fixture->port);

	test_send(client, "WATCH\r\n");
	test_expect(client, "watching");
	net_connection_close(fixture->watched);
	test_expect(client, "goodbye kicked");
	test_expect_end(client);
	net_client_free(&client);
}

static void a_unix_socket_shows_who_it_is_and_guards_itself(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = net_client_new();
	struct stat status;

	assert_int_equal(stat(fixture->files.socket_path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	assert_int_equal(
		net_client_connect(client, fixture->files.socket_path, 0, HELPER_TIMEOUT_MS, NULL),
		0);
	test_expect(client, "hello");
	test_send(client, "PEER\r\n");
	test_expect(client, "unix 1");
	net_client_free(&client);
}

static void a_stop_lets_commands_finish_and_says_goodbye(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *busy = greeted(fixture->port), *idle = greeted(fixture->port);
	uint64_t start_ms = clock_monotonic_ms();

	test_send(busy, "SLEEP 300\r\n");
	usleep(100000);
	net_server_stop(fixture->server, 5000);
	assert_true(clock_monotonic_ms() - start_ms < 4000);
	test_expect(busy, "slept");
	test_expect(busy, "goodbye stop");
	test_expect_end(busy);
	test_expect(idle, "goodbye stop");
	test_expect_end(idle);
	net_client_free(&busy);
	net_client_free(&idle);
	assert_int_equal(access(fixture->files.socket_path, F_OK), -1);
}

static void a_stop_does_not_wait_for_a_client_that_does_not_read(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *lazy = greeted(fixture->port);
	uint64_t start_ms = clock_monotonic_ms();

	test_send(lazy, "FLOOD 50000\r\n");
	usleep(100000);
	net_server_stop(fixture->server, 300);
	assert_in_range(clock_monotonic_ms() - start_ms, 300, 3000);
	net_client_free(&lazy);
}

struct crowd {
	struct fixture *fixture;
	uint64_t seed, until_ms;
};

/* One visit: what is sent, whether the answers are read, and how it ends are left to chance. */
static void crowd_visit(struct crowd *crowd, struct random *random)
{
	static const char *const texts[] = { "a\r\nb\r\n", "FLOOD 700\r\n", "half a li",
		"WATCH\r\n", "QUIT\r\n", "LITERAL 5000\r\nxxxx", "SLEEP 3\r\nx\r\n", "IDLE 1\r\n",
		"TLS\r\nx\r\n" };
	struct net_client_tls tls = { .verify = NET_VERIFY_NONE };
	struct net_client *client = net_client_new();
	bool is_tls = random_below(random, 3) == 0;
	uint16_t port = is_tls ? crowd->fixture->tls_port : crowd->fixture->port;
	int rc = net_client_connect(client, "127.0.0.1", port, 1000, NULL);

	if (rc == 0 && is_tls)
		rc = net_client_start_tls(client, &tls, 1000, NULL);
	for (uint64_t i = random_below(random, 6); i > 0 && rc == 0; i--) {
		const char *text = texts[random_below(random, sizeof(texts) / sizeof(texts[0]))];
		struct bytes line;

		rc = net_client_write(client, bytes_of_string(text), 1000, NULL);
		for (uint64_t j = random_below(random, 3); j > 0 && rc == 0; j--)
			net_client_read_line(client, 2000, &line, 20, NULL);
	}
	net_client_free(&client);
}

static void *crowd_run(void *context)
{
	struct crowd *crowd = context;
	struct random random = { crowd->seed };

	while (clock_monotonic_ms() < crowd->until_ms)
		crowd_visit(crowd, &random);
	return NULL;
}

static void a_crowd_of_rude_clients_does_not_disturb_a_clean_stop(void **state)
{
	struct fixture *fixture = *state;
	struct crowd crowds[6];
	pthread_t threads[6], waker;

	for (unsigned i = 0; i < 6; i++) {
		crowds[i] = (struct crowd){ fixture, i + 1, clock_monotonic_ms() + 1500 };
		assert_int_equal(pthread_create(&threads[i], NULL, crowd_run, &crowds[i]), 0);
	}
	assert_int_equal(pthread_create(&waker, NULL, wake_run, fixture), 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(net_server_reload_tls(fixture->server, NULL), 0);
		usleep(50000);
	}
	/* The crowd is still there. */
	net_server_stop(fixture->server, 300);
	for (unsigned i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	pthread_join(waker, NULL);
	assert_int_equal(fixture->session_count, fixture->ended_count);
	assert_true(fixture->session_count > 20);
}

static void large_units_of_all_clients_together_are_bounded(void **state)
{
	struct net_server_options options = { .worker_count = 1, .input_size_max = 3000000 };
	struct fixture *fixture = fixture_new(&options);
	struct net_client *first = greeted(fixture->port), *second = greeted(fixture->port);
	struct buffer half = { 0 };

	(void)state;
	memset(buffer_extend(&half, 2000000), 'x', 2000000);
	test_send(first, "LITERAL 4000000\r\n");
	test_expect(first, "+ go");
	test_send(first, buffer_string(&half));
	usleep(200000);
	test_send(second, "LITERAL 4000000\r\n");
	test_expect(second, "+ go");
	net_client_write(second, buffer_bytes(&half), HELPER_TIMEOUT_MS, NULL);
	test_expect(second, "goodbye memory");
	net_client_free(&second);
	/* Small commands go on, and there is room again when a client has gone. */
	second = greeted(fixture->port);
	test_send(second, "x\r\nLITERAL 2500000\r\n");
	test_expect(second, "x");
	test_expect(second, "+ go");
	net_client_free(&first);
	connections_await(fixture, 1);
	test_send(second, buffer_string(&half));
	half.data[500000] = '\0';
	test_send(second, buffer_string(&half));
	test_expect(second, "took 2500000, ends in x");
	net_client_free(&second);
	buffer_deinit(&half);
	fixture_free(fixture);
}

static void check_limit_of_two(const struct net_server_options *options)
{
	struct fixture *fixture = fixture_new(options);
	struct net_client *first = greeted(fixture->port), *second = greeted(fixture->port);
	struct net_client *third = test_connect(fixture->port);

	test_expect(third, "busy");
	test_expect_end(third);
	net_client_free(&third);
	net_client_free(&first);
	connections_await(fixture, 1);
	third = greeted(fixture->port);
	net_client_free(&second);
	net_client_free(&third);
	fixture_free(fixture);
}

static void clients_over_the_limit_are_told_so(void **state)
{
	struct net_server_options options = { .worker_count = 1, .connection_count_max = 2 };

	(void)state;
	check_limit_of_two(&options);
}

static void so_are_clients_over_the_limit_of_their_address(void **state)
{
	struct net_server_options options = {
		.worker_count = 1, .address_connection_max = 2, .counts_loopback = true
	};

	(void)state;
	check_limit_of_two(&options);
}

static void clients_wait_while_descriptors_run_out_and_are_served_later(void **state)
{
	struct fixture *fixture = *state;
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(fixture->port) };
	struct rlimit before, tight;
	struct net_server_stats stats;
	int fds[3], free_fd;
	char greeting[8];

	for (int i = 0; i < 3; i++)
		fds[i] = socket(AF_INET, SOCK_STREAM, 0);
	free_fd = dup(0);
	close(free_fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	tight = before;
	tight.rlim_cur = (rlim_t)free_fd;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(connect(fds[i], (struct sockaddr *)&address, sizeof(address)), 0);
	usleep(300000);
	net_server_stats(fixture->server, &stats);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(stats.accepted_count, 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(recv(fds[i], greeting, 7, MSG_WAITALL), 7);
		close(fds[i]);
	}
}

static void two_servers_cannot_share_an_address_and_a_stale_socket_is_replaced(void **state)
{
	struct fixture *fixture = *state;
	struct net_server_options options = { 0 };
	struct net_listener_options listener = { .address = "127.0.0.1",
		.port = fixture->port,
		.protocol = &protocol,
		.context = fixture };
	struct net_server *other;
	struct error error = { 0 };

	assert_int_equal(net_server_new(&options, &other, &error), 0);
	assert_int_equal(net_server_listen(other, &listener, NULL, &error), ERR_EXISTS);
	listener.address = NULL;
	listener.path = fixture->files.socket_path;
	assert_int_equal(net_server_listen(other, &listener, NULL, &error), ERR_EXISTS);
	listener.address = "127.0.0.1";
	listener.port = 0;
	listener.tls = NET_TLS_IMPLICIT;
	assert_int_equal(net_server_listen(other, &listener, NULL, &error), ERR_INVALID);
	net_server_free(&other);
	assert_int_equal(access(fixture->files.socket_path, F_OK), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_command_is_answered),
		TEST(pipelined_commands_are_answered_in_order),
		TEST(input_that_comes_byte_by_byte_is_scanned_once),
		TEST(a_literal_arrives_whole_and_its_bytes_are_not_commands),
		TEST(a_line_too_long_gets_the_last_words_and_the_end),
		TEST(commands_before_the_clients_end_are_all_answered),
		TEST(a_client_that_does_not_read_costs_one_buffer_and_no_worker),
		TEST(many_wakes_are_one_and_none_is_lost),
		TEST(a_closed_connection_may_still_be_woken),
		TEST(clients_come_and_go_while_others_wake_them),
		TEST(start_tls_drops_plaintext_that_was_pipelined),
		TEST(a_fast_client_hello_is_never_taken_for_plain_text),
		TEST(implicit_tls_serves_pipelined_commands),
		TEST(a_failed_handshake_ends_the_connection_only),
		TEST(a_new_certificate_serves_new_connections_and_a_bad_one_none),
		TEST(idle_sessions_are_ended_with_a_text),
		TEST(a_deadline_ends_even_a_busy_client),
		TEST(a_paused_client_waits_and_holds_no_worker),
		TEST(a_kicked_session_is_told),
		TEST(a_unix_socket_shows_who_it_is_and_guards_itself),
		TEST(a_stop_lets_commands_finish_and_says_goodbye),
		TEST(a_stop_does_not_wait_for_a_client_that_does_not_read),
		TEST(a_crowd_of_rude_clients_does_not_disturb_a_clean_stop),
		cmocka_unit_test(large_units_of_all_clients_together_are_bounded),
		cmocka_unit_test(clients_over_the_limit_are_told_so),
		cmocka_unit_test(so_are_clients_over_the_limit_of_their_address),
		TEST(clients_wait_while_descriptors_run_out_and_are_served_later),
		TEST(two_servers_cannot_share_an_address_and_a_stale_socket_is_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
