#include "net/net_client.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/net_address_private.h"
#include "net/net_stream_private.h"
#include "net/net_tls_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_SIZE (64u * 1024) /* bytes of room for one read */
/* A channel may wait for hours for the next change: a peer that vanished is noticed in two minutes.
 */
#define KEEPALIVE_IDLE_S 60
#define KEEPALIVE_INTERVAL_S 15
#define KEEPALIVE_COUNT 4

struct net_client {
	struct net_stream stream;
	BIO_METHOD *bio_method;
	int wake_fd; /* an eventfd: written by wake and interrupt */
	atomic_bool is_interrupted, is_woken;
	bool is_ended; /* the peer sent the end of the stream */
	struct buffer input;
	size_t input_start;
	size_t line_seen; /* bytes after input_start known to hold no LF */
	char host[256];
	char peer[NET_ADDRESS_SIZE];
};

struct net_client *net_client_new(void)
{
	struct net_client *client = mem_zalloc(sizeof(*client));

	client->stream.fd = -1;
	client->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	client->bio_method = net_stream_bio_method_new();
	return client;
}

void net_client_free(struct net_client **client)
{
	struct net_client *old = *client;

	*client = NULL;
	if (old == NULL)
		return;
	net_stream_shutdown(&old->stream);
	net_stream_close(&old->stream);
	BIO_meth_free(old->bio_method);
	if (old->wake_fd != -1)
		close(old->wake_fd);
	buffer_deinit(&old->input);
	free(old);
}

void net_client_wake(struct net_client *client)
{
	atomic_store(&client->is_woken, true);
	eventfd_write(client->wake_fd, 1);
}

void net_client_interrupt(struct net_client *client)
{
	atomic_store(&client->is_interrupted, true);
	eventfd_write(client->wake_fd, 1);
}

const char *net_client_peer(const struct net_client *client)
{
	return client->peer;
}

/* ---- Waiting ---- */

static uint64_t limit_from(int timeout_ms)
{
	return timeout_ms < 0 ? UINT64_MAX : clock_monotonic_ms() + (uint64_t)timeout_ms;
}

static int poll_ms(uint64_t limit_ms)
{
	uint64_t now_ms = clock_monotonic_ms();

	if (limit_ms == UINT64_MAX)
		return -1;
	if (limit_ms <= now_ms)
		return 0;
	return limit_ms - now_ms > INT32_MAX ? INT32_MAX : (int)(limit_ms - now_ms);
}

static int interrupted(struct net_client *client, struct error *error)
{
	if (!atomic_load(&client->is_interrupted))
		return 0;
	return error_set(error, ERR_CLOSED, "%s: interrupted", client->host);
}

/*
 * Waits for `events` on the socket. Returns 1 when they came, 0 when woken, or an error. The wake
 * counter is emptied here; is_woken keeps the wake itself for net_client_wait().
 */
static int socket_wait(
	struct net_client *client, short events, uint64_t limit_ms, struct error *error)
{
	struct pollfd fds[2] = { { client->stream.fd, events, 0 }, { client->wake_fd, POLLIN, 0 } };
	eventfd_t count;
	int n, rc;

	rc = interrupted(client, error);
	if (rc < 0)
		return rc;
	do
		n = poll(fds, 2, poll_ms(limit_ms));
	while (n == -1 && errno == EINTR);
	if (n == -1)
		return error_set_errno(error, ERR_IO, errno, "%s: poll", client->host);
	if (fds[1].revents != 0)
		eventfd_read(client->wake_fd, &count);
	rc = interrupted(client, error);
	if (rc < 0)
		return rc;
	if (n == 0)
		return error_set(error, ERR_TIMEOUT, "%s: no answer in time", client->host);
	return fds[0].revents != 0;
}

/* ---- Connecting ---- */

static void socket_tune(int fd)
{
	int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S,
	    count = KEEPALIVE_COUNT;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

static int connect_one(struct net_client *client, const struct sockaddr *address, socklen_t len,
	uint64_t limit_ms, struct error *error)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int reason = 0, rc = 0;
	socklen_t reason_len = sizeof(reason);

	if (fd == -1)
		return error_set_errno(error, ERR_IO, errno, "%s: socket", client->host);
	client->stream.fd = fd;
	net_address_text(address, client->peer);
	if (connect(fd, address, len) != 0)
		reason = errno;
	if (reason == EINPROGRESS) {
		while (rc == 0)
			rc = socket_wait(client, POLLOUT, limit_ms, error);
		if (rc > 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &reason_len) != 0)
			reason = errno;
	}
	if (rc >= 0 && reason != 0)
		rc = error_set_errno(error, ERR_UNAVAILABLE, reason, "cannot connect to %s (%s)",
			client->host, client->peer);
	if (rc < 0) {
		net_stream_close(&client->stream);
		client->peer[0] = '\0';
		return rc;
	}
	if (address->sa_family != AF_UNIX)
		socket_tune(fd);
	return 0;
}

static int connect_unix(
	struct net_client *client, const char *path, uint64_t limit_ms, struct error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(error, ERR_INVALID, "path of UNIX socket too long: %s", path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	return connect_one(client, (struct sockaddr *)&address, sizeof(address), limit_ms, error);
}

/*
 * Tries one address after the other. Each gets an even share of the time that is left, so that one
 * that does not answer at all leaves time for the next.
 */
static int connect_any(struct net_client *client, const struct addrinfo *addresses,
	uint64_t limit_ms, struct error *error)
{
	unsigned count = 0;
	int rc = ERR_UNAVAILABLE;

	for (const struct addrinfo *one = addresses; one != NULL; one = one->ai_next)
		count++;
	for (const struct addrinfo *one = addresses; one != NULL; one = one->ai_next, count--) {
		uint64_t now_ms = clock_monotonic_ms(), one_limit_ms = limit_ms;

		if (limit_ms != UINT64_MAX && limit_ms > now_ms)
			one_limit_ms = now_ms + (limit_ms - now_ms) / count;
		rc = connect_one(client, one->ai_addr, one->ai_addrlen, one_limit_ms, error);
		if (rc != ERR_UNAVAILABLE && rc != ERR_TIMEOUT)
			break;
	}
	return rc;
}

int net_client_connect(struct net_client *client, const char *host, uint16_t port, int timeout_ms,
	struct error *error)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV
	};
	uint64_t limit_ms = limit_from(timeout_ms);
	struct addrinfo *found = NULL;
	char service[8];
	int rc;

	assert(client->stream.fd == -1);
	snprintf(client->host, sizeof(client->host), "%s", host);
	if (client->wake_fd == -1)
		return error_set(error, ERR_IO, "no descriptors left");
	if (host[0] == '/')
		return connect_unix(client, host, limit_ms, error);
	snprintf(service, sizeof(service), "%u", port);
	rc = getaddrinfo(host, service, &hints, &found);
	if (rc != 0)
		return error_set(error,
			rc == EAI_AGAIN || rc == EAI_SYSTEM ? ERR_UNAVAILABLE : ERR_NOT_FOUND,
			"host %s: %s", host, gai_strerror(rc));
	rc = connect_any(client, found, limit_ms, error);
	freeaddrinfo(found);
	return rc;
}

/* ---- TLS ---- */

static int ssl_new(struct net_client *client, const struct net_client_tls *tls, struct error *error)
{
	const char *name = tls->host_name != NULL ? tls->host_name : client->host;
	unsigned char scratch[sizeof(struct in6_addr)];
	bool is_address;
	SSL_CTX *context;
	SSL *ssl;
	int rc;

	rc = net_tls_client_context(tls, &context, error);
	if (rc < 0)
		return rc;
	ssl = SSL_new(context);
	SSL_CTX_free(context);
	if (ssl == NULL)
		return net_tls_error(error, ERR_IO, "cannot set up TLS");
	is_address =
		inet_pton(AF_INET, name, scratch) == 1 || inet_pton(AF_INET6, name, scratch) == 1;
	if (!is_address)
		SSL_set_tlsext_host_name(ssl, name); /* RFC 6066, section 3: never an address */
	if (tls->verify == NET_VERIFY_CA && is_address)
		X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
	else if (tls->verify == NET_VERIFY_CA)
		SSL_set1_host(ssl, name);
	SSL_set_connect_state(ssl);
	net_stream_set_ssl(&client->stream, ssl, client->bio_method);
	return 0;
}

static int handshake_error(struct net_client *client, struct error *error)
{
	long verified = SSL_get_verify_result(client->stream.ssl);

	if (verified != X509_V_OK && SSL_get_verify_mode(client->stream.ssl) != SSL_VERIFY_NONE) {
		ERR_clear_error();
		return error_set(error, ERR_REFUSED, "%s: certificate: %s", client->host,
			X509_verify_cert_error_string(verified));
	}
	net_tls_error(error, ERR_IO, "TLS handshake");
	error_prefix(error, "%s", client->host);
	return ERR_IO;
}

int net_client_peer_pin(const struct net_client *client, unsigned char pin_r[NET_PIN_SIZE])
{
	X509 *certificate;
	unsigned len = 0;
	int rc;

	if (client->stream.ssl == NULL)
		return ERR_NOT_FOUND;
	certificate = SSL_get1_peer_certificate(client->stream.ssl);
	if (certificate == NULL)
		return ERR_NOT_FOUND;
	rc = X509_digest(certificate, EVP_sha256(), pin_r, &len);
	X509_free(certificate);
	return rc == 1 && len == NET_PIN_SIZE ? 0 : ERR_IO;
}

int net_client_binding(const struct net_client *client, const char *type, struct buffer *out)
{
	return client->stream.ssl == NULL ? ERR_NOT_FOUND
					  : net_tls_binding(client->stream.ssl, type, out);
}

static int pin_check(
	struct net_client *client, const struct net_client_tls *tls, struct error *error)
{
	unsigned char pin[NET_PIN_SIZE];

	if (tls->verify != NET_VERIFY_PIN)
		return 0;
	if (net_client_peer_pin(client, pin) < 0 || memcmp(pin, tls->pin, sizeof(pin)) != 0)
		return error_set(error, ERR_REFUSED, "%s: the certificate is not the pinned one",
			client->host);
	return 0;
}

int net_client_start_tls(struct net_client *client, const struct net_client_tls *tls,
	int timeout_ms, struct error *error)
{
	uint64_t limit_ms = limit_from(timeout_ms);
	int rc;

	assert(client->stream.fd != -1 && client->stream.ssl == NULL);
	if (client->input.len > client->input_start)
		return error_set(error, ERR_ILLEGAL, "%s: plain text before TLS", client->host);
	rc = ssl_new(client, tls, error);
	while (rc >= 0) {
		enum net_io io = net_stream_handshake(&client->stream);

		if (io == NET_IO_OK)
			return pin_check(client, tls, error);
		if (io == NET_IO_END || io == NET_IO_FAILED)
			return handshake_error(client, error);
		rc = socket_wait(
			client, io == NET_IO_WANT_READ ? POLLIN : POLLOUT, limit_ms, error);
	}
	return rc;
}

int net_client_start_compression(struct net_client *client, struct error *error)
{
	struct bytes early = buffer_bytes(&client->input);

	if (client->input_start > 0)
		bytes_skip(&early, client->input_start);
	if (net_stream_compress(&client->stream, early, 0) < 0)
		return error_set(error, ERR_UNAVAILABLE, "%s: no memory to compress", client->host);
	buffer_truncate(&client->input, client->input.len - early.len);
	return 0;
}

bool net_client_is_tls(const struct net_client *client)
{
	return client->stream.ssl != NULL && SSL_is_init_finished(client->stream.ssl);
}

/* ---- Reading ---- */

static struct bytes input_bytes(const struct net_client *client)
{
	struct bytes input = buffer_bytes(&client->input);

	bytes_skip(&input, client->input_start);
	return input;
}

static void input_consume(struct net_client *client, size_t len)
{
	client->input_start += len;
	client->line_seen = 0;
}

/* Reads once without waiting. *io_r is OK, END, or what to wait for. */
static int input_fill(struct net_client *client, enum net_io *io_r, struct error *error)
{
	size_t n = 0;

	if (client->input_start > 0 && client->input_start * 2 >= client->input.len) {
		buffer_consume(&client->input, client->input_start);
		client->input_start = 0;
	}
	if (client->is_ended) {
		*io_r = NET_IO_END;
		return 0;
	}
	buffer_reserve(&client->input, READ_SIZE);
	*io_r = net_stream_read(
		&client->stream, client->input.data + client->input.len, READ_SIZE, &n);
	client->input.len += n;
	if (*io_r == NET_IO_FAILED)
		return error_set(error, ERR_IO, "%s: the connection broke", client->host);
	client->is_ended = *io_r == NET_IO_END;
	return 0;
}

/* Gets more input, waiting for it. */
static int input_more(struct net_client *client, uint64_t limit_ms, struct error *error)
{
	enum net_io io;
	int rc;

	for (;;) {
		rc = interrupted(client, error);
		if (rc < 0)
			return rc;
		rc = input_fill(client, &io, error);
		if (rc < 0 || io == NET_IO_OK)
			return rc;
		if (io == NET_IO_END)
			return error_set(error, ERR_CLOSED, "%s: closed by the peer", client->host);
		rc = socket_wait(
			client, io == NET_IO_WANT_READ ? POLLIN : POLLOUT, limit_ms, error);
		if (rc < 0)
			return rc;
	}
}

bool net_client_has_line(const struct net_client *client)
{
	struct bytes input = input_bytes(client);

	return bytes_find(input, '\n') < input.len;
}

int net_client_read_line(struct net_client *client, size_t line_size_max, struct bytes *line_r,
	int timeout_ms, struct error *error)
{
	uint64_t limit_ms = limit_from(timeout_ms);
	int rc;

	for (;;) {
		struct bytes input = input_bytes(client), rest = input;
		size_t len;

		bytes_skip(&rest, client->line_seen);
		len = client->line_seen + bytes_find(rest, '\n');
		if (len > line_size_max + 1) /* the CR does not count */
			return error_set(error, ERR_TOO_LARGE, "%s: line of more than %zu bytes",
				client->host, line_size_max);
		if (len < input.len) {
			input_consume(client, len + 1);
			input.len = len > 0 && input.ptr[len - 1] == '\r' ? len - 1 : len;
			*line_r = input;
			return 0;
		}
		client->line_seen = input.len;
		rc = input_more(client, limit_ms, error);
		if (rc < 0)
			return rc;
	}
}

int net_client_read(struct net_client *client, size_t size, struct buffer *out, int timeout_ms,
	struct error *error)
{
	uint64_t limit_ms = limit_from(timeout_ms);
	struct bytes input = input_bytes(client);
	int rc;

	while (input.len < size) {
		rc = input_more(client, limit_ms, error);
		if (rc < 0)
			return rc;
		input = input_bytes(client);
	}
	buffer_append_bytes(out, bytes_of(input.ptr, size));
	input_consume(client, size);
	return 0;
}

/* ---- Writing ---- */

/* Waits until the peer takes more, and takes in what he sends meanwhile. */
static int write_wait(
	struct net_client *client, enum net_io io, uint64_t limit_ms, struct error *error)
{
	bool can_read = !client->is_ended && input_bytes(client).len < NET_CLIENT_INPUT_MAX;
	short events = io == NET_IO_WANT_READ ? POLLIN : POLLOUT;
	enum net_io input_io;
	int rc;

	if (can_read) {
		rc = input_fill(client, &input_io, error);
		if (rc < 0 || input_io == NET_IO_OK)
			return rc;
		if (!client->is_ended)
			events |= POLLIN;
	}
	rc = socket_wait(client, events, limit_ms, error);
	return rc < 0 ? rc : 0;
}

int net_client_write(
	struct net_client *client, struct bytes bytes, int timeout_ms, struct error *error)
{
	uint64_t limit_ms = limit_from(timeout_ms);
	int rc = interrupted(client, error);

	while (rc == 0 && (bytes.len > 0 || net_stream_unsent(&client->stream) > 0)) {
		size_t n;
		enum net_io io = net_stream_write(&client->stream, bytes, &n);

		bytes_skip(&bytes, n);
		if (n > 0)
			limit_ms = limit_from(timeout_ms);
		if (io == NET_IO_OK)
			rc = interrupted(client, error);
		else if (io == NET_IO_WANT_READ || io == NET_IO_WANT_WRITE)
			rc = write_wait(client, io, limit_ms, error);
		else
			rc = error_set(error, ERR_CLOSED, "%s: the peer has gone", client->host);
	}
	return rc;
}

int net_client_wait(
	struct net_client *client, enum net_wait *wait_r, int timeout_ms, struct error *error)
{
	uint64_t limit_ms = limit_from(timeout_ms);
	enum net_io io;
	int rc;

	for (;;) {
		rc = interrupted(client, error);
		if (rc < 0)
			return rc;
		if (input_bytes(client).len == 0) {
			rc = input_fill(client, &io, error);
			if (rc < 0)
				return rc;
		}
		if (input_bytes(client).len > 0 || client->is_ended) {
			*wait_r = NET_WAIT_READABLE;
			return 0;
		}
		if (atomic_exchange(&client->is_woken, false)) {
			*wait_r = NET_WAIT_WOKEN;
			return 0;
		}
		rc = socket_wait(client, POLLIN, limit_ms, error);
		if (rc == ERR_TIMEOUT) {
			*wait_r = NET_WAIT_TIMEOUT;
			return 0;
		}
		if (rc < 0)
			return rc;
	}
}
