/* Limits hold inside the commit, for users only; and what older versions did not count. */
#include "mail/quota.h"

#include "base/error.h"
#include "mail/tables.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define B(text) BYTES_LITERAL(text)
#define THREAD_COUNT 8

struct fixture {
	struct store *store;
	struct mail *mail;
	uint32_t account;
	struct id128 inbox;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_int_equal(store_open_memory(&fixture->store), 0);
	assert_int_equal(mail_open(fixture->store, clock_system(), &fixture->mail), 0);
	assert_int_equal(
		mail_account_open(fixture->mail, B("alice"), true, NULL, &fixture->account), 0);
	fixture->inbox = id128_derive("chapar inbox", B("alice"));
	*state = fixture;
	return 0;
}

static void report(void *context, const char *text)
{
	print_error("%s\n", text);
	++*(int *)context;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	int findings = 0;

	assert_int_equal(
		account_verify(fixture->mail, fixture->account, true, report, &findings), 0);
	assert_int_equal(findings, 0);
	mail_close(&fixture->mail);
	store_close(&fixture->store);
	free(fixture);
	return 0;
}

static void limit(struct fixture *fixture, enum quota_resource resource, uint64_t number)
{
	struct quota_changes changes = { .change = { QUOTA_KEEP } };

	changes.change[resource] = QUOTA_SET;
	changes.limits.of[resource] = number;
	assert_int_equal(quota_set(fixture->mail, fixture->account, &changes, NULL, NULL), 0);
}

static int append(struct fixture *fixture, const char *text, struct bytes flag)
{
	struct append_message message = { .flags = &flag, .flag_count = flag.len > 0 };
	struct mail_body *body = NULL;
	uint32_t uidvalidity, uid;
	uint64_t position;
	int rc = mail_body_prepare(fixture->mail, bytes_of_string(text), &body);

	message.body = body;
	if (rc == 0)
		rc = mailbox_append(fixture->mail, fixture->account, fixture->inbox, &message, 1,
			NULL, &uidvalidity, &uid, &position);
	mail_body_free(&body);
	return rc;
}

static void *append_in_thread(void *context)
{
	int rc = append(context, "Subject: x\r\n\r\n", B(""));

	return (void *)(intptr_t)rc;
}

static void of_appends_at_once_no_more_pass_than_there_is_room_for(void **state)
{
	struct fixture *fixture = *state;
	pthread_t threads[THREAD_COUNT];
	int passed = 0, refused = 0;

	limit(fixture, QUOTA_MESSAGE, 3);
	for (int i = 0; i < THREAD_COUNT; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, append_in_thread, fixture), 0);
	for (int i = 0; i < THREAD_COUNT; i++) {
		void *result;

		pthread_join(threads[i], &result);
		passed += (intptr_t)result == 0;
		refused += (intptr_t)result == ERR_OVERQUOTA;
	}
	assert_int_equal(passed, 3);
	assert_int_equal(refused, THREAD_COUNT - 3);
}

static int put_mailbox(struct account_write *write, void *context)
{
	struct mailbox_record mailbox = { .id = id128_random(),
		.name = B("from a peer"),
		.name_stamp = account_stamp(write),
		.uidvalidity = 7,
		.uidnext = 1 };

	(void)context;
	mailbox.modseq = mailbox.name_stamp.modseq;
	return account_put_mailbox(write, &mailbox);
}

static void users_are_refused_and_peers_are_not(void **state)
{
	struct fixture *fixture = *state;
	struct error error = { 0 };
	struct id128 id;
	uint64_t position;

	limit(fixture, QUOTA_MAILBOX, 1);
	assert_int_equal(mailbox_create(fixture->mail, fixture->account, B("box"), B(""), &error,
				 &id, &position),
		ERR_OVERQUOTA);
	assert_string_equal(error.text, "the account would be over its quota");
	assert_int_equal(mail_node_commit(fixture->mail, fixture->account, put_mailbox, NULL, NULL,
				 &position),
		0);
}

/* As version 1 had it: without deleted_byte_count, which here is one byte before the digest. */
static int put_old_row(struct account_write *write, void *context)
{
	const struct fixture *fixture = context;
	unsigned char key[MAILBOX_KEY_SIZE];
	struct mailbox_record mailbox;
	struct buffer value = { NULL, 0, 0 };
	int rc = account_get_mailbox(
		write->kv, fixture->account, fixture->inbox, write->arena, &mailbox);

	if (rc < 0)
		return rc;
	mailbox_encode(&value, &mailbox);
	value.data[0] = 1;
	memmove(value.data + value.len - 17, value.data + value.len - 16, 16);
	value.len--;
	rc = store_put(write->store, MAIL_TABLE_MAILBOX,
		mailbox_key(key, fixture->account, fixture->inbox), buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

static void a_mailbox_of_an_older_version_is_counted_when_it_is_read(void **state)
{
	struct fixture *fixture = *state;
	struct arena *arena = arena_new();
	struct mailbox_record mailbox;
	struct kv_txn *kv = NULL;
	uint64_t position;

	assert_int_equal(append(fixture, "Subject: one\r\n\r\n", B("\\Deleted")), 0);
	assert_int_equal(append(fixture, "Subject: two\r\n\r\n", B("")), 0);
	assert_int_equal(mail_node_commit(fixture->mail, fixture->account, put_old_row, fixture,
				 NULL, &position),
		0);
	assert_int_equal(mail_read_begin(fixture->mail, position, &kv), 0);
	assert_int_equal(
		account_get_mailbox(kv, fixture->account, fixture->inbox, arena, &mailbox), 0);
	mail_read_end(&kv);
	assert_int_equal(mailbox.deleted_byte_count, 16);
	/* And goes on being counted. */
	assert_int_equal(append(fixture, "Subject: more\r\n\r\n", B("\\Deleted")), 0);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			of_appends_at_once_no_more_pass_than_there_is_room_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			users_are_refused_and_peers_are_not, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_mailbox_of_an_older_version_is_counted_when_it_is_read, set_up,
			tear_down),
	};

	return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}
