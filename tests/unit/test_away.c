/* Accounts that were moved away (mail/away.h), between nodes in memory. */
#include "sync_fixture.h"

#include "mail/account_mode.h"
#include "mail/away.h"
#include "mail/hold.h"
#include "mail/tables.h"
#include "sync/point.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MESSAGE_COUNT 7

struct set {
	struct node *a, *b, *c;
};

static int setup(void **state)
{
	static struct set set;

	set = (struct set){ node_new_with_account(), node_new(), node_new() };
	*state = &set;
	return 0;
}

static int teardown(void **state)
{
	struct set *set = *state;

	node_free(&set->a);
	node_free(&set->b);
	node_free(&set->c);
	return 0;
}

static struct exchange_result exchange(struct node *from, struct node *to)
{
	nodes_connect(from, to, NULL);
	return nodes_exchange(from, to, NULL);
}

static void write_account(struct node *node)
{
	char text[32];

	for (unsigned i = 0; i < MESSAGE_COUNT; i++) {
		snprintf(text, sizeof(text), "message %u", i);
		node_append(node, i % 3 == 0 ? "Work" : "INBOX", text);
	}
	node_flag(node, "INBOX", 2, "\\Seen");
	node_move(node, "INBOX", 3, "Work");
	node_expunge(node, "INBOX", 4);
}

static void make_master(struct node *node, struct node *master)
{
	struct account_mode mode = { .has_master = true,
		.master = mail_node(master->mail),
		.node = { "b", "b.example.org" } };

	assert_int_equal(mail_mode_set(node->mail, node->account, &mode, NULL), 0);
}

static int begin(struct node *node)
{
	return account_away_begin(
		node->mail, node->account, node_header(node).sequence, &(struct error){ 0 });
}

static void clear(struct node *node, bool is_whole)
{
	struct account_clearing clearing = { .account = node->account, .is_whole = is_whole };
	int rc = 1;

	while (rc > 0)
		rc = account_clearing_step(node->mail, &clearing, NULL);
	assert_int_equal(rc, 0);
}

/* Both have the account, B is the master, and A has given it up. */
static void move_away(struct set *set)
{
	make_master(set->a, set->b);
	exchange(set->a, set->b);
	node_find_account(set->b);
	nodes_check_equal(set->a, set->b);
	assert_int_equal(begin(set->a), 0);
}

static void admit(struct node *asking, struct node *asked)
{
	struct buffer answer = { 0 };

	nodes_connect(asking, asked, NULL);
	assert_int_equal(node_ask(asked, "ADMIT %(ACCOUNT anna)", &answer), 0);
	assert_string_equal(buffer_string(&answer), "ADMITTED %()");
	buffer_deinit(&answer);
}

/* ---- going ---- */

static void only_a_replica_that_has_not_changed_since_is_given_up(void **state)
{
	struct set *set = *state;
	uint64_t sequence;

	write_account(set->a);
	assert_int_equal(begin(set->a), ERR_REFUSED);
	make_master(set->a, set->b);
	sequence = node_header(set->a).sequence;
	assert_int_equal(
		account_away_begin(set->a->mail, set->a->account, sequence - 1, NULL), ERR_CHANGED);
	assert_int_equal(node_header(set->a).hold, ACCOUNT_SERVED);
	assert_int_equal(begin(set->a), 0);
	assert_int_equal(begin(set->a), ERR_EXISTS);
}

static unsigned count_rows(struct node *node, unsigned table, uint32_t account, size_t offset)
{
	unsigned char prefix[4];
	struct kv_cursor *cursor = NULL;
	struct kv_txn *kv = NULL;
	unsigned count = 0;
	int rc = mail_read_begin(node->mail, mail_position(node->mail), &kv);

	account_key(prefix, account);
	if (rc == 0)
		rc = kv_cursor_open(kv, table, &cursor);
	if (rc == 0)
		rc = kv_cursor_seek(cursor, BYTES_LITERAL("\0"));
	for (; rc == 0; rc = kv_cursor_next(cursor)) {
		struct bytes key = kv_cursor_key(cursor);

		if (key.len >= offset + 4 && memcmp(key.ptr + offset, prefix, 4) == 0)
			count++;
	}
	assert_int_equal(rc, ERR_NOT_FOUND);
	kv_cursor_close(&cursor);
	mail_read_end(&kv);
	return count;
}

static void what_was_its_copy_is_cleared_away_but_for_where_it_is(void **state)
{
	static const unsigned tables[] = { MAIL_TABLE_MAILBOX, MAIL_TABLE_MAILBOX_NAME,
		MAIL_TABLE_MESSAGE, MAIL_TABLE_INSTANCE, MAIL_TABLE_MODSEQ, MAIL_TABLE_SEQUENCE,
		MAIL_TABLE_COMMON, MAIL_TABLE_CONFLICT, MAIL_TABLE_SEEN };
	struct set *set = *state;
	struct account_mode mode;
	struct kv_txn *kv = NULL;
	struct guid guid;

	write_account(set->a);
	move_away(set);
	assert_true(count_rows(set->a, MAIL_TABLE_EXPIRY, set->a->account, 8) > 0);
	guid_of(BYTES_LITERAL("Subject: message 0\r\n\r\nmessage 0\r\n"), &guid);
	clear(set->a, false);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		assert_int_equal(count_rows(set->a, tables[i], set->a->account, 0), 0);
	assert_int_equal(count_rows(set->a, MAIL_TABLE_EXPIRY, set->a->account, 8), 0);
	assert_int_equal(count_rows(set->a, MAIL_TABLE_REGISTER, set->a->account, 0), 1);
	assert_int_equal(mail_read_begin(set->a->mail, mail_position(set->a->mail), &kv), 0);
	assert_int_equal(account_mode_get(kv, set->a->account, &mode), 0);
	assert_int_equal(store_body_exists(kv, &guid, NULL), ERR_NOT_FOUND);
	mail_read_end(&kv);
	assert_int_equal(mode.master, mail_node(set->b->mail));
	assert_int_equal(node_header(set->a).message_count, 0);
}

static void users_are_told_where_it_is(void **state)
{
	struct set *set = *state;
	struct error error = { 0 };
	uint64_t position;
	struct id128 id;

	write_account(set->a);
	move_away(set);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(
			mail_hold_check(set->a->mail, set->a->account, &error), ERR_REPLICA);
		assert_string_equal(error.text, "b.example.org: the account was moved to node b");
		assert_int_equal(
			mailbox_create(set->a->mail, set->a->account, BYTES_LITERAL("Mine"),
				BYTES_LITERAL(""), &error, &id, &position),
			ERR_REPLICA);
		clear(set->a, false);
	}
	assert_int_equal(mail_hold_end(set->a->mail, set->a->account, &error), ERR_REPLICA);
}

/* ---- peers ---- */

static void peers_neither_bring_it_back_nor_take_it_for_deleted(void **state)
{
	struct set *set = *state;
	struct exchange_result result;

	write_account(set->a);
	exchange(set->a, set->c);
	node_find_account(set->c);
	move_away(set);
	exchange(set->b, set->c);
	clear(set->a, false);
	/* One that knows a common point, and one that forgot it. */
	for (int round = 0; round < 2; round++) {
		struct node *peer = round == 0 ? set->b : set->c;

		node_append(set->b, "INBOX", round == 0 ? "new" : "newer");
		nodes_connect(peer, set->a, NULL);
		result = nodes_try_exchange(peer, set->a, NULL);
		assert_int_equal(result.error.code, ERR_REPLICA);
		assert_int_equal(result.away_to, mail_node(set->b->mail));
		assert_int_equal(result.sent_count, 0);
	}
	nodes_connect(set->a, set->b, NULL);
	assert_int_equal(nodes_try_exchange(set->a, set->b, NULL).error.code, ERR_REPLICA);
	assert_int_equal(count_rows(set->a, MAIL_TABLE_MESSAGE, set->a->account, 0), 0);
	exchange(set->b, set->c);
	nodes_check_equal(set->b, set->c);
	assert_int_equal(
		node_count(set->c, "INBOX") + node_count(set->c, "Work"), MESSAGE_COUNT - 1 + 2);
}

#define NO_DIGEST "00000000000000000000000000000000"

static void requests_of_peers_are_answered_with_where_it_is(void **state)
{
	static const char *const requests[] = { "CHANGES %(ACCOUNT anna SINCE 1)",
		"RANGE %(ACCOUNT anna)", "GET %(ACCOUNT anna INSTANCES ())",
		"INTEGRATE %(ACCOUNT anna SINCE 0 SEQUENCE 1 HIGHEST 0)",
		"FILL %(ACCOUNT anna SINCE 0 SEQUENCE 1 HIGHEST 0)",
		"APPLY %(ACCOUNT anna EXPECT 0 SINCE 0 SEQUENCE 1 HIGHEST 0 RESULT " NO_DIGEST
		")" };
	struct set *set = *state;
	struct buffer answer = { 0 };
	char away[32];

	write_account(set->a);
	move_away(set);
	snprintf(away, sizeof(away), "AWAY %016llx)", (unsigned long long)mail_node(set->b->mail));
	nodes_connect(set->b, set->a, NULL);
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		assert_int_equal(node_ask(set->a, requests[i], &answer), ERR_REPLICA);
		assert_non_null(strstr(buffer_string(&answer), "CODE REPLICA"));
		assert_non_null(strstr(buffer_string(&answer), away));
	}
	assert_int_equal(node_ask(set->a, "POINTS %(ACCOUNTS (anna))", &answer), 0);
	assert_non_null(strstr(buffer_string(&answer), away));
	assert_null(strstr(buffer_string(&answer), "SEQUENCE"));
	assert_null(strstr(buffer_string(&answer), "FILL"));
	buffer_deinit(&answer);
}

/* ---- coming back ---- */

static void it_comes_back_as_it_is_by_then(void **state)
{
	struct set *set = *state;
	uint32_t uidnext_before;

	write_account(set->a);
	uidnext_before = node_append(set->a, "INBOX", "last here") + 1;
	exchange(set->a, set->c);
	node_find_account(set->c);
	move_away(set);
	exchange(set->b, set->c);
	/* Meanwhile things go, come and change. */
	node_expunge(set->b, "INBOX", 1);
	assert_true(node_append(set->b, "INBOX", "there") >= uidnext_before);
	node_rename(set->b, "Work", "Play");
	admit(set->b, set->a);
	assert_int_equal(node_header(set->a).hold, ACCOUNT_FILLING);
	/* Nobody but who asked for it may begin now. */
	nodes_connect(set->c, set->a, NULL);
	assert_int_equal(nodes_try_exchange(set->c, set->a, NULL).error.code, ERR_UNAVAILABLE);
	exchange(set->b, set->a);
	assert_int_equal(node_header(set->a).hold, ACCOUNT_SERVED);
	nodes_check_equal(set->a, set->b);
	/* What others had in common with the copy that was here is no reason to delete anything. */
	node_append(set->b, "INBOX", "later");
	exchange(set->c, set->a);
	nodes_check_equal(set->a, set->c);
	exchange(set->b, set->a);
	exchange(set->a, set->c);
	exchange(set->b, set->c);
	nodes_check_equal(set->a, set->b);
	nodes_check_equal(set->b, set->c);
	assert_true(node_uid_of(set->c, "INBOX", "later") > 0);
	assert_false(node_has_mailbox(set->a, "Work"));
	assert_int_equal(node_count(set->a, "Play"), 4);
}

static void a_point_from_before_it_went_makes_no_tombstones(void **state)
{
	struct set *set = *state;

	/* C never hears of the move, and changes what it had in common with A. */
	write_account(set->a);
	exchange(set->a, set->c);
	node_find_account(set->c);
	node_append(set->a, "INBOX", "only here, then there");
	move_away(set);
	admit(set->b, set->a);
	exchange(set->b, set->a);
	node_flag(set->c, "INBOX", 1, "\\Flagged");
	exchange(set->c, set->a);
	nodes_check_equal(set->a, set->c);
	assert_true(node_has_flag(set->a, "INBOX", 1, "\\Flagged"));
	assert_true(node_uid_of(set->c, "INBOX", "only here, then there") > 0);
}

static void without_the_other_node_it_begins_anew_with_other_uids(void **state)
{
	struct set *set = *state;
	uint64_t highest;

	write_account(set->a);
	move_away(set);
	highest = node_header(set->a).highest;
	clear(set->a, true);
	assert_int_equal(account_away_end(set->a->mail, set->a->account, NULL), 0);
	assert_int_equal(account_away_end(set->a->mail, set->a->account, NULL), ERR_NOT_FOUND);
	assert_int_equal(node_count(set->a, "INBOX"), 0);
	node_append(set->a, "INBOX", "new");
	assert_true(node_header(set->a).highest > highest);
	/* If it was not lost after all, nothing of either is. */
	exchange(set->b, set->a);
	exchange(set->a, set->b);
	nodes_check_equal(set->a, set->b);
	assert_int_equal(node_count(set->b, "INBOX") + node_count(set->b, "Work"), MESSAGE_COUNT);
}

static void clearing_that_was_cut_short_is_found(void **state)
{
	struct account_clearing clearing = { 0 };
	struct set *set = *state;
	unsigned steps = 0;
	uint32_t other;

	assert_int_equal(
		mail_account_open(set->a->mail, BYTES_LITERAL("zoe"), true, NULL, &other), 0);
	write_account(set->a);
	move_away(set);
	while (account_clearing_next(set->a->mail, &clearing, NULL) > 0)
		assert_true(++steps < 100);
	assert_int_equal(count_rows(set->a, MAIL_TABLE_MESSAGE, set->a->account, 0), 0);
	assert_int_equal(count_rows(set->a, MAIL_TABLE_MAILBOX, other, 0), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(only_a_replica_that_has_not_changed_since_is_given_up),
		T(what_was_its_copy_is_cleared_away_but_for_where_it_is),
		T(users_are_told_where_it_is),
		T(peers_neither_bring_it_back_nor_take_it_for_deleted),
		T(requests_of_peers_are_answered_with_where_it_is),
		T(it_comes_back_as_it_is_by_then),
		T(a_point_from_before_it_went_makes_no_tombstones),
		T(without_the_other_node_it_begins_anew_with_other_uids),
		T(clearing_that_was_cut_short_is_found),
#undef T
	};

	return cmocka_run_group_tests_name("accounts that were moved away", tests, NULL, NULL);
}
