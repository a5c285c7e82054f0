/* What watches are told, on a store in memory, where commits are visible at once. */
#include "mail/watch.h"

#include "base/error.h"
#include "mail/acl.h"
#include "mail/mail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
	struct store *store;
	struct mail *mail;
	uint32_t alice, bob;
	struct id128 room;
	struct arena *arena;
	int woken;
};

static void wake(void *context)
{
	++*(int *)context;
}

static int set_up(void **state)
{
	static struct fixture fixture;
	uint64_t position;

	fixture = (struct fixture){ .arena = arena_new() };
	assert_int_equal(store_open_memory(&fixture.store), 0);
	assert_int_equal(mail_open(fixture.store, clock_system(), &fixture.mail), 0);
	assert_int_equal(
		mail_account_open(fixture.mail, BYTES_LITERAL("alice"), true, NULL, &fixture.alice),
		0);
	assert_int_equal(
		mail_account_open(fixture.mail, BYTES_LITERAL("bob"), true, NULL, &fixture.bob), 0);
	assert_int_equal(mailbox_create(fixture.mail, fixture.alice, BYTES_LITERAL("room"),
				 bytes_of(NULL, 0), NULL, &fixture.room, &position),
		0);
	*state = &fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	arena_free(&fixture->arena);
	mail_close(&fixture->mail);
	store_close(&fixture->store);
	return 0;
}

static void append(struct fixture *fixture, uint32_t account, struct id128 mailbox)
{
	struct append_message message = { 0 };
	struct mail_body *body;
	uint32_t uidvalidity, uid;
	uint64_t position;

	assert_int_equal(
		mail_body_prepare(fixture->mail, BYTES_LITERAL("Subject: x\r\n\r\ny"), &body), 0);
	message.body = body;
	assert_int_equal(mailbox_append(fixture->mail, account, mailbox, &message, 1, NULL,
				 &uidvalidity, &uid, &position),
		0);
	mail_body_free(&body);
}

static void rename_to(struct fixture *fixture, const char *from, const char *to)
{
	uint64_t position;

	assert_int_equal(mailbox_rename(fixture->mail, fixture->alice, bytes_of_string(from),
				 bytes_of_string(to), NULL, &position),
		0);
}

static void one_look_is_one_wake_whatever_happened_before_it(void **state)
{
	struct fixture *fixture = *state;
	struct watch_set *set = watch_set_new(fixture->mail, wake, &fixture->woken);
	struct watch *watch = watch_add(set, fixture->alice, WATCH_MAILBOX, fixture->room);
	struct watch_news news;

	append(fixture, fixture->alice, fixture->room);
	append(fixture, fixture->alice, fixture->room);
	assert_int_equal(fixture->woken, 1);
	assert_ptr_equal(watch_next(set, fixture->arena, NULL, &news), watch);
	append(fixture, fixture->alice, fixture->room);
	assert_int_equal(fixture->woken, 1); /* it is still looking */
	assert_ptr_equal(watch_next(set, fixture->arena, NULL, &news), watch);
	assert_null(watch_next(set, fixture->arena, NULL, &news));
	append(fixture, fixture->alice, fixture->room);
	assert_int_equal(fixture->woken, 2);
	watch_set_free(&set);
	append(fixture, fixture->alice, fixture->room);
	assert_int_equal(fixture->woken, 2);
}

static void other_mailboxes_and_accounts_wake_nobody(void **state)
{
	struct fixture *fixture = *state;
	struct watch_set *set = watch_set_new(fixture->mail, wake, &fixture->woken);
	struct id128 inbox = id128_derive("chapar inbox", BYTES_LITERAL("alice"));

	watch_add(set, fixture->alice, WATCH_MAILBOX, fixture->room);
	append(fixture, fixture->alice, inbox);
	append(fixture, fixture->bob, id128_derive("chapar inbox", BYTES_LITERAL("bob")));
	assert_int_equal(fixture->woken, 0);
	watch_add(set, fixture->bob, WATCH_ANY, fixture->room);
	append(fixture, fixture->alice, inbox);
	assert_int_equal(fixture->woken, 0);
	append(fixture, fixture->bob, id128_derive("chapar inbox", BYTES_LITERAL("bob")));
	assert_int_equal(fixture->woken, 1);
	watch_set_free(&set);
}

/* What was before the first of several changes is what one must know to tell the last. */
static void events_of_one_mailbox_are_united(void **state)
{
	struct fixture *fixture = *state;
	struct watch_set *set = watch_set_new(fixture->mail, wake, &fixture->woken);
	struct watch *watch = watch_add(set, fixture->alice, WATCH_EVENTS, (struct id128){ { 0 } });
	struct watch_news news;

	rename_to(fixture, "room", "hall");
	append(fixture, fixture->alice, fixture->room);
	rename_to(fixture, "hall", "attic");
	assert_ptr_equal(watch_next(set, fixture->arena, NULL, &news), watch);
	assert_int_equal(news.count, 1);
	assert_true(news.events[0].was_there);
	assert_true(bytes_equal_string(news.events[0].name, "room"));
	assert_int_equal(news.events[0].changes, WATCH_NAME | WATCH_MESSAGE_NEW);
	assert_false(news.is_overflow);
	watch_set_free(&set);
}

static void more_than_is_kept_is_an_overflow(void **state)
{
	struct fixture *fixture = *state;
	struct watch_set *set = watch_set_new(fixture->mail, wake, &fixture->woken);
	struct watch_news news;
	uint64_t position;
	char name[32];

	watch_add(set, fixture->alice, WATCH_EVENTS, (struct id128){ { 0 } });
	for (int i = 0; i <= WATCH_EVENT_COUNT_MAX; i++) {
		snprintf(name, sizeof(name), "list %d", i);
		assert_int_equal(mailbox_subscribe(fixture->mail, fixture->alice,
					 bytes_of_string(name), true, NULL, &position),
			0);
		if (i == WATCH_EVENT_COUNT_MAX - 1) {
			assert_non_null(watch_next(set, fixture->arena, NULL, &news));
			assert_int_equal(news.count, WATCH_EVENT_COUNT_MAX);
			assert_false(news.is_overflow);
			for (int j = 0; j < WATCH_EVENT_COUNT_MAX; j++) {
				snprintf(name, sizeof(name), "list %d", j);
				assert_int_equal(
					mailbox_subscribe(fixture->mail, fixture->alice,
						bytes_of_string(name), false, NULL, &position),
					0);
			}
		}
	}
	assert_non_null(watch_next(set, fixture->arena, NULL, &news));
	assert_int_equal(news.count, WATCH_EVENT_COUNT_MAX);
	assert_true(news.is_overflow);
	watch_set_free(&set);
}

static void what_failed_is_not_told(void **state)
{
	struct fixture *fixture = *state;
	struct watch_set *set = watch_set_new(fixture->mail, wake, &fixture->woken);
	uint64_t position;

	watch_add(set, fixture->alice, WATCH_EVENTS, (struct id128){ { 0 } });
	assert_int_equal(mailbox_delete(fixture->mail, fixture->alice, BYTES_LITERAL("nowhere"),
				 NULL, &position),
		ERR_NOT_FOUND);
	assert_int_equal(fixture->woken, 0);
	watch_set_free(&set);
}

static void an_entry_for_a_user_is_told_to_him_from_any_account(void **state)
{
	struct fixture *fixture = *state;
	struct watch_set *set = watch_set_new(fixture->mail, wake, &fixture->woken);
	struct identity bob = { .name = "bob", .account = fixture->bob };
	struct watch_news news;
	uint64_t position;

	assert_int_equal(acl_change(fixture->mail, fixture->alice, fixture->room,
				 BYTES_LITERAL("bob"), ACL_SET, ACL_LOOKUP, NULL, &position),
		0);
	watch_add_grants(set, &bob);
	assert_int_equal(acl_change(fixture->mail, fixture->alice, fixture->room,
				 BYTES_LITERAL("carol"), ACL_SET, ACL_ALL, NULL, &position),
		0);
	append(fixture, fixture->alice, fixture->room);
	assert_int_equal(fixture->woken, 0);
	assert_int_equal(acl_change(fixture->mail, fixture->alice, fixture->room,
				 BYTES_LITERAL("bob"), ACL_SET, 0, NULL, &position),
		0);
	assert_int_equal(fixture->woken, 1);
	assert_non_null(watch_next(set, fixture->arena, NULL, &news));
	assert_int_equal(news.count, 1);
	assert_int_equal(news.events[0].account, fixture->alice);
	assert_true(bytes_equal_string(news.events[0].name, "bob"));
	assert_true(bytes_equal_string(news.events[0].value, "l"));
	watch_set_free(&set);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_look_is_one_wake_whatever_happened_before_it),
		TEST(other_mailboxes_and_accounts_wake_nobody),
		TEST(events_of_one_mailbox_are_united),
		TEST(more_than_is_kept_is_an_overflow),
		TEST(what_failed_is_not_told),
		TEST(an_entry_for_a_user_is_told_to_him_from_any_account),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
