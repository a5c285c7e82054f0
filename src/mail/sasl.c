#include "mail/sasl.h"

#include "base/mem.h"
#include "base/random.h"
#include "mail/sasl_prepare.h"
#include "mail/sasl_private.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#define UNKNOWN_SALT_SIZE 16 /* as credentials_make() makes them */

static enum sasl_step login_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge);

/* The strongest first: clients tend to take the first one they know. */
static const struct sasl_mechanism mechanisms[] = {
	{ "EXTERNAL", SASL_NEEDS_CERTIFICATE, 0, false, true, sasl_library_step },
	{ "GSSAPI", SASL_NEEDS_GSSAPI, 0, false, false, sasl_library_step },
	{ "SCRAM-SHA-256-PLUS", SASL_NEEDS_BINDING, SCRAM_SHA_256, false, false,
		sasl_library_step },
	{ "SCRAM-SHA-256", 0, SCRAM_SHA_256, false, false, sasl_library_step },
	{ "SCRAM-SHA-1-PLUS", SASL_NEEDS_BINDING | SASL_NEEDS_SHA_1, SCRAM_SHA_1, false, false,
		sasl_library_step },
	{ "SCRAM-SHA-1", SASL_NEEDS_SHA_1, SCRAM_SHA_1, false, false, sasl_library_step },
	{ "OAUTHBEARER", SASL_NEEDS_PRIVACY | SASL_NEEDS_TOKENS, 0, false, false,
		sasl_oauthbearer_step },
	{ "XOAUTH2", SASL_NEEDS_PRIVACY | SASL_NEEDS_TOKENS, 0, false, false, sasl_xoauth2_step },
	{ "PLAIN", SASL_NEEDS_PRIVACY, 0, false, false, sasl_library_step },
	{ "LOGIN", SASL_NEEDS_PRIVACY, 0, true, false, login_step },
};

#define MECHANISM_COUNT (sizeof(mechanisms) / sizeof(mechanisms[0]))

/* ---- What all sessions share ---- */

static char *string_copy(const char *text)
{
	return text != NULL ? mem_strdup(text) : NULL;
}

struct sasl_authority *sasl_authority_new(const struct sasl_options *options)
{
	struct sasl_authority *authority = mem_zalloc(sizeof(*authority));

	authority->options = *options;
	authority->mechanisms = string_copy(options->mechanisms);
	authority->token_scope = string_copy(options->token_scope);
	authority->gssapi_host = string_copy(options->gssapi_host);
	authority->gssapi_realm = string_copy(options->gssapi_realm);
	if (options->secret.len > 0)
		buffer_append_bytes(&authority->secret, options->secret);
	else
		random_bytes(buffer_extend(&authority->secret, SCRAM_KEY_SIZE), SCRAM_KEY_SIZE);
	authority->options.secret = buffer_bytes(&authority->secret);
	authority->library = sasl_library_new(authority);
	return authority;
}

void sasl_authority_free(struct sasl_authority **authority)
{
	struct sasl_authority *old = *authority;

	*authority = NULL;
	if (old == NULL)
		return;
	gsasl_done(old->library);
	OPENSSL_cleanse(old->secret.data, old->secret.len);
	buffer_deinit(&old->secret);
	free(old->mechanisms);
	free(old->token_scope);
	free(old->gssapi_host);
	free(old->gssapi_realm);
	free(old);
}

/* ---- Names and passwords ---- */

static void unknown_salt(
	struct sasl_authority *authority, struct bytes name, unsigned char salt_r[SCRAM_KEY_SIZE])
{
	password_hmac(authority->options.secret, name, salt_r);
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
		unknown_salt(authority, name, salt);
		scram_keys_derive(SCRAM_SHA_256, password, bytes_of(salt, UNKNOWN_SALT_SIZE),
			wanted.scram_iteration_count, &keys);
		OPENSSL_cleanse(&keys, sizeof(keys));
		return;
	}
	credentials_make(password, &wanted, &blob, NULL);
	buffer_deinit(&blob);
}

bool sasl_is_reserved(const struct sasl_authority *authority, struct bytes name)
{
	const struct sasl_options *options = &authority->options;

	return options->is_reserved != NULL && options->is_reserved(options->context, name);
}

static int elsewhere_check(
	struct sasl_authority *authority, struct bytes name, struct bytes password)
{
	const struct sasl_options *options = &authority->options;

	if (options->password_check != NULL && !sasl_is_reserved(authority, name))
		return options->password_check(options->context, name, password);
	unknown_check(authority, name, password);
	return ERR_REFUSED;
}

enum sasl_step sasl_name_check(
	struct sasl_authority *authority, struct bytes name, struct bytes password)
{
	struct buffer blob = { 0 };
	int rc;

	if (password.len > PASSWORD_SIZE_MAX)
		return SASL_FAILED;
	rc = authority->options.lookup(authority->options.context, name, &blob);
	if (rc == 0)
		rc = password_cache_check(
			authority->options.cache, name, buffer_bytes(&blob), password);
	else if (rc == ERR_NOT_FOUND)
		rc = elsewhere_check(authority, name, password);
	buffer_deinit(&blob);
	if (rc == 0)
		return SASL_DONE;
	return rc == ERR_REFUSED ? SASL_FAILED : SASL_UNAVAILABLE;
}

enum sasl_step sasl_password_check(
	struct sasl_authority *authority, struct bytes name, struct bytes password)
{
	struct buffer prepared = { 0 };
	enum sasl_step step = SASL_FAILED;

	if (name.len <= SASL_NAME_SIZE_MAX && sasl_prepare(name, &prepared) == 0)
		step = sasl_name_check(authority, buffer_bytes(&prepared), password);
	buffer_deinit(&prepared);
	return step;
}

/* Nobody's keys: random, so that no proof fits, with the salt and count that would be expected. */
static void unknown_keys(struct sasl_authority *authority, struct bytes name, enum scram_hash hash,
	struct scram_keys *keys_r)
{
	const struct password_parameters *parameters = &authority->options.parameters;
	unsigned count = hash == SCRAM_SHA_1 ? parameters->scram_sha_1_iteration_count
					     : parameters->scram_iteration_count;
	unsigned char salt[SCRAM_KEY_SIZE];

	*keys_r = (struct scram_keys){ .hash = hash, .salt_size = UNKNOWN_SALT_SIZE };
	unknown_salt(authority, name, salt);
	/* Two hashes have two salts, as those of a known account have. */
	memcpy(keys_r->salt, salt + (hash == SCRAM_SHA_1 ? UNKNOWN_SALT_SIZE : 0),
		UNKNOWN_SALT_SIZE);
	keys_r->iteration_count = count > 0 ? count : SCRAM_ITERATION_COUNT_MIN;
	random_bytes(keys_r->stored_key, SCRAM_KEY_SIZE);
	random_bytes(keys_r->server_key, SCRAM_KEY_SIZE);
}

int sasl_scram_keys(struct sasl_authority *authority, struct bytes name, enum scram_hash hash,
	struct scram_keys *keys_r, bool *is_known_r)
{
	struct buffer blob = { 0 };
	int rc = authority->options.lookup(authority->options.context, name, &blob);

	if (rc == 0)
		rc = credentials_scram(buffer_bytes(&blob), hash, keys_r);
	buffer_deinit(&blob);
	*is_known_r = rc == 0;
	if (rc != ERR_NOT_FOUND)
		return rc;
	unknown_keys(authority, name, hash, keys_r);
	return 0;
}

/* ---- What is offered ---- */

static bool list_has(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (; *list != '\0'; list += strspn(list, " ")) {
		size_t word_len = strcspn(list, " ");

		if (word_len == len && strncasecmp(list, name, len) == 0)
			return true;
		list += word_len;
	}
	return false;
}

static bool is_offered(const struct sasl_authority *authority, const struct sasl_channel *channel,
	const struct sasl_mechanism *mechanism)
{
	const struct sasl_options *options = &authority->options;
	unsigned had = 0;

	if (channel->is_private)
		had |= SASL_NEEDS_PRIVACY;
	if (channel->binding != NULL)
		had |= SASL_NEEDS_BINDING;
	if (options->parameters.scram_sha_1_iteration_count > 0)
		had |= SASL_NEEDS_SHA_1;
	if (channel->certificate_name.len > 0)
		had |= SASL_NEEDS_CERTIFICATE;
	if (authority->gssapi_host != NULL && authority->gssapi_realm != NULL)
		had |= SASL_NEEDS_GSSAPI;
	if (options->token_check != NULL)
		had |= SASL_NEEDS_TOKENS;
	return (mechanism->needs & ~had) == 0 &&
	       (authority->mechanisms == NULL || list_has(authority->mechanisms, mechanism->name));
}

bool sasl_binding_is_offered(const struct sasl_server *server)
{
	for (size_t i = 0; i < MECHANISM_COUNT; i++)
		if ((mechanisms[i].needs & SASL_NEEDS_BINDING) != 0 &&
			mechanisms[i].hash == server->mechanism->hash)
			return is_offered(server->authority, server->channel, &mechanisms[i]);
	return false;
}

void sasl_mechanisms(const struct sasl_authority *authority, const struct sasl_channel *channel,
	const char *separator, struct buffer *out)
{
	for (size_t i = 0; i < MECHANISM_COUNT; i++)
		if (is_offered(authority, channel, &mechanisms[i])) {
			buffer_append_string(out, separator);
			buffer_append_string(out, mechanisms[i].name);
		}
}

/* ---- One session ---- */

static const struct sasl_mechanism *mechanism_find(const struct sasl_authority *authority,
	const struct sasl_channel *channel, struct bytes name)
{
	for (size_t i = 0; i < MECHANISM_COUNT; i++)
		if (bytes_equal_string_nocase(name, mechanisms[i].name))
			return is_offered(authority, channel, &mechanisms[i]) ? &mechanisms[i]
									      : NULL;
	return NULL;
}

int sasl_server_new(struct sasl_authority *authority, struct bytes mechanism,
	const struct sasl_channel *channel, struct sasl_server **server_r)
{
	const struct sasl_mechanism *row = mechanism_find(authority, channel, mechanism);
	struct sasl_server *server;
	int rc = 0;

	if (row == NULL)
		return ERR_NOT_FOUND;
	server = mem_zalloc(sizeof(*server));
	server->authority = authority;
	server->channel = channel;
	server->mechanism = row;
	if (row->step == sasl_library_step)
		rc = sasl_library_start(server);
	if (rc < 0)
		sasl_server_free(&server);
	else
		*server_r = server;
	return rc;
}

void sasl_server_free(struct sasl_server **server)
{
	struct sasl_server *old = *server;

	*server = NULL;
	if (old == NULL)
		return;
	if (old->session != NULL)
		gsasl_finish(old->session);
	buffer_deinit(&old->authcid);
	buffer_deinit(&old->authzid);
	OPENSSL_cleanse(&old->keys, sizeof(old->keys));
	free(old);
}

enum sasl_step sasl_server_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge)
{
	enum sasl_step step;

	assert(!server->is_over);
	if (input.len > SASL_MESSAGE_SIZE_MAX || server->step_count >= SASL_STEP_COUNT_MAX)
		step = SASL_MALFORMED;
	else if (input.ptr == NULL && server->step_count == 0 && !server->mechanism->has_prompt)
		step = SASL_CONTINUE; /* an empty challenge asks for the initial response */
	else
		step = server->mechanism->step(server, input, challenge);
	server->step_count++;
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

bool sasl_server_is_guess(const struct sasl_server *server)
{
	return (server->mechanism->needs &
		       (SASL_NEEDS_TOKENS | SASL_NEEDS_CERTIFICATE | SASL_NEEDS_GSSAPI)) == 0;
}

bool sasl_server_takes_initial(const struct sasl_server *server)
{
	return !server->mechanism->has_prompt;
}

const char *sasl_server_mechanism(const struct sasl_server *server)
{
	return server->mechanism->name;
}

/* draft-murchison-sasl-login: the prompts are what old clients expect to the letter. */
static enum sasl_step login_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge)
{
	if (input.ptr == NULL && server->step_count == 0) {
		buffer_append_string(challenge, "Username:");
		return SASL_CONTINUE;
	}
	if (server->authcid.len == 0) {
		if (input.len > SASL_NAME_SIZE_MAX || sasl_prepare(input, &server->authcid) < 0)
			return SASL_MALFORMED;
		buffer_append_string(challenge, "Password:");
		return SASL_CONTINUE;
	}
	return sasl_name_check(server->authority, buffer_bytes(&server->authcid), input);
}
