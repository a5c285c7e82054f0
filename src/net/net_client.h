/*
 * net_client: a blocking stream to another server, for replication channels and the command line.
 *
 * One thread uses a client; any other may call net_client_wake() and net_client_interrupt() until
 * net_client_free(). Every wait has a limit in milliseconds (-1: none) for the call as a whole.
 * After any error but ERR_TOO_LARGE of net_client_read_line() and ERR_TIMEOUT of a read, the stream
 * is in no usable state: free it. Never raises SIGPIPE.
 *
 * While it waits to write, it takes in what the peer sends (up to NET_CLIENT_INPUT_MAX), so two
 * peers that both send much before they read do not stop each other.
 *
 * Errors of all calls: ERR_IO, ERR_TIMEOUT, ERR_CLOSED (the peer ended the stream, or interrupted);
 * further ones are named at the function.
 */
#ifndef CHAPAR_NET_CLIENT_H
#define CHAPAR_NET_CLIENT_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdint.h>

#define NET_CLIENT_INPUT_MAX (64u * 1024 * 1024) /* bytes taken in ahead of reading */
#define NET_PIN_SIZE 32                          /* bytes: SHA-256 of the certificate in DER form */

struct net_client;

enum net_verify {
	NET_VERIFY_CA,  /* chain up to a known CA, and the host name */
	NET_VERIFY_PIN, /* exactly the certificate with this SHA-256 digest; nothing else matters */
	NET_VERIFY_NONE /* encryption without knowing whom with: only if the operator says so */
};

struct net_client_tls {
	enum net_verify verify;
	const char *ca_path;   /* PEM file; NULL: the system's CAs */
	const char *host_name; /* name to verify and to send as SNI; NULL: host connected to */
	unsigned char pin[NET_PIN_SIZE]; /* for NET_VERIFY_PIN */
	const char *certificate_path;    /* PEM, our own, for servers that ask; NULL: none */
	const char *key_path;            /* PEM; NULL: in certificate_path */
};

struct net_client *net_client_new(void);
/* Closes. Sets *client to NULL. A NULL *client is allowed. */
void net_client_free(struct net_client **client);

/*
 * Connects to `host` (name, IPv4 or IPv6 address: each address is tried; or the path of a UNIX
 * socket if it begins with '/') and `port`. Once per client. Also ERR_NOT_FOUND (no such host),
 * ERR_UNAVAILABLE (nobody listens there). Resolving a name is not interruptible.
 */
int net_client_connect(struct net_client *client, const char *host, uint16_t port, int timeout_ms,
	struct error *error);

/*
 * TLS handshake, at once for implicit TLS or after STARTTLS was agreed. Input that came before it
 * is an error (ERR_ILLEGAL). Also ERR_REFUSED: the peer's certificate is not the one wanted;
 * ERR_INVALID: a file cannot be used.
 */
int net_client_start_tls(struct net_client *client, const struct net_client_tls *tls,
	int timeout_ms, struct error *error);
/* After the peer has agreed to it: all from here on is compressed, in both directions (RFC 4978).
 */
int net_client_start_compression(struct net_client *client, struct error *error);
bool net_client_is_tls(const struct net_client *client);
/* SHA-256 of the peer's certificate. ERR_NOT_FOUND without TLS. */
int net_client_peer_pin(const struct net_client *client, unsigned char pin_r[NET_PIN_SIZE]);
/* As net_connection_binding(). */
int net_client_binding(const struct net_client *client, const char *type, struct buffer *out);

/*
 * The next line without its CRLF (or LF), borrowed until the next call. ERR_TOO_LARGE if it is
 * longer than `line_size_max` bytes; nothing is taken then.
 */
int net_client_read_line(struct net_client *client, size_t line_size_max, struct bytes *line_r,
	int timeout_ms, struct error *error);

/* Whether a whole line is here already, so that reading it does not wait. */
bool net_client_has_line(const struct net_client *client);

/* Exactly `size` bytes, appended to *out. On an error *out is as before; on ERR_TIMEOUT nothing is
 * taken. */
int net_client_read(struct net_client *client, size_t size, struct buffer *out, int timeout_ms,
	struct error *error);

/* Writes all. The limit counts from the last byte that the peer took. */
int net_client_write(
	struct net_client *client, struct bytes bytes, int timeout_ms, struct error *error);

enum net_wait { NET_WAIT_READABLE, NET_WAIT_WOKEN, NET_WAIT_TIMEOUT };

/*
 * Waits until there is input (or the end of the stream, which the next read tells), or until
 * net_client_wake(). A wake that came before the call counts and is used up; input goes first.
 */
int net_client_wait(
	struct net_client *client, enum net_wait *wait_r, int timeout_ms, struct error *error);

/* Any thread: makes the present or next net_client_wait() return. Coalesced. */
void net_client_wake(struct net_client *client);
/* Any thread: makes the running call and all later ones fail with ERR_CLOSED. */
void net_client_interrupt(struct net_client *client);

/* "192.0.2.7:993" once connected, "" before. */
const char *net_client_peer(const struct net_client *client);

#endif
