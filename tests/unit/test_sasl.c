#include "base/encode.h"
#include "mail/sasl.h"
#include "mail/sasl_prepare.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>

#include <cmocka.h>

#define NONCE "rOprNGfwEbeRWgbNEkqO"
#define CLIENT_FIRST "n,,n=user,r=" NONCE

struct fixture {
	struct buffer blob; /* of "user" */
	struct sasl_authority *authority;
	struct password_cache *cache;
	int lookup_result; /* of every lookup, if not 0 */
};

static int lookup(void *context, struct bytes name, struct buffer *blob)
{
	struct fixture *fixture = context;

	if (fixture->lookup_result != 0)
		return fixture->lookup_result;
	if (!bytes_equal_string(name, "user"))
		return ERR_NOT_FOUND;
	buffer_append_bytes(blob, buffer_bytes(&fixture->blob));
	return 0;
}

/* "extern" is known elsewhere, and so is somebody who is called as a node is. */
static int password_check(void *context, struct bytes name, struct bytes password)
{
	struct fixture *fixture = context;

	if (fixture->lookup_result != 0)
		return fixture->lookup_result;
	return (bytes_equal_string(name, "extern") || bytes_equal_string(name, "node")) &&
			       bytes_equal_string(password, "pencil")
		       ? 0
		       : ERR_REFUSED;
}

static bool is_reserved(void *context, struct bytes name)
{
	(void)context;
	return bytes_equal_string(name, "node");
}

/* The token is the name. */
static int token_check(void *context, struct bytes token, struct buffer *name)
{
	(void)context;
	if (bytes_equal_string(token, "later"))
		return ERR_UNAVAILABLE;
	if (!bytes_equal_string(token, "user") && !bytes_equal_string(token, "node"))
		return ERR_REFUSED;
	buffer_append_bytes(name, token);
	return 0;
}

static int binding(void *context, const char *type, struct buffer *out)
{
	(void)context;
	if (strcmp(type, "tls-exporter") != 0)
		return ERR_NOT_FOUND;
	buffer_append_string(out, "what names this connection only");
	return 0;
}

static const struct sasl_channel private_channel = { .is_private = true };
static const struct sasl_channel open_channel;
static const struct sasl_channel tls_channel = { .is_private = true, .binding = binding };

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct sasl_options options = { .lookup = lookup,
		.context = fixture,
		.password_check = password_check,
		.is_reserved = is_reserved,
		.token_check = token_check,
		.token_scope = "mail",
		.parameters = password_parameters_cheap() };

	options.parameters.scram_sha_1_iteration_count = SCRAM_ITERATION_COUNT_MIN;
	fixture->cache = password_cache_new(100, 60);
	options.cache = fixture->cache;
	assert_int_equal(credentials_make(BYTES_LITERAL("pencil"), &options.parameters,
				 &fixture->blob, NULL),
		0);
	fixture->authority = sasl_authority_new(&options);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	sasl_authority_free(&fixture->authority);
	password_cache_free(&fixture->cache);
	buffer_deinit(&fixture->blob);
	free(fixture);
	return 0;
}

static struct sasl_server *server_new_on(
	struct fixture *fixture, const char *mechanism, const struct sasl_channel *channel)
{
	struct sasl_server *server;

	assert_int_equal(
		sasl_server_new(fixture->authority, bytes_of_string(mechanism), channel, &server),
		0);
	return server;
}

static struct sasl_server *server_new(struct fixture *fixture, const char *mechanism)
{
	return server_new_on(fixture, mechanism, &private_channel);
}

/* One step; `challenge` is what must come, or NULL. The input lies in a block of its exact size. */
static enum sasl_step step(struct sasl_server *server, struct bytes input, const char *challenge)
{
	struct buffer out = { 0 };
	unsigned char *copy = malloc(input.len > 0 ? input.len : 1);
	enum sasl_step result;

	if (input.len > 0)
		memcpy(copy, input.ptr, input.len);
	result = sasl_server_step(
		server, bytes_of(input.ptr != NULL ? copy : NULL, input.len), &out);
	if (challenge != NULL)
		assert_string_equal(buffer_string(&out), challenge);
	free(copy);
	buffer_deinit(&out);
	return result;
}

static enum sasl_step step_text(
	struct sasl_server *server, const char *input, const char *challenge)
{
	return step(server, bytes_of_string(input), challenge);
}

/* RFC 7677, section 3, and RFC 5802, section 5: from the password to what the client proves. */
static void keys_are_those_of_the_rfcs(void **state)
{
	static const struct {
		enum scram_hash hash;
		const char *salt, *message, *server_signature;
	} rows[] = {
		{ SCRAM_SHA_256, "W22ZaJ0SNY7soEsUEjb6gQ==",
			"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO"
			"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
			"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
			"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" },
		{ SCRAM_SHA_1, "QSXCR+Q6sek8bf92",
			"n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL"
			"3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,"
			"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
			"rmF9pqV8S7suAoZWja4dJRkFsKQ=" },
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		size_t size = scram_key_size(rows[i].hash);
		unsigned char mac[SCRAM_KEY_SIZE];
		struct buffer salt = { 0 }, text = { 0 };
		struct scram_keys keys;

		assert_int_equal(decode_base64(&salt, bytes_of_string(rows[i].salt)), 0);
		scram_keys_derive(
			rows[i].hash, BYTES_LITERAL("pencil"), buffer_bytes(&salt), 4096, &keys);
		assert_non_null(HMAC(rows[i].hash == SCRAM_SHA_1 ? EVP_sha1() : EVP_sha256(),
			keys.server_key, (int)size, (const unsigned char *)rows[i].message,
			strlen(rows[i].message), mac, NULL));
		encode_base64(&text, bytes_of(mac, size));
		assert_string_equal(buffer_string(&text), rows[i].server_signature);
		buffer_deinit(&salt);
		buffer_deinit(&text);
	}
}

/* What a client of ours answers to `first` from the server. */
static int client_answer(const char *mechanism, const char *first, const char *final)
{
	struct sasl_client_options options = {
		.mechanism = mechanism, .authcid = "user", .password = "pencil"
	};
	struct buffer out = { 0 }, challenge = { 0 };
	struct sasl_client *client;
	int rc;

	assert_int_equal(sasl_client_new(&options, &client), 0);
	assert_int_equal(sasl_client_step(client, BYTES_LITERAL(""), &out), 0);
	/* The client's nonce is at its end. */
	buffer_printf(&challenge, first, strstr(buffer_string(&out), "r=") + 2);
	rc = sasl_client_step(client, buffer_bytes(&challenge), &out);
	if (final != NULL)
		rc = sasl_client_step(client, bytes_of_string(final), &out);
	assert_false(sasl_client_is_done(client));
	sasl_client_free(&client);
	buffer_deinit(&out);
	buffer_deinit(&challenge);
	return rc;
}

static void a_server_that_does_not_know_the_password_is_not_believed(void **state)
{
	static const char good[] = "r=%sx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

	(void)state;
	assert_int_equal(client_answer("SCRAM-SHA-256", good, NULL), 0);
	assert_int_equal(client_answer("SCRAM-SHA-256", good,
				 "v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
		ERR_REFUSED);
	assert_true(client_answer("SCRAM-SHA-256", good, "e=invalid-proof") < 0);
	assert_true(client_answer("SCRAM-SHA-256", good, "") < 0);
	/* fewer iterations than are safe, more than we do, none */
	assert_int_equal(
		client_answer("SCRAM-SHA-256", "r=%sx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1", NULL),
		ERR_INVALID);
	assert_int_equal(
		client_answer("SCRAM-SHA-256", "r=%sx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=9999999", NULL),
		ERR_INVALID);
	assert_int_equal(client_answer("SCRAM-SHA-256", "r=%sx,s=W22ZaJ0SNY7soEsUEjb6gQ==", NULL),
		ERR_INVALID);
	/* a nonce that is not ours */
	assert_true(client_answer(
			    "SCRAM-SHA-256", "r=a%s,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", NULL) < 0);
}

static void malformed_first_messages_are_told_from_wrong_ones(void **state)
{
	static const char *const firsts[] = {
		"n", "n,", "n,,", "n,,n=user", "n,,r=abc", "n,,n=,r=abc",
		"n,,n=user,r=", "n,x=1,n=user,r=abc",
		"n,,m=must,n=user,r=abc", /* an extension that must be understood */
	};

	for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
		struct sasl_server *server = server_new(*state, "SCRAM-SHA-256");

		assert_int_equal(step_text(server, firsts[i], ""), SASL_MALFORMED);
		sasl_server_free(&server);
	}
}

/* After a good first message nothing but the proof lets anyone in. */
static void a_final_message_that_is_not_the_proof_fails(void **state)
{
	static const char *const finals[] = {
		"", "c=biws", "c=biws,r=%s",
		"c=eSws,r=%s,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",  /* another header */
		"c=biws,r=%sx,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", /* another nonce */
		"c=biws,r=%s,p=dHzb",                                          /* too short */
		"c=biws,r=%s,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",  /* wrong */
	};

	for (size_t i = 0; i < sizeof(finals) / sizeof(finals[0]); i++) {
		struct sasl_server *server = server_new(*state, "SCRAM-SHA-256");
		struct buffer challenge = { 0 }, final = { 0 };
		enum sasl_step result;
		char *end;

		assert_int_equal(sasl_server_step(server, BYTES_LITERAL(CLIENT_FIRST), &challenge),
			SASL_CONTINUE);
		end = strchr((char *)challenge.data, ',');
		*end = '\0';
		buffer_printf(&final, finals[i], (char *)challenge.data + 2);
		result = step(server, buffer_bytes(&final), "");
		assert_true(result == SASL_MALFORMED || result == SASL_FAILED);
		sasl_server_free(&server);
		buffer_deinit(&challenge);
		buffer_deinit(&final);
	}
}

/* The first server message for `name`, without the nonces. */
static void salt_get(struct fixture *fixture, const char *name, struct buffer *out)
{
	struct sasl_server *server = server_new(fixture, "SCRAM-SHA-256");
	struct buffer first = { 0 };

	buffer_printf(&first, "n,,n=%s,r=abc", name);
	assert_int_equal(sasl_server_step(server, buffer_bytes(&first), out), SASL_CONTINUE);
	buffer_consume(out, bytes_find(buffer_bytes(out), ','));
	sasl_server_free(&server);
	buffer_deinit(&first);
}

static void an_unknown_account_looks_like_any_other(void **state)
{
	struct buffer once = { 0 }, again = { 0 }, other = { 0 }, known = { 0 };

	salt_get(*state, "nobody", &once);
	salt_get(*state, "nobody", &again);
	salt_get(*state, "nobody2", &other);
	salt_get(*state, "user", &known);
	assert_string_equal(buffer_string(&once), buffer_string(&again));
	assert_string_not_equal(buffer_string(&once), buffer_string(&other));
	assert_int_equal(once.len, known.len);
	buffer_deinit(&once);
	buffer_deinit(&again);
	buffer_deinit(&other);
	buffer_deinit(&known);
}

static enum sasl_step plain(struct fixture *fixture, struct bytes message)
{
	struct sasl_server *server = server_new(fixture, "plain");
	enum sasl_step result = step(server, message, "");

	sasl_server_free(&server);
	return result;
}

static void plain_takes_the_right_password_only(void **state)
{
	struct fixture *fixture = *state;
	static const struct {
		struct bytes message;
		enum sasl_step expected;
	} rows[] = {
		{ BYTES_LITERAL("\0user\0pencil"), SASL_DONE },
		{ BYTES_LITERAL("\0user\0pencil"), SASL_DONE }, /* now from the cache */
		{ BYTES_LITERAL("\0user\0pencil2"), SASL_FAILED },
		{ BYTES_LITERAL("\0user\0penci"), SASL_FAILED },
		{ BYTES_LITERAL("\0nobody\0pencil"), SASL_FAILED },
		{ BYTES_LITERAL("\0user\0"), SASL_MALFORMED },
		{ BYTES_LITERAL("\0\0pencil"), SASL_MALFORMED },
		{ BYTES_LITERAL("user\0pencil"), SASL_MALFORMED },
		{ BYTES_LITERAL("\0user\0pencil\0"), SASL_MALFORMED },
		{ BYTES_LITERAL(""), SASL_MALFORMED }, /* it came, and was empty (RFC 4959, 3) */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(plain(fixture, rows[i].message), rows[i].expected);
}

static void plain_tells_whom_the_user_wants_to_be(void **state)
{
	struct sasl_server *server = server_new(*state, "PLAIN");

	assert_int_equal(step(server, BYTES_LITERAL("boss\0user\0pencil"), ""), SASL_DONE);
	assert_true(bytes_equal_string(sasl_server_authcid(server), "user"));
	assert_true(bytes_equal_string(sasl_server_authzid(server), "boss"));
	sasl_server_free(&server);
}

static void login_asks_for_name_and_password(void **state)
{
	struct sasl_server *server = server_new(*state, "LOGIN");

	assert_int_equal(step(server, (struct bytes){ 0 }, "Username:"), SASL_CONTINUE);
	assert_int_equal(step_text(server, "user", "Password:"), SASL_CONTINUE);
	assert_int_equal(step_text(server, "pencil", ""), SASL_DONE);
	sasl_server_free(&server);
	server = server_new(*state, "LOGIN"); /* with an initial response */
	assert_int_equal(step_text(server, "user", "Password:"), SASL_CONTINUE);
	assert_int_equal(step_text(server, "pencils", ""), SASL_FAILED);
	sasl_server_free(&server);
}

static void a_lookup_that_fails_is_not_a_wrong_password(void **state)
{
	struct fixture *fixture = *state;

	fixture->lookup_result = ERR_IO;
	assert_int_equal(plain(fixture, BYTES_LITERAL("\0user\0pencil")), SASL_UNAVAILABLE);
}

static void passwords_are_not_shown_where_that_is_not_allowed(void **state)
{
	struct fixture *fixture = *state;
	struct sasl_server *server;

	assert_int_equal(
		sasl_server_new(fixture->authority, BYTES_LITERAL("PLAIN"), &open_channel, &server),
		ERR_NOT_FOUND);
	assert_int_equal(sasl_server_new(fixture->authority, BYTES_LITERAL("OAUTHBEARER"),
				 &open_channel, &server),
		ERR_NOT_FOUND);
}

static void what_is_offered_is_what_can_work(void **state)
{
	struct sasl_channel certified = tls_channel;
	struct sasl_options less = { .lookup = lookup,
		.context = *state,
		.parameters = password_parameters_cheap(),
		.gssapi_host = "mail.example.org",
		.gssapi_realm = "EXAMPLE.ORG",
		.mechanisms = "scram-sha-256 GSSAPI PLAIN CRAM-MD5" };
	struct sasl_authority *restricted = sasl_authority_new(&less);
	struct fixture *fixture = *state;
	const struct {
		struct sasl_authority *authority;
		const struct sasl_channel *channel;
		const char *expected;
	} rows[] = {
		{ fixture->authority, &open_channel, " SCRAM-SHA-256 SCRAM-SHA-1" },
		{ fixture->authority, &private_channel,
			" SCRAM-SHA-256 SCRAM-SHA-1 OAUTHBEARER XOAUTH2 PLAIN LOGIN" },
		{ fixture->authority, &tls_channel,
			" SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 "
			"OAUTHBEARER XOAUTH2 PLAIN LOGIN" },
		{ fixture->authority, &certified,
			" EXTERNAL SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 "
			"OAUTHBEARER XOAUTH2 PLAIN LOGIN" },
		{ restricted, &open_channel, " GSSAPI SCRAM-SHA-256" },
		{ restricted, &certified, " GSSAPI SCRAM-SHA-256 PLAIN" },
	};

	certified.certificate_name = BYTES_LITERAL("user");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buffer out = { 0 };

		sasl_mechanisms(rows[i].authority, rows[i].channel, " ", &out);
		assert_string_equal(buffer_string(&out), rows[i].expected);
		buffer_deinit(&out);
	}
	sasl_authority_free(&restricted);
}

static void a_certificate_says_who_its_owner_is(void **state)
{
	struct sasl_channel channel = tls_channel;
	struct sasl_server *server;

	channel.certificate_name = BYTES_LITERAL("user");
	server = server_new_on(*state, "EXTERNAL", &channel);
	assert_int_equal(step(server, (struct bytes){ 0 }, ""), SASL_CONTINUE);
	assert_int_equal(step_text(server, "", ""), SASL_DONE);
	assert_true(bytes_equal_string(sasl_server_authcid(server), "user"));
	assert_int_equal(sasl_server_authzid(server).len, 0);
	sasl_server_free(&server);
	server = server_new_on(*state, "EXTERNAL", &channel);
	assert_int_equal(step_text(server, "boss", ""), SASL_DONE);
	assert_true(bytes_equal_string(sasl_server_authzid(server), "boss"));
	sasl_server_free(&server);
	server = server_new_on(*state, "EXTERNAL", &channel);
	assert_int_equal(step(server, BYTES_LITERAL("bo\0ss"), ""), SASL_MALFORMED);
	sasl_server_free(&server);
}

static void tokens_are_taken_in_both_forms(void **state)
{
	static const struct {
		const char *mechanism, *message, *challenge;
		enum sasl_step expected;
	} rows[] = {
		{ "OAUTHBEARER", "n,a=us=2Cer,\1host=h\1port=1\1auth=Bearer user\1\1", "",
			SASL_DONE },
		{ "OAUTHBEARER", "n,,\1auth=bearer  user\1\1", "", SASL_DONE },
		{ "OAUTHBEARER", "n,,\1auth=Bearer bad\1\1",
			"{\"status\":\"invalid_token\",\"schemes\":\"bearer\",\"scope\":\"mail\"}",
			SASL_CONTINUE },
		{ "OAUTHBEARER", "n,,\1auth=Bearer later\1\1", "", SASL_UNAVAILABLE },
		/* a node is known by its own password only */
		{ "OAUTHBEARER", "n,,\1auth=Bearer node\1\1",
			"{\"status\":\"invalid_token\",\"schemes\":\"bearer\",\"scope\":\"mail\"}",
			SASL_CONTINUE },
		{ "OAUTHBEARER", "n,,\1auth=Basic user\1\1", "", SASL_MALFORMED },
		{ "OAUTHBEARER", "n,,\1auth=Bearer user\1", "", SASL_MALFORMED },
		{ "OAUTHBEARER", "n,,\1\1", "", SASL_MALFORMED },
		{ "OAUTHBEARER", "n,,auth=Bearer user\1\1", "", SASL_MALFORMED },
		{ "OAUTHBEARER", "p=x,,\1auth=Bearer user\1\1", "", SASL_MALFORMED },
		{ "OAUTHBEARER", "n,,\1auth=Bearer u\"r\1\1", "", SASL_MALFORMED },
		{ "OAUTHBEARER", "n,,\1auth=Bearer user\1auth=Bearer user\1\1", "",
			SASL_MALFORMED },
		{ "OAUTHBEARER", "", "", SASL_MALFORMED },
		{ "XOAUTH2", "user=user\1auth=Bearer user\1\1", "", SASL_DONE },
		{ "XOAUTH2", "user=user\1auth=Bearer bad\1\1",
			"{\"status\":\"401\",\"schemes\":\"bearer\",\"scope\":\"mail\"}",
			SASL_CONTINUE },
		{ "XOAUTH2", "auth=Bearer user\1\1", "", SASL_MALFORMED },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sasl_server *server = server_new(*state, rows[i].mechanism);

		assert_int_equal(
			step_text(server, rows[i].message, rows[i].challenge), rows[i].expected);
		if (rows[i].expected == SASL_DONE)
			assert_true(bytes_equal_string(sasl_server_authcid(server), "user"));
		/* Whatever the client then says, the login has failed. */
		if (rows[i].expected == SASL_CONTINUE)
			assert_int_equal(step_text(server, "\1", ""), SASL_FAILED);
		sasl_server_free(&server);
	}
}

static void passwords_kept_elsewhere_are_asked_for_there(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(plain(fixture, BYTES_LITERAL("\0extern\0pencil")), SASL_DONE);
	assert_int_equal(plain(fixture, BYTES_LITERAL("\0extern\0pencils")), SASL_FAILED);
	assert_int_equal(plain(fixture, BYTES_LITERAL("\0node\0pencil")), SASL_FAILED);
}

/* Both ends until one is done; `client_binding` is what the client takes the channel for. */
static enum sasl_step converse(struct fixture *fixture, const char *mechanism, const char *password,
	const char *client_binding, const char *client_mechanism)
{
	struct sasl_client_options options = { .mechanism = client_mechanism,
		.authzid = "a,b=c",
		.authcid = "user",
		.password = password,
		.binding = bytes_of_string(client_binding) };
	struct sasl_server *server = server_new_on(fixture, mechanism, &tls_channel);
	struct buffer challenge = { 0 }, response = { 0 };
	enum sasl_step result = SASL_CONTINUE;
	struct sasl_client *client;

	assert_int_equal(sasl_client_new(&options, &client), 0);
	while (result == SASL_CONTINUE) {
		buffer_clear(&response);
		/* Once the client is done there is only the empty answer to the last challenge. */
		if (!sasl_client_is_done(client))
			assert_int_equal(
				sasl_client_step(client, buffer_bytes(&challenge), &response), 0);
		buffer_reserve(&response, 1);
		buffer_clear(&challenge);
		result = sasl_server_step(server, buffer_bytes(&response), &challenge);
	}
	if (result == SASL_DONE) {
		assert_true(sasl_client_is_done(client));
		assert_true(bytes_equal_string(sasl_server_authcid(server), "user"));
		assert_true(bytes_equal_string(sasl_server_authzid(server), "a,b=c"));
	}
	sasl_client_free(&client);
	sasl_server_free(&server);
	buffer_deinit(&challenge);
	buffer_deinit(&response);
	return result;
}

#define BINDING "what names this connection only"

static void our_client_and_server_understand_each_other(void **state)
{
	struct fixture *fixture = *state;
	static const char *const names[] = { "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS" };

	for (size_t i = 0; i < 3; i++) {
		const char *client_binding = i == 2 ? BINDING : "";

		assert_int_equal(
			converse(fixture, names[i], "pencil", client_binding, names[i]), SASL_DONE);
		assert_int_equal(converse(fixture, names[i], "rubber", client_binding, names[i]),
			SASL_FAILED);
	}
}

static void who_is_in_between_is_found_out(void **state)
{
	struct fixture *fixture = *state;
	struct sasl_server *server;

	/* He has two connections, with two bindings. */
	assert_int_equal(converse(fixture, "SCRAM-SHA-256-PLUS", "pencil", "another connection",
				 "SCRAM-SHA-256-PLUS"),
		SASL_FAILED);
	/* He hides that the server offers -PLUS: the client says that he would have taken it. */
	server = server_new_on(fixture, "SCRAM-SHA-256", &tls_channel);
	assert_int_equal(step_text(server, "y,,n=user,r=abc", ""), SASL_FAILED);
	sasl_server_free(&server);
	server = server_new_on(fixture, "SCRAM-SHA-256", &private_channel);
	assert_int_equal(step_text(server, "y,,n=user,r=abc", NULL), SASL_CONTINUE);
	sasl_server_free(&server);
}

static void a_changed_password_is_not_found_in_the_cache(void **state)
{
	struct fixture *fixture = *state;
	struct password_parameters cheap = password_parameters_cheap();

	assert_int_equal(plain(fixture, BYTES_LITERAL("\0user\0pencil")), SASL_DONE);
	buffer_clear(&fixture->blob);
	assert_int_equal(
		credentials_make(BYTES_LITERAL("rubber"), &cheap, &fixture->blob, NULL), 0);
	assert_int_equal(plain(fixture, BYTES_LITERAL("\0user\0pencil")), SASL_FAILED);
	assert_int_equal(plain(fixture, BYTES_LITERAL("\0user\0rubber")), SASL_DONE);
}

static void names_and_passwords_are_prepared(void **state)
{
	static const struct {
		struct bytes in;
		const char *expected; /* NULL: refused */
	} rows[] = {
		/* RFC 4013, section 3 */
		{ BYTES_LITERAL("\xc2\xaa"), "a" }, { BYTES_LITERAL("\xe2\x85\xa8"), "IX" },
		{ BYTES_LITERAL("\xd8\2471"), NULL },       /* Arabic that ends in a digit */
		{ BYTES_LITERAL("e\xcc\x81"), "\xc3\xa9" }, /* composed */
		{ BYTES_LITERAL("\xd7\x90\xd7\x91"), "\xd7\x90\xd7\x91" },
		{ BYTES_LITERAL("I\xc2\xadX"), "IX" }, { BYTES_LITERAL("user"), "user" },
		{ BYTES_LITERAL("USER"), "USER" }, { BYTES_LITERAL("\x07"), NULL },
		{ BYTES_LITERAL("a\xc2\xa0z"), "a z" },      /* NO-BREAK SPACE */
		{ BYTES_LITERAL("\xc2\x85"), NULL },         /* a C1 control */
		{ BYTES_LITERAL("\xe2\x80\xae"), NULL },     /* right-to-left override */
		{ BYTES_LITERAL("\xef\xbf\xbf"), NULL },     /* a non-character */
		{ BYTES_LITERAL("\xc0\xaf"), NULL },         /* not the shortest form */
		{ BYTES_LITERAL("\xed\xa0\x80"), NULL },     /* a surrogate */
		{ BYTES_LITERAL("\xf4\x90\x80\x80"), NULL }, /* above U+10FFFF */
		{ BYTES_LITERAL("\xc3"), NULL },             /* cut */
		{ BYTES_LITERAL("\xff"), NULL },
		{ BYTES_LITERAL("\xc3\xa9\xf0\x9f\x90\x98"), "\xc3\xa9\xf0\x9f\x90\x98" },
		{ BYTES_LITERAL(""), NULL },
		{ BYTES_LITERAL("\xc2\xad"), NULL }, /* nothing is left */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buffer out = { 0 };
		int rc = sasl_prepare(rows[i].in, &out);

		assert_int_equal(rc, rows[i].expected != NULL ? 0 : ERR_INVALID);
		assert_string_equal(
			buffer_string(&out), rows[i].expected != NULL ? rows[i].expected : "");
		buffer_deinit(&out);
	}
}

static void credentials_without_scram_keys_are_checked_by_argon2id(void **state)
{
	struct password_parameters both = { SCRAM_ITERATION_COUNT_MIN, 1, 64,
		SCRAM_ITERATION_COUNT_MIN };
	struct buffer blob = { 0 }, bare = { 0 }, none = { 0 };
	struct scram_keys keys;

	(void)state;
	assert_int_equal(credentials_make(BYTES_LITERAL("secret"), &both, &blob, NULL), 0);
	assert_int_equal(credentials_check(buffer_bytes(&blob), BYTES_LITERAL("secret")), 0);
	assert_int_equal(credentials_drop_scram(buffer_bytes(&blob), &bare), 0);
	assert_int_equal(
		credentials_scram(buffer_bytes(&bare), SCRAM_SHA_256, &keys), ERR_NOT_FOUND);
	assert_int_equal(credentials_check(buffer_bytes(&bare), BYTES_LITERAL("secret")), 0);
	assert_int_equal(
		credentials_check(buffer_bytes(&bare), BYTES_LITERAL("secreT")), ERR_REFUSED);
	buffer_clear(&blob);
	both.argon2_pass_count = 0;
	assert_int_equal(credentials_make(BYTES_LITERAL("secret"), &both, &blob, NULL), 0);
	assert_int_equal(credentials_drop_scram(buffer_bytes(&blob), &none), ERR_NOT_FOUND);
	buffer_deinit(&blob);
	buffer_deinit(&bare);
}

static void damaged_credentials_are_never_right(void **state)
{
	struct password_parameters both = { SCRAM_ITERATION_COUNT_MIN, 1, 64,
		SCRAM_ITERATION_COUNT_MIN };
	struct buffer blob = { 0 };

	(void)state;
	assert_int_equal(credentials_make(BYTES_LITERAL("secret"), &both, &blob, NULL), 0);
	for (size_t len = 0; len < blob.len; len++) {
		unsigned char *cut = malloc(len > 0 ? len : 1);

		memcpy(cut, blob.data, len);
		assert_int_equal(credentials_check(bytes_of(cut, len), BYTES_LITERAL("secret")),
			ERR_CORRUPT);
		free(cut);
	}
	blob.data[0]++;
	assert_int_equal(credentials_verify(buffer_bytes(&blob)), ERR_VERSION);
	buffer_deinit(&blob);
}

static void parameters_and_passwords_out_of_bounds_are_refused(void **state)
{
	static const struct password_parameters bad[] = {
		{ 0, 0, 0 },
		{ 4095, 0, 0 },
		{ 1000001, 0, 0 },
		{ 4096, 17, 64 },
		{ 4096, 1, 7 },
		{ 4096, 1, ARGON2_MEMORY_KIB_MAX + 1 },
		{ 4096, 1, 64, 4095 },
	};
	struct password_parameters cheap = password_parameters_cheap();
	char large[PASSWORD_SIZE_MAX + 1];
	struct buffer blob = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
			credentials_make(BYTES_LITERAL("x"), &bad[i], &blob, NULL), ERR_INVALID);
	memset(large, 'x', sizeof(large));
	assert_int_equal(credentials_make(bytes_of(large, sizeof(large)), &cheap, &blob, NULL),
		ERR_TOO_LARGE);
	assert_int_equal(credentials_make(BYTES_LITERAL(""), &cheap, &blob, NULL), ERR_INVALID);
	assert_int_equal(credentials_make(BYTES_LITERAL("a\nb"), &cheap, &blob, NULL), ERR_INVALID);
	assert_int_equal(blob.len, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(keys_are_those_of_the_rfcs),
		TEST(a_server_that_does_not_know_the_password_is_not_believed),
		TEST(malformed_first_messages_are_told_from_wrong_ones),
		TEST(a_final_message_that_is_not_the_proof_fails),
		TEST(an_unknown_account_looks_like_any_other),
		TEST(plain_takes_the_right_password_only),
		TEST(plain_tells_whom_the_user_wants_to_be),
		TEST(login_asks_for_name_and_password),
		TEST(a_lookup_that_fails_is_not_a_wrong_password),
		TEST(passwords_are_not_shown_where_that_is_not_allowed),
		TEST(what_is_offered_is_what_can_work),
		TEST(a_certificate_says_who_its_owner_is),
		TEST(tokens_are_taken_in_both_forms),
		TEST(passwords_kept_elsewhere_are_asked_for_there),
		TEST(our_client_and_server_understand_each_other),
		TEST(who_is_in_between_is_found_out),
		TEST(a_changed_password_is_not_found_in_the_cache),
		TEST(names_and_passwords_are_prepared),
		TEST(credentials_without_scram_keys_are_checked_by_argon2id),
		TEST(damaged_credentials_are_never_right),
		TEST(parameters_and_passwords_out_of_bounds_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
