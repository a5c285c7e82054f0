/*
 * Writing to an account: the one place where records, their indexes, the counts and the digests
 * change. Mailbox rows are kept decoded for the length of a write and written once, by
 * account_write_flush().
 */
#include "mail/account.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/pack.h"
#include "mail/account_mode.h"
#include "mail/account_private.h"
#include "mail/annotation.h"
#include "mail/hold.h"
#include "mail/mail.h"
#include "mail/watch_note.h"

#include <stdlib.h>

struct account_floor {
	struct mailbox_record mailbox; /* as it is now; names in the write's arena */
	struct digest term;            /* what the mailbox record adds to the digests now */
	uint32_t uidnext_before;       /* what clients of this copy may know */
	uint32_t given_count;          /* UIDs at or above it that are shown now */
	uint64_t highest_before;
	bool exists;
	bool is_changed;    /* the record or its UIDNEXT: peers must hear of it */
	bool is_counted;    /* only local counts and the digest */
	bool has_lost_name; /* another mailbox took its name: it must get another, or go */

	/* For watches: as it was before, and what was done. */
	struct bytes name_before;
	uint32_t uidvalidity_before;
	bool was_live;
	unsigned changes; /* of enum watch_change */
	bool is_touched;
};

int account_write_begin(struct account_write *write, struct store_write *store, uint64_t node,
	uint64_t now_ms, uint32_t account)
{
	int rc;

	*write = (struct account_write){ 0 };
	write->store = store;
	write->kv = store_write_kv(store);
	write->node = node;
	write->now_ms = now_ms;
	write->arena = arena_new();
	rc = account_load(write->kv, account, &write->header);
	write->before.message_count = write->header.message_count;
	write->before.byte_count = write->header.byte_count;
	write->before.mailbox_count = write->header.mailbox_count;
	write->before.annotation_byte_count = write->header.annotation_byte_count;
	return rc;
}

/* The mailbox as this write has it; loads it on first use. `exists` tells whether there is one. */
static int floor_get(struct account_write *write, struct id128 id, struct account_floor **floor_r)
{
	struct account_floor *floor;
	void *floors = write->floors;
	int rc;

	for (size_t i = write->floor_count; i > 0; i--) {
		if (id128_equal(write->floors[i - 1]->mailbox.id, id)) {
			*floor_r = write->floors[i - 1];
			return 0;
		}
	}
	floor = arena_zalloc(write->arena, sizeof(*floor));
	rc = account_get_mailbox(
		write->kv, write->header.number, id, write->arena, &floor->mailbox);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	floor->exists = rc == 0;
	floor->mailbox.id = id;
	floor->uidnext_before = floor->exists ? floor->mailbox.uidnext : 1;
	floor->highest_before = floor->mailbox.highestmodseq;
	floor->name_before = floor->mailbox.name;
	floor->uidvalidity_before = floor->mailbox.uidvalidity;
	floor->was_live = floor->exists && mailbox_is_live(&floor->mailbox);
	if (floor->exists)
		floor->term = mailbox_term(&floor->mailbox);
	mem_grow(&floors, &write->floor_room, write->floor_count + 1,
		sizeof(struct account_floor *));
	write->floors = floors;
	write->floors[write->floor_count++] = floor;
	*floor_r = floor;
	return 0;
}

static int floor_get_live(
	struct account_write *write, struct id128 id, struct account_floor **floor_r)
{
	int rc = floor_get(write, id, floor_r);

	if (rc < 0)
		return rc;
	if (!(*floor_r)->exists)
		return ERR_ILLEGAL;
	return mailbox_is_live(&(*floor_r)->mailbox) || account_is_unseen(write) ? 0 : ERR_ILLEGAL;
}

static void digest_replace(struct account_write *write, struct account_floor *floor,
	struct digest before, struct digest after)
{
	digest_subtract(&floor->mailbox.digest, before);
	digest_add(&floor->mailbox.digest, after);
	digest_subtract(&write->header.digest, before);
	digest_add(&write->header.digest, after);
	floor->is_counted = true;
	write->is_dirty = true;
}

struct bytes sequence_value_mailbox(unsigned char at[17], struct id128 id)
{
	at[0] = RECORD_MAILBOX;
	memcpy(at + 1, id.bytes, sizeof(id.bytes));
	return bytes_of(at, 17);
}

struct bytes sequence_value_message(unsigned char at[17], struct stamp instance)
{
	at[0] = RECORD_MESSAGE;
	put_u64(at + 1, instance.modseq);
	put_u64(at + 9, instance.node);
	return bytes_of(at, 17);
}

/* Moves a record's row in the sequence index to a new sequence, which it stores in *sequence. */
static int sequence_renew(struct account_write *write, uint64_t *sequence, struct bytes value)
{
	unsigned char key[SEQUENCE_KEY_SIZE];
	int rc;

	if (*sequence != 0) {
		rc = store_delete(write->store, MAIL_TABLE_SEQUENCE,
			sequence_key(key, write->header.number, *sequence));
		if (rc < 0)
			return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	}
	*sequence = ++write->header.sequence;
	write->is_dirty = true;
	return store_put(write->store, MAIL_TABLE_SEQUENCE,
		sequence_key(key, write->header.number, *sequence), value);
}

static int name_row_check(struct account_write *write, const struct mailbox_record *mailbox)
{
	unsigned char key[4 + MAILBOX_NAME_SIZE_MAX];
	struct bytes value;
	int rc = kv_get(write->kv, MAIL_TABLE_MAILBOX_NAME,
		name_key(key, write->header.number, mailbox->name), &value);

	if (rc < 0)
		return rc == ERR_NOT_FOUND ? ERR_ILLEGAL : rc;
	return bytes_equal(value, bytes_of(mailbox->id.bytes, 16)) ? 0 : ERR_ILLEGAL;
}

static int floor_flush(struct account_write *write, struct account_floor *floor)
{
	unsigned char key[MAILBOX_KEY_SIZE], entry[17];
	struct buffer value = { 0 };
	struct digest term;
	int rc;

	if (floor->is_changed) {
		if (account_is_unseen(write))
			rc = 0; /* account_hold_end() checks */
		else if (mailbox_is_live(&floor->mailbox))
			rc = name_row_check(write, &floor->mailbox);
		else
			rc = floor->mailbox.message_count == 0 ? 0 : ERR_ILLEGAL;
		if (rc < 0)
			return rc;
		term = mailbox_term(&floor->mailbox);
		digest_replace(write, floor, floor->term, term);
		floor->term = term;
		rc = sequence_renew(write, &floor->mailbox.sequence,
			sequence_value_mailbox(entry, floor->mailbox.id));
		if (rc < 0)
			return rc;
	}
	mailbox_encode(&value, &floor->mailbox);
	rc = store_put(write->store, MAIL_TABLE_MAILBOX,
		mailbox_key(key, write->header.number, floor->mailbox.id), buffer_bytes(&value));
	buffer_deinit(&value);
	floor->is_changed = floor->is_counted = false;
	floor->is_touched = true;
	floor->exists = true;
	return rc;
}

int account_write_flush(struct account_write *write)
{
	for (size_t i = 0; i < write->floor_count; i++) {
		struct account_floor *floor = write->floors[i];
		int rc = 0;

		if (floor->has_lost_name && mailbox_is_live(&floor->mailbox) &&
			!account_is_unseen(write))
			rc = name_row_check(write, &floor->mailbox);
		if (rc == 0 && (floor->is_changed || floor->is_counted))
			rc = floor_flush(write, floor);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int header_put(struct store_write *store, const struct account_header *header)
{
	struct buffer value = { 0 };
	unsigned char key[4];
	int rc;

	account_header_encode(&value, header);
	rc = store_put(
		store, MAIL_TABLE_ACCOUNT, account_key(key, header->number), buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

static int account_feed(struct store_write *store, uint32_t account)
{
	unsigned char key[4];

	return feed_mark(store, account_key(key, account));
}

/* See account_each_uid_change_roaming(). */
static void vanished_floor_raise(struct account_write *write)
{
	bool has_leapt = write->is_merge;

	for (size_t i = 0; i < write->floor_count && !has_leapt; i++) {
		const struct account_floor *floor = write->floors[i];

		has_leapt = floor->mailbox.uidnext - floor->uidnext_before > floor->given_count;
	}
	if (has_leapt)
		write->header.vanished_floor = write->header.clock_last;
}

static int release_bodies(struct account_write *write)
{
	int rc = 0;

	for (size_t i = 0; i < write->release_count && rc == 0; i++)
		rc = mail_body_release(write, &write->releases[i]);
	return rc;
}

/* What watches are told of a mailbox that this write touched. */
static void mailbox_note(struct account_write *write, const struct account_floor *floor)
{
	const struct mailbox_record *mailbox = &floor->mailbox;
	bool is_live = mailbox_is_live(mailbox);
	struct watch_event event = { .kind = RECORD_MAILBOX,
		.mailbox = mailbox->id,
		.changes = floor->changes,
		.was_there = floor->was_live,
		.name = floor->name_before,
		.position = store_write_position(write->store) };

	if (is_live != floor->was_live || !bytes_equal(mailbox->name, floor->name_before))
		event.changes |= WATCH_NAME;
	if (floor->was_live && is_live && mailbox->uidvalidity != floor->uidvalidity_before)
		event.changes |= WATCH_MESSAGE_NEW | WATCH_MESSAGE_EXPUNGE;
	watch_note_put(write->store, write->header.number, &event);
}

static void notes_put(struct account_write *write)
{
	unsigned char key[4];
	struct bytes notes = buffer_bytes(&write->notes), note;

	for (size_t i = 0; i < write->floor_count; i++) {
		if (write->floors[i]->is_touched)
			mailbox_note(write, write->floors[i]);
	}
	while (notes.len > 0 && unpack_bytes(&notes, &note) == 0)
		feed_note(write->store, account_key(key, write->header.number), note);
	if (write->note_count > WATCH_EVENT_COUNT_MAX)
		watch_note_put(write->store, write->header.number, &(struct watch_event){ 0 });
}

int account_write_end(struct account_write *write, int rc)
{
	if (rc >= 0 && write->arena != NULL) {
		int ended = account_write_flush(write);

		vanished_floor_raise(write);
		if (ended == 0)
			ended = release_bodies(write);
		if (ended == 0 && (write->is_dirty || write->is_counted))
			ended = header_put(write->store, &write->header);
		if (ended == 0 && write->is_dirty && !account_is_unseen(write))
			ended = account_feed(write->store, write->header.number);
		if (ended == 0)
			notes_put(write);
		if (ended < 0)
			rc = ended;
	}
	free(write->floors);
	free(write->bodies);
	free(write->releases);
	buffer_deinit(&write->notes);
	arena_free(&write->arena);
	*write = (struct account_write){ 0 };
	return rc;
}

static int account_number_new(struct kv_txn *kv, uint32_t *number_r)
{
	static const unsigned char beyond[5] = { 0xff, 0xff, 0xff, 0xff, 0xff };
	struct kv_cursor *cursor = NULL;
	int rc = kv_cursor_open(kv, MAIL_TABLE_ACCOUNT, &cursor);

	*number_r = 1;
	if (rc == 0)
		rc = kv_cursor_seek_before(cursor, bytes_of(beyond, sizeof(beyond)));
	if (rc == 0)
		*number_r = get_u32(kv_cursor_key(cursor).ptr) + 1;
	kv_cursor_close(&cursor);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* Every node makes the same record of INBOX, so that first deliveries on two nodes are to one
 * mailbox. */
struct mailbox_record account_inbox(struct bytes account_name)
{
	return (struct mailbox_record){ .id = id128_derive("chapar inbox", account_name),
		.name = BYTES_LITERAL("INBOX"),
		.uidvalidity = 1,
		.uidnext = 1,
		.modseq = 1 };
}

int account_create(struct store_write *store, uint64_t node, uint64_t now_ms, struct bytes name,
	uint32_t *number_r)
{
	char normal[ACCOUNT_NAME_SIZE_MAX + 1];
	struct account_header header = { 0 };
	struct account_write write;
	struct mailbox_record inbox;
	unsigned char key[4];
	uint32_t number;
	int rc = account_name_normalize(name, normal);

	if (rc < 0)
		return rc;
	name = bytes_of_string(normal);
	if (account_find(store_write_kv(store), name, &number) == 0)
		return ERR_EXISTS;
	rc = account_number_new(store_write_kv(store), &header.number);
	if (rc < 0)
		return rc;
	header.id = id128_derive("chapar account", name);
	memcpy(header.name, normal, sizeof(normal));
	rc = store_put(store, MAIL_TABLE_ACCOUNT_NAME, name, account_key(key, header.number));
	if (rc == 0)
		rc = header_put(store, &header);
	if (rc == 0)
		rc = account_feed(store, header.number);
	if (rc < 0)
		return rc;
	inbox = account_inbox(name);
	rc = account_write_begin(&write, store, node, now_ms, header.number);
	if (rc == 0)
		rc = account_put_mailbox(&write, &inbox);
	rc = account_write_end(&write, rc);
	if (rc == 0)
		*number_r = header.number;
	return rc;
}

void account_observe(struct account_write *write, uint64_t modseq)
{
	if (modseq <= write->header.clock_last)
		return;
	write->header.clock_last = modseq;
	write->is_dirty = true;
}

uint64_t account_tick(struct account_write *write, uint64_t floor)
{
	uint64_t now = modseq_of_ms(write->now_ms);
	uint64_t next = write->header.clock_last + 1;

	if (next <= floor)
		next = floor + 1;
	if (next < now)
		next = now;
	next = store_write_tick(write->store, next);
	account_observe(write, next);
	return next;
}

struct stamp account_stamp(struct account_write *write)
{
	return (struct stamp){ account_tick(write, 0), write->node };
}

uint32_t account_uidvalidity_new(struct account_write *write)
{
	uint32_t next = write->header.uidvalidity_last + 1;
	uint32_t now = (uint32_t)(write->now_ms / 1000);

	return next > now ? next : now;
}

/* What a record's modseq means for the account: the clock and the greatest ever shown. */
static void modseq_shown(struct account_write *write, uint64_t modseq)
{
	account_observe(write, modseq);
	if (modseq > write->header.highest)
		write->header.highest = modseq;
	write->is_dirty = true;
}

static int name_take_away(struct account_write *write, struct bytes id_bytes)
{
	struct account_floor *floor;
	struct id128 id;
	int rc = unpack_raw(&id_bytes, id.bytes, sizeof(id.bytes));

	if (rc == 0)
		rc = floor_get(write, id, &floor);
	if (rc == 0)
		floor->has_lost_name = true;
	return rc;
}

static int name_row_replace(struct account_write *write, const struct mailbox_record *before,
	const struct mailbox_record *after)
{
	unsigned char key[4 + MAILBOX_NAME_SIZE_MAX];
	struct bytes value;
	int rc = 0;

	if (before != NULL && mailbox_is_live(before) &&
		(!mailbox_is_live(after) || !bytes_equal(before->name, after->name))) {
		name_key(key, write->header.number, before->name);
		rc = kv_get(write->kv, MAIL_TABLE_MAILBOX_NAME, bytes_of(key, 4 + before->name.len),
			&value);
		/* Another mailbox may have taken the name earlier in this write. */
		if (rc == 0 && bytes_equal(value, bytes_of(before->id.bytes, 16)))
			rc = store_delete(write->store, MAIL_TABLE_MAILBOX_NAME,
				bytes_of(key, 4 + before->name.len));
		if (rc < 0 && rc != ERR_NOT_FOUND)
			return rc;
	}
	if (!mailbox_is_live(after))
		return 0;
	name_key(key, write->header.number, after->name);
	rc = kv_get(write->kv, MAIL_TABLE_MAILBOX_NAME, bytes_of(key, 4 + after->name.len), &value);
	if (rc == 0 && !bytes_equal(value, bytes_of(after->id.bytes, 16)))
		rc = name_take_away(write, value);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	return store_put(write->store, MAIL_TABLE_MAILBOX_NAME, bytes_of(key, 4 + after->name.len),
		bytes_of(after->id.bytes, 16));
}

static bool mailbox_may_follow(
	const struct mailbox_record *before, const struct mailbox_record *after)
{
	return after->modseq >= before->modseq && after->uidvalidity >= before->uidvalidity &&
	       (mailbox_is_live(before) || !mailbox_is_live(after));
}

/* The one place that holds users to the account's mode: whatever they change comes by here. */
static int user_check(struct account_write *write)
{
	int rc;

	if (write->user_error == NULL || write->user_is_checked)
		return 0;
	rc = account_hold_check(&write->header, write->user_error);
	if (rc == 0)
		rc = account_mode_check(write, write->user_error);
	write->user_is_checked = rc == 0;
	return rc;
}

int account_put_mailbox(struct account_write *write, const struct mailbox_record *mailbox)
{
	struct mailbox_record *now;
	struct account_floor *floor;
	uint32_t uidnext;
	int rc = user_check(write);

	if (rc == 0)
		rc = floor_get(write, mailbox->id, &floor);
	if (rc < 0)
		return rc;
	now = &floor->mailbox;
	if (mailbox->name.len == 0 || mailbox->name.len > MAILBOX_NAME_SIZE_MAX ||
		mailbox->uidvalidity == 0 || mailbox->modseq > MODSEQ_MAX)
		return ERR_ILLEGAL;
	if (floor->exists && !mailbox_may_follow(now, mailbox))
		return ERR_ILLEGAL;
	rc = name_row_replace(write, floor->exists ? now : NULL, mailbox);
	if (rc < 0)
		return rc;
	write->header.mailbox_count += mailbox_is_live(mailbox);
	write->header.mailbox_count -= floor->exists && mailbox_is_live(now);
	uidnext = mailbox->uidnext > 0 ? mailbox->uidnext : 1;
	now->name_stamp = mailbox->name_stamp;
	now->name = arena_copy(write->arena, mailbox->name);
	now->uidvalidity = mailbox->uidvalidity;
	now->special_use_stamp = mailbox->special_use_stamp;
	now->special_use = arena_copy(write->arena, mailbox->special_use);
	now->deleted = mailbox->deleted;
	now->forward = mailbox->forward;
	now->modseq = mailbox->modseq;
	if (uidnext > now->uidnext)
		now->uidnext = uidnext;
	if (!floor->exists && now->highestmodseq < mailbox->modseq)
		now->highestmodseq = mailbox->modseq;
	if (mailbox->uidvalidity > write->header.uidvalidity_last)
		write->header.uidvalidity_last = mailbox->uidvalidity;
	floor->exists = true;
	floor->is_changed = true;
	modseq_shown(write, mailbox->modseq);
	return 0;
}

int account_raise_uidnext(struct account_write *write, struct id128 mailbox, uint32_t uidnext)
{
	struct account_floor *floor;
	int rc = floor_get(write, mailbox, &floor);

	if (rc < 0)
		return rc;
	if (!floor->exists)
		return ERR_NOT_FOUND;
	if (uidnext > floor->mailbox.uidnext) {
		floor->mailbox.uidnext = uidnext;
		floor->is_changed = true;
	}
	return 0;
}

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
	rc = user_check(write);
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
		rc = sequence_renew(write, &after.sequence, bytes_of(entry, 17 + record->key.len));
	if (rc < 0)
		return rc;
	if (record->kind == RECORD_ACCOUNT && bytes_equal_string(record->key, ACCOUNT_MERGED_KEY))
		write->is_merge = true;
	if (record->kind == RECORD_ACCOUNT && bytes_equal_string(record->key, ACCOUNT_DELETED_KEY))
		write->header.is_deleted = record->is_set;
	rc = register_index_change(write, &before, &after);
	if (rc < 0)
		return rc;
	register_note(write, &before, &after);
	term = register_term(&before);
	digest_subtract(&write->header.digest, term);
	term = register_term(&after);
	digest_add(&write->header.digest, term);
	write->header.annotation_byte_count += annotation_message_size(&after);
	write->header.annotation_byte_count -= annotation_message_size(&before);
	modseq_shown(write, record->modseq);
	register_encode(&value, &after);
	rc = store_put(write->store, MAIL_TABLE_REGISTER,
		register_key(key, write->header.number, record->kind, record->mailbox, record->key),
		buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

int account_announce(struct account_write *write, struct id128 mailbox, uint64_t modseq)
{
	struct account_floor *floor;
	int rc = floor_get(write, mailbox, &floor);

	if (rc < 0)
		return rc;
	if (!floor->exists)
		return ERR_NOT_FOUND;
	if (modseq > MODSEQ_MAX)
		return ERR_ILLEGAL;
	if (modseq > floor->mailbox.modseq) {
		floor->mailbox.modseq = modseq;
		floor->is_changed = true;
	}
	if (modseq > floor->mailbox.highestmodseq) {
		floor->mailbox.highestmodseq = modseq;
		floor->is_counted = true;
	}
	modseq_shown(write, modseq);
	return 0;
}

static void counts_change(struct account_write *write, struct account_floor *floor,
	const struct message_record *message, int by)
{
	struct mailbox_record *mailbox = &floor->mailbox;

	mailbox->message_count += (uint32_t)by;
	if (!message_has_flag(message, BYTES_LITERAL("\\Seen")))
		mailbox->unseen_count += (uint32_t)by;
	if (message_has_flag(message, BYTES_LITERAL("\\Deleted"))) {
		mailbox->deleted_count += (uint32_t)by;
		mailbox->deleted_byte_count += (uint64_t)((int64_t)by * (int64_t)message->size);
	}
	mailbox->byte_count += (uint64_t)((int64_t)by * (int64_t)message->size);
	write->header.message_count += (uint64_t)(int64_t)by;
	write->header.byte_count += (uint64_t)((int64_t)by * (int64_t)message->size);
	if (by > 0)
		digest_replace(write, floor, (struct digest){ 0 }, message_term(message));
	else
		digest_replace(write, floor, message_term(message), (struct digest){ 0 });
}

static void highest_raise(struct account_floor *floor, uint64_t modseq)
{
	if (modseq > floor->mailbox.highestmodseq)
		floor->mailbox.highestmodseq = modseq;
	floor->is_counted = true;
}

/* Takes what was shown away. `vanishes`: clients of its mailbox must be told, at `modseq`. */
static int message_unshow(struct account_write *write, const struct message_record *before,
	bool vanishes, uint64_t modseq)
{
	static const struct bytes vanished = { (const unsigned char *)"V", 1 };
	unsigned char key[MODSEQ_KEY_SIZE];
	struct account_floor *floor;
	uint32_t account = write->header.number;
	int rc = floor_get(write, before->mailbox, &floor);

	if (rc < 0)
		return rc;
	if (vanishes && modseq <= floor->highest_before && !account_is_unseen(write))
		return ERR_ILLEGAL;
	rc = store_delete(write->store, MAIL_TABLE_MODSEQ,
		modseq_key(key, account, before->mailbox, before->modseq, before->uid));
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	counts_change(write, floor, before, -1);
	if (!vanishes)
		return 0;
	floor->changes |= WATCH_MESSAGE_EXPUNGE;
	highest_raise(floor, modseq);
	rc = store_delete(write->store, MAIL_TABLE_MESSAGE,
		message_key(key, account, before->mailbox, before->uid));
	if (rc < 0 || account_is_unseen(write))
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	return store_put(write->store, MAIL_TABLE_MODSEQ,
		modseq_key(key, account, before->mailbox, modseq, before->uid), vanished);
}

/* A UID not shown before must be one that no client of this copy was ever told of (P2, P3). */
static int uid_check(struct account_write *write, const struct account_floor *floor, uint32_t uid)
{
	unsigned char key[MESSAGE_KEY_SIZE];
	struct bytes value;
	int rc;

	if ((uid < floor->uidnext_before && !account_is_unseen(write)) || uid == UINT32_MAX)
		return ERR_ILLEGAL;
	if (uid >= floor->mailbox.uidnext)
		return 0;
	rc = kv_get(write->kv, MAIL_TABLE_MESSAGE,
		message_key(key, write->header.number, floor->mailbox.id, uid), &value);
	if (rc == ERR_NOT_FOUND)
		return 0;
	return rc < 0 ? rc : ERR_ILLEGAL;
}

static int message_show(struct account_write *write, const struct message_record *before,
	const struct message_record *after, bool is_new_place, bool is_changed)
{
	static const struct bytes shown = { (const unsigned char *)"S", 1 };
	unsigned char key[MODSEQ_KEY_SIZE];
	struct account_floor *floor;
	struct buffer value = { 0 };
	int rc = floor_get_live(write, after->mailbox, &floor);

	if (rc == 0 && is_new_place)
		rc = uid_check(write, floor, after->uid);
	if (rc == 0 && is_changed && after->modseq <= floor->highest_before &&
		!account_is_unseen(write))
		rc = ERR_ILLEGAL;
	if (rc < 0)
		return rc;
	if (after->uid >= floor->mailbox.uidnext) {
		floor->mailbox.uidnext = after->uid + 1;
		floor->is_changed = true;
	}
	if (is_new_place)
		floor->given_count++;
	if (is_new_place)
		floor->changes |= WATCH_MESSAGE_NEW;
	else if (is_changed)
		floor->changes |= watch_note_flag_changes(before, after);
	highest_raise(floor, after->modseq);
	counts_change(write, floor, after, 1);
	rc = store_put(write->store, MAIL_TABLE_MODSEQ,
		modseq_key(key, write->header.number, after->mailbox, after->modseq, after->uid),
		shown);
	if (rc < 0)
		return rc;
	message_encode(&value, after);
	rc = store_put(write->store, MAIL_TABLE_MESSAGE,
		message_key(key, write->header.number, after->mailbox, after->uid),
		buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

static int instance_row_put(struct account_write *write, const struct message_record *after)
{
	unsigned char key[INSTANCE_KEY_SIZE];
	struct buffer value = { 0 };
	int rc;

	if (message_is_shown(after)) {
		pack_u8(&value, ENTRY_SHOWN);
		buffer_append(&value, after->mailbox.bytes, sizeof(after->mailbox.bytes));
		pack_u32(&value, after->uid);
	} else {
		pack_u8(&value, ENTRY_TOMBSTONE);
		message_encode(&value, after);
	}
	rc = store_put(write->store, MAIL_TABLE_INSTANCE,
		instance_key(key, write->header.number, after->instance), buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

static bool message_may_follow(
	const struct message_record *before, const struct message_record *after)
{
	if (!guid_equal(&before->guid, &after->guid) || before->size != after->size)
		return false; /* one instance is one message, for ever */
	return after->modseq >= before->modseq && stamp_compare(after->placed, before->placed) >= 0;
}

static void release_later(struct account_write *write, const struct guid *guid)
{
	void *releases = write->releases;

	mem_grow(&releases, &write->release_room, write->release_count + 1,
		sizeof(*write->releases));
	write->releases = releases;
	write->releases[write->release_count++] = *guid;
}

static void kept_change(struct account_write *write, const struct message_record *message, int by)
{
	write->header.kept_count += (uint64_t)(int64_t)by;
	write->header.kept_bytes += (uint64_t)((int64_t)by * (int64_t)message->size);
	write->is_counted = true;
}

/* A message holds its body while it is shown, and its tombstone as long as it can be brought back.
 */
static int bodies_change(struct account_write *write, const struct message_record *before,
	const struct message_record *after)
{
	bool was_kept = before != NULL && before->has_body;
	bool had_body = was_kept || (before != NULL && message_is_shown(before));
	bool has_body = message_is_shown(after) || after->has_body;

	if (was_kept != after->has_body)
		kept_change(write, after, after->has_body ? 1 : -1);
	if (has_body && !had_body)
		return mail_body_reference(write, &after->guid);
	if (!has_body && had_body)
		release_later(write, &before->guid);
	return 0;
}

int account_release_kept(struct account_write *write, const struct message_record *message)
{
	if (!message->has_body)
		return 0;
	kept_change(write, message, -1);
	release_later(write, &message->guid);
	return 0;
}

int account_give_up_kept(struct account_write *write, const struct message_record *message)
{
	struct message_record without = *message;

	if (!message->has_body)
		return 0;
	without.has_body = false;
	account_release_kept(write, message);
	return instance_row_put(write, &without);
}

static void local_fields_fill(const struct account_write *write, struct message_record *after,
	const struct message_record *before, bool is_new_place)
{
	bool is_new_placement = before == NULL || stamp_compare(before->placed, after->placed) != 0;

	after->placed_sequence = is_new_placement ? after->sequence : before->placed_sequence;
	after->placed_again = is_new_placement       ? 0
			      : write->renews_placed ? after->sequence
						     : before->placed_again;
	after->shown_sequence = is_new_place ? after->sequence : before->shown_sequence;
	after->shown_again = is_new_place          ? 0
			     : write->renews_shown ? after->sequence
						   : before->shown_again;
}

int account_put_message(struct account_write *write, const struct message_record *message)
{
	struct message_record found, after = *message;
	const struct message_record *before = &found;
	unsigned char entry[17];
	bool is_new_place;
	int rc = user_check(write);

	if (rc == 0)
		rc = account_get_message(
			write->kv, write->header.number, message->instance, write->arena, &found);
	if (rc == ERR_NOT_FOUND)
		before = NULL;
	else if (rc < 0)
		return rc;
	if (message->modseq > MODSEQ_MAX || message->flag_count > MESSAGE_FLAG_COUNT_MAX ||
		message_is_shown(message) == id128_is_none(message->mailbox) ||
		(before != NULL && !message_may_follow(before, message)))
		return ERR_ILLEGAL;
	is_new_place = before == NULL || before->uid != after.uid ||
		       !id128_equal(before->mailbox, after.mailbox);
	after.sequence = before != NULL ? before->sequence : 0;
	rc = expiry_note_message(write, before, &after);
	if (rc == 0)
		rc = bodies_change(write, before, &after);
	if (rc == 0)
		rc = sequence_renew(
			write, &after.sequence, sequence_value_message(entry, after.instance));
	if (rc < 0)
		return rc;
	local_fields_fill(write, &after, before, is_new_place);
	if (before != NULL && message_is_shown(before)) {
		rc = message_unshow(write, before, is_new_place, after.modseq);
		if (rc < 0)
			return rc;
	}
	if (message_is_shown(&after)) {
		rc = message_show(write, before, &after, is_new_place,
			before == NULL || !message_same(before, &after));
		if (rc < 0)
			return rc;
	}
	modseq_shown(write, after.modseq);
	if (is_new_place || !message_is_shown(&after))
		rc = instance_row_put(write, &after);
	return rc;
}
