/* Private \Seen on two nodes (mail/seen.h): bob reads what is alice's. */
#include "sync_fixture.h"

#include "mail/expiry.h"
#include "mail/seen.h"
#include "mail/shared.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define B(text) BYTES_LITERAL(text)

struct site {
	struct node *node;
	uint32_t alice, bob;
};

struct pair {
	struct site a, b;
};

static void site_open(struct site *site, struct node *node)
{
	site->node = node;
	assert_int_equal(mail_account_open(node->mail, B("alice"), true, NULL, &site->alice), 0);
	assert_int_equal(mail_account_open(node->mail, B("bob"), true, NULL, &site->bob), 0);
	node->account = site->alice;
	node->position = mail_position(node->mail);
}

static int setup(void **state)
{
	static struct pair pair;

	site_open(&pair.a, node_new());
	site_open(&pair.b, node_new());
	*state = &pair;
	return 0;
}

/* One account of the two, from `from`'s side. */
static void exchange(struct site *from, struct site *to, bool is_bob)
{
	from->node->account = is_bob ? from->bob : from->alice;
	to->node->account = is_bob ? to->bob : to->alice;
	assert_int_equal(nodes_try_exchange(from->node, to->node, NULL).error.code, 0);
	from->node->account = from->alice;
	to->node->account = to->alice;
	from->node->position = mail_position(from->node->mail);
	to->node->position = mail_position(to->node->mail);
}

static void check_equal(struct pair *pair)
{
	for (int is_bob = 0; is_bob < 2; is_bob++) {
		exchange(&pair->a, &pair->b, is_bob);
		pair->a.node->account = is_bob ? pair->a.bob : pair->a.alice;
		pair->b.node->account = is_bob ? pair->b.bob : pair->b.alice;
		nodes_check_equal(pair->a.node, pair->b.node);
	}
}

static int teardown(void **state)
{
	struct pair *pair = *state;

	check_equal(pair);
	node_free(&pair->a.node);
	node_free(&pair->b.node);
	return 0;
}

/* ---- what bob does and sees in alice's INBOX ---- */

static void read_it(struct site *site, uint32_t uid, bool is_seen)
{
	struct shared_place place = { site->alice, node_mailbox(site->node, "INBOX"),
		ACL_READ | ACL_SEEN, site->bob };
	struct uid_set uids = { 0 }, changed = { 0 }, modified = { 0 };
	struct bytes flag = B("\\Seen");
	struct error error;

	uid_set_add(&uids, uid, uid);
	assert_int_equal(
		shared_store(site->node->mail, &place, &uids, is_seen ? FLAGS_ADD : FLAGS_REMOVE,
			&flag, 1, MODSEQ_MAX, &error, &changed, &modified, &site->node->position),
		0);
	assert_int_equal(changed.count, 1);
	uid_set_deinit(&uids);
	uid_set_deinit(&changed);
	uid_set_deinit(&modified);
}

struct seen_row {
	uint32_t uid;
	uint64_t modseq;
	bool is_seen;
};

static int take_row(void *context, const struct message_record *message)
{
	struct seen_row *row = context;

	if (message->uid == row->uid) {
		row->modseq = message->modseq;
		row->is_seen = message_has_flag(message, B("\\Seen"));
	}
	return 0;
}

static struct kv_txn *begin(struct site *site)
{
	struct kv_txn *kv = NULL;

	assert_int_equal(mail_read_begin(site->node->mail, site->node->position, &kv), 0);
	return kv;
}

static struct seen_row look(struct site *site, const char *mailbox, uint32_t uid)
{
	struct id128 id = node_mailbox(site->node, mailbox);
	struct kv_txn *kv = begin(site);
	struct seen_row row = { .uid = uid };
	struct arena *arena = arena_new();

	assert_int_equal(seen_each_message(kv, site->bob, site->alice, id, 1, UINT32_MAX, arena,
				 take_row, &row),
		0);
	mail_read_end(&kv);
	arena_free(&arena);
	return row;
}

static uint64_t highest_of(struct site *site)
{
	struct id128 id = node_mailbox(site->node, "INBOX");
	struct kv_txn *kv = begin(site);
	struct arena *arena = arena_new();
	struct mailbox_record mailbox;
	uint64_t highest;

	assert_int_equal(account_get_mailbox(kv, site->alice, id, arena, &mailbox), 0);
	highest = mailbox.highestmodseq;
	mail_read_end(&kv);
	arena_free(&arena);
	return highest;
}

/* The cursor that bob is told. */
static uint64_t cursor(struct site *site)
{
	struct error error;
	struct kv_txn *kv = begin(site);
	int rc = seen_is_ahead(site->node->mail, kv, site->bob, site->alice);

	mail_read_end(&kv);
	assert_true(rc >= 0);
	if (rc > 0)
		assert_int_equal(seen_settle(site->node->mail, site->bob, site->alice, &error,
					 &site->node->position),
			0);
	kv = begin(site);
	assert_int_equal(seen_is_ahead(site->node->mail, kv, site->bob, site->alice), 0);
	mail_read_end(&kv);
	return highest_of(site);
}

static int note_change(void *context, uint32_t uid, uint64_t modseq, bool is_vanished)
{
	struct seen_row *row = context;

	if (uid == row->uid && !is_vanished)
		row->modseq = modseq;
	return 0;
}

static bool is_told_since(struct site *site, uint32_t uid, uint64_t after)
{
	struct id128 id = node_mailbox(site->node, "INBOX");
	struct kv_txn *kv = begin(site);
	struct seen_row row = { .uid = uid };

	assert_int_equal(seen_each_uid_change(
				 kv, site->bob, site->alice, id, after, false, note_change, &row),
		0);
	mail_read_end(&kv);
	return row.modseq != 0;
}

static int count_one(void *context, const struct register_record *record)
{
	(void)record;
	++*(size_t *)context;
	return 0;
}

/* Bob's, cleared ones too. */
static size_t register_count(struct site *site)
{
	struct kv_txn *kv = begin(site);
	struct arena *arena = arena_new();
	size_t count = 0;

	assert_int_equal(
		account_each_register(kv, site->bob, RECORD_SEEN, arena, count_one, &count), 0);
	mail_read_end(&kv);
	arena_free(&arena);
	return count;
}

/* ---- tests ---- */

static void what_was_read_here_is_read_where_it_was_moved_meanwhile(void **state)
{
	struct pair *pair = *state;
	uint32_t uid = node_append(pair->a.node, "INBOX", "one");

	exchange(&pair->a, &pair->b, false);
	read_it(&pair->b, uid, true);
	node_mailbox(pair->a.node, "done");
	node_move(pair->a.node, "INBOX", uid, "done");
	check_equal(pair);
	pair->a.node->account = pair->a.alice;
	pair->b.node->account = pair->b.alice;
	for (struct site *site = &pair->a; site <= &pair->b; site++) {
		cursor(site);
		assert_true(look(site, "done", node_uid_of(site->node, "done", "one")).is_seen);
	}
}

/* P4: bob's client was told a cursor at B that is above the change made at A. */
static void a_change_that_comes_late_is_told_to_cursors(void **state)
{
	struct pair *pair = *state;
	uint32_t uid = node_append(pair->a.node, "INBOX", "one");
	uint32_t other = node_append(pair->a.node, "INBOX", "two");
	uint64_t told;

	check_equal(pair);
	pair->a.node->account = pair->a.alice;
	pair->b.node->account = pair->b.alice;
	cursor(&pair->b);
	read_it(&pair->a, uid, true);
	exchange(&pair->a, &pair->b, false); /* alice's account alone: HIGHESTMODSEQ rises */
	node_flag(pair->b.node, "INBOX", other, "\\Flagged");
	told = cursor(&pair->b);
	assert_false(is_told_since(&pair->b, uid, told));
	exchange(&pair->a, &pair->b, true);
	assert_true(cursor(&pair->b) > told);
	assert_true(is_told_since(&pair->b, uid, told));
	assert_true(look(&pair->b, "INBOX", uid).modseq <= highest_of(&pair->b));
}

/* Bringing both sides' cursors up to date comes to an end. */
static void settling_does_not_chase_itself(void **state)
{
	struct pair *pair = *state;
	uint32_t uid = node_append(pair->a.node, "INBOX", "one");
	uint64_t at_a = 0, at_b = 0;

	check_equal(pair);
	pair->a.node->account = pair->a.alice;
	pair->b.node->account = pair->b.alice;
	cursor(&pair->a);
	cursor(&pair->b);
	read_it(&pair->a, uid, true);
	read_it(&pair->b, uid, true);
	for (int round = 0; round < 4; round++) {
		exchange(&pair->a, &pair->b, false);
		exchange(&pair->b, &pair->a, true);
		if (round == 2) {
			at_a = cursor(&pair->a);
			at_b = cursor(&pair->b);
		}
		cursor(&pair->a);
		cursor(&pair->b);
	}
	assert_int_equal(at_a, at_b);
	assert_int_equal(cursor(&pair->a), at_a);
	assert_int_equal(cursor(&pair->b), at_a);
}

/* As if so many days had passed. */
static void forget_all(struct site *site)
{
	struct error error = { 0 };
	int rc = 1;

	while (rc > 0)
		rc = mail_expire(site->node->mail, UINT64_MAX, &error);
	assert_int_equal(rc, 0);
	site->node->position = mail_position(site->node->mail);
}

static void what_was_read_of_forgotten_messages_is_forgotten(void **state)
{
	struct pair *pair = *state;
	uint32_t uid = node_append(pair->a.node, "INBOX", "one");
	uint32_t kept = node_append(pair->a.node, "INBOX", "two");

	exchange(&pair->a, &pair->b, false);
	read_it(&pair->a, uid, true);
	read_it(&pair->a, kept, true);
	read_it(&pair->a, kept, false);
	check_equal(pair);
	pair->a.node->account = pair->a.alice;
	pair->b.node->account = pair->b.alice;
	node_expunge(pair->b.node, "INBOX", uid);
	exchange(&pair->a, &pair->b, false);
	assert_int_equal(register_count(&pair->a), 2);
	for (int i = 0; i < 2; i++) { /* the message's tombstone, then the register's */
		forget_all(&pair->a);
		forget_all(&pair->b);
		exchange(&pair->a, &pair->b, true);
	}
	/* What was marked unread is a change that cursors count, as long as the message is there.
	 */
	assert_int_equal(register_count(&pair->a), 1);
	assert_int_equal(register_count(&pair->b), 1);
	cursor(&pair->b);
	assert_false(look(&pair->b, "INBOX", kept).is_seen);
	assert_true(look(&pair->b, "INBOX", kept).modseq > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			what_was_read_here_is_read_where_it_was_moved_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_change_that_comes_late_is_told_to_cursors, setup, teardown),
		cmocka_unit_test_setup_teardown(settling_does_not_chase_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(
			what_was_read_of_forgotten_messages_is_forgotten, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
