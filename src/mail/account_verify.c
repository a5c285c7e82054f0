/*
 * Checking an account against itself: everything that account_write.c keeps in step is computed
 * again from the records, in one read snapshot, and compared.
 */
#include "mail/mail.h"

#include "base/error.h"
#include "base/pack.h"
#include "mail/account_private.h"
#include "mail/annotation.h"

#include <stdarg.h>
#include <stdio.h>

struct verify {
	struct mail *mail;
	struct kv_txn *kv;
	struct account_header header;
	bool check_bodies;
	void (*report)(void *context, const char *text);
	void *context;
	struct arena *arena;        /* of the mailbox being checked */
	struct arena *scratch;      /* of the message being checked */
	struct mailbox_record sums; /* counts and digest as they should be */
	struct digest digest;
	uint64_t record_count, message_count, byte_count, annotation_byte_count, kept_count,
		kept_bytes;
	uint32_t mailbox_count;
};

__attribute__((format(printf, 2, 3))) static void finding(
	struct verify *verify, const char *format, ...)
{
	char text[512];
	va_list args;
	int len = snprintf(text, sizeof(text), "account %s: ", verify->header.name);

	va_start(args, format);
	vsnprintf(text + len, sizeof(text) - (size_t)len, format, args);
	va_end(args);
	verify->report(verify->context, text);
}

static void check_row(struct verify *verify, unsigned table, struct bytes key,
	struct bytes expected, const char *what, uint32_t uid)
{
	struct bytes value;
	int rc = kv_get(verify->kv, table, key, &value);

	if (rc == ERR_NOT_FOUND)
		finding(verify, "%s entry of UID %u is missing", what, uid);
	else if (rc < 0)
		finding(verify, "%s entry of UID %u cannot be read: %s", what, uid, error_name(rc));
	else if (!bytes_equal(value, expected))
		finding(verify, "%s entry of UID %u is wrong", what, uid);
}

static void check_message_rows(struct verify *verify, const struct message_record *message)
{
	unsigned char key[MODSEQ_KEY_SIZE], value[1 + 16 + 4], entry[17];
	uint32_t account = verify->header.number;

	value[0] = ENTRY_SHOWN;
	memcpy(value + 1, message->mailbox.bytes, 16);
	put_u32(value + 17, message->uid);
	check_row(verify, MAIL_TABLE_INSTANCE, instance_key(key, account, message->instance),
		bytes_of(value, sizeof(value)), "instance", message->uid);
	check_row(verify, MAIL_TABLE_MODSEQ,
		modseq_key(key, account, message->mailbox, message->modseq, message->uid),
		bytes_of(value, 1), "modseq", message->uid);
	check_row(verify, MAIL_TABLE_SEQUENCE, sequence_key(key, account, message->sequence),
		sequence_value_message(entry, message->instance), "sequence", message->uid);
}

static void check_body(struct verify *verify, const struct message_record *message)
{
	struct buffer body = { 0 };
	struct guid guid;
	uint64_t size;
	int rc = store_body_exists(verify->kv, &message->guid, &size);

	if (rc == 0 && size != message->size)
		finding(verify, "mailbox %.*s: UID %u: body has %llu bytes instead of %llu",
			BYTES_ARGS(verify->sums.name), message->uid, (unsigned long long)size,
			(unsigned long long)message->size);
	if (rc == 0 && verify->check_bodies) {
		rc = store_body_read(mail_store(verify->mail), verify->kv, &message->guid, &body);
		guid_of(buffer_bytes(&body), &guid);
		if (rc == 0 && !guid_equal(&guid, &message->guid))
			rc = ERR_CORRUPT;
	}
	if (rc < 0)
		finding(verify, "mailbox %.*s: UID %u: body: %s", BYTES_ARGS(verify->sums.name),
			message->uid, error_name(rc));
	buffer_deinit(&body);
}

static int check_message(void *context, const struct message_record *message)
{
	struct verify *verify = context;
	struct mailbox_record *sums = &verify->sums;

	sums->message_count++;
	sums->unseen_count += !message_has_flag(message, BYTES_LITERAL("\\Seen"));
	sums->deleted_count += message_has_flag(message, BYTES_LITERAL("\\Deleted"));
	sums->byte_count += message->size;
	if (message_has_flag(message, BYTES_LITERAL("\\Deleted")))
		sums->deleted_byte_count += message->size;
	if (message->modseq > sums->highestmodseq)
		sums->highestmodseq = message->modseq;
	if (message->uid >= sums->uidnext)
		sums->uidnext = message->uid + 1;
	digest_add(&sums->digest, message_term(message));
	verify->record_count++;
	if (message->modseq > verify->header.highest || message->sequence > verify->header.sequence)
		finding(verify, "mailbox %.*s: UID %u is ahead of the account's clock",
			BYTES_ARGS(sums->name), message->uid);
	check_message_rows(verify, message);
	check_body(verify, message);
	return 0;
}

static void compare_sums(struct verify *verify, const struct mailbox_record *mailbox)
{
	const struct mailbox_record *sums = &verify->sums;

	if (sums->message_count != mailbox->message_count ||
		sums->unseen_count != mailbox->unseen_count ||
		sums->deleted_count != mailbox->deleted_count ||
		sums->byte_count != mailbox->byte_count ||
		sums->deleted_byte_count != mailbox->deleted_byte_count)
		finding(verify,
			"mailbox %.*s: counts are %u messages, %u unseen, %u deleted (%llu bytes), "
			"%llu bytes instead of %u, %u, %u (%llu), %llu",
			BYTES_ARGS(mailbox->name), mailbox->message_count, mailbox->unseen_count,
			mailbox->deleted_count, (unsigned long long)mailbox->deleted_byte_count,
			(unsigned long long)mailbox->byte_count, sums->message_count,
			sums->unseen_count, sums->deleted_count,
			(unsigned long long)sums->deleted_byte_count,
			(unsigned long long)sums->byte_count);
	if (sums->highestmodseq > mailbox->highestmodseq || sums->uidnext > mailbox->uidnext)
		finding(verify, "mailbox %.*s: a message is above its UIDNEXT or HIGHESTMODSEQ",
			BYTES_ARGS(mailbox->name));
	if (!digest_equal(sums->digest, mailbox->digest))
		finding(verify, "mailbox %.*s: the digest is not that of its records",
			BYTES_ARGS(mailbox->name));
	if (!mailbox_is_live(mailbox) && sums->message_count > 0 &&
		verify->header.hold != ACCOUNT_FILLING)
		finding(verify, "mailbox %.*s: deleted, but shows %u messages",
			BYTES_ARGS(mailbox->name), sums->message_count);
}

static int check_mailbox(void *context, const struct mailbox_record *mailbox)
{
	struct verify *verify = context;
	unsigned char key[4 + MAILBOX_NAME_SIZE_MAX], entry[17];
	int rc;

	verify->sums = (struct mailbox_record){ .name = mailbox->name };
	verify->sums.digest = mailbox_term(mailbox);
	rc = account_each_message(verify->kv, verify->header.number, mailbox->id, 1, UINT32_MAX,
		verify->scratch, check_message, verify);
	if (rc < 0)
		finding(verify, "mailbox %.*s: a message record cannot be read: %s",
			BYTES_ARGS(mailbox->name), error_name(rc));
	arena_reset(verify->scratch);
	compare_sums(verify, mailbox);
	if (mailbox_is_live(mailbox) && verify->header.hold != ACCOUNT_FILLING)
		check_row(verify, MAIL_TABLE_MAILBOX_NAME,
			name_key(key, verify->header.number, mailbox->name),
			bytes_of(mailbox->id.bytes, 16), "name", 0);
	check_row(verify, MAIL_TABLE_SEQUENCE,
		sequence_key(key, verify->header.number, mailbox->sequence),
		sequence_value_mailbox(entry, mailbox->id), "sequence", 0);
	digest_add(&verify->digest, verify->sums.digest);
	verify->message_count += verify->sums.message_count;
	verify->byte_count += verify->sums.byte_count;
	verify->mailbox_count += mailbox_is_live(mailbox);
	return 0;
}

static int check_register(void *context, const struct register_record *record)
{
	struct verify *verify = context;
	int rc = register_index_check(verify->kv, verify->header.number, record);

	if (rc == ERR_CORRUPT)
		finding(verify, "the index entry of a register of kind %d is wrong", record->kind);
	else if (rc < 0)
		return rc;
	digest_add(&verify->digest, register_term(record));
	verify->annotation_byte_count += annotation_message_size(record);
	return 0;
}

/* Whatever the order of changes names must be there: it is read. */
static int skip_mailbox(void *context, const struct mailbox_record *mailbox)
{
	(void)context;
	(void)mailbox;
	return 0;
}

static int check_gone(void *context, const struct message_record *message)
{
	struct verify *verify = context;

	if (message_is_shown(message) || message->gone_ms == 0)
		return 0;
	if (!expiry_has_message(verify->kv, verify->header.number, message))
		finding(verify, "a message that is gone is not in the index of what expires");
	if (!message->has_body)
		return 0;
	verify->kept_count++;
	verify->kept_bytes += message->size;
	if (store_body_exists(verify->kv, &message->guid, NULL) < 0)
		finding(verify, "the body kept for a message that is gone is not there");
	return 0;
}

static int skip_register(void *context, const struct register_record *record)
{
	(void)context;
	(void)record;
	return 0;
}

static int verify_account(struct verify *verify)
{
	static const struct account_change_functions check = { skip_mailbox, check_gone,
		skip_register };
	uint32_t account = verify->header.number;
	int rc;

	/* What is still here of one that is away is no copy of anything (mail/away.h). */
	if (verify->header.hold == ACCOUNT_AWAY)
		return 0;
	rc = account_each_mailbox(verify->kv, account, verify->arena, check_mailbox, verify);

	for (int kind = RECORD_ACCOUNT; kind <= RECORD_SCRIPT && rc == 0; kind++)
		rc = account_each_register(verify->kv, account, (enum record_kind)kind,
			verify->arena, check_register, verify);
	/* Reads every record that the sequence index names: one that is not there is ERR_CORRUPT.
	 */
	if (rc == 0)
		rc = account_each_change(verify->kv, account, 0, verify->arena, &check, verify);
	if (rc < 0) {
		finding(verify, "a record cannot be read: %s", error_name(rc));
		return rc;
	}
	if (!digest_equal(verify->digest, verify->header.digest))
		finding(verify, "the account's digest is not that of its records");
	if (verify->kept_count != verify->header.kept_count ||
		verify->kept_bytes != verify->header.kept_bytes)
		finding(verify, "the account counts %llu kept bodies, there are %llu",
			(unsigned long long)verify->header.kept_count,
			(unsigned long long)verify->kept_count);
	if (verify->message_count != verify->header.message_count ||
		verify->byte_count != verify->header.byte_count)
		finding(verify,
			"the account counts %llu messages of %llu bytes, there are %llu of %llu",
			(unsigned long long)verify->header.message_count,
			(unsigned long long)verify->header.byte_count,
			(unsigned long long)verify->message_count,
			(unsigned long long)verify->byte_count);
	if (verify->mailbox_count != verify->header.mailbox_count ||
		verify->annotation_byte_count != verify->header.annotation_byte_count)
		finding(verify,
			"the account counts %u mailboxes and %llu bytes of annotations, there are "
			"%u and %llu",
			verify->header.mailbox_count,
			(unsigned long long)verify->header.annotation_byte_count,
			verify->mailbox_count, (unsigned long long)verify->annotation_byte_count);
	return 0;
}

int account_verify(struct mail *mail, uint32_t account, bool check_bodies,
	void (*report)(void *context, const char *text), void *context)
{
	struct verify verify = { .mail = mail,
		.check_bodies = check_bodies,
		.report = report,
		.context = context,
		.arena = arena_new(),
		.scratch = arena_new() };
	int rc = mail_read_begin(mail, 0, &verify.kv);

	if (rc == 0)
		rc = account_load(verify.kv, account, &verify.header);
	if (rc == 0)
		rc = verify_account(&verify);
	mail_read_end(&verify.kv);
	arena_free(&verify.scratch);
	arena_free(&verify.arena);
	return rc;
}
