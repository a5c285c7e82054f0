/*
 * Legality (P5): what may not take the place of a record, whoever sends it. Each row changes one
 * thing of a record that is legal.
 */
#include "sync/merge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define LIMIT ((uint64_t)1000)

static const struct id128 inbox = { { 1 } }, archive = { { 2 } }, none = { { 0 } };

static struct flag_state flags[2] = {
	{ BYTES_LITERAL("\\Flagged"), { 30, 2 }, true },
	{ BYTES_LITERAL("\\Seen"), { 20, 1 }, true },
};

static struct message_record legal_message(void)
{
	return (struct message_record){ .instance = { 10, 1 },
		.placed = { 15, 1 },
		.placed_in = inbox,
		.mailbox = inbox,
		.uid = 7,
		.flags = flags,
		.flag_count = 2,
		.modseq = 40 };
}

static void refused(const struct message_record *mine, const struct message_record *theirs)
{
	struct error error = { 0 };

	assert_int_equal(merge_check_message(mine, theirs, LIMIT, &error), ERR_ILLEGAL);
	assert_int_equal(error.code, ERR_ILLEGAL);
	assert_true(error.text[0] != '\0');
}

static void a_record_may_follow_itself_and_be_new(void **unused)
{
	struct message_record message = legal_message();

	(void)unused;
	assert_int_equal(merge_check_message(NULL, &message, LIMIT, NULL), 0);
	assert_int_equal(merge_check_message(&message, &message, LIMIT, NULL), 0);
	assert_true(merge_message_follows(&message, &message));
}

static void later_acts_on_a_message_are_legal(void **unused)
{
	struct message_record mine = legal_message(), theirs = mine;
	struct flag_state changed[2] = { flags[0], { flags[1].name, { 50, 2 }, false } };

	(void)unused;
	theirs.modseq = 60;
	theirs.flags = changed;
	theirs.placed = (struct stamp){ 60, 2 };
	theirs.placed_in = theirs.mailbox = archive;
	theirs.uid = 1;
	assert_int_equal(merge_check_message(&mine, &theirs, LIMIT, NULL), 0);
	theirs.placed_in = theirs.mailbox = none;
	theirs.uid = 0;
	assert_int_equal(merge_check_message(&mine, &theirs, LIMIT, NULL), 0);
}

static void a_message_does_not_go_back_P5(void **unused)
{
	struct message_record mine = legal_message(), theirs = mine;
	struct flag_state earlier[2] = { flags[0], { flags[1].name, { 19, 1 }, true } };

	(void)unused;
	theirs.modseq = 39;
	refused(&mine, &theirs);
	theirs = mine;
	theirs.placed = (struct stamp){ 14, 1 };
	refused(&mine, &theirs);
	theirs = mine;
	theirs.placed_in = theirs.mailbox = archive; /* one act, two places */
	refused(&mine, &theirs);
	theirs = mine;
	theirs.uid = 6;
	refused(&mine, &theirs);
	theirs = mine;
	theirs.flag_count = 1; /* a flag forgotten */
	refused(&mine, &theirs);
	theirs = mine;
	theirs.flags = earlier;
	refused(&mine, &theirs);
	assert_false(merge_message_follows(&mine, &theirs));
}

static void what_was_expunged_returns_by_a_later_placement_only_P5(void **unused)
{
	struct message_record mine = legal_message(), theirs = mine;

	(void)unused;
	mine.placed = (struct stamp){ 45, 2 };
	mine.placed_in = mine.mailbox = none;
	mine.uid = 0;
	refused(&mine, &theirs);
	theirs.placed = (struct stamp){ 50, 1 };
	theirs.modseq = 50;
	assert_int_equal(merge_check_message(&mine, &theirs, LIMIT, NULL), 0);
}

static void one_instance_with_two_contents_is_refused(void **unused)
{
	struct message_record mine = legal_message(), theirs = mine;

	(void)unused;
	theirs.guid.bytes[0] = 1;
	refused(&mine, &theirs);
	theirs = mine;
	theirs.size = 1;
	refused(&mine, &theirs);
	theirs = mine;
	theirs.internaldate = 1;
	refused(&mine, &theirs);
}

static void modseqs_and_stamps_too_far_in_the_future_are_refused(void **unused)
{
	struct message_record theirs = legal_message();
	struct flag_state future = { BYTES_LITERAL("\\Seen"), { LIMIT + 1, 1 }, true };

	(void)unused;
	theirs.modseq = LIMIT + 1;
	refused(NULL, &theirs);
	theirs = legal_message();
	theirs.placed.modseq = LIMIT + 1;
	refused(NULL, &theirs);
	theirs = legal_message();
	theirs.flags = &future;
	theirs.flag_count = 1;
	refused(NULL, &theirs);
	theirs = legal_message();
	theirs.instance = theirs.placed = (struct stamp){ LIMIT + 1, 1 };
	refused(NULL, &theirs);
}

static void messages_of_bad_form_are_refused(void **unused)
{
	struct message_record theirs = legal_message();
	struct flag_state unsorted[2] = { flags[1], flags[0] }, twice[2] = { flags[0], flags[0] };
	struct flag_state blank = { BYTES_LITERAL("two words"), { 1, 1 }, true };

	(void)unused;
	theirs.instance = (struct stamp){ 0, 0 };
	refused(NULL, &theirs);
	theirs = legal_message();
	theirs.placed = (struct stamp){ 0, 0 }; /* never */
	refused(NULL, &theirs);
	theirs = legal_message();
	theirs.uid = 0; /* placed and not shown */
	refused(NULL, &theirs);
	theirs = legal_message();
	theirs.placed_in = none; /* shown and not placed */
	refused(NULL, &theirs);
	theirs = legal_message();
	theirs.flags = unsorted;
	refused(NULL, &theirs);
	theirs.flags = twice;
	refused(NULL, &theirs);
	theirs.flags = &blank;
	theirs.flag_count = 1;
	refused(NULL, &theirs);
}

static struct mailbox_record legal_mailbox(void)
{
	return (struct mailbox_record){ .id = archive,
		.name_stamp = { 20, 1 },
		.name = BYTES_LITERAL("Archive"),
		.uidvalidity = 5,
		.uidnext = 9,
		.modseq = 30 };
}

static void mailbox_refused(const struct mailbox_record *mine, const struct mailbox_record *theirs)
{
	struct error error = { 0 };

	assert_int_equal(merge_check_mailbox(mine, theirs, LIMIT, &error), ERR_ILLEGAL);
	assert_true(error.text[0] != '\0');
}

static void a_mailbox_does_not_go_back_P5(void **unused)
{
	struct mailbox_record mine = legal_mailbox(), theirs = mine;

	(void)unused;
	assert_int_equal(merge_check_mailbox(&mine, &theirs, LIMIT, NULL), 0);
	theirs.uidvalidity = 4;
	mailbox_refused(&mine, &theirs);
	assert_false(merge_mailbox_follows(&mine, &theirs));
	theirs = mine;
	theirs.uidnext = 8;
	mailbox_refused(&mine, &theirs);
	theirs = mine;
	theirs.modseq = 29;
	mailbox_refused(&mine, &theirs);
	theirs = mine;
	theirs.name_stamp.modseq = 19;
	mailbox_refused(&mine, &theirs);
	theirs = mine;
	mine.deleted = (struct stamp){ 25, 1 };
	mailbox_refused(&mine, &theirs);
}

static void mailboxes_of_bad_form_are_refused(void **unused)
{
	struct mailbox_record theirs = legal_mailbox();

	(void)unused;
	theirs.id = none;
	mailbox_refused(NULL, &theirs);
	theirs = legal_mailbox();
	theirs.uidvalidity = 0;
	mailbox_refused(NULL, &theirs);
	theirs = legal_mailbox();
	theirs.forward = inbox; /* and not deleted */
	mailbox_refused(NULL, &theirs);
	theirs.deleted = (struct stamp){ 30, 1 };
	assert_int_equal(merge_check_mailbox(NULL, &theirs, LIMIT, NULL), 0);
	theirs.forward = theirs.id;
	mailbox_refused(NULL, &theirs);
	theirs = legal_mailbox();
	theirs.name = BYTES_LITERAL("");
	mailbox_refused(NULL, &theirs);
	theirs.name = BYTES_LITERAL("a//b");
	mailbox_refused(NULL, &theirs);
	theirs.name = BYTES_LITERAL("\xff");
	mailbox_refused(NULL, &theirs);
	theirs = legal_mailbox();
	theirs.deleted.modseq = LIMIT + 1;
	mailbox_refused(NULL, &theirs);
}

static void inbox_can_be_neither_renamed_nor_deleted(void **unused)
{
	struct mailbox_record mine = legal_mailbox(), theirs;

	(void)unused;
	mine.name_stamp = (struct stamp){ 0, 0 };
	mine.name = BYTES_LITERAL("INBOX");
	theirs = mine;
	assert_int_equal(merge_check_mailbox(&mine, &theirs, LIMIT, NULL), 0);
	theirs.name_stamp = (struct stamp){ 30, 2 };
	theirs.name = BYTES_LITERAL("Elsewhere");
	mailbox_refused(&mine, &theirs);
	theirs = mine;
	theirs.deleted = (struct stamp){ 30, 2 };
	mailbox_refused(&mine, &theirs);
}

static void registers_do_not_go_back_and_are_bounded_P5(void **unused)
{
	struct register_record mine = { .kind = RECORD_ANNOTATION,
		.mailbox = inbox,
		.key = BYTES_LITERAL("/comment"),
		.stamp = { 20, 1 },
		.is_set = true,
		.modseq = 30 };
	struct register_record theirs = mine;
	static unsigned char large[REGISTER_VALUE_SIZE_MAX + 1];

	(void)unused;
	assert_int_equal(merge_check_register(&mine, &theirs, LIMIT, NULL), 0);
	theirs.stamp.modseq = 19;
	assert_int_equal(merge_check_register(&mine, &theirs, LIMIT, NULL), ERR_ILLEGAL);
	assert_false(merge_register_follows(&mine, &theirs));
	theirs = mine;
	theirs.modseq = 29;
	assert_int_equal(merge_check_register(&mine, &theirs, LIMIT, NULL), ERR_ILLEGAL);
	theirs.modseq = LIMIT + 1;
	assert_int_equal(merge_check_register(&mine, &theirs, LIMIT, NULL), ERR_ILLEGAL);
	theirs = mine;
	theirs.value = bytes_of(large, sizeof(large));
	assert_int_equal(merge_check_register(&mine, &theirs, LIMIT, NULL), ERR_ILLEGAL);
	theirs = mine;
	theirs.kind = RECORD_MESSAGE;
	assert_int_equal(merge_check_register(NULL, &theirs, LIMIT, NULL), ERR_ILLEGAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_may_follow_itself_and_be_new),
		cmocka_unit_test(later_acts_on_a_message_are_legal),
		cmocka_unit_test(a_message_does_not_go_back_P5),
		cmocka_unit_test(what_was_expunged_returns_by_a_later_placement_only_P5),
		cmocka_unit_test(one_instance_with_two_contents_is_refused),
		cmocka_unit_test(modseqs_and_stamps_too_far_in_the_future_are_refused),
		cmocka_unit_test(messages_of_bad_form_are_refused),
		cmocka_unit_test(a_mailbox_does_not_go_back_P5),
		cmocka_unit_test(mailboxes_of_bad_form_are_refused),
		cmocka_unit_test(inbox_can_be_neither_renamed_nor_deleted),
		cmocka_unit_test(registers_do_not_go_back_and_are_bounded_P5),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
