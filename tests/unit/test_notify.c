/* SYNC NOTIFY: what is watched is told as it commits, once, and never more than the peer reads. */
#include "sync_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct scene {
	struct node *a, *b; /* A watches B */
	atomic_uint wake_count;
	struct buffer news;
};

static void woken(void *context)
{
	struct scene *scene = context;

	scene->wake_count++;
}

static void connect(struct scene *scene, const struct sync_rights *rights)
{
	nodes_connect(scene->a, scene->b, rights);
	sync_session_on_news(scene->b->session, woken, scene);
}

static int setup(void **state)
{
	static struct scene scene;

	scene = (struct scene){ .a = node_new(), .b = node_new_with_account() };
	connect(&scene, NULL);
	*state = &scene;
	return 0;
}

static int teardown(void **state)
{
	struct scene *scene = *state;

	buffer_deinit(&scene->news);
	node_free(&scene->a);
	node_free(&scene->b);
	return 0;
}

static void ask(struct scene *scene, const char *request)
{
	struct buffer answer = { 0 };

	if (node_ask(scene->b, request, &answer) != 0)
		fail_msg("%s: %s", request, buffer_string(&answer));
	buffer_deinit(&answer);
}

/* What is told now, one line for each; how many they are. */
static unsigned told(struct scene *scene)
{
	unsigned count = 0;
	int rc;

	buffer_clear(&scene->news);
	while ((rc = sync_news(scene->b->session, &scene->news)) > 0) {
		buffer_append_string(&scene->news, "\n");
		count++;
	}
	assert_int_equal(rc, 0);
	return count;
}

static bool says(struct scene *scene, const char *text)
{
	return strstr(buffer_string(&scene->news), text) != NULL;
}

static uint64_t sequence(struct scene *scene)
{
	return node_header(scene->b).sequence;
}

static void what_changes_is_told_with_its_records(void **state)
{
	struct scene *scene = *state;
	char text[64];

	ask(scene, "NOTIFY %(ACCOUNTS (anna))");
	assert_int_equal(told(scene), 0);
	snprintf(text, sizeof(text), "NEWS %%(ACCOUNT anna SINCE %llu ",
		(unsigned long long)sequence(scene));
	node_append(scene->b, "INBOX", "one");
	assert_true(scene->wake_count > 0);
	assert_int_equal(told(scene), 1);
	assert_true(says(scene, text));
	assert_true(says(scene, "MESSAGES (%("));
	assert_false(says(scene, "BODIES"));
	assert_int_equal(told(scene), 0);
}

/* And is woken again after it has looked at everything. */
static void the_peer_is_woken_once_for_what_it_has_not_read(void **state)
{
	struct scene *scene = *state;
	unsigned before;

	ask(scene, "NOTIFY %(ACCOUNTS (anna))");
	told(scene);
	before = scene->wake_count;
	for (int i = 0; i < 20; i++)
		node_append(scene->b, "INBOX", "one");
	assert_int_equal(scene->wake_count, before + 1);
	assert_int_equal(told(scene), 1);
	node_append(scene->b, "INBOX", "two");
	assert_int_equal(scene->wake_count, before + 2);
}

static void small_bodies_come_with_their_records_if_asked_for(void **state)
{
	struct scene *scene = *state;

	ask(scene, "NOTIFY %(ACCOUNTS (anna) BODIES 1000)");
	node_append(scene->b, "INBOX", "one");
	assert_int_equal(told(scene), 1);
	assert_true(says(scene, "BODIES ("));
	assert_true(says(scene, "\r\n\r\none\r\n"));
	/* A flag is no reason to tell it again. */
	node_flag(scene->b, "INBOX", 1, "\\Seen");
	assert_int_equal(told(scene), 1);
	assert_false(says(scene, "BODIES"));
	ask(scene, "NOTIFY %(ACCOUNTS (anna) BODIES 10)");
	node_append(scene->b, "INBOX", "two");
	assert_int_equal(told(scene), 1);
	assert_false(says(scene, "BODIES"));
}

static void who_does_not_read_is_told_that_something_changed(void **state)
{
	struct scene *scene = *state;

	ask(scene, "NOTIFY %(ACCOUNTS (anna) RECORDS 5)");
	for (int i = 0; i < 10; i++)
		node_append(scene->b, "INBOX", "one");
	assert_int_equal(told(scene), 1);
	assert_false(says(scene, "SINCE"));
	assert_false(says(scene, "MESSAGES"));
	assert_true(says(scene, "DIGEST"));
	/* And from there on, with records again. */
	node_append(scene->b, "INBOX", "two");
	assert_int_equal(told(scene), 1);
	assert_true(says(scene, "SINCE"));
}

static void what_happened_before_is_told_from_the_sequence_given(void **state)
{
	struct scene *scene = *state;
	char request[100];

	node_append(scene->b, "INBOX", "one");
	snprintf(request, sizeof(request), "NOTIFY %%(ACCOUNTS (%%(ACCOUNT anna SINCE %llu)))",
		(unsigned long long)sequence(scene));
	ask(scene, request);
	assert_int_equal(told(scene), 0);
	node_append(scene->b, "INBOX", "two");
	ask(scene, request);
	assert_int_equal(told(scene), 1);
	assert_true(says(scene, "UID 2 "));
	assert_false(says(scene, "UID 1 "));
	/* A sequence that never was: ask. */
	ask(scene, "NOTIFY %(ACCOUNTS (%(ACCOUNT anna SINCE 999999)))");
	assert_int_equal(told(scene), 1);
	assert_false(says(scene, "SINCE"));
}

static void a_peer_is_told_of_all_accounts_and_new_ones(void **state)
{
	struct scene *scene = *state;
	uint32_t number;

	ask(scene, "NOTIFY %(ALL 1)");
	assert_int_equal(told(scene), 0);
	assert_int_equal(
		mail_account_open(scene->b->mail, BYTES_LITERAL("new"), true, NULL, &number), 0);
	node_append(scene->b, "INBOX", "one");
	assert_int_equal(told(scene), 2);
	assert_true(says(scene, "ACCOUNT new"));
	assert_true(says(scene, "ACCOUNT anna"));
	node_append(scene->b, "INBOX", "two");
	assert_int_equal(told(scene), 1);
	assert_true(says(scene, "SINCE"));
}

/* P9 */
static void a_user_is_told_of_his_own_account_only(void **state)
{
	struct scene *scene = *state;
	struct sync_rights rights = { .account = "bert" };
	struct buffer answer = { 0 };
	uint32_t bert;

	assert_int_equal(
		mail_account_open(scene->b->mail, BYTES_LITERAL("bert"), true, NULL, &bert), 0);
	connect(scene, &rights);
	assert_int_equal(node_ask(scene->b, "NOTIFY %(ACCOUNTS (anna))", &answer), ERR_REFUSED);
	assert_int_equal(
		node_ask(scene->b, "NOTIFY %(ACCOUNTS (%(ACCOUNT anna SINCE 0)))", &answer),
		ERR_REFUSED);
	buffer_deinit(&answer);
	ask(scene, "NOTIFY %(ALL 1)");
	node_append(scene->b, "INBOX", "of anna");
	assert_int_equal(told(scene), 0);
	assert_int_equal(scene->wake_count, 1); /* by NOTIFY itself */
	scene->b->account = bert;
	node_append(scene->b, "INBOX", "of bert");
	assert_int_equal(told(scene), 1);
}

static void a_peer_is_told_of_the_accounts_that_are_for_it(void **state)
{
	struct scene *scene = *state;
	struct sync_rights rights = { .is_full = true, .accounts = "b*" };

	connect(scene, &rights);
	ask(scene, "NOTIFY %(ALL 1)");
	node_append(scene->b, "INBOX", "of anna");
	assert_int_equal(told(scene), 0);
}

static void what_the_peer_brings_itself_is_no_news(void **state)
{
	struct scene *scene = *state;

	nodes_exchange(scene->b, scene->a, NULL);
	node_find_account(scene->a);
	connect(scene, NULL);
	ask(scene, "NOTIFY %(ALL 1)");
	node_append(scene->a, "INBOX", "of the peer");
	/* Over the connection that watches. */
	nodes_exchange(scene->a, scene->b, NULL);
	assert_int_equal(told(scene), 0);
	node_append(scene->b, "INBOX", "of others");
	assert_int_equal(told(scene), 1);
	assert_true(says(scene, "UID 2 "));
}

static void notify_none_ends_it(void **state)
{
	struct scene *scene = *state;

	ask(scene, "NOTIFY %(ACCOUNTS (anna))");
	assert_true(sync_is_watching(scene->b->session));
	ask(scene, "NOTIFY %(NONE 1)");
	assert_false(sync_is_watching(scene->b->session));
	node_append(scene->b, "INBOX", "one");
	assert_int_equal(told(scene), 0);
}

static void malformed_requests_leave_what_was_watched(void **state)
{
	static const char *const requests[] = { "NOTIFY %()", "NOTIFY %(ACCOUNTS anna)",
		"NOTIFY %(ACCOUNTS ((anna)))", "NOTIFY %(ACCOUNTS (%(SINCE 1)))",
		"NOTIFY %(ACCOUNTS (anna) RECORDS x)", "NOTIFY %(ALL 2)",
		"NOTIFY %(ACCOUNTS (%(ACCOUNT anna SINCE -1)))" };
	struct scene *scene = *state;
	struct buffer answer = { 0 };

	ask(scene, "NOTIFY %(ACCOUNTS (anna))");
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		assert_int_equal(node_ask(scene->b, requests[i], &answer), ERR_INVALID);
	assert_int_equal(node_ask(scene->b, "NOTIFY %(ACCOUNTS (nobody))", &answer), ERR_NOT_FOUND);
	buffer_deinit(&answer);
	node_append(scene->b, "INBOX", "one");
	assert_int_equal(told(scene), 1);
}

static void limits_are_cut_to_what_is_allowed(void **state)
{
	struct scene *scene = *state;
	struct buffer answer = { 0 };

	assert_int_equal(
		node_ask(scene->b, "NOTIFY %(ACCOUNTS (anna) RECORDS 99999999 BODIES 99999999)",
			&answer),
		0);
	assert_string_equal(buffer_string(&answer), "NOTIFY %(COUNT 1 RECORDS 1000 BODIES 65536)");
	buffer_deinit(&answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			what_changes_is_told_with_its_records, setup, teardown),
		cmocka_unit_test_setup_teardown(
			the_peer_is_woken_once_for_what_it_has_not_read, setup, teardown),
		cmocka_unit_test_setup_teardown(
			small_bodies_come_with_their_records_if_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(
			who_does_not_read_is_told_that_something_changed, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_happened_before_is_told_from_the_sequence_given, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_peer_is_told_of_all_accounts_and_new_ones, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_user_is_told_of_his_own_account_only, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_peer_is_told_of_the_accounts_that_are_for_it, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_the_peer_brings_itself_is_no_news, setup, teardown),
		cmocka_unit_test_setup_teardown(notify_none_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(
			malformed_requests_leave_what_was_watched, setup, teardown),
		cmocka_unit_test_setup_teardown(limits_are_cut_to_what_is_allowed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
