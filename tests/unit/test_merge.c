/*
 * The table of conflicts (docs/replication.md), row by row: two copies that were equal are changed
 * apart and brought together. The fixture holds every write to P2 to P5, and copy_exchange() both
 * copies to be equal (P6).
 */
#include "merge_fixture.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct pair {
	struct copy a, b;
	struct common common; /* as a knows it */
};

static int begin(void **state)
{
	struct pair *pair = mem_zalloc(sizeof(*pair));

	copy_init(&pair->a, 1);
	copy_init(&pair->b, 2);
	*state = pair;
	return 0;
}

static int end(void **state)
{
	struct pair *pair = *state;

	copy_deinit(&pair->a);
	copy_deinit(&pair->b);
	free(pair);
	return 0;
}

static size_t bring_together(struct pair *pair)
{
	return copy_exchange(&pair->a, &pair->b, &pair->common);
}

/* A message in INBOX of both. */
static struct stamp common_message(struct pair *pair)
{
	struct stamp instance = copy_append(&pair->a, inbox_id);

	bring_together(pair);
	return instance;
}

/* A mailbox on both. */
static struct id128 common_mailbox(struct pair *pair, const char *name)
{
	struct id128 id = copy_create(&pair->a, name);

	bring_together(pair);
	return id;
}

static const struct message_record *both_show(struct pair *pair, struct stamp instance)
{
	struct message_record *a = copy_message(&pair->a, instance);
	struct message_record *b = copy_message(&pair->b, instance);

	assert_non_null(a);
	assert_non_null(b);
	assert_true(message_same(a, b));
	assert_true(message_is_shown(a));
	return a;
}

static void both_lack(struct pair *pair, struct stamp instance)
{
	struct message_record *a = copy_message(&pair->a, instance);
	struct message_record *b = copy_message(&pair->b, instance);

	assert_true(a == NULL || !message_is_shown(a));
	assert_true(b == NULL || !message_is_shown(b));
}

static void one_uid_given_to_two_messages_is_retired_and_both_move_P2(void **state)
{
	struct pair *pair = *state;
	struct stamp of_a = copy_append(&pair->a, inbox_id), of_b = copy_append(&pair->b, inbox_id);

	assert_int_equal(bring_together(pair), 2);
	assert_int_equal(both_show(pair, of_a)->uid, 2);
	assert_int_equal(both_show(pair, of_b)->uid, 3);
	assert_true(stamp_is_none(copy_shown_at(&pair->a, inbox_id, 1)));
	assert_true(stamp_is_none(copy_shown_at(&pair->b, inbox_id, 1)));
}

static void a_uid_given_there_to_a_message_expunged_since_is_retired_too_P2(void **state)
{
	struct pair *pair = *state;
	struct stamp of_a = copy_append(&pair->a, inbox_id), of_b = copy_append(&pair->b, inbox_id);

	copy_expunge(&pair->b, of_b);
	bring_together(pair);
	assert_int_equal(both_show(pair, of_a)->uid, 2);
	both_lack(pair, of_b);
}

static void messages_of_one_side_only_keep_their_uids(void **state)
{
	struct pair *pair = *state;
	struct stamp first = copy_append(&pair->a, inbox_id),
		     second = copy_append(&pair->a, inbox_id);

	copy_set_register(&pair->b, RECORD_SUBSCRIPTION, (struct id128){ { 0 } }, "Work", "");
	assert_int_equal(bring_together(pair), 0);
	assert_int_equal(both_show(pair, first)->uid, 1);
	assert_int_equal(both_show(pair, second)->uid, 2);
}

static void flags_changed_on_both_sides_each_go_their_own_way_P7(void **state)
{
	struct pair *pair = *state;
	struct stamp instance = common_message(pair);
	const struct message_record *message;

	copy_flag(&pair->a, instance, "\\Seen", true);
	copy_flag(&pair->b, instance, "\\Answered", true);
	copy_flag(&pair->a, instance, "$Work", true);
	copy_flag(&pair->b, instance, "$Work", true);
	copy_flag(&pair->b, instance, "$Work", false); /* the later change of this flag */
	assert_int_equal(bring_together(pair), 0);
	message = both_show(pair, instance);
	assert_true(message_has_flag(message, BYTES_LITERAL("\\Seen")));
	assert_true(message_has_flag(message, BYTES_LITERAL("\\Answered")));
	assert_false(message_has_flag(message, BYTES_LITERAL("$Work")));
}

static void a_flag_changed_here_follows_the_message_moved_there(void **state)
{
	struct pair *pair = *state;
	struct stamp instance = common_message(pair);
	struct id128 archive = common_mailbox(pair, "Archive");

	copy_flag(&pair->a, instance, "\\Flagged", true);
	copy_move(&pair->b, instance, archive);
	bring_together(pair);
	assert_true(message_has_flag(both_show(pair, instance), BYTES_LITERAL("\\Flagged")));
	assert_true(id128_equal(both_show(pair, instance)->mailbox, archive));
}

static void a_flag_changed_here_does_not_bring_back_what_was_expunged_there(void **state)
{
	struct pair *pair = *state;
	struct stamp instance = common_message(pair);

	copy_expunge(&pair->b, instance);
	copy_flag(&pair->a, instance, "\\Flagged", true);
	copy_flag(&pair->a, instance, "\\Seen", true);
	bring_together(pair);
	both_lack(pair, instance);
}

static void of_two_moves_the_later_one_stays(void **state)
{
	struct pair *pair = *state;
	struct stamp instance = common_message(pair);
	struct id128 archive = common_mailbox(pair, "Archive"), work = common_mailbox(pair, "Work");

	copy_move(&pair->a, instance, archive);
	copy_flag(&pair->b, copy_append(&pair->b, inbox_id), "\\Seen",
		true); /* b's clock is ahead now */
	copy_move(&pair->b, instance, work);
	bring_together(pair);
	assert_true(id128_equal(both_show(pair, instance)->mailbox, work));
}

static void moved_here_and_expunged_there_ends_in_the_later_act(void **state)
{
	struct pair *pair = *state;
	struct stamp first = common_message(pair), second = common_message(pair);
	struct id128 archive = common_mailbox(pair, "Archive");

	copy_expunge(&pair->a, first);
	copy_move(&pair->a, second, archive);
	copy_append(&pair->b, inbox_id);
	copy_append(&pair->b, inbox_id);
	copy_move(&pair->b, first, archive);
	copy_expunge(&pair->b, second);
	bring_together(pair);
	assert_true(id128_equal(both_show(pair, first)->mailbox, archive));
	both_lack(pair, second);
}

static void mailboxes_of_one_name_are_united_and_the_other_forwards(void **state)
{
	struct pair *pair = *state;
	struct id128 of_a = copy_create(&pair->a, "Work"), of_b;
	struct stamp in_a = copy_append(&pair->a, of_a), in_b, late;
	const struct mailbox_record *stays;

	copy_append(&pair->b, inbox_id);
	copy_append(&pair->b, inbox_id);
	of_b = copy_create(&pair->b, "Work"); /* greater UIDVALIDITY: made later */
	in_b = copy_append(&pair->b, of_b);
	bring_together(pair);
	stays = copy_live_mailbox(&pair->a, "Work");
	assert_true(id128_equal(stays->id, of_b));
	assert_false(mailbox_is_live(copy_mailbox(&pair->a, of_a)));
	assert_true(id128_equal(copy_mailbox(&pair->b, of_a)->forward, of_b));
	assert_true(id128_equal(both_show(pair, in_a)->mailbox, of_b));
	assert_true(id128_equal(both_show(pair, in_b)->mailbox, of_b));
	late = copy_append(&pair->b, of_b);
	bring_together(pair);
	assert_int_equal(both_show(pair, in_b)->uid, 1);
	assert_int_equal(both_show(pair, in_a)->uid, 2);
	assert_int_equal(both_show(pair, late)->uid, 3);
}

static void a_mailbox_renamed_onto_another_is_united_with_it(void **state)
{
	struct pair *pair = *state;
	struct id128 work = common_mailbox(pair, "Work"), made;
	struct stamp instance = copy_append(&pair->a, work);

	copy_rename(&pair->a, work, "Archive");
	made = copy_create(&pair->b, "Archive");
	bring_together(pair);
	assert_true(id128_equal(copy_live_mailbox(&pair->b, "Archive")->id, made));
	assert_true(id128_equal(both_show(pair, instance)->mailbox, made));
}

/* No client can do this, but a broken peer might. */
static void inbox_stays_whatever_else_has_its_name(void **state)
{
	struct pair *pair = *state;
	struct id128 other;
	struct stamp instance;

	copy_append(&pair->b, inbox_id);
	other = copy_create(&pair->b, "Other"); /* with a greater UIDVALIDITY */
	instance = copy_append(&pair->b, other);
	copy_rename(&pair->b, other, "INBOX");
	bring_together(pair);
	assert_true(id128_equal(copy_live_mailbox(&pair->a, "INBOX")->id, inbox_id));
	assert_true(mailbox_is_live(copy_mailbox(&pair->b, inbox_id)));
	assert_true(id128_equal(both_show(pair, instance)->mailbox, inbox_id));
}

static void of_two_renames_the_later_one_stays(void **state)
{
	struct pair *pair = *state;
	struct id128 work = common_mailbox(pair, "Work");

	copy_rename(&pair->a, work, "Old");
	copy_append(&pair->b, inbox_id);
	copy_rename(&pair->b, work, "New");
	bring_together(pair);
	assert_true(bytes_equal_string(copy_mailbox(&pair->a, work)->name, "New"));
	assert_true(bytes_equal_string(copy_mailbox(&pair->b, work)->name, "New"));
}

static void deleted_here_and_renamed_there_is_deleted(void **state)
{
	struct pair *pair = *state;
	struct id128 work = common_mailbox(pair, "Work");

	copy_delete(&pair->a, work);
	copy_append(&pair->b, inbox_id);
	copy_rename(&pair->b, work, "New");
	bring_together(pair);
	assert_null(copy_live_mailbox(&pair->a, "New"));
	assert_null(copy_live_mailbox(&pair->b, "Work"));
}

/* `arrives_at` integrates: the one that deleted, or the one where mail arrived. */
static void check_revival(struct pair *pair, struct copy *deletes, struct copy *arrives_at)
{
	struct id128 work = common_mailbox(pair, "Work");
	struct stamp seen = copy_append(&pair->a, work), unseen;
	uint32_t uidvalidity = copy_mailbox(&pair->a, work)->uidvalidity;
	const struct mailbox_record *revived;

	bring_together(pair);
	unseen = copy_append(arrives_at, work);
	copy_delete(deletes, work);
	bring_together(pair);
	both_lack(pair, seen);
	revived = copy_live_mailbox(&pair->a, "Work");
	assert_non_null(revived);
	assert_true(revived->uidvalidity > uidvalidity);
	assert_true(id128_equal(revived->id, id128_derive("revived", bytes_of(work.bytes, 16))));
	assert_true(id128_equal(both_show(pair, unseen)->mailbox, revived->id));
}

static void mail_that_arrived_in_a_mailbox_deleted_elsewhere_revives_it(void **state)
{
	struct pair *pair = *state;

	check_revival(pair, &pair->a, &pair->b);
}

static void mail_that_arrived_here_in_a_mailbox_deleted_there_revives_it(void **state)
{
	struct pair *pair = *state;

	check_revival(pair, &pair->b, &pair->a);
}

static void a_message_moved_into_a_mailbox_deleted_elsewhere_revives_it(void **state)
{
	struct pair *pair = *state;
	struct id128 work = common_mailbox(pair, "Work");
	struct stamp instance = common_message(pair);

	copy_move(&pair->a, instance, work);
	copy_delete(&pair->b, work);
	bring_together(pair);
	assert_true(id128_equal(
		both_show(pair, instance)->mailbox, copy_live_mailbox(&pair->b, "Work")->id));
}

static void mail_for_a_deleted_mailbox_goes_to_the_one_that_has_its_name_now(void **state)
{
	struct pair *pair = *state;
	struct id128 work = common_mailbox(pair, "Work"), made;
	struct stamp instance;

	copy_delete(&pair->a, work);
	made = copy_create(&pair->a, "Work");
	instance = copy_append(&pair->b, work);
	bring_together(pair);
	assert_true(id128_equal(both_show(pair, instance)->mailbox, made));
}

/* Each side found the other's mailbox deleted and forwards its mail into its own: a circle. */
static void two_deleted_mailboxes_that_forward_to_each_other_are_revived(void **state)
{
	struct pair *pair = *state;
	struct id128 first = common_mailbox(pair, "Work"), second = common_mailbox(pair, "Other");
	struct stamp instance = copy_append(&pair->b, second);
	struct mailbox_record *mailbox;

	copy_delete(&pair->a, first);
	mailbox = copy_mailbox(&pair->a, first);
	mailbox->forward = second;
	bring_together(pair);
	copy_delete(&pair->a, second);
	copy_mailbox(&pair->a, second)->forward = first;
	instance = copy_append(&pair->b, second);
	bring_together(pair);
	assert_true(mailbox_is_live(copy_mailbox(&pair->a, both_show(pair, instance)->mailbox)));
}

static void registers_go_by_entry_and_later_stamp(void **state)
{
	struct pair *pair = *state;
	struct id128 none = { { 0 } };

	copy_set_register(&pair->a, RECORD_ANNOTATION, inbox_id, "/comment", "here");
	copy_set_register(&pair->a, RECORD_SUBSCRIPTION, none, "Work", "");
	copy_append(&pair->b, inbox_id);
	copy_append(&pair->b, inbox_id);
	copy_set_register(&pair->b, RECORD_ANNOTATION, inbox_id, "/comment", "there");
	copy_set_register(&pair->b, RECORD_ACL, inbox_id, "anyone", "l");
	bring_together(pair);
	for (int i = 0; i < 2; i++) {
		struct copy *copy = i == 0 ? &pair->a : &pair->b;

		assert_true(bytes_equal_string(
			copy_register(copy, RECORD_ANNOTATION, inbox_id, "/comment")->value,
			"there"));
		assert_non_null(copy_register(copy, RECORD_SUBSCRIPTION, none, "Work"));
		assert_non_null(copy_register(copy, RECORD_ACL, inbox_id, "anyone"));
	}
}

static void a_copy_that_returns_after_the_horizon_does_not_bring_back_what_was_expunged(
	void **state)
{
	struct pair *pair = *state;
	struct stamp instance = common_message(pair);

	copy_expunge(&pair->a, instance);
	copy_expire(&pair->a);
	copy_flag(&pair->b, instance, "\\Seen", true); /* so that b sends it */
	bring_together(pair);
	both_lack(pair, instance);
}

static void what_a_returning_copy_has_that_is_new_is_kept(void **state)
{
	struct pair *pair = *state;
	struct stamp instance;

	common_message(pair);
	instance = copy_append(&pair->b, inbox_id);
	copy_expire(&pair->a);
	bring_together(pair);
	both_show(pair, instance);
}

/* Nothing says that it was common: nothing is expunged on a guess. */
static void copies_without_a_common_point_are_united(void **state)
{
	struct pair *pair = *state;
	struct stamp shared = common_message(pair), of_a = copy_append(&pair->a, inbox_id);
	struct stamp of_b = copy_append(&pair->b, inbox_id);

	copy_flag(&pair->b, shared, "\\Seen", true);
	pair->common = (struct common){ 0 };
	bring_together(pair);
	assert_int_equal(both_show(pair, shared)->uid, 1);
	both_show(pair, of_a);
	both_show(pair, of_b);
}

static void a_repair_deletes_what_was_common_and_keeps_what_is_new(void **state)
{
	struct pair *pair = *state;
	struct stamp lost = common_message(pair), fresh;
	struct change_set theirs, push;

	copy_expunge(&pair->b, lost);
	copy_expire(&pair->b); /* b says nothing of it any more */
	fresh = copy_append(&pair->a, inbox_id);
	copy_changes(&pair->b, 0, &theirs);
	copy_integrate(&pair->a, &theirs, pair->common.mine, true);
	copy_changes(&pair->a, 0, &push);
	copy_apply(&pair->b, &push);
	assert_true(copy_same(&pair->a, &pair->b));
	both_lack(pair, lost);
	both_show(pair, fresh);
}

static bool is_merged(struct copy *copy)
{
	return copy_register(copy, RECORD_ACCOUNT, (struct id128){ { 0 } }, ACCOUNT_MERGED_KEY) !=
	       NULL;
}

/* A client of a knows UID 1, that of b meant another message; and the UIDNEXTs say nothing. */
static void cursors_are_told_that_one_uid_was_given_there_and_forgotten_P4(void **state)
{
	struct pair *pair = *state;
	struct stamp of_a = copy_append(&pair->a, inbox_id), of_b = copy_append(&pair->b, inbox_id);

	copy_expunge(&pair->b, of_b);
	copy_expire(&pair->b);
	copy_expunge(&pair->a, of_a);
	assert_int_equal(copy_mailbox(&pair->a, inbox_id)->uidnext,
		copy_mailbox(&pair->b, inbox_id)->uidnext);
	bring_together(pair);
	assert_true(is_merged(&pair->a) && is_merged(&pair->b));
}

static void what_both_heard_from_a_third_copy_is_no_act_of_theirs(void **state)
{
	struct pair *pair = *state;
	struct change_set changes;

	copy_append(&pair->b, inbox_id);
	copy_changes(&pair->b, 0, &changes);
	copy_apply(&pair->a, &changes);
	bring_together(pair);
	assert_false(is_merged(&pair->a) || is_merged(&pair->b));
}

static void integrating_again_changes_nothing_P8(void **state)
{
	struct pair *pair = *state;
	struct change_set theirs;
	struct common before = pair->common;

	copy_append(&pair->a, inbox_id);
	copy_append(&pair->b, copy_create(&pair->b, "Work"));
	copy_append(&pair->b, inbox_id);
	copy_changes(&pair->b, before.theirs, &theirs); /* with UIDs that b will give up */
	bring_together(pair);
	copy_integrate(&pair->a, &theirs, pair->common.mine, false);
	assert_true(copy_same(&pair->a, &pair->b));
}

static void taking_in_news_does_not_restamp_them_P6(void **state)
{
	struct pair *pair = *state;
	struct stamp instance = copy_append(&pair->b, inbox_id);
	uint64_t modseq;

	copy_flag(&pair->b, copy_append(&pair->b, inbox_id), "\\Seen", true);
	modseq = copy_message(&pair->b, instance)->modseq;
	bring_together(pair);
	assert_int_equal(both_show(pair, instance)->modseq, modseq);
}

/* The digest has no tombstones, so copies may take each other for equal without knowing each
 * other's. */
static void an_older_state_that_returns_by_a_third_copy_is_answered_with_the_later_one(void **state)
{
	struct pair *pair = *state;
	struct stamp instance = common_message(pair);
	struct message_record older = *copy_message(&pair->b, instance);

	copy_expunge(&pair->b, instance);
	bring_together(pair);
	copy_expire(&pair->b);
	older.sequence = ++pair->b.sequence; /* b hears of it anew */
	pair->b.messages[pair->b.message_count++] = older;
	bring_together(pair);
	both_lack(pair, instance);
}

static void one_instance_with_two_contents_is_refused(void **state)
{
	struct pair *pair = *state;
	struct stamp instance = common_message(pair);
	struct change_set mine, theirs;
	struct merge_output output;
	struct error error = { 0 };

	copy_flag(&pair->b, instance, "\\Seen", true);
	copy_message(&pair->b, instance)->guid.bytes[0] ^= 1;
	copy_changes(&pair->a, 0, &mine);
	copy_changes(&pair->b, 0, &theirs);
	{
		struct merge_input input = { .mine = copy_callbacks(&pair->a),
			.my_changes = &mine,
			.their_changes = &theirs,
			.node = 1,
			.clock_last = pair->a.clock };

		assert_int_equal(
			merge_integrate(&input, pair->a.arena, &error, &output), ERR_ILLEGAL);
	}
	assert_int_equal(error.code, ERR_ILLEGAL);
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(one_uid_given_to_two_messages_is_retired_and_both_move_P2),
		ROW(a_uid_given_there_to_a_message_expunged_since_is_retired_too_P2),
		ROW(messages_of_one_side_only_keep_their_uids),
		ROW(flags_changed_on_both_sides_each_go_their_own_way_P7),
		ROW(a_flag_changed_here_follows_the_message_moved_there),
		ROW(a_flag_changed_here_does_not_bring_back_what_was_expunged_there),
		ROW(of_two_moves_the_later_one_stays),
		ROW(moved_here_and_expunged_there_ends_in_the_later_act),
		ROW(mailboxes_of_one_name_are_united_and_the_other_forwards),
		ROW(a_mailbox_renamed_onto_another_is_united_with_it),
		ROW(inbox_stays_whatever_else_has_its_name),
		ROW(of_two_renames_the_later_one_stays),
		ROW(deleted_here_and_renamed_there_is_deleted),
		ROW(mail_that_arrived_in_a_mailbox_deleted_elsewhere_revives_it),
		ROW(mail_that_arrived_here_in_a_mailbox_deleted_there_revives_it),
		ROW(a_message_moved_into_a_mailbox_deleted_elsewhere_revives_it),
		ROW(mail_for_a_deleted_mailbox_goes_to_the_one_that_has_its_name_now),
		ROW(two_deleted_mailboxes_that_forward_to_each_other_are_revived),
		ROW(registers_go_by_entry_and_later_stamp),
		ROW(a_copy_that_returns_after_the_horizon_does_not_bring_back_what_was_expunged),
		ROW(what_a_returning_copy_has_that_is_new_is_kept),
		ROW(copies_without_a_common_point_are_united),
		ROW(a_repair_deletes_what_was_common_and_keeps_what_is_new),
		ROW(cursors_are_told_that_one_uid_was_given_there_and_forgotten_P4),
		ROW(what_both_heard_from_a_third_copy_is_no_act_of_theirs),
		ROW(integrating_again_changes_nothing_P8),
		ROW(taking_in_news_does_not_restamp_them_P6),
		ROW(an_older_state_that_returns_by_a_third_copy_is_answered_with_the_later_one),
		ROW(one_instance_with_two_contents_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
