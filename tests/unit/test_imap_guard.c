/* How guessing of one account's password is slowed. */
#include "imap/imap_guard.h"

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ANNA BYTES_LITERAL("anna")

static int set_up(void **state)
{
	*state = imap_guard_new();
	return 0;
}

static int tear_down(void **state)
{
	struct imap_guard *guard = *state;

	imap_guard_free(&guard);
	return 0;
}

static void failures(struct imap_guard *guard, unsigned count, uint64_t now_ms)
{
	for (unsigned i = 0; i < count; i++)
		imap_guard_failed(guard, ANNA, now_ms);
}

static unsigned wait_of(struct imap_guard *guard, const char *address, uint64_t now_ms)
{
	unsigned wait_ms;

	assert_int_equal(imap_guard_wait(guard, ANNA, address, now_ms, &wait_ms), 0);
	return wait_ms;
}

static void a_few_mistakes_cost_nothing(void **state)
{
	failures(*state, GUARD_FREE_COUNT - 1, 1000);
	assert_int_equal(wait_of(*state, "192.0.2.1", 1000), 0);
}

static void tries_from_whatever_addresses_stand_in_one_queue(void **state)
{
	failures(*state, GUARD_FREE_COUNT, 1000);
	assert_int_equal(wait_of(*state, "192.0.2.1", 1000), GUARD_SLOT_MIN_MS);
	assert_int_equal(wait_of(*state, "192.0.2.2", 1000), 2 * GUARD_SLOT_MIN_MS);
	assert_int_equal(wait_of(*state, "192.0.2.3", 1100), 3 * GUARD_SLOT_MIN_MS - 100);
	/* Later the slots have passed. */
	assert_int_equal(wait_of(*state, "192.0.2.4", 60000), GUARD_SLOT_MIN_MS);
}

static void the_slots_grow_to_a_limit_and_so_does_the_queue(void **state)
{
	unsigned wait_ms = 0, count = 0;

	failures(*state, 1000, 1000);
	assert_int_equal(wait_of(*state, "192.0.2.1", 1000), GUARD_SLOT_MAX_MS);
	while (imap_guard_wait(*state, ANNA, "192.0.2.1", 1000, &wait_ms) == 0)
		count++;
	assert_int_equal(count, GUARD_QUEUE_MS / GUARD_SLOT_MAX_MS - 1);
	assert_int_equal(
		imap_guard_wait(*state, ANNA, "192.0.2.9", 1000, &wait_ms), ERR_UNAVAILABLE);
	/* A place in the queue is free again when its time has come. */
	assert_int_equal(wait_of(*state, "192.0.2.9", 1000 + GUARD_SLOT_MAX_MS), GUARD_QUEUE_MS);
}

static void who_has_logged_in_from_there_before_does_not_wait(void **state)
{
	unsigned wait_ms;

	imap_guard_passed(*state, BYTES_LITERAL("Anna"), "192.0.2.7");
	failures(*state, 1000, 1000);
	assert_int_equal(wait_of(*state, "192.0.2.7", 1000), 0);
	assert_int_not_equal(wait_of(*state, "192.0.2.8", 1000), 0);
	assert_int_equal(
		imap_guard_wait(*state, BYTES_LITERAL("bert"), "192.0.2.8", 1000, &wait_ms), 0);
	assert_int_equal(wait_ms, 0);
}

static void failures_are_forgotten_with_time(void **state)
{
	failures(*state, GUARD_FREE_COUNT, 1000);
	assert_int_equal(wait_of(*state, "192.0.2.1", 1000 + GUARD_HALF_LIFE_MS), 0);
	failures(*state, 1000, 1000 + GUARD_HALF_LIFE_MS);
	assert_int_not_equal(wait_of(*state, "192.0.2.1", 1000 + 2 * GUARD_HALF_LIFE_MS), 0);
	assert_int_equal(wait_of(*state, "192.0.2.1", 1000 + 20 * GUARD_HALF_LIFE_MS), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_few_mistakes_cost_nothing),
		TEST(tries_from_whatever_addresses_stand_in_one_queue),
		TEST(the_slots_grow_to_a_limit_and_so_does_the_queue),
		TEST(who_has_logged_in_from_there_before_does_not_wait),
		TEST(failures_are_forgotten_with_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
