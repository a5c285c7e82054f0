#include "fake_peer.h"

#include "base/encode.h"
#include "base/mem.h"
#include "sync/responder.h"
#include "sync/wire.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define VERB_COUNT_MAX 16

struct verb_count {
	char verb[16];
	unsigned count;
};

struct fake_peer {
	struct mail *mail;
	int listener;
	uint16_t port;
	pthread_t thread;
	pthread_mutex_t lock;
	bool is_refusing;
	int connection; /* -1: none */
	char cut_verb[16];
	unsigned cut_count; /* 0: do not cut */
	bool cuts_after;
	char failing_account[64]; /* "": none */
	struct verb_count counts[VERB_COUNT_MAX];
};

struct connection {
	struct fake_peer *peer;
	int fd;
	struct buffer in;
	struct sync_session *session;
	bool is_logged_in;
};

static bool put(struct connection *connection, struct bytes text)
{
	while (text.len > 0) {
		ssize_t sent = send(connection->fd, text.ptr, text.len, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		bytes_skip(&text, (size_t)sent);
	}
	return true;
}

static bool put_string(struct connection *connection, const char *text)
{
	return put(connection, bytes_of_string(text));
}

static bool fill(struct connection *connection)
{
	unsigned char block[65536];
	ssize_t count = recv(connection->fd, block, sizeof(block), 0);

	if (count <= 0)
		return false;
	buffer_append(&connection->in, block, (size_t)count);
	return true;
}

/* The size of the literal that ends the line, or -1. */
static long literal_at_end(struct bytes line)
{
	size_t at = line.len;

	if (at < 3 || line.ptr[at - 1] != '}')
		return -1;
	while (at > 0 && line.ptr[at - 1] != '{')
		at--;
	return at == 0 ? -1 : strtol((const char *)line.ptr + at, NULL, 10);
}

/* Takes one command with its literals, without the last CRLF. */
static bool read_command(struct connection *connection, struct buffer *command)
{
	buffer_clear(command);
	for (;;) {
		size_t end, size;
		long literal;

		while ((end = bytes_find(buffer_bytes(&connection->in), '\n')) ==
			connection->in.len)
			if (!fill(connection))
				return false;
		size = end > 0 && connection->in.data[end - 1] == '\r' ? end - 1 : end;
		literal = literal_at_end(bytes_of(connection->in.data, size));
		buffer_append(command, connection->in.data, literal >= 0 ? end + 1 : size);
		buffer_consume(&connection->in, end + 1);
		if (literal < 0)
			return true;
		while (connection->in.len < (size_t)literal)
			if (!fill(connection))
				return false;
		buffer_append(command, connection->in.data, (size_t)literal);
		buffer_consume(&connection->in, (size_t)literal);
	}
}

/* True if the link is to be cut now. */
static bool note_verb(struct fake_peer *peer, struct bytes request)
{
	struct bytes verb = request;
	bool is_cut = false;
	size_t i = 0;

	if (bytes_peek(request) == '{') /* a long request as one literal */
		bytes_skip(&verb, bytes_find(verb, '\n') + 1);
	verb.len = bytes_find(verb, ' ');
	pthread_mutex_lock(&peer->lock);
	while (i < VERB_COUNT_MAX - 1 && peer->counts[i].verb[0] != '\0' &&
		!bytes_equal_string(verb, peer->counts[i].verb))
		i++;
	snprintf(peer->counts[i].verb, sizeof(peer->counts[i].verb), "%.*s", BYTES_ARGS(verb));
	peer->counts[i].count++;
	if (peer->cut_count > 0 && bytes_equal_string(verb, peer->cut_verb))
		is_cut = --peer->cut_count == 0;
	pthread_mutex_unlock(&peer->lock);
	return is_cut;
}

static bool names_failing_account(struct fake_peer *peer, struct bytes request)
{
	char name[80];
	bool is_named;

	pthread_mutex_lock(&peer->lock);
	snprintf(name, sizeof(name), "ACCOUNT %s ", peer->failing_account);
	is_named = peer->failing_account[0] != '\0' &&
		   memmem(request.ptr, request.len, name, strlen(name)) != NULL;
	pthread_mutex_unlock(&peer->lock);
	return is_named;
}

void fake_peer_fail_account(struct fake_peer *peer, const char *account)
{
	pthread_mutex_lock(&peer->lock);
	snprintf(peer->failing_account, sizeof(peer->failing_account), "%s",
		account != NULL ? account : "");
	pthread_mutex_unlock(&peer->lock);
}

static bool run_sync(struct connection *connection, const char *tag, struct bytes request)
{
	static const struct sync_rights full = { .is_full = true };
	struct fake_peer *peer = connection->peer;
	struct buffer answer = { 0 };
	struct error error;
	bool is_cut = note_verb(peer, request), goes_on;
	int rc;

	if (is_cut && !peer->cuts_after)
		return false;
	if (connection->session == NULL)
		connection->session = sync_session_new(peer->mail, &full);
	buffer_append_string(&answer, "* SYNC ");
	if (names_failing_account(peer, request)) {
		rc = error_set(&error, ERR_IO, "this account fails here");
		wire_put_error(&answer, rc, error.text, 0);
	} else {
		rc = sync_respond(connection->session, request, &answer, &error);
	}
	buffer_printf(&answer, "\r\n%s %s done\r\n", tag, rc == 0 ? "OK" : "NO");
	goes_on = !is_cut && put(connection, buffer_bytes(&answer));
	buffer_deinit(&answer);
	return goes_on;
}

static bool authenticate(struct connection *connection, const char *tag)
{
	struct buffer line = { 0 }, plain = { 0 }, reply = { 0 };
	static const char wanted[] = "\0sync\0secret";
	bool goes_on = put_string(connection, "+ \r\n") && read_command(connection, &line);

	if (goes_on) {
		connection->is_logged_in =
			decode_base64(&plain, buffer_bytes(&line)) == 0 &&
			bytes_equal(buffer_bytes(&plain), bytes_of(wanted, sizeof(wanted) - 1));
		buffer_printf(
			&reply, "%s %s login\r\n", tag, connection->is_logged_in ? "OK" : "NO");
		goes_on = put(connection, buffer_bytes(&reply));
	}
	buffer_deinit(&line);
	buffer_deinit(&plain);
	buffer_deinit(&reply);
	return goes_on;
}

static bool run_command(struct connection *connection, struct bytes command)
{
	char tag[32], reply[128];
	size_t blank = bytes_find(command, ' ');

	if (blank == command.len || blank >= sizeof(tag))
		return false;
	memcpy(tag, command.ptr, blank);
	tag[blank] = '\0';
	bytes_skip(&command, blank + 1);
	if (bytes_start_with(command, BYTES_LITERAL("AUTHENTICATE PLAIN")))
		return authenticate(connection, tag);
	if (connection->is_logged_in && bytes_start_with(command, BYTES_LITERAL("SYNC "))) {
		bytes_skip(&command, 5);
		return run_sync(connection, tag, command);
	}
	if (bytes_equal_string(command, "CAPABILITY") &&
		!put_string(connection, "* CAPABILITY IMAP4rev1 AUTH=PLAIN XCHAPAR=1\r\n"))
		return false;
	snprintf(reply, sizeof(reply), "%s OK done\r\n", tag);
	return put_string(connection, reply);
}

static void serve(struct fake_peer *peer, int fd)
{
	struct connection connection = { .peer = peer, .fd = fd };
	struct buffer command = { 0 };
	bool is_refusing;

	pthread_mutex_lock(&peer->lock);
	is_refusing = peer->is_refusing;
	pthread_mutex_unlock(&peer->lock);
	if (put_string(&connection, is_refusing ? "* BYE not now\r\n" : "* OK hello\r\n"))
		while (!is_refusing && read_command(&connection, &command))
			if (!run_command(&connection, buffer_bytes(&command)))
				break;
	sync_session_free(&connection.session);
	buffer_deinit(&connection.in);
	buffer_deinit(&command);
}

static void *peer_run(void *context)
{
	struct fake_peer *peer = context;

	for (;;) {
		int fd = accept(peer->listener, NULL, NULL);

		if (fd < 0)
			return NULL;
		pthread_mutex_lock(&peer->lock);
		peer->connection = fd;
		pthread_mutex_unlock(&peer->lock);
		serve(peer, fd);
		pthread_mutex_lock(&peer->lock);
		peer->connection = -1;
		pthread_mutex_unlock(&peer->lock);
		close(fd);
	}
}

struct fake_peer *fake_peer_new(struct mail *mail)
{
	struct fake_peer *peer = mem_zalloc(sizeof(*peer));
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);

	peer->mail = mail;
	peer->connection = -1;
	pthread_mutex_init(&peer->lock, NULL);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	peer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (peer->listener < 0 || bind(peer->listener, (struct sockaddr *)&address, size) != 0 ||
		listen(peer->listener, 8) != 0 ||
		getsockname(peer->listener, (struct sockaddr *)&address, &size) != 0 ||
		pthread_create(&peer->thread, NULL, peer_run, peer) != 0)
		abort();
	peer->port = ntohs(address.sin_port);
	return peer;
}

void fake_peer_free(struct fake_peer **peer_ptr)
{
	struct fake_peer *peer = *peer_ptr;

	if (peer == NULL)
		return;
	shutdown(peer->listener, SHUT_RDWR);
	pthread_mutex_lock(&peer->lock);
	if (peer->connection >= 0)
		shutdown(peer->connection, SHUT_RDWR);
	pthread_mutex_unlock(&peer->lock);
	pthread_join(peer->thread, NULL);
	close(peer->listener);
	pthread_mutex_destroy(&peer->lock);
	free(peer);
	*peer_ptr = NULL;
}

uint16_t fake_peer_port(const struct fake_peer *peer)
{
	return peer->port;
}

void fake_peer_cut_at(struct fake_peer *peer, const char *verb, unsigned count, bool after_it_ran)
{
	pthread_mutex_lock(&peer->lock);
	snprintf(peer->cut_verb, sizeof(peer->cut_verb), "%s", verb);
	peer->cut_count = count;
	peer->cuts_after = after_it_ran;
	pthread_mutex_unlock(&peer->lock);
}

void fake_peer_refuse(struct fake_peer *peer, bool on)
{
	pthread_mutex_lock(&peer->lock);
	peer->is_refusing = on;
	pthread_mutex_unlock(&peer->lock);
}

unsigned fake_peer_count(struct fake_peer *peer, const char *verb)
{
	unsigned count = 0;

	pthread_mutex_lock(&peer->lock);
	for (size_t i = 0; i < VERB_COUNT_MAX; i++)
		if (strcmp(peer->counts[i].verb, verb) == 0)
			count = peer->counts[i].count;
	pthread_mutex_unlock(&peer->lock);
	return count;
}
