#include "sync/conflict.h"

#include "base/error.h"
#include "base/pack.h"
#include "mail/tables.h"

#define CONFLICT_VERSION 2
#define CONFLICT_VERSION_OLD 1 /* without a name */
#define CONFLICT_KEY_SIZE 16

static void conflict_key(
	unsigned char at[CONFLICT_KEY_SIZE], uint32_t account, uint64_t modseq, uint32_t counter)
{
	put_u32(at, account);
	put_u64(at + 4, modseq);
	put_u32(at + 12, counter);
}

/* Once there are too many, the oldest go: at most as many as were added. */
static int drop_oldest(struct account_write *write, size_t added)
{
	struct kv_cursor *cursor = NULL;
	struct buffer keys = { 0 };
	struct bytes left;
	unsigned char prefix[4];
	size_t count = 0;
	int rc = kv_cursor_open(write->kv, MAIL_TABLE_CONFLICT, &cursor);

	put_u32(prefix, write->header.number);
	if (rc == 0)
		rc = kv_cursor_seek(cursor, bytes_of(prefix, sizeof(prefix)));
	for (; rc == 0 && bytes_start_with(kv_cursor_key(cursor), bytes_of(prefix, 4)) &&
		count < CONFLICT_COUNT_MAX + added;
		rc = kv_cursor_next(cursor), count++)
		if (count < added)
			buffer_append_bytes(&keys, kv_cursor_key(cursor));
	kv_cursor_close(&cursor);
	rc = rc == ERR_NOT_FOUND ? 0 : rc;
	left = buffer_bytes(&keys);
	for (; rc == 0 && left.len > 0 && count > CONFLICT_COUNT_MAX; count--)
		rc = store_delete(
			write->store, MAIL_TABLE_CONFLICT, bytes_take(&left, CONFLICT_KEY_SIZE));
	buffer_deinit(&keys);
	return rc;
}

int conflict_put(struct account_write *write, uint64_t peer, const struct merge_conflict *conflicts,
	size_t count)
{
	struct buffer value = { 0 };
	uint64_t modseq = write->header.clock_last;
	int rc = 0;

	if (count > CONFLICT_MERGE_MAX)
		count = CONFLICT_MERGE_MAX;
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
		pack_bytes(&value, conflicts[i].name);
		rc = store_put(write->store, MAIL_TABLE_CONFLICT, bytes_of(key, sizeof(key)),
			buffer_bytes(&value));
	}
	buffer_deinit(&value);
	return rc == 0 && count > 0 ? drop_oldest(write, count) : rc;
}

static int entry_decode(struct bytes key, struct bytes value, struct conflict_entry *entry_r)
{
	struct merge_conflict *conflict = &entry_r->conflict;
	uint8_t version, kind;

	if (key.len != CONFLICT_KEY_SIZE || unpack_u8(&value, &version) < 0)
		return ERR_CORRUPT;
	if (version != CONFLICT_VERSION && version != CONFLICT_VERSION_OLD)
		return ERR_VERSION;
	if (unpack_u8(&value, &kind) < 0 || unpack_u64(&value, &entry_r->peer) < 0 ||
		unpack_raw(&value, conflict->mailbox.bytes, sizeof(conflict->mailbox.bytes)) < 0 ||
		unpack_varint(&value, &conflict->instance.modseq) < 0 ||
		unpack_u64(&value, &conflict->instance.node) < 0 ||
		unpack_varint32(&value, &conflict->uid) < 0)
		return ERR_CORRUPT;
	conflict->name = bytes_of(NULL, 0);
	if ((version == CONFLICT_VERSION && unpack_bytes(&value, &conflict->name) < 0) ||
		value.len != 0)
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
	case MERGE_RENAMED_TWICE:
		return "a mailbox was renamed on both sides: the later name stays";
	case MERGE_DELETED_RENAMED:
		return "a mailbox was deleted on one side and renamed on the other: it is deleted";
	case MERGE_CHANGED_EXPUNGED:
		return "a message was changed on one side and expunged on the other: it is gone";
	case MERGE_SET_TWICE:
		return "a setting was changed on both sides: the later change stays";
	case MERGE_SCRIPT_KEPT:
		return "a script was edited on both sides: the earlier is kept under this name";
	case MERGE_ACCOUNT_REVIVED:
		return "mail arrived in an account deleted elsewhere: the account lives on";
	}
	return "unknown";
}
