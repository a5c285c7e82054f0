/* Exchanges of some mailboxes of an account (sync/view.h). */
#include "sync_fixture.h"

#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PATTERNS "INBOX, Work*, !Work/secret"
#define RANDOM_ACTS 60

/* A holds the whole account, B a part of it. */
struct pair {
	struct node *a, *b;
};

static int setup(void **state)
{
	static struct pair pair;

	pair = (struct pair){ node_new_with_account(), node_new() };
	pair.a->mailboxes = pair.b->mailboxes = PATTERNS;
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

static struct digest view_sum(struct node *node, struct node *peer)
{
	struct view_filter filter = { .mine = node->mailboxes };
	struct account_header header = node_header(node);
	struct digest digest;
	struct kv_txn *kv = NULL;
	struct view view;

	assert_int_equal(mail_read_begin(node->mail, mail_position(node->mail), &kv), 0);
	assert_int_equal(account_load(kv, node->account, &header), 0);
	assert_int_equal(view_open(kv, node->account, &filter, mail_node(peer->mail), &view), 0);
	assert_int_equal(view_digest(kv, &header, &view, &digest), 0);
	view_close(&view);
	mail_read_end(&kv);
	return digest;
}

static void report(void *context, const char *text)
{
	(void)context;
	fail_msg("verify: %s", text);
}

/* What both exchange is equal, and each copy is whole in itself. */
static void check(struct pair *pair)
{
	assert_int_equal(account_verify(pair->a->mail, pair->a->account, true, report, NULL), 0);
	assert_int_equal(account_verify(pair->b->mail, pair->b->account, true, report, NULL), 0);
	assert_true(digest_equal(view_sum(pair->a, pair->b), view_sum(pair->b, pair->a)));
}

/* Both ways, as the two channels of a pair do. */
static void sync_pair(struct pair *pair)
{
	nodes_exchange(pair->a, pair->b, NULL);
	nodes_exchange(pair->b, pair->a, NULL);
	check(pair);
}

static void only_mailboxes_that_match_are_there(void **state)
{
	struct pair *pair = *state;

	node_append(pair->a, "INBOX", "one");
	node_append(pair->a, "Work/2026", "two");
	node_append(pair->a, "Work/secret", "three");
	node_append(pair->a, "Private", "four");
	sync_pair(pair);
	assert_int_equal(node_count(pair->b, "INBOX"), 1);
	assert_int_equal(node_count(pair->b, "Work/2026"), 1);
	assert_false(node_has_mailbox(pair->b, "Work/secret"));
	assert_false(node_has_mailbox(pair->b, "Private"));
	assert_int_equal(node_count(pair->a, "Private"), 1);
	assert_int_equal(node_count(pair->a, "Work/secret"), 1);
}

static void changes_go_both_ways_and_stop_at_the_filter(void **state)
{
	struct pair *pair = *state;
	struct exchange_result result;
	uint32_t uid = node_append(pair->a, "Work/2026", "two");

	node_append(pair->a, "Private", "four");
	sync_pair(pair);
	node_flag(pair->b, "Work/2026", uid, "\\Seen");
	node_append(pair->b, "INBOX", "from b");
	node_append(pair->b, "Mine", "only here");
	sync_pair(pair);
	assert_true(node_has_flag(pair->a, "Work/2026", uid, "\\Seen"));
	assert_int_equal(node_count(pair->a, "INBOX"), 1);
	assert_false(node_has_mailbox(pair->a, "Mine"));
	assert_int_equal(node_count(pair->a, "Private"), 1);
	/* What only one side sees refuses no push of the other. */
	node_append(pair->b, "Mine", "more");
	node_append(pair->a, "INBOX", "from a");
	result = nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(result.refused_count, 0);
	assert_int_equal(node_count(pair->b, "Mine"), 2);
	check(pair);
}

static void a_mailbox_renamed_into_the_filter_appears_whole(void **state)
{
	struct pair *pair = *state;
	uint32_t uid;

	node_append(pair->a, "INBOX", "one");
	uid = node_append(pair->a, "Private", "old");
	node_append(pair->a, "Private", "older");
	sync_pair(pair);
	node_flag(pair->a, "Private", uid, "\\Flagged");
	sync_pair(pair);
	node_rename(pair->a, "Private", "Work/open");
	sync_pair(pair);
	assert_int_equal(node_count(pair->b, "Work/open"), 2);
	assert_true(node_has_flag(pair->b, "Work/open", uid, "\\Flagged"));
	assert_int_equal(node_count(pair->a, "Work/open"), 2);
}

static void a_mailbox_renamed_out_of_the_filter_stays_and_follows(void **state)
{
	struct pair *pair = *state;

	node_append(pair->a, "Work/2026", "two");
	sync_pair(pair);
	node_rename(pair->a, "Work/2026", "Private");
	node_append(pair->a, "Private", "three");
	sync_pair(pair);
	assert_int_equal(node_count(pair->b, "Private"), 2);
	node_append(pair->b, "Private", "from b");
	sync_pair(pair);
	assert_int_equal(node_count(pair->a, "Private"), 3);
}

static void what_is_in_the_way_outside_of_the_view_is_merged_at_once(void **state)
{
	struct pair *pair = *state;
	struct exchange_result result;

	node_append(pair->a, "Work/2026", "two");
	sync_pair(pair);
	node_append(pair->b, "Private", "from b");
	node_rename(pair->a, "Work/2026", "Private");
	result = nodes_exchange(pair->a, pair->b, NULL);
	assert_int_equal(result.refused_count, 1);
	assert_int_equal(result.integrate_count, 1);
	sync_pair(pair);
	assert_int_equal(node_count(pair->a, "Private"), 2);
	assert_int_equal(node_count(pair->b, "Private"), 2);
}

static void both_sides_may_have_what_comes_into_the_filter(void **state)
{
	struct pair *pair = *state;

	node_append(pair->a, "Private", "one");
	/* B gets all of it once, then only a part. */
	pair->a->mailboxes = NULL;
	nodes_exchange(pair->a, pair->b, NULL);
	pair->a->mailboxes = PATTERNS;
	sync_session_free(&pair->b->session);
	sync_pair(pair);
	node_append(pair->a, "Private", "two a");
	node_append(pair->b, "Private", "two b");
	node_append(pair->b, "Private", "three b");
	sync_pair(pair);
	assert_int_equal(node_count(pair->a, "Private"), 2);
	assert_int_equal(node_count(pair->b, "Private"), 3);
	node_rename(pair->a, "Private", "Work/now");
	sync_pair(pair);
	assert_int_equal(node_count(pair->a, "Work/now"), 4);
	assert_int_equal(node_count(pair->b, "Work/now"), 4);
}

static void what_is_moved_out_is_not_expunged(void **state)
{
	struct pair *pair = *state;
	uint32_t uid = node_append(pair->a, "Work/2026", "two");

	node_append(pair->a, "Private", "four");
	sync_pair(pair);
	node_move(pair->a, "Work/2026", uid, "Private");
	sync_pair(pair);
	assert_int_equal(node_count(pair->b, "Work/2026"), 0);
	assert_int_equal(node_count(pair->a, "Private"), 2);
	uid = node_uid_of(pair->a, "Private", "two");
	node_move(pair->a, "Private", uid, "Work/2026");
	sync_pair(pair);
	assert_int_equal(node_count(pair->b, "Work/2026"), 1);
	/* The other way: to where only B is. */
	node_append(pair->b, "Mine", "b");
	uid = node_uid_of(pair->b, "Work/2026", "two");
	node_move(pair->b, "Work/2026", uid, "Mine");
	sync_pair(pair);
	assert_int_equal(node_count(pair->a, "Work/2026"), 0);
	assert_int_equal(node_count(pair->b, "Mine"), 2);
	node_rename(pair->b, "Mine", "Work/mine");
	sync_pair(pair);
	assert_int_equal(node_count(pair->a, "Work/mine"), 2);
}

static void what_is_moved_to_where_both_are_is_shown_there(void **state)
{
	struct pair *pair = *state;
	uint32_t uid = node_append(pair->a, "Work/2026", "two");

	node_append(pair->a, "Trash", "one");
	pair->a->mailboxes = NULL;
	nodes_exchange(pair->a, pair->b, NULL);
	pair->a->mailboxes = PATTERNS;
	sync_session_free(&pair->b->session);
	sync_pair(pair);
	node_move(pair->b, "Work/2026", uid, "Trash");
	sync_pair(pair);
	assert_int_equal(node_count(pair->a, "Work/2026"), 0);
	assert_int_equal(node_count(pair->a, "Trash"), 2);
	assert_int_equal(node_count(pair->b, "Trash"), 2);
}

static void another_filter_brings_more_or_leaves_what_is_there(void **state)
{
	struct pair *pair = *state;

	node_append(pair->a, "INBOX", "one");
	node_append(pair->a, "Work/2026", "two");
	node_append(pair->a, "Private", "four");
	sync_pair(pair);
	sync_session_free(&pair->a->session);
	sync_session_free(&pair->b->session);
	pair->a->mailboxes = pair->b->mailboxes = "INBOX, Private";
	node_append(pair->a, "Work/2026", "three");
	sync_pair(pair);
	assert_int_equal(node_count(pair->b, "Private"), 1);
	assert_int_equal(node_count(pair->b, "Work/2026"), 1);
	sync_session_free(&pair->a->session);
	sync_session_free(&pair->b->session);
	pair->a->mailboxes = pair->b->mailboxes = NULL;
	nodes_exchange(pair->a, pair->b, NULL);
	nodes_check_equal(pair->a, pair->b);
	assert_int_equal(node_count(pair->b, "Work/2026"), 2);
}

static int look_for_conflict(void *context, const struct mailbox_record *mailbox)
{
	static const char begin[] = "Private (conflict ";
	unsigned *count = context;

	*count += mailbox_is_live(mailbox) && mailbox->uidnext > 1 &&
		  mailbox->name.len > strlen(begin) &&
		  memcmp(mailbox->name.ptr, begin, strlen(begin)) == 0;
	return 0;
}

/* Mailboxes with mail in them and the name that a conflict gives. */
static unsigned conflict_count(struct node *node)
{
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;
	unsigned count = 0;

	assert_int_equal(mail_read_begin(node->mail, mail_position(node->mail), &kv), 0);
	assert_int_equal(
		account_each_mailbox(kv, node->account, arena, look_for_conflict, &count), 0);
	mail_read_end(&kv);
	arena_free(&arena);
	return count;
}

static void put_id(struct id128 id, char text_r[2 * sizeof(id.bytes) + 1])
{
	for (size_t i = 0; i < sizeof(id.bytes); i++)
		snprintf(text_r + 2 * i, 3, "%02x", id.bytes[i]);
}

/* What A answers to a push of the mailboxes. */
static int push_mailboxes(struct pair *pair, const char *list)
{
	struct buffer answer = { 0 };
	char request[800];
	int rc;

	snprintf(request, sizeof(request),
		"APPLY %%(ACCOUNT anna EXPECT %llu SINCE 0 SEQUENCE 1 HIGHEST 1 RESULT "
		"00000000000000000000000000000000 MAILBOXES (%s))",
		(unsigned long long)node_header(pair->a).sequence, list);
	rc = node_ask(pair->a, request, &answer);
	buffer_deinit(&answer);
	return rc;
}

static void a_limited_peer_sees_and_changes_no_other_mailbox(void **state)
{
	static const struct sync_rights rights = { .is_full = true, .mailboxes = PATTERNS };
	struct pair *pair = *state;
	struct buffer answer = { 0 };
	char request[600], private[33], work[33];
	unsigned long long later;

	pair->a->mailboxes = pair->b->mailboxes = NULL;
	node_append(pair->a, "INBOX", "one");
	node_append(pair->a, "Work", "two");
	put_id(node_mailbox(pair->a, "Private"), private);
	put_id(node_mailbox(pair->a, "Work"), work);
	node_append(pair->a, "Private", "four");
	later = node_header(pair->a).clock_last + 1000;
	nodes_connect(pair->b, pair->a, &rights);
	assert_int_equal(node_ask(pair->a, "CHANGES %(ACCOUNT anna SINCE 0)", &answer), 0);
	assert_null(memmem(answer.data, answer.len, "Private", 7));
	snprintf(request, sizeof(request),
		"RECORDS %%(ACCOUNT anna SINCE 0 MAILBOX %s RANGES (1 10))", private);
	assert_int_equal(node_ask(pair->a, request, &answer), 0);
	assert_null(memmem(answer.data, answer.len, "INSTANCE", 8));
	assert_int_equal(push_mailboxes(pair,
				 "%(ID 0123456789abcdef0123456789abcdef NAME Other UIDVALIDITY 7 "
				 "UIDNEXT 1 MODSEQ 1)"),
		ERR_REFUSED);
	snprintf(request, sizeof(request),
		"%%(ID %s NAME Private UIDVALIDITY 9 UIDNEXT 9 MODSEQ 9)", private);
	assert_int_equal(push_mailboxes(pair, request), ERR_REFUSED);
	/* Mail of its own that is to go there: it would see what else does. */
	snprintf(request, sizeof(request),
		"%%(ID %s NAME Work UIDVALIDITY 4000000000 UIDNEXT 9 MODSEQ 1900000000000000 "
		"DELETED 1900000000000000.0000000000000001 FORWARD %s)",
		work, private);
	assert_int_equal(push_mailboxes(pair, request), ERR_REFUSED);
	/* What it claims to have in its view is not in ours, in no request. */
	snprintf(request, sizeof(request),
		"INTEGRATE %%(ACCOUNT anna SINCE 0 ALSO (%s) SEQUENCE 1 HIGHEST 1 MAILBOXES (%%(ID "
		"%s NAME Private NAMED %llu.0000000000000001 UIDVALIDITY 4000000000 "
		"UIDNEXT 9 MODSEQ %llu)))",
		private, work, later, later);
	assert_int_equal(node_ask(pair->a, request, &answer), 0);
	snprintf(request, sizeof(request), "CHANGES %%(ACCOUNT anna SINCE 0 ALSO (%s))", private);
	assert_int_equal(node_ask(pair->a, request, &answer), 0);
	assert_non_null(memmem(answer.data, answer.len, "SIZE", 4));
	assert_null(memmem(answer.data, answer.len, private, strlen(private)));
	assert_int_equal(node_count(pair->a, "Private"), 1);
	assert_int_equal(conflict_count(pair->a), 1);
	buffer_deinit(&answer);
}

/* Begun by B, which may see what the patterns name. */
static int exchange_limited(struct pair *pair)
{
	static const struct sync_rights rights = { .is_full = true, .mailboxes = PATTERNS };

	nodes_connect(pair->b, pair->a, &rights);
	return nodes_try_exchange(pair->b, pair->a, NULL).error.code;
}

/* United with one that it may not see, its mailbox would show that. */
static void what_a_limited_peer_renames_onto_what_it_may_not_see_has_another_name(void **state)
{
	struct pair *pair = *state;

	node_append(pair->a, "Work/2026", "two");
	node_append(pair->a, "Work/2027", "three");
	node_append(pair->a, "Private", "four");
	sync_pair(pair);
	node_rename(pair->b, "Work/2026", "Other");
	assert_int_equal(exchange_limited(pair), 0);
	assert_int_equal(node_count(pair->a, "Other"), 1);
	node_rename(pair->b, "Work/2027", "Private");
	assert_int_equal(exchange_limited(pair), 0);
	assert_int_equal(node_count(pair->a, "Private"), 1);
	assert_false(node_has_mailbox(pair->b, "Private"));
	assert_int_equal(conflict_count(pair->a), 1);
	assert_int_equal(conflict_count(pair->b), 1);
	check(pair);
}

/* ---- at random ---- */

static const char *const mailboxes[] = { "INBOX", "Work", "Work/2026", "Work/secret", "Private",
	"Private/deep" };
#define MAILBOX_COUNT (sizeof(mailboxes) / sizeof(mailboxes[0]))

struct history {
	struct random random;
	uint64_t seed;
	unsigned count;      /* messages appended, texts are their numbers */
	bool expunged[1000]; /* by a client */
};

/* Some message in the mailbox, by its text; UID 0 if there is none. */
static uint32_t pick(
	struct history *history, struct node *node, const char *mailbox, unsigned *number_r)
{
	unsigned from =
		history->count > 0 ? (unsigned)random_below(&history->random, history->count) : 0;

	for (unsigned i = 0; i < history->count; i++) {
		char text[20];
		uint32_t uid;

		*number_r = (from + i) % history->count;
		snprintf(text, sizeof(text), "%u", *number_r);
		uid = node_uid_of(node, mailbox, text);
		if (uid != 0)
			return uid;
	}
	return 0;
}

static void act(struct history *history, struct node *node)
{
	const char *mailbox = mailboxes[random_below(&history->random, MAILBOX_COUNT)];
	const char *other = mailboxes[random_below(&history->random, MAILBOX_COUNT)];
	uint64_t draw = random_below(&history->random, 100);
	unsigned number;
	uint32_t uid;
	char text[20];

	if (draw < 40) {
		snprintf(text, sizeof(text), "%u", history->count++);
		node_append(node, mailbox, text);
	} else if (draw < 55) {
		if (strcmp(mailbox, "INBOX") != 0 && strcmp(other, "INBOX") != 0 &&
			node_has_mailbox(node, mailbox) && !node_has_mailbox(node, other) &&
			strncmp(other, mailbox, strlen(mailbox)) != 0)
			node_rename(node, mailbox, other);
	} else {
		uid = pick(history, node, mailbox, &number);
		if (uid == 0)
			return;
		if (draw < 70) {
			const char *flag = draw & 1 ? "\\Seen" : "\\Flagged";

			if (!node_has_flag(node, mailbox, uid, flag))
				node_flag(node, mailbox, uid, flag);
		} else if (draw < 80) {
			/* One that the other node moved later lives on, marked. */
			if (node_has_flag(node, mailbox, uid, "\\Deleted"))
				return;
			node_expunge(node, mailbox, uid);
			history->expunged[number] = true;
		} else if (strcmp(mailbox, other) != 0) {
			node_mailbox(node, other);
			node_move(node, mailbox, uid, other);
		}
	}
}

struct finding {
	struct node *node;
	const char *text;
	unsigned count;
};

static int find_in(void *context, const struct mailbox_record *mailbox)
{
	struct finding *finding = context;
	char name[MAILBOX_NAME_SIZE_MAX + 1];

	snprintf(name, sizeof(name), "%.*s", BYTES_ARGS(mailbox->name));
	if (mailbox_is_live(mailbox))
		finding->count += node_uid_of(finding->node, name, finding->text) != 0;
	return 0;
}

/* In how many mailboxes it is. */
static unsigned count_of(struct node *node, const char *text)
{
	struct finding finding = { node, text, 0 };
	struct arena *arena = arena_new();
	struct kv_txn *kv = NULL;

	assert_int_equal(mail_read_begin(node->mail, mail_position(node->mail), &kv), 0);
	assert_int_equal(account_each_mailbox(kv, node->account, arena, find_in, &finding), 0);
	mail_read_end(&kv);
	arena_free(&arena);
	return finding.count;
}

/* What nobody expunged is in some mailbox of one of the two; in no copy twice. */
static void check_messages(const struct history *history, struct pair *pair)
{
	struct node *nodes[] = { pair->a, pair->b };

	for (unsigned number = 0; number < history->count; number++) {
		unsigned found = 0;
		char text[20];

		snprintf(text, sizeof(text), "%u", number);
		for (int i = 0; i < 2; i++) {
			unsigned here = count_of(nodes[i], text);

			assert_true(here <= 1);
			found += here;
		}
		if (found == 0 && !history->expunged[number])
			fail_msg("message %u is lost (SEED %llu)", number,
				(unsigned long long)history->seed);
	}
}

static void at_random_nothing_is_lost_and_both_agree(void **state)
{
	const char *seed = getenv("SEED");

	(void)state;
	for (uint64_t i = 0; i < 60; i++) {
		uint64_t number = seed != NULL ? strtoull(seed, NULL, 10) : i;
		struct history history = { .random = { number }, .seed = number };
		struct pair pair = { node_new_with_account(), node_new() };

		pair.a->mailboxes = pair.b->mailboxes = PATTERNS;
		nodes_exchange(pair.a, pair.b, NULL);
		for (int at = 0; at < RANDOM_ACTS; at++) {
			act(&history, random_below(&history.random, 2) ? pair.a : pair.b);
			if (random_below(&history.random, 5) == 0)
				nodes_exchange(pair.a, pair.b, NULL);
			if (random_below(&history.random, 5) == 0)
				nodes_exchange(pair.b, pair.a, NULL);
		}
		sync_pair(&pair);
		check_messages(&history, &pair);
		node_free(&pair.a);
		node_free(&pair.b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			only_mailboxes_that_match_are_there, setup, teardown),
		cmocka_unit_test_setup_teardown(
			changes_go_both_ways_and_stop_at_the_filter, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_mailbox_renamed_into_the_filter_appears_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_mailbox_renamed_out_of_the_filter_stays_and_follows, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_is_in_the_way_outside_of_the_view_is_merged_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
			both_sides_may_have_what_comes_into_the_filter, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_moved_out_is_not_expunged, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_is_moved_to_where_both_are_is_shown_there, setup, teardown),
		cmocka_unit_test_setup_teardown(
			another_filter_brings_more_or_leaves_what_is_there, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_limited_peer_sees_and_changes_no_other_mailbox, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_a_limited_peer_renames_onto_what_it_may_not_see_has_another_name,
			setup, teardown),
		cmocka_unit_test(at_random_nothing_is_lost_and_both_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
