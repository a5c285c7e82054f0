/* What an authorization server may answer about a token (RFC 7662). */
#include "chapard/introspection_answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW 1000000000u

static int judge(const char *json, const char *expected_name, uint64_t *until_s_r)
{
	static const struct introspection_rules rules = { "mail imap", "chapar", "username" };
	struct bytes in = bytes_of_string(json);
	unsigned char *exact = malloc(in.len + 1);
	struct buffer name = { 0 };
	struct error error = { 0 };
	int rc;

	memcpy(exact, in.ptr, in.len); /* in a block of its exact size */
	exact = realloc(exact, in.len > 0 ? in.len : 1);
	rc = introspection_answer(bytes_of(exact, in.len), &rules, NOW, &name, until_s_r, &error);
	assert_string_equal(buffer_string(&name), rc == 0 ? expected_name : "");
	assert_int_equal(error.code, rc);
	buffer_deinit(&name);
	free(exact);
	return rc;
}

#define GOOD "\"active\":true,\"scope\":\"imap x mail\",\"aud\":\"chapar\",\"username\":\"anna\""

static void answers_are_judged_by_the_rules(void **state)
{
	static const struct {
		const char *json;
		int expected;
	} rows[] = {
		{ "{" GOOD "}", 0 },
		{ "{" GOOD ",\"exp\":1000000001,\"nbf\":1000000000,\"more\":[{}]}", 0 },
		{ "{" GOOD ",\"exp\":1000000000}", ERR_REFUSED },
		{ "{" GOOD ",\"nbf\":1000000001}", ERR_REFUSED },
		{ "{" GOOD ",\"exp\":\"never\"}", ERR_INVALID },
		{ "{" GOOD ",\"exp\":-1}", ERR_INVALID },
		{ "{" GOOD ",\"exp\":1e300}", ERR_INVALID },
		{ "{\"active\":false}", ERR_REFUSED },
		{ "{\"active\":\"true\",\"username\":\"anna\"}", ERR_INVALID },
		{ "{\"active\":1}", ERR_INVALID },
		{ "{}", ERR_INVALID },
		{ "[]", ERR_INVALID },
		{ "", ERR_INVALID },
		{ "{" GOOD, ERR_INVALID },
		{ "{" GOOD "} x", ERR_INVALID },
		{ "{" GOOD ",\"active\":false}", ERR_INVALID }, /* twice */
		{ "{\"active\":true,\"scope\":\"imap\",\"aud\":\"chapar\",\"username\":\"anna\"}",
			ERR_REFUSED },
		{ "{\"active\":true,\"scope\":\"imapmail "
		  "mail\",\"aud\":\"chapar\",\"username\":\"a\"}",
			ERR_REFUSED },
		{ "{\"active\":true,\"aud\":\"chapar\",\"username\":\"anna\"}", ERR_REFUSED },
		{ "{\"active\":true,\"scope\":[\"mail\",\"imap\"],\"aud\":\"chapar\",\"username\":"
		  "\"a\"}",
			ERR_REFUSED }, /* RFC 7662: a string */
		{ "{\"active\":true,\"scope\":\"mail "
		  "imap\",\"aud\":[1,\"chapar\"],\"username\":\"anna\"}",
			0 },
		{ "{\"active\":true,\"scope\":\"mail "
		  "imap\",\"aud\":[\"other\"],\"username\":\"a\"}",
			ERR_REFUSED },
		{ "{\"active\":true,\"scope\":\"mail "
		  "imap\",\"aud\":\"chapar2\",\"username\":\"a\"}",
			ERR_REFUSED },
		{ "{\"active\":true,\"scope\":\"mail imap\",\"username\":\"anna\"}", ERR_REFUSED },
		{ "{\"active\":true,\"scope\":\"mail imap\",\"aud\":\"chapar\"}", ERR_REFUSED },
		{ "{\"active\":true,\"scope\":\"mail imap\",\"aud\":\"chapar\",\"username\":\"\"}",
			ERR_REFUSED },
		{ "{\"active\":true,\"scope\":\"mail imap\",\"aud\":\"chapar\",\"username\":7}",
			ERR_REFUSED },
	};
	uint64_t until_s;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (judge(rows[i].json, "anna", &until_s) != rows[i].expected)
			fail_msg("%s", rows[i].json);
}

static void the_end_of_a_token_is_told(void **state)
{
	uint64_t until_s = 0;

	(void)state;
	assert_int_equal(judge("{" GOOD ",\"exp\":1000000060.5}", "anna", &until_s), 0);
	assert_int_equal(until_s, NOW + 60);
	assert_int_equal(judge("{" GOOD "}", "anna", &until_s), 0);
	assert_true(until_s == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_judged_by_the_rules),
		cmocka_unit_test(the_end_of_a_token_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
