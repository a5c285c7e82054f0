/* The mail layer on a store in memory: what users do, and the rules that account_put_*() keeps. */
#include "mail/mail.h"

#include "base/error.h"
#include "mail/annotation.h"
#include "mail/mime_summary.h"
#include "mail/tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define B(text) BYTES_LITERAL(text)
#define SEEN B("\\Seen")
#define DELETED B("\\Deleted")

struct fixture {
	struct store *store;
	struct mail *mail;
	uint32_t account;
	struct id128 inbox;
	struct arena *arena;
	uint64_t position;
};

static struct mailbox_record find_mailbox(struct fixture *fixture, const char *name)
{
	struct mailbox_record mailbox = { 0 };
	struct kv_txn *kv = NULL;
	int rc;

	assert_int_equal(mail_read_begin(fixture->mail, 0, &kv), 0);
	rc = account_find_mailbox(
		kv, fixture->account, bytes_of_string(name), fixture->arena, &mailbox);
	mail_read_end(&kv);
	if (rc != 0)
		fail_msg("no mailbox %s", name);
	return mailbox;
}

static bool has_mailbox(struct fixture *fixture, const char *name)
{
	struct mailbox_record mailbox;
	struct kv_txn *kv = NULL;
	int rc;

	assert_int_equal(mail_read_begin(fixture->mail, 0, &kv), 0);
	rc = account_find_mailbox(
		kv, fixture->account, bytes_of_string(name), fixture->arena, &mailbox);
	mail_read_end(&kv);
	return rc == 0;
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_int_equal(store_open_memory(&fixture->store), 0);
	assert_int_equal(mail_open(fixture->store, clock_system(), &fixture->mail), 0);
	assert_int_equal(
		mail_account_open(fixture->mail, B("alice"), true, NULL, &fixture->account), 0);
	fixture->arena = arena_new();
	fixture->inbox = find_mailbox(fixture, "INBOX").id;
	*state = fixture;
	return 0;
}

static void report(void *context, const char *text)
{
	print_error("%s\n", text);
	++*(int *)context;
}

/* Every test ends with an account that agrees with itself. */
static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	int findings = 0;

	assert_int_equal(
		account_verify(fixture->mail, fixture->account, true, report, &findings), 0);
	assert_int_equal(findings, 0);
	arena_free(&fixture->arena);
	mail_close(&fixture->mail);
	store_close(&fixture->store);
	free(fixture);
	return 0;
}

static uint32_t append(struct fixture *fixture, struct id128 mailbox, const char *text)
{
	struct append_message message = { .internaldate = 1000000000 };
	struct mail_body *body = NULL;
	uint32_t uidvalidity, uid = 0;

	assert_int_equal(mail_body_prepare(fixture->mail, bytes_of_string(text), &body), 0);
	message.body = body;
	assert_int_equal(mailbox_append(fixture->mail, fixture->account, mailbox, &message, 1, NULL,
				 &uidvalidity, &uid, &fixture->position),
		0);
	mail_body_free(&body);
	return uid;
}

static struct message_record get(struct fixture *fixture, struct id128 mailbox, uint32_t uid)
{
	struct message_record message = { 0 };
	struct kv_txn *kv = NULL;

	assert_int_equal(mail_read_begin(fixture->mail, fixture->position, &kv), 0);
	if (account_get_message_at(kv, fixture->account, mailbox, uid, fixture->arena, &message) <
		0)
		message.uid = 0;
	mail_read_end(&kv);
	return message;
}

static size_t store(struct fixture *fixture, uint32_t first, uint32_t last,
	enum flag_operation operation, struct bytes flag, uint64_t unchanged_since,
	size_t *modified_count)
{
	struct uid_set uids = { 0 }, changed = { 0 }, modified = { 0 };
	size_t count;

	uid_set_add(&uids, first, last);
	assert_int_equal(message_store(fixture->mail, fixture->account, fixture->inbox, &uids,
				 operation, &flag, flag.len > 0, unchanged_since, NULL, &changed,
				 &modified, &fixture->position),
		0);
	count = (size_t)uid_set_size(&changed);
	if (modified_count != NULL)
		*modified_count = (size_t)uid_set_size(&modified);
	uid_set_deinit(&uids);
	uid_set_deinit(&changed);
	uid_set_deinit(&modified);
	return count;
}

/* P3 */
static void uids_grow_and_uidnext_is_above_them(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(append(fixture, fixture->inbox, "one\r\n"), 1);
	assert_int_equal(append(fixture, fixture->inbox, "two\r\n"), 2);
	assert_int_equal(find_mailbox(fixture, "INBOX").uidnext, 3);
	assert_int_equal(find_mailbox(fixture, "inbox").message_count, 2);
}

/* P4 */
static void every_change_has_a_greater_modseq_and_unchanged_messages_are_not_written(void **state)
{
	struct fixture *fixture = *state;
	uint64_t before;

	append(fixture, fixture->inbox, "one\r\n");
	before = find_mailbox(fixture, "INBOX").highestmodseq;
	assert_int_equal(store(fixture, 1, 1, FLAGS_ADD, B("\\seen"), MODSEQ_MAX, NULL), 1);
	assert_true(get(fixture, fixture->inbox, 1).modseq > before);
	before = find_mailbox(fixture, "INBOX").highestmodseq;
	assert_int_equal(store(fixture, 1, 1, FLAGS_ADD, SEEN, MODSEQ_MAX, NULL), 0);
	assert_true(find_mailbox(fixture, "INBOX").highestmodseq == before);
	assert_int_equal(find_mailbox(fixture, "INBOX").unseen_count, 0);
}

/* RFC 7162, 3.2 */
static void metadata_counts_for_highestmodseq(void **state)
{
	struct fixture *fixture = *state;
	struct annotation entry = { .scope = ANNOTATION_SHARED,
		.entry = B("/comment"),
		.is_set = true,
		.value = B("ours") };
	struct metadata_change change = { .account = fixture->account,
		.own = fixture->account,
		.mailbox = fixture->inbox,
		.entries = &entry,
		.count = 1 };
	uint64_t before = find_mailbox(fixture, "INBOX").highestmodseq;

	assert_int_equal(metadata_set(fixture->mail, &change, NULL, &fixture->position), 0);
	assert_true(find_mailbox(fixture, "INBOX").highestmodseq > before);
	before = find_mailbox(fixture, "INBOX").highestmodseq;
	entry.scope = ANNOTATION_PRIVATE;
	assert_int_equal(metadata_set(fixture->mail, &change, NULL, &fixture->position), 0);
	assert_true(find_mailbox(fixture, "INBOX").highestmodseq > before);
}

static void keywords_are_one_in_any_case_and_replace_clears_the_others(void **state)
{
	struct fixture *fixture = *state;
	struct message_record message;

	append(fixture, fixture->inbox, "one\r\n");
	store(fixture, 1, 1, FLAGS_ADD, B("$Work"), MODSEQ_MAX, NULL);
	assert_int_equal(store(fixture, 1, 1, FLAGS_ADD, B("$WORK"), MODSEQ_MAX, NULL), 0);
	assert_int_equal(store(fixture, 1, 1, FLAGS_REPLACE, SEEN, MODSEQ_MAX, NULL), 1);
	message = get(fixture, fixture->inbox, 1);
	assert_true(message_has_flag(&message, SEEN));
	assert_false(message_has_flag(&message, B("$Work")));
	assert_int_equal(message.flag_count, 2); /* the cleared one keeps its stamp (P7) */
}

/* RFC 7162, section 3.1.3 */
static void a_message_changed_since_is_left_alone(void **state)
{
	struct fixture *fixture = *state;
	size_t modified;
	uint64_t since;

	append(fixture, fixture->inbox, "one\r\n");
	append(fixture, fixture->inbox, "two\r\n");
	since = find_mailbox(fixture, "INBOX").highestmodseq;
	store(fixture, 1, 1, FLAGS_ADD, SEEN, MODSEQ_MAX, NULL);
	assert_int_equal(store(fixture, 1, 2, FLAGS_ADD, SEEN, since, &modified), 1);
	assert_int_equal(modified, 1);
	/* Only what is named counts. */
	assert_int_equal(store(fixture, 1, 2, FLAGS_ADD, B("\\Flagged"), since, &modified), 2);
	assert_int_equal(modified, 0);
}

static int count_vanished(void *context, uint32_t uid, uint64_t modseq, bool is_vanished)
{
	(void)uid;
	(void)modseq;
	*(int *)context += is_vanished;
	return 0;
}

static void expunge_takes_the_deleted_ones_and_notes_their_uids_as_vanished(void **state)
{
	struct fixture *fixture = *state;
	struct uid_set expunged = { 0 };
	struct kv_txn *kv = NULL;
	uint64_t since;
	int vanished = 0;

	for (int i = 0; i < 5; i++)
		append(fixture, fixture->inbox, "text\r\n");
	since = find_mailbox(fixture, "INBOX").highestmodseq;
	store(fixture, 2, 3, FLAGS_ADD, DELETED, MODSEQ_MAX, NULL);
	assert_int_equal(message_expunge(fixture->mail, fixture->account, fixture->inbox, NULL,
				 NULL, &expunged, &fixture->position),
		0);
	assert_int_equal(uid_set_size(&expunged), 2);
	assert_int_equal(get(fixture, fixture->inbox, 2).uid, 0);
	assert_int_equal(find_mailbox(fixture, "INBOX").message_count, 3);
	assert_int_equal(mail_read_begin(fixture->mail, fixture->position, &kv), 0);
	assert_int_equal(account_each_uid_change(kv, fixture->account, fixture->inbox, since,
				 count_vanished, &vanished),
		0);
	mail_read_end(&kv);
	assert_int_equal(vanished, 2);
	uid_set_deinit(&expunged);
}

static struct copy_result copy(struct fixture *fixture, struct id128 to, uint32_t uid, bool is_move)
{
	struct copy_result result = { 0 };
	struct uid_set uids = { 0 };

	uid_set_add(&uids, uid, uid);
	assert_int_equal(message_copy(fixture->mail, fixture->account, fixture->inbox, to, &uids,
				 is_move, NULL, &result, &fixture->position),
		0);
	uid_set_deinit(&uids);
	return result;
}

static struct id128 create(struct fixture *fixture, const char *name)
{
	struct id128 id;

	assert_int_equal(mailbox_create(fixture->mail, fixture->account, bytes_of_string(name),
				 B(""), NULL, &id, &fixture->position),
		0);
	return id;
}

static void a_move_keeps_the_instance_and_a_copy_makes_a_new_one(void **state)
{
	struct fixture *fixture = *state;
	struct id128 archive = create(fixture, "Archive");
	struct copy_result moved, copied;
	struct stamp instance;

	append(fixture, fixture->inbox, "one\r\n");
	instance = get(fixture, fixture->inbox, 1).instance;
	copied = copy(fixture, archive, 1, false);
	moved = copy(fixture, archive, 1, true);
	assert_int_equal(copied.count, 1);
	assert_int_equal(copied.pairs[0].to, 1);
	assert_int_equal(moved.pairs[0].to, 2);
	assert_true(stamp_compare(get(fixture, archive, 1).instance, instance) != 0);
	assert_true(stamp_compare(get(fixture, archive, 2).instance, instance) == 0);
	assert_int_equal(get(fixture, fixture->inbox, 1).uid, 0);
	free(copied.pairs);
	free(moved.pairs);
}

static void a_move_within_a_mailbox_gives_a_new_uid_once(void **state)
{
	struct fixture *fixture = *state;
	struct copy_result moved;

	append(fixture, fixture->inbox, "one\r\n");
	moved = copy(fixture, fixture->inbox, 1, true);
	assert_int_equal(moved.count, 1);
	assert_int_equal(moved.pairs[0].to, 2);
	assert_int_equal(find_mailbox(fixture, "INBOX").message_count, 1);
	free(moved.pairs);
}

static void renaming_takes_children_along_and_makes_missing_parents(void **state)
{
	struct fixture *fixture = *state;
	struct id128 child = create(fixture, "a/b/c");

	assert_true(has_mailbox(fixture, "a/b"));
	assert_int_equal(mailbox_rename(fixture->mail, fixture->account, B("a"), B("x/y"), NULL,
				 &fixture->position),
		0);
	assert_true(id128_equal(find_mailbox(fixture, "x/y/b/c").id, child));
	assert_false(has_mailbox(fixture, "a/b"));
	assert_true(has_mailbox(fixture, "x"));
}

/* RFC 3501, section 6.3.5 */
static void renaming_inbox_moves_its_messages_and_leaves_it(void **state)
{
	struct fixture *fixture = *state;

	append(fixture, fixture->inbox, "one\r\n");
	append(fixture, fixture->inbox, "two\r\n");
	assert_int_equal(mailbox_rename(fixture->mail, fixture->account, B("INBOX"), B("old"), NULL,
				 &fixture->position),
		0);
	assert_int_equal(find_mailbox(fixture, "old").message_count, 2);
	assert_int_equal(find_mailbox(fixture, "INBOX").message_count, 0);
	assert_int_equal(find_mailbox(fixture, "INBOX").uidnext, 3);
}

static void a_mailbox_made_again_has_a_greater_uidvalidity(void **state)
{
	struct fixture *fixture = *state;
	struct id128 id = create(fixture, "Work");
	uint32_t uidvalidity = find_mailbox(fixture, "Work").uidvalidity;

	append(fixture, id, "one\r\n");
	assert_int_equal(mailbox_delete(fixture->mail, fixture->account, B("Work"), NULL,
				 &fixture->position),
		0);
	assert_false(has_mailbox(fixture, "Work"));
	create(fixture, "Work");
	assert_true(find_mailbox(fixture, "Work").uidvalidity > uidvalidity);
	assert_int_equal(mailbox_delete(fixture->mail, fixture->account, B("inbox"), NULL,
				 &fixture->position),
		ERR_REFUSED);
}

static void bad_mailbox_names_are_refused_with_the_reason(void **state)
{
	static const struct {
		const char *name, *reason;
	} rows[] = {
		{ "", "empty" }, { "/a", "'/'" }, { "a/", "'/'" }, { "a//b", "level" },
		{ "a\tb", "control" }, { "a\xff", "UTF-8" },
		{ "a\xc0\x80", "UTF-8" },     /* overlong NUL */
		{ "a\xed\xa0\x80", "UTF-8" }, /* surrogate */
	};
	struct error error;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(
			mailbox_name_check(bytes_of_string(rows[i].name), &error), ERR_INVALID);
		if (strstr(error.text, rows[i].reason) == NULL)
			fail_msg("%s: %s", rows[i].name, error.text);
	}
	assert_int_equal(mailbox_name_check(B("Entw\xc3\xbcrfe/\xf0\x9f\x93\xa7"), &error), 0);
}

/* ---- what account_put_message() refuses, from whoever it comes ---- */

struct put {
	struct message_record message;
	struct mailbox_record mailbox;
	bool is_mailbox;
};

static int put_run(struct account_write *write, void *context)
{
	struct put *put = context;

	return put->is_mailbox ? account_put_mailbox(write, &put->mailbox)
			       : account_put_message(write, &put->message);
}

static int put_message(struct fixture *fixture, struct message_record message)
{
	struct put put = { .message = message };

	return mail_commit(
		fixture->mail, fixture->account, put_run, &put, NULL, &fixture->position);
}

static void a_uid_below_uidnext_is_never_given_again(void **state)
{
	struct fixture *fixture = *state;
	struct message_record first, second;

	append(fixture, fixture->inbox, "one\r\n");
	append(fixture, fixture->inbox, "two\r\n");
	first = get(fixture, fixture->inbox, 1);
	second = get(fixture, fixture->inbox, 2);
	second.uid = first.uid; /* P2 */
	second.modseq += 100;
	assert_int_equal(put_message(fixture, second), ERR_ILLEGAL);
	first.instance.node ^= 1; /* another message at an announced UID: P3 */
	first.uid = 2;
	first.modseq = second.modseq; /* above all that was announced, however long it took */
	assert_int_equal(put_message(fixture, first), ERR_ILLEGAL);
	first.uid = 3;
	assert_int_equal(put_message(fixture, first), 0);
}

static void what_goes_back_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct message_record message, changed;
	struct uid_set expunged = { 0 };

	append(fixture, fixture->inbox, "one\r\n");
	message = get(fixture, fixture->inbox, 1);
	changed = message;
	changed.modseq--; /* P5 */
	assert_int_equal(put_message(fixture, changed), ERR_ILLEGAL);
	changed = message;
	changed.guid.bytes[0] ^= 1; /* one instance is one message */
	changed.modseq += 10;
	assert_int_equal(put_message(fixture, changed), ERR_ILLEGAL);
	store(fixture, 1, 1, FLAGS_ADD, DELETED, MODSEQ_MAX, NULL);
	assert_int_equal(message_expunge(fixture->mail, fixture->account, fixture->inbox, NULL,
				 NULL, &expunged, &fixture->position),
		0);
	message.modseq += (uint64_t)1 << 40;
	assert_int_equal(put_message(fixture, message), ERR_ILLEGAL); /* no expunged UID returns */
	uid_set_deinit(&expunged);
}

static void a_message_without_its_body_is_not_taken(void **state)
{
	struct fixture *fixture = *state;
	struct message_record message;

	append(fixture, fixture->inbox, "one\r\n");
	message = get(fixture, fixture->inbox, 1);
	message.instance.node ^= 1;
	message.guid.bytes[0] ^= 1;
	message.uid = 2;
	message.modseq += 10;
	assert_int_equal(put_message(fixture, message), ERR_NOT_FOUND);
	assert_int_equal(find_mailbox(fixture, "INBOX").message_count, 1);
}

static void two_live_mailboxes_never_have_one_name(void **state)
{
	struct fixture *fixture = *state;
	struct put put = { .is_mailbox = true };

	create(fixture, "Work");
	put.mailbox = find_mailbox(fixture, "Work");
	put.mailbox.id = id128_random();
	put.mailbox.modseq += 10;
	assert_int_equal(mail_commit(fixture->mail, fixture->account, put_run, &put, NULL,
				 &fixture->position),
		ERR_ILLEGAL);
	assert_false(id128_equal(find_mailbox(fixture, "Work").id, put.mailbox.id));
}

static void uid_sets_join_what_touches(void **state)
{
	struct uid_set set = { 0 };

	(void)state;
	uid_set_add(&set, 5, 7);
	uid_set_add(&set, 1, 2);
	uid_set_add(&set, 10, 9);
	assert_int_equal(set.count, 3);
	uid_set_add(&set, 3, 4);
	assert_int_equal(set.count, 2);
	uid_set_add(&set, 8, 8);
	assert_int_equal(set.count, 1);
	assert_int_equal(uid_set_size(&set), 10);
	assert_true(uid_set_has(&set, 1) && uid_set_has(&set, 10) && !uid_set_has(&set, 11));
	uid_set_add(&set, UINT32_MAX, UINT32_MAX);
	assert_int_equal(set.count, 2);
	uid_set_deinit(&set);
}

static void one_delivery_to_several_accounts_stores_one_body(void **state)
{
	struct fixture *fixture = *state;
	uint32_t accounts[2] = { fixture->account, 0 };
	struct mail_body *body = NULL;
	int results[2] = { -1, -1 };

	assert_int_equal(mail_account_open(fixture->mail, B("bob"), true, NULL, &accounts[1]), 0);
	assert_int_equal(
		mail_body_prepare(fixture->mail, B("Subject: x\r\n\r\nhello\r\n"), &body), 0);
	assert_int_equal(mail_deliver(fixture->mail, accounts, 2, body, NULL, results), 0);
	assert_int_equal(results[0], 0);
	assert_int_equal(results[1], 0);
	assert_int_equal(find_mailbox(fixture, "INBOX").message_count, 1);
	fixture->account = accounts[1];
	assert_int_equal(find_mailbox(fixture, "INBOX").message_count, 1);
	mail_body_free(&body);
}

/* As a program of an older version left it. */
static int summary_age(struct store_write *write, void *context)
{
	const struct guid *guid = context;
	struct bytes key = bytes_of(guid->bytes, sizeof(guid->bytes)), value;
	struct buffer old = { 0 };
	int rc = kv_get(store_write_kv(write), MAIL_TABLE_SUMMARY, key, &value);

	buffer_append_bytes(&old, value);
	old.data[1] = MIME_SUMMARY_VERSION_MIN - 1;
	if (rc == 0)
		rc = store_put_unlogged(write, MAIL_TABLE_SUMMARY, key, buffer_bytes(&old));
	buffer_deinit(&old);
	return rc;
}

static int summary_is_ready(struct fixture *fixture, const struct guid *guid)
{
	struct mime_summary summary;
	struct kv_txn *kv = NULL;
	int rc;

	assert_int_equal(mail_read_begin(fixture->mail, fixture->position, &kv), 0);
	rc = message_summary_ready(kv, guid, &summary);
	mail_read_end(&kv);
	return rc;
}

static void a_summary_of_an_older_version_is_made_anew_once(void **state)
{
	struct fixture *fixture = *state;
	uint32_t uid = append(fixture, fixture->inbox, "Subject: old\r\n\r\nhello\r\n");
	struct guid guid = get(fixture, fixture->inbox, uid).guid;
	struct mime_summary summary;
	struct buffer blob = { 0 };
	struct kv_txn *kv = NULL;

	assert_int_equal(summary_is_ready(fixture, &guid), 0);
	assert_int_equal(
		store_commit(fixture->store, summary_age, &guid, NULL, &fixture->position), 0);
	assert_int_equal(summary_is_ready(fixture, &guid), ERR_NOT_FOUND);
	assert_int_equal(mail_read_begin(fixture->mail, fixture->position, &kv), 0);
	assert_int_equal(message_summary(fixture->mail, kv, &guid, &blob, &summary), 0);
	assert_memory_equal(summary.preview.ptr, "hello", 5);
	mail_read_end(&kv);
	mail_summaries_keep(fixture->mail);
	fixture->position = mail_position(fixture->mail);
	assert_int_equal(summary_is_ready(fixture, &guid), 0);
	buffer_deinit(&blob);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(uids_grow_and_uidnext_is_above_them),
		TEST(every_change_has_a_greater_modseq_and_unchanged_messages_are_not_written),
		TEST(metadata_counts_for_highestmodseq),
		TEST(keywords_are_one_in_any_case_and_replace_clears_the_others),
		TEST(a_message_changed_since_is_left_alone),
		TEST(expunge_takes_the_deleted_ones_and_notes_their_uids_as_vanished),
		TEST(a_move_keeps_the_instance_and_a_copy_makes_a_new_one),
		TEST(a_move_within_a_mailbox_gives_a_new_uid_once),
		TEST(renaming_takes_children_along_and_makes_missing_parents),
		TEST(renaming_inbox_moves_its_messages_and_leaves_it),
		TEST(a_mailbox_made_again_has_a_greater_uidvalidity),
		TEST(bad_mailbox_names_are_refused_with_the_reason),
		TEST(a_uid_below_uidnext_is_never_given_again),
		TEST(what_goes_back_is_refused),
		TEST(a_message_without_its_body_is_not_taken),
		TEST(two_live_mailboxes_never_have_one_name),
		TEST(uid_sets_join_what_touches),
		TEST(a_summary_of_an_older_version_is_made_anew_once),
		TEST(one_delivery_to_several_accounts_stores_one_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
