#include "client.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_TRIES 50 /* 100 ms apart: a server may be starting */
#define RECEIVE_MIN 65536u

static int connect_to(const char *server)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	char host[256], *colon;
	int fd, one = 1;

	snprintf(host, sizeof(host), "%s", server);
	colon = strrchr(host, ':');
	if (colon == NULL)
		die("bad host:port %s", server);
	*colon = '\0';
	address.sin_port = htons((uint16_t)atoi(colon + 1));
	if (strcmp(host, "localhost") == 0)
		strcpy(host, "127.0.0.1");
	if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
		die("give a numeric address, not %s", host);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket: %s", strerror(errno));
	for (int tries = 0; connect(fd, (void *)&address, sizeof(address)) != 0; tries++) {
		if (tries > CONNECT_TRIES)
			die("connect %s: %s", server, strerror(errno));
		sleep_ms(100);
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

void connection_open(
	struct connection *connection_r, const struct options *options, const char *server)
{
	memset(connection_r, 0, sizeof(*connection_r));
	connection_r->options = options;
	connection_r->server = server;
	connection_r->fd = connect_to(server);
}

void connection_close(struct connection *connection)
{
	close(connection->fd);
	free(connection->data);
	connection->data = NULL;
}

void connection_send(struct connection *connection, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t sent = send(connection->fd, at, len, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			die("send to %s: %s", connection->server, strerror(errno));
		at += sent;
		len -= (size_t)sent;
	}
}

void connection_shrink(struct connection *connection)
{
	connection->room = RECEIVE_MIN * 2;
	connection->data = mem_realloc(connection->data, connection->room);
}

bool connection_has_input(struct connection *connection, int wait_ms)
{
	struct pollfd waiting = { connection->fd, POLLIN, 0 };

	return connection->end > connection->begin || poll(&waiting, 1, wait_ms) > 0;
}

static void make_room(struct connection *connection)
{
	if (connection->begin == connection->end)
		connection->begin = connection->end = 0;
	if (connection->room - connection->end >= RECEIVE_MIN)
		return;
	if (connection->begin > connection->room / 2) {
		memmove(connection->data, connection->data + connection->begin,
			connection->end - connection->begin);
		connection->end -= connection->begin;
		connection->begin = 0;
		return;
	}
	connection->room = connection->room > 0 ? connection->room * 2 : RECEIVE_MIN * 4;
	connection->data = mem_realloc(connection->data, connection->room);
}

static void receive(struct connection *connection)
{
	ssize_t got;

	make_room(connection);
	do {
		got = recv(connection->fd, connection->data + connection->end,
			connection->room - connection->end - 1, 0);
	} while (got < 0 && errno == EINTR);
	/* Without delayed ACKs a server that sets no TCP_NODELAY does not stall 40 ms. */
	if (option_number(connection->options, "quickack", 0) != 0) {
		int one = 1;

		setsockopt(connection->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
	}
	if (got <= 0)
		die("%s closed the connection (%s), last: %.200s", connection->server,
			got != 0 ? strerror(errno) : "EOF", connection->last);
	connection->end += (size_t)got;
	connection->bytes_in += (uint64_t)got;
}

/* The index after `begin` of the first newline at or after `from`; receives until there is one. */
static size_t find_newline(struct connection *connection, size_t from)
{
	for (;;) {
		size_t have = connection->end - connection->begin;
		const char *data = connection->data + connection->begin;
		const char *found = have > from ? memchr(data + from, '\n', have - from) : NULL;

		if (found != NULL)
			return (size_t)(found - data);
		from = have > from ? have : from;
		receive(connection);
	}
}

/* The size of the literal that the line ending at line[newline] announces; false: none. */
static bool literal_size(const char *line, size_t newline, size_t *size_r)
{
	size_t digits;

	if (newline < 3 || line[newline - 1] != '\r' || line[newline - 2] != '}')
		return false;
	digits = newline - 2;
	while (digits > 0 && isdigit((unsigned char)line[digits - 1]))
		digits--;
	if (digits == 0 || line[digits - 1] != '{' || digits == newline - 2)
		return false;
	*size_r = strtoull(line + digits, NULL, 10);
	return true;
}

/* One line, or one IMAP response with its literals, without its CRLF. */
static char *read_response(struct connection *connection, bool has_literals, size_t *len_r)
{
	size_t from = 0, newline, literal, len;
	char *line;

	for (;;) {
		newline = find_newline(connection, from);
		line = connection->data + connection->begin;
		if (!has_literals || !literal_size(line, newline, &literal))
			break;
		from = newline + 1 + literal;
	}
	len = newline > 0 && line[newline - 1] == '\r' ? newline - 1 : newline;
	line[len] = '\0';
	connection->begin += newline + 1;
	if (len_r != NULL)
		*len_r = len;
	return line;
}

void user_name(const struct options *options, long number, char name_r[USER_NAME_SIZE])
{
	const char *format = option(options, "userfmt", "u%04ld");

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(name_r, USER_NAME_SIZE, format, number);
#pragma GCC diagnostic pop
}

int lmtp_reply(struct connection *connection, char *text_r, size_t text_size)
{
	for (;;) {
		char *line = read_response(connection, false, NULL);

		if (text_r != NULL)
			snprintf(text_r, text_size, "%s", line);
		if (strlen(line) < 4 || line[3] != '-')
			return atoi(line);
		if (strcasestr(line, "PIPELINING") != NULL)
			connection->has_literal_plus = true;
	}
}

char *imap_response(struct connection *connection, size_t *len_r)
{
	return read_response(connection, true, len_r);
}

static unsigned send_command(struct connection *connection, const char *format, va_list args)
{
	struct buffer line = { 0 };

	buffer_printf(&line, "a%u ", ++connection->tag);
	buffer_vprintf(&line, format, args);
	buffer_append_string(&line, "\r\n");
	connection_send(connection, line.data, line.len);
	buffer_deinit(&line);
	return connection->tag;
}

unsigned imap_send(struct connection *connection, const char *format, ...)
{
	va_list args;
	unsigned tag;

	va_start(args, format);
	tag = send_command(connection, format, args);
	va_end(args);
	return tag;
}

int imap_wait(struct connection *connection, unsigned tag, response_handler *handler, void *context)
{
	char start[16];
	size_t start_len = (size_t)sprintf(start, "a%u ", tag), len;

	for (;;) {
		char *line = imap_response(connection, &len);

		if (strncmp(line, start, start_len) == 0) {
			const char *text = line + start_len;

			snprintf(connection->last, sizeof(connection->last), "%s", text);
			if (strncasecmp(text, "OK", 2) == 0)
				return 0;
			return strncasecmp(text, "NO", 2) == 0 ? 1 : 2;
		}
		if (strncasecmp(line, "* BYE", 5) == 0 && !connection->expects_bye)
			die("%s: %s", connection->server, line);
		if (handler != NULL)
			handler(line, len, context);
	}
}

int imap_command(struct connection *connection, response_handler *handler, void *context,
	const char *format, ...)
{
	va_list args;
	unsigned tag;

	va_start(args, format);
	tag = send_command(connection, format, args);
	va_end(args);
	return imap_wait(connection, tag, handler, context);
}

void imap_must(struct connection *connection, const char *format, ...)
{
	va_list args;
	unsigned tag;

	va_start(args, format);
	tag = send_command(connection, format, args);
	va_end(args);
	if (imap_wait(connection, tag, NULL, NULL) != 0)
		die("%s: %s -> %s", connection->server, format, connection->last);
}

static void note_capability(char *line, size_t len, void *context)
{
	struct connection *connection = context;

	(void)len;
	if (strncasecmp(line, "* CAPABILITY", 12) != 0)
		return;
	if (strstr(line, "LITERAL+") != NULL)
		connection->has_literal_plus = true;
	if (strstr(line, "CONDSTORE") != NULL || strstr(line, "QRESYNC") != NULL)
		connection->has_condstore = true;
}

void imap_login(struct connection *connection_r, const struct options *options, const char *server,
	const char *user)
{
	connection_open(connection_r, options, server);
	imap_response(connection_r, NULL);
	if (imap_command(connection_r, note_capability, connection_r, "LOGIN %s %s", user,
		    option(options, "pass", "secret")) != 0)
		die("%s: login %s: %s", server, user, connection_r->last);
	if (imap_command(connection_r, note_capability, connection_r, "CAPABILITY") != 0)
		die("%s: capability", server);
}

void imap_logout(struct connection *connection)
{
	connection->expects_bye = true;
	imap_command(connection, NULL, NULL, "LOGOUT");
	connection_close(connection);
}

static void note_state(char *line, size_t len, void *context)
{
	struct mailbox_state *state = context;
	unsigned long number;
	const char *found;

	(void)len;
	if (sscanf(line, "* %lu EXISTS", &number) == 1 && strstr(line, "EXISTS") != NULL)
		state->exists = (uint32_t)number;
	if ((found = strcasestr(line, "[UIDVALIDITY ")) != NULL)
		state->uidvalidity = (uint32_t)strtoul(found + 13, NULL, 10);
	if ((found = strcasestr(line, "[UIDNEXT ")) != NULL)
		state->uidnext = (uint32_t)strtoul(found + 9, NULL, 10);
	if ((found = strcasestr(line, "[HIGHESTMODSEQ ")) != NULL)
		state->highestmodseq = strtoull(found + 15, NULL, 10);
}

int imap_select(struct connection *connection, const char *verb, const char *mailbox,
	struct mailbox_state *state_r)
{
	struct mailbox_state state = { 0 };
	int answer = imap_command(connection, note_state, &state, "%s \"%s\"%s", verb, mailbox,
		connection->has_condstore ? " (CONDSTORE)" : "");

	if (state_r != NULL)
		*state_r = state;
	return answer;
}

void imap_unselect(struct connection *connection)
{
	if (imap_command(connection, NULL, NULL, "UNSELECT") != 0)
		imap_must(connection, "CLOSE");
}

unsigned imap_append_send(
	struct connection *connection, const char *mailbox, const char *flags, struct bytes message)
{
	struct buffer out = { 0 };

	buffer_printf(&out, "a%u APPEND \"%s\" %s%s{%zu%s}\r\n", ++connection->tag, mailbox,
		flags != NULL ? flags : "", flags != NULL ? " " : "", message.len,
		connection->has_literal_plus ? "+" : "");
	if (!connection->has_literal_plus) {
		connection_send(connection, out.data, out.len);
		buffer_clear(&out);
		for (;;) {
			const char *line = imap_response(connection, NULL);

			if (*line == '+')
				break;
			if (*line != '*')
				die("append: %s", line);
		}
	}
	buffer_append_bytes(&out, message);
	buffer_append_string(&out, "\r\n");
	connection_send(connection, out.data, out.len);
	buffer_deinit(&out);
	return connection->tag;
}

uint32_t imap_append(
	struct connection *connection, const char *mailbox, const char *flags, struct bytes message)
{
	unsigned tag = imap_append_send(connection, mailbox, flags, message);
	uint32_t uidvalidity = 0, uid = 0;
	const char *found;

	if (imap_wait(connection, tag, NULL, NULL) != 0)
		die("%s: APPEND %s: %s", connection->server, mailbox, connection->last);
	found = strcasestr(connection->last, "[APPENDUID ");
	if (found != NULL)
		sscanf(found + 11, "%u %u", &uidvalidity, &uid);
	return uid;
}

void imap_idle(struct connection *connection)
{
	imap_send(connection, "IDLE");
	while (*imap_response(connection, NULL) != '+')
		;
}
