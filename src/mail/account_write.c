/*
 * Writing to an account: this file and account_put_*.c are the one place where records, their
 * indexes, the counts and the digests change. Mailbox rows are kept decoded for the length of a
 * write and written once, by account_write_flush(). Here: the beginning and end of a write, what
 * all kinds of records share, and the making of an account.
 */
#include "mail/account_write_private.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/pack.h"
#include "mail/account_mode.h"
#include "mail/away.h"
#include "mail/hold.h"
#include "mail/mail.h"
#include "mail/watch_note.h"

#include <stdlib.h>

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
	if (rc == 0 && write->header.writer != 0)
		write->node = write->header.writer;
	write->before.message_count = write->header.message_count;
	write->before.byte_count = write->header.byte_count;
	write->before.mailbox_count = write->header.mailbox_count;
	write->before.annotation_byte_count = write->header.annotation_byte_count;
	return rc;
}

int account_floor_get(struct account_write *write, struct id128 id, struct account_floor **floor_r)
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

void account_digest_replace(struct account_write *write, struct account_floor *floor,
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

int account_sequence_renew(struct account_write *write, uint64_t *sequence, struct bytes value)
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
		account_digest_replace(write, floor, floor->term, term);
		floor->term = term;
		rc = account_sequence_renew(write, &floor->mailbox.sequence,
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
	if (!has_leapt)
		return;
	write->header.vanished_floor = write->header.clock_last;
	/* Peers, who hear of the UIDNEXT from here, are to take over the floor with it. */
	write->header.highest = write->header.clock_last;
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

void account_modseq_shown(struct account_write *write, uint64_t modseq)
{
	account_observe(write, modseq);
	if (modseq > write->header.highest)
		write->header.highest = modseq;
	write->is_dirty = true;
}

int account_user_check(struct account_write *write)
{
	int rc;

	/* Nobody writes to what is not here, whoever sent it. */
	if (write->header.hold == ACCOUNT_AWAY)
		return account_away_refuse(write->kv, &write->header, write->user_error);
	if (write->user_error == NULL || write->user_is_checked)
		return 0;
	rc = account_hold_check(&write->header, write->user_error);
	if (rc == 0)
		rc = account_mode_check(write, write->user_error);
	write->user_is_checked = rc == 0;
	return rc;
}
