/*
 * Reading an account: its header, and single records by their keys.
 */
#include "mail/account.h"

#include "base/error.h"
#include "base/pack.h"
#include "mail/account_private.h"

#include <ctype.h>

/* 1 did not count mailboxes and annotations, 2 not what is kept of what is gone, 3 does not know up
 * to where tombstones have expired, 4 held no account back, 5 none was away */
#define HEADER_VERSION 7

void account_header_encode(struct buffer *out, const struct account_header *header)
{
	pack_u8(out, HEADER_VERSION);
	pack_u32(out, header->number);
	buffer_append(out, header->id.bytes, sizeof(header->id.bytes));
	pack_bytes(out, bytes_of_string(header->name));
	pack_varint(out, header->clock_last);
	pack_varint(out, header->highest);
	pack_varint(out, header->sequence);
	pack_varint(out, header->uidvalidity_last);
	pack_varint(out, header->vanished_floor);
	pack_varint(out, header->message_count);
	pack_varint(out, header->byte_count);
	pack_varint(out, header->mailbox_count);
	pack_varint(out, header->annotation_byte_count);
	pack_u64(out, header->digest.high);
	pack_u64(out, header->digest.low);
	pack_varint(out, header->kept_count);
	pack_varint(out, header->kept_bytes);
	pack_u8(out, header->is_deleted);
	pack_varint(out, header->forgotten);
	pack_u8(out, (uint8_t)header->hold);
	pack_varint(out, header->begun);
	pack_u64(out, header->writer);
}

static int header_decode_new(struct bytes *in, struct account_header *header)
{
	uint8_t is_deleted;

	if (unpack_varint(in, &header->kept_count) < 0 ||
		unpack_varint(in, &header->kept_bytes) < 0 || unpack_u8(in, &is_deleted) < 0 ||
		is_deleted > 1)
		return ERR_CORRUPT;
	header->is_deleted = is_deleted == 1;
	return 0;
}

static int header_decode_hold(struct bytes *in, struct account_header *header)
{
	uint8_t hold;

	if (unpack_u8(in, &hold) < 0 || hold > ACCOUNT_AWAY)
		return ERR_CORRUPT;
	header->hold = (enum account_hold)hold;
	return 0;
}

int account_header_decode(struct bytes in, struct account_header *header_r)
{
	struct account_header header = { 0 };
	struct bytes name;
	uint8_t version;

	if (unpack_u8(&in, &version) < 0)
		return ERR_CORRUPT;
	if (version == 0 || version > HEADER_VERSION)
		return ERR_VERSION;
	if (unpack_u32(&in, &header.number) < 0 ||
		unpack_raw(&in, header.id.bytes, sizeof(header.id.bytes)) < 0 ||
		unpack_bytes(&in, &name) < 0 || name.len > ACCOUNT_NAME_SIZE_MAX ||
		unpack_varint(&in, &header.clock_last) < 0 ||
		unpack_varint(&in, &header.highest) < 0 ||
		unpack_varint(&in, &header.sequence) < 0 ||
		unpack_varint32(&in, &header.uidvalidity_last) < 0 ||
		unpack_varint(&in, &header.vanished_floor) < 0 ||
		unpack_varint(&in, &header.message_count) < 0 ||
		unpack_varint(&in, &header.byte_count) < 0 ||
		(version > 1 && (unpack_varint32(&in, &header.mailbox_count) < 0 ||
					unpack_varint(&in, &header.annotation_byte_count) < 0)) ||
		unpack_u64(&in, &header.digest.high) < 0 || unpack_u64(&in, &header.digest.low) < 0)
		return ERR_CORRUPT;
	if ((version > 2 && header_decode_new(&in, &header) < 0) ||
		(version > 3 && unpack_varint(&in, &header.forgotten) < 0) ||
		(version > 4 && header_decode_hold(&in, &header) < 0) ||
		(version > 5 && unpack_varint(&in, &header.begun) < 0) ||
		(version > 6 && unpack_u64(&in, &header.writer) < 0) || in.len != 0)
		return ERR_CORRUPT;
	memcpy(header.name, name.ptr, name.len);
	*header_r = header;
	return version;
}

static int count_live(void *context, const struct mailbox_record *mailbox)
{
	struct account_header *header = context;

	header->mailbox_count += mailbox_is_live(mailbox);
	return 0;
}

/* Decodes it; what an older version did not count is counted now. */
static int header_load(struct kv_txn *kv, struct bytes value, struct account_header *header_r)
{
	int version = account_header_decode(value, header_r);
	struct arena *arena;
	int rc;

	if (version < 0 || version > 1)
		return version < 0 ? version : 0;
	arena = arena_new();
	rc = account_each_mailbox(kv, header_r->number, arena, count_live, header_r);
	arena_free(&arena);
	return rc;
}

int account_name_normalize(struct bytes name, char name_r[ACCOUNT_NAME_SIZE_MAX + 1])
{
	if (name.len == 0 || name.len > ACCOUNT_NAME_SIZE_MAX)
		return ERR_INVALID;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char byte = name.ptr[i];

		if (byte <= ' ' || byte == 0x7f || byte == '/')
			return ERR_INVALID;
	}
	for (size_t i = 0; i < name.len; i++)
		name_r[i] = (char)(name.ptr[i] < 0x80 ? tolower(name.ptr[i]) : name.ptr[i]);
	name_r[name.len] = '\0';
	return 0;
}

int account_find(struct kv_txn *kv, struct bytes name, uint32_t *number_r)
{
	struct bytes value;
	int rc;

	if (name.len == 0 || name.len > ACCOUNT_NAME_SIZE_MAX)
		return ERR_NOT_FOUND;
	rc = kv_get(kv, MAIL_TABLE_ACCOUNT_NAME, name, &value);
	if (rc < 0)
		return rc;
	return unpack_u32(&value, number_r);
}

int account_load(struct kv_txn *kv, uint32_t number, struct account_header *header_r)
{
	unsigned char key[4];
	struct bytes value;
	int rc = kv_get(kv, MAIL_TABLE_ACCOUNT, account_key(key, number), &value);

	return rc < 0 ? rc : header_load(kv, value, header_r);
}

int account_next(struct kv_txn *kv, uint32_t after, struct account_header *header_r)
{
	struct kv_cursor *cursor = NULL;
	unsigned char key[4];
	int rc;

	if (after == UINT32_MAX)
		return ERR_NOT_FOUND;
	rc = kv_cursor_open(kv, MAIL_TABLE_ACCOUNT, &cursor);
	if (rc == 0)
		rc = kv_cursor_seek(cursor, account_key(key, after + 1));
	if (rc == 0)
		rc = header_load(kv, kv_cursor_value(cursor), header_r);
	kv_cursor_close(&cursor);
	return rc;
}

static int sum_deleted(void *context, const struct message_record *message)
{
	uint64_t *sum = context;

	if (message_has_flag(message, BYTES_LITERAL("\\Deleted")))
		*sum += message->size;
	return 0;
}

int account_mailbox_decode(
	struct kv_txn *kv, uint32_t account, struct bytes value, struct mailbox_record *mailbox_r)
{
	int rc = mailbox_decode(value, mailbox_r);
	struct arena *arena;

	if (rc < 0 || mailbox_r->deleted_byte_count != MAILBOX_BYTES_UNKNOWN)
		return rc;
	arena = arena_new();
	mailbox_r->deleted_byte_count = 0;
	rc = account_each_message(kv, account, mailbox_r->id, 1, UINT32_MAX, arena, sum_deleted,
		&mailbox_r->deleted_byte_count);
	arena_free(&arena);
	return rc;
}

int account_get_mailbox(struct kv_txn *kv, uint32_t account, struct id128 id, struct arena *arena,
	struct mailbox_record *mailbox_r)
{
	unsigned char key[MAILBOX_KEY_SIZE];
	struct bytes value;
	int rc = kv_get(kv, MAIL_TABLE_MAILBOX, mailbox_key(key, account, id), &value);

	return rc < 0 ? rc
		      : account_mailbox_decode(kv, account, arena_copy(arena, value), mailbox_r);
}

int account_find_mailbox(struct kv_txn *kv, uint32_t account, struct bytes name,
	struct arena *arena, struct mailbox_record *mailbox_r)
{
	unsigned char key[4 + MAILBOX_NAME_SIZE_MAX];
	struct id128 id;
	struct bytes value;
	int rc;

	if (bytes_equal_string_nocase(name, "INBOX"))
		name = BYTES_LITERAL("INBOX");
	if (name.len > MAILBOX_NAME_SIZE_MAX)
		return ERR_NOT_FOUND;
	rc = kv_get(kv, MAIL_TABLE_MAILBOX_NAME, name_key(key, account, name), &value);
	if (rc < 0)
		return rc;
	rc = unpack_raw(&value, id.bytes, sizeof(id.bytes));
	return rc < 0 ? rc : account_get_mailbox(kv, account, id, arena, mailbox_r);
}

int account_get_message(struct kv_txn *kv, uint32_t account, struct stamp instance,
	struct arena *arena, struct message_record *message_r)
{
	unsigned char key[INSTANCE_KEY_SIZE];
	struct id128 mailbox;
	struct bytes value;
	uint32_t uid;
	uint8_t kind;
	int rc = kv_get(kv, MAIL_TABLE_INSTANCE, instance_key(key, account, instance), &value);

	if (rc < 0)
		return rc;
	if (unpack_u8(&value, &kind) < 0)
		return ERR_CORRUPT;
	if (kind == ENTRY_TOMBSTONE)
		return message_decode(value, arena, message_r);
	if (kind != ENTRY_SHOWN || unpack_raw(&value, mailbox.bytes, sizeof(mailbox.bytes)) < 0 ||
		unpack_u32(&value, &uid) < 0)
		return ERR_CORRUPT;
	rc = account_get_message_at(kv, account, mailbox, uid, arena, message_r);
	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

int account_find_shown(struct kv_txn *kv, uint32_t account, struct stamp instance,
	struct id128 *mailbox_r, uint32_t *uid_r)
{
	unsigned char key[INSTANCE_KEY_SIZE];
	struct bytes value;
	uint8_t kind;
	int rc = kv_get(kv, MAIL_TABLE_INSTANCE, instance_key(key, account, instance), &value);

	if (rc < 0)
		return rc;
	if (unpack_u8(&value, &kind) < 0)
		return ERR_CORRUPT;
	if (kind == ENTRY_TOMBSTONE)
		return ERR_NOT_FOUND;
	if (kind != ENTRY_SHOWN ||
		unpack_raw(&value, mailbox_r->bytes, sizeof(mailbox_r->bytes)) < 0 ||
		unpack_u32(&value, uid_r) < 0)
		return ERR_CORRUPT;
	return 0;
}

int account_get_message_at(struct kv_txn *kv, uint32_t account, struct id128 mailbox, uint32_t uid,
	struct arena *arena, struct message_record *message_r)
{
	unsigned char key[MESSAGE_KEY_SIZE];
	struct bytes value;
	int rc = kv_get(kv, MAIL_TABLE_MESSAGE, message_key(key, account, mailbox, uid), &value);

	return rc < 0 ? rc : message_decode(value, arena, message_r);
}

int account_get_register(struct kv_txn *kv, uint32_t account, enum record_kind kind,
	struct id128 mailbox, struct bytes name, struct arena *arena,
	struct register_record *record_r)
{
	unsigned char key[REGISTER_KEY_SIZE];
	struct bytes value;
	int rc;

	if (name.len > REGISTER_KEY_SIZE_MAX)
		return ERR_NOT_FOUND;
	rc = kv_get(
		kv, MAIL_TABLE_REGISTER, register_key(key, account, kind, mailbox, name), &value);
	return rc < 0 ? rc : register_decode(arena_copy(arena, value), record_r);
}
