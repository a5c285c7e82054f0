/*
 * The client's side, by GNU SASL. The costly part of SCRAM, and the decision how much of it a
 * server may ask for, stay here.
 */
#include "base/encode.h"
#include "base/mem.h"
#include "mail/sasl_prepare.h"
#include "mail/sasl_private.h"

#include <openssl/crypto.h>
#include <stdlib.h>

struct sasl_client {
	Gsasl *library;
	Gsasl_session *session;
	enum scram_hash hash;
	struct buffer authzid, authcid, password, binding; /* prepared; the last in base64 */
	bool is_overcharged; /* the server asks for a salt or count that is out of bounds */
	bool is_done, is_failed;
};

static bool count_parse(const char *text, unsigned *count_r)
{
	char *end;
	unsigned long count = strtoul(text, &end, 10);

	*count_r = (unsigned)count;
	return *end == '\0' && count >= SCRAM_ITERATION_COUNT_MIN &&
	       count <= SCRAM_ITERATION_COUNT_MAX;
}

/* Asked for before GSASL_PASSWORD, which it makes needless. */
static int salted_password(struct sasl_client *client, Gsasl_session *session)
{
	const char *count_text = gsasl_property_fast(session, GSASL_SCRAM_ITER);
	const char *salt_text = gsasl_property_fast(session, GSASL_SCRAM_SALT);
	unsigned char salted[SCRAM_KEY_SIZE];
	struct buffer salt = { 0 }, hex = { 0 };
	unsigned count;
	int rc = GSASL_AUTHENTICATION_ERROR;

	client->is_overcharged = count_text == NULL || salt_text == NULL ||
				 !count_parse(count_text, &count) ||
				 decode_base64(&salt, bytes_of_string(salt_text)) < 0 ||
				 salt.len == 0 || salt.len > SCRAM_SALT_SIZE_MAX;
	if (!client->is_overcharged) {
		scram_salted_password(client->hash, buffer_bytes(&client->password),
			buffer_bytes(&salt), count, salted);
		encode_hex(&hex, bytes_of(salted, scram_key_size(client->hash)));
		rc = gsasl_property_set(session, GSASL_SCRAM_SALTED_PASSWORD, buffer_string(&hex));
		OPENSSL_cleanse(salted, sizeof(salted));
		OPENSSL_cleanse(hex.data, hex.len);
	}
	buffer_deinit(&salt);
	buffer_deinit(&hex);
	return rc;
}

static int property_give(Gsasl_session *session, Gsasl_property name, const struct buffer *value)
{
	if (value->len == 0)
		return GSASL_NO_CALLBACK;
	return gsasl_property_set(session, name, buffer_string(value));
}

static int client_callback(Gsasl *library, Gsasl_session *session, Gsasl_property name)
{
	struct sasl_client *client = gsasl_callback_hook_get(library);

	switch (name) {
	case GSASL_AUTHID:
		return property_give(session, name, &client->authcid);
	case GSASL_AUTHZID:
		return property_give(session, name, &client->authzid);
	case GSASL_SCRAM_SALTED_PASSWORD:
		return salted_password(client, session);
	case GSASL_PASSWORD:
		return client->is_overcharged ? GSASL_NO_CALLBACK
					      : property_give(session, name, &client->password);
	case GSASL_CB_TLS_EXPORTER: /* asked for without -PLUS too, and then not wanted */
		return property_give(session, name, &client->binding);
	default:
		return GSASL_NO_CALLBACK;
	}
}

static bool is_known(const char *mechanism)
{
	static const char *const names[] = { "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS",
		"SCRAM-SHA-1", "EXTERNAL" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(mechanism, names[i]) == 0)
			return true;
	return false;
}

static int prepare(const char *text, struct buffer *out)
{
	if (text == NULL || text[0] == '\0')
		return 0;
	buffer_reserve(out, strlen(text) + 1);
	return sasl_prepare(bytes_of_string(text), out);
}

int sasl_client_new(const struct sasl_client_options *options, struct sasl_client **client_r)
{
	struct sasl_client *client;
	int rc;

	if (!is_known(options->mechanism))
		return ERR_NOT_FOUND;
	client = mem_zalloc(sizeof(*client));
	client->hash = strcmp(options->mechanism, "SCRAM-SHA-1") == 0 ? SCRAM_SHA_1 : SCRAM_SHA_256;
	if (strcmp(options->mechanism, "SCRAM-SHA-256-PLUS") == 0)
		encode_base64(&client->binding, options->binding);
	rc = prepare(options->authzid, &client->authzid);
	if (rc == 0)
		rc = prepare(options->authcid, &client->authcid);
	if (rc == 0)
		rc = prepare(options->password, &client->password);
	if (rc == 0 && gsasl_init(&client->library) != GSASL_OK)
		abort();
	if (rc == 0) {
		gsasl_callback_set(client->library, client_callback);
		gsasl_callback_hook_set(client->library, client);
		if (gsasl_client_start(client->library, options->mechanism, &client->session) !=
			GSASL_OK)
			rc = ERR_INVALID;
	}
	if (rc < 0)
		sasl_client_free(&client);
	else
		*client_r = client;
	return rc;
}

void sasl_client_free(struct sasl_client **client)
{
	struct sasl_client *old = *client;

	*client = NULL;
	if (old == NULL)
		return;
	if (old->session != NULL)
		gsasl_finish(old->session);
	if (old->library != NULL)
		gsasl_done(old->library);
	if (old->password.data != NULL)
		OPENSSL_cleanse(old->password.data, old->password.len);
	buffer_deinit(&old->authzid);
	buffer_deinit(&old->authcid);
	buffer_deinit(&old->password);
	buffer_deinit(&old->binding);
	free(old);
}

int sasl_client_step(struct sasl_client *client, struct bytes challenge, struct buffer *response)
{
	char *output = NULL;
	size_t output_size = 0;
	int rc;

	if (client->is_failed || client->is_done || challenge.len > SASL_MESSAGE_SIZE_MAX)
		return ERR_INVALID;
	rc = gsasl_step(
		client->session, (const char *)challenge.ptr, challenge.len, &output, &output_size);
	client->is_done = rc == GSASL_OK;
	client->is_failed = rc != GSASL_OK && rc != GSASL_NEEDS_MORE;
	if (!client->is_failed)
		buffer_append(response, output, output_size);
	gsasl_free(output);
	if (!client->is_failed)
		return 0;
	return rc == GSASL_AUTHENTICATION_ERROR && !client->is_overcharged ? ERR_REFUSED
									   : ERR_INVALID;
}

bool sasl_client_is_done(const struct sasl_client *client)
{
	return client->is_done;
}
