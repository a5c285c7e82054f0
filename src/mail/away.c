#include "mail/away.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/pack.h"
#include "mail/account_mode.h"
#include "mail/account_private.h"
#include "mail/hold.h"
#include "mail/watch_note.h"

#include <stdlib.h>

#define CLEAR_STEP_COUNT 1000   /* rows deleted in one commit */
#define CLEAR_LOOK_COUNT 10000  /* rows looked at in one commit */
#define NEXT_STEP_COUNT 1000    /* accounts looked at in one step */
#define EXPIRY_ACCOUNT_OFFSET 8 /* in keys of MAIL_TABLE_EXPIRY */

int account_away_refuse(struct kv_txn *kv, const struct account_header *header, struct error *error)
{
	struct account_mode mode;
	int rc = account_mode_get(kv, header->number, &mode);

	if (rc < 0)
		return rc;
	if (!mode.has_master || mode.node.host[0] == '\0')
		return error_set(error, ERR_REPLICA, "the account was moved to %s%s",
			mode.node.name[0] != '\0' ? "node " : "another node", mode.node.name);
	return error_set(error, ERR_REPLICA, "%s: the account was moved to node %s", mode.node.host,
		mode.node.name);
}

/* ---- going ---- */

static int begin_run(struct account_write *write, void *context)
{
	struct account_header *header = &write->header;
	const uint64_t *sequence = context;
	struct account_mode mode;
	int rc;

	if (header->hold == ACCOUNT_AWAY)
		return ERR_EXISTS;
	if (header->hold != ACCOUNT_SERVED)
		return ERR_UNAVAILABLE;
	if (header->sequence != *sequence)
		return ERR_CHANGED;
	rc = account_mode_get(write->kv, header->number, &mode);
	if (rc == 0 && !account_mode_is_replica(&mode, write->node))
		rc = ERR_REFUSED;
	if (rc < 0)
		return rc;
	header->hold = ACCOUNT_AWAY;
	header->begun = header->forgotten = ++header->sequence;
	header->message_count = header->byte_count = 0;
	header->mailbox_count = 0;
	header->annotation_byte_count = 0;
	header->kept_count = header->kept_bytes = 0;
	header->digest = (struct digest){ 0 };
	write->is_dirty = true;
	/* Whoever watches anything of it is to look. */
	watch_note_put(write->store, header->number, &(struct watch_event){ 0 });
	return 0;
}

int account_away_begin(struct mail *mail, uint32_t account, uint64_t sequence, struct error *error)
{
	int rc = mail_node_commit(mail, account, begin_run, &sequence, error, NULL);

	switch (rc) {
	case ERR_EXISTS:
		return error_set(error, rc, "the account is away already");
	case ERR_UNAVAILABLE:
		return error_set(error, rc, "the account is held back");
	case ERR_CHANGED:
		return error_set(error, rc, "the account was changed meanwhile");
	case ERR_REFUSED:
		return error_set(error, rc, "changes of the account are made on this node");
	default:
		return rc;
	}
}

/* ---- clearing away ---- */

/* What a row holds beside itself is given up with it. */
typedef int row_function(struct account_write *write, struct bytes value);

static int give_up_message(struct account_write *write, struct bytes value)
{
	struct message_record message;
	int rc = message_decode(value, write->arena, &message);

	return rc < 0 ? rc : mail_body_release(write, &message.guid);
}

static int give_up_instance(struct account_write *write, struct bytes value)
{
	struct message_record message;
	uint8_t kind;
	int rc = 0;

	if (unpack_u8(&value, &kind) < 0)
		return ERR_CORRUPT;
	if (kind == ENTRY_TOMBSTONE)
		rc = message_decode(value, write->arena, &message);
	if (kind != ENTRY_TOMBSTONE || rc < 0 || !message.has_body)
		return rc;
	return mail_body_release(write, &message.guid);
}

/* By which users are told where the account is. */
static bool is_needed(const struct register_record *record)
{
	static const char *const keys[] = { "master", "credentials", "login", "shared" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (record->kind == RECORD_ACCOUNT && record->is_set &&
			bytes_equal_string(record->key, keys[i]))
			return true;
	return false;
}

static int give_up_register(struct account_write *write, struct bytes value)
{
	struct register_record record, none;
	int rc = register_decode(value, &record);

	if (rc < 0)
		return rc;
	none = record;
	none.modseq = 0;
	none.is_set = false;
	return register_index_change(write, &record, &none);
}

/* The index of what expires is first: it names what the others hold. */
static const struct clearing_table {
	unsigned table;
	row_function *give_up; /* NULL: the row is all */
} tables[] = {
	{ MAIL_TABLE_EXPIRY, NULL },
	{ MAIL_TABLE_REGISTER, give_up_register },
	{ MAIL_TABLE_MESSAGE, give_up_message },
	{ MAIL_TABLE_INSTANCE, give_up_instance },
	{ MAIL_TABLE_MAILBOX_NAME, NULL },
	{ MAIL_TABLE_MAILBOX, NULL },
	{ MAIL_TABLE_MODSEQ, NULL },
	{ MAIL_TABLE_SEQUENCE, NULL },
	{ MAIL_TABLE_SEEN, NULL },
	{ MAIL_TABLE_COMMON, NULL },
	{ MAIL_TABLE_CONFLICT, NULL },
};
#define TABLE_COUNT (sizeof(tables) / sizeof(tables[0]))

struct clearing_row {
	struct bytes key, value;
};

struct clearing_run {
	struct account_clearing *clearing;
	struct clearing_row rows[CLEAR_STEP_COUNT];
	size_t count;
	bool is_table_done;
	/* Where it went on to; taken over when the commit is done. */
	unsigned char after[KV_KEY_SIZE_MAX];
	size_t after_len;
};

static bool is_of_account(unsigned table, struct bytes key, struct bytes prefix)
{
	if (table == MAIL_TABLE_EXPIRY)
		bytes_skip(&key, key.len < EXPIRY_ACCOUNT_OFFSET ? key.len : EXPIRY_ACCOUNT_OFFSET);
	return bytes_start_with(key, prefix);
}

static bool is_kept(const struct clearing_run *run, unsigned table, struct bytes value)
{
	struct register_record record;

	return table == MAIL_TABLE_REGISTER && !run->clearing->is_whole &&
	       register_decode(value, &record) == 0 && is_needed(&record);
}

/* What is deleted is read before anything is. */
static int collect(struct account_write *write, struct clearing_run *run, struct bytes prefix)
{
	const struct account_clearing *clearing = run->clearing;
	unsigned table = tables[clearing->table_index].table;
	struct bytes from = bytes_of(clearing->after, clearing->after_len);
	struct kv_cursor *cursor = NULL;
	int rc = kv_cursor_open(write->kv, table, &cursor);

	if (from.len == 0)
		from = table == MAIL_TABLE_EXPIRY ? BYTES_LITERAL("\0") : prefix;
	if (rc == 0)
		rc = kv_cursor_seek(cursor, from);
	for (unsigned looked = 0; rc == 0 && looked < CLEAR_LOOK_COUNT; looked++) {
		struct bytes key = kv_cursor_key(cursor), value = kv_cursor_value(cursor);
		bool is_ours = is_of_account(table, key, prefix);

		if ((!is_ours && table != MAIL_TABLE_EXPIRY) || run->count == CLEAR_STEP_COUNT)
			break;
		memcpy(run->after, key.ptr, key.len);
		run->after_len = key.len;
		if (is_ours && !is_kept(run, table, value)) {
			run->rows[run->count].key = arena_copy(write->arena, key);
			run->rows[run->count++].value = arena_copy(write->arena, value);
		}
		rc = kv_cursor_next(cursor);
		if (rc == 0 && table != MAIL_TABLE_EXPIRY &&
			!is_of_account(table, kv_cursor_key(cursor), prefix))
			rc = ERR_NOT_FOUND;
	}
	run->is_table_done = rc == ERR_NOT_FOUND || run->after_len == 0;
	kv_cursor_close(&cursor);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int clearing_run(struct account_write *write, void *context)
{
	struct clearing_run *run = context;
	const struct clearing_table *table = &tables[run->clearing->table_index];
	unsigned char prefix[4];
	int rc;

	run->count = run->after_len = 0;
	run->is_table_done = true;
	if (write->header.hold != ACCOUNT_AWAY)
		return 0;
	rc = collect(write, run, account_key(prefix, write->header.number));
	for (size_t i = 0; i < run->count && rc == 0; i++) {
		if (table->give_up != NULL)
			rc = table->give_up(write, run->rows[i].value);
		if (rc == 0)
			rc = store_delete(write->store, table->table, run->rows[i].key);
		/* An index that is deleted with its register may hold this one, too. */
		if (rc == ERR_NOT_FOUND)
			rc = 0;
	}
	return rc;
}

int account_clearing_step(struct mail *mail, struct account_clearing *clearing, struct error *error)
{
	struct clearing_run *run;
	int rc;

	if (clearing->table_index == TABLE_COUNT)
		return 0;
	run = mem_zalloc(sizeof(*run));
	run->clearing = clearing;
	rc = mail_node_commit(mail, clearing->account, clearing_run, run, error, NULL);
	if (rc == 0) {
		clearing->row_count += run->count;
		clearing->table_index += run->is_table_done;
		clearing->after_len = run->is_table_done ? 0 : run->after_len;
		memcpy(clearing->after, run->after, clearing->after_len);
	}
	free(run);
	return rc < 0 ? rc : clearing->table_index < TABLE_COUNT;
}

/* The next account that is away. 1: it is in *clearing; 0: there is none; else look again. */
static int find_next(struct mail *mail, struct account_clearing *clearing, bool *is_found)
{
	struct account_header header = { .number = clearing->account };
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, 0, &kv);

	*is_found = false;
	for (unsigned i = 0; i < NEXT_STEP_COUNT && rc == 0 && !*is_found; i++) {
		rc = account_next(kv, header.number, &header);
		*is_found = rc == 0 && header.hold == ACCOUNT_AWAY;
	}
	mail_read_end(&kv);
	*clearing = (struct account_clearing){ .account = header.number };
	return rc;
}

int account_clearing_next(struct mail *mail, struct account_clearing *clearing, struct error *error)
{
	bool is_found;
	int rc;

	if (clearing->account != 0 && clearing->table_index < TABLE_COUNT) {
		rc = account_clearing_step(mail, clearing, error);
		return rc < 0 ? rc : 1;
	}
	rc = find_next(mail, clearing, &is_found);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc == 0 && !is_found)
		clearing->table_index = TABLE_COUNT; /* goes on after that one */
	return rc < 0 ? error_set(error, rc, "the accounts cannot be read") : 1;
}

/* ---- coming back ---- */

static int admit_run(struct account_write *write, void *context)
{
	const uint64_t *source = context;
	struct account_fill fill = { .source = *source, .at_ms = write->now_ms };

	return write->header.hold == ACCOUNT_AWAY ? account_fill_put(write, &fill) : 0;
}

int account_away_admit(struct mail *mail, uint32_t account, uint64_t source, struct error *error)
{
	return mail_node_commit(mail, account, admit_run, &source, error, NULL);
}

/* Clients may know UIDs of INBOX as it was: it gets another UIDVALIDITY (P2). */
static int end_run(struct account_write *write, void *context)
{
	struct mailbox_record inbox = account_inbox(bytes_of_string(write->header.name));

	(void)context;
	if (write->header.hold != ACCOUNT_AWAY)
		return ERR_NOT_FOUND;
	write->header.hold = ACCOUNT_SERVED;
	inbox.uidvalidity = account_uidvalidity_new(write);
	inbox.modseq = account_tick(write, write->header.highest);
	return account_put_mailbox(write, &inbox);
}

int account_away_end(struct mail *mail, uint32_t account, struct error *error)
{
	int rc = mail_node_commit(mail, account, end_run, NULL, error, NULL);

	return rc == ERR_NOT_FOUND ? error_set(error, rc, "the account is not away") : rc;
}
