/* First copies in parts (sync/fill.h), between nodes in memory. */
#include "sync_fixture.h"

#include "mail/hold.h"
#include "sync/fill.h"
#include "sync/point.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PART 5           /* records in one part */
#define MESSAGE_COUNT 23 /* in the account that is copied */
#define TRY_COUNT_MAX 200

static uint64_t later_ms; /* by how much the nodes' clocks are ahead of the system's */

static uint64_t later_now_ms(const struct clock *clock)
{
	(void)clock;
	return clock_now_ms(clock_system()) + later_ms;
}

static const struct clock later_clock = { later_now_ms };

struct set {
	struct node *source, *other, *target;
};

static struct node *clocked_node(bool has_account)
{
	struct node *node = node_new_with_clock(&later_clock);

	node->part_size = PART;
	if (has_account)
		assert_int_equal(mail_account_open(node->mail, BYTES_LITERAL("anna"), true, NULL,
					 &node->account),
			0);
	return node;
}

static int setup(void **state)
{
	static struct set set;

	later_ms = 0;
	set = (struct set){ clocked_node(true), clocked_node(true), clocked_node(false) };
	*state = &set;
	return 0;
}

static int teardown(void **state)
{
	struct set *set = *state;

	node_free(&set->source);
	node_free(&set->other);
	node_free(&set->target);
	return 0;
}

/* Two mailboxes, a move, an expunge and flags, so that records come in no simple order. */
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

static enum account_hold hold_of(struct node *node)
{
	return node_header(node).hold;
}

static bool is_verb(struct bytes request, const char *verb)
{
	return bytes_start_with(request, bytes_of_string(verb));
}

static void check_whole(struct node *source, struct node *target)
{
	assert_int_equal(hold_of(target), ACCOUNT_SERVED);
	nodes_check_equal(source, target);
}

/* ---- sent ---- */

struct look {
	struct node *target;
	unsigned part_count;
};

/* Between two parts the copy is not served, and nobody may change it. */
static void look_at_target(void *context, struct bytes request)
{
	struct look *look = context;
	struct error error = { 0 };
	uint64_t position;
	struct id128 id;

	if (!is_verb(request, "FILL") || look->part_count++ == 0)
		return;
	node_find_account(look->target);
	assert_int_equal(mail_hold_check(look->target->mail, look->target->account, &error),
		ERR_UNAVAILABLE);
	assert_int_equal(mailbox_create(look->target->mail, look->target->account,
				 BYTES_LITERAL("Mine"), BYTES_LITERAL(""), &error, &id, &position),
		ERR_UNAVAILABLE);
}

static void a_large_first_copy_is_sent_in_parts_and_served_when_it_is_whole(void **state)
{
	struct set *set = *state;
	struct look look = { .target = set->target };
	struct wire wire = { .context = &look, .before = look_at_target };
	struct exchange_result result;
	struct common_point point;
	struct kv_txn *kv = NULL;

	write_account(set->source);
	result = nodes_exchange(set->source, set->target, &wire);
	assert_true(look.part_count > MESSAGE_COUNT / PART);
	assert_int_equal(result.part_count, look.part_count - 1);
	assert_int_equal(result.refused_count + result.repair_count, 0);
	check_whole(set->source, set->target);
	assert_int_equal(mail_read_begin(set->target->mail, 0, &kv), 0);
	assert_int_equal(
		point_get(kv, set->target->account, mail_node(set->source->mail), &point), 0);
	mail_read_end(&kv);
	assert_true(point.theirs == node_header(set->source).sequence);
	/* What comes later comes as ever. */
	node_append(set->source, "INBOX", "later");
	result = nodes_exchange(set->source, set->target, NULL);
	assert_int_equal(result.request_count, 2);
	check_whole(set->source, set->target);
}

static bool transcript_has(const struct wire *wire, const char *text)
{
	return strstr(buffer_string(wire->transcript), text) != NULL;
}

static void a_small_account_comes_at_once(void **state)
{
	struct set *set = *state;
	struct buffer transcript = { 0 };
	struct wire wire = { .transcript = &transcript };

	node_append(set->source, "INBOX", "one");
	nodes_exchange(set->source, set->target, &wire);
	assert_false(transcript_has(&wire, "C: FILL"));
	check_whole(set->source, set->target);
	buffer_deinit(&transcript);
}

/* ---- interrupted ---- */

struct cut {
	unsigned after; /* so many requests the connection breaks ... */
	bool before;    /* ... before the last of them arrives; else its answer is lost */
};

static bool loses(void *context, struct bytes request, struct bytes answer)
{
	struct cut *cut = context;

	(void)request;
	(void)answer;
	return cut->after == 0 || --cut->after == 0;
}

struct tally {
	unsigned tries, offered, bodies;
};

/* Tries until it is done; each connection carries so many requests. */
static struct tally try_until_done(struct node *a, struct node *b, unsigned after)
{
	struct tally tally = { 0 };

	for (tally.tries = 1; tally.tries < TRY_COUNT_MAX; tally.tries++) {
		struct cut cut = { .after = after };
		struct wire wire = { .context = &cut, .loses = loses };
		struct exchange_result result = nodes_try_exchange(a, b, &wire);

		tally.offered += result.offered_count;
		tally.bodies += result.sent_body_count + result.received_body_count;
		if (result.error.code == 0)
			return tally;
		assert_int_equal(result.error.code, ERR_CLOSED);
	}
	fail_msg("it is never done");
	return tally;
}

static void an_interrupted_copy_goes_on_where_it_was(void **state)
{
	struct set *set = *state;

	write_account(set->source);
	for (unsigned after = 6; after < 30; after++) {
		struct tally tally;

		node_free(&set->target);
		set->target = clocked_node(false);
		tally = try_until_done(set->source, set->target, after);
		node_find_account(set->target);
		check_whole(set->source, set->target);
		/* Only the part under way, and the mailboxes, come again. */
		assert_true(tally.offered <= MESSAGE_COUNT + 10 + tally.tries * (PART + 3));
		assert_true(tally.bodies <= MESSAGE_COUNT + tally.tries * PART);
	}
}

/* P8 */
static void a_part_that_arrives_again_changes_nothing(void **state)
{
	struct set *set = *state;
	struct buffer transcript = { 0 }, answer = { 0 };
	struct wire wire = { .transcript = &transcript };
	const char *at;

	write_account(set->source);
	nodes_exchange(set->source, set->target, &wire);
	nodes_connect(set->source, set->target, NULL);
	at = buffer_string(&transcript);
	while ((at = strstr(at, "C: FILL ")) != NULL) {
		struct account_header before = node_header(set->target);
		const char *end = strstr(at, "\nS: ");
		struct buffer request = { 0 };
		struct error error;

		buffer_append(&request, at + 3, (size_t)(end - at - 3));
		buffer_clear(&answer);
		assert_int_equal(
			sync_respond(set->target->session, buffer_bytes(&request), &answer, &error),
			ERR_UNAVAILABLE);
		assert_true(node_header(set->target).sequence == before.sequence);
		buffer_deinit(&request);
		at = end;
	}
	check_whole(set->source, set->target);
	buffer_deinit(&transcript);
	buffer_deinit(&answer);
}

/* ---- the source changes meanwhile ---- */

struct busy {
	struct node *source;
	const char *verb;
	unsigned count;
};

/* One act before each part: what was sent changes, goes, moves, and names are exchanged. */
static void act(void *context, struct bytes request)
{
	struct busy *busy = context;

	if (!is_verb(request, busy->verb))
		return;
	switch (busy->count++) {
	case 1:
		node_flag(busy->source, "INBOX", 1, "\\Flagged");
		break;
	case 2:
		node_expunge(busy->source, "INBOX", 2);
		node_rename(busy->source, "Work", "Old");
		break;
	case 3:
		node_move(busy->source, "INBOX", 5, "Work");
		node_append(busy->source, "New", "new");
		break;
	case 4:
		node_delete_mailbox(busy->source, "Old");
		node_rename(busy->source, "Work", "Old");
		node_append(busy->source, "INBOX", "more");
		break;
	default:
		break;
	}
}

static void what_changes_at_the_source_meanwhile_comes_too(void **state)
{
	struct set *set = *state;
	struct busy busy = { .source = set->source, .verb = "FILL" };
	struct wire wire = { .context = &busy, .before = act };
	struct exchange_result result;

	write_account(set->source);
	result = nodes_exchange(set->source, set->target, &wire);
	assert_true(busy.count > 5);
	assert_int_equal(result.repair_count, 0);
	check_whole(set->source, set->target);
	assert_false(node_has_mailbox(set->target, "Work"));
}

/* ---- asked for ---- */

static void open_account(struct node *node)
{
	assert_int_equal(
		mail_account_open(node->mail, BYTES_LITERAL("anna"), true, NULL, &node->account),
		0);
}

static void a_large_first_copy_is_asked_for_in_parts(void **state)
{
	struct set *set = *state;
	struct busy busy = { .source = set->source, .verb = "CHANGES" };
	struct wire wire = { .context = &busy, .before = act };
	struct exchange_result result;

	write_account(set->source);
	open_account(set->target);
	result = nodes_exchange(set->target, set->source, &wire);
	assert_true(result.part_count > MESSAGE_COUNT / PART);
	assert_int_equal(result.sent_count, 0);
	assert_int_equal(result.repair_count, 0);
	check_whole(set->source, set->target);
}

static void asking_goes_on_where_it_was_interrupted(void **state)
{
	struct set *set = *state;

	write_account(set->source);
	for (unsigned after = 4; after < 24; after++) {
		struct tally tally;

		node_free(&set->target);
		set->target = clocked_node(true);
		tally = try_until_done(set->target, set->source, after);
		check_whole(set->source, set->target);
		assert_true(tally.bodies <= MESSAGE_COUNT + tally.tries * PART);
	}
}

/* ---- other sources ---- */

/* So far only, that it is not whole. */
static void begin_copy(struct node *source, struct node *target)
{
	struct cut cut = { .after = 8 };
	struct wire wire = { .context = &cut, .loses = loses };

	assert_int_equal(nodes_try_exchange(source, target, &wire).error.code, ERR_CLOSED);
	node_find_account(target);
	assert_int_equal(hold_of(target), ACCOUNT_FILLING);
}

static void another_source_waits_while_one_is_at_it(void **state)
{
	struct set *set = *state;
	struct exchange_result result;

	write_account(set->source);
	nodes_exchange(set->source, set->other, NULL);
	begin_copy(set->source, set->target);
	result = nodes_try_exchange(set->other, set->target, NULL);
	assert_int_equal(result.error.code, ERR_UNAVAILABLE);
	assert_true(result.is_postponed);
	/* Nor is it a source itself. */
	nodes_connect(set->target, set->other, NULL);
	result = nodes_try_exchange(set->target, set->other, NULL);
	assert_int_equal(result.error.code, ERR_UNAVAILABLE);
	assert_true(result.is_postponed);
	nodes_connect(set->source, set->target, NULL);
	nodes_exchange(set->source, set->target, NULL);
	check_whole(set->source, set->target);
}

/* The first source is gone for good. Both had UIDs, and a mailbox, of one name, that are not the
 * same. */
static void mix(struct set *set)
{
	char text[32];

	nodes_exchange(set->source, set->other, NULL);
	for (unsigned i = 0; i < MESSAGE_COUNT; i++) {
		snprintf(text, sizeof(text), "first %u", i);
		node_append(set->source, i % 2 == 0 ? "INBOX" : "Both", text);
		snprintf(text, sizeof(text), "second %u", i);
		node_append(set->other, i % 2 == 0 ? "INBOX" : "Both", text);
	}
	begin_copy(set->source, set->target);
	node_free(&set->source);
	set->source = clocked_node(true);
	later_ms = FILL_IDLE_MS;
}

static void check_mixed(struct set *set)
{
	unsigned first_count = 0;
	char text[32];

	check_whole(set->other, set->target);
	for (unsigned i = 0; i < MESSAGE_COUNT; i++) {
		const char *mailbox = i % 2 == 0 ? "INBOX" : "Both";

		snprintf(text, sizeof(text), "second %u", i);
		assert_true(node_uid_of(set->target, mailbox, text) != 0);
		snprintf(text, sizeof(text), "first %u", i);
		first_count += node_uid_of(set->target, mailbox, text) != 0;
	}
	/* What had come of the first one only is not lost. */
	assert_true(first_count > 0);
	assert_int_equal(node_count(set->target, "INBOX") + node_count(set->target, "Both"),
		MESSAGE_COUNT + first_count);
}

static void another_source_goes_on_where_the_first_is_gone(void **state)
{
	struct set *set = *state;
	struct exchange_result result;

	mix(set);
	nodes_connect(set->other, set->target, NULL);
	result = nodes_exchange(set->other, set->target, NULL);
	assert_int_equal(result.repair_count, 1);
	check_mixed(set);
}

static void another_source_can_be_asked_where_the_first_is_gone(void **state)
{
	struct set *set = *state;

	mix(set);
	nodes_connect(set->target, set->other, NULL);
	nodes_exchange(set->target, set->other, NULL);
	check_mixed(set);
}

static void an_operator_can_have_it_served_as_it_is(void **state)
{
	struct set *set = *state;
	struct error error = { 0 };

	write_account(set->source);
	begin_copy(set->source, set->target);
	assert_int_equal(mail_hold_end(set->target->mail, set->target->account, &error), 0);
	assert_int_equal(hold_of(set->target), ACCOUNT_SERVED);
	assert_int_equal(
		mail_hold_end(set->target->mail, set->target->account, &error), ERR_NOT_FOUND);
	/* And then it is a copy like any other. */
	node_append(set->target, "INBOX", "mine");
	nodes_connect(set->source, set->target, NULL);
	nodes_exchange(set->source, set->target, NULL);
	check_whole(set->source, set->target);
	assert_true(node_uid_of(set->source, "INBOX", "mine") != 0);
}

/* ---- stores that are older than they were ---- */

/* The mail layer takes the id when it is opened. */
static void reopen(struct node *node, bool *has_returned_r)
{
	sync_session_free(&node->session);
	mail_close(&node->mail);
	assert_int_equal(mail_open(node->store, &later_clock, &node->mail), 0);
	assert_int_equal(mail_hold_begin(node->mail, has_returned_r, NULL), 0);
}

static void a_store_with_a_new_id_waits_for_a_peers_copy(void **state)
{
	struct set *set = *state;
	bool has_returned;

	node_append(set->source, "INBOX", "one");
	nodes_exchange(set->source, set->target, NULL);
	reopen(set->target, &has_returned);
	assert_false(has_returned);
	assert_int_equal(store_renew_node_id(set->target->store, NULL), 0);
	reopen(set->target, &has_returned);
	assert_true(has_returned);
	assert_int_equal(hold_of(set->target), ACCOUNT_RETURNING);
	assert_int_equal(
		mail_hold_check(set->target->mail, set->target->account, NULL), ERR_UNAVAILABLE);
	/* Whoever begins: an exchange that ends is enough. */
	nodes_connect(set->target, set->source, NULL);
	nodes_exchange(set->target, set->source, NULL);
	check_whole(set->source, set->target);
	reopen(set->target, &has_returned);
	assert_false(has_returned);
	assert_int_equal(hold_of(set->target), ACCOUNT_SERVED);
	assert_int_equal(store_renew_node_id(set->target->store, NULL), 0);
	reopen(set->target, &has_returned);
	assert_int_equal(hold_of(set->target), ACCOUNT_RETURNING);
	nodes_connect(set->source, set->target, NULL);
	nodes_exchange(set->source, set->target, NULL);
	check_whole(set->source, set->target);
}

static void an_account_that_no_peer_ever_had_does_not_wait(void **state)
{
	struct set *set = *state;
	bool has_returned;

	node_append(set->source, "INBOX", "one");
	reopen(set->source, &has_returned);
	assert_int_equal(store_renew_node_id(set->source->store, NULL), 0);
	reopen(set->source, &has_returned);
	assert_true(has_returned);
	assert_int_equal(hold_of(set->source), ACCOUNT_SERVED);
}

/* The peer's point is of a later state than ours: as if our store was from before. */
static void remember_later(struct node *peer, struct node *node)
{
	struct common_point point = { node_header(peer).sequence, node_header(node).sequence + 7 };

	assert_int_equal(
		point_save(peer->mail, peer->account, mail_node(node->mail), point, NULL), 0);
}

static void an_older_store_is_noticed_by_what_the_peer_asks(void **state)
{
	struct set *set = *state;
	struct exchange_result result;

	node_append(set->source, "INBOX", "one");
	nodes_exchange(set->source, set->target, NULL);
	node_append(set->source, "INBOX", "two");
	remember_later(set->source, set->target);
	result = nodes_exchange(set->source, set->target, NULL);
	assert_int_equal(result.refused_count, 1);
	check_whole(set->source, set->target);
	assert_true(node_uid_of(set->target, "INBOX", "two") != 0);
}

struct behind {
	struct node *node;
	bool was_held;
};

static void look_at_hold(void *context, struct bytes request)
{
	struct behind *behind = context;

	(void)request;
	if (hold_of(behind->node) == ACCOUNT_RETURNING)
		behind->was_held = true;
}

static void an_older_store_is_told_so_by_the_peer(void **state)
{
	struct set *set = *state;
	struct behind behind = { .node = set->source };
	struct wire wire = { .context = &behind, .before = look_at_hold };

	node_append(set->source, "INBOX", "one");
	nodes_exchange(set->source, set->target, NULL);
	node_append(set->source, "INBOX", "two");
	remember_later(set->target, set->source);
	nodes_exchange(set->source, set->target, &wire);
	assert_true(behind.was_held);
	check_whole(set->source, set->target);
	assert_int_equal(hold_of(set->source), ACCOUNT_SERVED);
	assert_true(node_uid_of(set->target, "INBOX", "two") != 0);
}

/* ---- what is refused ---- */

static void a_user_cannot_fill(void **state)
{
	struct set *set = *state;
	struct sync_rights rights = { .account = "anna" };
	struct buffer answer = { 0 };

	nodes_connect(set->source, set->target, &rights);
	assert_int_equal(
		node_ask(set->target, "FILL %(ACCOUNT anna SINCE 0 SEQUENCE 9 HIGHEST 1)", &answer),
		ERR_REFUSED);
	buffer_deinit(&answer);
}

static void malformed_parts_are_refused(void **state)
{
	static const char *const requests[] = {
		"FILL %(ACCOUNT anna SEQUENCE 9 HIGHEST 1)",
		"FILL %(ACCOUNT anna SINCE 0 HIGHEST 1)",
		"FILL %(ACCOUNT anna SINCE 0 SEQUENCE 9 HIGHEST 1 RESULT x)",
		"FILL %(SINCE 0 SEQUENCE 9 HIGHEST 1)",
		"CHANGES %(ACCOUNT anna SINCE 0 MAILBOXES x)",
		"CHANGES %(ACCOUNT anna SINCE 0 MAILBOXES 0 MOST 0)",
	};
	struct set *set = *state;
	struct buffer answer = { 0 };

	nodes_connect(set->source, set->other, NULL);
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		assert_int_equal(node_ask(set->other, requests[i], &answer), ERR_INVALID);
	assert_int_equal(hold_of(set->other), ACCOUNT_SERVED);
	buffer_deinit(&answer);
}

static void what_is_not_pristine_is_not_filled(void **state)
{
	struct set *set = *state;
	struct buffer answer = { 0 };

	node_append(set->other, "INBOX", "one");
	nodes_connect(set->source, set->other, NULL);
	assert_int_equal(
		node_ask(set->other, "FILL %(ACCOUNT anna SINCE 0 SEQUENCE 9 HIGHEST 1)", &answer),
		ERR_UNAVAILABLE);
	assert_int_equal(hold_of(set->other), ACCOUNT_SERVED);
	buffer_deinit(&answer);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_large_first_copy_is_sent_in_parts_and_served_when_it_is_whole),
		CASE(a_small_account_comes_at_once),
		CASE(an_interrupted_copy_goes_on_where_it_was),
		CASE(a_part_that_arrives_again_changes_nothing),
		CASE(what_changes_at_the_source_meanwhile_comes_too),
		CASE(a_large_first_copy_is_asked_for_in_parts),
		CASE(asking_goes_on_where_it_was_interrupted),
		CASE(another_source_waits_while_one_is_at_it),
		CASE(another_source_goes_on_where_the_first_is_gone),
		CASE(another_source_can_be_asked_where_the_first_is_gone),
		CASE(an_operator_can_have_it_served_as_it_is),
		CASE(a_store_with_a_new_id_waits_for_a_peers_copy),
		CASE(an_account_that_no_peer_ever_had_does_not_wait),
		CASE(an_older_store_is_noticed_by_what_the_peer_asks),
		CASE(an_older_store_is_told_so_by_the_peer),
		CASE(a_user_cannot_fill),
		CASE(malformed_parts_are_refused),
		CASE(what_is_not_pristine_is_not_filled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
