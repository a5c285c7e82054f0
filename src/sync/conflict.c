#include "sync/conflict.h"

#include "base/error.h"
#include "base/map.h"
#include "base/pack.h"
#include "mail/tables.h"

#define CONFLICT_VERSION 3
#define CONFLICT_VERSION_UNNAMED 1 /* without a name */
#define CONFLICT_VERSION_ACTLESS 2 /* without the act that lost */
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

static void pack_stamp(struct buffer *out, struct stamp stamp)
{
	pack_varint(out, stamp.modseq);
	pack_u64(out, stamp.node);
}

static void entry_encode(struct buffer *out, uint64_t peer, const struct merge_conflict *conflict)
{
	pack_u8(out, CONFLICT_VERSION);
	pack_u8(out, (uint8_t)conflict->kind);
	pack_u64(out, peer);
	buffer_append(out, conflict->mailbox.bytes, sizeof(conflict->mailbox.bytes));
	pack_stamp(out, conflict->instance);
	pack_varint(out, conflict->uid);
	pack_bytes(out, conflict->name);
	pack_stamp(out, conflict->lost);
}

/* ---- what is in the journal already ---- */

struct known {
	struct map acts; /* of act_key() */
	struct arena *arena;
	uint32_t account, next_counter;
	uint64_t modseq;
};

static struct bytes act_key(struct arena *arena, const struct merge_conflict *conflict)
{
	struct buffer key = { 0 };
	struct bytes copy;

	pack_u8(&key, (uint8_t)conflict->kind);
	buffer_append(&key, conflict->mailbox.bytes, sizeof(conflict->mailbox.bytes));
	pack_stamp(&key, conflict->instance);
	pack_stamp(&key, conflict->lost);
	pack_bytes(&key, conflict->name);
	copy = arena_copy(arena, buffer_bytes(&key));
	buffer_deinit(&key);
	return copy;
}

/* False if it is there already. */
static bool known_add(struct known *known, const struct merge_conflict *conflict)
{
	struct bytes key;

	if (stamp_is_none(conflict->lost))
		return true;
	key = act_key(known->arena, conflict);
	if (map_get(&known->acts, key) != NULL)
		return false;
	map_put(&known->acts, key, known);
	return true;
}

static int known_read(void *context, const struct conflict_entry *entry)
{
	struct known *known = context;

	known_add(known, &entry->conflict);
	if (entry->modseq == known->modseq)
		known->next_counter = entry->counter + 1;
	return 0;
}

int conflict_put(struct account_write *write, uint64_t peer, const struct merge_conflict *conflicts,
	size_t count)
{
	struct known known = { .arena = write->arena, .modseq = write->header.clock_last };
	struct buffer value = { 0 };
	size_t added = 0;
	int rc;

	if (count == 0)
		return 0;
	rc = conflict_each(write->kv, write->header.number, 0, known_read, &known);
	for (size_t i = 0; i < count && added < CONFLICT_MERGE_MAX && rc == 0; i++) {
		unsigned char key[CONFLICT_KEY_SIZE];

		if (!known_add(&known, &conflicts[i]))
			continue;
		conflict_key(key, write->header.number, known.modseq,
			known.next_counter + (uint32_t)added++);
		buffer_clear(&value);
		entry_encode(&value, peer, &conflicts[i]);
		rc = store_put(write->store, MAIL_TABLE_CONFLICT, bytes_of(key, sizeof(key)),
			buffer_bytes(&value));
	}
	buffer_deinit(&value);
	map_deinit(&known.acts);
	return rc == 0 && added > 0 ? drop_oldest(write, added) : rc;
}

static int entry_decode(struct bytes key, struct bytes value, struct conflict_entry *entry_r)
{
	struct merge_conflict *conflict = &entry_r->conflict;
	uint8_t version, kind;

	if (key.len != CONFLICT_KEY_SIZE || unpack_u8(&value, &version) < 0)
		return ERR_CORRUPT;
	if (version < CONFLICT_VERSION_UNNAMED || version > CONFLICT_VERSION)
		return ERR_VERSION;
	if (unpack_u8(&value, &kind) < 0 || unpack_u64(&value, &entry_r->peer) < 0 ||
		unpack_raw(&value, conflict->mailbox.bytes, sizeof(conflict->mailbox.bytes)) < 0 ||
		unpack_varint(&value, &conflict->instance.modseq) < 0 ||
		unpack_u64(&value, &conflict->instance.node) < 0 ||
		unpack_varint32(&value, &conflict->uid) < 0)
		return ERR_CORRUPT;
	conflict->name = bytes_of(NULL, 0);
	conflict->lost = (struct stamp){ 0 };
	if ((version > CONFLICT_VERSION_UNNAMED && unpack_bytes(&value, &conflict->name) < 0) ||
		(version > CONFLICT_VERSION_ACTLESS &&
			(unpack_varint(&value, &conflict->lost.modseq) < 0 ||
				unpack_u64(&value, &conflict->lost.node) < 0)) ||
		value.len != 0)
		return ERR_CORRUPT;
	entry_r->modseq = get_u64(key.ptr + 4);
	entry_r->counter = get_u32(key.ptr + 12);
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
	case MERGE_NAME_TAKEN:
		return "a mailbox got the name of one that the peer may not see: it has another";
	case MERGE_REPLICA_CHANGED:
		return "a replica was changed all the same: its changes were taken in";
	case MERGE_GUEST_KEPT:
		return "another's mailbox did not take a message: it is kept in this one";
	case MERGE_GUEST_REFUSED:
		return "another's account did not take a change: this mailbox is as it was there";
	}
	return "unknown";
}

/* ---- between the two sides of an exchange ---- */

static const char *const kind_words[] = {
	[MERGE_RENUMBERED] = "RENUMBERED",
	[MERGE_MAILBOXES_UNITED] = "UNITED",
	[MERGE_MAILBOX_REVIVED] = "REVIVED",
	[MERGE_DELETED_LONG_AGO] = "DELETEDLONGAGO",
	[MERGE_PLACED_TWICE] = "PLACEDTWICE",
	[MERGE_RENAMED_TWICE] = "RENAMEDTWICE",
	[MERGE_DELETED_RENAMED] = "DELETEDRENAMED",
	[MERGE_CHANGED_EXPUNGED] = "CHANGEDEXPUNGED",
	[MERGE_SET_TWICE] = "SETTWICE",
	[MERGE_SCRIPT_KEPT] = "SCRIPTKEPT",
	[MERGE_ACCOUNT_REVIVED] = "ACCOUNTREVIVED",
	[MERGE_NAME_TAKEN] = "NAMETAKEN",
	[MERGE_REPLICA_CHANGED] = "REPLICACHANGED",
	[MERGE_GUEST_KEPT] = "GUESTKEPT",
	[MERGE_GUEST_REFUSED] = "GUESTREFUSED",
};
#define KIND_COUNT (sizeof(kind_words) / sizeof(kind_words[0]))

struct telling {
	struct dlist_writer *writer;
	uint64_t peer;
	unsigned count;
};

static int tell_one(void *context, const struct conflict_entry *entry)
{
	const struct merge_conflict *conflict = &entry->conflict;
	struct telling *telling = context;
	struct dlist_writer *writer = telling->writer;

	if (entry->peer != telling->peer || conflict->kind >= KIND_COUNT ||
		telling->count == CONFLICT_TOLD_MAX)
		return 0;
	if (telling->count++ == 0) {
		dlist_put_atom(writer, "CONFLICTS");
		dlist_begin_list(writer);
	}
	dlist_begin_map(writer);
	dlist_put_atom(writer, "KIND");
	dlist_put_atom(writer, kind_words[conflict->kind]);
	wire_put_id_of(writer, "MAILBOX", conflict->mailbox);
	if (!stamp_is_none(conflict->instance))
		wire_put_stamp_of(writer, "INSTANCE", conflict->instance);
	if (conflict->uid != 0)
		dlist_put_number_of(writer, "UID", conflict->uid);
	if (conflict->name.len > 0)
		dlist_put_text_of(writer, "NAME", conflict->name);
	if (!stamp_is_none(conflict->lost))
		wire_put_stamp_of(writer, "LOST", conflict->lost);
	dlist_end_map(writer);
	return 0;
}

int conflict_tell(struct kv_txn *kv, uint32_t account, uint64_t peer, uint64_t modseq,
	struct dlist_writer *writer)
{
	struct telling telling = { .writer = writer, .peer = peer };
	int rc = conflict_each(kv, account, modseq > 0 ? modseq - 1 : 0, tell_one, &telling);

	if (telling.count > 0)
		dlist_end_list(writer);
	return rc;
}

/* A stamp that need not be there. */
static int read_stamp(const struct dlist *map, const char *key, struct stamp *stamp_r)
{
	const struct dlist *value = dlist_get(map, key);

	return value == NULL ? 0 : wire_stamp(value, stamp_r);
}

/* 1: it is of a kind that is not known here. */
static int read_one(const struct dlist *map, struct merge_conflict *conflict_r)
{
	struct merge_conflict conflict = { 0 };
	size_t kind = 0;
	struct bytes word;
	uint64_t uid = 0;
	int rc;

	if (dlist_get_text(map, "KIND", &word) < 0 ||
		wire_get_id(map, "MAILBOX", &conflict.mailbox) < 0 ||
		read_stamp(map, "INSTANCE", &conflict.instance) < 0 ||
		read_stamp(map, "LOST", &conflict.lost) < 0)
		return ERR_INVALID;
	rc = dlist_get_number(map, "UID", UINT32_MAX, &uid);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return ERR_INVALID;
	rc = dlist_get_text(map, "NAME", &conflict.name);
	if ((rc < 0 && rc != ERR_NOT_FOUND) || conflict.name.len > REGISTER_KEY_SIZE_MAX)
		return ERR_INVALID;
	while (kind < KIND_COUNT && !bytes_equal_string(word, kind_words[kind]))
		kind++;
	conflict.kind = (enum merge_conflict_kind)kind;
	conflict.uid = (uint32_t)uid;
	*conflict_r = conflict;
	return kind == KIND_COUNT;
}

int conflict_take(
	struct account_write *write, uint64_t peer, const struct dlist *map, struct error *error)
{
	struct merge_conflict taken[CONFLICT_TOLD_MAX];
	const struct dlist *list;
	size_t count = 0;
	int rc = dlist_get_list(map, "CONFLICTS", &list);

	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc < 0)
		return error_set(error, ERR_INVALID, "bad CONFLICTS");
	for (const struct dlist *at = list->first; at != NULL && count < CONFLICT_TOLD_MAX;
		at = at->next) {
		rc = at->kind == DLIST_MAP ? read_one(at, &taken[count]) : ERR_INVALID;
		if (rc < 0)
			return error_set(error, ERR_INVALID, "bad CONFLICTS");
		count += rc == 0;
	}
	return conflict_put(write, peer, taken, count);
}
