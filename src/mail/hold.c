#include "mail/hold.h"

#include "base/pack.h"
#include "mail/account_private.h"
#include "mail/away.h"

#define FILL_VERSION 1
#define COMMON_KEY_SIZE 12 /* ACCOUNT and a node */
#define RETURNING_STEP 500 /* accounts looked at in one commit */

/* Beside the common points with peers; no node's id is 0. */
static struct bytes fill_key(unsigned char at[COMMON_KEY_SIZE], uint32_t account)
{
	put_u32(at, account);
	put_u64(at + 4, 0);
	return bytes_of(at, COMMON_KEY_SIZE);
}

int account_fill_get(struct kv_txn *kv, uint32_t account, struct account_fill *fill_r)
{
	unsigned char key[COMMON_KEY_SIZE];
	struct account_fill fill = { 0 };
	uint8_t version, is_pulled, is_mixed;
	struct bytes value;
	int rc = kv_get(kv, MAIL_TABLE_COMMON, fill_key(key, account), &value);

	if (rc < 0)
		return rc;
	if (unpack_u8(&value, &version) < 0)
		return ERR_CORRUPT;
	if (version != FILL_VERSION)
		return ERR_VERSION;
	if (unpack_u64(&value, &fill.source) < 0 || unpack_varint(&value, &fill.reached) < 0 ||
		unpack_varint(&value, &fill.at_ms) < 0 || unpack_u8(&value, &is_pulled) < 0 ||
		unpack_u8(&value, &is_mixed) < 0)
		return ERR_CORRUPT;
	if (value.len > 0 && (unpack_u64(&value, &fill.view) < 0 || value.len > 0))
		return ERR_CORRUPT;
	fill.is_pulled = is_pulled != 0;
	fill.is_mixed = is_mixed != 0;
	*fill_r = fill;
	return 0;
}

int account_fill_put(struct account_write *write, const struct account_fill *fill)
{
	unsigned char key[COMMON_KEY_SIZE];
	struct buffer value = { 0 };
	int rc;

	pack_u8(&value, FILL_VERSION);
	pack_u64(&value, fill->source);
	pack_varint(&value, fill->reached);
	pack_varint(&value, fill->at_ms);
	pack_u8(&value, fill->is_pulled);
	pack_u8(&value, fill->is_mixed);
	if (fill->view != 0)
		pack_u64(&value, fill->view);
	rc = store_put(write->store, MAIL_TABLE_COMMON, fill_key(key, write->header.number),
		buffer_bytes(&value));
	buffer_deinit(&value);
	write->header.hold = ACCOUNT_FILLING;
	write->is_counted = true;
	return rc;
}

/* ---- the end of it ---- */

/* While parts came from two sources two mailboxes may have had one name. */
static int name_renew(void *context, const struct mailbox_record *mailbox)
{
	struct account_write *write = context;
	unsigned char key[4 + MAILBOX_NAME_SIZE_MAX];

	if (!mailbox_is_live(mailbox))
		return mailbox->message_count == 0 ? 0 : ERR_ILLEGAL;
	return store_put(write->store, MAIL_TABLE_MAILBOX_NAME,
		name_key(key, write->header.number, mailbox->name),
		bytes_of(mailbox->id.bytes, sizeof(mailbox->id.bytes)));
}

static int fill_end(struct account_write *write)
{
	unsigned char key[COMMON_KEY_SIZE];
	int rc = account_write_flush(write);

	if (rc == 0)
		rc = account_each_mailbox(
			write->kv, write->header.number, write->arena, name_renew, write);
	if (rc == 0)
		rc = store_delete(
			write->store, MAIL_TABLE_COMMON, fill_key(key, write->header.number));
	/* Of what vanished before, nothing was noted in an order that a cursor could use. */
	write->header.vanished_floor = write->header.clock_last;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int account_hold_end(struct account_write *write)
{
	int rc = write->header.hold == ACCOUNT_FILLING ? fill_end(write) : 0;

	if (write->header.hold == ACCOUNT_AWAY)
		return account_away_refuse(write->kv, &write->header, NULL);
	if (rc == 0 && write->header.hold != ACCOUNT_SERVED) {
		write->header.hold = ACCOUNT_SERVED;
		write->is_dirty = true; /* channels that let it be are to look again */
	}
	return rc;
}

static int end_run(struct account_write *write, void *context)
{
	(void)context;
	return write->header.hold == ACCOUNT_SERVED ? ERR_NOT_FOUND : account_hold_end(write);
}

int mail_hold_end(struct mail *mail, uint32_t account, struct error *error)
{
	int rc = mail_node_commit(mail, account, end_run, NULL, error, NULL);

	if (rc == ERR_NOT_FOUND)
		return error_set(error, rc, "the account is served already");
	if (rc == ERR_ILLEGAL)
		return error_set(error, rc,
			"a mailbox is deleted that still shows messages: another peer must bring "
			"the rest");
	return rc;
}

/* ---- looking ---- */

int account_hold_check(const struct account_header *header, struct error *error)
{
	switch (header->hold) {
	case ACCOUNT_SERVED:
		return 0;
	case ACCOUNT_FILLING:
		return error_set(
			error, ERR_UNAVAILABLE, "the account is still being copied to this server");
	case ACCOUNT_AWAY:
		return error_set(error, ERR_REPLICA, "the account was moved to another node");
	case ACCOUNT_RETURNING:
		break;
	}
	return error_set(error, ERR_UNAVAILABLE,
		"this server was restored, and first brings the account up to date");
}

int mail_hold_check(struct mail *mail, uint32_t account, struct error *error)
{
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, 0, &kv);

	if (rc == 0)
		rc = account_load(kv, account, &header);
	if (rc == 0 && header.hold == ACCOUNT_AWAY)
		rc = account_away_refuse(kv, &header, error);
	mail_read_end(&kv);
	return rc < 0 ? rc : account_hold_check(&header, error);
}

/* ---- after the store was restored ---- */

struct returning {
	struct mail *mail;
	uint32_t account;
};

/* Whether there is a row of a common point. */
static int was_common(struct kv_txn *kv, uint32_t account)
{
	unsigned char prefix[4];
	struct kv_cursor *cursor = NULL;
	int rc = kv_cursor_open(kv, MAIL_TABLE_COMMON, &cursor);

	put_u32(prefix, account);
	if (rc == 0)
		rc = kv_cursor_seek(cursor, bytes_of(prefix, sizeof(prefix)));
	if (rc == 0)
		rc = bytes_start_with(kv_cursor_key(cursor), bytes_of(prefix, sizeof(prefix)));
	kv_cursor_close(&cursor);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

void account_hold_return(struct account_write *write)
{
	if (write->header.hold != ACCOUNT_SERVED)
		return;
	write->header.hold = ACCOUNT_RETURNING;
	write->is_dirty = true;
}

static int return_run(struct account_write *write, void *context)
{
	const uint64_t *known = context;

	if (write->header.sequence < *known)
		account_hold_return(write);
	return 0;
}

int mail_hold_return(struct mail *mail, uint32_t account, uint64_t known, struct error *error)
{
	return mail_node_commit(mail, account, return_run, &known, error, NULL);
}

static int return_one(struct store_write *store, const struct returning *returning)
{
	struct account_write write;
	int rc = account_write_begin(&write, store, mail_node(returning->mail),
		clock_now_ms(mail_clock(returning->mail)), returning->account);

	if (rc == 0)
		account_hold_return(&write);
	return account_write_end(&write, rc);
}

static int returning_run(struct store_write *store, void *context)
{
	struct returning *returning = context;
	struct kv_txn *kv = store_write_kv(store);
	int rc = 0;

	for (unsigned i = 0; i < RETURNING_STEP && rc == 0; i++) {
		struct account_header header;

		rc = account_next(kv, returning->account, &header);
		if (rc < 0)
			break;
		returning->account = header.number;
		rc = was_common(kv, header.number);
		if (rc > 0)
			rc = return_one(store, returning);
	}
	/* What was marked before the last account stays marked. */
	return rc == ERR_NOT_FOUND ? 1 : rc;
}

int mail_hold_returning(struct mail *mail, uint32_t *account, struct error *error)
{
	struct returning returning = { mail, *account };
	struct account_header header;
	struct kv_txn *kv = NULL;
	uint64_t position;
	int rc = store_commit(mail_store(mail), returning_run, &returning, error, &position);

	if (rc < 0)
		return rc;
	rc = mail_read_begin(mail, position, &kv);
	if (rc == 0)
		rc = account_next(kv, returning.account, &header);
	mail_read_end(&kv);
	*account = returning.account;
	return rc;
}

/* ---- whether it was ---- */

/* Under which id the store was served last; kept where no account's rows are. */
static int served_id_get(struct kv_txn *kv, uint64_t *node_r)
{
	unsigned char key[COMMON_KEY_SIZE];
	struct bytes value;
	uint8_t version;
	int rc = kv_get(kv, MAIL_TABLE_COMMON, fill_key(key, 0), &value);

	if (rc < 0)
		return rc;
	if (unpack_u8(&value, &version) < 0)
		return ERR_CORRUPT;
	if (version != FILL_VERSION)
		return ERR_VERSION;
	return unpack_u64(&value, node_r) < 0 || value.len != 0 ? ERR_CORRUPT : 0;
}

static int served_id_run(struct store_write *store, void *context)
{
	const uint64_t *node = context;
	unsigned char key[COMMON_KEY_SIZE];
	struct buffer value = { 0 };
	int rc;

	pack_u8(&value, FILL_VERSION);
	pack_u64(&value, *node);
	rc = store_put(store, MAIL_TABLE_COMMON, fill_key(key, 0), buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

int mail_hold_begin(struct mail *mail, bool *has_returned_r, struct error *error)
{
	uint64_t served = 0, node = mail_node(mail), position;
	uint32_t account = 0;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, 0, &kv);

	if (rc == 0)
		rc = served_id_get(kv, &served);
	mail_read_end(&kv);
	*has_returned_r = rc == 0 && served != node;
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return error_set(error, rc, "under which id the store was served cannot be read");
	if (rc == 0 && served == node)
		return 0;
	for (rc = 0; *has_returned_r && rc == 0;)
		rc = mail_hold_returning(mail, &account, error);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	return store_commit(mail_store(mail), served_id_run, &node, error, &position);
}
