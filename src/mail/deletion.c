/* Deleting an account: first its messages, in steps, then all else in one commit. */
#include "mail/deletion.h"

#include "base/error.h"
#include "base/mem.h"
#include "mail/mail_private.h"
#include "mail/script.h"

#include <stdio.h>
#include <stdlib.h>

/* An account-level register, set while an account is being deleted; its value is when that began.
 * A deletion that was interrupted goes on from there, so that it can be undone as one act. */
#define DELETING_KEY "deleting"

bool deletion_is_mark(const struct register_record *record)
{
	return record->kind == RECORD_ACCOUNT && bytes_equal_string(record->key, DELETING_KEY);
}

struct account_deletion {
	struct stamp begun; /* of the first act; none: not begun */
	bool is_done;
	/* of the commit being run */
	struct account_write *write;
	struct mailbox_record *mailboxes; /* live ones */
	size_t mailbox_count, mailbox_room;
	struct message_record *messages; /* of the next step */
	size_t message_count, message_room;
	struct register_record *registers; /* set ones */
	size_t register_count, register_room;
};

static int collect_mailbox(void *context, const struct mailbox_record *mailbox)
{
	struct account_deletion *deletion = context;

	if (!mailbox_is_live(mailbox))
		return 0;
	mem_grow((void **)&deletion->mailboxes, &deletion->mailbox_room,
		deletion->mailbox_count + 1, sizeof(*deletion->mailboxes));
	deletion->mailboxes[deletion->mailbox_count++] = *mailbox;
	return 0;
}

static int collect_message(void *context, const struct message_record *message)
{
	struct account_deletion *deletion = context;

	if (deletion->message_count == MAIL_STEP_COUNT_MAX)
		return 1;
	mem_grow((void **)&deletion->messages, &deletion->message_room, deletion->message_count + 1,
		sizeof(*deletion->messages));
	deletion->messages[deletion->message_count++] = *message;
	return 0;
}

static int collect_register(void *context, const struct register_record *record)
{
	struct account_deletion *deletion = context;

	if (!record->is_set || (record->kind == RECORD_ACCOUNT &&
				       bytes_equal_string(record->key, ACCOUNT_MERGED_KEY)))
		return 0;
	mem_grow((void **)&deletion->registers, &deletion->register_room,
		deletion->register_count + 1, sizeof(*deletion->registers));
	deletion->registers[deletion->register_count++] = *record;
	return 0;
}

static int collect(struct account_deletion *deletion)
{
	struct account_write *write = deletion->write;
	int rc;

	deletion->mailbox_count = deletion->message_count = deletion->register_count = 0;
	rc = account_each_mailbox(
		write->kv, write->header.number, write->arena, collect_mailbox, deletion);
	for (size_t i = 0; i < deletion->mailbox_count && rc == 0; i++)
		rc = account_each_message(write->kv, write->header.number,
			deletion->mailboxes[i].id, 1, UINT32_MAX, write->arena, collect_message,
			deletion);
	return rc < 0 ? rc : 0;
}

/* What a register was stays in its tombstone, so that it can be brought back. */
static int clear_registers(struct account_deletion *deletion, struct stamp stamp)
{
	struct account_write *write = deletion->write;
	int rc = 0;

	for (int kind = RECORD_ACCOUNT; kind <= RECORD_SCRIPT && rc == 0; kind++)
		if (kind != RECORD_MAILBOX && kind != RECORD_MESSAGE)
			rc = account_each_register(write->kv, write->header.number,
				(enum record_kind)kind, write->arena, collect_register, deletion);
	for (size_t i = 0; i < deletion->register_count && rc == 0; i++) {
		struct register_record *record = &deletion->registers[i];

		record->value = script_next_value(record, write->arena);
		record->is_set = false;
		record->stamp = stamp;
		record->modseq = stamp.modseq;
		rc = account_put_register(write, record);
	}
	return rc;
}

static struct bytes begun_text(const struct account_deletion *deletion)
{
	return bytes_of_string(arena_printf(
		deletion->write->arena, "%llu", (unsigned long long)deletion->begun.modseq));
}

/* When it began; now, unless it was interrupted. */
static int begin(struct account_deletion *deletion, struct stamp now)
{
	struct account_write *write = deletion->write;
	struct register_record mark;
	int rc = account_get_register(write->kv, write->header.number, RECORD_ACCOUNT,
		(struct id128){ { 0 } }, BYTES_LITERAL(DELETING_KEY), write->arena, &mark);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	/* Another node's act has stamps of that node: it is not gone on with as one. */
	deletion->begun = now;
	if (rc == 0 && mark.is_set && mark.stamp.node == write->node) {
		deletion->begun.modseq = strtoull(arena_string(write->arena, mark.value), NULL, 10);
	}
	return 0;
}

static int finish(struct account_deletion *deletion)
{
	struct account_write *write = deletion->write;
	struct stamp stamp = account_stamp(write);
	struct register_record mark = { .kind = RECORD_ACCOUNT,
		.key = BYTES_LITERAL(ACCOUNT_DELETED_KEY),
		.stamp = stamp,
		.is_set = true,
		.modseq = stamp.modseq };
	int rc = clear_registers(deletion, stamp);

	for (size_t i = 0; i < deletion->mailbox_count && rc == 0; i++) {
		struct mailbox_record mailbox = deletion->mailboxes[i];

		if (stamp_is_none(mailbox.name_stamp) && bytes_equal_string(mailbox.name, "INBOX"))
			continue;
		mailbox.deleted = stamp;
		mailbox.modseq = stamp.modseq;
		rc = account_put_mailbox(write, &mailbox);
	}
	mark.value = begun_text(deletion);
	if (rc == 0)
		rc = account_put_register(write, &mark);
	deletion->is_done = true;
	return rc;
}

static int deletion_run(struct account_write *write, void *context)
{
	struct account_deletion *deletion = context;
	struct stamp stamp;
	int rc;

	if (write->header.is_deleted)
		return ERR_NOT_FOUND;
	deletion->write = write;
	rc = collect(deletion);
	stamp = account_stamp(write);
	if (rc == 0 && stamp_is_none(deletion->begun))
		rc = begin(deletion, stamp);
	for (size_t i = 0; i < deletion->message_count && rc == 0; i++)
		rc = message_remove_at(write, &deletion->messages[i], stamp);
	/* What arrives between two steps is deleted too: who deletes sees it. */
	if (rc == 0 && deletion->message_count < MAIL_STEP_COUNT_MAX)
		return finish(deletion);
	return rc < 0 ? rc
		      : register_write(write, RECORD_ACCOUNT, BYTES_LITERAL(DELETING_KEY), true,
				begun_text(deletion));
}

int mail_account_delete(struct mail *mail, uint32_t account, struct error *error)
{
	struct account_deletion deletion = { 0 };
	int rc = 0;

	while (rc == 0 && !deletion.is_done)
		rc = mail_commit(mail, account, deletion_run, &deletion, error, NULL);
	free(deletion.mailboxes);
	free(deletion.messages);
	free(deletion.registers);
	return rc == ERR_NOT_FOUND ? error_set(error, rc, "the account is deleted already") : rc;
}

int mail_account_find(struct mail *mail, struct bytes name, struct error *error, uint32_t *number_r)
{
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, mail_position(mail), &kv);

	if (rc == 0)
		rc = account_find(kv, name, number_r);
	mail_read_end(&kv);
	return rc == ERR_NOT_FOUND ? error_set(error, rc, "no account of that name") : rc;
}
