/* First copies in parts (sync/fill.h) of some mailboxes only (sync/view.h), between nodes in
 * memory. */
#include "sync_fixture.h"

#include "mail/hold.h"
#include "sync/fill.h"
#include "sync/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define PATTERNS "Work, Work/*"
#define PART 5
#define MESSAGE_COUNT 24 /* in each of the mailboxes */
#define TRY_COUNT_MAX 200

struct pair {
	struct node *source, *target;
};

static struct node *new_node(bool has_account)
{
	struct node *node = has_account ? node_new_with_account() : node_new();

	node->part_size = PART;
	node->mailboxes = PATTERNS;
	return node;
}

/* One mailbox in the view, one outside, one that is to come into it. */
static void write_account(struct node *node)
{
	char text[32];

	for (unsigned i = 0; i < MESSAGE_COUNT; i++) {
		snprintf(text, sizeof(text), "message %u", i);
		node_append(node, "Work", text);
		node_append(node, "INBOX", text);
		node_append(node, "Private", text);
	}
	node_flag(node, "Work", 2, "\\Seen");
}

static int setup(void **state)
{
	static struct pair pair;

	pair = (struct pair){ new_node(true), new_node(false) };
	write_account(pair.source);
	*state = &pair;
	return 0;
}

static int teardown(void **state)
{
	struct pair *pair = *state;

	node_free(&pair->source);
	node_free(&pair->target);
	return 0;
}

static void report(void *context, const char *text)
{
	(void)context;
	fail_msg("verify: %s", text);
}

static struct digest view_sum(struct node *node, struct node *peer)
{
	struct view_filter filter = { .mine = node->mailboxes };
	struct account_header header;
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

static void check_whole(struct pair *pair)
{
	node_find_account(pair->target);
	assert_int_equal(node_header(pair->target).hold, ACCOUNT_SERVED);
	assert_int_equal(
		account_verify(pair->target->mail, pair->target->account, true, report, NULL), 0);
	assert_true(digest_equal(
		view_sum(pair->source, pair->target), view_sum(pair->target, pair->source)));
	assert_int_equal(node_count(pair->target, "Work"), node_count(pair->source, "Work"));
	assert_int_equal(node_count(pair->target, "INBOX"), 0);
}

/* What the source's clients do between two parts. */
struct busy {
	struct node *source;
	struct node *target;
	const char *verb;
	unsigned part_count;
};

static void act_between_parts(void *context, struct bytes request)
{
	struct busy *busy = context;
	struct error error = { 0 };

	if (!bytes_start_with(request, bytes_of_string(busy->verb)))
		return;
	switch (busy->part_count++) {
	case 2:
		node_find_account(busy->target);
		assert_int_equal(mail_hold_check(busy->target->mail, busy->target->account, &error),
			ERR_UNAVAILABLE);
		node_move(busy->source, "Work", 1, "INBOX");
		node_expunge(busy->source, "Work", 3);
		node_move(busy->source, "INBOX", 2, "Work");
		break;
	case 3:
		node_rename(busy->source, "Private", "Work/Private");
		node_append(busy->source, "Work/Private", "more");
		break;
	default:
		break;
	}
}

static void check_busy(struct pair *pair, bool is_pull, const char *verb)
{
	struct busy busy = { pair->source, pair->target, verb, 0 };
	struct wire wire = { .context = &busy, .before = act_between_parts };
	struct exchange_result result;
	struct node *a = is_pull ? pair->target : pair->source;
	struct node *b = is_pull ? pair->source : pair->target;

	result = nodes_exchange(a, b, &wire);
	assert_true(busy.part_count > MESSAGE_COUNT / PART);
	assert_true(result.part_count >= MESSAGE_COUNT / PART);
	assert_int_equal(result.repair_count, 1); /* for the mailbox that came in */
	check_whole(pair);
	assert_int_equal(node_count(pair->target, "Work/Private"), MESSAGE_COUNT + 1);
	/* What comes later comes as ever. */
	node_append(pair->source, "Work", "later");
	result = nodes_exchange(pair->source, pair->target, NULL);
	assert_int_equal(result.part_count + result.repair_count, 0);
	check_whole(pair);
}

static void it_is_sent_in_parts_while_mail_comes_goes_and_mailboxes_enter(void **state)
{
	check_busy(*state, false, "FILL");
}

static void it_is_fetched_in_parts_likewise(void **state)
{
	struct pair *pair = *state;

	assert_int_equal(mail_account_open(pair->target->mail, BYTES_LITERAL("anna"), true, NULL,
				 &pair->target->account),
		0);
	check_busy(pair, true, "CHANGES");
}

struct cut {
	unsigned after;
};

static bool loses(void *context, struct bytes request, struct bytes answer)
{
	struct cut *cut = context;

	(void)request;
	(void)answer;
	return cut->after == 0 || --cut->after == 0;
}

static void interrupted_it_goes_on_where_it_was(void **state)
{
	struct pair *pair = *state;

	for (unsigned after = 6; after < 24; after += 3) {
		unsigned tries = 0, offered = 0;
		int code = ERR_CLOSED;

		node_free(&pair->target);
		pair->target = new_node(false);
		for (; code == ERR_CLOSED && tries < TRY_COUNT_MAX; tries++) {
			struct cut cut = { after };
			struct wire wire = { .context = &cut, .loses = loses };
			struct exchange_result result =
				nodes_try_exchange(pair->source, pair->target, &wire);

			code = result.error.code;
			offered += result.offered_count;
		}
		assert_int_equal(code, 0);
		check_whole(pair);
		/* Only the part under way, and the mailboxes, come again. */
		assert_true(offered <= MESSAGE_COUNT + 10 + tries * (PART + 3));
	}
}

/* A peer that may see some mailboxes only fills nothing here. */
static void a_limited_peer_sends_no_parts(void **state)
{
	static const struct sync_rights rights = { .is_full = true, .mailboxes = PATTERNS };
	struct pair *pair = *state;
	struct buffer answer = { 0 };

	nodes_connect(pair->source, pair->target, &rights);
	assert_int_equal(
		node_ask(pair->target,
			"FILL %(ACCOUNT anna SINCE 0 SEQUENCE 9 HIGHEST 9 MAILBOXES ())", &answer),
		ERR_REFUSED);
	nodes_exchange(pair->source, pair->target, NULL);
	check_whole(pair);
	buffer_deinit(&answer);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(it_is_sent_in_parts_while_mail_comes_goes_and_mailboxes_enter),
		CASE(it_is_fetched_in_parts_likewise),
		CASE(interrupted_it_goes_on_where_it_was),
		CASE(a_limited_peer_sends_no_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
