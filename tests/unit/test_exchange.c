/* Exchanges between two nodes in memory. */
#include "sync_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct pair {
	struct node *a, *b;
};

static int setup(void **state)
{
	static struct pair pair;

	pair = (struct pair){ node_new_with_account(), node_new() };
	*state = &pair;
	return 0;
}

static int teardown(void **state)
{
	struct pair *pair = *state;

	node_free(&pair->a);
	node_free(&pair->b);
	return 0;
}

static void an_account_that_the_peer_lacks_is_made_there(void **state)
{
	struct pair *pair = *state;
	struct exchange_result result;

	node_append(pair->a, "INBOX", "one");
	node_append(pair->a, "Work/2026", "two");
	result = nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(node_count(pair->b, "INBOX"), 1);
	assert_int_equal(node_count(pair->b, "Work/2026"), 1);
	assert_int_equal(result.sent_body_count, 2);
	nodes_check_equal(pair->a, pair->b);
}

static void a_small_change_with_its_body_is_two_requests_sent_at_once(void **state)
{
	struct pair *pair = *state;
	struct exchange_result result;

	nodes_exchange(pair->a, pair->b, NULL);
	node_append(pair->a, "INBOX", "one");
	result = nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(result.request_count, 2);
	assert_int_equal(result.refused_count, 0);
	assert_int_equal(node_count(pair->b, "INBOX"), 1);
	nodes_check_equal(pair->a, pair->b);
}

static void after_a_push_the_other_side_has_nothing_to_send(void **state)
{
	struct pair *pair = *state;
	struct common_point point;
	struct kv_txn *kv = NULL;

	node_append(pair->a, "INBOX", "one");
	nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(mail_read_begin(pair->b->mail, 0, &kv), 0);
	assert_int_equal(point_get(kv, pair->b->account, mail_node(pair->a->mail), &point), 0);
	mail_read_end(&kv);
	assert_true(point.mine == node_header(pair->b).sequence);
	assert_true(point.theirs == node_header(pair->a).sequence);
}

static void changes_on_both_sides_are_merged_by_the_initiator(void **state)
{
	struct pair *pair = *state;
	struct exchange_result result;
	uint32_t uid = node_append(pair->a, "INBOX", "one");

	nodes_exchange(pair->a, pair->b, NULL);
	node_flag(pair->a, "INBOX", uid, "\\Seen");
	node_flag(pair->b, "INBOX", uid, "\\Answered");
	node_append(pair->b, "INBOX", "from b");
	result = nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(result.refused_count, 1);
	assert_int_equal(result.received_body_count, 1);
	nodes_check_equal(pair->a, pair->b);
	assert_true(node_has_flag(pair->b, "INBOX", uid, "\\Seen"));
	assert_true(node_has_flag(pair->a, "INBOX", uid, "\\Answered"));
	assert_true(node_uid_of(pair->a, "INBOX", "from b") != 0);
}

static void one_uid_given_twice_is_retired_and_both_messages_stay(void **state)
{
	struct pair *pair = *state;
	uint32_t uid_a, uid_b;

	nodes_exchange(pair->a, pair->b, NULL);
	uid_a = node_append(pair->a, "INBOX", "from a");
	uid_b = node_append(pair->b, "INBOX", "from b");
	assert_int_equal(uid_a, uid_b);
	nodes_exchange(pair->a, pair->b, NULL);
	nodes_check_equal(pair->a, pair->b);
	assert_int_equal(node_count(pair->a, "INBOX"), 2);
	assert_true(node_uid_of(pair->a, "INBOX", "from a") > uid_a);
	assert_true(node_uid_of(pair->a, "INBOX", "from b") > uid_a);
	assert_int_equal(
		node_uid_of(pair->a, "INBOX", "from a"), node_uid_of(pair->b, "INBOX", "from a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			an_account_that_the_peer_lacks_is_made_there, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_small_change_with_its_body_is_two_requests_sent_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
			after_a_push_the_other_side_has_nothing_to_send, setup, teardown),
		cmocka_unit_test_setup_teardown(
			changes_on_both_sides_are_merged_by_the_initiator, setup, teardown),
		cmocka_unit_test_setup_teardown(
			one_uid_given_twice_is_retired_and_both_messages_stay, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
