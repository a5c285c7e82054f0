/* What a user who pushes his own account is held to (P9). */
#include "sync_fixture.h"

#include "mail/quota.h"
#include "sync/foreign.h"

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

/* ---- a user's copy of another's account (sync/give_way.h) ---- */

struct restarting {
	struct id128 mailbox;
	uint32_t uidnext;
};

static int restart_run(struct account_write *write, void *context)
{
	const struct restarting *restarting = context;

	return account_restart_uids(write, restarting->mailbox, restarting->uidnext);
}

static struct mailbox_record mailbox_of(struct node *node, struct arena *arena)
{
	struct mailbox_record mailbox;
	struct kv_txn *kv = NULL;

	assert_int_equal(mail_read_begin(node->mail, node->position, &kv), 0);
	assert_int_equal(
		account_find_mailbox(kv, node->account, BYTES_LITERAL("INBOX"), arena, &mailbox),
		0);
	mail_read_end(&kv);
	return mailbox;
}

static void uids_that_gave_way_are_given_again_under_another_uidvalidity(void **state)
{
	struct pair *pair = *state;
	struct node *node = pair->a;
	struct arena *arena = arena_new();
	struct mailbox_record before, after;
	struct restarting restarting;

	for (unsigned i = 0; i < 3; i++)
		node_append(node, "INBOX", i == 2 ? "three" : "before");
	node_expunge(node, "INBOX", 3);
	before = mailbox_of(node, arena);
	restarting = (struct restarting){ before.id, 2 };
	assert_int_equal(mail_node_commit(node->mail, node->account, restart_run, &restarting, NULL,
				 &node->position),
		ERR_ILLEGAL);
	restarting.uidnext = 3;
	assert_int_equal(mail_node_commit(node->mail, node->account, restart_run, &restarting, NULL,
				 &node->position),
		0);
	after = mailbox_of(node, arena);
	assert_true(after.uidvalidity > before.uidvalidity);
	assert_true(after.modseq > before.modseq);
	assert_int_equal(after.uidnext, 3);
	assert_int_equal(node_append(node, "INBOX", "another"), 3);
	nodes_exchange(pair->a, pair->b, NULL);
	node_find_account(pair->b);
	nodes_check_equal(pair->a, pair->b);
	arena_free(&arena);
}

static void nobody_chooses_by_what_a_guest_is_known(void **state)
{
	(void)state;
	assert_true(foreign_writer("bert", 0xd659cce65af39af6) == 0x7be0f508907a8c05);
	assert_true(foreign_writer("bert", 1) != foreign_writer("bert", 2));
	assert_true(foreign_writer("bert", 1) != foreign_writer("anna", 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_user_is_held_to_his_quota, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_user_does_not_raise_his_own_quota, setup, teardown),
		cmocka_unit_test_setup_teardown(
			uids_that_gave_way_are_given_again_under_another_uidvalidity, setup,
			teardown),
		cmocka_unit_test(nobody_chooses_by_what_a_guest_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
