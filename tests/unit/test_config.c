/*
 * The configuration file: what is taken, and what is refused with which words.
 */
#include "chapard/config.h"
#include "test_folder.h"

#include "base/log.h"
#include "base/mem.h"
#include "chapard/config_private.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SMALLEST                                                                                   \
	"node = \"a\"\nstore { path = \"store\" }\nlisten imap { address = \"127.0.0.1:0\" }\n"

struct fixture {
	char folder[64];
	char file[128];
	struct config *config;
	struct error error;
};

static int fixture_init(void **state)
{
	struct fixture *fixture = mem_zalloc(sizeof(*fixture));

	strcpy(fixture->folder, "/tmp/chapar-config-XXXXXX");
	assert_non_null(test_folder_make(fixture->folder));
	snprintf(fixture->file, sizeof(fixture->file), "%s/chapard.conf", fixture->folder);
	*state = fixture;
	return 0;
}

static int fixture_deinit(void **state)
{
	struct fixture *fixture = *state;

	config_free(&fixture->config);
	unlink(fixture->file);
	rmdir(fixture->folder);
	free(fixture);
	return 0;
}

static void file_write(const char *path, const char *text, mode_t mode)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
	assert_int_equal(chmod(path, mode), 0);
}

static int load(struct fixture *fixture, const char *text)
{
	config_free(&fixture->config);
	fixture->error = (struct error){ 0 };
	file_write(fixture->file, text, 0644);
	return config_load(fixture->file, &fixture->config, &fixture->error);
}

/* The file is refused, on line `line` (0: of the file as a whole), and `words` are in the reason.
 */
static void assert_refused(struct fixture *fixture, const char *text, int line, const char *words)
{
	struct buffer place = { 0 };
	int rc = load(fixture, text);

	buffer_printf(&place, "%s:", fixture->file);
	if (line > 0)
		buffer_printf(&place, "%d: ", line);
	if (rc == 0 || strncmp(fixture->error.text, buffer_string(&place), place.len) != 0 ||
		strstr(fixture->error.text, words) == NULL)
		fail_msg("of\n%swanted %s%s, but got %d: %s", text, buffer_string(&place), words,
			rc, fixture->error.text);
	assert_int_equal(rc, ERR_INVALID);
	assert_null(fixture->config);
	buffer_deinit(&place);
}

static void a_small_file_is_enough_and_the_rest_has_its_defaults(void **state)
{
	struct fixture *fixture = *state;
	const struct config *config;

	assert_int_equal(load(fixture, SMALLEST), 0);
	config = fixture->config;
	assert_string_equal(config->node, "a");
	assert_false(config->allow_plaintext_loopback);
	assert_false(config->create_accounts_on_delivery);
	assert_int_equal(config->log_level, LOG_LEVEL_INFO);
	assert_int_equal(config->message_size_max, 64 * 1024 * 1024);
	assert_int_equal(config->workers, 32);
	assert_int_equal(config->io_threads, 2);
	assert_int_equal(config->store_compression, 1);
	assert_null(config->pid_file);
	assert_null(config->user);
	assert_int_equal(config->listener_count, 1);
	assert_int_equal(config->listeners[0].protocol, CONFIG_PROTOCOL_IMAP);
	assert_int_equal(config->listeners[0].tls, CONFIG_TLS_NONE);
	assert_string_equal(config->listeners[0].address.host, "127.0.0.1");
	assert_int_equal(config->peer_count, 0);
}

static void every_key_is_taken(void **state)
{
	struct fixture *fixture = *state;
	const struct config *config;
	const struct config_peer *peer;

	assert_int_equal(
		load(fixture,
			"# a comment\n"
			"node = a-1.x # after a value\n"
			"allow-plaintext-loopback = true\ncreate-accounts-on-delivery = true\n"
			"log-level = \"debug\"\nmessage-size-max = 1M\nworkers = 4\nio-threads = "
			"3\n"
			"connections-max = 50\nstop-timeout = 0\nuser = \"mail\"\npid-file = "
			"/run/x.pid\n"
			"store { path = /var/lib/chapar compression = 0 }\n"
			"tls { certificate = c.pem key = k.pem }\n"
			"listen inside { address = \"unix:lmtp.sock\" protocol = lmtp tls = none "
			"}\n"
			"sync-user b { password-file = b.secret }\n"
			"sync-user c { password-file = c.secret }\n"
			"peer b { address = \"[::1]:2143\" user = a password-file = a.secret\n"
			"  tls = implicit ca-file = ca.pem }\n"
			"other-users-prefix = \"Users\" shared-prefix = Common\n"
			"group office { members = \"anna Bert\" }\n"),
		0);
	config = fixture->config;
	assert_true(config->allow_plaintext_loopback && config->create_accounts_on_delivery);
	assert_int_equal(config->log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(config->message_size_max, 1024 * 1024);
	assert_int_equal(config->workers, 4);
	assert_int_equal(config->io_threads, 3);
	assert_int_equal(config->connections_max, 50);
	assert_int_equal(config->stop_timeout_s, 0);
	assert_string_equal(config->user, "mail");
	assert_int_equal(config->listeners[0].protocol, CONFIG_PROTOCOL_LMTP);
	assert_null(config->listeners[0].address.host);
	assert_int_equal(config->sync_user_count, 2);
	assert_string_equal(config->sync_users[1].name, "c");
	peer = &config->peers[0];
	assert_string_equal(peer->name, "b");
	assert_string_equal(peer->address.host, "::1");
	assert_int_equal(peer->address.port, 2143);
	assert_string_equal(peer->user, "a");
	assert_int_equal(peer->tls, CONFIG_TLS_IMPLICIT);
	assert_string_equal(config->other_users_prefix, "Users");
	assert_string_equal(config->shared_prefix, "Common");
	assert_string_equal(config->groups[0].name, "office");
	assert_string_equal(config->groups[0].members, "anna Bert");
}

static void a_group_has_its_members_in_the_form_of_names(void **state)
{
	struct fixture *fixture = *state;
	struct identity_groups *groups;
	struct identity user = { .name = "bert" };

	assert_int_equal(
		load(fixture, SMALLEST "group Office { members = \" anna,BERT\n\tcarl@X.org \" }\n"
				       "group none { members = \"\" }\n"),
		0);
	assert_string_equal(fixture->config->other_users_prefix, "Other Users");
	assert_string_equal(fixture->config->shared_prefix, "Shared");
	groups = config_groups_new(fixture->config);
	assert_int_equal(groups->count, 2);
	assert_string_equal(groups->groups[0].name, "office");
	assert_int_equal(groups->groups[0].member_count, 3);
	assert_string_equal(groups->groups[0].members[2], "carl@x.org");
	assert_int_equal(groups->groups[1].member_count, 0);
	user.groups = groups;
	assert_true(identity_is_member(&user, BYTES_LITERAL("office")));
	assert_false(identity_is_member(&user, BYTES_LITERAL("none")));
	strcpy(user.name, "carl");
	assert_false(identity_is_member(&user, BYTES_LITERAL("office")));
	config_groups_free(&groups);
	assert_null(groups);
}

static void relative_paths_begin_at_the_folder_of_the_file(void **state)
{
	struct fixture *fixture = *state;
	char wanted[160];

	assert_int_equal(load(fixture, "node = a store { path = sub/store } pid-file = /abs.pid\n"
				       "listen lmtp { address = \"unix:lmtp.sock\" }\n"),
		0);
	snprintf(wanted, sizeof(wanted), "%s/sub/store", fixture->folder);
	assert_string_equal(fixture->config->store_path, wanted);
	snprintf(wanted, sizeof(wanted), "%s/lmtp.sock", fixture->folder);
	assert_string_equal(fixture->config->listeners[0].address.path, wanted);
	assert_string_equal(fixture->config->pid_file, "/abs.pid");
}

static void the_title_of_a_listener_says_what_its_keys_do_not(void **state)
{
	struct fixture *fixture = *state;
	const struct config_listener *listeners;

	assert_int_equal(
		load(fixture,
			"node = a store { path = s } tls { certificate = c }\n"
			"listen imap { address = \"*:143\" } listen imaps { address = \"*:993\" }\n"
			"listen lmtp { address = \"unix:l\" }\n"
			"listen other { address = \"*:1\" protocol = imap tls = none }\n"),
		0);
	listeners = fixture->config->listeners;
	assert_int_equal(listeners[0].tls, CONFIG_TLS_START);
	assert_int_equal(listeners[1].protocol, CONFIG_PROTOCOL_IMAP);
	assert_int_equal(listeners[1].tls, CONFIG_TLS_IMPLICIT);
	assert_int_equal(listeners[2].protocol, CONFIG_PROTOCOL_LMTP);
	assert_int_equal(listeners[2].tls, CONFIG_TLS_NONE);
	assert_int_equal(listeners[3].tls, CONFIG_TLS_NONE);
}

static void what_is_wrong_is_refused_with_its_line(void **state)
{
	static const struct {
		const char *text;
		int line;
		const char *words;
	} rows[] = {
		{ SMALLEST "colour = \"red\"\n", 4, "colour" },             /* unknown key */
		{ SMALLEST "quota { size = 1 }\n", 4, "quota" },            /* unknown section */
		{ SMALLEST "\n\npeer b {\n\n speed = 1\n}\n", 8, "speed" }, /* in a section */
		{ SMALLEST "node = b\n", 4, "node is given twice" },
		{ SMALLEST "listen imap { address = \"*:1\" }\n", 4, "imap" }, /* same title */
		{ SMALLEST "store { path = t }\n", 4, "store" },
		{ SMALLEST "workers = 0\n", 4, "workers: \"0\" is not between 1 and 1024" },
		{ SMALLEST "workers = 1025\n", 4, "not between" },
		{ SMALLEST "workers = -1\n", 4, "not a number" },
		{ SMALLEST "workers = 0x10\n", 4, "not a number" },
		{ SMALLEST "workers = 18446744073709551616\n", 4, "too large" },
		{ SMALLEST "message-size-max = 17179869184G\n", 4, "not between" }, /* 2^64 */
		{ SMALLEST "message-size-max = 10KB\n", 4, "not a number" },
		{ SMALLEST "workers = \"\"\n", 4, "not a number" },
		{ SMALLEST "allow-plaintext-loopback = maybe\n", 4, "neither true nor false" },
		{ SMALLEST "log-level = loud\n", 4, "none of debug|info|warning|error" },
		{ SMALLEST "log-level = inf\n", 4, "none of" }, /* a prefix is not the word */
		{ SMALLEST "pid-file = \"\"\n", 4, "must not be empty" },
		{ SMALLEST "user = \"a\tb\"\n", 4, "control character" },
		{ SMALLEST "node\n", 0, "" },       /* the file ends too early */
		{ SMALLEST "listen x {\n", 0, "" }, /* likewise */
		{ SMALLEST "listen x { address = \"*:1\" }\n", 4, "protocol is missing" },
		{ SMALLEST "listen lmtp { address = \"host\" }\n", 4, "neither HOST:PORT" },
		{ SMALLEST "listen lmtp { address = \"host:65536\" }\n", 4, "not between" },
		{ SMALLEST "listen lmtp { address = \"::1:24\" }\n", 4, "IPv6" },
		{ SMALLEST "listen lmtp { address = \"unix:\" }\n", 4, "socket" },
		{ SMALLEST "listen imaps { address = \"*:1\" }\n", 4, "needs a tls section" },
		{ SMALLEST "sync-user b { }\n", 4,
			"sync-user b: password-file or certificate is missing" },
		{ SMALLEST "sync-user \"b c\" { password-file = x }\n", 4, "a name has" },
		{ SMALLEST "peer b { address = \"h:1\" user = a password-file = s pin = 12 }\n", 4,
			"64 hexadecimal" },
		{ SMALLEST "group a { }\n", 4, "members is missing" },
		{ SMALLEST "group a { members = \"b c/d\" }\n", 4, "\"c/d\" cannot be" },
		{ SMALLEST "shared-prefix = \"a/b\"\n", 4, "cannot be a level" },
		{ SMALLEST "shared-prefix = inbox\n", 4, "cannot be a level" },
		{ SMALLEST "other-users-prefix = \"*\"\n", 4, "cannot be a level" },
		{ SMALLEST "other-users-prefix = shared\n", 0, "are the same" },
		{ SMALLEST "peer a { address = \"h:1\" user = a password-file = s }\n", 4,
			"itself" },
		{ SMALLEST "peer b { address = \"h:0\" user = a password-file = s }\n", 4,
			"nobody" },
		{ SMALLEST "peer b { address = \"h:1\" user = a password-file = s tls = none\n"
			   "ca-file = c }\n",
			5, "need tls" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_refused(*state, rows[i].text, rows[i].line, rows[i].words);
}

static void the_store_leaves_room_for_the_name_of_its_socket(void **state)
{
	struct fixture *fixture = *state;
	char text[256];

	/* 107 bytes, less "/control.sock" */
	snprintf(text, sizeof(text),
		"node = a listen imap { address = \"*:1\" } store { path = /%0*d }\n", 93, 1);
	assert_int_equal(load(fixture, text), 0);
	snprintf(text, sizeof(text),
		"node = a listen imap { address = \"*:1\" } store { path = /%0*d }\n", 94, 1);
	assert_refused(fixture, text, 1, "longer than 94 bytes");
}

static void what_is_missing_is_named(void **state)
{
	struct fixture *fixture = *state;

	assert_refused(fixture, "store { path = s } listen imap { address = \"*:1\" }\n", 0,
		"node is missing");
	assert_refused(fixture, "node = a listen imap { address = \"*:1\" }\n", 0, "\"store\"");
	assert_refused(fixture, "node = a store { path = s }\n", 0, "\"listen\"");
	assert_refused(fixture, "node = a store { } listen imap { address = \"*:1\" }\n", 1,
		"store path is missing");
	assert_refused(fixture, "", 0, "node is missing");
}

static void a_pin_is_taken_as_openssl_prints_it(void **state)
{
	struct fixture *fixture = *state;
	struct buffer text = { 0 };

	buffer_append_string(&text, SMALLEST "peer b { address = \"h:1\" user = a password-file = s"
					     " pin = \"AB");
	for (int i = 0; i < 31; i++)
		buffer_append_string(&text, ":0C");
	buffer_append_string(&text, "\" }\n");
	assert_int_equal(load(fixture, buffer_string(&text)), 0);
	assert_true(fixture->config->peers[0].pin.is_set);
	assert_int_equal(fixture->config->peers[0].pin.bytes[0], 0xab);
	assert_int_equal(fixture->config->peers[0].pin.bytes[31], 0x0c);
	buffer_deinit(&text);
}

static void a_file_that_is_not_there_is_told_by_its_name(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(
		config_load(fixture->file, &fixture->config, &fixture->error), ERR_NOT_FOUND);
	assert_non_null(strstr(fixture->error.text, fixture->file));
	assert_int_equal(
		config_load(fixture->folder, &fixture->config, &fixture->error), ERR_INVALID);
}

static void a_password_file_is_one_line_that_others_cannot_read(void **state)
{
	static const struct {
		const char *text;
		mode_t mode;
		int rc;
	} rows[] = {
		{ "secret\n", 0600, 0 },
		{ "secret\r\n", 0640, 0 },
		{ "secret", 0400, 0 },
		{ "secret\n", 0604, ERR_REFUSED }, /* readable for all */
		{ "secret\n", 0620, ERR_REFUSED }, /* writable for the group */
		{ "\n", 0600, ERR_INVALID },
		{ "", 0600, ERR_INVALID },
		{ "one\ntwo\n", 0600, ERR_INVALID },
	};
	struct fixture *fixture = *state;
	struct buffer secret = { 0 };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unlink(fixture->file);
		file_write(fixture->file, rows[i].text, rows[i].mode);
		assert_int_equal(
			config_secret_read(fixture->file, &secret, &fixture->error), rows[i].rc);
		if (rows[i].rc == 0)
			assert_string_equal(bytes_equal_string(buffer_bytes(&secret), "secret")
						    ? "same"
						    : "other",
				"same");
	}
	unlink(fixture->file);
	assert_int_equal(
		config_secret_read(fixture->file, &secret, &fixture->error), ERR_NOT_FOUND);
	buffer_deinit(&secret);
}

/* "log-level" is a line ".B log\-level". */
static bool manual_tells(const char *manual, const struct config_key *key)
{
	struct buffer line = { 0 };
	bool is_told;

	buffer_append_string(&line, "\n.B ");
	for (const char *c = key->name; *c != '\0'; c++)
		buffer_printf(&line, "%s%c", *c == '-' ? "\\" : "", *c);
	buffer_append_byte(&line, '\n');
	is_told = strstr(manual, buffer_string(&line)) != NULL;
	buffer_deinit(&line);
	return is_told;
}

static void the_manual_tells_every_key(void **state)
{
	struct buffer manual = { 0 };
	FILE *in = fopen(CHAPAR_MANUAL_FILE, "r");
	int byte;

	(void)state;
	assert_non_null(in);
	while ((byte = getc(in)) != EOF)
		buffer_append_byte(&manual, byte);
	fclose(in);
	for (size_t i = 0; i < CONFIG_SECTION_COUNT; i++)
		for (size_t k = 0; k < config_sections[i].key_count; k++)
			if (!manual_tells(buffer_string(&manual), &config_sections[i].keys[k]))
				fail_msg("%s %s", config_sections[i].name,
					config_sections[i].keys[k].name);
	buffer_deinit(&manual);
}

static void the_example_file_is_right(void **state)
{
	struct fixture *fixture = *state;
	int rc = config_load(CHAPAR_EXAMPLE_FILE, &fixture->config, &fixture->error);

	if (rc != 0)
		fail_msg("%s", fixture->error.text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_init, fixture_deinit)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_small_file_is_enough_and_the_rest_has_its_defaults),
		TEST(every_key_is_taken),
		TEST(a_group_has_its_members_in_the_form_of_names),
		TEST(relative_paths_begin_at_the_folder_of_the_file),
		TEST(the_title_of_a_listener_says_what_its_keys_do_not),
		TEST(what_is_wrong_is_refused_with_its_line),
		TEST(what_is_missing_is_named),
		TEST(the_store_leaves_room_for_the_name_of_its_socket),
		TEST(a_pin_is_taken_as_openssl_prints_it),
		TEST(a_file_that_is_not_there_is_told_by_its_name),
		TEST(a_password_file_is_one_line_that_others_cannot_read),
		TEST(the_manual_tells_every_key),
		TEST(the_example_file_is_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
