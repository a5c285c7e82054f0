#include "net/net_tls_private.h"

#include <openssl/err.h>

int net_tls_error(struct error *error, int code, const char *what)
{
	char reason[160] = "unknown reason";
	unsigned long number = ERR_get_error();

	if (number != 0)
		ERR_error_string_n(number, reason, sizeof(reason));
	ERR_clear_error();
	return error_set(error, code, "%s: %s", what, reason);
}

static int context_new(const SSL_METHOD *method, SSL_CTX **context_r, struct error *error)
{
	SSL_CTX *context;

	ERR_clear_error();
	context = SSL_CTX_new(method);
	if (context == NULL)
		return net_tls_error(error, ERR_IO, "cannot set up TLS");
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_options(context,
		SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	*context_r = context;
	return 0;
}

static int certificate_use(
	SSL_CTX *context, const char *certificate_path, const char *key_path, struct error *error)
{
	if (key_path == NULL)
		key_path = certificate_path;
	if (SSL_CTX_use_certificate_chain_file(context, certificate_path) != 1)
		return net_tls_error(error, ERR_INVALID, certificate_path);
	if (SSL_CTX_use_PrivateKey_file(context, key_path, SSL_FILETYPE_PEM) != 1)
		return net_tls_error(error, ERR_INVALID, key_path);
	if (SSL_CTX_check_private_key(context) != 1)
		return net_tls_error(error, ERR_INVALID, key_path);
	return 0;
}

/*
 * A certificate that nobody vouches for does not end the handshake: it may be known by its pin, and
 * its owner can still log in by other means. What came of the check is kept (net_certificate.h).
 */
static int verify_later(int is_good, X509_STORE_CTX *store)
{
	(void)is_good;
	(void)store;
	return 1;
}

static int clients_use(SSL_CTX *context, const char *ca_path, struct error *error)
{
	static const unsigned char session_name[] = "chapar";
	STACK_OF(X509_NAME) * names;

	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, verify_later);
	/* Else OpenSSL refuses to take up sessions in which a certificate was shown. */
	SSL_CTX_set_session_id_context(context, session_name, sizeof(session_name) - 1);
	if (ca_path == NULL)
		return 0;
	names = SSL_load_client_CA_file(ca_path);
	if (names == NULL || SSL_CTX_load_verify_file(context, ca_path) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return net_tls_error(error, ERR_INVALID, ca_path);
	}
	SSL_CTX_set_client_CA_list(context, names);
	return 0;
}

int net_tls_server_context(
	const struct net_tls_server *tls, SSL_CTX **context_r, struct error *error)
{
	SSL_CTX *context = NULL;
	int rc = context_new(TLS_server_method(), &context, error);

	if (rc < 0)
		return rc;
	rc = certificate_use(context, tls->certificate_path, tls->key_path, error);
	if (rc == 0 && (tls->wants_certificate || tls->client_ca_path != NULL))
		rc = clients_use(context, tls->client_ca_path, error);
	if (rc < 0) {
		SSL_CTX_free(context);
		return rc;
	}
	SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
	*context_r = context;
	return 0;
}

static int authorities_use(SSL_CTX *context, const char *ca_path, struct error *error)
{
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	if (ca_path != NULL && SSL_CTX_load_verify_file(context, ca_path) != 1)
		return net_tls_error(error, ERR_INVALID, ca_path);
	if (ca_path == NULL && SSL_CTX_set_default_verify_paths(context) != 1)
		return net_tls_error(error, ERR_IO, "the system's CA certificates");
	return 0;
}

int net_tls_client_context(
	const struct net_client_tls *tls, SSL_CTX **context_r, struct error *error)
{
	SSL_CTX *context = NULL;
	int rc = context_new(TLS_client_method(), &context, error);

	if (rc < 0)
		return rc;
	/* A pin is compared after the handshake: it stands above dates, names and chains. */
	if (tls->verify == NET_VERIFY_CA)
		rc = authorities_use(context, tls->ca_path, error);
	if (rc == 0 && tls->certificate_path != NULL)
		rc = certificate_use(context, tls->certificate_path, tls->key_path, error);
	if (rc < 0) {
		SSL_CTX_free(context);
		return rc;
	}
	*context_r = context;
	return 0;
}
