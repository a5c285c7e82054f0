/* What a user who pushes his own account is held to (P9). */
#include "sync_fixture.h"

#include "mail/quota.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

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

static void limit_messages(struct node *node, uint64_t limit)
{
	struct quota_changes changes = { .change[QUOTA_MESSAGE] = QUOTA_SET,
		.limits.of[QUOTA_MESSAGE] = limit };

	assert_int_equal(quota_set(node->mail, node->account, &changes, NULL, &node->position), 0);
}

static void a_user_is_held_to_his_quota(void **state)
{
	struct pair *pair = *state;
	struct sync_rights rights = { .account = "anna" };
	uint64_t before;

	node_append(pair->a, "INBOX", "one");
	nodes_exchange(pair->a, pair->b, NULL);
	node_find_account(pair->b);
	limit_messages(pair->b, 1);
	before = node_header(pair->b).sequence;
	nodes_connect(pair->a, pair->b, &rights);
	node_append(pair->a, "INBOX", "two, where the limit is not known yet");
	assert_int_equal(nodes_try_exchange(pair->a, pair->b, NULL).error.code, ERR_OVERQUOTA);
	assert_int_equal(node_header(pair->b).sequence, before);
}

static void a_user_does_not_raise_his_own_quota(void **state)
{
	struct pair *pair = *state;
	struct sync_rights rights = { .account = "anna" };
	uint64_t before;

	nodes_exchange(pair->a, pair->b, NULL);
	node_find_account(pair->b);
	before = node_header(pair->b).sequence;
	nodes_connect(pair->a, pair->b, &rights);
	limit_messages(pair->a, 1000000);
	assert_int_equal(nodes_try_exchange(pair->a, pair->b, NULL).error.code, ERR_REFUSED);
	assert_int_equal(node_header(pair->b).sequence, before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_user_is_held_to_his_quota, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_user_does_not_raise_his_own_quota, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
