#include "mail/copying.h"

#include "base/error.h"
#include "base/pack.h"
#include "mail/expiry.h"
#include "mail/tables.h"

#include <stdlib.h>

#define ID_SIZE 12  /* ACCOUNT id */
#define KEY_SIZE 16 /* and first UID */
#define VALUE_SIZE 28

/* A row of MAIL_TABLE_COPYING. */
struct note {
	unsigned char key[KEY_SIZE];
	struct id128 mailbox;
	struct uid_range uids;
	uint64_t run; /* of the process that wrote it */
};

static struct bytes id_put(unsigned char at[KEY_SIZE], const struct copying *copying)
{
	put_u32(at, copying->account);
	put_u64(at + 4, copying->id);
	return bytes_of(at, ID_SIZE);
}

int copying_note(struct copying *copying, struct account_write *target, struct id128 mailbox,
	uint32_t first, uint32_t last)
{
	unsigned char key[KEY_SIZE], value[VALUE_SIZE];

	copying->account = target->header.number;
	if (copying->id == 0)
		copying->id = account_tick(target, 0);
	(void)id_put(key, copying);
	put_u32(key + ID_SIZE, first);
	memcpy(value, mailbox.bytes, 16);
	put_u32(value + 16, last);
	put_u64(value + 20, copying->run);
	return store_put(target->store, MAIL_TABLE_COPYING, bytes_of(key, sizeof(key)),
		bytes_of(value, sizeof(value)));
}

/* The first note from `start` on whose key begins with `prefix`. */
static int note_read(
	struct kv_txn *kv, struct bytes start, struct bytes prefix, struct note *note_r)
{
	struct kv_cursor *cursor = NULL;
	int rc = kv_cursor_open(kv, MAIL_TABLE_COPYING, &cursor);

	if (rc == 0)
		rc = kv_cursor_seek(cursor, start);
	if (rc == 0) {
		struct bytes key = kv_cursor_key(cursor), value = kv_cursor_value(cursor);

		if (!bytes_start_with(key, prefix)) {
			rc = ERR_NOT_FOUND;
		} else if (key.len != KEY_SIZE || value.len != VALUE_SIZE) {
			rc = ERR_CORRUPT;
		} else {
			memcpy(note_r->key, key.ptr, KEY_SIZE);
			memcpy(note_r->mailbox.bytes, value.ptr, 16);
			note_r->uids.first = get_u32(key.ptr + ID_SIZE);
			note_r->uids.last = get_u32(value.ptr + 16);
			note_r->run = get_u64(value.ptr + 20);
		}
	}
	kv_cursor_close(&cursor);
	return rc;
}

int copying_end(const struct copying *copying, struct account_write *target)
{
	unsigned char id[KEY_SIZE];
	struct bytes prefix = id_put(id, copying), start = prefix;
	struct note note;
	int rc = 0;

	while (copying->id != 0 && rc == 0) {
		rc = note_read(target->kv, start, prefix, &note);
		start = bytes_of(note.key, KEY_SIZE); /* not over those that are gone again */
		if (rc == 0)
			rc = store_delete(target->store, MAIL_TABLE_COPYING, start);
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* ---- undoing ---- */

struct undoing {
	const struct note *note;
	struct message_step step;
};

static int undo_run(struct account_write *write, void *context)
{
	struct undoing *undoing = context;
	int rc = message_step_read(write, &undoing->step);

	for (size_t i = 0; i < undoing->step.count && rc == 0; i++)
		rc = message_remove(write, &undoing->step.messages[i]);
	if (rc == 0 && undoing->step.is_done)
		rc = store_delete(
			write->store, MAIL_TABLE_COPYING, bytes_of(undoing->note->key, KEY_SIZE));
	return rc;
}

static int forget_run(struct store_write *write, void *context)
{
	const struct note *note = context;

	return store_delete(write, MAIL_TABLE_COPYING, bytes_of(note->key, KEY_SIZE));
}

static int note_undo(
	struct mail *mail, struct note *note, struct error *error, uint64_t *position_r)
{
	struct uid_set uids = { .ranges = &note->uids, .count = 1 };
	struct undoing undoing = { .note = note,
		.step = { .mailbox = note->mailbox, .uids = &uids } };
	int rc = 0;

	while (rc == 0 && !undoing.step.is_done)
		rc = mail_node_commit(
			mail, get_u32(note->key), undo_run, &undoing, error, position_r);
	free(undoing.step.messages);
	if (rc == ERR_NOT_FOUND) /* the account is gone, and its messages with it */
		rc = store_commit(mail_store(mail), forget_run, note, error, position_r);
	return rc;
}

static int next_note(
	struct mail *mail, struct bytes start, struct bytes prefix, struct note *note_r)
{
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, mail_position(mail), &kv);

	if (rc == 0)
		rc = note_read(kv, start, prefix, note_r);
	mail_read_end(&kv);
	return rc;
}

void copying_undo(const struct copying *copying, struct mail *mail, uint64_t *position_r)
{
	unsigned char id[KEY_SIZE];
	struct bytes prefix = id_put(id, copying);
	struct note note;
	int rc = copying->id != 0 ? 0 : ERR_NOT_FOUND;

	while (rc == 0) {
		rc = next_note(mail, prefix, prefix, &note);
		if (rc == 0)
			rc = note_undo(mail, &note, NULL, position_r);
	}
}

int mail_undo_copies(struct mail *mail, struct error *error)
{
	unsigned char beyond[KEY_SIZE + 1] = { 0 };
	struct bytes start = BYTES_LITERAL("\0");
	struct note note;
	uint64_t position;
	int rc;

	for (;;) {
		rc = next_note(mail, start, bytes_of(NULL, 0), &note);
		if (rc < 0 || note.run != mail_run_id(mail))
			break;
		memcpy(beyond, note.key, KEY_SIZE); /* its copying goes on */
		start = bytes_of(beyond, sizeof(beyond));
	}
	if (rc == 0)
		rc = note_undo(mail, &note, error, &position);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	return rc == 0;
}
