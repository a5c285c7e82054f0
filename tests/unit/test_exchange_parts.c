/* A large change is applied in parts: each is a commit of its own, and other things may come
 * between. */
#include "sync_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MANY 850u /* messages; more than three parts */

struct scene {
	struct node *a, *b;
	unsigned part_count; /* APPLYs without RESULT that came to B */
	unsigned stop_after; /* the answer to this part is lost; 0: to none */
	unsigned act_before; /* B's user does something before this one comes; 0: before none */
};

static int setup(void **state)
{
	static struct scene scene;

	scene = (struct scene){ .a = node_new_with_account(), .b = node_new() };
	nodes_exchange(scene.a, scene.b, NULL);
	*state = &scene;
	return 0;
}

static int teardown(void **state)
{
	struct scene *scene = *state;

	node_free(&scene->a);
	node_free(&scene->b);
	return 0;
}

static bool is_part(struct bytes request)
{
	return bytes_start_with(request, BYTES_LITERAL("APPLY")) &&
	       memmem(request.ptr, request.len, " RESULT ", 8) == NULL;
}

static void before(void *context, struct bytes request)
{
	struct scene *scene = context;

	if (!is_part(request))
		return;
	if (++scene->part_count == scene->act_before)
		node_append(scene->b, "INBOX", "from B");
}

static bool loses(void *context, struct bytes request, struct bytes answer)
{
	struct scene *scene = context;

	(void)answer;
	return is_part(request) && scene->part_count == scene->stop_after;
}

static struct exchange_result exchange(struct scene *scene)
{
	struct wire wire = { .context = scene, .before = before, .loses = loses };

	return nodes_try_exchange(scene->a, scene->b, &wire);
}

static void append_many(struct node *node, const char *mailbox, unsigned count)
{
	char text[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(text, sizeof(text), "message %u", i % 50); /* few bodies, shared */
		node_append(node, mailbox, text);
	}
}

static void many_messages_are_applied_in_parts(void **state)
{
	struct scene *scene = *state;
	struct exchange_result result;

	append_many(scene->a, "INBOX", MANY);
	result = exchange(scene);
	assert_int_equal(result.error.code, 0);
	assert_int_equal(result.refused_count, 0);
	assert_int_equal(scene->part_count, 3);
	assert_int_equal(result.sent_body_count, 50);
	assert_int_equal(node_count(scene->b, "INBOX"), MANY);
	nodes_check_equal(scene->a, scene->b);
	assert_false(mail_is_partial(scene->b->mail, scene->b->account));
	assert_int_equal(nodes_exchange(scene->b, scene->a, NULL).offered_count, 0);
}

/* The first UIDs have the last modseqs: no part may end before them. */
static void no_part_shows_a_uid_below_one_that_was_shown(void **state)
{
	struct scene *scene = *state;
	struct exchange_result result;

	append_many(scene->a, "INBOX", MANY);
	for (uint32_t uid = 301; uid <= 550; uid++)
		node_flag(scene->a, "INBOX", uid, "\\Flagged");
	result = exchange(scene);
	assert_int_equal(result.error.code, 0);
	assert_int_equal(result.refused_count, 0);
	assert_int_equal(scene->part_count, 1);
	nodes_check_equal(scene->a, scene->b);
}

static void changes_in_place_are_applied_in_parts_too(void **state)
{
	struct scene *scene = *state;
	struct exchange_result result;

	append_many(scene->a, "INBOX", MANY);
	assert_int_equal(exchange(scene).error.code, 0);
	scene->part_count = 0;
	for (uint32_t uid = MANY; uid > 300; uid--)
		node_flag(scene->a, "INBOX", uid, "\\Seen");
	for (uint32_t uid = 1; uid <= 300; uid++)
		node_expunge(scene->a, "INBOX", uid);
	result = exchange(scene);
	assert_int_equal(result.error.code, 0);
	assert_int_equal(result.refused_count, 0);
	assert_int_equal(scene->part_count, 3);
	assert_int_equal(node_count(scene->b, "INBOX"), MANY - 300);
	nodes_check_equal(scene->a, scene->b);
}

static void a_new_mailbox_comes_with_the_first_part(void **state)
{
	struct scene *scene = *state;
	struct exchange_result result;

	append_many(scene->a, "Archive", MANY);
	result = exchange(scene);
	assert_int_equal(result.error.code, 0);
	assert_int_equal(result.refused_count, 0);
	assert_int_equal(scene->part_count, 3);
	assert_int_equal(node_count(scene->b, "Archive"), MANY);
	nodes_check_equal(scene->a, scene->b);
}

static void a_renamed_and_a_deleted_mailbox_come_too(void **state)
{
	struct scene *scene = *state;

	append_many(scene->a, "Archive", MANY);
	node_rename(scene->a, "Archive", "Old");
	assert_int_equal(exchange(scene).error.code, 0);
	assert_int_equal(node_count(scene->b, "Old"), MANY);
	scene->part_count = 0;
	node_delete_mailbox(scene->a, "Old");
	assert_int_equal(exchange(scene).error.code, 0);
	assert_int_equal(scene->part_count, 3);
	assert_false(node_has_mailbox(scene->b, "Old"));
	nodes_check_equal(scene->a, scene->b);
}

static void a_deleted_mailbox_goes_with_the_last_part(void **state)
{
	struct scene *scene = *state;

	append_many(scene->a, "Old", MANY);
	assert_int_equal(exchange(scene).error.code, 0);
	scene->part_count = 0;
	scene->stop_after = 2;
	node_delete_mailbox(scene->a, "Old");
	assert_int_equal(exchange(scene).error.code, ERR_CLOSED);
	assert_true(node_has_mailbox(scene->b, "Old"));
	assert_int_equal(node_count(scene->b, "Old"), MANY - 500);
	nodes_exchange(scene->a, scene->b, NULL);
	assert_false(node_has_mailbox(scene->b, "Old"));
	assert_false(node_has_mailbox(scene->a, "Old"));
	nodes_check_equal(scene->a, scene->b);
}

static void a_name_that_another_mailbox_has_by_then_goes_in_one(void **state)
{
	struct scene *scene = *state;

	append_many(scene->a, "Old", MANY);
	assert_int_equal(exchange(scene).error.code, 0);
	scene->part_count = 0;
	node_delete_mailbox(scene->a, "Old");
	node_append(scene->a, "Old", "a new beginning");
	assert_int_equal(exchange(scene).error.code, 0);
	assert_int_equal(scene->part_count, 0);
	assert_int_equal(node_count(scene->b, "Old"), 1);
	nodes_check_equal(scene->a, scene->b);
}

/* P8 */
static void after_a_break_between_parts_the_copies_become_equal(void **state)
{
	struct scene *scene = *state;

	scene->stop_after = 2;
	append_many(scene->a, "INBOX", MANY);
	assert_int_equal(exchange(scene).error.code, ERR_CLOSED);
	assert_int_equal(node_count(scene->b, "INBOX"), 500);
	assert_true(mail_is_partial(scene->b->mail, scene->b->account));
	node_append(scene->a, "INBOX", "from A");
	node_append(scene->b, "INBOX", "from B");
	node_expunge(scene->a, "INBOX", 1);
	node_flag(scene->b, "INBOX", 2, "\\Seen");
	nodes_exchange(scene->a, scene->b, NULL);
	assert_int_equal(node_count(scene->a, "INBOX"), MANY + 1);
	nodes_check_equal(scene->a, scene->b);
	assert_false(mail_is_partial(scene->b->mail, scene->b->account));
}

static void the_peers_users_may_change_the_account_between_parts(void **state)
{
	struct scene *scene = *state;
	struct exchange_result result;

	scene->act_before = 2;
	append_many(scene->a, "INBOX", MANY);
	result = exchange(scene);
	assert_int_equal(result.error.code, 0);
	assert_int_equal(result.repair_count, 0);
	assert_int_equal(node_count(scene->a, "INBOX"), MANY + 1);
	nodes_check_equal(scene->a, scene->b);
}

static void a_user_may_not_send_parts(void **state)
{
	struct scene *scene = *state;
	struct sync_rights rights = { .account = "anna" };
	struct buffer answer = { 0 };

	nodes_connect(scene->a, scene->b, &rights);
	assert_int_equal(
		node_ask(scene->b, "APPLY %(ACCOUNT anna EXPECT 1 SINCE 1 SEQUENCE 7 HIGHEST 0)",
			&answer),
		ERR_INVALID);
	buffer_deinit(&answer);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(many_messages_are_applied_in_parts),
		CASE(no_part_shows_a_uid_below_one_that_was_shown),
		CASE(changes_in_place_are_applied_in_parts_too),
		CASE(a_new_mailbox_comes_with_the_first_part),
		CASE(a_renamed_and_a_deleted_mailbox_come_too),
		CASE(a_deleted_mailbox_goes_with_the_last_part),
		CASE(a_name_that_another_mailbox_has_by_then_goes_in_one),
		CASE(after_a_break_between_parts_the_copies_become_equal),
		CASE(the_peers_users_may_change_the_account_between_parts),
		CASE(a_user_may_not_send_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
