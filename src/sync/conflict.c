#include "sync/conflict.h"

#include "base/error.h"
#include "base/pack.h"
#include "mail/tables.h"

#define CONFLICT_VERSION 1
#define CONFLICT_KEY_SIZE 16

static void conflict_key(
	unsigned char at[CONFLICT_KEY_SIZE], uint32_t account, uint64_t modseq, uint32_t counter)
{
	put_u32(at, account);
	put_u64(at + 4, modseq);
	put_u32(at + 12, counter);
}

int conflict_put(struct account_write *write, uint64_t peer, const struct merge_conflict *conflicts,
	size_t count)
{
	struct buffer value = { 0 };
	uint64_t modseq = write->header.clock_last;
	int rc = 0;

	for (size_t i = 0; i < count && rc == 0; i++) {
		unsigned char key[CONFLICT_KEY_SIZE];

		conflict_key(key, write->header.number, modseq, (uint32_t)i);
		buffer_clear(&value);
		pack_u8(&value, CONFLICT_VERSION);
		pack_u8(&value, (uint8_t)conflicts[i].kind);
		pack_u64(&value, peer);
		buffer_append(
			&value, conflicts[i].mailbox.bytes, sizeof(conflicts[i].mailbox.bytes));
		pack_varint(&value, conflicts[i].instance.modseq);
		pack_u64(&value, conflicts[i].instance.node);
		pack_varint(&value, conflicts[i].uid);
		rc = store_put(write->store, MAIL_TABLE_CONFLICT, bytes_of(key, sizeof(key)),
			buffer_bytes(&value));
	}
	buffer_deinit(&value);
	return rc;
}

static int entry_decode(struct bytes key, struct bytes value, struct conflict_entry *entry_r)
{
	struct merge_conflict *conflict = &entry_r->conflict;
	uint8_t version, kind;

	if (key.len != CONFLICT_KEY_SIZE || unpack_u8(&value, &version) < 0)
		return ERR_CORRUPT;
	if (version != CONFLICT_VERSION)
		return ERR_VERSION;
	if (unpack_u8(&value, &kind) < 0 || unpack_u64(&value, &entry_r->peer) < 0 ||
		unpack_raw(&value, conflict->mailbox.bytes, sizeof(conflict->mailbox.bytes)) < 0 ||
		unpack_varint(&value, &conflict->instance.modseq) < 0 ||
		unpack_u64(&value, &conflict->instance.node) < 0 ||
		unpack_varint32(&value, &conflict->uid) < 0 || value.len != 0)
		return ERR_CORRUPT;
	entry_r->modseq = get_u64(key.ptr + 4);
	conflict->kind = (enum merge_conflict_kind)kind;
	return 0;
}

int conflict_each(struct kv_txn *kv, uint32_t account, uint64_t modseq,
	int (*function)(void *context, const struct conflict_entry *entry), void *context)
{
	struct kv_cursor *cursor = NULL;
	unsigned char start[CONFLICT_KEY_SIZE];
	int rc = kv_cursor_open(kv, MAIL_TABLE_CONFLICT, &cursor);

	if (rc < 0)
		return rc;
	conflict_key(start, account, modseq + 1, 0);
	for (rc = kv_cursor_seek(cursor, bytes_of(start, sizeof(start))); rc == 0;
		rc = kv_cursor_next(cursor)) {
		struct conflict_entry entry;

		if (!bytes_start_with(kv_cursor_key(cursor), bytes_of(start, 4)))
			break;
		rc = entry_decode(kv_cursor_key(cursor), kv_cursor_value(cursor), &entry);
		if (rc == 0)
			rc = function(context, &entry);
		if (rc != 0)
			goto out;
	}
	if (rc == ERR_NOT_FOUND)
		rc = 0;
out:
	kv_cursor_close(&cursor);
	return rc;
}

const char *conflict_text(enum merge_conflict_kind kind)
{
	switch (kind) {
	case MERGE_RENUMBERED:
		return "two messages had one UID: both got new ones";
	case MERGE_MAILBOXES_UNITED:
		return "two mailboxes had one name: they were united";
	case MERGE_MAILBOX_REVIVED:
		return "mail arrived in a mailbox deleted elsewhere: it was made again for it";
	case MERGE_DELETED_LONG_AGO:
		return "a returning copy held a message deleted here long ago: it stays deleted";
	case MERGE_PLACED_TWICE:
		return "a message was moved or expunged on both sides: the later act stays";
	}
	return "unknown";
}
