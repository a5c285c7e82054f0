/*
 * The UIDs that are kept between selections (imap/imap_uid_cache.h): which are given, that they are
 * bounded, and that a client who selects again sees what is there, whatever became of it meanwhile.
 */
#include "imap_fixture.h"

#include "imap/imap_uid_cache.h"

#include "mail/expiry.h"

#include <stdlib.h>

static struct imap_view *view_of(uint32_t account, uint32_t uidvalidity, uint32_t mailbox)
{
	struct mailbox_record record = { .name = BYTES_LITERAL("Work"),
		.uidvalidity = uidvalidity };
	struct shared_place place = { .account = account };

	memcpy(record.id.bytes, &mailbox, sizeof(mailbox));
	return imap_view_new(&record, &place, false);
}

/* One that shows `count` messages, the first with UID `first`, as of `modseq`. */
static struct imap_view *full_view_of(
	uint32_t mailbox, uint32_t first, size_t count, uint64_t modseq)
{
	struct imap_view *view = view_of(7, 5, mailbox);

	view->uids = calloc(count, sizeof(*view->uids));
	assert_non_null(view->uids);
	for (size_t i = 0; i < count; i++)
		view->uids[i] = first + (uint32_t)i;
	view->count = view->room = count;
	view->modseq = modseq;
	return view;
}

static void keep(struct imap_uid_cache *cache, uint32_t mailbox, uint32_t first, size_t count,
	uint64_t modseq)
{
	struct imap_view *view = full_view_of(mailbox, first, count, modseq);

	imap_uid_cache_put(cache, view);
	imap_view_free(&view);
}

/* The number of UIDs that a new view of it gets. */
static size_t given(struct imap_uid_cache *cache, uint32_t account, uint32_t uidvalidity,
	uint32_t mailbox, uint64_t modseq_max)
{
	struct imap_view *view = view_of(account, uidvalidity, mailbox);
	size_t count = 0;

	if (imap_uid_cache_take(cache, view, modseq_max)) {
		count = view->count;
		assert_true(view->modseq <= modseq_max);
		for (size_t i = 1; i < count; i++)
			assert_true(view->uids[i - 1] < view->uids[i]);
	} else {
		assert_int_equal(view->count, 0);
		assert_int_equal(view->modseq, 0);
	}
	imap_view_free(&view);
	return count;
}

static void only_that_very_mailbox_is_given(void **state)
{
	struct imap_uid_cache *cache = imap_uid_cache_new();

	(void)state;
	keep(cache, 1, 10, 3, 100);
	assert_int_equal(given(cache, 7, 5, 1, 100), 3);
	assert_int_equal(given(cache, 7, 5, 1, 5000), 3);
	assert_int_equal(given(cache, 7, 6, 1, 5000), 0); /* another UIDVALIDITY */
	assert_int_equal(given(cache, 8, 5, 1, 5000), 0); /* another account */
	assert_int_equal(given(cache, 7, 5, 2, 5000), 0); /* another mailbox */
	imap_uid_cache_free(&cache);
}

/* A reader whose snapshot is older than what another session kept. */
static void what_a_snapshot_does_not_show_is_not_given(void **state)
{
	struct imap_uid_cache *cache = imap_uid_cache_new();

	(void)state;
	keep(cache, 1, 10, 3, 100);
	assert_int_equal(given(cache, 7, 5, 1, 99), 0);
	assert_int_equal(given(cache, 7, 5, 1, 100), 3);
	imap_uid_cache_free(&cache);
}

static void what_was_kept_last_stays(void **state)
{
	struct imap_uid_cache *cache = imap_uid_cache_new();

	(void)state;
	keep(cache, 1, 10, 3, 100);
	keep(cache, 1, 11, 5, 200);
	assert_int_equal(given(cache, 7, 5, 1, 200), 5);
	imap_uid_cache_free(&cache);
}

/* What a view of it gets of what SELECT looked for. */
static void expect_looked(struct imap_uid_cache *cache, uint32_t seen_account, uint64_t modseq_max,
	uint32_t unseen_first, size_t keyword_count)
{
	struct imap_view *view = view_of(7, 5, 1);

	view->seen_account = seen_account;
	assert_true(imap_uid_cache_take(cache, view, modseq_max));
	assert_int_equal(view->unseen_first, unseen_first);
	assert_int_equal(view->keyword_count, keyword_count);
	assert_int_equal(view->looked_modseq, unseen_first == 0 ? 0 : modseq_max);
	if (keyword_count > 0) {
		assert_string_equal(view->keywords[0], "Work");
		assert_string_equal(view->keywords[1], "$Forwarded");
	}
	imap_view_free(&view);
}

static void what_select_looked_for_is_given_to_the_owner_while_nothing_changed(void **state)
{
	struct imap_uid_cache *cache = imap_uid_cache_new();
	struct imap_view *view = full_view_of(1, 10, 3, 100);

	(void)state;
	view->looked_modseq = 100;
	view->unseen_first = 11;
	assert_true(imap_view_add_keyword(view, BYTES_LITERAL("Work")));
	assert_false(imap_view_add_keyword(view, BYTES_LITERAL("work")));
	assert_true(imap_view_add_keyword(view, BYTES_LITERAL("$Forwarded")));
	imap_uid_cache_put(cache, view);
	expect_looked(cache, 0, 100, 11, 2);
	expect_looked(cache, 0, 101, 0, 0);
	expect_looked(cache, 9, 100, 0, 0);
	/* Nor is it lost to one who knows no more than the UIDs, but to one who knows later ones.
	 */
	view->looked_modseq = 0;
	imap_uid_cache_put(cache, view);
	expect_looked(cache, 0, 100, 11, 2);
	view->modseq = 101;
	imap_uid_cache_put(cache, view);
	expect_looked(cache, 0, 101, 0, 0);
	imap_view_free(&view);
	imap_uid_cache_free(&cache);
}

static void a_view_with_what_vanished_is_not_kept(void **state)
{
	struct imap_uid_cache *cache = imap_uid_cache_new();
	struct imap_view *view = full_view_of(1, 10, 3, 100);

	(void)state;
	uid_set_add(&view->vanished, 11, 11);
	imap_uid_cache_put(cache, view);
	assert_int_equal(given(cache, 7, 5, 1, 100), 0);
	imap_view_free(&view);
	imap_uid_cache_free(&cache);
}

/* Each tenth of the limit: no more than ten at once, and the one kept last among them. */
static void all_together_are_bounded(void **state)
{
	const size_t count = IMAP_UID_CACHE_SIZE_MAX / sizeof(uint32_t) / 10;
	struct imap_uid_cache *cache = imap_uid_cache_new();
	size_t kept = 0;

	(void)state;
	for (uint32_t i = 1; i <= 40; i++) {
		keep(cache, i, 1, count, 100);
		assert_int_equal(given(cache, 7, 5, i, 100), count);
	}
	for (uint32_t i = 1; i <= 40; i++)
		kept += given(cache, 7, 5, i, 100) > 0;
	assert_in_range(kept, 1, 10);
	keep(cache, 41, 1, IMAP_UID_CACHE_SIZE_MAX / sizeof(uint32_t) + 1, 100);
	assert_int_equal(given(cache, 7, 5, 41, 100), 0);
	imap_uid_cache_free(&cache);
}

/* ---- through the server ---- */

static struct net_client *log_in(const struct imap_fixture *server)
{
	struct net_client *client = test_connect(server->port);

	test_expect_start(client, "* OK ");
	test_send(client, "a LOGIN alice secret\r\n");
	test_expect_start(client, "a OK ");
	return client;
}

/* Reads up to the tagged answer, which is OK; true if `line_wanted` came before. */
static bool act(struct net_client *client, const char *command, const char *line_wanted)
{
	struct error error = { 0 };
	struct bytes line;
	bool has_come = false;

	test_send(client, "s ");
	test_send(client, command);
	test_send(client, "\r\n");
	for (;;) {
		assert_int_equal(
			net_client_read_line(client, 1000, &line, HELPER_TIMEOUT_MS, &error), 0);
		if (bytes_start_with(line, BYTES_LITERAL("s ")))
			break;
		has_come |= bytes_equal_string(line, line_wanted);
	}
	assert_true(bytes_start_with(line, BYTES_LITERAL("s OK ")));
	return has_come;
}

static void expect_there(struct net_client *client, const char *exists, const char *uids)
{
	assert_true(act(client, "EXAMINE INBOX", exists));
	assert_true(act(client, "UID SEARCH ALL", uids));
	act(client, "UNSELECT", "");
}

static void who_selects_again_sees_what_is_there(void **state)
{
	struct imap_fixture server;
	struct net_client *reader, *writer;
	struct error error = { 0 };

	(void)state;
	imap_fixture_start(&server);
	writer = log_in(&server);
	for (int i = 0; i < 5; i++)
		act(writer, "APPEND INBOX {5+}\r\na: b\n", "");
	reader = log_in(&server);
	expect_there(reader, "* 5 EXISTS", "* SEARCH 1 2 3 4 5");
	assert_true(act(writer, "SELECT INBOX", "* 5 EXISTS"));
	act(writer, "UID STORE 2,4 +FLAGS.SILENT (\\Deleted)", "");
	assert_true(act(writer, "UID EXPUNGE 2", "* 2 EXPUNGE"));
	assert_true(act(writer, "APPEND INBOX {5+}\r\na: b\n", "* 5 EXISTS"));
	expect_there(reader, "* 5 EXISTS", "* SEARCH 1 3 4 5 6");
	/* And where it is forgotten that a message was there. */
	assert_true(act(writer, "UID EXPUNGE 4", "* 3 EXPUNGE"));
	while (mail_expire(server.mail, UINT64_MAX, &error) > 0)
		;
	expect_there(reader, "* 4 EXISTS", "* SEARCH 1 3 5 6");
	net_client_free(&reader);
	net_client_free(&writer);
	imap_fixture_stop(&server);
}

#define FLAGS_OF "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft"

static void who_selects_again_is_told_of_flags_as_they_are(void **state)
{
	struct imap_fixture server;
	struct net_client *reader, *writer;

	(void)state;
	imap_fixture_start(&server);
	writer = log_in(&server);
	for (int i = 0; i < 20; i++)
		act(writer, "APPEND INBOX {5+}\r\na: b\n", "");
	act(writer, "SELECT INBOX", "");
	act(writer, "STORE 1 +FLAGS (\\Seen Work)", "");
	reader = log_in(&server);
	for (int i = 0; i < 3; i++) {
		assert_true(act(reader, "SELECT INBOX", FLAGS_OF " Work)"));
		assert_true(act(reader, "SELECT INBOX", "* OK [UNSEEN 2] First unseen"));
	}
	act(writer, "STORE 2 +FLAGS (\\Seen Later)", "");
	for (int i = 0; i < 3; i++) {
		assert_true(act(reader, "EXAMINE INBOX", FLAGS_OF " Work Later)"));
		assert_true(act(reader, "EXAMINE INBOX", "* OK [UNSEEN 3] First unseen"));
	}
	/* So much changes while it is selected that its UIDs are kept at the end. */
	act(writer, "STORE 1:* +FLAGS (\\Seen \\Deleted)", "");
	act(writer, "STORE 3 -FLAGS (\\Deleted)", "");
	act(writer, "STORE 1:2 -FLAGS (Work Later)", "");
	act(writer, "CLOSE", "");
	for (int i = 0; i < 3; i++) {
		assert_true(act(reader, "SELECT INBOX", FLAGS_OF ")"));
		assert_true(act(reader, "EXAMINE INBOX", "* 1 EXISTS"));
		assert_false(act(reader, "SELECT INBOX", "* OK [UNSEEN 1] First unseen"));
	}
	expect_there(reader, "* 1 EXISTS", "* SEARCH 3");
	net_client_free(&reader);
	net_client_free(&writer);
	imap_fixture_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_that_very_mailbox_is_given),
		cmocka_unit_test(what_a_snapshot_does_not_show_is_not_given),
		cmocka_unit_test(what_was_kept_last_stays),
		cmocka_unit_test(
			what_select_looked_for_is_given_to_the_owner_while_nothing_changed),
		cmocka_unit_test(a_view_with_what_vanished_is_not_kept),
		cmocka_unit_test(all_together_are_bounded),
		cmocka_unit_test(who_selects_again_sees_what_is_there),
		cmocka_unit_test(who_selects_again_is_told_of_flags_as_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
