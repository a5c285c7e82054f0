/*
 * What searches keep (imap/imap_columns.h): which columns are given, that they are bounded, and
 * that searches find with them what they would find without, whatever changed since.
 */
#include "imap_fixture.h"

#include "imap/imap_columns.h"

#include "base/mem.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>

static struct imap_view *view_of(uint32_t account, uint32_t uidvalidity, uint32_t mailbox)
{
	struct mailbox_record record = { .name = BYTES_LITERAL("Work"),
		.uidvalidity = uidvalidity };
	struct shared_place place = { .account = account };

	memcpy(record.id.bytes, &mailbox, sizeof(mailbox));
	return imap_view_new(&record, &place, false);
}

/* Keeps a column of the mailbox that has `count` messages. */
static void keep(struct imap_columns *columns, uint32_t mailbox, const char *name, size_t count)
{
	struct imap_view *view = view_of(7, 5, mailbox);
	struct imap_column *column = imap_column_new(columns, view, bytes_of_string(name), 100);

	for (uint32_t uid = 1; uid <= count; uid++)
		imap_column_add_field(column, uid, BYTES_LITERAL("Subject: hay\r\n\r\n"), NULL);
	imap_columns_keep(columns, &column);
	assert_null(column);
	imap_view_free(&view);
}

/* How many messages the column has that is given; 0: none is. */
static size_t given(struct imap_columns *columns, uint32_t account, uint32_t uidvalidity,
	uint32_t mailbox, const char *name)
{
	struct imap_view *view = view_of(account, uidvalidity, mailbox);
	struct imap_column *column = imap_columns_take(columns, view, bytes_of_string(name));
	size_t count = column == NULL ? 0 : imap_column_count(column);

	imap_column_release(&column);
	imap_view_free(&view);
	return count;
}

static void only_that_very_column_is_given(void **state)
{
	struct imap_columns *columns = imap_columns_new(1 << 20);

	(void)state;
	keep(columns, 1, "Subject", 3);
	assert_int_equal(given(columns, 7, 5, 1, "SUBJECT"), 3);
	assert_int_equal(given(columns, 7, 6, 1, "Subject"), 0); /* another UIDVALIDITY */
	assert_int_equal(given(columns, 8, 5, 1, "Subject"), 0); /* another account */
	assert_int_equal(given(columns, 7, 5, 2, "Subject"), 0); /* another mailbox */
	assert_int_equal(given(columns, 7, 5, 1, "To"), 0);
	assert_int_equal(given(columns, 7, 5, 1, ""), 0);
	imap_columns_free(&columns);
}

static void all_together_are_bounded(void **state)
{
	struct imap_columns *columns = imap_columns_new(64 * 1024);
	size_t kept = 0;

	(void)state;
	for (uint32_t i = 1; i <= 40; i++) {
		keep(columns, i, "Subject", 800);
		assert_int_equal(given(columns, 7, 5, i, "Subject"), 800);
	}
	for (uint32_t i = 1; i <= 40; i++)
		kept += given(columns, 7, 5, i, "Subject") > 0;
	/* 800 messages take 12 bytes each, and not more than twice that. */
	assert_in_range(kept, 1, 64 * 1024 / (800 * 12));
	imap_columns_free(&columns);
}

static void what_is_too_large_is_left_out(void **state)
{
	struct imap_columns *columns = imap_columns_new(64 * 1024);
	struct imap_view *view = view_of(7, 5, 1);
	struct imap_column *column = imap_column_new(columns, view, BYTES_LITERAL("Subject"), 100);
	struct buffer message = { NULL, 0, 0 };
	char long_name[IMAP_COLUMN_NAME_SIZE_MAX + 2];

	(void)state;
	buffer_append_string(&message, "Subject: ");
	memset(buffer_extend(&message, 5000), 'x', 5000);
	imap_column_add_field(column, 1, buffer_bytes(&message), NULL);
	assert_int_equal(imap_column_count(column), 0);
	for (uint32_t uid = 1; uid <= 100000; uid++)
		imap_column_add_field(column, uid, BYTES_LITERAL("Subject: hay\r\n\r\n"), NULL);
	assert_in_range(imap_column_count(column), 1000, 8000);
	imap_columns_keep(columns, &column);
	assert_in_range(given(columns, 7, 5, 1, "Subject"), 1000, 8000);
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	assert_null(imap_column_new(columns, view, bytes_of_string(long_name), 1));
	assert_int_equal(given(columns, 7, 5, 1, long_name), 0);
	buffer_deinit(&message);
	imap_view_free(&view);
	imap_columns_free(&columns);
}

/* ---- through the server ---- */

static const char *const subjects[] = { "hay", "a Needle in it",
	"=?utf-8?q?n=C3=89edle?=", "need\r\n le", "=?utf-8?b?bmVlZGxl?=", "" };
static const char *const flags[] = { "\\Flagged", "\\Seen", "\\Deleted" };
#define SUBJECT_COUNT 6
#define FLAG_COUNT 3
#define MESSAGE_COUNT_MAX 400

struct model { /* of the mailbox; by UID */
	unsigned subjects[MESSAGE_COUNT_MAX + 1];
	bool has_flag[MESSAGE_COUNT_MAX + 1][FLAG_COUNT];
	bool is_there[MESSAGE_COUNT_MAX + 1];
	uint32_t last;
	struct random random;
	struct net_client *client;
};

/* Reads up to the tagged answer, which is OK; the line that begins with `start` is in *found. */
static void act(struct net_client *client, const char *command, const char *start, char found[8192])
{
	struct error error = { 0 };
	struct bytes line;

	found[0] = '\0';
	test_send(client, "s ");
	test_send(client, command);
	test_send(client, "\r\n");
	for (;;) {
		assert_int_equal(
			net_client_read_line(client, 8000, &line, HELPER_TIMEOUT_MS, &error), 0);
		if (bytes_start_with(line, BYTES_LITERAL("s ")))
			break;
		if (bytes_start_with(line, bytes_of_string(start)))
			snprintf(found, 8192, "%.*s", BYTES_ARGS(line));
	}
	assert_true(bytes_start_with(line, BYTES_LITERAL("s OK ")));
}

static void add_message(struct model *model)
{
	unsigned subject = (unsigned)random_below(&model->random, SUBJECT_COUNT);
	struct buffer command = { NULL, 0, 0 };
	char text[100], found[8192];

	if (model->last == MESSAGE_COUNT_MAX)
		return;
	snprintf(text, sizeof(text), "Subject: %s\r\nFrom: a@b.example\r\n\r\n%u",
		subjects[subject], (unsigned)model->last);
	buffer_printf(&command, "APPEND INBOX {%zu+}\r\n%s", strlen(text), text);
	act(model->client, buffer_string(&command), "*", found);
	model->subjects[++model->last] = subject;
	model->is_there[model->last] = true;
	buffer_deinit(&command);
}

static void change_flag(struct model *model)
{
	uint32_t uid = 1 + (uint32_t)random_below(&model->random, model->last);
	size_t flag = (size_t)random_below(&model->random, FLAG_COUNT);
	bool is_set = random_below(&model->random, 2) == 0;
	char command[100], found[8192];

	snprintf(command, sizeof(command), "UID STORE %u %cFLAGS.SILENT (%s)", uid,
		is_set ? '+' : '-', flags[flag]);
	act(model->client, command, "*", found);
	model->has_flag[uid][flag] = is_set;
}

static void expunge(struct model *model)
{
	char found[8192];

	act(model->client, "EXPUNGE", "*", found);
	for (uint32_t uid = 1; uid <= model->last; uid++) {
		if (model->has_flag[uid][2])
			model->is_there[uid] = false;
	}
}

/* `subject` and `flag`: counted from 1; 0: whichever. */
static void expect_found(
	struct model *model, const char *criteria, size_t flag, bool is_set, bool has_needle)
{
	/* Which subjects have "needle": an accent is a character of its own when decomposed. */
	static const bool needles[SUBJECT_COUNT] = { false, true, false, false, true, false };
	char command[200], found[8192];
	struct buffer wanted = { NULL, 0, 0 };

	snprintf(command, sizeof(command), "UID SEARCH %s", criteria);
	act(model->client, command, "* SEARCH", found);
	buffer_append_string(&wanted, "* SEARCH");
	for (uint32_t uid = 1; uid <= model->last; uid++) {
		if (!model->is_there[uid] || (has_needle && !needles[model->subjects[uid]]) ||
			(flag > 0 && model->has_flag[uid][flag - 1] != is_set))
			continue;
		buffer_printf(&wanted, " %u", uid);
	}
	assert_string_equal(found, buffer_string(&wanted));
	buffer_deinit(&wanted);
}

/* A listing may note what searches then use. */
static void list(struct model *model)
{
	static const char *const listings[] = { "NOOP", "FETCH 1:* (FLAGS)",
		"UID FETCH 1:* (ENVELOPE)", "UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
		"UID FETCH 5:* (UID)", "FETCH 1:* (BODYSTRUCTURE)" };
	char found[8192];

	act(model->client, "NOOP", "*", found);
	act(model->client, listings[random_below(&model->random, 6)], "*", found);
}

static void expect_all(struct model *model)
{
	list(model);
	expect_found(model, "FLAGGED", 1, true, false);
	expect_found(model, "UNFLAGGED", 1, false, false);
	expect_found(model, "UNSEEN", 2, false, false);
	expect_found(model, "SUBJECT needle", 0, false, true);
	expect_found(model, "SUBJECT needle UNSEEN", 2, false, true);
	expect_found(model, "HEADER subject NEEDLE SEEN ALL", 2, true, true);
	expect_found(model, "FROM b.example KEYWORD \\Deleted", 3, true, false);
	expect_found(model, "OR SUBJECT needle SUBJECT needle NOT FLAGGED", 1, false, true);
}

static void searches_find_what_is_there_whatever_changed(void **state)
{
	struct imap_fixture server;
	struct model model = { .random.state = 7 };
	char found[8192];

	(void)state;
	imap_fixture_start(&server);
	model.client = test_connect(server.port);
	test_expect_start(model.client, "* OK ");
	act(model.client, "LOGIN alice secret", "*", found);
	act(model.client, "SELECT INBOX", "*", found);
	for (int i = 0; i < 30; i++)
		add_message(&model);
	for (int round = 0; round < 25; round++) {
		expect_all(&model);
		for (uint64_t i = random_below(&model.random, 8); i > 0; i--)
			add_message(&model);
		for (uint64_t i = random_below(&model.random, 12); i > 0; i--)
			change_flag(&model);
		if (round % 5 == 4)
			expunge(&model);
	}
	expect_all(&model);
	net_client_free(&model.client);
	imap_fixture_stop(&server);
}

/* Each who may see a mailbox has a \\Seen of his own there. */
static void what_one_has_seen_another_may_not(void **state)
{
	struct imap_fixture server;
	struct model alice = { .random.state = 8 };
	struct net_client *bob;
	char found[8192];

	(void)state;
	imap_fixture_start(&server);
	alice.client = test_connect(server.port);
	test_expect_start(alice.client, "* OK ");
	act(alice.client, "LOGIN alice secret", "*", found);
	act(alice.client, "SELECT INBOX", "*", found);
	for (int i = 0; i < 20; i++)
		add_message(&alice);
	act(alice.client, "SETACL INBOX bob lrs", "*", found);
	bob = test_connect(server.port);
	test_expect_start(bob, "* OK ");
	act(bob, "LOGIN bob secret", "*", found);
	act(bob, "SELECT \"Other Users/alice\"", "*", found);
	act(bob, "STORE 1:5 +FLAGS (\\Seen)", "*", found);
	act(bob, "UID FETCH 1:* (FLAGS)", "*", found);
	act(bob, "SEARCH RETURN (COUNT) SEEN", "* ESEARCH", found);
	assert_non_null(strstr(found, "COUNT 5"));
	act(bob, "SEARCH RETURN (COUNT) UNFLAGGED", "* ESEARCH", found);
	act(alice.client, "SEARCH RETURN (COUNT) SEEN", "* ESEARCH", found);
	assert_non_null(strstr(found, "COUNT 0"));
	act(alice.client, "SEARCH RETURN (COUNT) UNSEEN", "* ESEARCH", found);
	assert_non_null(strstr(found, "COUNT 20"));
	act(bob, "SEARCH RETURN (COUNT) UNSEEN", "* ESEARCH", found);
	assert_non_null(strstr(found, "COUNT 15"));
	net_client_free(&bob);
	net_client_free(&alice.client);
	imap_fixture_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_that_very_column_is_given),
		cmocka_unit_test(all_together_are_bounded),
		cmocka_unit_test(what_is_too_large_is_left_out),
		cmocka_unit_test(searches_find_what_is_there_whatever_changed),
		cmocka_unit_test(what_one_has_seen_another_may_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
