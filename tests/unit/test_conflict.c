/* The journal of conflicts: each clash is told once, however often merges come by it, and what
 * users did to a replica is told, too. */
#include "sync_fixture.h"

#include "mail/account_mode.h"
#include "sync/conflict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

struct pair {
	struct node *a, *b;
};

static int setup(void **state)
{
	static struct pair pair;

	pair = (struct pair){ node_new_with_account(), node_new_with_account() };
	*state = &pair;
	return 0;
}

/* Every test ends with equal copies that agree with themselves. */
static int teardown(void **state)
{
	struct pair *pair = *state;

	nodes_exchange(pair->a, pair->b, NULL);
	nodes_check_equal(pair->a, pair->b);
	node_free(&pair->a);
	node_free(&pair->b);
	return 0;
}

struct tally {
	enum merge_conflict_kind kind;
	unsigned count;
	char name[64];
};

static int tally_entry(void *context, const struct conflict_entry *entry)
{
	struct tally *tally = context;

	if (entry->conflict.kind != tally->kind)
		return 0;
	tally->count++;
	snprintf(tally->name, sizeof(tally->name), "%.*s", BYTES_ARGS(entry->conflict.name));
	return 0;
}

static struct tally told(struct node *node, enum merge_conflict_kind kind)
{
	struct tally tally = { .kind = kind };
	struct kv_txn *kv = NULL;

	assert_int_equal(mail_read_begin(node->mail, mail_position(node->mail), &kv), 0);
	assert_int_equal(conflict_each(kv, node->account, 0, tally_entry, &tally), 0);
	mail_read_end(&kv);
	return tally;
}

static void set_password(struct node *node, const char *blob)
{
	assert_int_equal(
		mail_credentials_set(node->mail, node->account, bytes_of_string(blob), NULL), 0);
	node->position = mail_position(node->mail);
}

static int put_again(struct account_write *write, void *context)
{
	const struct merge_conflict *conflict = context;

	account_tick(write, 0);
	return conflict_put(write, 7, conflict, 1);
}

/* Of two merges of the same states, as two busy nodes make them. */
static void an_act_that_lost_is_told_once(void **state)
{
	struct pair *pair = *state;
	struct merge_conflict conflict = {
		.kind = MERGE_SET_TWICE, .name = BYTES_LITERAL("credentials"), .lost = { 5, 6 }
	};

	for (int i = 0; i < 3; i++)
		assert_int_equal(mail_node_commit(pair->a->mail, pair->a->account, put_again,
					 &conflict, NULL, NULL),
			0);
	assert_int_equal(told(pair->a, MERGE_SET_TWICE).count, 1);
	conflict.lost.modseq++;
	assert_int_equal(
		mail_node_commit(pair->a->mail, pair->a->account, put_again, &conflict, NULL, NULL),
		0);
	assert_int_equal(told(pair->a, MERGE_SET_TWICE).count, 2);
}

/* In whatever order they meet afterwards, and on a third node not at all: it took no part. */
static void both_sides_of_an_exchange_tell_a_conflict_once(void **state)
{
	struct pair *pair = *state;
	struct node *third = node_new_with_account();

	node_mailbox(pair->a, "Work");
	nodes_exchange(pair->a, pair->b, NULL);
	node_rename(pair->a, "Work", "Of a");
	node_rename(pair->b, "Work", "Of b");
	node_append(pair->a, "INBOX", "of a");
	node_append(pair->b, "INBOX", "of b");
	nodes_exchange(pair->a, pair->b, NULL);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(told(pair->a, MERGE_RENAMED_TWICE).count, 1);
		assert_int_equal(told(pair->b, MERGE_RENAMED_TWICE).count, 1);
		assert_true(told(pair->a, MERGE_RENUMBERED).count > 0);
		assert_int_equal(told(pair->b, MERGE_RENUMBERED).count,
			told(pair->a, MERGE_RENUMBERED).count);
		/* Round a ring. */
		nodes_connect(pair->b, third, NULL);
		nodes_exchange(pair->b, third, NULL);
		nodes_connect(third, pair->a, NULL);
		nodes_exchange(third, pair->a, NULL);
		nodes_connect(pair->a, pair->b, NULL);
		nodes_exchange(pair->a, pair->b, NULL);
	}
	assert_int_equal(told(third, MERGE_RENAMED_TWICE).count, 0);
	node_free(&third);
}

static void race_append(void *context, struct bytes request)
{
	static unsigned number;
	char text[32];

	if (!bytes_start_with(request, BYTES_LITERAL("APPLY")))
		return;
	snprintf(text, sizeof(text), "race %u", number++);
	node_append(context, "INBOX", text);
}

/* A's merges come too late as B goes on changing, until B is asked to merge. */
static void who_is_asked_to_merge_is_told_what_was_merged_before(void **state)
{
	struct pair *pair = *state;
	struct wire wire = { .context = pair->b, .before = race_append };
	struct exchange_result result;

	node_mailbox(pair->a, "Work");
	nodes_exchange(pair->a, pair->b, NULL);
	node_append(pair->a, "INBOX", "of a");
	result = nodes_try_exchange(pair->a, pair->b, &wire);
	assert_true(result.integrate_count > 0);
	nodes_connect(pair->a, pair->b, NULL);
	nodes_exchange(pair->a, pair->b, NULL);
	assert_true(told(pair->b, MERGE_RENUMBERED).count > 0);
	assert_true(told(pair->a, MERGE_RENUMBERED).count > 0);
}

static void a_malformed_journal_is_refused(void **state)
{
	static const char *const conflicts[] = {
		"CONFLICTS 1",
		"CONFLICTS (1)",
		"CONFLICTS (%(KIND RENUMBERED))",
		"CONFLICTS (%(MAILBOX 00000000000000000000000000000001))",
		"CONFLICTS (%(KIND RENUMBERED MAILBOX 00000000000000000000000000000001 UID x))",
	};
	struct pair *pair = *state;
	struct buffer request = { 0 }, answer = { 0 };
	struct account_header header;

	nodes_exchange(pair->a, pair->b, NULL);
	header = node_header(pair->b);
	for (size_t i = 0; i < sizeof(conflicts) / sizeof(conflicts[0]); i++) {
		buffer_clear(&request);
		buffer_printf(&request,
			"APPLY %%(ACCOUNT anna EXPECT %llu SINCE %llu SEQUENCE 99 HIGHEST 1 RESULT "
			"%016llx%016llx %s)",
			(unsigned long long)header.sequence, (unsigned long long)header.sequence,
			(unsigned long long)header.digest.high,
			(unsigned long long)header.digest.low, conflicts[i]);
		assert_int_equal(node_ask(pair->b, buffer_string(&request), &answer), ERR_INVALID);
	}
	buffer_deinit(&request);
	buffer_deinit(&answer);
}

static void a_setting_that_clashes_again_is_told_again(void **state)
{
	struct pair *pair = *state;
	struct tally tally;

	for (int i = 0; i < 3; i++) {
		set_password(pair->b, i % 2 == 0 ? "even" : "odd");
		set_password(pair->a, "of a");
		nodes_exchange(pair->a, pair->b, NULL);
	}
	tally = told(pair->a, MERGE_SET_TWICE);
	assert_int_equal(tally.count, 3);
	assert_string_equal(tally.name, "credentials");
}

/* The other's clock is later then. */
static void node_is_master(struct node *node)
{
	const struct timespec pause = { 0, 3000000 };

	assert_int_equal(mail_mode_set_own(node->mail, node->account, NULL), 0);
	node->position = mail_position(node->mail);
	nanosleep(&pause, NULL);
}

/* B does not know yet that A took over. */
static void what_was_done_to_a_replica_is_merged_and_told_by_a_push(void **state)
{
	struct pair *pair = *state;
	struct tally tally;
	char id[17];

	nodes_exchange(pair->a, pair->b, NULL);
	node_is_master(pair->a);
	node_append(pair->b, "INBOX", "all the same");
	node_append(pair->b, "INBOX", "and again");
	nodes_exchange(pair->b, pair->a, NULL);
	assert_true(node_uid_of(pair->a, "INBOX", "all the same") != 0);
	nodes_exchange(pair->a, pair->b, NULL);
	tally = told(pair->a, MERGE_REPLICA_CHANGED);
	assert_int_equal(tally.count, 1);
	snprintf(id, sizeof(id), "%016llx", (unsigned long long)mail_node(pair->b->mail));
	assert_string_equal(tally.name, id);
}

static void what_was_done_to_a_replica_is_told_by_the_master_that_merges(void **state)
{
	struct pair *pair = *state;

	nodes_exchange(pair->a, pair->b, NULL);
	node_is_master(pair->a);
	node_append(pair->b, "INBOX", "all the same");
	nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(told(pair->a, MERGE_REPLICA_CHANGED).count, 1);
}

static void what_the_master_did_and_what_came_before_it_is_not_told(void **state)
{
	struct pair *pair = *state;

	nodes_exchange(pair->a, pair->b, NULL);
	node_append(pair->b, "INBOX", "before");
	nodes_exchange(pair->b, pair->a, NULL);
	node_is_master(pair->a);
	node_append(pair->a, "INBOX", "of the master");
	nodes_exchange(pair->a, pair->b, NULL);
	nodes_exchange(pair->b, pair->a, NULL);
	assert_int_equal(told(pair->a, MERGE_REPLICA_CHANGED).count, 0);
	assert_int_equal(told(pair->b, MERGE_REPLICA_CHANGED).count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_act_that_lost_is_told_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
			both_sides_of_an_exchange_tell_a_conflict_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
			who_is_asked_to_merge_is_told_what_was_merged_before, setup, teardown),
		cmocka_unit_test_setup_teardown(a_malformed_journal_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_setting_that_clashes_again_is_told_again, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_was_done_to_a_replica_is_merged_and_told_by_a_push, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_was_done_to_a_replica_is_told_by_the_master_that_merges, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			what_the_master_did_and_what_came_before_it_is_not_told, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
