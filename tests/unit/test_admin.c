/*
 * Operator commands, on a store in memory: what the tool and the control socket run.
 */
#include "chapard/admin.h"

#include "base/mem.h"
#include "mail/password.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
	struct store *store;
	struct mail *mail;
	struct admin admin;
	struct buffer out; /* of the last command */
	struct error error;
};

static int fixture_init(void **state)
{
	struct fixture *fixture = mem_zalloc(sizeof(*fixture));

	assert_int_equal(store_open_memory(&fixture->store), 0);
	assert_int_equal(mail_open(fixture->store, clock_system(), &fixture->mail), 0);
	fixture->admin = (struct admin){
		.mail = fixture->mail, .node_name = "a", .passwords = password_parameters_cheap()
	};
	*state = fixture;
	return 0;
}

static int fixture_deinit(void **state)
{
	struct fixture *fixture = *state;

	buffer_deinit(&fixture->out);
	mail_close(&fixture->mail);
	store_close(&fixture->store);
	free(fixture);
	return 0;
}

/* Runs the request to its end; returns 0 or the error's code. */
/* How far a command is comes when it comes, and is no part of the output. */
static void drop_progress(struct buffer *out)
{
	struct bytes left = buffer_bytes(out);
	struct buffer kept = { 0 };

	while (left.len > 0) {
		size_t end = bytes_find(left, '\n');
		struct bytes line = bytes_take(&left, end < left.len ? end + 1 : end);

		if (bytes_peek(line) != '\r')
			buffer_append_bytes(&kept, line);
	}
	buffer_clear(out);
	buffer_append_bytes(out, buffer_bytes(&kept));
	buffer_deinit(&kept);
}

static int run(struct fixture *fixture, const char *request)
{
	struct admin_call *call = NULL;
	int rc;

	buffer_clear(&fixture->out);
	fixture->error = (struct error){ 0 };
	rc = admin_call_new(&fixture->admin, bytes_of_string(request), &call, &fixture->error);
	if (rc < 0)
		return rc;
	do
		rc = admin_call_step(call, &fixture->out, &fixture->error);
	while (rc == ADMIN_MORE);
	admin_call_free(&call);
	drop_progress(&fixture->out);
	return rc;
}

static bool password_is(struct fixture *fixture, const char *name, const char *password)
{
	struct buffer blob = { 0 };
	uint32_t number;
	int rc = mail_account_open(fixture->mail, bytes_of_string(name), false, NULL, &number);

	if (rc == 0)
		rc = mail_credentials_get(fixture->mail, number, &blob);
	if (rc == 0)
		rc = credentials_check(buffer_bytes(&blob), bytes_of_string(password));
	buffer_deinit(&blob);
	return rc == 0;
}

static void accounts_are_made_each_with_its_password(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(run(fixture, "account-add Anna one%20secret bert two"), ADMIN_DONE);
	assert_string_equal(buffer_string(&fixture->out), "added Anna\nadded bert\n");
	assert_true(password_is(fixture, "anna", "one secret"));
	assert_true(password_is(fixture, "bert", "two"));
	assert_false(password_is(fixture, "bert", "one secret"));
}

static void more_accounts_than_one_step_makes_are_made(void **state)
{
	struct fixture *fixture = *state;
	struct buffer request = { 0 };

	buffer_append_string(&request, "account-add");
	for (int i = 0; i < 20; i++)
		buffer_printf(&request, " u%d p%d", i, i);
	assert_int_equal(run(fixture, buffer_string(&request)), ADMIN_DONE);
	assert_true(password_is(fixture, "u0", "p0"));
	assert_true(password_is(fixture, "u19", "p19"));
	buffer_deinit(&request);
}

static void an_account_that_exists_keeps_its_password(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(run(fixture, "account-add anna one"), ADMIN_DONE);
	assert_int_equal(run(fixture, "account-add bert two ANNA other carl three"), ERR_EXISTS);
	assert_non_null(strstr(fixture->error.text, "anna"));
	assert_true(password_is(fixture, "anna", "one"));
	/* What came before it is made and told, what came after is not. */
	assert_string_equal(buffer_string(&fixture->out), "added bert\n");
	assert_false(password_is(fixture, "carl", "three"));
}

static void a_name_that_no_account_can_have_is_refused(void **state)
{
	static const char *const names[] = { "a/b", "a%09b", "%00" };
	struct buffer request = { 0 };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		buffer_clear(&request);
		buffer_printf(&request, "account-add %s secret", names[i]);
		assert_int_equal(run(*state, buffer_string(&request)), ERR_INVALID);
	}
	assert_int_equal(run(*state, "account-add anna "), ERR_INVALID); /* no password */
	assert_int_equal(run(*state, "account-add anna"), ERR_INVALID);
	assert_int_equal(run(*state, "account-add anna x bert"), ERR_INVALID);
	buffer_deinit(&request);
}

static void a_changed_password_takes_the_place_of_the_old_one(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(run(fixture, "account-add anna one"), ADMIN_DONE);
	assert_int_equal(run(fixture, "account-passwd anna two"), ADMIN_DONE);
	assert_true(password_is(fixture, "anna", "two"));
	assert_false(password_is(fixture, "anna", "one"));
	assert_int_equal(run(fixture, "account-passwd nobody two"), ERR_NOT_FOUND);
}

static void lists_are_whole_lines_or_json(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(run(fixture, "account-list --json"), ADMIN_DONE);
	assert_string_equal(buffer_string(&fixture->out), "[]\n");
	assert_int_equal(run(fixture, "account-add anna one bert two"), ADMIN_DONE);
	assert_int_equal(run(fixture, "account-list"), ADMIN_DONE);
	assert_non_null(strstr(buffer_string(&fixture->out), "anna "));
	assert_non_null(strstr(buffer_string(&fixture->out), "\nbert "));
	assert_int_equal(run(fixture, "account-list --json"), ADMIN_DONE);
	assert_true(bytes_start_with(
		buffer_bytes(&fixture->out), BYTES_LITERAL("[{\"name\":\"anna\",")));
	assert_non_null(strstr(buffer_string(&fixture->out), "}\n,{\"name\":\"bert\","));
	assert_string_equal(buffer_string(&fixture->out) + fixture->out.len - 4, "}\n]\n");
	assert_int_equal(run(fixture, "conflict-list --json"), ADMIN_DONE);
	assert_string_equal(buffer_string(&fixture->out), "[]\n");
}

static void told(struct fixture *fixture, const char *request, const char *expected)
{
	if (run(fixture, request) != ADMIN_DONE)
		fail_msg("%s: %s", request, fixture->error.text);
	assert_string_equal(buffer_string(&fixture->out), expected);
}

static void quotas_are_told_in_bytes_with_the_limits_that_there_are(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(run(fixture, "account-add anna one bert two"), ADMIN_DONE);
	told(fixture, "quota",
		"anna: 0 bytes, 0 messages, 1 mailboxes, 0 bytes of annotations\n"
		"bert: 0 bytes, 0 messages, 1 mailboxes, 0 bytes of annotations\n");
	told(fixture, "quota-set anna STORAGE 1M MESSAGE 10",
		"anna: 0 of 1048576 bytes, 0 of 10 messages, 1 mailboxes, 0 bytes of "
		"annotations\n");
	/* What is not named stays; a limit of bytes is rounded up to whole units of 1,024. */
	told(fixture, "quota-set anna STORAGE 1025",
		"anna: 0 of 2048 bytes, 0 of 10 messages, 1 mailboxes, 0 bytes of annotations\n");
	told(fixture, "quota-set anna MESSAGE none MAILBOX 0",
		"anna: 0 of 2048 bytes, 0 messages, 1 of 0 mailboxes, 0 bytes of annotations\n");
	told(fixture, "quota --json anna",
		"[{\"name\":\"anna\",\"storage\":0,\"storage-limit\":2048,\"messages\":0,"
		"\"mailboxes\":1,\"mailboxes-limit\":0,\"annotations\":0}\n]\n");
	told(fixture, "quota-set anna STORAGE default MAILBOX default",
		"anna: 0 bytes, 0 messages, 1 mailboxes, 0 bytes of annotations\n");
}

static void what_is_no_limit_is_refused(void **state)
{
	static const char *const requests[] = { "quota-set anna STORAGE -1",
		"quota-set anna STORAGE 1X", "quota-set anna STORAGE 1KK",
		"quota-set anna STORAGE 99999999999T", "quota-set anna SHOESIZE 46",
		"quota-set anna STORAGE 1 MESSAGE", "quota-set anna MESSAGE 1111111111111111111" };
	struct fixture *fixture = *state;

	assert_int_equal(run(fixture, "account-add anna one"), ADMIN_DONE);
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		assert_int_equal(run(fixture, requests[i]), ERR_INVALID);
	assert_int_equal(run(fixture, "quota-set nobody STORAGE 1"), ERR_NOT_FOUND);
	told(fixture, "quota anna",
		"anna: 0 bytes, 0 messages, 1 mailboxes, 0 bytes of annotations\n");
}

static void verify_of_sound_accounts_finds_nothing(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(run(fixture, "account-add anna one bert two"), ADMIN_DONE);
	assert_int_equal(run(fixture, "verify"), ADMIN_DONE);
	assert_string_equal(buffer_string(&fixture->out), "2 accounts verified\n");
	assert_int_equal(run(fixture, "verify --json anna"), ADMIN_DONE);
	assert_string_equal(buffer_string(&fixture->out), "[]\n");
	assert_int_equal(run(fixture, "verify nobody"), ERR_NOT_FOUND);
}

static void status_counts_accounts(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(run(fixture, "account-add anna one bert two"), ADMIN_DONE);
	assert_int_equal(run(fixture, "status"), ADMIN_DONE);
	assert_non_null(strstr(buffer_string(&fixture->out), "2 with 0 messages"));
	assert_non_null(strstr(buffer_string(&fixture->out), "stopped"));
	assert_int_equal(run(fixture, "status --json"), ADMIN_DONE);
	assert_non_null(strstr(buffer_string(&fixture->out), "\"accounts\":2,"));
}

static void channels_need_a_running_daemon(void **state)
{
	assert_int_equal(run(*state, "channel-list"), ERR_UNAVAILABLE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_init, fixture_deinit)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(accounts_are_made_each_with_its_password),
		TEST(more_accounts_than_one_step_makes_are_made),
		TEST(an_account_that_exists_keeps_its_password),
		TEST(a_name_that_no_account_can_have_is_refused),
		TEST(a_changed_password_takes_the_place_of_the_old_one),
		TEST(lists_are_whole_lines_or_json),
		TEST(quotas_are_told_in_bytes_with_the_limits_that_there_are),
		TEST(what_is_no_limit_is_refused),
		TEST(verify_of_sound_accounts_finds_nothing),
		TEST(status_counts_accounts),
		TEST(channels_need_a_running_daemon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
