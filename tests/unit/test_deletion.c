/* What is deleted, on two nodes: it goes everywhere, is kept until the horizon, and can be brought
 * back until then. Scripts too, as they are never lost silently either. */
#include "sync_fixture.h"

#include "mail/annotation.h"
#include "mail/deletion.h"
#include "mail/expiry.h"
#include "mail/script.h"
#include "sync/conflict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define B(text) BYTES_LITERAL(text)

struct pair {
	struct node *a, *b;
};

static int setup(void **state)
{
	static struct pair pair;

	pair = (struct pair){ node_new_with_account(), node_new() };
	nodes_exchange(pair.a, pair.b, NULL);
	node_find_account(pair.b);
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

static void sync_nodes(struct pair *pair)
{
	nodes_exchange(pair->a, pair->b, NULL);
	pair->a->position = mail_position(pair->a->mail);
	pair->b->position = mail_position(pair->b->mail);
}

static uint64_t undelete(struct node *node, const char *mailbox)
{
	struct undelete request = { .mailbox = bytes_of_string(mailbox) };
	struct error error = { 0 };

	assert_int_equal(mail_undelete(node->mail, node->account, &request, &error), 0);
	node->position = mail_position(node->mail);
	return request.message_count;
}

/* As if so many days had passed. */
static void forget_all(struct node *node)
{
	struct error error = { 0 };
	int rc = 1;

	while (rc > 0)
		rc = mail_expire(node->mail, UINT64_MAX, &error);
	assert_int_equal(rc, 0);
	node->position = mail_position(node->mail);
}

static void an_expunged_message_comes_back_with_its_flags(void **state)
{
	struct pair *pair = *state;
	uint32_t uid = node_append(pair->a, "INBOX", "one");

	node_flag(pair->a, "INBOX", uid, "\\Flagged");
	sync_nodes(pair);
	node_expunge(pair->a, "INBOX", uid);
	sync_nodes(pair);
	assert_int_equal(node_header(pair->a).byte_count, 0);
	assert_int_equal(node_header(pair->b).kept_count, 1); /* deleted by a peer */
	assert_int_equal(undelete(pair->b, "INBOX"), 1);
	assert_int_equal(undelete(pair->b, "INBOX"), 0);
	uid = node_uid_of(pair->b, "INBOX", "one");
	assert_true(uid > 1);
	assert_true(node_has_flag(pair->b, "INBOX", uid, "\\Flagged"));
	assert_false(node_has_flag(pair->b, "INBOX", uid, "\\Deleted"));
	assert_int_equal(node_header(pair->b).kept_count, 0);
	sync_nodes(pair);
	assert_int_equal(node_count(pair->a, "INBOX"), 1);
}

static void annotate(
	struct node *node, const char *mailbox, uint32_t uid, const char *entry, const char *value)
{
	struct annotation annotation = { .scope = ANNOTATION_SHARED,
		.entry = bytes_of_string(entry),
		.is_set = value != NULL,
		.value = bytes_of_string(value != NULL ? value : "") };
	struct uid_set uids = { 0 }, changed = { 0 }, modified = { 0 };
	struct error error;

	uid_set_add(&uids, uid, uid);
	assert_int_equal(
		message_annotate(node->mail, node->account, node_mailbox(node, mailbox), &uids,
			&annotation, 1, UINT64_MAX, &error, &changed, &modified, &node->position),
		0);
	uid_set_deinit(&uids);
	uid_set_deinit(&changed);
	uid_set_deinit(&modified);
}

struct told_annotations {
	unsigned count;
	char text[100];
};

static int tell_annotation(void *context, const struct annotation *annotation)
{
	struct told_annotations *told = context;

	if (!annotation->is_set)
		return 0;
	told->count++;
	snprintf(told->text, sizeof(told->text), "%.*s=%.*s", BYTES_ARGS(annotation->entry),
		BYTES_ARGS(annotation->value));
	return 0;
}

static struct told_annotations annotations_of(struct node *node, const char *mailbox, uint32_t uid)
{
	struct told_annotations told = { 0 };
	struct id128 id = node_mailbox(node, mailbox);
	struct arena *arena = arena_new();
	struct message_record message;
	struct kv_txn *kv = NULL;

	assert_int_equal(mail_read_begin(node->mail, node->position, &kv), 0);
	assert_int_equal(account_get_message_at(kv, node->account, id, uid, arena, &message), 0);
	assert_int_equal(message_annotation_each(kv, node->account, (struct id128){ { 0 } },
				 message.instance, arena, tell_annotation, &told),
		0);
	mail_read_end(&kv);
	arena_free(&arena);
	return told;
}

static void annotations_come_back_with_their_message(void **state)
{
	struct pair *pair = *state;
	uint32_t uid = node_append(pair->a, "INBOX", "one");
	struct told_annotations told;

	annotate(pair->a, "INBOX", uid, "/comment", "kept");
	annotate(pair->a, "INBOX", uid, "/altsubject", "taken back by its user");
	annotate(pair->a, "INBOX", uid, "/altsubject", NULL);
	sync_nodes(pair);
	node_expunge(pair->a, "INBOX", uid);
	sync_nodes(pair);
	assert_int_equal(undelete(pair->b, "INBOX"), 1);
	told = annotations_of(pair->b, "INBOX", node_uid_of(pair->b, "INBOX", "one"));
	assert_int_equal(told.count, 1);
	assert_string_equal(told.text, "/comment=kept");
	sync_nodes(pair);
	told = annotations_of(pair->a, "INBOX", node_uid_of(pair->a, "INBOX", "one"));
	assert_string_equal(told.text, "/comment=kept");
}

static void what_two_nodes_bring_back_while_apart_comes_back_once(void **state)
{
	struct pair *pair = *state;

	node_append(pair->a, "INBOX", "one");
	node_append(pair->a, "Work", "two");
	sync_nodes(pair);
	node_expunge(pair->a, "INBOX", 1);
	node_delete_mailbox(pair->a, "Work");
	sync_nodes(pair);
	assert_int_equal(undelete(pair->a, "INBOX"), 1);
	assert_int_equal(undelete(pair->a, "Work"), 1);
	assert_int_equal(undelete(pair->b, "INBOX"), 1);
	assert_int_equal(undelete(pair->b, "Work"), 1);
	sync_nodes(pair);
	assert_int_equal(node_count(pair->a, "INBOX"), 1);
	assert_int_equal(node_count(pair->b, "INBOX"), 1);
	assert_int_equal(node_count(pair->a, "Work"), 1);
	/* Expunged once more it can come back once more. */
	node_expunge(pair->a, "INBOX", node_uid_of(pair->a, "INBOX", "one"));
	sync_nodes(pair);
	assert_int_equal(undelete(pair->b, "INBOX"), 1);
	sync_nodes(pair);
	assert_int_equal(node_count(pair->a, "INBOX"), 1);
}

static void a_large_mailbox_is_deleted_as_one_act(void **state)
{
	struct pair *pair = *state;
	char text[32];

	for (int i = 0; i < 600; i++) {
		snprintf(text, sizeof(text), "%d", i % 10);
		node_append(pair->a, "Work", text);
	}
	sync_nodes(pair);
	node_delete_mailbox(pair->a, "Work");
	assert_false(node_has_mailbox(pair->a, "Work"));
	sync_nodes(pair);
	assert_false(node_has_mailbox(pair->b, "Work"));
	assert_int_equal(undelete(pair->b, "Work"), 600);
	sync_nodes(pair);
	assert_int_equal(node_count(pair->a, "Work"), 600);
}

static void an_account_that_two_nodes_bring_back_has_all_once(void **state)
{
	struct pair *pair = *state;
	struct error error;

	node_append(pair->a, "INBOX", "one");
	node_append(pair->a, "Work", "two");
	sync_nodes(pair);
	assert_int_equal(mail_account_delete(pair->a->mail, pair->a->account, &error), 0);
	sync_nodes(pair);
	assert_int_equal(undelete(pair->a, ""), 2);
	assert_int_equal(undelete(pair->b, ""), 2);
	sync_nodes(pair);
	assert_int_equal(node_count(pair->a, "INBOX"), 1);
	assert_int_equal(node_count(pair->a, "Work"), 1);
	assert_int_equal(node_header(pair->b).message_count, 2);
}

static void after_the_horizon_nothing_is_left(void **state)
{
	struct pair *pair = *state;
	struct guid guid;
	struct kv_txn *kv = NULL;

	node_expunge(pair->a, "INBOX", node_append(pair->a, "INBOX", "one"));
	sync_nodes(pair);
	guid_of(B("one"), &guid);
	forget_all(pair->a);
	assert_int_equal(undelete(pair->a, ""), 0);
	assert_int_equal(node_header(pair->a).kept_count, 0);
	assert_int_equal(mail_read_begin(pair->a->mail, pair->a->position, &kv), 0);
	assert_int_equal(store_body_exists(kv, &guid, NULL), ERR_NOT_FOUND);
	mail_read_end(&kv);
}

static void bodies_of_local_deletions_may_go_earlier_those_of_peers_not(void **state)
{
	struct pair *pair = *state;
	struct buffer after = { 0 };
	struct error error = { 0 };
	uint32_t uid = node_append(pair->a, "INBOX", "one");

	sync_nodes(pair);
	node_expunge(pair->a, "INBOX", uid);
	sync_nodes(pair);
	assert_int_equal(mail_expire_local_bodies(pair->a->mail, UINT64_MAX, &after, &error), 0);
	buffer_clear(&after);
	assert_int_equal(mail_expire_local_bodies(pair->b->mail, UINT64_MAX, &after, &error), 0);
	buffer_deinit(&after);
	assert_int_equal(undelete(pair->a, ""), 0);
	assert_int_equal(undelete(pair->b, ""), 1);
}

static int count_vanished(void *context, uint32_t uid, uint64_t modseq, bool is_vanished)
{
	(void)uid;
	(void)modseq;
	*(int *)context += is_vanished;
	return 0;
}

static void a_cursor_from_before_the_horizon_is_told_of_every_uid_that_went(void **state)
{
	struct pair *pair = *state;
	struct id128 inbox = node_mailbox(pair->a, "INBOX");
	uint32_t uid = node_append(pair->a, "INBOX", "one");
	uint64_t cursor = node_header(pair->a).highest;
	struct kv_txn *kv = NULL;
	int vanished = 0;

	node_append(pair->a, "INBOX", "two");
	node_expunge(pair->a, "INBOX", uid);
	forget_all(pair->a);
	assert_int_equal(mail_read_begin(pair->a->mail, pair->a->position, &kv), 0);
	assert_int_equal(account_each_uid_change_roaming(
				 kv, pair->a->account, inbox, cursor, count_vanished, &vanished),
		0);
	mail_read_end(&kv);
	assert_int_equal(vanished, 1);
}

/* A client of A that comes to B: what it shows as the UID that B gave and forgot is elsewhere now.
 */
static void a_cursor_is_told_of_a_uid_that_was_given_and_forgotten_elsewhere(void **state)
{
	struct pair *pair = *state;
	struct id128 inbox = node_mailbox(pair->a, "INBOX");
	uint32_t uid = node_append(pair->b, "INBOX", "gone");
	struct kv_txn *kv = NULL;
	uint64_t cursor;
	int vanished = 0;

	node_expunge(pair->b, "INBOX", uid);
	forget_all(pair->b);
	assert_int_equal(node_append(pair->a, "INBOX", "one"), uid);
	for (int i = 0; node_header(pair->a).highest <= node_header(pair->b).highest + 1; i++) {
		char keyword[20];

		snprintf(keyword, sizeof(keyword), "keyword%d", i);
		node_flag(pair->a, "INBOX", uid, keyword);
	}
	cursor = node_header(pair->a).highest;
	sync_nodes(pair);
	assert_int_not_equal(node_uid_of(pair->b, "INBOX", "one"), uid);
	assert_int_equal(mail_read_begin(pair->b->mail, pair->b->position, &kv), 0);
	assert_int_equal(account_each_uid_change_roaming(
				 kv, pair->b->account, inbox, cursor, count_vanished, &vanished),
		0);
	mail_read_end(&kv);
	assert_int_equal(vanished, 1);
}

static void a_mailbox_comes_back_with_what_it_showed(void **state)
{
	struct pair *pair = *state;
	uint32_t uid = node_append(pair->a, "Work/2026", "long gone");

	node_expunge(pair->a, "Work/2026", uid);
	node_append(pair->a, "Work/2026", "one");
	node_append(pair->a, "Work/2026", "two");
	sync_nodes(pair);
	node_delete_mailbox(pair->a, "Work/2026");
	sync_nodes(pair);
	assert_int_equal(undelete(pair->b, "Work/2026"), 2);
	assert_int_equal(node_count(pair->b, "Work/2026"), 2);
	sync_nodes(pair);
	assert_true(node_uid_of(pair->a, "Work/2026", "two") != 0);
}

/* ---- accounts ---- */

static void delete_account(struct node *node)
{
	struct error error = { 0 };

	assert_int_equal(mail_account_delete(node->mail, node->account, &error), 0);
	node->position = mail_position(node->mail);
}

static int open_account(struct node *node, bool create)
{
	uint32_t number;

	return mail_account_open(node->mail, B("anna"), create, NULL, &number);
}

static void a_deleted_account_is_deleted_everywhere_and_comes_back_as_it_was(void **state)
{
	struct pair *pair = *state;

	node_append(pair->a, "INBOX", "one");
	node_append(pair->a, "Work", "two");
	mailbox_subscribe(pair->a->mail, pair->a->account, B("Work"), true, NULL, NULL);
	assert_int_equal(mail_credentials_set(pair->a->mail, pair->a->account, B("x"), NULL), 0);
	sync_nodes(pair);
	delete_account(pair->a);
	sync_nodes(pair);
	assert_int_equal(open_account(pair->a, false), ERR_NOT_FOUND);
	assert_int_equal(open_account(pair->b, false), ERR_NOT_FOUND);
	assert_int_equal(node_header(pair->b).message_count, 0);
	assert_int_equal(undelete(pair->b, ""), 2);
	sync_nodes(pair);
	for (int i = 0; i < 2; i++) {
		struct node *node = i == 0 ? pair->a : pair->b;
		struct buffer blob = { 0 };

		assert_int_equal(open_account(node, false), 0);
		assert_int_equal(node_count(node, "INBOX"), 1);
		assert_int_equal(node_count(node, "Work"), 1);
		assert_int_equal(mail_credentials_get(node->mail, node->account, &blob), 0);
		assert_true(bytes_equal_string(buffer_bytes(&blob), "x"));
		buffer_deinit(&blob);
	}
}

static void an_account_made_again_is_empty_and_its_uids_go_on(void **state)
{
	struct pair *pair = *state;
	uint32_t uid = node_append(pair->a, "INBOX", "one");

	delete_account(pair->a);
	sync_nodes(pair);
	assert_int_equal(open_account(pair->b, true), 0);
	pair->b->position = mail_position(pair->b->mail);
	assert_int_equal(node_count(pair->b, "INBOX"), 0);
	assert_true(node_append(pair->b, "INBOX", "two") > uid);
	sync_nodes(pair);
	assert_int_equal(open_account(pair->a, false), 0);
	assert_int_equal(node_count(pair->a, "INBOX"), 1);
}

static int note_kind(void *context, const struct conflict_entry *entry)
{
	bool *kinds = context;

	kinds[entry->conflict.kind] = true;
	return 0;
}

static bool has_conflict(struct node *node, enum merge_conflict_kind kind)
{
	bool kinds[MERGE_ACCOUNT_REVIVED + 1] = { false };
	struct kv_txn *kv = NULL;

	assert_int_equal(mail_read_begin(node->mail, mail_position(node->mail), &kv), 0);
	assert_int_equal(conflict_each(kv, node->account, 0, note_kind, kinds), 0);
	mail_read_end(&kv);
	return kinds[kind];
}

static void mail_that_the_deleter_did_not_see_revives_the_account(void **state)
{
	struct pair *pair = *state;

	node_append(pair->a, "INBOX", "seen");
	sync_nodes(pair);
	node_append(pair->b, "INBOX", "not seen");
	delete_account(pair->a);
	sync_nodes(pair);
	assert_int_equal(open_account(pair->a, false), 0);
	assert_int_equal(open_account(pair->b, false), 0);
	assert_int_equal(node_count(pair->b, "INBOX"), 1);
	assert_true(node_uid_of(pair->a, "INBOX", "not seen") != 0);
	assert_true(has_conflict(pair->a, MERGE_ACCOUNT_REVIVED));
}

static void a_flag_changed_elsewhere_does_not_revive_an_account(void **state)
{
	struct pair *pair = *state;
	uint32_t uid = node_append(pair->a, "INBOX", "seen");

	sync_nodes(pair);
	node_flag(pair->b, "INBOX", uid, "\\Seen");
	delete_account(pair->a);
	sync_nodes(pair);
	assert_int_equal(open_account(pair->b, false), ERR_NOT_FOUND);
	assert_true(has_conflict(pair->a, MERGE_CHANGED_EXPUNGED));
}

/* ---- scripts ---- */

static void put_script(struct node *node, const char *text)
{
	struct error error = { 0 };

	assert_int_equal(mail_script_put(node->mail, node->account, B("main"),
				 bytes_of_string(text), &error),
		0);
	node->position = mail_position(node->mail);
}

struct found {
	int count;
	bool has_first, has_second;
};

static int look_at_script(void *context, struct bytes name, struct bytes text, bool is_active)
{
	struct found *found = context;

	(void)is_active;
	found->count++;
	found->has_first |= bytes_equal_string(text, "keep; # first") &&
			    bytes_start_with(name, B("main (conflict 20"));
	found->has_second |=
		bytes_equal_string(text, "keep; # second") && bytes_equal_string(name, "main");
	return 0;
}

static void a_script_edited_on_both_sides_is_kept_twice(void **state)
{
	struct pair *pair = *state;

	put_script(pair->a, "keep;");
	sync_nodes(pair);
	put_script(pair->a, "keep; # first");
	node_append(pair->b, "INBOX", "one"); /* its clock goes on */
	put_script(pair->b, "keep; # before");
	put_script(pair->b, "keep; # second");
	sync_nodes(pair);
	for (int i = 0; i < 2; i++) {
		struct node *node = i == 0 ? pair->a : pair->b;
		struct found found = { 0 };

		assert_int_equal(
			mail_script_each(node->mail, node->account, look_at_script, &found, NULL),
			0);
		assert_int_equal(found.count, 2);
		assert_true(found.has_first && found.has_second);
	}
	assert_true(has_conflict(pair->a, MERGE_SCRIPT_KEPT));
}

static void a_script_edited_where_the_last_edit_was_known_is_one(void **state)
{
	struct pair *pair = *state;
	struct found found = { 0 };

	put_script(pair->a, "keep; # first");
	sync_nodes(pair);
	put_script(pair->b, "keep; # second");
	node_append(pair->a, "INBOX", "one");
	sync_nodes(pair);
	assert_int_equal(
		mail_script_each(pair->a->mail, pair->a->account, look_at_script, &found, NULL), 0);
	assert_int_equal(found.count, 1);
	assert_true(found.has_second);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(an_expunged_message_comes_back_with_its_flags),
		CASE(annotations_come_back_with_their_message),
		CASE(a_large_mailbox_is_deleted_as_one_act),
		CASE(what_two_nodes_bring_back_while_apart_comes_back_once),
		CASE(an_account_that_two_nodes_bring_back_has_all_once),
		CASE(after_the_horizon_nothing_is_left),
		CASE(bodies_of_local_deletions_may_go_earlier_those_of_peers_not),
		CASE(a_cursor_from_before_the_horizon_is_told_of_every_uid_that_went),
		CASE(a_cursor_is_told_of_a_uid_that_was_given_and_forgotten_elsewhere),
		CASE(a_mailbox_comes_back_with_what_it_showed),
		CASE(a_deleted_account_is_deleted_everywhere_and_comes_back_as_it_was),
		CASE(an_account_made_again_is_empty_and_its_uids_go_on),
		CASE(mail_that_the_deleter_did_not_see_revives_the_account),
		CASE(a_flag_changed_elsewhere_does_not_revive_an_account),
		CASE(a_script_edited_on_both_sides_is_kept_twice),
		CASE(a_script_edited_where_the_last_edit_was_known_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
