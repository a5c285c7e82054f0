#include "mail/forget.h"

#include "base/error.h"
#include "base/mem.h"
#include "mail/account_private.h"
#include "mail/annotation.h"
#include "mail/watch_note.h"

#include <limits.h>
#include <stdlib.h>

#define LIST_FULL INT_MAX /* never seen by callers */

/* ---- registers ---- */

struct register_list {
	struct register_record *list;
	size_t count, room;
};

static int add_register(void *context, const struct register_record *record)
{
	struct register_list *registers = context;

	mem_grow((void **)&registers->list, &registers->room, registers->count + 1,
		sizeof(*registers->list));
	registers->list[registers->count++] = *record;
	return 0;
}

static int forget_register(struct account_write *write, const struct register_record *record)
{
	struct register_record cleared = *record;
	int rc = 0;

	if (record->is_set) {
		cleared.stamp = account_stamp(write);
		cleared.modseq = cleared.stamp.modseq;
		cleared.is_set = false;
		cleared.value = (struct bytes){ 0 };
		rc = account_put_register(write, &cleared);
		if (rc == 0)
			rc = account_get_register(write->kv, write->header.number, record->kind,
				record->mailbox, record->key, write->arena, &cleared);
	}
	return rc < 0 ? rc : expiry_forget_register(write, &cleared);
}

static int forget_registers(struct account_write *write, enum record_kind kind,
	struct id128 mailbox, struct bytes prefix)
{
	struct register_list registers = { 0 };
	int rc = account_each_register_of(write->kv, write->header.number, kind, mailbox, prefix,
		write->arena, add_register, &registers);

	for (size_t i = 0; i < registers.count && rc == 0; i++)
		rc = forget_register(write, &registers.list[i]);
	free(registers.list);
	return rc;
}

struct metadata_forgetting {
	struct id128 mailbox;
	struct bytes key;
};

static int metadata_run(struct account_write *write, void *context)
{
	const struct metadata_forgetting *forgetting = context;
	struct register_record record;
	int rc = account_get_register(write->kv, write->header.number, RECORD_ANNOTATION,
		forgetting->mailbox, forgetting->key, write->arena, &record);

	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	return forget_register(write, &record);
}

int metadata_forget(struct mail *mail, uint32_t account, struct id128 mailbox, struct bytes key,
	struct error *error)
{
	struct metadata_forgetting forgetting = { mailbox, key };

	return mail_node_commit(mail, account, metadata_run, &forgetting, error, NULL);
}

/* ---- messages ---- */

int message_forget_in(struct account_write *write, struct stamp instance)
{
	unsigned char at[REGISTER_KEY_SIZE_MAX];
	struct message_record message;
	int rc = account_get_message(
		write->kv, write->header.number, instance, write->arena, &message);

	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	if (annotation_was_made(&message))
		rc = forget_registers(write, RECORD_ANNOTATION, (struct id128){ { 0 } },
			annotation_prefix(at, instance));
	if (rc == 0 && message.gone_ms == 0) {
		message.mailbox = message.placed_in = (struct id128){ { 0 } };
		message.uid = 0;
		message.modseq = account_tick(write, message.modseq);
		rc = account_put_message(write, &message);
		if (rc == 0)
			rc = account_get_message(
				write->kv, write->header.number, instance, write->arena, &message);
	}
	return rc < 0 ? rc : expiry_forget_message(write, &message);
}

static bool has_flag_of(const struct message_record *message, uint64_t node)
{
	for (size_t i = 0; i < message->flag_count; i++)
		if (message->flags[i].stamp.node == node)
			return true;
	return false;
}

static int message_withdraw_in(struct account_write *write, struct stamp instance)
{
	struct message_record message, known;
	int rc = account_get_message(
		write->kv, write->header.number, instance, write->arena, &message);

	if (rc == 0)
		rc = message_forget_in(write, instance);
	if (rc < 0 || !has_flag_of(&message, write->node))
		return rc == ERR_NOT_FOUND ? 0 : rc;
	known = (struct message_record){ .instance = instance,
		.placed = instance,
		.placed_in = message_is_shown(&message) ? message.mailbox : message.gone_from,
		.guid = message.guid,
		.size = message.size,
		.internaldate = message.internaldate,
		.flags = message.flags,
		.flag_count = message.flag_count };
	known.modseq = account_tick(write, message.modseq);
	return id128_is_none(known.placed_in) ? 0 : account_put_message(write, &known);
}

typedef int forget_function(struct account_write *write, struct stamp instance);

struct forgetting {
	forget_function *function;
	const struct stamp *instances;
	size_t count;
};

static int messages_run(struct account_write *write, void *context)
{
	const struct forgetting *forgetting = context;
	int rc = 0;

	for (size_t i = 0; i < forgetting->count && rc == 0; i++)
		rc = forgetting->function(write, forgetting->instances[i]);
	return rc;
}

static int forget_each(struct mail *mail, uint32_t account, forget_function *function,
	const struct stamp *instances, size_t count, struct error *error)
{
	int rc = 0;

	for (size_t at = 0; at < count && rc == 0; at += FORGET_STEP_COUNT) {
		struct forgetting forgetting = { function, instances + at, count - at };

		if (forgetting.count > FORGET_STEP_COUNT)
			forgetting.count = FORGET_STEP_COUNT;
		rc = mail_node_commit(mail, account, messages_run, &forgetting, error, NULL);
	}
	return rc;
}

int message_forget(struct mail *mail, uint32_t account, const struct stamp *instances, size_t count,
	struct error *error)
{
	return forget_each(mail, account, message_forget_in, instances, count, error);
}

int message_withdraw(struct mail *mail, uint32_t account, const struct stamp *instances,
	size_t count, struct error *error)
{
	return forget_each(mail, account, message_withdraw_in, instances, count, error);
}

/* ---- a mailbox ---- */

struct mailbox_forgetting {
	struct id128 id;
	uint64_t node; /* that stamps what is appended here */
	uint64_t until;
	struct stamp instances[FORGET_STEP_COUNT];
	size_t count;
};

static int note_message(void *context, const struct message_record *message)
{
	struct mailbox_forgetting *forgetting = context;

	if (message->instance.node == forgetting->node &&
		message->placed_sequence > forgetting->until)
		return ERR_CHANGED;
	if (forgetting->count == FORGET_STEP_COUNT)
		return LIST_FULL;
	forgetting->instances[forgetting->count++] = message->instance;
	return 0;
}

static int mailbox_messages_run(struct account_write *write, void *context)
{
	struct mailbox_forgetting *forgetting = context;
	int rc;

	forgetting->count = 0;
	forgetting->node = write->node;
	rc = account_each_message(write->kv, write->header.number, forgetting->id, 1, UINT32_MAX,
		write->arena, note_message, forgetting);
	rc = rc == LIST_FULL ? 0 : rc;
	for (size_t i = 0; i < forgetting->count && rc == 0; i++)
		rc = message_withdraw_in(write, forgetting->instances[i]);
	return rc;
}

static int name_row_delete(struct account_write *write, const struct mailbox_record *mailbox)
{
	unsigned char key[4 + MAILBOX_NAME_SIZE_MAX];
	struct bytes row = name_key(key, write->header.number, mailbox->name), value;
	int rc;

	if (!mailbox_is_live(mailbox))
		return 0;
	row = arena_copy(write->arena, row);
	rc = kv_get(write->kv, MAIL_TABLE_MAILBOX_NAME, row, &value);
	if (rc == 0 && bytes_equal(value, bytes_of(mailbox->id.bytes, 16)))
		rc = store_delete(write->store, MAIL_TABLE_MAILBOX_NAME, row);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* Its rows, of which this write has touched none. */
static int rows_delete(struct account_write *write, const struct mailbox_record *mailbox)
{
	unsigned char key[MAILBOX_KEY_SIZE], sequence[SEQUENCE_KEY_SIZE];
	struct watch_event event = { .kind = RECORD_MAILBOX,
		.mailbox = mailbox->id,
		.changes = WATCH_NAME,
		.was_there = mailbox_is_live(mailbox),
		.name = mailbox->name,
		.position = store_write_position(write->store) };
	int rc = name_row_delete(write, mailbox);

	if (rc == 0)
		rc = store_delete(write->store, MAIL_TABLE_SEQUENCE,
			sequence_key(sequence, write->header.number, mailbox->sequence));
	if (rc == 0)
		rc = store_delete(write->store, MAIL_TABLE_MAILBOX,
			mailbox_key(key, write->header.number, mailbox->id));
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	digest_subtract(&write->header.digest, mailbox->digest);
	write->header.mailbox_count -= mailbox_is_live(mailbox);
	write->header.sequence++;
	write->is_dirty = true;
	watch_note_put(write->store, write->header.number, &event);
	return 0;
}

/* What is set of a mailbox is a change of it, so its rows go in another commit. */
static int mailbox_registers_run(struct account_write *write, void *context)
{
	const struct mailbox_forgetting *forgetting = context;
	int rc = forget_registers(write, RECORD_ACL, forgetting->id, (struct bytes){ 0 });

	return rc < 0 ? rc
		      : forget_registers(
				write, RECORD_ANNOTATION, forgetting->id, (struct bytes){ 0 });
}

static int mailbox_run(struct account_write *write, void *context)
{
	const struct mailbox_forgetting *forgetting = context;
	struct mailbox_record mailbox, inbox;
	int rc = account_get_mailbox(
		write->kv, write->header.number, forgetting->id, write->arena, &mailbox);

	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	rc = mailbox_registers_run(write, context);
	/* Something came or was set since the last step. */
	if (rc == 0 && (mailbox.message_count > 0 || write->floor_count > 0))
		rc = ERR_CHANGED;
	if (rc == 0)
		rc = rows_delete(write, &mailbox);
	inbox = account_inbox(bytes_of_string(write->header.name));
	if (rc == 0 && id128_equal(inbox.id, forgetting->id))
		rc = account_put_mailbox(write, &inbox);
	return rc;
}

int mailbox_forget(struct mail *mail, uint32_t account, struct id128 mailbox, uint64_t until,
	struct error *error)
{
	struct mailbox_forgetting *forgetting = mem_zalloc(sizeof(*forgetting));
	int rc;

	forgetting->id = mailbox;
	forgetting->until = until;
	do {
		rc = mail_node_commit(mail, account, mailbox_messages_run, forgetting, error, NULL);
	} while (rc == 0 && forgetting->count == FORGET_STEP_COUNT);
	if (rc == 0)
		rc = mail_node_commit(
			mail, account, mailbox_registers_run, forgetting, error, NULL);
	if (rc == 0)
		rc = mail_node_commit(mail, account, mailbox_run, forgetting, error, NULL);
	free(forgetting);
	return rc;
}
