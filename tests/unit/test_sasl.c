#include "base/encode.h"
#include "mail/sasl.h"
#include "mail/sasl_prepare.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

/* RFC 7677, section 3. */
#define RFC_CLIENT_NONCE "rOprNGfwEbeRWgbNEkqO"
#define RFC_SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define RFC_CLIENT_FIRST "n,,n=user,r=" RFC_CLIENT_NONCE
#define RFC_SERVER_FIRST "r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define RFC_CLIENT_FINAL                                                                           \
	"c=biws,r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE                                              \
	",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define RFC_SERVER_FINAL "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

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

/* The blob of the RFC's example: its salt cannot be asked for, so the fixture writes it in place.
 */
static void rfc_blob_make(struct buffer *blob)
{
	struct password_parameters cheap = password_parameters_cheap();
	struct scram_keys keys, wanted;
	struct buffer salt = { 0 };

	assert_int_equal(credentials_make(BYTES_LITERAL("pencil"), &cheap, blob, NULL), 0);
	assert_int_equal(credentials_scram(buffer_bytes(blob), &keys), 0);
	decode_base64(&salt, BYTES_LITERAL("W22ZaJ0SNY7soEsUEjb6gQ=="));
	scram_keys_derive(BYTES_LITERAL("pencil"), buffer_bytes(&salt), 4096, &wanted, NULL);
	for (size_t i = 0; i + SCRAM_KEY_SIZE <= blob->len; i++) {
		if (memcmp(blob->data + i, keys.salt, keys.salt_size) == 0)
			memcpy(blob->data + i, wanted.salt, wanted.salt_size);
		if (memcmp(blob->data + i, keys.stored_key, SCRAM_KEY_SIZE) == 0)
			memcpy(blob->data + i, wanted.stored_key, SCRAM_KEY_SIZE);
		if (memcmp(blob->data + i, keys.server_key, SCRAM_KEY_SIZE) == 0)
			memcpy(blob->data + i, wanted.server_key, SCRAM_KEY_SIZE);
	}
	buffer_deinit(&salt);
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	struct sasl_options options = { .lookup = lookup,
		.context = fixture,
		.parameters = password_parameters_cheap(),
		.nonce = RFC_SERVER_NONCE };

	fixture->cache = password_cache_new(100, 60);
	options.cache = fixture->cache;
	rfc_blob_make(&fixture->blob);
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

static struct sasl_server *server_new(struct fixture *fixture, const char *mechanism)
{
	struct sasl_server *server;

	assert_int_equal(
		sasl_server_new(fixture->authority, bytes_of_string(mechanism), true, &server), 0);
	return server;
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

static void the_exchange_of_rfc_7677_is_had_to_the_letter(void **state)
{
	struct sasl_server *server = server_new(*state, "SCRAM-SHA-256");

	assert_int_equal(step(server, (struct bytes){ 0 }, ""), SASL_CONTINUE);
	assert_int_equal(step_text(server, RFC_CLIENT_FIRST, RFC_SERVER_FIRST), SASL_CONTINUE);
	assert_int_equal(step_text(server, RFC_CLIENT_FINAL, RFC_SERVER_FINAL), SASL_CONTINUE);
	assert_int_equal(step_text(server, "", ""), SASL_DONE);
	assert_true(bytes_equal_string(sasl_server_authcid(server), "user"));
	assert_int_equal(sasl_server_authzid(server).len, 0);
	sasl_server_free(&server);
}

static void the_client_has_the_exchange_of_rfc_7677(void **state)
{
	struct sasl_client_options options = { .mechanism = "SCRAM-SHA-256",
		.authcid = "user",
		.password = "pencil",
		.nonce = RFC_CLIENT_NONCE };
	struct sasl_client *client;
	struct buffer out = { 0 };

	(void)state;
	assert_int_equal(sasl_client_new(&options, &client), 0);
	assert_int_equal(sasl_client_step(client, BYTES_LITERAL(""), &out), 0);
	assert_string_equal(buffer_string(&out), RFC_CLIENT_FIRST);
	buffer_clear(&out);
	assert_int_equal(sasl_client_step(client, BYTES_LITERAL(RFC_SERVER_FIRST), &out), 0);
	assert_string_equal(buffer_string(&out), RFC_CLIENT_FINAL);
	assert_false(sasl_client_is_done(client));
	assert_int_equal(sasl_client_step(client, BYTES_LITERAL(RFC_SERVER_FINAL), &out), 0);
	assert_true(sasl_client_is_done(client));
	sasl_client_free(&client);
	buffer_deinit(&out);
}

static void a_server_that_does_not_know_the_password_is_not_believed(void **state)
{
	static const struct {
		const char *first, *final;
		int expected;
	} rows[] = {
		{ RFC_SERVER_FIRST, "v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", ERR_REFUSED },
		{ RFC_SERVER_FIRST, "e=invalid-proof", ERR_REFUSED },
		{ RFC_SERVER_FIRST, "", ERR_INVALID },
		/* fewer iterations than are safe, more than we do, none */
		{ "r=" RFC_CLIENT_NONCE "x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1", NULL, ERR_INVALID },
		{ "r=" RFC_CLIENT_NONCE "x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=9999999", NULL,
			ERR_INVALID },
		{ "r=" RFC_CLIENT_NONCE "x,s=W22ZaJ0SNY7soEsUEjb6gQ==", NULL, ERR_INVALID },
		/* a nonce that is not ours, and one that is only ours */
		{ "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", NULL, ERR_INVALID },
		{ "r=" RFC_CLIENT_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", NULL, ERR_INVALID },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sasl_client_options options = { .mechanism = "SCRAM-SHA-256",
			.authcid = "user",
			.password = "pencil",
			.nonce = RFC_CLIENT_NONCE };
		struct sasl_client *client;
		struct buffer out = { 0 };
		int rc;

		assert_int_equal(sasl_client_new(&options, &client), 0);
		assert_int_equal(sasl_client_step(client, BYTES_LITERAL(""), &out), 0);
		rc = sasl_client_step(client, bytes_of_string(rows[i].first), &out);
		if (rows[i].final != NULL)
			rc = sasl_client_step(client, bytes_of_string(rows[i].final), &out);
		assert_int_equal(rc, rows[i].expected);
		assert_false(sasl_client_is_done(client));
		assert_int_equal(sasl_client_step(client, BYTES_LITERAL(""), &out), ERR_INVALID);
		sasl_client_free(&client);
		buffer_deinit(&out);
	}
}

static void a_wrong_proof_fails(void **state)
{
	struct sasl_server *server = server_new(*state, "SCRAM-SHA-256");

	assert_int_equal(step_text(server, RFC_CLIENT_FIRST, RFC_SERVER_FIRST), SASL_CONTINUE);
	assert_int_equal(step_text(server,
				 "c=biws,r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE
				 ",p=AAAAZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
				 ""),
		SASL_FAILED);
	sasl_server_free(&server);
}

static void malformed_scram_messages_are_told_from_wrong_ones(void **state)
{
	static const char *const firsts[] = {
		"p=tls-unique,,n=user,r=abc", /* channel binding was not offered */
		"",
		"n",
		"n,",
		"n,,",
		"n,,n=user",
		"n,,r=abc",
		"n,,n=,r=abc",
		"n,,n=user,r=",
		"n,x=1,n=user,r=abc",
		"n,a=,n=user,r=abc",
		"n,,m=must,n=user,r=abc", /* an extension that must be understood */
		"n,,n=us=er,r=abc",       /* "=" must be "=3D" */
		"n,,n=us\001er,r=abc",
		"n,,n=user,r=a b",
	};
	static const char *const finals[] = {
		"",
		"c=biws",
		"c=biws,r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE,
		/* another gs2 header than at first: "y,," */
		"c=eSws,r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE
		",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		/* another nonce */
		"c=biws,r=" RFC_CLIENT_NONCE "x,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		/* a proof too short */
		"c=biws,r=" RFC_CLIENT_NONCE RFC_SERVER_NONCE ",p=dHzb",
		/* something after it */
		RFC_CLIENT_FINAL ",x=1",
	};

	for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
		struct sasl_server *server = server_new(*state, "SCRAM-SHA-256");

		assert_int_equal(step_text(server, firsts[i], ""), SASL_MALFORMED);
		sasl_server_free(&server);
	}
	for (size_t i = 0; i < sizeof(finals) / sizeof(finals[0]); i++) {
		struct sasl_server *server = server_new(*state, "SCRAM-SHA-256");

		assert_int_equal(step_text(server, RFC_CLIENT_FIRST, NULL), SASL_CONTINUE);
		assert_int_equal(step_text(server, finals[i], ""), SASL_MALFORMED);
		sasl_server_free(&server);
	}
}

/* The first server message for `name`, without the nonces. */
static void salt_get(struct fixture *fixture, const char *name, struct buffer *out)
{
	struct sasl_server *server = server_new(fixture, "SCRAM-SHA-256");
	struct buffer first = { 0 };

	buffer_printf(&first, "n,,n=%s,r=abc", name);
	assert_int_equal(sasl_server_step(server, buffer_bytes(&first), out), SASL_CONTINUE);
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
		{ BYTES_LITERAL(""), SASL_MALFORMED },
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
		sasl_server_new(fixture->authority, BYTES_LITERAL("PLAIN"), false, &server),
		ERR_NOT_FOUND);
	assert_int_equal(
		sasl_server_new(fixture->authority, BYTES_LITERAL("CRAM-MD5"), true, &server),
		ERR_NOT_FOUND);
	assert_string_equal(sasl_mechanisms(false), "SCRAM-SHA-256");
}

static void our_client_and_server_understand_each_other(void **state)
{
	struct fixture *fixture = *state;
	static const char *const mechanisms[] = { "PLAIN", "SCRAM-SHA-256" };

	for (size_t i = 0; i < 2; i++) {
		struct sasl_client_options options = { .mechanism = mechanisms[i],
			.authzid = "a,b=c",
			.authcid = "user",
			.password = "pencil" };
		struct sasl_server *server = server_new(fixture, mechanisms[i]);
		struct buffer challenge = { 0 }, response = { 0 };
		enum sasl_step result = SASL_CONTINUE;
		struct sasl_client *client;

		assert_int_equal(sasl_client_new(&options, &client), 0);
		while (result == SASL_CONTINUE) {
			buffer_clear(&response);
			assert_int_equal(
				sasl_client_step(client, buffer_bytes(&challenge), &response), 0);
			buffer_clear(&challenge);
			result = sasl_server_step(server, buffer_bytes(&response), &challenge);
		}
		assert_int_equal(result, SASL_DONE);
		assert_true(sasl_client_is_done(client));
		assert_true(bytes_equal_string(sasl_server_authzid(server), "a,b=c"));
		sasl_client_free(&client);
		sasl_server_free(&server);
		buffer_deinit(&challenge);
		buffer_deinit(&response);
	}
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
	struct password_parameters both = { SCRAM_ITERATION_COUNT_MIN, 1, 64 };
	struct buffer blob = { 0 }, bare = { 0 }, none = { 0 };
	struct scram_keys keys;

	(void)state;
	assert_int_equal(credentials_make(BYTES_LITERAL("secret"), &both, &blob, NULL), 0);
	assert_int_equal(credentials_check(buffer_bytes(&blob), BYTES_LITERAL("secret")), 0);
	assert_int_equal(credentials_drop_scram(buffer_bytes(&blob), &bare), 0);
	assert_int_equal(credentials_scram(buffer_bytes(&bare), &keys), ERR_NOT_FOUND);
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
	struct password_parameters both = { SCRAM_ITERATION_COUNT_MIN, 1, 64 };
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
		TEST(the_exchange_of_rfc_7677_is_had_to_the_letter),
		TEST(the_client_has_the_exchange_of_rfc_7677),
		TEST(a_server_that_does_not_know_the_password_is_not_believed),
		TEST(a_wrong_proof_fails),
		TEST(malformed_scram_messages_are_told_from_wrong_ones),
		TEST(an_unknown_account_looks_like_any_other),
		TEST(plain_takes_the_right_password_only),
		TEST(plain_tells_whom_the_user_wants_to_be),
		TEST(login_asks_for_name_and_password),
		TEST(a_lookup_that_fails_is_not_a_wrong_password),
		TEST(passwords_are_not_shown_where_that_is_not_allowed),
		TEST(our_client_and_server_understand_each_other),
		TEST(a_changed_password_is_not_found_in_the_cache),
		TEST(names_and_passwords_are_prepared),
		TEST(credentials_without_scram_keys_are_checked_by_argon2id),
		TEST(damaged_credentials_are_never_right),
		TEST(parameters_and_passwords_out_of_bounds_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
