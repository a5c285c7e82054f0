/*
 * net_tls: OpenSSL contexts for server and client: TLS 1.2 or newer, no renegotiation.
 * Contexts are counted by OpenSSL: SSL_CTX_free() drops one's own reference, connections keep
 * theirs.
 */
#ifndef CHAPAR_NET_TLS_PRIVATE_H
#define CHAPAR_NET_TLS_PRIVATE_H

#include "base/error.h"
#include "net/net_certificate.h"
#include "net/net_client.h"

#include <openssl/ssl.h>

struct net_tls_server {
	const char *certificate_path, *key_path;
	const char *client_ca_path; /* PEM: who may vouch for clients; NULL: nobody */
	bool wants_certificate;     /* clients are asked for theirs; they need not have one */
};

/* ERR_INVALID: a file cannot be read or used, or key and certificate are no pair. */
int net_tls_server_context(
	const struct net_tls_server *tls, SSL_CTX **context_r, struct error *error);
int net_tls_client_context(
	const struct net_client_tls *tls, SSL_CTX **context_r, struct error *error);

/* After the handshake; NULL if the peer has shown no certificate. The caller's. */
struct net_certificate *net_certificate_of(SSL *ssl);
/* Sets *certificate to NULL. A NULL *certificate is allowed. */
void net_certificate_free(struct net_certificate **certificate);

/*
 * Appends what names this connection to both ends and to nobody else: "tls-exporter" (RFC 9266), or
 * "tls-unique" (RFC 5929, up to TLS 1.2). ERR_NOT_FOUND: there is none of that type.
 */
int net_tls_binding(SSL *ssl, const char *type, struct buffer *out);

/* Puts OpenSSL's oldest reason, if there is one, into *error. Returns `code`. */
int net_tls_error(struct error *error, int code, const char *what);

#endif
