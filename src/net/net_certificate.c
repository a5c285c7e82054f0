#include "net/net_certificate.h"

#include "base/mem.h"
#include "net/net_tls_private.h"

#include <openssl/x509v3.h>
#include <stdlib.h>

struct net_certificate {
	X509 *x509;
	bool is_verified;
};

struct net_certificate *net_certificate_of(SSL *ssl)
{
	X509 *x509 = SSL_get1_peer_certificate(ssl);
	struct net_certificate *certificate;

	if (x509 == NULL)
		return NULL;
	certificate = mem_zalloc(sizeof(*certificate));
	certificate->x509 = x509;
	certificate->is_verified = SSL_get_verify_result(ssl) == X509_V_OK;
	return certificate;
}

void net_certificate_free(struct net_certificate **certificate)
{
	struct net_certificate *old = *certificate;

	*certificate = NULL;
	if (old == NULL)
		return;
	X509_free(old->x509);
	free(old);
}

bool net_certificate_is_verified(const struct net_certificate *certificate)
{
	return certificate->is_verified;
}

void net_certificate_pin(
	const struct net_certificate *certificate, unsigned char pin_r[NET_PIN_SIZE])
{
	unsigned size = NET_PIN_SIZE;

	if (X509_digest(certificate->x509, EVP_sha256(), pin_r, &size) != 1)
		abort();
}

/* Printable and without NUL: what is signed may still be meant to deceive. */
static bool text_of(const ASN1_STRING *string, struct bytes *text_r)
{
	int size = ASN1_STRING_length(string);

	if (size <= 0 || size > NET_CERTIFICATE_NAME_SIZE_MAX)
		return false;
	*text_r = bytes_of(ASN1_STRING_get0_data(string), (size_t)size);
	for (size_t i = 0; i < text_r->len; i++)
		if (text_r->ptr[i] <= ' ' || text_r->ptr[i] > '~')
			return false;
	return true;
}

/* The alternative name at `index` if it is of one of the two types. */
static bool name_at(const GENERAL_NAMES *names, int index, bool wants_host, struct bytes *text_r)
{
	const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, index);

	if (name->type == GEN_EMAIL)
		return text_of(name->d.rfc822Name, text_r);
	return wants_host && name->type == GEN_DNS && text_of(name->d.dNSName, text_r);
}

static GENERAL_NAMES *names_of(const struct net_certificate *certificate)
{
	return X509_get_ext_d2i(certificate->x509, NID_subject_alt_name, NULL, NULL);
}

bool net_certificate_has_name(const struct net_certificate *certificate, const char *name)
{
	GENERAL_NAMES *names = names_of(certificate);
	bool is_found = false;
	struct bytes text;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && !is_found; i++)
		is_found = name_at(names, i, true, &text) && bytes_equal_string_nocase(text, name);
	GENERAL_NAMES_free(names);
	return is_found;
}

int net_certificate_email(const struct net_certificate *certificate, struct buffer *out)
{
	GENERAL_NAMES *names = names_of(certificate);
	int rc = ERR_NOT_FOUND;
	struct bytes text;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && rc < 0; i++)
		if (name_at(names, i, false, &text)) {
			buffer_append_bytes(out, text);
			rc = 0;
		}
	GENERAL_NAMES_free(names);
	return rc;
}

int net_certificate_common_name(const struct net_certificate *certificate, struct buffer *out)
{
	const X509_NAME *subject = X509_get_subject_name(certificate->x509);
	int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	unsigned char *utf8 = NULL;
	int size, rc = ERR_NOT_FOUND;

	/* Of several it would be a guess which one is meant. */
	if (index < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, index) >= 0)
		return ERR_NOT_FOUND;
	size = ASN1_STRING_to_UTF8(
		&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
	if (size > 0 && size <= NET_CERTIFICATE_NAME_SIZE_MAX &&
		memchr(utf8, '\0', (size_t)size) == NULL) {
		buffer_append(out, utf8, (size_t)size);
		rc = 0;
	}
	OPENSSL_free(utf8);
	return rc;
}

/* ---- Channel binding ---- */

#define EXPORTER_SIZE 32 /* RFC 9266, section 4 */
#define EXPORTER_LABEL "EXPORTER-Channel-Binding"
#define FINISHED_SIZE_MAX 64

/*
 * Both types name one connection only if the master secret depends on the whole handshake: always
 * in TLS 1.3, in TLS 1.2 with RFC 7627.
 */
static bool is_unique(SSL *ssl)
{
	return SSL_version(ssl) >= TLS1_3_VERSION || SSL_get_extms_support(ssl) == 1;
}

/* RFC 5929, section 3: the first Finished message; TLS 1.2 and older. */
static int unique_get(SSL *ssl, struct buffer *out)
{
	unsigned char finished[FINISHED_SIZE_MAX];
	bool is_clients = SSL_session_reused(ssl) == 0;
	bool is_own = is_clients != (SSL_is_server(ssl) == 1);
	size_t size = is_own ? SSL_get_finished(ssl, finished, sizeof(finished))
			     : SSL_get_peer_finished(ssl, finished, sizeof(finished));

	if (SSL_version(ssl) >= TLS1_3_VERSION || size == 0 || size > sizeof(finished))
		return ERR_NOT_FOUND;
	buffer_append(out, finished, size);
	return 0;
}

int net_tls_binding(SSL *ssl, const char *type, struct buffer *out)
{
	unsigned char exported[EXPORTER_SIZE];

	if (!SSL_is_init_finished(ssl) || !is_unique(ssl))
		return ERR_NOT_FOUND;
	if (strcmp(type, "tls-unique") == 0)
		return unique_get(ssl, out);
	if (strcmp(type, "tls-exporter") != 0 ||
		SSL_export_keying_material(ssl, exported, sizeof(exported), EXPORTER_LABEL,
			strlen(EXPORTER_LABEL), NULL, 0, 0) != 1)
		return ERR_NOT_FOUND;
	buffer_append(out, exported, sizeof(exported));
	return 0;
}
