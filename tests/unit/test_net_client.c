#include "test_net_helper.h"

#include "base/clock.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* The other end: a plain listening socket, driven by the test itself. */
struct fixture {
	int listen_fd, peer_fd;
	uint16_t port;
	struct net_client *client;
};

static int set_up(void **state)
{
	struct fixture *fixture = mem_zalloc(sizeof(*fixture));
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);

	fixture->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fixture->listen_fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(fixture->listen_fd, 5), 0);
	assert_int_equal(getsockname(fixture->listen_fd, (struct sockaddr *)&address, &len), 0);
	fixture->port = ntohs(address.sin_port);
	fixture->client = test_connect(fixture->port);
	fixture->peer_fd = accept(fixture->listen_fd, NULL, NULL);
	assert_true(fixture->peer_fd >= 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	net_client_free(&fixture->client);
	if (fixture->peer_fd != -1)
		close(fixture->peer_fd);
	close(fixture->listen_fd);
	free(fixture);
	return 0;
}

static void peer_send(struct fixture *fixture, const char *text)
{
	assert_int_equal(send(fixture->peer_fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void lines_and_counted_bytes_come_as_they_were_sent(void **state)
{
	struct fixture *fixture = *state;
	struct buffer out = { 0 };

	peer_send(fixture, "first\r\nbare\n\r\nabc\r\ndefrest\r\n");
	test_expect(fixture->client, "first");
	test_expect(fixture->client, "bare");
	test_expect(fixture->client, "");
	assert_int_equal(net_client_read(fixture->client, 8, &out, HELPER_TIMEOUT_MS, NULL), 0);
	assert_string_equal(buffer_string(&out), "abc\r\ndef");
	test_expect(fixture->client, "rest");
	buffer_deinit(&out);
}

static void a_read_that_ran_out_of_time_takes_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct buffer out = { 0 };
	struct bytes line;

	peer_send(fixture, "half");
	assert_int_equal(net_client_read_line(fixture->client, 100, &line, 50, NULL), ERR_TIMEOUT);
	assert_int_equal(net_client_read(fixture->client, 5, &out, 50, NULL), ERR_TIMEOUT);
	assert_int_equal(out.len, 0);
	peer_send(fixture, " a line\r\n");
	test_expect(fixture->client, "half a line");
}

static void a_line_over_the_limit_is_not_taken(void **state)
{
	struct fixture *fixture = *state;
	struct bytes line;

	peer_send(fixture, "12345\r\n");
	assert_int_equal(net_client_read_line(fixture->client, 4, &line, HELPER_TIMEOUT_MS, NULL),
		ERR_TOO_LARGE);
	assert_int_equal(
		net_client_read_line(fixture->client, 5, &line, HELPER_TIMEOUT_MS, NULL), 0);
	assert_true(bytes_equal_string(line, "12345"));
}

static void the_peers_end_is_told_after_all_that_he_sent(void **state)
{
	struct fixture *fixture = *state;
	enum net_wait wait;
	struct bytes line;

	peer_send(fixture, "last\r\ncut");
	close(fixture->peer_fd);
	fixture->peer_fd = -1;
	test_expect(fixture->client, "last");
	assert_int_equal(net_client_wait(fixture->client, &wait, HELPER_TIMEOUT_MS, NULL), 0);
	assert_int_equal(wait, NET_WAIT_READABLE);
	assert_int_equal(net_client_read_line(fixture->client, 100, &line, HELPER_TIMEOUT_MS, NULL),
		ERR_CLOSED);
}

static void a_write_to_a_peer_that_has_gone_fails_without_a_signal(void **state)
{
	struct fixture *fixture = *state;
	int rc = 0;

	close(fixture->peer_fd);
	fixture->peer_fd = -1;
	for (int i = 0; i < 100 && rc == 0; i++) {
		rc = net_client_write(
			fixture->client, BYTES_LITERAL("x\r\n"), HELPER_TIMEOUT_MS, NULL);
		usleep(1000);
	}
	assert_true(rc == ERR_CLOSED || rc == ERR_IO);
}

static void a_wake_is_kept_until_it_is_waited_for(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = fixture->client;
	enum net_wait wait;

	assert_int_equal(net_client_wait(client, &wait, 20, NULL), 0);
	assert_int_equal(wait, NET_WAIT_TIMEOUT);
	net_client_wake(client);
	net_client_wake(client);
	peer_send(fixture, "line\r\n");
	test_expect(client, "line"); /* a read does not use the wake up */
	assert_int_equal(net_client_wait(client, &wait, HELPER_TIMEOUT_MS, NULL), 0);
	assert_int_equal(wait, NET_WAIT_WOKEN);
	assert_int_equal(net_client_wait(client, &wait, 20, NULL), 0);
	assert_int_equal(wait, NET_WAIT_TIMEOUT);
	net_client_wake(client);
	peer_send(fixture, "more\r\n");
	usleep(20000);
	assert_int_equal(net_client_wait(client, &wait, HELPER_TIMEOUT_MS, NULL), 0);
	assert_int_equal(wait, NET_WAIT_READABLE);
	test_expect(client, "more");
	assert_int_equal(net_client_wait(client, &wait, HELPER_TIMEOUT_MS, NULL), 0);
	assert_int_equal(wait, NET_WAIT_WOKEN);
}

static void *interrupt_run(void *context)
{
	usleep(100000);
	net_client_interrupt(context);
	return NULL;
}

static void an_interrupt_ends_the_call_that_runs_and_all_later_ones(void **state)
{
	struct fixture *fixture = *state;
	uint64_t start_ms = clock_monotonic_ms();
	struct bytes line;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, interrupt_run, fixture->client), 0);
	assert_int_equal(net_client_read_line(fixture->client, 100, &line, -1, NULL), ERR_CLOSED);
	assert_true(clock_monotonic_ms() - start_ms < 5000);
	pthread_join(thread, NULL);
	assert_int_equal(
		net_client_write(fixture->client, BYTES_LITERAL("x"), -1, NULL), ERR_CLOSED);
}

static void *echo_run(void *context)
{
	int fd = *(int *)context;
	char block[65536];
	ssize_t n;

	/* Answers before it reads on, as a server that is full does. */
	while ((n = recv(fd, block, sizeof(block), 0)) > 0)
		for (ssize_t sent = 0; sent < n;) {
			ssize_t k = send(fd, block + sent, (size_t)(n - sent), MSG_NOSIGNAL);

			if (k <= 0)
				return NULL;
			sent += k;
		}
	return NULL;
}

static void two_sides_that_both_send_much_do_not_stop_each_other(void **state)
{
	struct fixture *fixture = *state;
	size_t size = 20000000;
	struct buffer out = { 0 }, in = { 0 };
	pthread_t thread;

	memset(buffer_extend(&out, size), 'x', size);
	assert_int_equal(pthread_create(&thread, NULL, echo_run, &fixture->peer_fd), 0);
	assert_int_equal(
		net_client_write(fixture->client, buffer_bytes(&out), HELPER_TIMEOUT_MS, NULL), 0);
	assert_int_equal(net_client_read(fixture->client, size, &in, HELPER_TIMEOUT_MS, NULL), 0);
	assert_true(bytes_equal(buffer_bytes(&out), buffer_bytes(&in)));
	net_client_free(&fixture->client);
	pthread_join(thread, NULL);
	buffer_deinit(&out);
	buffer_deinit(&in);
}

static void a_write_that_nobody_takes_runs_out_of_time(void **state)
{
	struct fixture *fixture = *state;
	size_t size = 20000000;
	struct buffer out = { 0 };

	memset(buffer_extend(&out, size), 'x', size);
	assert_int_equal(
		net_client_write(fixture->client, buffer_bytes(&out), 100, NULL), ERR_TIMEOUT);
	buffer_deinit(&out);
}

static void a_host_that_does_not_serve_is_told_from_one_that_does_not_exist(void **state)
{
	struct fixture *fixture = *state;
	struct net_client *client = net_client_new();
	struct error error = { 0 };

	close(fixture->listen_fd);
	assert_int_equal(
		net_client_connect(client, "127.0.0.1", fixture->port, HELPER_TIMEOUT_MS, &error),
		ERR_UNAVAILABLE);
	assert_non_null(strstr(error.text, "Connection refused"));
	net_client_free(&client);
	client = net_client_new();
	assert_int_equal(
		net_client_connect(client, "/nonexistent/socket", 0, HELPER_TIMEOUT_MS, &error),
		ERR_UNAVAILABLE);
	net_client_free(&client);
	fixture->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
}

/* ---- TLS, against a server that greets ---- */

static void *greet_new(struct net_connection *connection, void *context)
{
	net_connection_write_string(connection, "hello\r\n");
	return context;
}

static enum net_frame greet_frame(void *session, struct bytes input, struct net_unit *unit_r)
{
	(void)session;
	unit_r->len = input.len;
	return NET_FRAME_SKIP;
}

static enum net_result greet_command(void *session, struct bytes unit)
{
	(void)session;
	(void)unit;
	return NET_CLOSE;
}

static void greet_free(void *session)
{
	(void)session;
}

static const struct net_protocol greeter = { .name = "greeter",
	.input_max = 1000,
	.session_new = greet_new,
	.frame = greet_frame,
	.command = greet_command,
	.session_free = greet_free };

static int tls_try(uint16_t port, const struct net_client_tls *tls)
{
	struct net_client *client = test_connect(port);
	struct error error = { 0 };
	int rc = net_client_start_tls(client, tls, HELPER_TIMEOUT_MS, &error);

	if (rc == 0)
		test_expect(client, "hello");
	else
		assert_true(error.text[0] != '\0');
	net_client_free(&client);
	return rc;
}

static void only_the_certificate_that_is_wanted_is_accepted(void **state)
{
	struct test_files files, other;
	struct net_server_options options = { .worker_count = 1 };
	struct net_listener_options listener = { .address = "127.0.0.1",
		.protocol = &greeter,
		.tls = NET_TLS_IMPLICIT,
		.context = &files };
	struct net_client_tls tls = { .verify = NET_VERIFY_NONE };
	struct net_server *server;
	struct net_client *client;
	struct error error = { 0 };
	uint16_t port;

	(void)state;
	test_files_make(&files);
	test_files_make(&other);
	options.tls_certificate_path = files.certificate_path;
	options.tls_key_path = files.key_path;
	assert_int_equal(net_server_new(&options, &server, &error), 0);
	assert_int_equal(net_server_listen(server, &listener, &port, &error), 0);
	assert_int_equal(net_server_start(server, &error), 0);

	assert_int_equal(tls_try(port, &tls), 0);
	tls.verify = NET_VERIFY_CA; /* the system's CAs do not know it */
	assert_int_equal(tls_try(port, &tls), ERR_REFUSED);
	tls.ca_path = other.certificate_path;
	assert_int_equal(tls_try(port, &tls), ERR_REFUSED);
	tls.ca_path = files.certificate_path;
	assert_int_equal(tls_try(port, &tls), 0); /* by its address */
	tls.host_name = "localhost";
	assert_int_equal(tls_try(port, &tls), 0);
	tls.host_name = "elsewhere.example";
	assert_int_equal(tls_try(port, &tls), ERR_REFUSED);
	tls.ca_path = "/nonexistent.pem";
	assert_int_equal(tls_try(port, &tls), ERR_INVALID);

	tls = (struct net_client_tls){ .verify = NET_VERIFY_PIN };
	assert_int_equal(tls_try(port, &tls), ERR_REFUSED);
	client = test_connect(port);
	test_start_tls(client);
	assert_int_equal(net_client_peer_pin(client, tls.pin), 0);
	net_client_free(&client);
	assert_int_equal(tls_try(port, &tls), 0);

	net_server_free(&server);
	test_files_remove(&files);
	test_files_remove(&other);
}

static void plain_text_before_tls_is_an_error(void **state)
{
	struct fixture *fixture = *state;
	struct net_client_tls tls = { .verify = NET_VERIFY_NONE };

	peer_send(fixture, "220 go ahead\r\ninjected\r\n");
	test_expect(fixture->client, "220 go ahead");
	assert_int_equal(
		net_client_start_tls(fixture->client, &tls, HELPER_TIMEOUT_MS, NULL), ERR_ILLEGAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines_and_counted_bytes_come_as_they_were_sent),
		TEST(a_read_that_ran_out_of_time_takes_nothing),
		TEST(a_line_over_the_limit_is_not_taken),
		TEST(the_peers_end_is_told_after_all_that_he_sent),
		TEST(a_write_to_a_peer_that_has_gone_fails_without_a_signal),
		TEST(a_wake_is_kept_until_it_is_waited_for),
		TEST(an_interrupt_ends_the_call_that_runs_and_all_later_ones),
		TEST(two_sides_that_both_send_much_do_not_stop_each_other),
		TEST(a_write_that_nobody_takes_runs_out_of_time),
		TEST(a_host_that_does_not_serve_is_told_from_one_that_does_not_exist),
		cmocka_unit_test(only_the_certificate_that_is_wanted_is_accepted),
		TEST(plain_text_before_tls_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
