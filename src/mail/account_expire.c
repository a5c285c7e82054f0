/*
 * The index of what is gone, by time, and forgetting by it.
 *
 * A row of MAIL_TABLE_EXPIRY is TIME ACCOUNT KIND and what names the record. That of a tombstone of
 * a message holds where its last UID is noted as vanished, as both go together. Of a UID given up
 * otherwise, by a move or by placing, the row has the kind VANISHED.
 */
#include "mail/expiry.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/pack.h"
#include "mail/account_private.h"
#include "mail/mail_private.h"
#include "mail/seen.h"

#include <stdlib.h>

#define KIND_VANISHED 0
#define EXPIRY_HEAD_SIZE 13 /* TIME ACCOUNT KIND */
#define VANISHED_SIZE 28    /* MAILBOX modseq UID */
#define EXPIRY_KEY_SIZE (EXPIRY_HEAD_SIZE + 16 + REGISTER_KEY_SIZE_MAX)

static unsigned char *put_head(
	unsigned char *at, uint64_t gone_ms, uint32_t account, unsigned char kind)
{
	put_u64(at, gone_ms);
	put_u32(at + 8, account);
	at[12] = kind;
	return at + EXPIRY_HEAD_SIZE;
}

static void put_vanished(
	unsigned char at[VANISHED_SIZE], struct id128 mailbox, uint64_t modseq, uint32_t uid)
{
	memcpy(at, mailbox.bytes, 16);
	put_u64(at + 16, modseq);
	put_u32(at + 24, uid);
}

static struct bytes message_row(unsigned char at[EXPIRY_KEY_SIZE],
	const struct account_write *write, const struct message_record *message)
{
	unsigned char *rest = put_head(at, message->gone_ms, write->header.number, RECORD_MESSAGE);

	put_u64(rest, message->instance.modseq);
	put_u64(rest + 8, message->instance.node);
	return bytes_of(at, EXPIRY_HEAD_SIZE + 16);
}

static struct bytes register_row(unsigned char at[EXPIRY_KEY_SIZE],
	const struct account_write *write, const struct register_record *record)
{
	unsigned char *rest =
		put_head(at, record->gone_ms, write->header.number, (unsigned char)record->kind);

	memcpy(rest, record->mailbox.bytes, 16);
	if (record->key.len > 0)
		memcpy(rest + 16, record->key.ptr, record->key.len);
	return bytes_of(at, EXPIRY_HEAD_SIZE + 16 + record->key.len);
}

static int vanished_row_put(
	struct account_write *write, uint64_t gone_ms, const unsigned char vanished[VANISHED_SIZE])
{
	unsigned char key[EXPIRY_KEY_SIZE];

	memcpy(put_head(key, gone_ms, write->header.number, KIND_VANISHED), vanished,
		VANISHED_SIZE);
	return store_put(write->store, MAIL_TABLE_EXPIRY,
		bytes_of(key, EXPIRY_HEAD_SIZE + VANISHED_SIZE), BYTES_LITERAL(""));
}

/* It is shown again: only its old UID remains to be forgotten. */
static int message_returns(struct account_write *write, const struct message_record *before)
{
	unsigned char key[EXPIRY_KEY_SIZE], vanished[VANISHED_SIZE];
	struct bytes row = message_row(key, write, before), value;
	int rc = kv_get(write->kv, MAIL_TABLE_EXPIRY, row, &value);
	bool has_uid = rc == 0 && value.len == VANISHED_SIZE;

	if (has_uid)
		memcpy(vanished, value.ptr, VANISHED_SIZE);
	if (rc == 0)
		rc = store_delete(write->store, MAIL_TABLE_EXPIRY, row);
	if (rc == 0 && has_uid)
		rc = vanished_row_put(write, before->gone_ms, vanished);
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

static int message_goes(struct account_write *write, const struct message_record *before,
	struct message_record *after)
{
	unsigned char key[EXPIRY_KEY_SIZE], vanished[VANISHED_SIZE];
	bool was_shown = before != NULL && message_is_shown(before);
	bool has_vanished = was_shown && !account_is_unseen(write);

	after->gone_ms = write->now_ms > 0 ? write->now_ms : 1;
	after->gone_from = was_shown ? before->mailbox : (struct id128){ { 0 } };
	after->has_body = was_shown;
	if (has_vanished)
		put_vanished(vanished, before->mailbox, after->modseq, before->uid);
	return store_put(write->store, MAIL_TABLE_EXPIRY, message_row(key, write, after),
		bytes_of(vanished, has_vanished ? VANISHED_SIZE : 0));
}

int expiry_note_message(struct account_write *write, const struct message_record *before,
	struct message_record *after)
{
	unsigned char vanished[VANISHED_SIZE];
	bool was_shown = before != NULL && message_is_shown(before);

	if (!message_is_shown(after)) {
		if (was_shown || before == NULL || before->gone_ms == 0)
			return message_goes(write, before, after);
		after->gone_ms = before->gone_ms;
		after->gone_from = before->gone_from;
		after->has_body = before->has_body;
		return 0;
	}
	after->gone_ms = 0;
	after->gone_from = (struct id128){ { 0 } };
	after->has_body = false;
	if (before == NULL)
		return 0;
	if (!was_shown)
		return before->gone_ms != 0 ? message_returns(write, before) : 0;
	if ((before->uid == after->uid && id128_equal(before->mailbox, after->mailbox)) ||
		account_is_unseen(write))
		return 0;
	put_vanished(vanished, before->mailbox, after->modseq, before->uid);
	return vanished_row_put(write, write->now_ms, vanished);
}

int expiry_note_register(struct account_write *write, const struct register_record *before,
	struct register_record *after)
{
	unsigned char key[EXPIRY_KEY_SIZE];
	int rc = 0;

	after->gone_ms = 0;
	/* Cursors of users count cleared \Seen too, as long as there is the message. */
	if (!after->is_set && (after->kind != RECORD_SEEN || seen_is_gone(after)))
		after->gone_ms = before->gone_ms != 0 ? before->gone_ms
				 : write->now_ms > 0  ? write->now_ms
						      : 1;
	if (after->gone_ms == before->gone_ms)
		return 0;
	if (before->gone_ms != 0)
		rc = store_delete(
			write->store, MAIL_TABLE_EXPIRY, register_row(key, write, before));
	if (rc == 0 && after->gone_ms != 0)
		rc = store_put(write->store, MAIL_TABLE_EXPIRY, register_row(key, write, after),
			BYTES_LITERAL(""));
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

bool expiry_has_message(struct kv_txn *kv, uint32_t account, const struct message_record *message)
{
	struct account_write write = { .header.number = account };
	unsigned char key[EXPIRY_KEY_SIZE];
	struct bytes value;

	return kv_get(kv, MAIL_TABLE_EXPIRY, message_row(key, &write, message), &value) == 0;
}

/* ---- forgetting ---- */

/* A row found in a snapshot; the commit looks again. */
struct row {
	uint64_t gone_ms;
	uint32_t account;
	uint8_t kind;
	struct bytes key;  /* the whole */
	struct bytes rest; /* what follows the head */
};

struct rows {
	struct arena *arena;
	struct row list[EXPIRY_STEP_COUNT];
	size_t count;
	struct row *first; /* of the account being worked on ... */
	size_t part;       /* ... and how many it has */
	bool only_local_bodies;
};

static int read_rows(struct kv_txn *kv, struct bytes after, uint64_t before_ms, struct rows *rows)
{
	struct kv_cursor *cursor = NULL;
	int rc = kv_cursor_open(kv, MAIL_TABLE_EXPIRY, &cursor);

	if (rc < 0)
		return rc;
	for (rc = kv_cursor_seek(cursor, after.len > 0 ? after : BYTES_LITERAL("\0"));
		rc == 0 && rows->count < EXPIRY_STEP_COUNT; rc = kv_cursor_next(cursor)) {
		struct row *row = &rows->list[rows->count];
		struct bytes key = arena_copy(rows->arena, kv_cursor_key(cursor));

		if (bytes_equal(key, after))
			continue;
		*row = (struct row){ .key = key, .rest = key };
		if (unpack_u64(&row->rest, &row->gone_ms) < 0 ||
			unpack_u32(&row->rest, &row->account) < 0 ||
			unpack_u8(&row->rest, &row->kind) < 0) {
			rc = ERR_CORRUPT;
			break;
		}
		if (row->gone_ms >= before_ms)
			break;
		rows->count++;
	}
	kv_cursor_close(&cursor);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int unpack_instance(struct bytes in, struct stamp *instance_r)
{
	if (unpack_u64(&in, &instance_r->modseq) < 0 || unpack_u64(&in, &instance_r->node) < 0)
		return ERR_CORRUPT;
	return 0;
}

/* Cursors below its modseq are told by what is shown now (account_each_uid_change_roaming()). */
static int forget_vanished(struct account_write *write, struct bytes vanished)
{
	unsigned char key[MODSEQ_KEY_SIZE];
	struct id128 mailbox;
	uint64_t modseq;
	uint32_t uid;
	int rc;

	if (unpack_raw(&vanished, mailbox.bytes, sizeof(mailbox.bytes)) < 0 ||
		unpack_u64(&vanished, &modseq) < 0 || unpack_u32(&vanished, &uid) < 0)
		return ERR_CORRUPT;
	rc = store_delete(write->store, MAIL_TABLE_MODSEQ,
		modseq_key(key, write->header.number, mailbox, modseq, uid));
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	if (write->header.vanished_floor < modseq)
		write->header.vanished_floor = modseq;
	return 0;
}

/* It was not expunged, but is where this copy does not see it: without its record, what belongs to
 * it would be nobody's here. */
static int keep_elsewhere(struct account_write *write, const struct message_record *message)
{
	struct message_record kept = *message;

	kept.gone_ms = 0;
	kept.gone_from = (struct id128){ { 0 } };
	kept.has_body = false;
	return account_instance_put(write, &kept);
}

static int forget_message(struct account_write *write, const struct row *row)
{
	unsigned char key[INSTANCE_KEY_SIZE];
	struct message_record message;
	struct stamp instance;
	struct bytes vanished;
	int rc = unpack_instance(row->rest, &instance);

	if (rc == 0)
		rc = account_get_message(
			write->kv, write->header.number, instance, write->arena, &message);
	if (rc == 0 && (message_is_shown(&message) || message.gone_ms != row->gone_ms))
		rc = ERR_CORRUPT;
	if (rc == 0)
		rc = kv_get(write->kv, MAIL_TABLE_EXPIRY, row->key, &vanished);
	if (rc == 0 && vanished.len > 0)
		rc = forget_vanished(write, arena_copy(write->arena, vanished));
	if (rc == 0)
		rc = account_release_kept(write, &message);
	if (rc == 0 && !id128_is_none(message.placed_in))
		return keep_elsewhere(write, &message);
	if (rc == 0 && write->header.forgotten < message.sequence)
		write->header.forgotten = message.sequence;
	if (rc == 0)
		rc = store_delete(write->store, MAIL_TABLE_SEQUENCE,
			sequence_key(key, write->header.number, message.sequence));
	if (rc == 0)
		rc = store_delete(write->store, MAIL_TABLE_INSTANCE,
			instance_key(key, write->header.number, instance));
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

static int forget_register(struct account_write *write, const struct row *row)
{
	unsigned char key[REGISTER_KEY_SIZE], sequence[SEQUENCE_KEY_SIZE];
	struct register_record record;
	struct bytes name = row->rest;
	struct id128 mailbox;
	int rc = unpack_raw(&name, mailbox.bytes, sizeof(mailbox.bytes));

	if (rc == 0)
		rc = account_get_register(write->kv, write->header.number,
			(enum record_kind)row->kind, mailbox, name, write->arena, &record);
	if (rc == 0 && (record.is_set || record.gone_ms != row->gone_ms))
		rc = ERR_CORRUPT;
	if (rc == 0)
		rc = store_delete(write->store, MAIL_TABLE_SEQUENCE,
			sequence_key(sequence, write->header.number, record.sequence));
	if (rc == 0)
		rc = store_delete(write->store, MAIL_TABLE_REGISTER,
			register_key(key, write->header.number, record.kind, mailbox, name));
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

static int forget(struct account_write *write, const struct row *row)
{
	struct bytes value;
	int rc = kv_get(write->kv, MAIL_TABLE_EXPIRY, row->key, &value);

	if (rc < 0) /* it came back since it was looked for */
		return rc == ERR_NOT_FOUND ? 0 : rc;
	if (row->kind == KIND_VANISHED)
		rc = forget_vanished(write, row->rest);
	else if (row->kind == RECORD_MESSAGE)
		rc = forget_message(write, row);
	else
		rc = forget_register(write, row);
	return rc < 0 ? rc : store_delete(write->store, MAIL_TABLE_EXPIRY, row->key);
}

static int forget_row(struct account_write *write, struct bytes key, uint64_t gone_ms)
{
	struct row row = { .gone_ms = gone_ms, .key = key, .rest = key };
	int rc;

	bytes_skip(&row.rest, EXPIRY_HEAD_SIZE);
	row.kind = key.ptr[EXPIRY_HEAD_SIZE - 1];
	rc = gone_ms != 0 ? forget(write, &row) : ERR_CORRUPT;
	write->is_counted = true;
	return rc;
}

int expiry_forget_message(struct account_write *write, const struct message_record *message)
{
	unsigned char key[EXPIRY_KEY_SIZE];

	return forget_row(write, message_row(key, write, message), message->gone_ms);
}

int expiry_forget_register(struct account_write *write, const struct register_record *record)
{
	unsigned char key[EXPIRY_KEY_SIZE];

	return forget_row(write, register_row(key, write, record), record->gone_ms);
}

static int give_up_local_body(struct account_write *write, const struct row *row)
{
	struct message_record message;
	struct stamp instance;
	int rc = unpack_instance(row->rest, &instance);

	if (rc == 0)
		rc = account_get_message(
			write->kv, write->header.number, instance, write->arena, &message);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	if (!message.has_body || message.placed.node != write->node)
		return 0;
	return account_give_up_kept(write, &message);
}

static int rows_run(struct account_write *write, void *context)
{
	const struct rows *rows = context;
	int rc = 0;

	for (size_t i = 0; i < rows->part && rc == 0; i++) {
		const struct row *row = &rows->first[i];

		if (!rows->only_local_bodies)
			rc = forget(write, row);
		else if (row->kind == RECORD_MESSAGE)
			rc = give_up_local_body(write, row);
	}
	write->is_counted = true;
	return rc;
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *left = a, *right = b;

	if (left->account != right->account)
		return left->account < right->account ? -1 : 1;
	return bytes_compare(left->key, right->key);
}

/* What users of other accounts have seen of them. First: if this is cut short, the rows remain. */
static int forget_seen(struct mail *mail, const struct rows *rows, struct error *error)
{
	struct stamp instances[EXPIRY_STEP_COUNT];
	size_t count = 0;

	for (size_t i = 0; i < rows->part; i++) {
		const struct row *row = &rows->first[i];

		if (row->kind == RECORD_MESSAGE &&
			unpack_instance(row->rest, &instances[count]) == 0)
			count++;
	}
	return seen_forget(mail, rows->first->account, instances, count, error);
}

/* One commit for each account among the rows. */
static int commit_rows(struct mail *mail, struct rows *rows, struct error *error)
{
	int rc = 0;

	qsort(rows->list, rows->count, sizeof(rows->list[0]), compare_rows);
	for (size_t at = 0; at < rows->count && rc == 0; at += rows->part) {
		rows->first = &rows->list[at];
		rows->part = 1;
		while (at + rows->part < rows->count &&
			rows->list[at + rows->part].account == rows->first->account)
			rows->part++;
		if (!rows->only_local_bodies)
			rc = forget_seen(mail, rows, error);
		if (rc == 0)
			rc = mail_node_commit(
				mail, rows->first->account, rows_run, rows, error, NULL);
	}
	return rc;
}

/* Moves *after on to the last row taken. */
static int step(struct mail *mail, struct buffer *after, uint64_t before_ms, bool only_local_bodies,
	struct error *error)
{
	struct rows *rows = mem_zalloc(sizeof(*rows));
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, mail_position(mail), &kv);

	rows->arena = arena_new();
	rows->only_local_bodies = only_local_bodies;
	if (rc == 0)
		rc = read_rows(kv, buffer_bytes(after), before_ms, rows);
	mail_read_end(&kv);
	if (rc < 0)
		error_set(
			error, rc, "the index of what is gone cannot be read: %s", error_name(rc));
	if (rc == 0 && rows->count > 0) {
		buffer_clear(after);
		buffer_append_bytes(after, rows->list[rows->count - 1].key);
	}
	if (rc == 0)
		rc = commit_rows(mail, rows, error);
	if (rc == 0)
		rc = rows->count == EXPIRY_STEP_COUNT;
	arena_free(&rows->arena);
	free(rows);
	return rc;
}

int mail_expire(struct mail *mail, uint64_t before_ms, struct error *error)
{
	struct buffer after = { 0 };
	int rc = step(mail, &after, before_ms, false, error);

	buffer_deinit(&after);
	return rc;
}

int mail_expire_local_bodies(
	struct mail *mail, uint64_t before_ms, struct buffer *after, struct error *error)
{
	return step(mail, after, before_ms, true, error);
}
