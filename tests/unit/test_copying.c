/* COPY of more messages than one commit takes is all or nothing all the same. */
#include "sync_fixture.h"

#include "base/error.h"
#include "mail/expiry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MANY 600u /* messages; three steps */

struct scene {
	struct node *node;
	struct id128 from, to;
	unsigned commit_count; /* of the copying */
	unsigned fails_at;     /* the commit whose peer says no; 0: none */
	bool ends_there;       /* and then it is another process that goes on */
};

static int setup(void **state)
{
	static struct scene scene;
	char text[32];

	scene = (struct scene){ .node = node_new_with_account() };
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "message %u", i % 10);
		node_append(scene.node, "INBOX", text);
	}
	node_append(scene.node, "Archive", "was there before");
	scene.from = node_mailbox(scene.node, "INBOX");
	scene.to = node_mailbox(scene.node, "Archive");
	*state = &scene;
	return 0;
}

static int teardown(void **state)
{
	struct scene *scene = *state;

	node_free(&scene->node);
	return 0;
}

static void undo_all(struct mail *mail)
{
	struct error error;
	int rc = 1;

	while (rc == 1)
		rc = mail_undo_copies(mail, &error);
	assert_int_equal(rc, 0);
}

/* Two steps of the copying are there, and stay: it goes on in this process. */
static void check_that_others_stay(struct scene *scene)
{
	undo_all(scene->node->mail);
	scene->node->position = mail_position(scene->node->mail);
	assert_int_equal(node_count(scene->node, "Archive"), 1 + 500);
}

static int acknowledge(void *context, uint32_t account, uint64_t sequence, struct error *error)
{
	struct scene *scene = context;

	(void)account;
	(void)sequence;
	if (++scene->commit_count != scene->fails_at)
		return 0;
	check_that_others_stay(scene);
	if (scene->ends_there) {
		struct mail *next = NULL;

		assert_int_equal(mail_open(scene->node->store, clock_system(), &next), 0);
		undo_all(next);
		mail_close(&next);
		scene->node->position = mail_position(scene->node->mail);
		assert_int_equal(node_count(scene->node, "Archive"), 1);
	}
	return error_set(error, ERR_UNAVAILABLE, "the peer does not answer");
}

static int copy_all(struct scene *scene, struct copy_result *copied)
{
	struct uid_range range = { 1, UINT32_MAX };
	struct uid_set uids = { &range, 1, 0 };
	struct error error = { 0 };
	int rc;

	mail_set_acknowledger(scene->node->mail, acknowledge, scene);
	rc = message_copy(scene->node->mail, scene->node->account, scene->from, scene->to, &uids,
		false, &error, copied, &scene->node->position);
	mail_set_acknowledger(scene->node->mail, NULL, NULL);
	scene->node->position = mail_position(scene->node->mail);
	return rc;
}

static void many_messages_are_copied_in_steps(void **state)
{
	struct scene *scene = *state;
	struct copy_result copied = { 0 };
	struct mail *next = NULL;

	assert_int_equal(copy_all(scene, &copied), 0);
	assert_int_equal(copied.count, MANY);
	assert_int_equal(copied.pairs[MANY - 1].from, MANY);
	assert_int_equal(copied.pairs[MANY - 1].to, 1 + MANY);
	assert_int_equal(scene->commit_count, 3);
	free(copied.pairs);
	/* Nothing is left to be undone by whoever comes next. */
	assert_int_equal(mail_open(scene->node->store, clock_system(), &next), 0);
	undo_all(next);
	mail_close(&next);
	assert_int_equal(node_count(scene->node, "Archive"), 1 + MANY);
}

static void check_undone(struct scene *scene)
{
	struct copy_result copied = { 0 };

	assert_int_equal(copy_all(scene, &copied), ERR_UNAVAILABLE);
	assert_int_equal(node_count(scene->node, "Archive"), 1);
	assert_int_equal(node_count(scene->node, "INBOX"), MANY);
	/* The UIDs are used up (P2). */
	assert_int_equal(node_append(scene->node, "Archive", "comes after it"), 2 + 500);
}

static void what_a_failed_copy_has_copied_is_undone(void **state)
{
	struct scene *scene = *state;

	scene->fails_at = 2;
	check_undone(scene);
}

static void what_was_cut_short_is_undone_by_the_next_process(void **state)
{
	struct scene *scene = *state;

	scene->fails_at = 2;
	scene->ends_there = true;
	check_undone(scene);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(many_messages_are_copied_in_steps),
		CASE(what_a_failed_copy_has_copied_is_undone),
		CASE(what_was_cut_short_is_undone_by_the_next_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
