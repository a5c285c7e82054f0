/*
 * What a merge does with annotations and rights of messages and mailboxes that are gone
 * (sync/merge_tidy.c): three copies, changed apart and brought together.
 */
#include "merge_fixture.h"

#include "base/mem.h"
#include "mail/annotation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct id128 none;

struct three {
	struct copy a, b, c;
	struct common ab, ac;
};

static int begin(void **state)
{
	struct three *three = mem_zalloc(sizeof(*three));

	copy_init(&three->a, 1);
	copy_init(&three->b, 2);
	copy_init(&three->c, 3);
	*state = three;
	return 0;
}

static int end(void **state)
{
	struct three *three = *state;

	copy_deinit(&three->a);
	copy_deinit(&three->b);
	copy_deinit(&three->c);
	free(three);
	return 0;
}

/* So long that all are told of all. */
static void bring_together(struct three *three)
{
	for (int i = 0; i < 2; i++) {
		copy_exchange(&three->a, &three->b, &three->ab);
		copy_exchange(&three->a, &three->c, &three->ac);
	}
	assert_true(copy_same(&three->b, &three->c));
}

static bool is_set(struct copy *copy, enum record_kind kind, struct id128 mailbox, const char *key)
{
	const struct register_record *record = copy_register(copy, kind, mailbox, key);

	return record != NULL && record->is_set;
}

static void all_have(struct three *three, enum record_kind kind, struct id128 mailbox,
	const char *key, const char *value)
{
	struct copy *copies[] = { &three->a, &three->b, &three->c };

	for (size_t i = 0; i < 3; i++) {
		assert_true(is_set(copies[i], kind, mailbox, key));
		assert_true(bytes_equal_string(
			copy_register(copies[i], kind, mailbox, key)->value, value));
	}
}

static void all_lack(
	struct three *three, enum record_kind kind, struct id128 mailbox, const char *key)
{
	assert_false(is_set(&three->a, kind, mailbox, key));
	assert_false(is_set(&three->b, kind, mailbox, key));
	assert_false(is_set(&three->c, kind, mailbox, key));
}

/* "Work", made on a and on b; the one of b stays, for it was made later. */
static void make_two(struct three *three, struct id128 *goes_r, struct id128 *stays_r)
{
	*goes_r = copy_create(&three->a, "Work");
	copy_append(&three->b, inbox_id);
	*stays_r = copy_create(&three->b, "Work");
}

static void metadata_and_rights_of_a_united_mailbox_go_to_the_one_that_stays(void **state)
{
	struct three *three = *state;
	struct id128 goes, stays;

	make_two(three, &goes, &stays);
	copy_set_register(&three->b, RECORD_ANNOTATION, stays, "s/comment", "earlier");
	for (int i = 0; i < 5; i++)
		copy_append(&three->a, inbox_id);
	copy_set_register(&three->a, RECORD_ANNOTATION, goes, "s/comment", "later");
	copy_set_register(&three->a, RECORD_ANNOTATION, goes, "s/color", "red");
	copy_set_register(&three->a, RECORD_ACL, goes, "bob", "lr");
	bring_together(three);
	all_have(three, RECORD_ANNOTATION, stays, "s/comment", "later");
	all_have(three, RECORD_ANNOTATION, stays, "s/color", "red");
	all_have(three, RECORD_ACL, stays, "bob", "lr");
	all_lack(three, RECORD_ANNOTATION, goes, "s/comment");
	all_lack(three, RECORD_ANNOTATION, goes, "s/color");
	all_lack(three, RECORD_ACL, goes, "bob");
}

/* c has the one that goes, and knows nothing of the union when it acts on it. */
static void what_a_third_copy_sets_on_a_united_mailbox_still_counts(void **state)
{
	struct three *three = *state;
	struct id128 goes, stays;

	make_two(three, &goes, &stays);
	copy_set_register(&three->a, RECORD_ANNOTATION, goes, "s/comment", "one");
	copy_exchange(&three->a, &three->c, &three->ac);
	copy_set_register(&three->c, RECORD_ANNOTATION, goes, "s/comment", "two");
	for (int i = 0; i < 20; i++)
		copy_append(&three->b, inbox_id); /* its clock is ahead */
	copy_exchange(&three->a, &three->b, &three->ab);
	assert_true(is_set(&three->a, RECORD_ANNOTATION, stays, "s/comment"));
	bring_together(three);
	all_have(three, RECORD_ANNOTATION, stays, "s/comment", "two");
	all_lack(three, RECORD_ANNOTATION, goes, "s/comment");
}

static bool is_led_to(struct copy *copy, struct id128 from, const char *key)
{
	const struct mailbox_record *mailbox = copy_mailbox(copy, from);

	while (!mailbox_is_live(mailbox))
		mailbox = copy_mailbox(copy, mailbox->forward);
	return is_set(copy, RECORD_ANNOTATION, mailbox->id, key);
}

/*
 * a and c have one "Work", and set each something of it. On a it is united with the "Work" of b, on
 * c with that of d, which gets another name. When a and c meet, it leads to one of the two, and
 * what was said of it on the other copy is to be there too.
 */
static void unite_in_two_ways(struct three *three, struct id128 *work_r)
{
	struct common cd = { 0 };
	struct copy d;

	*work_r = copy_create(&three->a, "Work");
	copy_exchange(&three->a, &three->c, &three->ac);
	copy_set_register(&three->a, RECORD_ANNOTATION, *work_r, "s/color", "red");
	copy_set_register(&three->c, RECORD_ANNOTATION, *work_r, "s/comment", "mine");
	copy_init(&d, 4);
	copy_append(&three->b, inbox_id);
	copy_create(&three->b, "Work");
	copy_append(&d, inbox_id);
	copy_create(&d, "Work");
	copy_exchange(&three->a, &three->b, &three->ab);
	copy_exchange(&three->c, &d, &cd);
	copy_rename(&three->c, copy_live_mailbox(&three->c, "Work")->id, "Other");
	assert_true(is_led_to(&three->a, *work_r, "s/color"));
	assert_true(is_led_to(&three->c, *work_r, "s/comment"));
	copy_deinit(&d);
}

static void all_are_led(struct three *three, struct id128 work, const char *key)
{
	assert_true(is_led_to(&three->a, work, key));
	assert_true(is_led_to(&three->b, work, key));
	assert_true(is_led_to(&three->c, work, key));
}

static void a_mailbox_united_with_two_loses_nothing_where_the_one_merges(void **state)
{
	struct three *three = *state;
	struct id128 work;

	unite_in_two_ways(three, &work);
	bring_together(three);
	all_are_led(three, work, "s/color");
	all_are_led(three, work, "s/comment");
}

static void a_mailbox_united_with_two_loses_nothing_where_the_other_merges(void **state)
{
	struct three *three = *state;
	struct common ca = { three->ac.theirs, three->ac.mine };
	struct id128 work;

	unite_in_two_ways(three, &work);
	copy_exchange(&three->c, &three->a, &ca);
	copy_exchange(&three->a, &three->b, &three->ab);
	all_are_led(three, work, "s/color");
	all_are_led(three, work, "s/comment");
}

/* Set on b after a deleted the mailbox. */
static void metadata_and_rights_of_a_mailbox_deleted_elsewhere_are_cleared(void **state)
{
	struct three *three = *state;
	struct id128 work = copy_create(&three->a, "Work");

	bring_together(three);
	copy_delete(&three->a, work);
	for (int i = 0; i < 5; i++)
		copy_append(&three->b, inbox_id);
	copy_set_register(&three->b, RECORD_ANNOTATION, work, "s/comment", "late");
	copy_set_register(&three->b, RECORD_ACL, work, "bob", "lr");
	bring_together(three);
	all_lack(three, RECORD_ANNOTATION, work, "s/comment");
	all_lack(three, RECORD_ACL, work, "bob");
}

static void a_mailbox_made_anew_has_neither_metadata_nor_rights(void **state)
{
	struct three *three = *state;
	struct id128 work = copy_create(&three->a, "Work");
	const struct mailbox_record *revived;

	bring_together(three);
	copy_delete(&three->a, work);
	copy_append(&three->b, work);
	copy_set_register(&three->b, RECORD_ANNOTATION, work, "s/comment", "late");
	copy_set_register(&three->b, RECORD_ACL, work, "bob", "lr");
	bring_together(three);
	revived = copy_live_mailbox(&three->c, "Work");
	assert_non_null(revived);
	all_lack(three, RECORD_ANNOTATION, revived->id, "s/comment");
	all_lack(three, RECORD_ANNOTATION, work, "s/comment");
	all_lack(three, RECORD_ACL, revived->id, "bob");
	all_lack(three, RECORD_ACL, work, "bob");
}

static const struct register_record *annotation_of(struct copy *copy, struct stamp instance)
{
	struct stamp other;

	for (size_t i = 0; i < copy->register_count; i++)
		if (annotation_instance(&copy->registers[i], &other) &&
			stamp_compare(other, instance) == 0)
			return &copy->registers[i];
	return NULL;
}

static void annotations_of_a_message_expunged_elsewhere_are_cleared(void **state)
{
	struct three *three = *state;
	struct stamp gone = copy_append(&three->a, inbox_id);
	struct stamp kept = copy_append(&three->a, inbox_id);

	bring_together(three);
	copy_expunge(&three->a, gone);
	copy_annotate(&three->b, gone, "late");
	copy_annotate(&three->b, kept, "stays");
	bring_together(three);
	assert_false(annotation_of(&three->b, gone)->is_set);
	assert_true(annotation_of(&three->c, kept)->is_set);
	assert_int_equal(annotation_message_size(annotation_of(&three->a, gone)), 0);
}

/* The one that merges has the annotation, and the other the expunge. */
static void annotations_of_a_message_expunged_there_are_cleared_here(void **state)
{
	struct three *three = *state;
	struct stamp gone = copy_append(&three->a, inbox_id);

	bring_together(three);
	copy_annotate(&three->a, gone, "common");
	bring_together(three);
	copy_append(&three->a, inbox_id);
	copy_expunge(&three->b, gone); /* the annotations are not among the changes */
	bring_together(three);
	assert_false(annotation_of(&three->a, gone)->is_set);
	assert_false(annotation_of(&three->c, gone)->is_set);
}

static void what_is_said_of_others_accounts_and_of_the_server_stays(void **state)
{
	struct three *three = *state;
	struct id128 foreign = { { 0x11 } };

	copy_append(&three->a, inbox_id);
	copy_set_register(&three->b, RECORD_ANNOTATION, foreign, "p/comment", "mine");
	copy_set_register(&three->b, RECORD_ANNOTATION, none, "p/comment", "server");
	bring_together(three);
	all_have(three, RECORD_ANNOTATION, foreign, "p/comment", "mine");
	all_have(three, RECORD_ANNOTATION, none, "p/comment", "server");
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(metadata_and_rights_of_a_united_mailbox_go_to_the_one_that_stays),
		ROW(what_a_third_copy_sets_on_a_united_mailbox_still_counts),
		ROW(a_mailbox_united_with_two_loses_nothing_where_the_one_merges),
		ROW(a_mailbox_united_with_two_loses_nothing_where_the_other_merges),
		ROW(metadata_and_rights_of_a_mailbox_deleted_elsewhere_are_cleared),
		ROW(a_mailbox_made_anew_has_neither_metadata_nor_rights),
		ROW(annotations_of_a_message_expunged_elsewhere_are_cleared),
		ROW(annotations_of_a_message_expunged_there_are_cleared_here),
		ROW(what_is_said_of_others_accounts_and_of_the_server_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
