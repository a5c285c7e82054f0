/* Exchanges between two nodes in memory. */
#include "sync_fixture.h"

#include "sync/forward.h"

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

/* ---- races, lost answers, missing bodies ---- */

static bool is_verb(struct bytes request, const char *verb)
{
	return bytes_start_with(request, bytes_of_string(verb));
}

struct race {
	struct node *node;
	const char *verb; /* before which it writes; race_request(): what it asks before APPLY */
	unsigned count;   /* how many times */
	unsigned number;
};

static void race_append(void *context, struct bytes request)
{
	struct race *race = context;
	char text[32];

	if (!is_verb(request, race->verb) || race->count == 0)
		return;
	race->count--;
	snprintf(text, sizeof(text), "race %u", race->number++);
	node_append(race->node, "INBOX", text);
}

static void a_change_made_there_just_before_the_push_is_merged(void **state)
{
	struct pair *pair = *state;
	struct race race = { pair->b, "APPLY", 1, 0 };
	struct wire wire = { .context = &race, .before = race_append };
	struct exchange_result result;

	nodes_exchange(pair->a, pair->b, NULL);
	node_append(pair->a, "INBOX", "from a");
	result = nodes_exchange(pair->a, pair->b, &wire);
	assert_int_equal(result.refused_count, 1);
	assert_int_equal(node_count(pair->a, "INBOX"), 2);
	nodes_check_equal(pair->a, pair->b);
}

static void a_change_made_here_during_the_exchange_is_sent_with_the_next_one(void **state)
{
	struct pair *pair = *state;
	struct race race = { pair->a, "APPLY", 1, 0 };
	struct wire wire = { .context = &race, .before = race_append };

	nodes_exchange(pair->a, pair->b, NULL);
	node_append(pair->a, "INBOX", "one");
	nodes_exchange(pair->a, pair->b, &wire);
	assert_int_equal(node_count(pair->b, "INBOX"), 1);
	nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(node_count(pair->b, "INBOX"), 2);
	nodes_check_equal(pair->a, pair->b);
}

static void a_peer_that_changes_all_the_time_is_asked_to_merge(void **state)
{
	struct pair *pair = *state;
	struct race race = { pair->b, "APPLY", 5, 0 };
	struct wire wire = { .context = &race, .before = race_append };
	struct exchange_result result;

	nodes_exchange(pair->a, pair->b, NULL);
	node_append(pair->a, "INBOX", "from a");
	result = nodes_exchange(pair->a, pair->b, &wire);
	assert_true(result.integrate_count >= 1);
	assert_int_equal(node_count(pair->a, "INBOX"), 6);
	nodes_check_equal(pair->a, pair->b);
}

static void a_peer_that_never_stops_changing_has_our_changes_all_the_same(void **state)
{
	struct pair *pair = *state;
	struct race race = { pair->b, "APPLY", 1000, 0 };
	struct wire wire = { .context = &race, .before = race_append };
	struct exchange_result result;

	nodes_exchange(pair->a, pair->b, NULL);
	node_append(pair->a, "INBOX", "from a");
	result = nodes_try_exchange(pair->a, pair->b, &wire);
	assert_int_equal(result.error.code, ERR_UNAVAILABLE);
	assert_true(node_uid_of(pair->b, "INBOX", "from a") != 0);
	assert_true(result.point.mine != 0); /* and the next exchange begins from there */
	nodes_exchange(pair->a, pair->b, NULL);
	nodes_check_equal(pair->a, pair->b);
}

static bool lose_first(void *context, struct bytes request, struct bytes answer)
{
	struct race *race = context;

	(void)answer;
	if (!is_verb(request, race->verb) || race->count == 0)
		return false;
	race->count--;
	return true;
}

/* P8 */
static void an_apply_whose_answer_was_lost_is_answered_again_and_changes_nothing(void **state)
{
	struct pair *pair = *state;
	struct race race = { NULL, "APPLY", 1, 0 };
	struct wire wire = { .context = &race, .loses = lose_first };
	struct exchange_result result;
	uint64_t sequence;

	nodes_exchange(pair->a, pair->b, NULL);
	node_append(pair->a, "INBOX", "one");
	result = nodes_try_exchange(pair->a, pair->b, &wire);
	assert_int_equal(result.error.code, ERR_CLOSED);
	sequence = node_header(pair->b).sequence;
	result = nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(result.refused_count, 0);
	assert_true(node_header(pair->b).sequence == sequence);
	assert_int_equal(node_count(pair->b, "INBOX"), 1);
	nodes_check_equal(pair->a, pair->b);
}

static void a_lost_answer_and_later_changes_on_both_sides_give_no_duplicates(void **state)
{
	struct pair *pair = *state;
	struct race race = { NULL, "APPLY", 1, 0 };
	struct wire wire = { .context = &race, .loses = lose_first };

	nodes_exchange(pair->a, pair->b, NULL);
	node_append(pair->a, "INBOX", "one");
	nodes_try_exchange(pair->a, pair->b, &wire);
	node_append(pair->a, "INBOX", "two");
	node_append(pair->b, "INBOX", "three");
	nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(node_count(pair->a, "INBOX"), 3);
	nodes_check_equal(pair->a, pair->b);
}

static void a_body_that_was_not_guessed_to_be_needed_is_put_when_asked_for(void **state)
{
	struct pair *pair = *state;
	struct exchange_result result;
	uint32_t uid;

	nodes_exchange(pair->a, pair->b, NULL);
	uid = node_append(pair->a, "INBOX", "one");
	node_move(pair->a, "INBOX", uid, "Archive");
	result = nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(result.request_count, 3); /* APPLY, then PUT and APPLY */
	assert_int_equal(result.sent_body_count, 1);
	nodes_check_equal(pair->a, pair->b);
}

static void bodies_of_an_interrupted_first_exchange_are_not_sent_again(void **state)
{
	struct pair *pair = *state;
	struct race race = { NULL, "APPLY", 1, 0 };
	struct wire wire = { .context = &race, .loses = lose_first };
	struct exchange_result result;
	char text[32];

	for (int i = 0; i < 250; i++) {
		snprintf(text, sizeof(text), "message %d", i);
		node_append(pair->a, "INBOX", text);
	}
	race.verb = "PUT";
	result = nodes_try_exchange(pair->a, pair->b, &wire);
	assert_int_equal(result.sent_body_count, 250);
	result = nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(result.sent_body_count, 0);
	nodes_check_equal(pair->a, pair->b);
}

static void append_many(struct node *node, unsigned count)
{
	char text[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(text, sizeof(text), "message %u", i % 50); /* few bodies, shared */
		node_append(node, "INBOX", text);
	}
}

static void a_change_of_many_records_goes_in_stages(void **state)
{
	struct pair *pair = *state;
	struct exchange_result result;

	append_many(pair->a, 5100);
	result = nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(result.sent_body_count, 50);
	assert_int_equal(node_count(pair->b, "INBOX"), 5100);
	nodes_check_equal(pair->a, pair->b);
}

static void race_request(void *context, struct bytes request)
{
	struct race *race = context;
	struct buffer answer = { 0 };

	if (is_verb(request, "APPLY") && race->number++ == 0)
		(void)node_ask(race->node, race->verb, &answer);
	buffer_deinit(&answer);
}

static void what_was_staged_for_a_request_that_never_came_is_dropped(void **state)
{
	struct pair *pair = *state;
	struct race race = { pair->b,
		"STAGE %(PART 1 REGISTERS (%(KIND SUBSCRIPTION KEY left STAMP 5.00000000000000aa "
		"MODSEQ 5 VALUE \"\")))",
		1, 0 };
	struct wire wire = { .context = &race, .before = race_request };

	node_append(pair->a, "INBOX", "one");
	assert_int_equal(nodes_exchange(pair->a, pair->b, &wire).repair_count, 0);
	nodes_check_equal(pair->a, pair->b);
}

static void a_request_about_another_account_may_come_after_a_stage(void **state)
{
	struct pair *pair = *state;
	struct race race = { pair->b,
		"APPLY %(ACCOUNT nobody EXPECT 1 SINCE 1 SEQUENCE 7 HIGHEST 0)", 1, 0 };
	struct wire wire = { .context = &race, .before = race_request };

	append_many(pair->a, 5100);
	nodes_exchange(pair->a, pair->b, &wire);
	assert_int_equal(node_count(pair->b, "INBOX"), 5100);
	nodes_check_equal(pair->a, pair->b);
}

static void many_changes_of_the_peer_come_in_several_answers(void **state)
{
	struct pair *pair = *state;
	struct exchange_result result;

	nodes_exchange(pair->a, pair->b, NULL);
	append_many(pair->b, 2300);
	node_append(pair->a, "INBOX", "from a");
	result = nodes_exchange(pair->a, pair->b, NULL);
	assert_true(result.received_count >= 2300);
	assert_int_equal(node_count(pair->a, "INBOX"), 2301);
	nodes_check_equal(pair->a, pair->b);
}

static void race_flag(void *context, struct bytes request)
{
	struct race *race = context;

	if (!is_verb(request, race->verb) || race->count == 0)
		return;
	race->count--;
	node_flag(race->node, "INBOX", 5, "\\Seen");
}

/* It was not part of the common point, only of an answer before. */
static void a_message_changed_between_two_answers_is_not_taken_for_deleted(void **state)
{
	struct pair *pair = *state;
	struct race race = { pair->b, "CHANGES", 1, 0 };
	struct wire wire = { .context = &race, .before = race_flag };

	nodes_exchange(pair->a, pair->b, NULL);
	append_many(pair->b, 2300);
	node_append(pair->a, "Work", "from a");
	nodes_exchange(pair->a, pair->b, &wire);
	assert_int_equal(node_count(pair->a, "INBOX"), 2300);
	assert_true(node_has_flag(pair->a, "INBOX", 5, "\\Seen"));
	nodes_check_equal(pair->a, pair->b);
}

static void equal_copies_that_never_met_exchange_no_records(void **state)
{
	struct pair *pair = *state;
	struct node *c = node_new();
	struct exchange_result result;

	node_append(pair->a, "INBOX", "one");
	nodes_exchange(pair->a, pair->b, NULL);
	nodes_exchange(pair->a, c, NULL);
	result = nodes_exchange(c, pair->b, NULL);
	assert_int_equal(result.sent_count, 0);
	assert_int_equal(result.received_count, 0);
	assert_int_equal(result.request_count, 2);
	node_free(&c);
}

static void copies_that_never_met_are_merged(void **state)
{
	struct pair *pair = *state;

	assert_int_equal(mail_account_open(pair->b->mail, BYTES_LITERAL("anna"), true, NULL,
				 &pair->b->account),
		0);
	node_append(pair->a, "INBOX", "from a");
	node_append(pair->a, "Work", "work a");
	node_append(pair->b, "INBOX", "from b");
	node_append(pair->b, "Work", "work b");
	nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(node_count(pair->a, "INBOX"), 2);
	assert_int_equal(node_count(pair->a, "Work"), 2);
	nodes_check_equal(pair->a, pair->b);
}

static void a_peer_that_was_never_at_our_point_is_compared_from_the_beginning(void **state)
{
	struct pair *pair = *state;
	struct common_point wrong = { 1, 1000000 };

	node_append(pair->a, "INBOX", "one");
	nodes_exchange(pair->a, pair->b, NULL);
	wrong.mine = node_header(pair->a).sequence;
	assert_int_equal(
		point_save(pair->a->mail, pair->a->account, mail_node(pair->b->mail), wrong, NULL),
		0);
	node_append(pair->a, "INBOX", "two");
	node_append(pair->b, "INBOX", "three");
	nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(node_count(pair->a, "INBOX"), 3);
	nodes_check_equal(pair->a, pair->b);
}

static void mailboxes_follow_renames_and_deletions(void **state)
{
	struct pair *pair = *state;

	node_append(pair->a, "Work", "one");
	node_append(pair->a, "Old", "two");
	nodes_exchange(pair->a, pair->b, NULL);
	node_rename(pair->a, "Work", "Projects");
	node_delete_mailbox(pair->a, "Old");
	node_append(pair->a, "Work", "three"); /* a new one of the old name */
	nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(node_count(pair->b, "Projects"), 1);
	assert_int_equal(node_count(pair->b, "Old"), 0);
	assert_int_equal(node_count(pair->b, "Work"), 1);
	nodes_check_equal(pair->a, pair->b);
}

static void mailboxes_that_swap_names_do_so_on_both_sides(void **state)
{
	struct pair *pair = *state;

	node_append(pair->a, "one", "first");
	node_append(pair->a, "two", "second");
	nodes_exchange(pair->a, pair->b, NULL);
	node_rename(pair->a, "one", "three");
	node_rename(pair->a, "two", "one");
	node_rename(pair->a, "three", "two");
	nodes_exchange(pair->a, pair->b, NULL);
	assert_true(node_uid_of(pair->b, "two", "first") != 0);
	assert_true(node_uid_of(pair->b, "one", "second") != 0);
	nodes_check_equal(pair->a, pair->b);
}

/* ---- repair ---- */

/* Makes A believe that both copies are equal as they stand. */
static void forge_point(struct pair *pair)
{
	struct common_point point = { node_header(pair->a).sequence,
		node_header(pair->b).sequence };

	assert_int_equal(
		point_save(pair->a->mail, pair->a->account, mail_node(pair->b->mail), point, NULL),
		0);
}

static void a_flag_that_differs_unnoticed_is_found_and_repaired(void **state)
{
	struct pair *pair = *state;
	struct exchange_result result;
	uint32_t uid = node_append(pair->a, "INBOX", "one");

	nodes_exchange(pair->a, pair->b, NULL);
	node_flag(pair->b, "INBOX", uid, "\\Flagged");
	forge_point(pair);
	node_append(pair->a, "INBOX", "two");
	result = nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(result.repair_count, 1);
	assert_true(node_has_flag(pair->a, "INBOX", uid, "\\Flagged"));
	assert_int_equal(node_count(pair->b, "INBOX"), 2);
	nodes_check_equal(pair->a, pair->b);
}

static void a_repair_exchanges_little_of_a_large_mailbox(void **state)
{
	struct pair *pair = *state;
	struct exchange_result result;

	append_many(pair->a, 1500);
	nodes_exchange(pair->a, pair->b, NULL);
	node_flag(pair->b, "INBOX", 700, "\\Flagged");
	forge_point(pair);
	node_flag(pair->a, "INBOX", 3, "\\Seen");
	result = nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(result.repair_count, 1);
	assert_true(result.received_count < 200);
	assert_true(node_has_flag(pair->a, "INBOX", 700, "\\Flagged"));
	nodes_check_equal(pair->a, pair->b);
}

static void a_mailbox_that_differs_unnoticed_is_repaired(void **state)
{
	struct pair *pair = *state;
	struct exchange_result result;

	node_append(pair->a, "Work", "one");
	nodes_exchange(pair->a, pair->b, NULL);
	node_rename(pair->b, "Work", "Projects");
	node_mailbox(pair->b, "Empty");
	forge_point(pair);
	node_append(pair->a, "INBOX", "two");
	result = nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(result.repair_count, 1);
	assert_int_equal(node_count(pair->a, "Projects"), 1);
	nodes_check_equal(pair->a, pair->b);
}

static void a_subscription_that_differs_unnoticed_is_repaired(void **state)
{
	struct pair *pair = *state;
	struct exchange_result result;
	struct error error;
	uint64_t position;

	nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(mailbox_subscribe(pair->b->mail, pair->b->account, BYTES_LITERAL("INBOX"),
				 true, &error, &position),
		0);
	forge_point(pair);
	node_append(pair->a, "INBOX", "two");
	result = nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(result.repair_count, 1);
	nodes_check_equal(pair->a, pair->b);
}

static void a_repair_begins_anew_if_the_peer_changes_during_it(void **state)
{
	struct pair *pair = *state;
	struct race race = { pair->b, "RECORDS", 1, 0 };
	struct wire wire = { .context = &race, .before = race_append };
	uint32_t uid = node_append(pair->a, "INBOX", "one");

	nodes_exchange(pair->a, pair->b, NULL);
	node_flag(pair->b, "INBOX", uid, "\\Flagged");
	forge_point(pair);
	node_append(pair->a, "INBOX", "two");
	nodes_exchange(pair->a, pair->b, &wire);
	assert_int_equal(node_count(pair->a, "INBOX"), 3);
	assert_true(node_has_flag(pair->a, "INBOX", uid, "\\Flagged"));
	nodes_check_equal(pair->a, pair->b);
}

/* ---- rights, and peers that do not behave ---- */

static void stores_with_one_node_id_refuse_each_other(void **state)
{
	struct pair *pair = *state;
	static const struct sync_rights full = { .is_full = true };
	struct sync_session *session = sync_session_new(pair->a->mail, &full);
	struct buffer request = { 0 }, answer = { 0 };
	struct error error;
	struct sync_peer peer;

	sync_hello_request(pair->a->mail, NULL, &request);
	assert_int_equal(
		sync_respond(session, buffer_bytes(&request), &answer, &error), ERR_REFUSED);
	assert_int_equal(
		sync_hello_check(pair->a->mail, NULL, buffer_bytes(&answer), &peer, &error),
		ERR_REFUSED);
	assert_non_null(strstr(error.text, "node id"));
	sync_session_free(&session);
	buffer_deinit(&request);
	buffer_deinit(&answer);
}

static void nothing_is_answered_before_hello(void **state)
{
	struct pair *pair = *state;
	static const struct sync_rights full = { .is_full = true };
	struct buffer answer = { 0 };

	pair->b->session = sync_session_new(pair->b->mail, &full);
	assert_int_equal(node_ask(pair->b, "POINTS %(CURSOR 0)", &answer), ERR_INVALID);
	buffer_deinit(&answer);
}

static void a_user_exchanges_his_own_account(void **state)
{
	struct pair *pair = *state;
	struct sync_rights rights = { .account = "anna" };
	uint32_t uid = node_append(pair->a, "INBOX", "one");

	nodes_exchange(pair->a, pair->b, NULL);
	nodes_connect(pair->a, pair->b, &rights);
	node_append(pair->a, "INBOX", "two");
	node_flag(pair->b, "INBOX", uid, "\\Seen");
	nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(node_count(pair->b, "INBOX"), 2);
	assert_true(node_has_flag(pair->a, "INBOX", uid, "\\Seen"));
	nodes_check_equal(pair->a, pair->b);
}

/* P9 */
static void a_user_gets_nothing_of_other_accounts(void **state)
{
	static const char *const requests[] = {
		"POINTS %(ACCOUNTS (anna))", "CHANGES %(ACCOUNT anna SINCE 0)",
		"LACKS %(ACCOUNT anna GUIDS ())", "GET %(ACCOUNT anna INSTANCES ())",
		"RANGE %(ACCOUNT anna)", "RECORDS %(ACCOUNT anna SINCE 0)",
		("APPLY %(ACCOUNT anna EXPECT 0 SINCE 0 SEQUENCE 1 HIGHEST 1"
		 " RESULT 00000000000000000000000000000000)"),
		"INTEGRATE %(ACCOUNT bert SINCE 0 SEQUENCE 1 HIGHEST 1)", /* peers only */
	};
	struct pair *pair = *state;
	struct sync_rights rights = { .account = "bert" };
	struct buffer answer = { 0 };

	node_append(pair->a, "INBOX", "one");
	nodes_exchange(pair->a, pair->b, NULL);
	nodes_connect(pair->a, pair->b, &rights);
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		assert_int_equal(node_ask(pair->b, requests[i], &answer), ERR_REFUSED);
	assert_int_equal(node_ask(pair->b, "POINTS %(CURSOR 0)", &answer), 0);
	assert_null(strstr(buffer_string(&answer), "anna"));
	buffer_deinit(&answer);
}

/* P9: a GUID alone opens nothing */
static void a_user_cannot_show_a_body_that_he_has_not_brought(void **state)
{
	struct pair *pair = *state;
	struct sync_rights rights = { .account = "anna" };
	struct buffer request = { 0 }, answer = { 0 }, raw = { 0 };
	struct guid guid;
	uint32_t number;

	assert_int_equal(
		mail_account_open(pair->b->mail, BYTES_LITERAL("bert"), true, NULL, &number), 0);
	pair->b->account = number;
	node_append(pair->b, "INBOX", "secret");
	buffer_append_string(&raw, "Subject: secret\r\n\r\nsecret\r\n");
	guid_of(buffer_bytes(&raw), &guid);
	nodes_connect(pair->a, pair->b, &rights);
	buffer_append_string(&request, "LACKS %(ACCOUNT anna GUIDS (");
	for (size_t i = 0; i < sizeof(guid.bytes); i++)
		buffer_printf(&request, "%02x", guid.bytes[i]);
	buffer_append_string(&request, "))");
	assert_int_equal(node_ask(pair->b, buffer_string(&request), &answer), 0);
	assert_null(strstr(buffer_string(&answer), "GUIDS ()"));
	buffer_deinit(&request);
	buffer_deinit(&answer);
	buffer_deinit(&raw);
}

#define GUID                                                                                       \
	"a591a6d40bf420404a011733cfb7b190d62c65bf0bcda32b57b277d9ad9f146e" /* of "Hello World" */
#define RESULT "RESULT 00000000000000000000000000000000"

static void a_body_that_is_not_what_its_guid_says_is_refused(void **state)
{
	struct pair *pair = *state;
	struct buffer answer = { 0 };

	nodes_connect(pair->a, pair->b, NULL);
	assert_int_equal(
		node_ask(pair->b, "PUT %(BODIES (" GUID " {11+}\r\nHello world))", &answer),
		ERR_ILLEGAL);
	assert_int_equal(
		node_ask(pair->b, "PUT %(BODIES (" GUID " {11+}\r\nHello World))", &answer), 0);
	buffer_deinit(&answer);
}

/* Illegal or malformed: each leaves the copy as it was. */
static const struct hostile {
	const char *change;
	const char *reason;
	int code;
} hostile_changes[] = {
	{ "MESSAGES (%(INSTANCE 9007199254740991.0000000000000007 MODSEQ 9007199254740991 "
	  "GUID " GUID " SIZE 11 INTERNALDATE 0 SAVEDATE 0))",
		"a modseq in the year 200000", ERR_ILLEGAL },
	{ "MESSAGES (%(INSTANCE 9007199254740992.0000000000000007 MODSEQ 5 GUID " GUID
	  " SIZE 11 INTERNALDATE 0 SAVEDATE 0))",
		"a modseq over 53 bits", ERR_INVALID },
	{ "MESSAGES (%(INSTANCE 5.0000000000000007 MODSEQ 5 UID 7 GUID " GUID
	  " SIZE 11 INTERNALDATE 0 SAVEDATE 0))",
		"a UID without a mailbox", ERR_INVALID },
	{ "MESSAGES (%(INSTANCE 5.0000000000000007 MODSEQ 5 GUID " GUID
	  " SIZE 11 INTERNALDATE 0 SAVEDATE 0 FLAGS (a + = a - =)))",
		"a flag named twice", ERR_INVALID },
	{ "MESSAGES (%(INSTANCE 5.0000000000000007 PLACED 0.0000000000000000 MODSEQ 5 GUID " GUID
	  " SIZE 11 INTERNALDATE 0 SAVEDATE 0))",
		"never placed", ERR_INVALID },
	{ "MAILBOXES (%(ID 00000000000000000000000000000001 NAME x UIDVALIDITY 0 UIDNEXT 1 MODSEQ "
	  "5))",
		"UIDVALIDITY 0", ERR_INVALID },
	{ "MAILBOXES (%(ID 00000000000000000000000000000001 NAME {2+}\r\na\1 UIDVALIDITY 1 UIDNEXT "
	  "1 "
	  "MODSEQ 5))",
		"a control character in a name", ERR_ILLEGAL },
	{ "MAILBOXES (%(ID 00000000000000000000000000000001 NAME x UIDVALIDITY 1 UIDNEXT 1 MODSEQ "
	  "5 "
	  "FORWARD 00000000000000000000000000000002))",
		"a live mailbox with a forward", ERR_ILLEGAL },
	{ "REGISTERS (%(KIND MESSAGE KEY x STAMP 5.0000000000000007 MODSEQ 5 VALUE y))",
		"a message as a register", ERR_INVALID },
	{ "MESSAGES (%(INSTANCE 5.0000000000000007 MODSEQ 5 GUID " GUID
	  " SIZE 11 INTERNALDATE 0 SAVEDATE 0 FLAGS ({3+}\r\na)b + =)))",
		"a flag that would break an IMAP response", ERR_INVALID },
	{ "MESSAGES 5", "a number for a list", ERR_INVALID },
	{ "MESSAGES (5)", "a number for a record", ERR_INVALID },
	{ "MESSAGES (", "a list cut short", ERR_INVALID },
	{ "MESSAGES ((((((((((()))))))))))", "lists nested too deeply", ERR_TOO_LARGE },
};

/* P5 */
static void illegal_changes_are_refused_and_leave_no_trace(void **state)
{
	struct pair *pair = *state;
	struct buffer request = { 0 }, answer = { 0 };
	struct account_header before, after;

	node_append(pair->a, "INBOX", "one");
	nodes_exchange(pair->a, pair->b, NULL);
	before = node_header(pair->b);
	for (size_t i = 0; i < sizeof(hostile_changes) / sizeof(hostile_changes[0]); i++) {
		const struct hostile *hostile = &hostile_changes[i];
		int rc;

		buffer_clear(&request);
		buffer_printf(&request,
			"APPLY %%(ACCOUNT anna EXPECT %llu SINCE 0 SEQUENCE 99 HIGHEST 1 " RESULT
			" %s)",
			(unsigned long long)before.sequence, hostile->change);
		rc = node_ask(pair->b, buffer_string(&request), &answer);
		if (rc != hostile->code)
			fail_msg("%s: %d, %s", hostile->reason, rc, buffer_string(&answer));
		after = node_header(pair->b);
		assert_true(after.sequence == before.sequence);
		assert_true(digest_equal(after.digest, before.digest));
		assert_true(after.clock_last == before.clock_last);
	}
	buffer_deinit(&request);
	buffer_deinit(&answer);
}

/* P3: the UIDs below UIDNEXT are taken or gone for ever. */
static void a_message_below_uidnext_is_not_taken(void **state)
{
	struct pair *pair = *state;
	struct buffer request = { 0 }, answer = { 0 };
	struct id128 inbox;
	uint64_t modseq;

	node_append(pair->a, "INBOX", "one");
	node_expunge(pair->a, "INBOX", 1);
	nodes_exchange(pair->a, pair->b, NULL);
	inbox = node_mailbox(pair->b, "INBOX");
	modseq = node_header(pair->b).highest + 1;
	assert_int_equal(
		node_ask(pair->b, "PUT %(BODIES (" GUID " {11+}\r\nHello World))", &answer), 0);
	buffer_printf(&request,
		"APPLY %%(ACCOUNT anna EXPECT %llu SINCE 0 SEQUENCE 99 HIGHEST %llu " RESULT
		" MESSAGES (%%(INSTANCE %llu.0000000000000007 MODSEQ %llu UID 1 MAILBOX ",
		(unsigned long long)node_header(pair->b).sequence, (unsigned long long)modseq,
		(unsigned long long)modseq, (unsigned long long)modseq);
	for (size_t i = 0; i < sizeof(inbox.bytes); i++)
		buffer_printf(&request, "%02x", inbox.bytes[i]);
	buffer_append_string(&request, " GUID " GUID " SIZE 11 INTERNALDATE 0 SAVEDATE 0)))");
	assert_int_equal(node_ask(pair->b, buffer_string(&request), &answer), 0);
	assert_true(bytes_start_with(buffer_bytes(&answer), BYTES_LITERAL("CHANGED ")));
	assert_non_null(strstr(buffer_string(&answer), "ILLEGAL"));
	assert_int_equal(node_count(pair->b, "INBOX"), 0);
	buffer_deinit(&request);
	buffer_deinit(&answer);
}

/* What is in *result of an exchange of A with a B that gives it only these rights. */
static struct exchange_result exchange_with(struct pair *pair, struct sync_rights rights)
{
	struct exchange_result result;

	rights.is_full = true;
	nodes_connect(pair->a, pair->b, &rights);
	result = nodes_try_exchange(pair->a, pair->b, NULL);
	if (result.error.code == 0)
		node_find_account(pair->b);
	return result;
}

static void a_peer_that_may_only_read_takes_and_changes_nothing(void **state)
{
	struct pair *pair = *state;
	struct sync_rights rights = { .is_full = true, .is_read_only = true };
	static const char *const writes[] = { "PUT %(BODIES ())", "STAGE %()",
		"APPLY %(ACCOUNT anna)", "INTEGRATE %(ACCOUNT anna)" };
	struct buffer answer = { 0 };

	nodes_exchange(pair->a, pair->b, NULL);
	nodes_connect(pair->a, pair->b, &rights);
	for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
		assert_int_equal(node_ask(pair->b, writes[i], &answer), ERR_REFUSED);
	assert_int_equal(node_ask(pair->b, "POINTS %(CURSOR 0)", &answer), 0);
	assert_non_null(strstr(buffer_string(&answer), "anna"));
	assert_int_equal(node_ask(pair->b, "CHANGES %(ACCOUNT anna SINCE 0)", &answer), 0);
	node_append(pair->a, "INBOX", "one");
	assert_int_equal(exchange_with(pair, rights).error.code, ERR_REFUSED);
	assert_int_equal(node_count(pair->b, "INBOX"), 0);
	buffer_deinit(&answer);
}

static void a_peer_sees_the_accounts_that_are_for_it(void **state)
{
	struct pair *pair = *state;
	struct sync_rights rights = { .is_full = true, .accounts = "b* !bert" };
	struct buffer answer = { 0 };

	nodes_exchange(pair->a, pair->b, NULL);
	nodes_connect(pair->a, pair->b, &rights);
	assert_int_equal(node_ask(pair->b, "POINTS %(CURSOR 0)", &answer), 0);
	assert_null(strstr(buffer_string(&answer), "anna"));
	assert_int_equal(node_ask(pair->b, "POINTS %(ACCOUNTS (anna))", &answer), ERR_REFUSED);
	assert_int_equal(
		node_ask(pair->b, "CHANGES %(ACCOUNT anna SINCE 0)", &answer), ERR_REFUSED);
	assert_int_equal(node_ask(pair->b, "POINTS %(ACCOUNTS (bert))", &answer), ERR_REFUSED);
	assert_int_equal(node_ask(pair->b, "POINTS %(ACCOUNTS (bella))", &answer), 0);
	buffer_deinit(&answer);
}

static void a_peer_that_may_not_delete_does_everything_else(void **state)
{
	struct pair *pair = *state;
	struct sync_rights rights = { .no_delete = true };
	uint32_t uid = node_append(pair->a, "INBOX", "one");

	node_append(pair->a, "Work", "two");
	assert_int_equal(exchange_with(pair, rights).error.code, 0);
	node_flag(pair->a, "INBOX", uid, "\\Flagged");
	node_move(pair->a, "INBOX", uid, "Play");
	node_rename(pair->a, "Work", "Leisure");
	assert_int_equal(exchange_with(pair, rights).error.code, 0);
	assert_int_equal(node_count(pair->b, "Play"), 1);
	nodes_check_equal(pair->a, pair->b);
	node_expunge(pair->a, "Play", node_uid_of(pair->a, "Play", "one"));
	assert_int_equal(exchange_with(pair, rights).error.code, ERR_REFUSED);
	assert_int_equal(node_count(pair->b, "Play"), 1);
}

static void a_peer_that_may_not_delete_keeps_no_mailbox_from_others(void **state)
{
	struct pair *pair = *state;
	struct sync_rights rights = { .no_delete = true };

	node_append(pair->a, "Work", "one");
	nodes_exchange(pair->a, pair->b, NULL);
	node_delete_mailbox(pair->a, "Work");
	assert_int_equal(exchange_with(pair, rights).error.code, ERR_REFUSED);
	assert_int_equal(node_count(pair->b, "Work"), 1);
	/* Merging on the other side is judged like a push. */
	node_append(pair->b, "INBOX", "two");
	assert_int_equal(exchange_with(pair, rights).error.code, ERR_REFUSED);
	assert_int_equal(node_count(pair->b, "Work"), 1);
	/* With all rights it goes. */
	assert_int_equal(exchange_with(pair, (struct sync_rights){ 0 }).error.code, 0);
	assert_int_equal(node_count(pair->b, "Work"), 0);
	nodes_check_equal(pair->a, pair->b);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* ---- messages for another node to append ---- */

static int ask_to_append(struct pair *pair, uint32_t uidnext, unsigned hop_count, uint64_t node,
	struct forward_result *result_r, struct error *error)
{
	struct buffer request = { 0 }, answer = { 0 };
	struct mail_body *body = NULL;
	struct append_message message = { .internaldate = 1700000000 };
	struct forward forward = { .account = "anna",
		.mailbox = node_mailbox(pair->a, "INBOX"),
		.uidnext = uidnext,
		.instance = { modseq_of_ms(1700000000000) + uidnext, node },
		.message = &message,
		.hop_count = hop_count };
	int rc;

	assert_int_equal(mail_body_prepare(pair->a->mail,
				 BYTES_LITERAL("Subject: sent on\r\n\r\nsent on\r\n"), &body),
		0);
	message.body = body;
	forward_request(&forward, &request);
	(void)sync_respond(pair->b->session, buffer_bytes(&request), &answer, error);
	rc = forward_answer(buffer_bytes(&answer), result_r, error);
	mail_body_free(&body);
	buffer_deinit(&request);
	buffer_deinit(&answer);
	return rc;
}

static void a_node_that_is_behind_gives_no_uid(void **state)
{
	struct pair *pair = *state;
	uint64_t node = mail_node(pair->a->mail);
	struct forward_result result;
	struct error error;

	nodes_exchange(pair->a, pair->b, NULL);
	node_append(pair->a, "INBOX", "not there yet");
	nodes_connect(pair->a, pair->b, NULL);
	node_append(pair->b, "INBOX", "so that it lends nothing");
	assert_int_equal(ask_to_append(pair, 3, 1, node, &result, &error), 0);
	assert_int_equal(result.outcome, FORWARD_BEHIND);
	assert_int_equal(node_count(pair->b, "INBOX"), 1);
	assert_int_equal(ask_to_append(pair, 2, 1, node, &result, &error), 0);
	assert_int_equal(result.outcome, FORWARD_APPENDED);
	assert_int_equal(node_count(pair->b, "INBOX"), 2);
}

static void what_is_sent_on_may_be_of_a_third_node_what_is_sent_first_not(void **state)
{
	struct pair *pair = *state;
	struct forward_result result;
	struct error error;

	nodes_exchange(pair->a, pair->b, NULL);
	nodes_connect(pair->a, pair->b, NULL);
	assert_int_equal(ask_to_append(pair, 1, 0, 77, &result, &error), ERR_ILLEGAL);
	assert_int_equal(ask_to_append(pair, 1, 1, 77, &result, &error), 0);
	assert_int_equal(result.outcome, FORWARD_APPENDED);
	assert_int_equal(node_count(pair->b, "INBOX"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(an_account_that_the_peer_lacks_is_made_there),
		CASE(a_small_change_with_its_body_is_two_requests_sent_at_once),
		CASE(after_a_push_the_other_side_has_nothing_to_send),
		CASE(changes_on_both_sides_are_merged_by_the_initiator),
		CASE(one_uid_given_twice_is_retired_and_both_messages_stay),
		CASE(a_change_made_there_just_before_the_push_is_merged),
		CASE(a_change_made_here_during_the_exchange_is_sent_with_the_next_one),
		CASE(a_peer_that_changes_all_the_time_is_asked_to_merge),
		CASE(a_node_that_is_behind_gives_no_uid),
		CASE(what_is_sent_on_may_be_of_a_third_node_what_is_sent_first_not),
		CASE(a_peer_that_never_stops_changing_has_our_changes_all_the_same),
		CASE(an_apply_whose_answer_was_lost_is_answered_again_and_changes_nothing),
		CASE(a_lost_answer_and_later_changes_on_both_sides_give_no_duplicates),
		CASE(a_body_that_was_not_guessed_to_be_needed_is_put_when_asked_for),
		CASE(bodies_of_an_interrupted_first_exchange_are_not_sent_again),
		CASE(a_change_of_many_records_goes_in_stages),
		CASE(what_was_staged_for_a_request_that_never_came_is_dropped),
		CASE(a_request_about_another_account_may_come_after_a_stage),
		CASE(many_changes_of_the_peer_come_in_several_answers),
		CASE(a_message_changed_between_two_answers_is_not_taken_for_deleted),
		CASE(equal_copies_that_never_met_exchange_no_records),
		CASE(copies_that_never_met_are_merged),
		CASE(a_peer_that_was_never_at_our_point_is_compared_from_the_beginning),
		CASE(mailboxes_follow_renames_and_deletions),
		CASE(mailboxes_that_swap_names_do_so_on_both_sides),
		CASE(a_flag_that_differs_unnoticed_is_found_and_repaired),
		CASE(a_repair_exchanges_little_of_a_large_mailbox),
		CASE(a_mailbox_that_differs_unnoticed_is_repaired),
		CASE(a_subscription_that_differs_unnoticed_is_repaired),
		CASE(a_repair_begins_anew_if_the_peer_changes_during_it),
		CASE(stores_with_one_node_id_refuse_each_other),
		CASE(nothing_is_answered_before_hello),
		CASE(a_user_exchanges_his_own_account),
		CASE(a_user_gets_nothing_of_other_accounts),
		CASE(a_user_cannot_show_a_body_that_he_has_not_brought),
		CASE(a_body_that_is_not_what_its_guid_says_is_refused),
		CASE(illegal_changes_are_refused_and_leave_no_trace),
		CASE(a_message_below_uidnext_is_not_taken),
		CASE(a_peer_that_may_only_read_takes_and_changes_nothing),
		CASE(a_peer_sees_the_accounts_that_are_for_it),
		CASE(a_peer_that_may_not_delete_does_everything_else),
		CASE(a_peer_that_may_not_delete_keeps_no_mailbox_from_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
