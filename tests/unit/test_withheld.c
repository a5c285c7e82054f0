/*
 * Messages whose bytes are damaged on one node (sync/withheld.h): everything else is exchanged, and
 * they follow once they can be read again, or come from another copy.
 */
#include "sync_fixture.h"

#include "sync/point.h"
#include "sync/withheld.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- damage: what message_body() says of some bodies on some nodes ---- */

#define DAMAGE_COUNT_MAX 200

static struct {
	const struct mail *mail;
	struct guid guid;
} damage[DAMAGE_COUNT_MAX];
static size_t damage_count;

int __real_message_body(
	struct mail *mail, struct kv_txn *kv, const struct guid *guid, struct buffer *out);
int __wrap_message_body(
	struct mail *mail, struct kv_txn *kv, const struct guid *guid, struct buffer *out);

int __wrap_message_body(
	struct mail *mail, struct kv_txn *kv, const struct guid *guid, struct buffer *out)
{
	for (size_t i = 0; i < damage_count; i++)
		if (damage[i].mail == mail && guid_equal(&damage[i].guid, guid))
			return ERR_CORRUPT;
	return __real_message_body(mail, kv, guid, out);
}

static void damage_text(const struct node *node, const char *text)
{
	struct buffer raw = { 0 };

	assert_true(damage_count < DAMAGE_COUNT_MAX);
	buffer_printf(&raw, "Subject: %s\r\n\r\n%s\r\n", text, text);
	damage[damage_count].mail = node->mail;
	guid_of(buffer_bytes(&raw), &damage[damage_count++].guid);
	buffer_deinit(&raw);
}

static void mend_all(void)
{
	damage_count = 0;
}

/* ---- three nodes ---- */

struct set {
	struct node *a, *b, *c;
};

static int setup(void **state)
{
	static struct set set;

	mend_all();
	set = (struct set){ node_new_with_account(), node_new(), node_new() };
	*state = &set;
	return 0;
}

static int teardown(void **state)
{
	struct set *set = *state;

	mend_all();
	node_free(&set->a);
	node_free(&set->b);
	node_free(&set->c);
	return 0;
}

/* Whoever asked `to` before, its session now is `from`'s. */
static struct exchange_result between(struct node *from, struct node *to)
{
	sync_session_free(&to->session);
	return nodes_exchange(from, to, NULL);
}

static int count_one(void *context, const struct withheld_report *report)
{
	size_t *count = context;

	(void)report;
	++*count;
	return 0;
}

static size_t withheld_count(struct node *node)
{
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	size_t count = 0;

	assert_int_equal(mail_read_begin(node->mail, mail_position(node->mail), &kv), 0);
	assert_int_equal(withheld_each(kv, arena, count_one, &count), 0);
	mail_read_end(&kv);
	arena_free(&arena);
	return count;
}

static void a_push_leaves_out_what_is_damaged_here_and_it_follows_once_mended(void **state)
{
	struct set *set = *state;
	struct exchange_result result;

	node_append(set->a, "INBOX", "one");
	node_append(set->a, "INBOX", "two");
	node_append(set->a, "INBOX", "three");
	damage_text(set->a, "two");
	result = between(set->a, set->b);
	assert_int_equal(result.withheld_count, 1);
	assert_int_equal(node_count(set->b, "INBOX"), 2);
	assert_int_equal(node_count(set->a, "INBOX"), 3);
	assert_int_equal(withheld_count(set->a), 1);

	/* Both go on, whoever begins; and there is a common point: one request each. */
	node_append(set->a, "INBOX", "four");
	result = between(set->a, set->b);
	assert_int_equal(result.withheld_count, 0);
	assert_int_equal(result.request_count, 2);
	node_append(set->b, "INBOX", "five");
	result = between(set->b, set->a);
	assert_int_equal(result.refused_count + result.repair_count, 0);
	assert_int_equal(node_count(set->a, "INBOX"), 5);
	assert_int_equal(node_count(set->b, "INBOX"), 4);

	mend_all();
	between(set->a, set->b);
	nodes_check_equal(set->a, set->b);
	assert_int_equal(node_count(set->b, "INBOX"), 5);
	/* Above all that B has shown (P3). */
	assert_true(node_uid_of(set->b, "INBOX", "two") > node_uid_of(set->b, "INBOX", "five"));
	assert_int_equal(withheld_count(set->a), 0);
}

static void what_is_damaged_there_is_named_and_the_rest_is_taken(void **state)
{
	struct set *set = *state;
	struct exchange_result result;

	between(set->a, set->b);
	node_append(set->b, "INBOX", "one");
	node_append(set->b, "INBOX", "two");
	damage_text(set->b, "one");
	result = between(set->a, set->b);
	assert_int_equal(result.withheld_there_count, 1);
	assert_int_equal(node_count(set->a, "INBOX"), 1);
	assert_int_equal(node_count(set->b, "INBOX"), 2);
	assert_int_equal(withheld_count(set->b), 1);
	node_flag(set->b, "INBOX", node_uid_of(set->b, "INBOX", "one"), "\\Seen");
	node_append(set->a, "INBOX", "three");
	result = between(set->a, set->b);
	assert_int_equal(result.withheld_there_count + result.repair_count, 0);
	assert_int_equal(node_count(set->b, "INBOX"), 3);
	mend_all();
	between(set->b, set->a);
	nodes_check_equal(set->a, set->b);
	assert_int_equal(node_count(set->a, "INBOX"), 3);
	assert_true(node_has_flag(set->a, "INBOX", node_uid_of(set->a, "INBOX", "one"), "\\Seen"));
}

static void a_first_copy_in_parts_goes_on_without_it(void **state)
{
	struct set *set = *state;
	char text[32];

	for (unsigned i = 0; i < 23; i++) {
		snprintf(text, sizeof(text), "message %u", i);
		node_append(set->a, "INBOX", text);
	}
	damage_text(set->a, "message 3");
	damage_text(set->a, "message 4");
	damage_text(set->a, "message 22");
	set->a->part_size = 5;
	between(set->a, set->b);
	assert_int_equal(node_count(set->b, "INBOX"), 20);
	assert_int_equal(mail_account_open(
				 set->c->mail, BYTES_LITERAL("anna"), true, NULL, &set->c->account),
		0);
	set->c->part_size = 5;
	between(set->c, set->a);
	assert_int_equal(node_count(set->c, "INBOX"), 20);
	mend_all();
	between(set->a, set->b);
	between(set->a, set->c);
	between(set->a, set->b);
	assert_int_equal(node_count(set->c, "INBOX"), 23);
	nodes_check_equal(set->a, set->b);
	nodes_check_equal(set->a, set->c);
}

static void it_comes_from_a_third_copy(void **state)
{
	struct set *set = *state;

	node_append(set->a, "INBOX", "one");
	node_append(set->a, "INBOX", "two");
	between(set->a, set->c);
	damage_text(set->a, "one");
	between(set->a, set->b);
	assert_int_equal(node_count(set->b, "INBOX"), 1);
	between(set->c, set->b);
	assert_int_equal(node_count(set->b, "INBOX"), 2);
	between(set->b, set->a);
	assert_int_equal(withheld_count(set->a), 0);
	between(set->a, set->c);
	nodes_check_equal(set->a, set->b);
	nodes_check_equal(set->a, set->c);
}

static void what_the_peer_has_anyway_is_not_withheld(void **state)
{
	struct set *set = *state;
	struct exchange_result result;

	node_append(set->a, "INBOX", "one");
	between(set->a, set->b);
	damage_text(set->a, "one");
	node_append(set->a, "Work", "one");
	result = between(set->a, set->b);
	assert_int_equal(result.withheld_count, 0);
	nodes_check_equal(set->a, set->b);
	assert_int_equal(node_count(set->b, "Work"), 1);
}

static void a_repair_compares_all_but_what_is_withheld(void **state)
{
	struct set *set = *state;
	struct common_point point;
	struct exchange_result result;

	node_append(set->a, "INBOX", "one");
	node_append(set->a, "INBOX", "two");
	damage_text(set->a, "one");
	between(set->a, set->b);
	node_flag(set->b, "INBOX", node_uid_of(set->b, "INBOX", "two"), "\\Flagged");
	point = (struct common_point){ node_header(set->a).sequence, node_header(set->b).sequence };
	assert_int_equal(
		point_save(set->a->mail, set->a->account, mail_node(set->b->mail), point, NULL), 0);
	node_append(set->a, "INBOX", "three");
	result = between(set->a, set->b);
	assert_int_equal(result.repair_count, 1);
	assert_int_equal(node_count(set->b, "INBOX"), 2);
	assert_int_equal(node_count(set->a, "INBOX"), 3);
	assert_true(
		node_has_flag(set->a, "INBOX", node_uid_of(set->a, "INBOX", "two"), "\\Flagged"));
	mend_all();
	between(set->a, set->b);
	nodes_check_equal(set->a, set->b);
	assert_int_equal(node_count(set->b, "INBOX"), 3);
}

static void it_outlives_the_deletion_of_its_mailbox_there_and_ends_when_it_is_expunged(void **state)
{
	struct set *set = *state;

	node_append(set->a, "Work", "one");
	node_append(set->a, "Work", "two");
	damage_text(set->a, "one");
	between(set->a, set->b);
	node_delete_mailbox(set->b, "Work");
	between(set->b, set->a);
	between(set->a, set->b);
	assert_int_equal(node_count(set->a, "Work"), 1);
	assert_int_equal(node_count(set->b, "Work"), 0);
	node_expunge(set->a, "Work", node_uid_of(set->a, "Work", "one"));
	between(set->a, set->b);
	nodes_check_equal(set->a, set->b);
	assert_int_equal(withheld_count(set->a), 0);
}

static void a_users_own_copy_and_a_part_of_an_account_go_on_without_it(void **state)
{
	static const struct sync_rights user = { .account = "anna" };
	struct set *set = *state;
	struct exchange_result result;

	node_append(set->a, "INBOX", "one");
	node_append(set->a, "Work", "two");
	damage_text(set->a, "one");
	/* Somebody who only says that he is node C. */
	assert_int_equal(mail_account_open(
				 set->b->mail, BYTES_LITERAL("anna"), true, NULL, &set->b->account),
		0);
	nodes_connect(set->b, set->a, &user);
	result = nodes_exchange(set->b, set->a, NULL);
	assert_int_equal(result.withheld_there_count, 1);
	assert_int_equal(node_count(set->b, "INBOX"), 0);
	assert_int_equal(node_count(set->b, "Work"), 1);
	node_flag(set->b, "Work", node_uid_of(set->b, "Work", "two"), "\\Flagged");
	result = nodes_exchange(set->b, set->a, NULL);
	assert_int_equal(result.repair_count, 0);
	assert_true(node_has_flag(set->a, "Work", node_uid_of(set->a, "Work", "two"), "\\Flagged"));

	set->a->mailboxes = "INBOX";
	result = between(set->a, set->c);
	assert_int_equal(result.withheld_count, 1);
	assert_int_equal(node_count(set->c, "INBOX"), 0);
	node_append(set->a, "INBOX", "three");
	result = between(set->a, set->c);
	assert_int_equal(result.repair_count + result.withheld_count, 0);
	assert_int_equal(node_count(set->c, "INBOX"), 1);
	mend_all();
	between(set->a, set->c);
	assert_int_equal(node_count(set->c, "INBOX"), 2);
	assert_false(node_has_mailbox(set->c, "Work"));
	nodes_connect(set->b, set->a, &user);
	nodes_exchange(set->b, set->a, NULL);
	nodes_check_equal(set->a, set->b);
}

/* ---- anything, in any order ---- */

#define RANDOM_MESSAGE_MAX 60

struct walk {
	struct node *nodes[3];
	uint64_t state;
	unsigned message_count;
	bool is_expunged[RANDOM_MESSAGE_MAX];
};

static uint64_t seed_now; /* CHAPAR_SEED: the first, CHAPAR_SCHEDULES: how many */

static unsigned draw(struct walk *walk, unsigned below)
{
	walk->state = walk->state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(walk->state >> 33) % below;
}

static const char *const boxes[] = { "INBOX", "Work", "Play" };

static uint32_t find(struct node *node, const char *text, const char **box_r)
{
	for (size_t i = 0; i < 3; i++) {
		uint32_t uid =
			node_has_mailbox(node, boxes[i]) ? node_uid_of(node, boxes[i], text) : 0;

		*box_r = boxes[i];
		if (uid != 0)
			return uid;
	}
	return 0;
}

static void act(struct walk *walk)
{
	struct node *node = walk->nodes[draw(walk, 3)];
	unsigned number = draw(walk, walk->message_count + 1), what = draw(walk, 10);
	const char *box, *to;
	char text[32];
	uint32_t uid;

	snprintf(text, sizeof(text), "message %u", number);
	if (what < 3 && walk->message_count < RANDOM_MESSAGE_MAX) {
		snprintf(text, sizeof(text), "message %u", walk->message_count++);
		node_append(node, boxes[draw(walk, 3)], text);
		return;
	}
	if (what < 5 && damage_count < DAMAGE_COUNT_MAX) {
		damage_text(node, text);
		return;
	}
	if (what == 5 && draw(walk, 4) == 0) {
		mend_all();
		return;
	}
	uid = find(node, text, &box);
	if (uid == 0)
		return;
	to = boxes[draw(walk, 3)];
	if (what == 6 && to != box)
		node_move(node, box, uid, to);
	else if (what == 7 && draw(walk, 3) == 0) {
		node_expunge(node, box, uid);
		walk->is_expunged[number] = true;
	} else if (what == 8 && draw(walk, 4) == 0 && box != boxes[0]) {
		node_rename(node, box, draw(walk, 2) == 0 ? "Other" : "Else");
		node_rename(node, node_has_mailbox(node, "Other") ? "Other" : "Else", box);
	} else if (!node_has_flag(node, box, uid, "\\Seen")) {
		node_flag(node, box, uid, "\\Seen");
	}
}

static void meet(struct walk *walk)
{
	unsigned from = draw(walk, 3), to = (from + 1 + draw(walk, 2)) % 3;
	struct exchange_result result;

	walk->nodes[from]->part_size = draw(walk, 2) == 0 ? 4 : 0;
	sync_session_free(&walk->nodes[to]->session);
	result = nodes_try_exchange(walk->nodes[from], walk->nodes[to], NULL);
	if (result.error.code != 0 && result.error.code != ERR_UNAVAILABLE)
		fail_msg("seed %llu: %d: %s", (unsigned long long)seed_now, result.error.code,
			result.error.text);
}

static void converge(struct walk *walk)
{
	mend_all();
	for (unsigned round = 0; round < 6; round++)
		for (unsigned from = 0; from < 3; from++)
			for (unsigned to = 0; to < 3; to++)
				if (from != to) {
					sync_session_free(&walk->nodes[to]->session);
					(void)nodes_try_exchange(
						walk->nodes[from], walk->nodes[to], NULL);
				}
	nodes_check_equal(walk->nodes[0], walk->nodes[1]);
	nodes_check_equal(walk->nodes[0], walk->nodes[2]);
}

static void check_messages(const struct walk *walk)
{
	for (unsigned i = 0; i < walk->message_count; i++) {
		const char *box;
		char text[32];

		snprintf(text, sizeof(text), "message %u", i);
		if (!walk->is_expunged[i] && find(walk->nodes[0], text, &box) == 0)
			fail_msg("seed %llu: %s is lost", (unsigned long long)seed_now, text);
	}
}

static void whatever_happens_nothing_is_lost_and_copies_become_equal(void **state)
{
	const char *wanted = getenv("CHAPAR_SEED");
	uint64_t first = wanted != NULL ? strtoull(wanted, NULL, 10) : 1;
	const char *count = getenv("CHAPAR_SCHEDULES");
	uint64_t last = first - 1 + (count != NULL ? strtoull(count, NULL, 10) : 60);

	(void)state;
	for (uint64_t seed = first; seed <= last; seed++) {
		struct walk walk = { .nodes = { node_new_with_account(), node_new_with_account(),
					     node_new_with_account() },
			.state = seed };

		mend_all();
		seed_now = seed;
		for (unsigned step = 0; step < 120; step++) {
			if (draw(&walk, 4) == 0)
				meet(&walk);
			else
				act(&walk);
		}
		converge(&walk);
		check_messages(&walk);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(withheld_count(walk.nodes[i]), 0);
			node_free(&walk.nodes[i]);
		}
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_push_leaves_out_what_is_damaged_here_and_it_follows_once_mended),
		CASE(what_is_damaged_there_is_named_and_the_rest_is_taken),
		CASE(a_first_copy_in_parts_goes_on_without_it),
		CASE(it_comes_from_a_third_copy),
		CASE(what_the_peer_has_anyway_is_not_withheld),
		CASE(a_repair_compares_all_but_what_is_withheld),
		CASE(it_outlives_the_deletion_of_its_mailbox_there_and_ends_when_it_is_expunged),
		CASE(a_users_own_copy_and_a_part_of_an_account_go_on_without_it),
		cmocka_unit_test(whatever_happens_nothing_is_lost_and_copies_become_equal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
