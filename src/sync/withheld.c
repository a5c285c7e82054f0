#include "sync/withheld.h"

#include "base/mem.h"
#include "base/pack.h"
#include "mail/tables.h"

#include <stdlib.h>

#define ROW_VERSION 1
/* 0 and 'W', where no account's rows are; then ACCOUNT, peer node, STAMP. */
#define ROW_KEY_SIZE 33
#define ROW_PREFIX_SIZE 5
#define ACCOUNT_PREFIX_SIZE 9
#define PEER_PREFIX_SIZE 17

/* ---- rows ---- */

static struct bytes row_key(
	unsigned char at[ROW_KEY_SIZE], uint32_t account, uint64_t peer, struct stamp instance)
{
	put_u32(at, 0);
	at[4] = 'W';
	put_u32(at + 5, account);
	put_u64(at + 9, peer);
	put_u64(at + 17, instance.modseq);
	put_u64(at + 25, instance.node);
	return bytes_of(at, ROW_KEY_SIZE);
}

struct row {
	uint32_t account;
	uint64_t peer;
	struct stamp instance;
};

typedef int row_function(void *context, const struct row *row);

static int row_read(struct bytes key, struct bytes value, struct row *row_r)
{
	uint8_t version;

	key.ptr += ROW_PREFIX_SIZE;
	key.len -= ROW_PREFIX_SIZE;
	if (unpack_u8(&value, &version) < 0)
		return ERR_CORRUPT;
	if (version != ROW_VERSION)
		return ERR_VERSION;
	if (unpack_u32(&key, &row_r->account) < 0 || unpack_u64(&key, &row_r->peer) < 0 ||
		unpack_u64(&key, &row_r->instance.modseq) < 0 ||
		unpack_u64(&key, &row_r->instance.node) < 0 || key.len != 0)
		return ERR_CORRUPT;
	return 0;
}

static int each_row(struct kv_txn *kv, struct bytes prefix, row_function *function, void *context)
{
	struct kv_cursor *cursor = NULL;
	int rc = kv_cursor_open(kv, MAIL_TABLE_COMMON, &cursor);

	if (rc == 0)
		rc = kv_cursor_seek(cursor, prefix);
	while (rc == 0 && bytes_start_with(kv_cursor_key(cursor), prefix)) {
		struct row row;

		rc = row_read(kv_cursor_key(cursor), kv_cursor_value(cursor), &row);
		if (rc == 0)
			rc = function(context, &row);
		if (rc == 0)
			rc = kv_cursor_next(cursor);
	}
	kv_cursor_close(&cursor);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

struct rows {
	struct row *list;
	size_t count, room;
};

static int add_row(void *context, const struct row *row)
{
	struct rows *rows = context;

	mem_grow((void **)&rows->list, &rows->room, rows->count + 1, sizeof(*rows->list));
	rows->list[rows->count++] = *row;
	return 0;
}

/* Of one account, towards one peer, or towards all (0). */
static int list_rows(struct kv_txn *kv, uint32_t account, uint64_t peer, struct rows *rows)
{
	unsigned char key[ROW_KEY_SIZE];
	struct bytes prefix = row_key(key, account, peer, (struct stamp){ 0 });

	prefix.len = peer != 0 ? PEER_PREFIX_SIZE : ACCOUNT_PREFIX_SIZE;
	return each_row(kv, prefix, add_row, rows);
}

static int delete_row(struct store_write *store, const struct row *row)
{
	unsigned char key[ROW_KEY_SIZE];

	return store_delete(
		store, MAIL_TABLE_COMMON, row_key(key, row->account, row->peer, row->instance));
}

/* ---- what a view leaves out ---- */

int withheld_load(struct kv_txn *kv, uint32_t account, uint64_t peer, struct withheld **list_r,
	size_t *count_r)
{
	struct withheld *list = NULL;
	struct arena *arena;
	struct rows rows = { 0 };
	size_t count = 0;
	int rc = list_rows(kv, account, peer, &rows);

	*list_r = NULL;
	*count_r = 0;
	if (rc < 0 || rows.count == 0)
		goto out;
	arena = arena_new();
	list = mem_zalloc_array(rows.count, sizeof(*list));
	for (size_t i = 0; i < rows.count && rc == 0; i++) {
		struct message_record message;

		rc = account_get_message(kv, account, rows.list[i].instance, arena, &message);
		if (rc == 0 && message_is_shown(&message))
			list[count++] = (struct withheld){ message.instance, message.mailbox,
				message.uid, message_term(&message) };
		rc = rc == ERR_NOT_FOUND ? 0 : rc;
	}
	arena_free(&arena);
	if (rc < 0) {
		free(list);
		goto out;
	}
	*list_r = list;
	*count_r = count;
out:
	free(rows.list);
	return rc;
}

/* ---- beginning and end ---- */

struct noting {
	uint32_t account;
	uint64_t peer, common;
	const struct stamp *instances;
	size_t count;
	struct arena *arena;
};

/* A message that is not shown any more needs no row. */
static int note_one(struct store_write *store, const struct noting *noting, struct stamp instance)
{
	static const unsigned char version[] = { ROW_VERSION };
	unsigned char key[ROW_KEY_SIZE];
	struct message_record message;
	int rc = account_get_message(
		store_write_kv(store), noting->account, instance, noting->arena, &message);

	if (rc < 0 || !message_is_shown(&message))
		return rc == ERR_NOT_FOUND ? 0 : rc;
	if (message.placed_sequence <= noting->common)
		return ERR_CORRUPT;
	return store_put(store, MAIL_TABLE_COMMON,
		row_key(key, noting->account, noting->peer, instance),
		bytes_of(version, sizeof(version)));
}

static int note_run(struct store_write *store, void *context)
{
	const struct noting *noting = context;
	struct rows rows = { 0 };
	int rc = list_rows(store_write_kv(store), noting->account, 0, &rows);

	if (rc == 0 && rows.count + noting->count > WITHHELD_COUNT_MAX)
		rc = ERR_TOO_LARGE;
	free(rows.list);
	for (size_t i = 0; i < noting->count && rc == 0; i++)
		rc = note_one(store, noting, noting->instances[i]);
	return rc;
}

int withheld_note(struct mail *mail, uint32_t account, uint64_t peer, uint64_t common,
	const struct stamp *instances, size_t count, struct error *error)
{
	struct noting noting = { account, peer, common, instances, count, arena_new() };
	uint64_t position;
	int rc = store_commit(mail_store(mail), note_run, &noting, error, &position);

	arena_free(&noting.arena);
	if (rc == ERR_TOO_LARGE)
		return error_set(error, rc, "the bytes of more than %u messages are damaged",
			WITHHELD_COUNT_MAX);
	if (rc == ERR_CORRUPT)
		return error_set(error, rc,
			"the bytes of a message are damaged that the peer should have already");
	return rc;
}

int withheld_drop(struct account_write *write, uint64_t peer, const struct change_set *theirs)
{
	struct rows rows = { 0 };
	int rc = list_rows(write->kv, write->header.number, peer, &rows);

	for (size_t i = 0; i < rows.count && rc == 0; i++) {
		const struct message_change *change =
			change_set_message(theirs, rows.list[i].instance);

		if (change != NULL && message_is_shown(&change->record))
			rc = delete_row(write->store, &rows.list[i]);
	}
	free(rows.list);
	return rc;
}

/* See (2) above. */
static int place_anew(struct account_write *write, struct message_record *message)
{
	struct mailbox_record mailbox;
	int rc = account_write_flush(write);

	if (rc == 0)
		rc = account_get_mailbox(
			write->kv, write->header.number, message->mailbox, write->arena, &mailbox);
	if (rc < 0)
		return rc;
	message->uid = mailbox.uidnext;
	message->modseq = account_tick(write, write->header.highest);
	write->counts_as_placed = true;
	rc = account_put_message(write, message);
	write->counts_as_placed = false;
	return rc;
}

/* Of each message its rows follow each other only per peer; one that was placed anew already has
 * a shown_sequence of this commit. */
static int release_run(struct account_write *write, void *context)
{
	const struct rows *rows = context;
	uint64_t before = write->header.sequence;
	int rc = 0;

	for (size_t i = 0; i < rows->count && rc == 0; i++) {
		struct message_record message;

		rc = account_get_message(write->kv, write->header.number, rows->list[i].instance,
			write->arena, &message);
		if (rc == 0 && message_is_shown(&message) && message.shown_sequence <= before)
			rc = place_anew(write, &message);
		if (rc == 0 || rc == ERR_NOT_FOUND)
			rc = delete_row(write->store, &rows->list[i]);
		rc = rc == ERR_NOT_FOUND ? 0 : rc;
	}
	return rc;
}

/* Keeps the rows that end now: of messages that are not shown, or can be read. */
static int keep_ended(struct mail *mail, struct kv_txn *kv, struct rows *rows)
{
	struct arena *arena = arena_new();
	struct buffer body = { 0 };
	size_t kept = 0;
	int rc = 0;

	for (size_t i = 0; i < rows->count && rc == 0; i++) {
		struct message_record message;

		rc = account_get_message(
			kv, rows->list[i].account, rows->list[i].instance, arena, &message);
		buffer_clear(&body);
		if (rc == 0 && message_is_shown(&message))
			rc = message_body(mail, kv, &message.guid, &body);
		else if (rc == ERR_NOT_FOUND)
			rc = 0;
		if (rc == 0)
			rows->list[kept++] = rows->list[i];
		else if (rc == ERR_CORRUPT || rc == ERR_NOT_FOUND)
			rc = 0;
	}
	rows->count = kept;
	buffer_deinit(&body);
	arena_free(&arena);
	return rc;
}

int withheld_release(struct mail *mail, uint32_t account, size_t *count_r, struct error *error)
{
	struct rows rows = { 0 };
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, mail_position(mail), &kv);

	if (rc == 0)
		rc = list_rows(kv, account, 0, &rows);
	if (rc == 0 && rows.count > 0)
		rc = keep_ended(mail, kv, &rows);
	mail_read_end(&kv);
	if (rc < 0)
		error_set(error, rc, "what is withheld cannot be read: %s", error_name(rc));
	else if (rows.count > 0)
		rc = mail_node_commit(mail, account, release_run, &rows, error, NULL);
	*count_r = rc == 0 ? rows.count : 0;
	free(rows.list);
	return rc;
}

/* ---- for people ---- */

struct reporting {
	struct kv_txn *kv;
	struct arena *arena;
	withheld_function *function;
	void *context;
};

static int report_row(void *context, const struct row *row)
{
	const struct reporting *reporting = context;
	struct withheld_report report = {
		.account = row->account, .peer = row->peer, .instance = row->instance
	};
	struct message_record message;
	struct mailbox_record mailbox;
	int rc = account_get_message(
		reporting->kv, row->account, row->instance, reporting->arena, &message);

	if (rc == 0 && !message_is_shown(&message))
		return 0;
	if (rc == 0)
		rc = account_get_mailbox(
			reporting->kv, row->account, message.mailbox, reporting->arena, &mailbox);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	report.guid = message.guid;
	report.uid = message.uid;
	report.mailbox_name = mailbox.name;
	return reporting->function(reporting->context, &report);
}

int withheld_each(
	struct kv_txn *kv, struct arena *arena, withheld_function *function, void *context)
{
	struct reporting reporting = { kv, arena, function, context };
	unsigned char key[ROW_KEY_SIZE];
	struct bytes prefix = row_key(key, 0, 0, (struct stamp){ 0 });

	prefix.len = ROW_PREFIX_SIZE;
	return each_row(kv, prefix, report_row, &reporting);
}
