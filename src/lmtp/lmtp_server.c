#include "lmtp/lmtp_server.h"

#include "base/mem.h"
#include "lmtp/lmtp_private.h"

#include <stdlib.h>
#include <unistd.h>

#define MESSAGE_SIZE_MAX_DEFAULT (64u * 1024 * 1024)
#define IDLE_TIMEOUT_S_DEFAULT 300

static void *session_new(struct net_connection *connection, void *context)
{
	struct lmtp_session *session = mem_zalloc(sizeof(*session));

	session->server = context;
	session->connection = connection;
	session->arena = arena_new();
	net_connection_set_idle_timeout(connection, session->server->options.idle_timeout_s);
	lmtp_reply(session, "220 %s LMTP Chapar", session->server->host_name);
	return session;
}

static void goodbye(void *context, enum net_goodbye reason)
{
	struct lmtp_session *session = context;

	switch (reason) {
	case NET_GOODBYE_IDLE:
	case NET_GOODBYE_DEADLINE:
		lmtp_reply(session, "421 4.4.2 nothing heard for too long");
		break;
	case NET_GOODBYE_MEMORY:
		lmtp_reply(session, "421 4.3.2 too much mail at once");
		break;
	default:
		lmtp_reply(session, "421 4.3.2 shutting down");
	}
}

static void session_free(void *context)
{
	struct lmtp_session *session = context;

	arena_free(&session->arena);
	buffer_deinit(&session->client_name);
	free(session);
}

static void host_name_find(struct lmtp_server *server, const char *wanted)
{
	size_t size = sizeof(server->host_name);

	if (wanted != NULL)
		strncpy(server->host_name, wanted, size - 1);
	else if (gethostname(server->host_name, size - 1) != 0)
		strcpy(server->host_name, "localhost");
	if (server->host_name[0] == '\0')
		strcpy(server->host_name, "localhost");
}

struct lmtp_server *lmtp_server_new(const struct lmtp_options *options)
{
	struct lmtp_server *server = mem_zalloc(sizeof(*server));
	const char *separator = options->detail_separator != NULL ? options->detail_separator : "+";

	server->options = *options;
	if (server->options.message_size_max == 0)
		server->options.message_size_max = MESSAGE_SIZE_MAX_DEFAULT;
	if (server->options.idle_timeout_s == 0)
		server->options.idle_timeout_s = IDLE_TIMEOUT_S_DEFAULT;
	host_name_find(server, options->host_name);
	server->options.host_name = server->host_name;
	server->options.detail_separator = NULL;
	server->detail_separator = separator[0] != '\0' ? (unsigned char)separator[0] : -1;
	server->protocol = (struct net_protocol){
		.name = "lmtp",
		.input_max = lmtp_wire_size_max(server) + LMTP_LINE_SIZE_MAX,
		.busy_text = "421 4.3.2 too many connections\r\n",
		.session_new = session_new,
		.frame = lmtp_frame,
		.command = lmtp_command,
		.is_short = lmtp_is_short,
		.goodbye = goodbye,
		.session_free = session_free,
	};
	return server;
}

void lmtp_server_free(struct lmtp_server **server)
{
	free(*server);
	*server = NULL;
}

const struct net_protocol *lmtp_server_protocol(const struct lmtp_server *server)
{
	return &server->protocol;
}
