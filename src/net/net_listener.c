#include "net/net_private.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPT_COUNT_MAX 64 /* clients accepted before others are served */
#define RETRY_MS 200        /* pause when the system has no descriptors left */

static bool is_local(int fd)
{
	struct sockaddr_storage address = { 0 };
	socklen_t len = sizeof(address);

	return getpeername(fd, (struct sockaddr *)&address, &len) == 0 &&
	       net_address_is_loopback((struct sockaddr *)&address);
}

/* By what clients from the same place are counted; 0: not at all. */
static uint64_t crowd_key(const struct net_server *server, int fd)
{
	struct sockaddr_storage address = { 0 };
	socklen_t len = sizeof(address);

	if (getpeername(fd, (struct sockaddr *)&address, &len) != 0 ||
		(address.ss_family != AF_INET && address.ss_family != AF_INET6))
		return 0;
	if (server->counts_loopback && net_address_is_loopback((struct sockaddr *)&address))
		return 1;
	return net_penalty_key(&server->penalties, (struct sockaddr *)&address);
}

/*
 * Whether there is room for one more; counts it. Nobody comes in after the stop has begun, and a
 * flood from the network leaves an eighth of the places to the clients of this machine: delivery
 * and operator.
 */
static bool room_take(struct net_server *server, int fd)
{
	unsigned count_max = server->connection_count_max;
	bool has_room;

	if (!is_local(fd))
		count_max -= count_max / 8;
	pthread_mutex_lock(&server->mutex);
	has_room = !atomic_load(&server->is_stopping) && server->connection_count < count_max;
	if (has_room)
		server->connection_count++;
	pthread_mutex_unlock(&server->mutex);
	return has_room;
}

static void client_refuse(struct listener *listener, int fd)
{
	const char *text = listener->protocol->busy_text;

	if (text != NULL && listener->tls != NET_TLS_IMPLICIT) {
		ssize_t n = send(fd, text, strlen(text), MSG_NOSIGNAL);

		(void)n; /* it is a courtesy */
	}
	close(fd);
	atomic_fetch_add(&listener->server->refused_count, 1);
}

static void client_take(struct listener *listener, int fd)
{
	struct net_server *server = listener->server;
	struct net_connection *connection;
	uint64_t number, key = crowd_key(server, fd);

	if (!net_crowd_enter(&server->crowd, key, server->address_connection_max)) {
		client_refuse(listener, fd);
		return;
	}
	if (!room_take(server, fd)) {
		net_crowd_leave(&server->crowd, key);
		client_refuse(listener, fd);
		return;
	}
	number = atomic_fetch_add(&server->accepted_count, 1) + 1;
	connection = connection_new(server, listener, fd);
	connection->crowd_key = key;
	snprintf(connection->id, sizeof(connection->id), "%08x-%llx", server->id_prefix,
		(unsigned long long)number);
	connection->io = &server->io_threads[number % server->io_thread_count];
	io_thread_post(connection->io, connection);
	net_connection_unref(&connection);
}

static void accept_pause(struct listener *listener, int reason)
{
	struct timeval delay = { 0, RETRY_MS * 1000 };
	char text[96];

	log_event(LOG_LEVEL_WARNING, "accept-failed", "protocol", listener->protocol->name, "error",
		strerror_r(reason, text, sizeof(text)), NULL);
	event_del(listener->event);
	event_add(listener->retry_event, &delay);
}

static void accept_handle(evutil_socket_t fd, short events, void *context)
{
	struct listener *listener = context;
	int client_fd;

	(void)events;
	if (atomic_load(&listener->server->is_stopping)) {
		event_del(listener->event);
		return;
	}
	for (int i = 0; i < ACCEPT_COUNT_MAX; i++) {
		client_fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (client_fd != -1) {
			client_take(listener, client_fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			accept_pause(listener, errno);
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

static void retry_handle(evutil_socket_t fd, short events, void *context)
{
	struct listener *listener = context;

	(void)fd;
	(void)events;
	event_add(listener->event, NULL);
}

int listener_arm(struct listener *listener, struct event_base *base)
{
	listener->event =
		event_new(base, listener->fd, EV_READ | EV_PERSIST, accept_handle, listener);
	listener->retry_event = event_new(base, -1, 0, retry_handle, listener);
	if (listener->event == NULL || listener->retry_event == NULL ||
		event_add(listener->event, NULL) != 0)
		return ERR_IO;
	return 0;
}

void listener_close(struct listener **listener)
{
	struct listener *old = *listener;

	*listener = NULL;
	if (old == NULL)
		return;
	if (old->event != NULL)
		event_free(old->event);
	if (old->retry_event != NULL)
		event_free(old->retry_event);
	if (old->fd != -1)
		close(old->fd);
	if (old->path != NULL && old->fd != -1)
		unlink(old->path);
	free(old->path);
	free(old);
}

/* ---- Binding ---- */

static int bind_error(struct error *error, int number, const char *where)
{
	int code = ERR_IO;

	if (number == EADDRINUSE)
		code = ERR_EXISTS;
	else if (number == EACCES || number == EPERM)
		code = ERR_REFUSED;
	else if (number == EADDRNOTAVAIL || number == EINVAL || number == EAFNOSUPPORT)
		code = ERR_INVALID;
	return error_set_errno(error, code, number, "cannot listen on %s", where);
}

/* `is_every`: an IPv6 socket takes IPv4 clients too. */
static int socket_bind(const struct sockaddr *address, socklen_t len, bool is_every, int *fd_r,
	struct error *error)
{
	char where[NET_ADDRESS_SIZE];
	int fd, on = 1;
	int is_six_only = !is_every;

	net_address_text(address, where);
	fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return bind_error(error, errno, where);
	if (address->sa_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (address->sa_family == AF_UNIX)
		fchmod(fd, 0600); /* nobody gets in between bind() and chmod() */
	if (address->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &is_six_only, sizeof(is_six_only));
	if (bind(fd, address, len) != 0 || listen(fd, SOMAXCONN) != 0) {
		int rc = bind_error(error, errno, where);

		close(fd);
		return rc;
	}
	*fd_r = fd;
	return 0;
}

static int tcp_bind(const char *host, uint16_t port, int *fd_r, struct error *error)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	char service[8];
	int rc;

	snprintf(service, sizeof(service), "%u", port);
	if (strcmp(host, "*") == 0) {
		struct sockaddr_in6 any = { .sin6_family = AF_INET6,
			.sin6_port = htons(port),
			.sin6_addr = IN6ADDR_ANY_INIT };

		if (socket_bind((struct sockaddr *)&any, sizeof(any), true, fd_r, error) == 0)
			return 0;
		host = "0.0.0.0"; /* a system without IPv6 */
	}
	rc = getaddrinfo(host, service, &hints, &found);
	if (rc != 0)
		return error_set(error, ERR_INVALID, "address %s: %s", host, gai_strerror(rc));
	rc = socket_bind(found->ai_addr, found->ai_addrlen, false, fd_r, error);
	freeaddrinfo(found);
	return rc;
}

/* A socket that nobody listens on is what a killed server left behind. */
static void stale_remove(const struct sockaddr_un *address)
{
	struct stat status;
	int fd;

	if (lstat(address->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 &&
		errno == ECONNREFUSED)
		unlink(address->sun_path);
	close(fd);
}

static int unix_bind(const char *path, mode_t mode, int *fd_r, struct error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int rc;

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(error, ERR_INVALID, "path of UNIX socket too long: %s", path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	stale_remove(&address);
	rc = socket_bind((struct sockaddr *)&address, sizeof(address), false, fd_r, error);
	if (rc < 0) {
		error_prefix(error, "%s", address.sun_path);
		return rc;
	}
	if (chmod(path, mode != 0 ? mode : 0600) != 0) {
		rc = error_set_errno(error, ERR_IO, errno, "chmod %s", address.sun_path);
		close(*fd_r);
		unlink(address.sun_path);
		return rc;
	}
	return 0;
}

static uint16_t port_find(int fd)
{
	struct sockaddr_storage address = { 0 };
	socklen_t len = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
		return 0;
	if (address.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&address)->sin_port);
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
	return 0;
}

int net_server_listen(struct net_server *server, const struct net_listener_options *options,
	uint16_t *port_r, struct error *error)
{
	struct listener *listener;
	int fd = -1, rc;

	assert(!server->is_started && options->protocol != NULL);
	if (server->listener_count == NET_LISTENER_COUNT_MAX)
		return error_set(
			error, ERR_INVALID, "more than %d listeners", NET_LISTENER_COUNT_MAX);
	if (options->tls == NET_TLS_IMPLICIT && server->certificate_path == NULL)
		return error_set(error, ERR_INVALID, "TLS without a certificate");
	if (options->address == NULL && options->path == NULL)
		return error_set(error, ERR_INVALID, "neither address nor path");
	rc = options->address != NULL ? tcp_bind(options->address, options->port, &fd, error)
				      : unix_bind(options->path, options->mode, &fd, error);
	if (rc < 0)
		return rc;
	listener = mem_zalloc(sizeof(*listener));
	listener->server = server;
	listener->fd = fd;
	listener->protocol = options->protocol;
	listener->context = options->context;
	listener->tls = options->tls;
	if (options->address == NULL)
		listener->path = mem_strdup(options->path);
	server->listeners[server->listener_count++] = listener;
	if (port_r != NULL)
		*port_r = port_find(fd);
	return 0;
}
