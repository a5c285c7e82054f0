/*
 * Who may do what with others' mailboxes: what is kept of it in a guest's copy (mail/acl_guest.h),
 * and how a node tells him of it (GETACL, sync/guest_acl.h).
 */
#include "sync_fixture.h"

#include "sync/guest_acl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define WRITER 0x1234 /* stamps what bert does in his copy */
#define GUEST BYTES_LITERAL("bert")

static unsigned rights_of(const char *letters)
{
	unsigned rights;

	assert_int_equal(acl_parse_rights(bytes_of_string(letters), &rights), 0);
	return rights;
}

static void change(struct node *node, struct id128 mailbox, const char *identifier,
	enum acl_change how, const char *letters)
{
	assert_int_equal(acl_change(node->mail, node->account, mailbox, bytes_of_string(identifier),
				 how, rights_of(letters), NULL, &node->position),
		0);
}

static void print_acl(struct buffer *out, const struct acl *acl)
{
	for (size_t i = 0; i < acl->count; i++) {
		buffer_printf(
			out, "%s%.*s ", i > 0 ? ", " : "", BYTES_ARGS(acl->entries[i].identifier));
		acl_write_rights(out, acl->entries[i].rights);
	}
}

/* ---- a guest's copy ---- */

struct copy {
	struct node *node;
	struct id128 theirs; /* named by the owner's node ... */
	struct id128 mine;   /* ... and by bert */
};

static int mark_run(struct account_write *write, void *context)
{
	struct register_record record = { .kind = RECORD_ACCOUNT,
		.key = BYTES_LITERAL("test"),
		.is_set = true,
		.value = BYTES_LITERAL("1") };

	(void)context;
	write->header.writer = write->node = WRITER;
	record.stamp = account_stamp(write);
	record.modseq = record.stamp.modseq;
	return account_put_register(write, &record);
}

/* As the owner's node tells it; `told`: "who letters, ...", or NULL: nothing of entries. */
static int take(struct copy *copy, struct id128 mailbox, const char *own, const char *told)
{
	struct acl_entry entries[8];
	struct acl acl = { entries, 0 };
	struct acl_guest_rights rights = {
		.mailbox = mailbox, .user = GUEST, .rights = rights_of(own)
	};
	struct bytes rest = bytes_of_string(told != NULL ? told : "");

	while (rest.len > 0) {
		struct bytes entry = bytes_take(&rest, bytes_find(rest, ','));
		struct acl_entry *at = &entries[acl.count++];

		at->identifier = bytes_take(&entry, bytes_find(entry, ' '));
		bytes_skip(&entry, 1);
		assert_int_equal(acl_parse_rights(entry, &at->rights), 0);
		bytes_skip(&rest, rest.len > 0 ? 2 : 0);
	}
	rights.entries = told != NULL ? &acl : NULL;
	return acl_guest_take(copy->node->mail, copy->node->account, &rights, NULL);
}

static int setup_copy(void **state)
{
	static struct copy copy;

	copy = (struct copy){ .node = node_new_with_account() };
	copy.theirs = node_mailbox(copy.node, "Work");
	assert_int_equal(mail_node_commit(copy.node->mail, copy.node->account, mark_run, NULL, NULL,
				 &copy.node->position),
		0);
	copy.mine = node_mailbox(copy.node, "Mine");
	assert_int_equal(take(&copy, copy.theirs, "lra", "anna lra, bert lra"), 0);
	*state = &copy;
	return 0;
}

static int teardown_copy(void **state)
{
	struct copy *copy = *state;

	node_free(&copy->node);
	return 0;
}

static struct kv_txn *begin(const struct node *node)
{
	struct kv_txn *kv = NULL;

	assert_int_equal(mail_read_begin(node->mail, mail_position(node->mail), &kv), 0);
	return kv;
}

typedef int acl_reader(struct kv_txn *kv, uint32_t account, struct id128 mailbox,
	struct arena *arena, struct acl *acl_r);

static void assert_acl(
	const struct copy *copy, acl_reader *reader, struct id128 mailbox, const char *expected)
{
	struct kv_txn *kv = begin(copy->node);
	struct arena *arena = arena_new();
	struct buffer text = { 0 };
	struct acl acl;

	assert_int_equal(reader(kv, copy->node->account, mailbox, arena, &acl), 0);
	print_acl(&text, &acl);
	assert_string_equal(buffer_string(&text), expected);
	buffer_deinit(&text);
	arena_free(&arena);
	mail_read_end(&kv);
}

static void assert_shown(const struct copy *copy, struct id128 mailbox, const char *expected)
{
	assert_acl(copy, acl_list, mailbox, expected);
}

/* What counts here: of bert only. */
static void assert_counts(const struct copy *copy, struct id128 mailbox, const char *expected)
{
	assert_acl(copy, acl_read, mailbox, expected);
}

struct listing {
	struct buffer text;
	struct acl_act last;
};

static int list_act(void *context, const struct acl_act *act)
{
	struct listing *listing = context;
	struct buffer *text = &listing->text;

	buffer_printf(text, "%s%.*s ", text->len > 0 ? ", " : "", BYTES_ARGS(act->identifier));
	acl_write_rights(text, act->rights);
	if (act->has_was) {
		buffer_append_string(text, " was ");
		acl_write_rights(text, act->was);
	}
	assert_true(act->stamp.node == WRITER);
	listing->last = *act;
	return 0;
}

/* Returns the last of them. */
static struct acl_act assert_acts(const struct copy *copy, const char *expected)
{
	static char identifier[ACL_IDENTIFIER_SIZE_MAX + 1];
	struct kv_txn *kv = begin(copy->node);
	struct arena *arena = arena_new();
	struct listing listing = { 0 };

	assert_int_equal(acl_guest_each_act(kv, copy->node->account, arena, list_act, &listing), 0);
	assert_string_equal(buffer_string(&listing.text), expected);
	snprintf(identifier, sizeof(identifier), "%.*s", BYTES_ARGS(listing.last.identifier));
	listing.last.identifier = bytes_of_string(identifier);
	buffer_deinit(&listing.text);
	arena_free(&arena);
	mail_read_end(&kv);
	return listing.last;
}

static void settle(const struct copy *copy, const struct acl_act *act, bool is_taken)
{
	assert_int_equal(
		acl_guest_settle(copy->node->mail, copy->node->account, act, is_taken, NULL), 0);
}

static void what_he_changes_is_shown_and_waits_to_be_told(void **state)
{
	struct copy *copy = *state;

	assert_acts(copy, "");
	change(copy->node, copy->theirs, "carl", ACL_SET, "lrs");
	change(copy->node, copy->theirs, "carl", ACL_REMOVE, "s");
	change(copy->node, copy->theirs, "anna", ACL_SET, "");
	assert_shown(copy, copy->theirs, "bert lra, carl lr");
	assert_acts(copy, "anna , carl lr");
	/* Of what others may do nothing counts here. */
	assert_counts(copy, copy->theirs, "bert lra");
}

static void of_a_mailbox_that_he_named_he_tells_what_was_before(void **state)
{
	struct copy *copy = *state;

	assert_int_equal(take(copy, copy->mine, "lra", "bert lra, carl lr"), 0);
	change(copy->node, copy->mine, "carl", ACL_ADD, "s");
	change(copy->node, copy->mine, "carl", ACL_ADD, "w");
	assert_acts(copy, "carl lrsw was lr");
	change(copy->node, copy->mine, "dora", ACL_SET, "l");
	assert_acts(copy, "carl lrsw was lr, dora l was ");
}

static void what_he_gives_himself_counts_as_far_as_it_can(void **state)
{
	struct copy *copy = *state;

	change(copy->node, copy->theirs, "bert", ACL_ADD, "wpn"); /* "p" and "n": not off line */
	assert_counts(copy, copy->theirs, "bert lrwa");
	change(copy->node, copy->theirs, "anyone", ACL_SET, "s");
	assert_counts(copy, copy->theirs, "bert lrswa");
	change(copy->node, copy->theirs, "group:office", ACL_SET, "i"); /* who is in it? */
	assert_counts(copy, copy->theirs, "bert lrswa");
	change(copy->node, copy->theirs, "-bert", ACL_SET, "w");
	assert_counts(copy, copy->theirs, "bert lrsa");
	change(copy->node, copy->theirs, "bert", ACL_REMOVE, "a");
	assert_counts(copy, copy->theirs, "bert lrs");
	assert_shown(copy, copy->theirs, "-bert w, anna lra, anyone s, bert lrwpn, group:office i");
}

static void what_is_told_replaces_all_but_what_waits(void **state)
{
	struct copy *copy = *state;

	change(copy->node, copy->theirs, "carl", ACL_SET, "lr");
	change(copy->node, copy->theirs, "anna", ACL_SET, "");
	assert_int_equal(
		take(copy, copy->theirs, "lrswa", "anna lrwa, bert lrswa, carl l, dora l, erik l"),
		0);
	assert_shown(copy, copy->theirs, "bert lrswa, carl lr, dora l, erik l");
	assert_counts(copy, copy->theirs, "bert lrswa");
	assert_int_equal(take(copy, copy->theirs, "lrswa", "bert lrswa, dora lr"), 0);
	assert_shown(copy, copy->theirs, "bert lrswa, carl lr, dora lr");
	/* Of entries nothing is told. */
	assert_int_equal(take(copy, copy->theirs, "lrpn", NULL), 0);
	assert_shown(copy, copy->theirs, "bert lrswa, carl lr, dora lr");
	assert_counts(copy, copy->theirs, "bert lr");
	assert_acts(copy, "anna , carl lr");
}

static void what_he_gave_himself_stays_until_it_is_told(void **state)
{
	struct copy *copy = *state;
	struct acl_act act;

	change(copy->node, copy->theirs, "bert", ACL_ADD, "w");
	act = assert_acts(copy, "bert lrwa");
	assert_int_equal(take(copy, copy->theirs, "lra", "anna lra, bert lra"), 0);
	assert_counts(copy, copy->theirs, "bert lrwa");
	assert_shown(copy, copy->theirs, "anna lra, bert lrwa");
	settle(copy, &act, false);
	assert_int_equal(take(copy, copy->theirs, "lra", "anna lra, bert lra"), 0);
	assert_counts(copy, copy->theirs, "bert lra");
	assert_shown(copy, copy->theirs, "anna lra, bert lra");
}

static void put_point(const struct copy *copy, uint64_t sequence)
{
	struct acl_guest_point point = { 7, sequence, 1000 };

	assert_int_equal(
		acl_guest_point_put(copy->node->mail, copy->node->account, &point, NULL), 0);
}

static struct acl_guest_point get_point(const struct copy *copy)
{
	struct acl_guest_point point = { 1, 2, 3 };
	struct kv_txn *kv = begin(copy->node);

	assert_int_equal(acl_guest_point_get(kv, copy->node->account, &point), 0);
	mail_read_end(&kv);
	return point;
}

static void what_is_settled_waits_no_more_and_a_later_act_does(void **state)
{
	struct copy *copy = *state;
	struct acl_act act, later;

	assert_true(get_point(copy).node == 0 && get_point(copy).sequence == 0);
	change(copy->node, copy->theirs, "carl", ACL_SET, "lr");
	act = assert_acts(copy, "carl lr");
	change(copy->node, copy->theirs, "carl", ACL_SET, "lrs");
	put_point(copy, 42);
	settle(copy, &act, true);
	later = assert_acts(copy, "carl lrs");
	settle(copy, &later, true);
	assert_acts(copy, "");
	settle(copy, &later, true); /* once more */
	assert_true(get_point(copy).node == 7);
	assert_true(get_point(copy).sequence == 42);
	assert_true(get_point(copy).whole_ms == 1000);
	/* One that is refused: all is to be asked for anew. */
	change(copy->node, copy->theirs, "carl", ACL_SET, "l");
	later = assert_acts(copy, "carl l");
	settle(copy, &later, false);
	assert_acts(copy, "");
	assert_true(get_point(copy).node == 0 && get_point(copy).sequence == 0);
}

static void of_a_mailbox_that_went_nothing_is_taken(void **state)
{
	struct copy *copy = *state;

	node_delete_mailbox(copy->node, "Work");
	assert_int_equal(take(copy, copy->theirs, "lra", "bert lra"), ERR_NOT_FOUND);
	assert_int_equal(take(copy, (struct id128){ { 9 } }, "lra", NULL), ERR_NOT_FOUND);
	assert_shown(copy, copy->theirs, "");
}

/* ---- GETACL: the owner's node tells ---- */

#define MAILBOX_COUNT 24
#define ENTRY_COUNT 300 /* of each; of more than 100 bytes */
#define ANSWER_SIZE_MAX (256u * 1024)
#define MAILBOX_SIZE_MAX (ENTRY_COUNT * 120u)

struct owner {
	struct node *guest, *server;
	struct id128 mailboxes[MAILBOX_COUNT]; /* in order of ids */
};

static int fill_run(struct account_write *write, void *context)
{
	const struct id128 *mailbox = context;
	int rc = 0;

	for (unsigned i = 0; i < ENTRY_COUNT && rc == 0; i++)
		rc = acl_put(write, *mailbox,
			bytes_of_string(arena_printf(write->arena, "user%0100u", i)), ACL_LOOKUP);
	return rc;
}

static int compare_ids(const void *a, const void *b)
{
	return id128_compare(*(const struct id128 *)a, *(const struct id128 *)b);
}

static int setup_owner(void **state)
{
	static struct owner owner;
	struct sync_rights rights = { .account = "bert", .identity = { .name = "bert" } };

	owner = (struct owner){ node_new(), node_new_with_account(), { { { 0 } } } };
	assert_int_equal(
		mail_account_open(owner.server->mail, GUEST, true, NULL, &rights.identity.account),
		0);
	for (unsigned i = 0; i < MAILBOX_COUNT; i++) {
		char name[16];

		snprintf(name, sizeof(name), "m%u", i);
		owner.mailboxes[i] = node_mailbox(owner.server, name);
		assert_int_equal(
			mail_node_commit(owner.server->mail, owner.server->account, fill_run,
				&owner.mailboxes[i], NULL, &owner.server->position),
			0);
		change(owner.server, owner.mailboxes[i], "bert", ACL_SET, "lra");
	}
	qsort(owner.mailboxes, MAILBOX_COUNT, sizeof(owner.mailboxes[0]), compare_ids);
	/* Seen, but not to be administered; and not seen at all. */
	change(owner.server, node_mailbox(owner.server, "seen"), "bert", ACL_SET, "lrswitek");
	change(owner.server, node_mailbox(owner.server, "unseen"), "bert", ACL_SET, "a");
	nodes_connect(owner.guest, owner.server, &rights);
	*state = &owner;
	return 0;
}

static int teardown_owner(void **state)
{
	struct owner *owner = *state;

	node_free(&owner->guest);
	node_free(&owner->server);
	return 0;
}

/* One answer, taken from the arena. */
static struct guest_acl_list ask(
	struct owner *owner, uint64_t since, struct id128 after, struct arena *arena)
{
	struct buffer request = { 0 }, answer = { 0 };
	struct guest_acl_list list;
	struct error error;

	guest_acl_request("anna", since, after, &request);
	assert_int_equal(
		sync_respond(owner->server->session, buffer_bytes(&request), &answer, &error), 0);
	assert_true(answer.len <= ANSWER_SIZE_MAX + MAILBOX_SIZE_MAX);
	assert_int_equal(
		guest_acl_answer(arena_copy(arena, buffer_bytes(&answer)), arena, &list, &error),
		0);
	buffer_deinit(&request);
	buffer_deinit(&answer);
	return list;
}

static void answers_that_are_cut_go_on_behind_the_last_mailbox(void **state)
{
	struct arena *arena = arena_new();
	struct owner *owner = *state;
	struct guest_acl_list list = { .has_more = true };
	struct id128 after = { { 0 } };
	size_t count = 0, answer_count = 0;

	while (list.has_more) {
		list = ask(owner, 0, after, arena);
		answer_count++;
		assert_true(list.count > 0);
		for (size_t i = 0; i < list.count; i++) {
			const struct guest_acl *told = &list.list[i];

			assert_true(count < MAILBOX_COUNT);
			assert_true(id128_equal(told->mailbox, owner->mailboxes[count++]));
			assert_int_equal(told->entries.count, ENTRY_COUNT + 1);
		}
		after = list.list[list.count - 1].mailbox;
	}
	assert_int_equal(count, MAILBOX_COUNT);
	assert_true(answer_count >= 3);
	/* Behind the last of all there is nothing. */
	assert_int_equal(ask(owner, 0, after, arena).count, 0);
	arena_free(&arena);
}

static void what_changes_between_two_parts_is_told_since_the_first(void **state)
{
	struct id128 none = { { 0 } };
	struct arena *arena = arena_new();
	struct owner *owner = *state;
	struct guest_acl_list first = ask(owner, 0, none, arena), since;

	assert_true(first.has_more && first.count > 1);
	/* One that was told already, by a change and by a removal, and one that was not. */
	change(owner->server, owner->mailboxes[1], "carl", ACL_SET, "lr");
	change(owner->server, owner->mailboxes[0], "bert", ACL_SET, "lrsa");
	change(owner->server, owner->mailboxes[MAILBOX_COUNT - 1], "carl", ACL_SET, "lr");
	since = ask(owner, first.sequence, none, arena);
	assert_int_equal(since.count, 3);
	assert_false(since.has_more);
	assert_true(id128_equal(since.list[0].mailbox, owner->mailboxes[0]));
	assert_true(id128_equal(since.list[1].mailbox, owner->mailboxes[1]));
	assert_true(id128_equal(since.list[2].mailbox, owner->mailboxes[MAILBOX_COUNT - 1]));
	assert_int_equal(since.list[1].entries.count, ENTRY_COUNT + 2); /* whole */
	assert_int_equal(ask(owner, first.sequence, owner->mailboxes[1], arena).count, 1);
	assert_int_equal(ask(owner, since.sequence, none, arena).count, 0);
	/* An entry that goes is a change, too. */
	change(owner->server, owner->mailboxes[1], "carl", ACL_SET, "");
	since = ask(owner, since.sequence, none, arena);
	assert_int_equal(since.count, 1);
	assert_int_equal(since.list[0].entries.count, ENTRY_COUNT + 1);
	arena_free(&arena);
}

static void what_is_cut_and_lists_nothing_does_not_go_on_for_ever(void **state)
{
	static const struct {
		const char *answer;
		int rc;
		size_t count;
		bool has_more;
	} rows[] = {
		{ "ACL %(SEQUENCE 5 LIST () MORE 1)", 0, 0, false },
		{ "ACL %(SEQUENCE 5 LIST (11111111111111111111111111111111 (bert lr)) MORE 1)", 0,
			1, true },
		{ "ACL %(SEQUENCE 5 LIST (11111111111111111111111111111111 ()))", 0, 1, false },
		{ "ACL %(SEQUENCE 5 LIST (11111111111111111111111111111111))", ERR_INVALID, 0,
			false },
		{ "ACL %(SEQUENCE 5 LIST (1111 (bert lr)))", ERR_INVALID, 0, false },
		{ "ACL %(SEQUENCE 5 LIST (11111111111111111111111111111111 (bert)))", ERR_INVALID,
			0, false },
		{ "ACL %(SEQUENCE 5 LIST (11111111111111111111111111111111 bert))", ERR_INVALID, 0,
			false },
		{ "ACL %(LIST () MORE 1)", ERR_INVALID, 0, false },
		{ "ERROR %(CODE REFUSED TEXT no)", ERR_REFUSED, 0, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arena *arena = arena_new();
		struct guest_acl_list list;
		struct error error = { 0 };
		int rc = guest_acl_answer(bytes_of_string(rows[i].answer), arena, &list, &error);

		assert_int_equal(rc, rows[i].rc);
		if (rc == 0) {
			assert_int_equal(list.count, rows[i].count);
			assert_int_equal(list.has_more, rows[i].has_more);
		}
		arena_free(&arena);
	}
}

#define COPY(name) cmocka_unit_test_setup_teardown(name, setup_copy, teardown_copy)
#define OWNER(name) cmocka_unit_test_setup_teardown(name, setup_owner, teardown_owner)

int main(void)
{
	const struct CMUnitTest tests[] = {
		COPY(what_he_changes_is_shown_and_waits_to_be_told),
		COPY(of_a_mailbox_that_he_named_he_tells_what_was_before),
		COPY(what_he_gives_himself_counts_as_far_as_it_can),
		COPY(what_is_told_replaces_all_but_what_waits),
		COPY(what_he_gave_himself_stays_until_it_is_told),
		COPY(what_is_settled_waits_no_more_and_a_later_act_does),
		COPY(of_a_mailbox_that_went_nothing_is_taken),
		OWNER(answers_that_are_cut_go_on_behind_the_last_mailbox),
		OWNER(what_changes_between_two_parts_is_told_since_the_first),
		cmocka_unit_test(what_is_cut_and_lists_nothing_does_not_go_on_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
