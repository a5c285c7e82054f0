/* Whether two copies are the same, and where they differ first. */
#include "mail/account_private.h"
#include "mail/forget.h"
#include "sync/compare.h"
#include "sync_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct pair {
	struct node *a, *b;
	struct compare_peer peer;
	unsigned request_count;
};

static int ask(void *context, struct bytes request, struct buffer *answer, struct error *error)
{
	struct pair *pair = context;

	pair->request_count++;
	(void)sync_respond(pair->b->session, request, answer, error);
	*error = (struct error){ 0 };
	return 0;
}

static int setup(void **state)
{
	static const struct sync_rights rights = { .is_full = true };
	static struct pair pair;

	pair = (struct pair){ .a = node_new_with_account(), .b = node_new() };
	for (int i = 0; i < 40; i++) {
		char text[32];

		snprintf(text, sizeof(text), "message %d", i);
		node_append(pair.a, i % 2 == 0 ? "INBOX" : "Work", text);
	}
	nodes_connect(pair.a, pair.b, &rights);
	nodes_exchange(pair.a, pair.b, NULL);
	node_find_account(pair.b);
	pair.peer = (struct compare_peer){ mail_node(pair.b->mail), ask, &pair };
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

static enum compare_state state_of(struct pair *pair)
{
	enum compare_state state;
	struct error error = { 0 };

	assert_int_equal(
		compare_accounts(pair->a->mail, &pair->peer, &pair->a->account, 1, &state, &error),
		0);
	return state;
}

/* What bit rot or a bug would do: the copies are held to be equal as they are. */
static void pretend_equal(struct pair *pair)
{
	struct common_point point = { node_header(pair->a).sequence,
		node_header(pair->b).sequence };

	assert_int_equal(
		point_save(pair->a->mail, pair->a->account, mail_node(pair->b->mail), point, NULL),
		0);
}

static void copies_that_were_exchanged_are_equal_and_one_request_tells(void **state)
{
	struct pair *pair = *state;
	enum compare_state states[3];
	uint32_t numbers[3] = { pair->a->account };
	struct error error = { 0 };

	assert_int_equal(state_of(pair), COMPARE_EQUAL);
	assert_int_equal(pair->request_count, 1);
	for (int i = 1; i < 3; i++)
		assert_int_equal(
			mail_account_open(pair->a->mail, bytes_of_string(i == 1 ? "bert" : "carl"),
				true, NULL, &numbers[i]),
			0);
	pair->request_count = 0;
	assert_int_equal(
		compare_accounts(pair->a->mail, &pair->peer, numbers, 3, states, &error), 0);
	assert_int_equal(pair->request_count, 1);
	assert_int_equal(states[0], COMPARE_EQUAL);
	assert_int_equal(states[1], COMPARE_MISSING);
	assert_int_equal(states[2], COMPARE_MISSING);
}

static void what_is_yet_to_be_exchanged_is_no_difference(void **state)
{
	struct pair *pair = *state;

	node_append(pair->a, "INBOX", "new here");
	assert_int_equal(state_of(pair), COMPARE_UNDER_WAY);
	nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(state_of(pair), COMPARE_EQUAL);
	node_append(pair->b, "INBOX", "new there");
	assert_int_equal(state_of(pair), COMPARE_UNDER_WAY);
}

static void check_first(struct pair *pair, const char *expected)
{
	struct buffer text = { 0 };
	struct error error = { 0 };

	pretend_equal(pair);
	assert_int_equal(state_of(pair), COMPARE_DIFFERS);
	assert_int_equal(compare_first_difference(
				 pair->a->mail, &pair->peer, pair->a->account, &text, &error),
		0);
	assert_string_equal(buffer_string(&text), expected);
	buffer_deinit(&text);
}

static void the_first_message_that_differs_is_named_with_few_questions(void **state)
{
	struct pair *pair = *state;

	node_flag(pair->a, "Work", 7, "\\Seen");
	node_flag(pair->a, "Work", 12, "\\Seen");
	check_first(pair, "mailbox Work: UID 7");
	assert_true(pair->request_count < 12);
}

static void a_mailbox_or_message_that_one_side_lacks_is_named(void **state)
{
	struct pair *pair = *state;

	node_expunge(pair->b, "Work", 3);
	check_first(pair, "mailbox Work: UID 3");
	node_mailbox(pair->b, "There");
	node_flag(pair->a, "Work", 3, "\\Seen");
	check_first(pair, "mailbox Work: UID 3");
	node_mailbox(pair->a, "Here");
	node_delete_mailbox(pair->a, "Work");
	node_delete_mailbox(pair->b, "Work");
	node_delete_mailbox(pair->a, "Here");
	check_first(pair, "mailbox There: it is there on one side only");
}

static void a_repair_brings_them_together(void **state)
{
	struct pair *pair = *state;
	struct exchange_result result;
	struct error error = { 0 };

	node_flag(pair->a, "Work", 7, "\\Seen");
	node_flag(pair->b, "INBOX", 2, "\\Flagged");
	pretend_equal(pair);
	assert_int_equal(state_of(pair), COMPARE_DIFFERS);
	assert_int_equal(
		compare_repair(pair->a->mail, &pair->peer, pair->a->account, &result, &error), 0);
	assert_int_equal(result.repair_count, 1);
	assert_int_equal(state_of(pair), COMPARE_EQUAL);
	pair->a->position = mail_position(pair->a->mail);
	pair->b->position = mail_position(pair->b->mail);
	nodes_check_equal(pair->a, pair->b);
	assert_true(node_has_flag(pair->a, "INBOX", 2, "\\Flagged"));
	assert_true(node_has_flag(pair->b, "Work", 7, "\\Seen"));
}

/* A fault of the disk or a bug: it is gone, and nobody expunged it. */
static void lose(struct node *node, const char *mailbox, uint32_t uid)
{
	struct id128 id = node_mailbox(node, mailbox);
	struct message_record message;
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	struct error error = { 0 };

	assert_int_equal(mail_read_begin(node->mail, mail_position(node->mail), &kv), 0);
	assert_int_equal(account_get_message_at(kv, node->account, id, uid, arena, &message), 0);
	mail_read_end(&kv);
	assert_int_equal(
		message_forget(node->mail, node->account, &message.instance, 1, &error), 0);
	arena_free(&arena);
}

static void check_repaired(struct pair *pair)
{
	struct exchange_result result;
	struct error error = { 0 };

	assert_int_equal(
		compare_repair(pair->a->mail, &pair->peer, pair->a->account, &result, &error), 0);
	assert_int_equal(state_of(pair), COMPARE_EQUAL);
	pair->a->position = mail_position(pair->a->mail);
	pair->b->position = mail_position(pair->b->mail);
	nodes_check_equal(pair->a, pair->b);
}

static void what_one_side_lost_comes_back_from_the_other(void **state)
{
	struct pair *pair = *state;

	lose(pair->a, "Work", 3);
	check_first(pair, "mailbox Work: UID 3");
	check_repaired(pair);
	assert_int_equal(node_count(pair->a, "Work"), 20);
	/* There, and several at once. */
	lose(pair->b, "INBOX", 5);
	lose(pair->b, "Work", 20);
	pretend_equal(pair); /* which is first depends on the ids of the mailboxes */
	assert_int_equal(state_of(pair), COMPARE_DIFFERS);
	check_repaired(pair);
	assert_int_equal(node_count(pair->b, "Work"), 20);
	assert_int_equal(node_count(pair->b, "INBOX"), 20);
	/* On both, different ones. */
	lose(pair->a, "INBOX", 6);
	lose(pair->b, "INBOX", 7);
	check_first(pair, "mailbox INBOX: UID 6");
	check_repaired(pair);
	assert_int_equal(node_count(pair->a, "INBOX"), 20);
}

static int lose_register_run(struct account_write *write, void *context)
{
	struct register_record *record = context, cleared = *record;
	int rc;

	cleared.is_set = false;
	cleared.stamp = account_stamp(write);
	cleared.modseq = cleared.stamp.modseq;
	rc = account_put_register(write, &cleared);
	if (rc == 0)
		rc = account_get_register(write->kv, write->header.number, record->kind,
			record->mailbox, record->key, write->arena, &cleared);
	return rc < 0 ? rc : expiry_forget_register(write, &cleared);
}

static int put_register_run(struct account_write *write, void *context)
{
	struct register_record *record = context;

	record->stamp = account_stamp(write);
	record->modseq = record->stamp.modseq;
	return account_put_register(write, record);
}

static void commit(struct node *node, mail_run *run, struct register_record *record)
{
	struct error error = { 0 };

	assert_int_equal(mail_node_commit(node->mail, node->account, run, record, &error, NULL), 0);
}

static bool has_register(struct node *node, const struct register_record *record)
{
	struct register_record found;
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(node->mail, mail_position(node->mail), &kv);

	assert_int_equal(rc, 0);
	rc = account_get_register(
		kv, node->account, record->kind, record->mailbox, record->key, arena, &found);
	mail_read_end(&kv);
	arena_free(&arena);
	return rc == 0 && found.is_set;
}

/* The user's own \\Seen of a message in somebody else's mailbox. */
static void a_seen_state_that_one_side_lost_comes_back(void **state)
{
	struct pair *pair = *state;
	struct register_record record = { .kind = RECORD_SEEN,
		.mailbox = id128_random(),
		.key = BYTES_LITERAL("1836564480000000.d659cce65af39af6"),
		.value = BYTES_LITERAL("1"),
		.is_set = true };
	struct node *losers[] = { pair->a, pair->b };

	commit(pair->a, put_register_run, &record);
	nodes_exchange(pair->a, pair->b, NULL);
	for (int i = 0; i < 2; i++) {
		commit(losers[i], lose_register_run, &record);
		check_first(pair, "settings, subscriptions, rights or scripts");
		check_repaired(pair);
		assert_true(has_register(pair->a, &record));
		assert_true(has_register(pair->b, &record));
	}
}

static void a_mailbox_that_one_side_lost_comes_back_with_its_mail(void **state)
{
	struct pair *pair = *state;
	struct error error = { 0 };

	assert_int_equal(mailbox_forget(pair->a->mail, pair->a->account,
				 node_mailbox(pair->a, "Work"), UINT64_MAX, &error),
		0);
	check_first(pair, "mailbox Work: it is there on one side only");
	check_repaired(pair);
	assert_int_equal(node_count(pair->a, "Work"), 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(copies_that_were_exchanged_are_equal_and_one_request_tells),
		TEST(what_is_yet_to_be_exchanged_is_no_difference),
		TEST(the_first_message_that_differs_is_named_with_few_questions),
		TEST(a_mailbox_or_message_that_one_side_lacks_is_named),
		TEST(a_seen_state_that_one_side_lost_comes_back),
		TEST(a_mailbox_that_one_side_lost_comes_back_with_its_mail),
		TEST(what_one_side_lost_comes_back_from_the_other),
		TEST(a_repair_brings_them_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
