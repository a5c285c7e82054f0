#include "mail/sasl.h"

#include "base/mem.h"
#include "base/random.h"
#include "mail/sasl_prepare.h"
#include "mail/sasl_private.h"

#include <openssl/crypto.h>
#include <stdlib.h>

static enum sasl_step plain_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge);
static enum sasl_step login_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge);

/* The stronger first: clients tend to take the first one they know. */
static const struct sasl_mechanism mechanisms[] = {
	{ "SCRAM-SHA-256", false, sasl_scram_step },
	{ "PLAIN", true, plain_step },
	{ "LOGIN", true, login_step },
};

#define MECHANISM_COUNT (sizeof(mechanisms) / sizeof(mechanisms[0]))

const char *sasl_mechanisms(bool allows_plaintext)
{
	return allows_plaintext ? "SCRAM-SHA-256 PLAIN LOGIN" : "SCRAM-SHA-256";
}

/* ---- What all sessions share ---- */

struct sasl_authority *sasl_authority_new(const struct sasl_options *options)
{
	struct sasl_authority *authority = mem_zalloc(sizeof(*authority));

	authority->options = *options;
	if (options->nonce != NULL)
		authority->nonce = mem_strdup(options->nonce);
	if (options->secret.len > 0)
		buffer_append_bytes(&authority->secret, options->secret);
	else
		random_bytes(buffer_extend(&authority->secret, SCRAM_KEY_SIZE), SCRAM_KEY_SIZE);
	authority->options.secret = buffer_bytes(&authority->secret);
	return authority;
}

void sasl_authority_free(struct sasl_authority **authority)
{
	struct sasl_authority *old = *authority;

	*authority = NULL;
	if (old == NULL)
		return;
	OPENSSL_cleanse(old->secret.data, old->secret.len);
	buffer_deinit(&old->secret);
	free(old->nonce);
	free(old);
}

void sasl_unknown_salt(
	struct sasl_authority *authority, struct bytes name, unsigned char salt_r[SCRAM_KEY_SIZE])
{
	scram_hmac(authority->options.secret, name, salt_r);
}

/* As much work as for an account that there is. */
static void unknown_check(
	struct sasl_authority *authority, struct bytes name, struct bytes password)
{
	const struct password_parameters *parameters = &authority->options.parameters;
	struct password_parameters wanted = *parameters;
	struct buffer blob = { 0 };
	unsigned char salt[SCRAM_KEY_SIZE];
	struct scram_keys keys;

	if (wanted.scram_iteration_count > 0) {
		sasl_unknown_salt(authority, name, salt);
		scram_keys_derive(
			password, bytes_of(salt, 16), wanted.scram_iteration_count, &keys, NULL);
		OPENSSL_cleanse(&keys, sizeof(keys));
		return;
	}
	credentials_make(password, &wanted, &blob, NULL);
	buffer_deinit(&blob);
}

/* `name` is prepared. */
static enum sasl_step name_check(
	struct sasl_authority *authority, struct bytes name, struct bytes password)
{
	struct buffer blob = { 0 };
	enum sasl_step step = SASL_FAILED;
	int rc;

	if (password.len > PASSWORD_SIZE_MAX)
		return SASL_FAILED;
	rc = authority->options.lookup(authority->options.context, name, &blob);
	if (rc == ERR_NOT_FOUND) {
		unknown_check(authority, name, password);
		return SASL_FAILED;
	}
	if (rc == 0)
		rc = password_cache_check(
			authority->options.cache, name, buffer_bytes(&blob), password);
	if (rc == 0)
		step = SASL_DONE;
	else if (rc != ERR_REFUSED)
		step = SASL_UNAVAILABLE;
	buffer_deinit(&blob);
	return step;
}

enum sasl_step sasl_password_check(
	struct sasl_authority *authority, struct bytes name, struct bytes password)
{
	struct buffer prepared = { 0 };
	enum sasl_step step = SASL_FAILED;

	if (name.len <= SASL_NAME_SIZE_MAX && sasl_prepare(name, &prepared) == 0)
		step = name_check(authority, buffer_bytes(&prepared), password);
	buffer_deinit(&prepared);
	return step;
}

/* ---- One session ---- */

int sasl_server_new(struct sasl_authority *authority, struct bytes mechanism, bool allows_plaintext,
	struct sasl_server **server_r)
{
	for (size_t i = 0; i < MECHANISM_COUNT; i++) {
		struct sasl_server *server;

		if (!bytes_equal_string_nocase(mechanism, mechanisms[i].name) ||
			(mechanisms[i].shows_password && !allows_plaintext))
			continue;
		server = mem_zalloc(sizeof(*server));
		server->authority = authority;
		server->mechanism = &mechanisms[i];
		*server_r = server;
		return 0;
	}
	return ERR_NOT_FOUND;
}

void sasl_server_free(struct sasl_server **server)
{
	struct sasl_server *old = *server;

	*server = NULL;
	if (old == NULL)
		return;
	buffer_deinit(&old->authcid);
	buffer_deinit(&old->authzid);
	sasl_scram_deinit(&old->scram);
	OPENSSL_cleanse(&old->scram, sizeof(old->scram));
	free(old);
}

enum sasl_step sasl_server_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge)
{
	enum sasl_step step;

	assert(!server->is_over);
	if (input.len > SASL_MESSAGE_SIZE_MAX)
		step = SASL_MALFORMED;
	else if (input.ptr == NULL && server->step_index == 0 &&
		 server->mechanism->step != login_step)
		return SASL_CONTINUE; /* an empty challenge asks for the initial response */
	else
		step = server->mechanism->step(server, input, challenge);
	server->step_index++;
	server->is_over = step != SASL_CONTINUE;
	return step;
}

struct bytes sasl_server_authcid(const struct sasl_server *server)
{
	return buffer_bytes(&server->authcid);
}

struct bytes sasl_server_authzid(const struct sasl_server *server)
{
	return buffer_bytes(&server->authzid);
}

/* RFC 4616: [authzid] NUL authcid NUL password. */
static enum sasl_step plain_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge)
{
	struct bytes authzid, authcid;
	size_t len;

	(void)challenge;
	len = bytes_find(input, '\0');
	if (len == input.len || len > SASL_NAME_SIZE_MAX)
		return SASL_MALFORMED;
	authzid = bytes_take(&input, len);
	bytes_skip(&input, 1);
	len = bytes_find(input, '\0');
	if (len == input.len || len > SASL_NAME_SIZE_MAX)
		return SASL_MALFORMED;
	authcid = bytes_take(&input, len);
	bytes_skip(&input, 1);
	if (bytes_find(input, '\0') != input.len || input.len == 0)
		return SASL_MALFORMED;
	if (authzid.len > 0 && sasl_prepare(authzid, &server->authzid) < 0)
		return SASL_MALFORMED;
	if (sasl_prepare(authcid, &server->authcid) < 0)
		return SASL_MALFORMED;
	return name_check(server->authority, buffer_bytes(&server->authcid), input);
}

/* draft-murchison-sasl-login: the prompts are what old clients expect to the letter. */
static enum sasl_step login_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge)
{
	if (server->step_index == 0 && input.ptr == NULL) {
		buffer_append_string(challenge, "Username:");
		return SASL_CONTINUE;
	}
	if (server->authcid.len == 0) {
		if (input.len > SASL_NAME_SIZE_MAX || sasl_prepare(input, &server->authcid) < 0)
			return SASL_MALFORMED;
		buffer_append_string(challenge, "Password:");
		return SASL_CONTINUE;
	}
	return name_check(server->authority, buffer_bytes(&server->authcid), input);
}
