/* A channel and a peer on a loopback port. */
#include "chapard/channel.h"
#include "fake_peer.h"
#include "sync_fixture.h"
#include "test_folder.h"

#include "base/clock.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 20000 /* until a test says that something does not happen */

struct link {
	char path_a[64], path_b[64];
	struct node a, b; /* stores on disk, since threads share them */
	struct fake_peer *peer;
	struct channel *channel;
	const char *accounts; /* what is set here is the next channel's */
	uint64_t rate_max;
};

static void open_node(struct node *node, const char *path)
{
	struct store_options options = { .path = path, .create = true };
	struct error error;

	assert_int_equal(store_open(&options, &error, &node->store), 0);
	assert_int_equal(mail_open(node->store, clock_system(), &node->mail), 0);
	assert_int_equal(
		mail_account_open(node->mail, BYTES_LITERAL("anna"), true, NULL, &node->account),
		0);
}

static void start_channel(struct link *link, const char *password)
{
	struct channel_options options = { .name = "b",
		.link = { .host = "127.0.0.1",
			.port = fake_peer_port(link->peer),
			.user = "sync",
			.password = password },
		.accounts = link->accounts,
		.rate_max = link->rate_max };

	link->channel = channel_start(link->a.mail, &options);
}

static int setup(void **state)
{
	static struct link link;

	log_level_set(LOG_LEVEL_ERROR);
	link = (struct link){ .path_a = "/tmp/test_channel_a_XXXXXX",
		.path_b = "/tmp/test_channel_b_XXXXXX" };
	assert_non_null(test_folder_make(link.path_a));
	assert_non_null(test_folder_make(link.path_b));
	open_node(&link.a, link.path_a);
	open_node(&link.b, link.path_b);
	link.peer = fake_peer_new(link.b.mail);
	*state = &link;
	return 0;
}

static void remove_folder(const char *path)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	assert_int_equal(system(command), 0);
}

static int teardown(void **state)
{
	struct link *link = *state;

	channel_stop(&link->channel);
	fake_peer_free(&link->peer);
	mail_close(&link->a.mail);
	mail_close(&link->b.mail);
	store_close(&link->a.store);
	store_close(&link->b.store);
	remove_folder(link->path_a);
	remove_folder(link->path_b);
	return 0;
}

static bool are_equal(struct link *link)
{
	struct account_header a = node_header(&link->a), b = node_header(&link->b);

	return digest_equal(a.digest, b.digest) && a.message_count == b.message_count;
}

/* Returns after how many milliseconds the copies were equal. */
static uint64_t wait_until_equal(struct link *link)
{
	uint64_t begin = clock_monotonic_ms();

	while (!are_equal(link)) {
		if (clock_monotonic_ms() - begin > WAIT_MS)
			fail_msg("the copies did not become equal");
		usleep(500);
	}
	return clock_monotonic_ms() - begin;
}

static struct channel_status status_of(struct link *link)
{
	struct channel_status status;

	channel_get_status(link->channel, &status);
	return status;
}

static void what_was_there_before_the_channel_is_brought_over(void **state)
{
	struct link *link = *state;

	node_append(&link->a, "INBOX", "one");
	node_append(&link->a, "Work", "two");
	start_channel(link, "secret");
	wait_until_equal(link);
	assert_int_equal(node_count(&link->b, "Work"), 1);
}

static void a_change_is_brought_over_at_once(void **state)
{
	struct link *link = *state;
	uint64_t worst = 0;

	start_channel(link, "secret");
	wait_until_equal(link);
	for (int i = 0; i < 20; i++) {
		char text[32];
		uint64_t lag;

		snprintf(text, sizeof(text), "message %d", i);
		node_append(&link->a, "INBOX", text);
		lag = wait_until_equal(link);
		worst = lag > worst ? lag : worst;
	}
	assert_true(worst < 2000);
	assert_true(status_of(link).is_connected);
	assert_int_equal(status_of(link).failing_count, 0);
}

static void a_message_costs_one_put_and_one_apply(void **state)
{
	struct link *link = *state;
	unsigned puts, applies;

	node_append(&link->a, "INBOX", "one");
	start_channel(link, "secret");
	wait_until_equal(link);
	puts = fake_peer_count(link->peer, "PUT");
	applies = fake_peer_count(link->peer, "APPLY");
	node_append(&link->a, "INBOX", "two");
	wait_until_equal(link);
	assert_int_equal(fake_peer_count(link->peer, "PUT"), puts + 1);
	assert_int_equal(fake_peer_count(link->peer, "APPLY"), applies + 1);
}

static void changes_of_the_peer_are_merged_when_something_is_sent(void **state)
{
	struct link *link = *state;

	start_channel(link, "secret");
	node_append(&link->a, "INBOX", "one");
	wait_until_equal(link);
	node_append(&link->b, "INBOX", "from b");
	node_append(&link->a, "INBOX", "from a");
	wait_until_equal(link);
	assert_int_equal(node_count(&link->a, "INBOX"), 3);
	assert_int_equal(node_count(&link->b, "INBOX"), 3);
}

static void a_link_that_breaks_before_an_apply_is_made_anew(void **state)
{
	struct link *link = *state;

	start_channel(link, "secret");
	node_append(&link->a, "INBOX", "one");
	wait_until_equal(link);
	fake_peer_cut_at(link->peer, "APPLY", 1, false);
	node_append(&link->a, "INBOX", "two");
	wait_until_equal(link);
	assert_true(status_of(link).connect_count >= 2);
}

/* P8 */
static void a_link_that_breaks_after_an_apply_gives_no_duplicates(void **state)
{
	struct link *link = *state;

	start_channel(link, "secret");
	node_append(&link->a, "INBOX", "one");
	wait_until_equal(link);
	fake_peer_cut_at(link->peer, "APPLY", 1, true);
	node_append(&link->a, "INBOX", "two");
	node_append(&link->a, "INBOX", "three");
	wait_until_equal(link);
	assert_int_equal(node_count(&link->b, "INBOX"), 3);
}

static void a_peer_that_is_down_leaves_the_channel_waiting(void **state)
{
	struct link *link = *state;

	fake_peer_refuse(link->peer, true);
	start_channel(link, "secret");
	node_append(&link->a, "INBOX", "one");
	while (status_of(link).last_error[0] == '\0')
		usleep(1000);
	assert_false(status_of(link).is_connected);
	fake_peer_refuse(link->peer, false);
	wait_until_equal(link);
	assert_true(status_of(link).is_connected);
}

static void a_wrong_password_is_told_and_tried_again(void **state)
{
	struct link *link = *state;

	start_channel(link, "wrong");
	while (status_of(link).last_error[0] == '\0')
		usleep(1000);
	assert_non_null(strstr(status_of(link).last_error, "login"));
}

static void a_channel_that_starts_again_sends_nothing_twice(void **state)
{
	struct link *link = *state;
	unsigned applies;

	start_channel(link, "secret");
	node_append(&link->a, "INBOX", "one");
	wait_until_equal(link);
	channel_stop(&link->channel);
	applies = fake_peer_count(link->peer, "APPLY");
	node_append(&link->a, "INBOX", "two");
	start_channel(link, "secret");
	wait_until_equal(link);
	assert_int_equal(fake_peer_count(link->peer, "APPLY"), applies + 1);
}

static void many_accounts_are_served_together(void **state)
{
	struct link *link = *state;

	for (int i = 0; i < 200; i++) {
		char name[32];

		snprintf(name, sizeof(name), "user%03d", i);
		assert_int_equal(mail_account_open(link->a.mail, bytes_of_string(name), true, NULL,
					 &link->a.account),
			0);
		node_append(&link->a, "INBOX", "one");
	}
	start_channel(link, "secret");
	for (int i = 0; i < 200; i++) {
		char name[32];

		snprintf(name, sizeof(name), "user%03d", i);
		assert_int_equal(mail_account_open(link->a.mail, bytes_of_string(name), false, NULL,
					 &link->a.account),
			0);
		while (mail_account_open(link->b.mail, bytes_of_string(name), false, NULL,
			       &link->b.account) < 0)
			usleep(1000);
		wait_until_equal(link);
	}
}

static void node_append_to(struct node *node, const char *account, const char *text)
{
	assert_int_equal(
		mail_account_open(node->mail, bytes_of_string(account), true, NULL, &node->account),
		0);
	node_append(node, "INBOX", text);
}

/* Several messages of that size, each different. */
static void node_append_large(struct node *node, const char *account, size_t size)
{
	static unsigned number;
	char *text = malloc(size + 1);

	assert_non_null(text);
	memset(text, 'x', size);
	for (size_t i = 70; i < size; i += 70)
		text[i] = '\n';
	snprintf(text, 32, "number %u", number++);
	text[31] = '\n';
	text[size] = '\0';
	node_append_to(node, account, text);
	free(text);
}

static bool has_account(struct node *node, const char *account)
{
	return mail_account_open(
		       node->mail, bytes_of_string(account), false, NULL, &node->account) == 0;
}

static void an_account_that_the_filter_leaves_out_stays_here(void **state)
{
	struct link *link = *state;

	node_append_to(&link->a, "bert", "one");
	node_append_to(&link->a, "berta", "one");
	link->accounts = "* !bert";
	start_channel(link, "secret");
	while (!has_account(&link->b, "berta"))
		usleep(1000);
	while (status_of(link).pending_count > 0)
		usleep(1000);
	assert_false(has_account(&link->b, "bert"));

	/* With a wider filter it is brought over, although its changes were passed long ago. */
	channel_stop(&link->channel);
	link->accounts = NULL;
	start_channel(link, "secret");
	while (!has_account(&link->b, "bert"))
		usleep(1000);
}

static void a_paused_channel_keeps_what_changes(void **state)
{
	struct link *link = *state;
	unsigned applies;

	start_channel(link, "secret");
	node_append(&link->a, "INBOX", "one");
	wait_until_equal(link);
	channel_set_paused(link->channel, true);
	while (status_of(link).is_connected)
		usleep(1000);
	applies = fake_peer_count(link->peer, "APPLY");
	node_append(&link->a, "INBOX", "two");
	usleep(300000);
	assert_true(status_of(link).is_paused);
	assert_false(are_equal(link));
	assert_int_equal(fake_peer_count(link->peer, "APPLY"), applies);
	channel_set_paused(link->channel, false);
	wait_until_equal(link);
}

/* The backlog is 60 MB; at one moment no more than CHANNEL_AHEAD_SIZE of it may be under way. */
static void a_live_change_does_not_wait_for_the_backlog(void **state)
{
	struct link *link = *state;
	struct channel_status status;

	for (int i = 0; i < 6; i++) {
		char name[32];

		snprintf(name, sizeof(name), "big%d", i);
		for (int k = 0; k < 5; k++)
			node_append_large(&link->a, name, 2000000);
	}
	link->rate_max = 4000000; /* so that it takes 15 seconds */
	start_channel(link, "secret");
	while (!has_account(&link->b, "big0") && !has_account(&link->b, "big1"))
		usleep(1000);
	link->a.account = link->b.account = 1; /* anna */
	node_append(&link->a, "INBOX", "live");
	wait_until_equal(link);
	status = status_of(link);
	assert_true(status.backlog_count > 0);
}

static void an_account_that_fails_is_set_aside_and_named(void **state)
{
	struct link *link = *state;
	struct channel_failure *failures;
	size_t count;

	node_append_to(&link->a, "bert", "one");
	fake_peer_fail_account(link->peer, "bert");
	start_channel(link, "secret");
	while (status_of(link).failing_count == 0)
		usleep(1000);
	link->a.account = link->b.account = 1;
	node_append(&link->a, "INBOX", "the others go on");
	wait_until_equal(link);
	count = channel_get_failures(link->channel, &failures);
	assert_int_equal(count, 1);
	assert_string_equal(failures[0].account, "bert");
	assert_non_null(strstr(failures[0].text, "fails here"));
	free(failures);

	fake_peer_fail_account(link->peer, NULL);
	while (status_of(link).failing_count > 0)
		usleep(1000);
	assert_true(has_account(&link->b, "bert"));
	assert_int_equal(channel_get_failures(link->channel, &failures), 0);
	free(failures);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_was_there_before_the_channel_is_brought_over),
		CASE(a_change_is_brought_over_at_once),
		CASE(a_message_costs_one_put_and_one_apply),
		CASE(changes_of_the_peer_are_merged_when_something_is_sent),
		CASE(a_link_that_breaks_before_an_apply_is_made_anew),
		CASE(a_link_that_breaks_after_an_apply_gives_no_duplicates),
		CASE(a_peer_that_is_down_leaves_the_channel_waiting),
		CASE(a_wrong_password_is_told_and_tried_again),
		CASE(a_channel_that_starts_again_sends_nothing_twice),
		CASE(many_accounts_are_served_together),
		CASE(an_account_that_the_filter_leaves_out_stays_here),
		CASE(a_paused_channel_keeps_what_changes),
		CASE(a_live_change_does_not_wait_for_the_backlog),
		CASE(an_account_that_fails_is_set_aside_and_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
