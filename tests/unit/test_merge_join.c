/*
 * The joins of single records have the properties that convergence rests on (P6, P8): they are
 * commutative, associative and idempotent, and keep of every register the later stamp (P7). Shown
 * on random versions of one record that differ in few values, so that ties are frequent. The seed
 * is printed; to repeat a run, give it as the first argument.
 */
#include "sync/merge.h"

#include "base/mem.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROUNDS 30000

static uint64_t seed;

static struct stamp random_stamp(struct random *random)
{
	return (struct stamp){ random_below(random, 4), 1 + random_below(random, 2) };
}

static struct id128 random_id(struct random *random)
{
	struct id128 id = { { 0 } };

	id.bytes[0] = (unsigned char)random_below(random, 3);
	return id;
}

static struct bytes random_text(struct random *random)
{
	static const char *const texts[] = { "", "Archive", "Work", "Work/2026" };

	return bytes_of_string(texts[random_below(random, 4)]);
}

static struct message_record random_message(struct random *random, struct arena *arena)
{
	static const char *const names[] = { "$Junk", "\\Answered", "\\Flagged", "\\Seen" };
	struct message_record message = { .instance = { 1, 1 } };

	message.placed = random_stamp(random);
	message.placed_in = random_id(random);
	message.mailbox = random_id(random);
	message.uid = (uint32_t)random_below(random, 3);
	message.savedate_ms = random_below(random, 2);
	message.modseq = random_below(random, 4);
	message.flags = arena_alloc(arena, 4 * sizeof(*message.flags));
	for (size_t i = 0; i < 4; i++)
		if (random_below(random, 3) > 0)
			message.flags[message.flag_count++] =
				(struct flag_state){ bytes_of_string(names[i]),
					random_stamp(random), random_below(random, 2) == 1 };
	return message;
}

static struct mailbox_record random_mailbox(struct random *random)
{
	struct mailbox_record mailbox = { .name_stamp = random_stamp(random) };

	mailbox.name = random_text(random);
	mailbox.special_use_stamp = random_stamp(random);
	mailbox.special_use = random_text(random);
	mailbox.uidvalidity = (uint32_t)random_below(random, 3);
	mailbox.uidnext = (uint32_t)random_below(random, 3);
	if (random_below(random, 2) == 1) {
		mailbox.deleted = random_stamp(random);
		mailbox.forward = random_id(random);
	}
	mailbox.modseq = random_below(random, 4);
	return mailbox;
}

static struct register_record random_register(struct random *random, enum record_kind kind)
{
	return (struct register_record){ .kind = kind,
		.stamp = random_stamp(random),
		.is_set = random_below(random, 2) == 1,
		.value = random_text(random),
		.modseq = random_below(random, 4) };
}

static struct message_record join_messages(
	struct arena *arena, const struct message_record *a, const struct message_record *b)
{
	struct message_record joined;

	assert_int_equal(merge_message(a, b, arena, &joined), 0);
	return joined;
}

static bool same_message(const struct message_record *a, const struct message_record *b)
{
	return message_same(a, b) && a->modseq == b->modseq && a->savedate_ms == b->savedate_ms;
}

static void joining_messages_does_not_depend_on_order_grouping_or_repetition_P6_P8(void **unused)
{
	struct random random = { seed };
	struct arena *arena = arena_new();

	(void)unused;
	for (int i = 0; i < ROUNDS; i++, arena_reset(arena)) {
		struct message_record a = random_message(&random, arena);
		struct message_record b = random_message(&random, arena);
		struct message_record c = random_message(&random, arena);
		struct message_record ab = join_messages(arena, &a, &b);
		struct message_record ba = join_messages(arena, &b, &a);
		struct message_record bc = join_messages(arena, &b, &c);
		struct message_record ab_c = join_messages(arena, &ab, &c);
		struct message_record a_bc = join_messages(arena, &a, &bc);
		struct message_record ab_a = join_messages(arena, &ab, &a);
		struct message_record aa = join_messages(arena, &a, &a);

		assert_true(same_message(&ab, &ba));
		assert_true(same_message(&ab_c, &a_bc));
		assert_true(same_message(&ab_a, &ab));
		assert_true(same_message(&aa, &a));
	}
	arena_free(&arena);
}

static void joining_mailboxes_does_not_depend_on_order_grouping_or_repetition_P6_P8(void **unused)
{
	struct random random = { seed };

	(void)unused;
	for (int i = 0; i < ROUNDS; i++) {
		struct mailbox_record a = random_mailbox(&random), b = random_mailbox(&random);
		struct mailbox_record c = random_mailbox(&random), ab, ba, bc, ab_c, a_bc, ab_a;

		merge_mailbox(&a, &b, &ab);
		merge_mailbox(&b, &a, &ba);
		merge_mailbox(&b, &c, &bc);
		merge_mailbox(&ab, &c, &ab_c);
		merge_mailbox(&a, &bc, &a_bc);
		merge_mailbox(&ab, &a, &ab_a);
		assert_true(mailbox_same(&ab, &ba) && ab.uidnext == ba.uidnext &&
			    ab.modseq == ba.modseq);
		assert_true(mailbox_same(&ab_c, &a_bc) && ab_c.uidnext == a_bc.uidnext);
		assert_true(mailbox_same(&ab_a, &ab) && ab_a.uidnext == ab.uidnext);
	}
}

static void joining_registers_does_not_depend_on_order_grouping_or_repetition_P6_P8(void **unused)
{
	struct random random = { seed };

	(void)unused;
	for (int i = 0; i < ROUNDS; i++) {
		enum record_kind kind = i % 2 == 0 ? RECORD_ACL : RECORD_ANNOTATION;
		struct register_record a = random_register(&random, kind);
		struct register_record b = random_register(&random, kind);
		struct register_record c = random_register(&random, kind);
		struct register_record ab, ba, bc, ab_c, a_bc, ab_a;

		merge_register(&a, &b, &ab);
		merge_register(&b, &a, &ba);
		merge_register(&b, &c, &bc);
		merge_register(&ab, &c, &ab_c);
		merge_register(&a, &bc, &a_bc);
		merge_register(&ab, &a, &ab_a);
		assert_true(register_same(&ab, &ba) && ab.modseq == ba.modseq);
		assert_true(register_same(&ab_c, &a_bc) && ab_c.modseq == a_bc.modseq);
		assert_true(register_same(&ab_a, &ab));
	}
}

static void no_flag_of_a_joined_message_is_older_than_either_side_has_it_P7(void **unused)
{
	struct random random = { seed };
	struct arena *arena = arena_new();

	(void)unused;
	for (int i = 0; i < ROUNDS; i++, arena_reset(arena)) {
		struct message_record sides[2] = { random_message(&random, arena),
			random_message(&random, arena) };
		struct message_record joined = join_messages(arena, &sides[0], &sides[1]);

		for (size_t at = 0; at < 2 * sides[0].flag_count + sides[1].flag_count; at++) {
			struct message_record *side = &sides[at % 2];
			const struct flag_state *flag, *result;

			if (at / 2 >= side->flag_count)
				continue;
			flag = &side->flags[at / 2];
			result = message_flag(&joined, flag->name);
			assert_non_null(result);
			assert_true(stamp_compare(result->stamp, flag->stamp) >= 0);
		}
		for (size_t at = 1; at < joined.flag_count; at++)
			assert_true(bytes_compare(
					    joined.flags[at - 1].name, joined.flags[at].name) < 0);
	}
	arena_free(&arena);
}

static void a_flag_set_here_and_another_set_there_both_stay_P7(void **unused)
{
	struct flag_state seen = { BYTES_LITERAL("\\Seen"), { 10, 1 }, true };
	struct flag_state answered = { BYTES_LITERAL("\\Answered"), { 11, 2 }, true };
	struct message_record a = { .instance = { 1, 1 }, .flags = &seen, .flag_count = 1 };
	struct message_record b = { .instance = { 1, 1 }, .flags = &answered, .flag_count = 1 };
	struct arena *arena = arena_new();
	struct message_record joined = join_messages(arena, &a, &b);

	(void)unused;
	assert_true(message_has_flag(&joined, BYTES_LITERAL("\\Seen")));
	assert_true(message_has_flag(&joined, BYTES_LITERAL("\\Answered")));
	arena_free(&arena);
}

/* 300 keywords set here and 300 others there are more than a record may have. */
static void flags_over_the_bound_drop_the_ones_changed_first_in_any_grouping(void **unused)
{
	struct arena *arena = arena_new();
	struct message_record parts[3], left, right;

	(void)unused;
	for (unsigned part = 0; part < 3; part++) {
		struct flag_state *flags = arena_alloc(arena, 200 * sizeof(*flags));

		for (unsigned i = 0; i < 200; i++)
			flags[i] = (struct flag_state){ bytes_of_string(arena_printf(
								arena, "k%03u", part * 100 + i)),
				{ 1 + (i * 7 + part * 13) % 50, part + 1 }, true };
		parts[part] = (struct message_record){
			.instance = { 1, 1 }, .flags = flags, .flag_count = 200
		};
	}
	left = join_messages(arena, &parts[0], &parts[1]);
	left = join_messages(arena, &left, &parts[2]);
	right = join_messages(arena, &parts[1], &parts[2]);
	right = join_messages(arena, &parts[0], &right);
	assert_int_equal(left.flag_count, MESSAGE_FLAG_COUNT_MAX);
	assert_true(message_same(&left, &right));
	arena_free(&arena);
}

static void one_instance_with_two_contents_is_not_joined(void **unused)
{
	struct message_record a = { .instance = { 1, 1 } }, b = a, joined;
	struct arena *arena = arena_new();

	(void)unused;
	b.guid.bytes[31] = 1;
	assert_int_equal(merge_message(&a, &b, arena, &joined), ERR_ILLEGAL);
	arena_free(&arena);
}

static void equal_stamps_of_an_acl_are_decided_towards_fewer_rights(void **unused)
{
	struct register_record more = { .kind = RECORD_ACL,
		.stamp = { 5, 1 },
		.is_set = true,
		.value = BYTES_LITERAL("lrswi") };
	struct register_record fewer = more, joined;

	(void)unused;
	fewer.value = BYTES_LITERAL("lr");
	merge_register(&more, &fewer, &joined);
	assert_true(bytes_equal_string(joined.value, "lr"));
	fewer.is_set = false;
	merge_register(&more, &fewer, &joined);
	assert_false(joined.is_set);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			joining_messages_does_not_depend_on_order_grouping_or_repetition_P6_P8),
		cmocka_unit_test(
			joining_mailboxes_does_not_depend_on_order_grouping_or_repetition_P6_P8),
		cmocka_unit_test(
			joining_registers_does_not_depend_on_order_grouping_or_repetition_P6_P8),
		cmocka_unit_test(no_flag_of_a_joined_message_is_older_than_either_side_has_it_P7),
		cmocka_unit_test(a_flag_set_here_and_another_set_there_both_stay_P7),
		cmocka_unit_test(flags_over_the_bound_drop_the_ones_changed_first_in_any_grouping),
		cmocka_unit_test(one_instance_with_two_contents_is_not_joined),
		cmocka_unit_test(equal_stamps_of_an_acl_are_decided_towards_fewer_rights),
	};

	random_bytes(&seed, sizeof(seed));
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	printf("seed %llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
