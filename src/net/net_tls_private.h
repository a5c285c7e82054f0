/*
 * net_tls: OpenSSL contexts for server and client: TLS 1.2 or newer, no renegotiation.
 * Contexts are counted by OpenSSL: SSL_CTX_free() drops one's own reference, connections keep
 * theirs.
 */
#ifndef CHAPAR_NET_TLS_PRIVATE_H
#define CHAPAR_NET_TLS_PRIVATE_H

#include "base/error.h"
#include "net/net_client.h"

#include <openssl/ssl.h>

/* ERR_INVALID: a file cannot be read or used, or key and certificate are no pair. */
int net_tls_server_context(const char *certificate_path, const char *key_path, SSL_CTX **context_r,
	struct error *error);
int net_tls_client_context(
	const struct net_client_tls *tls, SSL_CTX **context_r, struct error *error);

/* Puts OpenSSL's oldest reason, if there is one, into *error. Returns `code`. */
int net_tls_error(struct error *error, int code, const char *what);

#endif
