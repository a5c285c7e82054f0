/*
 * Mailboxes of others that a user arranged off line (sync/guest_arrange.h), and what happens to
 * them between the look at them and the commit.
 */
#include "sync_fixture.h"

#include "mail/acl.h"
#include "sync/guest_arrange.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MODSEQ_LATER (1ull << 40)
#define STEP_COUNT 250 /* messages that a delete expunges in one commit */

/* ---- what happens before a commit ---- */

struct world {
	struct node *guest, *server; /* bert's copy; anna's account */
};

static struct {
	void (*happen)(struct world *world);
	struct world *world;
	unsigned commits_before;
} meanwhile;

int __real_mail_commit(struct mail *mail, uint32_t account, mail_run *run, void *context,
	struct error *error, uint64_t *position_r);
int __wrap_mail_commit(struct mail *mail, uint32_t account, mail_run *run, void *context,
	struct error *error, uint64_t *position_r);

int __wrap_mail_commit(struct mail *mail, uint32_t account, mail_run *run, void *context,
	struct error *error, uint64_t *position_r)
{
	if (meanwhile.happen != NULL && meanwhile.commits_before > 0) {
		meanwhile.commits_before--;
	} else if (meanwhile.happen != NULL) {
		void (*happen)(struct world * world) = meanwhile.happen;

		meanwhile.happen = NULL;
		happen(meanwhile.world);
	}
	return __real_mail_commit(mail, account, run, context, error, position_r);
}

/* ---- anna's mailboxes, some of which bert sees ---- */

static void grant(struct node *server, const char *mailbox, const char *letters)
{
	unsigned rights;

	assert_int_equal(acl_parse_rights(bytes_of_string(letters), &rights), 0);
	assert_int_equal(acl_change(server->mail, server->account, node_mailbox(server, mailbox),
				 BYTES_LITERAL("bert"), ACL_SET, rights, NULL, &server->position),
		0);
}

static int setup(void **state)
{
	static struct world world;
	struct sync_rights rights = { .account = "bert", .identity = { .name = "bert" } };

	world = (struct world){ node_new(), node_new_with_account() };
	assert_int_equal(mail_account_open(world.server->mail, BYTES_LITERAL("bert"), true, NULL,
				 &rights.identity.account),
		0);
	nodes_connect(world.guest, world.server, &rights);
	node_append(world.server, "Work/old", "seen");
	grant(world.server, "Work", "lrk");
	grant(world.server, "Work/old", "lrx");
	meanwhile.world = &world;
	*state = &world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;

	/* What was to happen has happened. */
	assert_null(meanwhile.happen);
	node_free(&world->guest);
	node_free(&world->server);
	return 0;
}

static struct error ask(
	struct world *world, const struct mailbox_record *mailbox, struct id128 *id_r)
{
	struct buffer request = { 0 }, answer = { 0 };
	struct error error = { 0 }, told = { 0 };
	int rc;

	guest_arrange_request("anna", mailbox, node_header(world->server).sequence, &request);
	(void)sync_respond(world->server->session, buffer_bytes(&request), &answer, &error);
	rc = guest_arrange_answer(buffer_bytes(&answer), id_r, &told);
	assert_int_equal(rc, told.code);
	buffer_deinit(&request);
	buffer_deinit(&answer);
	world->server->position = mail_position(world->server->mail);
	return told;
}

static struct error ask_to_delete(struct world *world, struct id128 id)
{
	const struct mailbox_record mailbox = { .id = id, .deleted = { 1, 1 } };
	struct id128 there;

	return ask(world, &mailbox, &there);
}

static struct error ask_to_name(
	struct world *world, struct id128 id, const char *name, uint64_t modseq, struct id128 *id_r)
{
	const struct mailbox_record mailbox = { .id = id,
		.name = bytes_of_string(name),
		.name_stamp = { modseq, mail_node(world->guest->mail) } };

	return ask(world, &mailbox, id_r);
}

static void assert_has(struct world *world, const char *mailbox, struct id128 id, const char *text)
{
	assert_true(node_has_mailbox(world->server, mailbox));
	assert_true(id128_equal(node_mailbox(world->server, mailbox), id));
	if (text != NULL)
		assert_int_not_equal(node_uid_of(world->server, mailbox, text), 0);
}

/* ---- */

static struct id128 other; /* that has the name now */

static void another_gets_the_name(struct world *world)
{
	node_rename(world->server, "Work/old", "Work/kept");
	other = node_mailbox(world->server, "Work/old");
	node_append(world->server, "Work/old", "another");
	/* He could do the same to that one. */
	grant(world->server, "Work/old", "lrx");
}

static void what_has_the_name_meanwhile_is_not_deleted(void **state)
{
	struct world *world = *state;
	struct id128 id = node_mailbox(world->server, "Work/old");

	meanwhile.happen = another_gets_the_name;
	assert_int_equal(ask_to_delete(world, id).code, 0);
	assert_has(world, "Work/old", other, "another");
	assert_false(node_has_mailbox(world->server, "Work/kept"));
}

static void what_has_the_name_meanwhile_is_not_renamed(void **state)
{
	struct world *world = *state;
	struct id128 id = node_mailbox(world->server, "Work/old"), there;
	uint64_t later = node_header(world->server).clock_last + MODSEQ_LATER;

	meanwhile.happen = another_gets_the_name;
	assert_int_equal(ask_to_name(world, id, "Work/new", later, &there).code, 0);
	assert_true(id128_equal(there, id));
	assert_has(world, "Work/old", other, "another");
	assert_has(world, "Work/new", id, "seen");
	assert_false(node_has_mailbox(world->server, "Work/kept"));
}

static void what_is_renamed_meanwhile_keeps_the_later_name(void **state)
{
	struct world *world = *state;
	struct id128 id = node_mailbox(world->server, "Work/old"), there;
	uint64_t now = node_header(world->server).clock_last;

	meanwhile.happen = another_gets_the_name;
	assert_int_equal(ask_to_name(world, id, "Work/new", now, &there).code, 0);
	assert_has(world, "Work/old", other, "another");
	assert_has(world, "Work/kept", id, "seen");
	assert_false(node_has_mailbox(world->server, "Work/new"));
}

static void a_message_comes(struct world *world)
{
	node_append(world->server, "Work/old", "not seen");
}

static void what_comes_meanwhile_is_not_expunged_unseen(void **state)
{
	struct world *world = *state;
	struct id128 id = node_mailbox(world->server, "Work/old");

	meanwhile.happen = a_message_comes;
	assert_int_equal(ask_to_delete(world, id).code, ERR_EXISTS);
	assert_has(world, "Work/old", id, "not seen");
	assert_has(world, "Work/old", id, "seen");
	/* Once he has seen that, too: */
	assert_int_equal(ask_to_delete(world, id).code, 0);
	assert_false(node_has_mailbox(world->server, "Work/old"));
}

static void what_comes_between_steps_is_not_expunged_unseen(void **state)
{
	struct world *world = *state;
	struct id128 id = node_mailbox(world->server, "Work/old");

	for (unsigned i = 0; i < STEP_COUNT; i++)
		node_append(world->server, "Work/old", "one of many");
	meanwhile.happen = a_message_comes;
	meanwhile.commits_before = 1;
	assert_int_equal(ask_to_delete(world, id).code, ERR_EXISTS);
	assert_has(world, "Work/old", id, "not seen");
	assert_int_equal(ask_to_delete(world, id).code, 0);
	assert_false(node_has_mailbox(world->server, "Work/old"));
}

static void his_rights_go(struct world *world)
{
	grant(world->server, "Work/old", "lr");
	grant(world->server, "Work", "lr");
}

static void rights_that_go_meanwhile_count(void **state)
{
	struct world *world = *state;
	struct id128 id = node_mailbox(world->server, "Work/old"), there;
	uint64_t later = node_header(world->server).clock_last + MODSEQ_LATER;

	meanwhile.happen = his_rights_go;
	assert_int_equal(ask_to_delete(world, id).code, ERR_REFUSED);
	assert_has(world, "Work/old", id, "seen");
	grant(world->server, "Work/old", "lrx");
	grant(world->server, "Work", "lrk");
	meanwhile.happen = his_rights_go;
	assert_int_equal(ask_to_name(world, id, "Work/new", later, &there).code, ERR_REFUSED);
	assert_has(world, "Work/old", id, "seen");
	grant(world->server, "Work", "lrk");
	meanwhile.happen = his_rights_go;
	assert_int_equal(
		ask_to_name(world, (struct id128){ { 7 } }, "Work/new", later, &there).code,
		ERR_REFUSED);
	assert_false(node_has_mailbox(world->server, "Work/new"));
}

static void she_makes_one(struct world *world)
{
	other = node_mailbox(world->server, "Work/new"); /* with his rights to the one above */
}

static void she_makes_one_for_herself(struct world *world)
{
	she_makes_one(world);
	grant(world->server, "Work/new", "");
}

static void one_of_the_name_that_is_made_meanwhile_is_the_one_if_he_sees_it(void **state)
{
	static void (*const makes[])(struct world *) = { she_makes_one, she_makes_one_for_herself };
	struct world *world = *state;
	struct id128 mine = { { 7 } }, there;

	for (size_t i = 0; i < 2; i++) {
		struct error error;

		meanwhile.happen = makes[i];
		error = ask_to_name(world, mine, "Work/new", 1, &there);
		assert_int_equal(error.code, i == 0 ? 0 : ERR_REFUSED);
		if (i == 0)
			assert_true(id128_equal(there, other));
		assert_has(world, "Work/new", other, NULL);
		node_delete_mailbox(world->server, "Work/new");
	}
}

static void a_mailbox_is_not_renamed_into_itself(void **state)
{
	struct world *world = *state;
	struct id128 id = node_mailbox(world->server, "Work/old"), there;
	uint64_t later = node_header(world->server).clock_last + MODSEQ_LATER;

	grant(world->server, "Work/old", "lrxk");
	assert_int_equal(ask_to_name(world, id, "Work/old/deep", later, &there).code, ERR_INVALID);
	assert_has(world, "Work/old", id, "seen");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_has_the_name_meanwhile_is_not_deleted),
		TEST(what_has_the_name_meanwhile_is_not_renamed),
		TEST(what_is_renamed_meanwhile_keeps_the_later_name),
		TEST(what_comes_meanwhile_is_not_expunged_unseen),
		TEST(what_comes_between_steps_is_not_expunged_unseen),
		TEST(rights_that_go_meanwhile_count),
		TEST(one_of_the_name_that_is_made_meanwhile_is_the_one_if_he_sees_it),
		TEST(a_mailbox_is_not_renamed_into_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
