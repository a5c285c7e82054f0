/*
 * The mechanisms of GNU SASL, on the server's side. It parses and proves; all that it asks for
 * (keys, passwords, channel bindings, whether a name may come in) it asks of library_callback(),
 * which has no state but that of the one session. What it is told of names is unprepared; what we
 * keep is.
 */
#include "base/encode.h"
#include "mail/sasl_prepare.h"
#include "mail/sasl_private.h"

#include <stdio.h>
#include <stdlib.h>

/* The value of a property that the mechanism has set already. */
static struct bytes property(Gsasl_session *session, Gsasl_property name)
{
	const char *value = gsasl_property_fast(session, name);

	return value != NULL ? bytes_of_string(value) : bytes_of(NULL, 0);
}

static int property_set_base64(Gsasl_session *session, Gsasl_property name, struct bytes value)
{
	struct buffer text = { 0 };
	int rc;

	encode_base64(&text, value);
	rc = gsasl_property_set(session, name, buffer_string(&text));
	buffer_deinit(&text);
	return rc;
}

/* Takes both identities over; false if one cannot be a name. */
static bool identities_take(struct sasl_server *server, struct bytes authcid)
{
	struct bytes authzid = property(server->session, GSASL_AUTHZID);

	buffer_clear(&server->authcid);
	buffer_clear(&server->authzid);
	if (authcid.len > SASL_NAME_SIZE_MAX || authzid.len > SASL_NAME_SIZE_MAX)
		return false;
	return sasl_prepare(authcid, &server->authcid) == 0 &&
	       (authzid.len == 0 || sasl_prepare(authzid, &server->authzid) == 0);
}

/* ---- What the library asks ---- */

static int password_validate(struct sasl_server *server)
{
	struct bytes password = property(server->session, GSASL_PASSWORD);
	enum sasl_step step;

	if (password.len == 0 || !identities_take(server, property(server->session, GSASL_AUTHID)))
		return GSASL_MECHANISM_PARSE_ERROR;
	step = sasl_name_check(server->authority, buffer_bytes(&server->authcid), password);
	server->is_unavailable = step == SASL_UNAVAILABLE;
	return step == SASL_DONE ? GSASL_OK : GSASL_AUTHENTICATION_ERROR;
}

static int certificate_validate(struct sasl_server *server)
{
	return identities_take(server, server->channel->certificate_name)
		       ? GSASL_OK
		       : GSASL_AUTHENTICATION_ERROR;
}

/* "anna@REALM" is anna, if the realm is ours; "host/name@REALM" is nobody. */
static int principal_validate(struct sasl_server *server)
{
	struct bytes principal = property(server->session, GSASL_GSSAPI_DISPLAY_NAME);
	struct bytes name = bytes_take(&principal, bytes_find(principal, '@'));

	if (principal.len < 2 || bytes_find(name, '/') != name.len ||
		!bytes_equal_string(bytes_of(principal.ptr + 1, principal.len - 1),
			server->authority->gssapi_realm))
		return GSASL_AUTHENTICATION_ERROR;
	if (!identities_take(server, name) ||
		sasl_is_reserved(server->authority, buffer_bytes(&server->authcid)))
		return GSASL_AUTHENTICATION_ERROR;
	return GSASL_OK;
}

/* Once in a session. */
static bool keys_load(struct sasl_server *server)
{
	if (server->has_keys)
		return true;
	if (!identities_take(server, property(server->session, GSASL_AUTHID)))
		return false;
	if (sasl_scram_keys(server->authority, buffer_bytes(&server->authcid),
		    server->mechanism->hash, &server->keys, &server->is_known) < 0) {
		server->is_unavailable = true;
		return false;
	}
	server->has_keys = true;
	return true;
}

static int scram_property(struct sasl_server *server, Gsasl_property name)
{
	const struct scram_keys *keys = &server->keys;
	size_t size = scram_key_size(server->mechanism->hash);
	char count[16];

	if (!keys_load(server))
		return GSASL_AUTHENTICATION_ERROR;
	switch (name) {
	case GSASL_SCRAM_ITER:
		snprintf(count, sizeof(count), "%u", keys->iteration_count);
		return gsasl_property_set(server->session, name, count);
	case GSASL_SCRAM_SALT:
		return property_set_base64(
			server->session, name, bytes_of(keys->salt, keys->salt_size));
	case GSASL_SCRAM_STOREDKEY:
		return property_set_base64(server->session, name, bytes_of(keys->stored_key, size));
	default:
		return property_set_base64(server->session, name, bytes_of(keys->server_key, size));
	}
}

/*
 * Where no -PLUS mechanism was offered there is none: a client who says that he would have liked
 * one (flag "y") has then not been deceived on the way.
 */
static int binding_property(struct sasl_server *server, Gsasl_property name)
{
	const char *type = name == GSASL_CB_TLS_EXPORTER ? "tls-exporter" : "tls-unique";
	struct buffer binding = { 0 };
	int rc = GSASL_NO_CALLBACK;

	if (sasl_binding_is_offered(server) &&
		server->channel->binding(server->channel->context, type, &binding) == 0)
		rc = property_set_base64(server->session, name, buffer_bytes(&binding));
	buffer_deinit(&binding);
	return rc;
}

static int library_callback(Gsasl *library, Gsasl_session *session, Gsasl_property name)
{
	/* While a session is being started there is only the library's hook. */
	const struct sasl_authority *authority = gsasl_callback_hook_get(library);
	struct sasl_server *server = gsasl_session_hook_get(session);

	switch (name) {
	case GSASL_VALIDATE_SIMPLE:
		return password_validate(server);
	case GSASL_VALIDATE_EXTERNAL:
		return certificate_validate(server);
	case GSASL_VALIDATE_GSSAPI:
		return principal_validate(server);
	case GSASL_SCRAM_ITER:
	case GSASL_SCRAM_SALT:
	case GSASL_SCRAM_STOREDKEY:
	case GSASL_SCRAM_SERVERKEY:
		return scram_property(server, name);
	case GSASL_CB_TLS_EXPORTER:
	case GSASL_CB_TLS_UNIQUE:
		return binding_property(server, name);
	case GSASL_SERVICE:
		return gsasl_property_set(session, name, "imap");
	case GSASL_HOSTNAME:
		return gsasl_property_set(session, name, authority->gssapi_host);
	default:
		return GSASL_NO_CALLBACK;
	}
}

/* ---- A session ---- */

Gsasl *sasl_library_new(struct sasl_authority *authority)
{
	Gsasl *library = NULL;

	/* It fails for want of memory only. */
	if (gsasl_init(&library) != GSASL_OK)
		abort();
	gsasl_callback_set(library, library_callback);
	gsasl_callback_hook_set(library, authority);
	return library;
}

int sasl_library_start(struct sasl_server *server)
{
	int rc = gsasl_server_start(
		server->authority->library, server->mechanism->name, &server->session);

	if (rc != GSASL_OK) {
		server->session = NULL;
		return ERR_UNAVAILABLE;
	}
	gsasl_session_hook_set(server->session, server);
	return 0;
}

static enum sasl_step result_of(struct sasl_server *server, int rc)
{
	if (server->is_unavailable)
		return SASL_UNAVAILABLE;
	switch (rc) {
	case GSASL_OK:
		/* Nobody's keys are random; all the same, they never let anyone in. */
		return server->has_keys && !server->is_known ? SASL_FAILED : SASL_DONE;
	case GSASL_NEEDS_MORE:
		return SASL_CONTINUE;
	case GSASL_MALLOC_ERROR:
	case GSASL_CRYPTO_ERROR:
	case GSASL_GSSAPI_ACQUIRE_CRED_ERROR:
		return SASL_UNAVAILABLE;
	case GSASL_MECHANISM_PARSE_ERROR:
	case GSASL_BASE64_ERROR:
	case GSASL_SASLPREP_ERROR:
		return SASL_MALFORMED;
	default:
		return SASL_FAILED;
	}
}

enum sasl_step sasl_library_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge)
{
	char *output = NULL;
	size_t output_size = 0;
	enum sasl_step step;
	int rc;

	if (server->is_proven)
		return input.len == 0 ? SASL_DONE : SASL_MALFORMED;
	/* The library takes an empty message for none, and would ask again. */
	if (!server->has_begun && input.len == 0 && !server->mechanism->begins_empty)
		return SASL_MALFORMED;
	server->has_begun = true;
	rc = gsasl_step(server->session, (const char *)input.ptr, input.len, &output, &output_size);
	step = result_of(server, rc);
	/* IMAP has no place for last words with the OK: they are one more challenge (RFC 3501). */
	if (step == SASL_DONE && output_size > 0) {
		server->is_proven = true;
		step = SASL_CONTINUE;
	}
	if (step == SASL_CONTINUE)
		buffer_append(challenge, output, output_size);
	gsasl_free(output);
	return step;
}
