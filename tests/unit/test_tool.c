/*
 * The tool's command line, and what it and the daemon say to each other.
 */
#include "chapar/tool_options.h"

#include "base/mem.h"
#include "chapar/clone_url.h"
#include "chapar/tool_password.h"
#include "chapar/tool_progress.h"
#include "chapard/admin.h"
#include "chapard/control.h"
#include "chapard/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define WORDS_MAX 12

static int parse(const char *line, struct tool_options *options, struct error *error)
{
	static char text[400]; /* what the options borrow from */
	const char *words[WORDS_MAX] = { "chapar" };
	int count = 1;

	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " "))
		words[count++] = word;
	*error = (struct error){ 0 };
	return tool_options_parse(count, words, options, error);
}

static void commands_of_one_and_two_words_are_known(void **state)
{
	static const struct {
		const char *line;
		enum tool_command_id command;
	} rows[] = {
		{ "account add anna", TOOL_ACCOUNT_ADD },
		{ "account list", TOOL_ACCOUNT_LIST },
		{ "account serve sales-*", TOOL_ACCOUNT_SERVE },
		{ "account share team", TOOL_ACCOUNT_SHARE },
		{ "acl team INBOX", TOOL_ACL },
		{ "acl team INBOX anyone lrsp", TOOL_ACL },
		{ "account passwd anna", TOOL_ACCOUNT_PASSWD },
		{ "channel list", TOOL_CHANNEL_LIST },
		{ "clone imaps://host/ mail --ca-file x.pem", TOOL_CLONE },
		{ "clone --ca-file x.pem imaps://host/ mail", TOOL_CLONE },
		{ "compact", TOOL_COMPACT },
		{ "completion bash", TOOL_COMPLETION },
		{ "pull", TOOL_PULL },
		{ "push mail --password-file -", TOOL_PUSH },
		{ "serve mail --port 1143", TOOL_SERVE },
		{ "status mail --watch", TOOL_STATUS },
		{ "sync mail --watch", TOOL_SYNC },
		{ "conflict list --account anna", TOOL_CONFLICT_LIST },
		{ "conflicts", TOOL_CONFLICT_LIST },
		{ "conflicts anna", TOOL_CONFLICT_LIST },
		{ "help", TOOL_HELP },
		{ "--help", TOOL_HELP },
		{ "quota", TOOL_QUOTA },
		{ "quota anna --storage 10G --messages none", TOOL_QUOTA },
		{ "rebuild", TOOL_REBUILD },
		{ "status", TOOL_STATUS },
		{ "verify", TOOL_VERIFY },
		{ "version", TOOL_VERSION },
		{ "--version", TOOL_VERSION },
	};
	struct tool_options options;
	struct error error;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(parse(rows[i].line, &options, &error), 0);
		assert_int_equal(options.command, rows[i].command);
		assert_null(options.config_file);
	}
}

static void options_go_after_the_command_and_its_names(void **state)
{
	struct tool_options options;
	struct error error;

	(void)state;
	assert_int_equal(
		parse("-c x.conf account add anna bert --password-file -", &options, &error), 0);
	assert_string_equal(options.config_file, "x.conf");
	assert_int_equal(options.name_count, 2);
	assert_string_equal(options.names[1], "bert");
	assert_string_equal(options.password_file, "-");
	assert_int_equal(parse("verify --bodies --account anna --json", &options, &error), 0);
	assert_true(options.with_bodies && options.is_json);
	assert_string_equal(options.account, "anna");
	assert_int_equal(parse("account add --from-file users", &options, &error), 0);
	assert_string_equal(options.from_file, "users");
	assert_int_equal(options.name_count, 0);
}

static void what_a_command_does_not_take_is_refused(void **state)
{
	static const struct {
		const char *line, *words;
	} rows[] = {
		{ "", "a command is missing" },
		{ "-c", "needs a file" },
		{ "-c x", "a command is missing" },
		{ "-x status", "no such option" },
		{ "account", "no such command: account" },
		{ "account drop", "no such command: account drop" },
		{ "stat", "no such command" },
		{ "status now then", "too many arguments" },
		{ "status --bodies", "status does not take --bodies" },
		{ "account list -j", "account list does not take -j" },
		{ "account passwd", "name is missing" },
		{ "account passwd a b", "too many arguments" },
		{ "account add", "either names or --from-file" },
		{ "account add a --from-file f", "either names or --from-file" },
		{ "account add --from-file f --password-file g", "exclude each other" },
		{ "account add a --password-file", "needs a value" },
		{ "account add a --password-file f b", "names stand together" },
		{ "-c x -C y status", "exclude each other" },
		{ "clone imaps://h/ --pin x --ca-file y", "exclude each other" },
		{ "clone imaps://h/ --no-tls --ca-file y", "nothing to verify" },
		{ "verify --repair", "needs --peer" },
		{ "verify --peer b --account anna", "compares all accounts" },
		{ "clone", "name is missing" },
		{ "clone a b c", "too many arguments" },
		{ "rebuild --json", "does not take" },
	};
	struct tool_options options;
	struct error error;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int rc = parse(rows[i].line, &options, &error);

		if (rc != ERR_INVALID || strstr(error.text, rows[i].words) == NULL)
			fail_msg("\"%s\" gave %d: %s", rows[i].line, rc, error.text);
	}
}

static void a_request_carries_any_bytes_of_an_argument(void **state)
{
	const char *const words[] = { "account-passwd", "a b", "100% \t\x7f\xc3\xa4" };
	struct buffer request = { 0 };

	(void)state;
	admin_request_encode(words, 3, &request);
	assert_string_equal(
		buffer_string(&request), "account-passwd a%20b 100%25%20%09%7F\xc3\xa4");
	buffer_deinit(&request);
}

static void a_malformed_request_is_refused(void **state)
{
	static const char *const rows[] = {
		"",
		"nothing",
		"status now",          /* too many arguments */
		"status --bodies",     /* an option that it does not take */
		"account-passwd anna", /* too few */
		"account-passwd anna %4",
		"account-passwd anna %zz",
		"account-passwd anna a%00b",
	};
	struct admin admin = { 0 };
	struct admin_call *call = NULL;
	struct error error;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(admin_call_new(&admin, bytes_of_string(rows[i]), &call, &error),
			ERR_INVALID);
		assert_null(call);
	}
	assert_int_equal(admin_call_new(&admin, BYTES_LITERAL("status --json"), &call, &error), 0);
	admin_call_free(&call);
}

static void the_last_line_of_an_answer_is_ok_or_a_code_with_its_text(void **state)
{
	struct error error = { 0 };

	(void)state;
	assert_int_equal(control_result_parse(BYTES_LITERAL("OK"), &error), 0);
	assert_int_equal(
		control_result_parse(BYTES_LITERAL("FAIL -5 no account"), &error), ERR_NOT_FOUND);
	assert_string_equal(error.text, "no account");
	assert_int_equal(control_result_parse(BYTES_LITERAL("FAIL -x"), &error), ERR_INVALID);
	assert_int_equal(control_result_parse(BYTES_LITERAL("FAIL -5"), &error), ERR_INVALID);
	assert_int_equal(control_result_parse(BYTES_LITERAL(""), &error), ERR_INVALID);
}

static void json_strings_are_always_well_formed(void **state)
{
	static const struct {
		const char *text, *json;
	} rows[] = {
		{ "plain", "\"plain\"" }, { "a\"b\\c\n\x01", "\"a\\\"b\\\\c\\n\\u0001\"" },
		{ "\xc3\xa4\xf0\x9f\x98\x80", "\"\xc3\xa4\xf0\x9f\x98\x80\"" },
		{ "\xff", "\"\xef\xbf\xbd\"" }, { "\xc3", "\"\xef\xbf\xbd\"" }, /* cut off */
		{ "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, /* a surrogate */
		{ "\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },                 /* a long form */
	};
	struct buffer out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buffer_clear(&out);
		json_string(&out, bytes_of_string(rows[i].text));
		assert_string_equal(buffer_string(&out), rows[i].json);
	}
	buffer_deinit(&out);
}

static void lines_of_a_password_file_are_bounded(void **state)
{
	FILE *in = tmpfile();
	struct buffer line = { 0 };

	(void)state;
	assert_non_null(in);
	fputs("one\r\n\nlast", in);
	rewind(in);
	assert_int_equal(line_read(in, &line, NULL), 0);
	assert_string_equal(buffer_string(&line), "one");
	assert_int_equal(line_read(in, &line, NULL), 0);
	assert_int_equal(line.len, 0);
	assert_int_equal(line_read(in, &line, NULL), 0);
	assert_string_equal(buffer_string(&line), "last");
	assert_int_equal(line_read(in, &line, NULL), ERR_NOT_FOUND);
	rewind(in);
	for (int i = 0; i <= PASSWORD_LINE_SIZE_MAX; i++)
		putc('x', in);
	rewind(in);
	assert_int_equal(line_read(in, &line, NULL), ERR_INVALID);
	fclose(in);
	buffer_deinit(&line);
}

static void addresses_of_accounts_are_read_and_written(void **state)
{
	static const struct {
		const char *text, *user, *host, *written; /* host NULL: it is refused */
		unsigned port;
	} rows[] = {
		{ "imaps://anna@mail.example.org/", "anna", "mail.example.org",
			"imaps://anna@mail.example.org/", 993 },
		{ "IMAPS://mail.example.org", "", "mail.example.org", "imaps://mail.example.org/",
			993 },
		{ "imap://anna@h:1143", "anna", "h", "imap://anna@h:1143/", 1143 },
		{ "imaps://anna%40example.org@h/", "anna@example.org", "h",
			"imaps://anna%40example.org@h/", 993 },
		{ "imaps://anna@example.org@h/", "anna@example.org", "h",
			"imaps://anna%40example.org@h/", 993 },
		{ "imaps://anna;AUTH=*@[::1]:99/", "anna", "::1", "imaps://anna@[::1]:99/", 99 },
		{ "https://h/", NULL, NULL, NULL, 0 },
		{ "imaps://", NULL, NULL, NULL, 0 },
		{ "imaps://a:secret@h/", NULL, NULL, NULL, 0 },
		{ "imaps://h/INBOX", NULL, NULL, NULL, 0 },
		{ "imaps://h:0/", NULL, NULL, NULL, 0 },
		{ "imaps://h:65536/", NULL, NULL, NULL, 0 },
		{ "imaps://[::1/", NULL, NULL, NULL, 0 },
		{ "imaps://a%4@h/", NULL, NULL, NULL, 0 },
		{ "imaps://a%00@h/", NULL, NULL, NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buffer written = { 0 };
		struct error error = { 0 };
		struct clone_url url;
		int rc = clone_url_parse(rows[i].text, &url, &error);

		if ((rc == 0) != (rows[i].host != NULL))
			fail_msg("%s gave %d: %s", rows[i].text, rc, error.text);
		if (rc < 0)
			continue;
		assert_string_equal(url.user, rows[i].user);
		assert_string_equal(url.host, rows[i].host);
		assert_int_equal(url.port, rows[i].port);
		clone_url_write(&url, &written);
		assert_string_equal(buffer_string(&written), rows[i].written);
		buffer_deinit(&written);
	}
}

static void progress_tells_rate_and_time_left_once_they_mean_something(void **state)
{
	char text[PROGRESS_LINE_SIZE_MAX];

	(void)state;
	progress_text("anna", "bytes", 0, 0, 0, 0, text);
	assert_string_equal(text, "anna ...");
	progress_text("anna", "bytes", 512, 1024, 0, 100, text);
	assert_string_equal(text, "anna [##########..........] 512 bytes of 1.0 KiB");
	progress_text("anna", "bytes", 10 << 20, 40 << 20, 0, 10000, text);
	assert_string_equal(
		text, "anna [#####...............] 10.0 MiB of 40.0 MiB, 1.0 MiB/s, 0:30 left");
	/* What was there before is no rate. */
	progress_text("x", "accounts", 600, 1200, 500, 1000, text);
	assert_string_equal(
		text, "x [##########..........] 600 of 1200 accounts, 100/s, 0:06 left");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_of_one_and_two_words_are_known),
		cmocka_unit_test(options_go_after_the_command_and_its_names),
		cmocka_unit_test(what_a_command_does_not_take_is_refused),
		cmocka_unit_test(a_request_carries_any_bytes_of_an_argument),
		cmocka_unit_test(a_malformed_request_is_refused),
		cmocka_unit_test(the_last_line_of_an_answer_is_ok_or_a_code_with_its_text),
		cmocka_unit_test(json_strings_are_always_well_formed),
		cmocka_unit_test(lines_of_a_password_file_are_bounded),
		cmocka_unit_test(addresses_of_accounts_are_read_and_written),
		cmocka_unit_test(progress_tells_rate_and_time_left_once_they_mean_something),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
