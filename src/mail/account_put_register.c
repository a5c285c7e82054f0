/*
 * Writing a register: its rows, what it means for the account, and what watches hear of it.
 */
#include "mail/account_write_private.h"

#include "base/error.h"
#include "base/pack.h"
#include "mail/annotation.h"
#include "mail/watch_note.h"

/* Kept until the write has succeeded. */
static void register_note(struct account_write *write, const struct register_record *before,
	const struct register_record *after)
{
	struct watch_event event = { .kind = after->kind,
		.mailbox = after->mailbox,
		.was_there = before->is_set,
		.name = after->key,
		.position = store_write_position(write->store) };
	struct buffer note = { 0 };

	if (after->kind == RECORD_ACL && before->is_set)
		event.value = before->value;
	/* Of ACLs those are to hear who watch no account; commits bound how many there are. */
	if (after->kind != RECORD_ACL && ++write->note_count > WATCH_EVENT_COUNT_MAX)
		return; /* see notes_put() */
	watch_note_encode(&note, &event);
	pack_bytes(&write->notes, buffer_bytes(&note));
	buffer_deinit(&note);
}

/* A change of a mailbox's metadata counts for its HIGHESTMODSEQ (RFC 7162, 3.2). */
static int metadata_shown(struct account_write *write, const struct register_record *record)
{
	struct account_floor *floor;
	int scope = bytes_peek(record->key);
	int rc;

	if (record->kind != RECORD_ANNOTATION || id128_is_none(record->mailbox) ||
		(scope != ANNOTATION_PRIVATE && scope != ANNOTATION_SHARED))
		return 0;
	rc = account_floor_get(write, record->mailbox, &floor);
	if (rc == 0 && floor->exists)
		account_highest_raise(floor, record->modseq);
	return rc;
}

int account_put_register(struct account_write *write, const struct register_record *record)
{
	unsigned char key[REGISTER_KEY_SIZE], entry[17 + REGISTER_KEY_SIZE_MAX];
	struct register_record before = { 0 }, after = *record;
	struct buffer value = { 0 };
	struct digest term;
	int rc;

	if (record->key.len > REGISTER_KEY_SIZE_MAX ||
		record->value.len > REGISTER_VALUE_SIZE_MAX || record->modseq > MODSEQ_MAX ||
		record->kind == RECORD_MAILBOX || record->kind == RECORD_MESSAGE)
		return ERR_ILLEGAL;
	rc = account_user_check(write);
	if (rc == 0)
		rc = account_get_register(write->kv, write->header.number, record->kind,
			record->mailbox, record->key, write->arena, &before);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (record->modseq < before.modseq || stamp_compare(record->stamp, before.stamp) < 0)
		return ERR_ILLEGAL;
	entry[0] = (unsigned char)record->kind;
	memcpy(entry + 1, record->mailbox.bytes, 16);
	if (record->key.len > 0)
		memcpy(entry + 17, record->key.ptr, record->key.len);
	after.sequence = before.sequence;
	rc = expiry_note_register(write, &before, &after);
	if (rc == 0)
		rc = account_sequence_renew(
			write, &after.sequence, bytes_of(entry, 17 + record->key.len));
	if (rc < 0)
		return rc;
	if (record->kind == RECORD_ACCOUNT && bytes_equal_string(record->key, ACCOUNT_MERGED_KEY))
		write->is_merge = true;
	if (record->kind == RECORD_ACCOUNT && bytes_equal_string(record->key, ACCOUNT_DELETED_KEY))
		write->header.is_deleted = record->is_set;
	rc = register_index_change(write, &before, &after);
	if (rc == 0)
		rc = metadata_shown(write, record);
	if (rc < 0)
		return rc;
	register_note(write, &before, &after);
	term = register_term(&before);
	digest_subtract(&write->header.digest, term);
	term = register_term(&after);
	digest_add(&write->header.digest, term);
	write->header.annotation_byte_count += annotation_message_size(&after);
	write->header.annotation_byte_count -= annotation_message_size(&before);
	account_modseq_shown(write, record->modseq);
	register_encode(&value, &after);
	rc = store_put(write->store, MAIL_TABLE_REGISTER,
		register_key(key, write->header.number, record->kind, record->mailbox, record->key),
		buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}
