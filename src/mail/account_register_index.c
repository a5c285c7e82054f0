/*
 * Indexes of registers, derived from them and kept in the same transaction:
 * (1) MAIL_TABLE_GRANT: by whom an acl entry is for, so that what is shared with a user is found
 *     without looking at all accounts. Negative entries share nothing and are not in it.
 * (2) MAIL_TABLE_SEEN: the seen registers of one mailbox by modseq, so that what changed since is
 *     found at the cost of what changed.
 */
#include "mail/account_private.h"

#include "base/error.h"
#include "base/pack.h"

static bool is_grant(const struct register_record *record)
{
	return record->kind == RECORD_ACL && record->is_set && bytes_peek(record->key) != '-' &&
	       bytes_find(record->key, '\0') == record->key.len;
}

/* Foreign input can bring seen registers with other keys: they mean nothing. */
static bool is_seen(const struct register_record *record, struct stamp *instance_r)
{
	struct bytes key = record->key;

	return record->kind == RECORD_SEEN && record->modseq != 0 &&
	       unpack_u64(&key, &instance_r->modseq) == 0 &&
	       unpack_u64(&key, &instance_r->node) == 0 && key.len == 0;
}

static struct bytes seen_value(const struct register_record *record)
{
	return record->is_set ? BYTES_LITERAL("+") : BYTES_LITERAL("-");
}

static int remove_row(struct account_write *write, unsigned table, struct bytes key)
{
	int rc = store_delete(write->store, table, key);

	return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
}

static int grant_change(struct account_write *write, const struct register_record *before,
	const struct register_record *after)
{
	unsigned char at[GRANT_KEY_SIZE];
	struct bytes key = grant_key(at, after->key, write->header.number, after->mailbox);

	if (is_grant(before) == is_grant(after))
		return 0;
	if (is_grant(before))
		return remove_row(write, MAIL_TABLE_GRANT, key);
	return store_put(write->store, MAIL_TABLE_GRANT, key, bytes_of("", 0));
}

int register_index_change(struct account_write *write, const struct register_record *before,
	const struct register_record *after)
{
	unsigned char at[SEEN_KEY_SIZE];
	uint32_t account = write->header.number;
	struct stamp instance;
	int rc = 0;

	if (after->kind == RECORD_ACL)
		return grant_change(write, before, after);
	if (is_seen(before, &instance))
		rc = remove_row(write, MAIL_TABLE_SEEN,
			seen_key(at, account, before->mailbox, before->modseq, instance));
	if (rc == 0 && is_seen(after, &instance))
		rc = store_put(write->store, MAIL_TABLE_SEEN,
			seen_key(at, account, after->mailbox, after->modseq, instance),
			seen_value(after));
	return rc;
}

static int row_check(struct kv_txn *kv, unsigned table, struct bytes key, struct bytes expected)
{
	struct bytes value;
	int rc = kv_get(kv, table, key, &value);

	if (rc < 0)
		return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
	return bytes_equal(value, expected) ? 0 : ERR_CORRUPT;
}

int register_index_check(struct kv_txn *kv, uint32_t account, const struct register_record *record)
{
	unsigned char grant[GRANT_KEY_SIZE], seen[SEEN_KEY_SIZE];
	struct stamp instance;

	if (is_grant(record))
		return row_check(kv, MAIL_TABLE_GRANT,
			grant_key(grant, record->key, account, record->mailbox), bytes_of("", 0));
	if (is_seen(record, &instance))
		return row_check(kv, MAIL_TABLE_SEEN,
			seen_key(seen, account, record->mailbox, record->modseq, instance),
			seen_value(record));
	return 0;
}
