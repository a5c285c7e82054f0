/*
 * Indexes of registers, derived from them and kept in the same transaction:
 * (1) MAIL_TABLE_GRANT: by whom an acl entry is for, so that what is shared with a user is found
 *     without looking at all accounts. Negative entries share nothing and are not in it.
 * (2) MAIL_TABLE_SEEN: the seen registers of one owner's messages by modseq, so that what changed
 *     since is found at the cost of what changed. What was not made here is noted there once more,
 *     until it is settled (mail/seen.h): '+' if it brought news that are not above the mailbox's
 *     HIGHESTMODSEQ, and cursors were told before; else '-'.
 * (3) MAIL_TABLE_SEEN_BY: who has a seen register of a message, for when that is forgotten.
 */
#include "mail/account_private.h"

#include "base/error.h"
#include "base/pack.h"
#include "mail/acl_guest.h"
#include "mail/seen.h"

static bool is_grant(const struct register_record *record)
{
	int first = bytes_peek(record->key);

	return record->kind == RECORD_ACL && record->is_set && first != '-' && first != ACL_THERE &&
	       bytes_find(record->key, '\0') == record->key.len;
}

/* One that means something to cursors. */
static bool is_seen(const struct register_record *record, struct stamp *instance_r)
{
	return record->modseq != 0 && seen_instance(record, instance_r) && !seen_is_gone(record);
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

/* Whether a cursor that does not tell it may have been told already. */
static int is_told_past(
	struct account_write *write, const struct register_record *record, struct stamp instance)
{
	unsigned char at[SEEN_KEY_SIZE];
	struct mailbox_record mailbox;
	struct id128 shown_in;
	struct bytes number;
	uint32_t uid;
	int rc = kv_get(write->kv, MAIL_TABLE_SEEN,
		seen_key(at, write->header.number, record->mailbox, 0, (struct stamp){ 0, 0 }),
		&number);

	if (rc == 0)
		rc = account_find_shown(write->kv, get_u32(number.ptr), instance, &shown_in, &uid);
	if (rc == 0)
		rc = account_get_mailbox(
			write->kv, get_u32(number.ptr), shown_in, write->arena, &mailbox);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	return record->modseq <= mailbox.highestmodseq;
}

/* The note of what is to be settled. */
static int arrival_change(struct account_write *write, const struct register_record *before,
	const struct register_record *after, struct stamp instance, bool is_kept)
{
	unsigned char at[SEEN_KEY_SIZE];
	struct bytes noted,
		key = seen_key(at, write->header.number, after->mailbox, SEEN_ARRIVED, instance);
	bool is_made_here =
		after->stamp.node == write->node && after->stamp.modseq == after->modseq;
	bool is_news = before->modseq == 0 || stamp_compare(before->stamp, after->stamp) != 0;
	int rc = kv_get(write->kv, MAIL_TABLE_SEEN, key, &noted);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (!is_kept || is_made_here)
		return rc == 0 ? store_delete(write->store, MAIL_TABLE_SEEN, key) : 0;
	if (rc == 0 && bytes_peek(noted) == '+')
		is_news = true;
	rc = is_news ? is_told_past(write, after, instance) : 0;
	if (rc < 0)
		return rc;
	return store_put(write->store, MAIL_TABLE_SEEN, key,
		rc > 0 ? BYTES_LITERAL("+") : BYTES_LITERAL("-"));
}

static int seen_change(struct account_write *write, const struct register_record *before,
	const struct register_record *after)
{
	unsigned char at[SEEN_KEY_SIZE], by[SEEN_BY_KEY_SIZE];
	uint32_t account = write->header.number;
	struct stamp instance;
	bool was_seen = is_seen(before, &instance), is_kept = is_seen(after, &instance);
	int rc = 0;

	if (!was_seen && !is_kept)
		return 0;
	if (was_seen)
		rc = remove_row(write, MAIL_TABLE_SEEN,
			seen_key(at, account, before->mailbox, before->modseq, instance));
	if (rc == 0 && is_kept)
		rc = store_put(write->store, MAIL_TABLE_SEEN,
			seen_key(at, account, after->mailbox, after->modseq, instance),
			seen_value(after));
	if (rc == 0 && is_kept && !was_seen)
		rc = store_put(write->store, MAIL_TABLE_SEEN_BY,
			seen_by_key(by, after->mailbox, instance, account), bytes_of("", 0));
	if (rc == 0 && was_seen && !is_kept)
		rc = remove_row(write, MAIL_TABLE_SEEN_BY,
			seen_by_key(by, after->mailbox, instance, account));
	return rc == 0 ? arrival_change(write, before, after, instance, is_kept) : rc;
}

int register_index_change(struct account_write *write, const struct register_record *before,
	const struct register_record *after)
{
	if (after->kind == RECORD_ACL)
		return grant_change(write, before, after);
	return after->kind == RECORD_SEEN ? seen_change(write, before, after) : 0;
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
	unsigned char grant[GRANT_KEY_SIZE], seen[SEEN_KEY_SIZE], by[SEEN_BY_KEY_SIZE];
	struct stamp instance;
	int rc;

	if (is_grant(record))
		return row_check(kv, MAIL_TABLE_GRANT,
			grant_key(grant, record->key, account, record->mailbox), bytes_of("", 0));
	if (!is_seen(record, &instance))
		return 0;
	rc = row_check(kv, MAIL_TABLE_SEEN,
		seen_key(seen, account, record->mailbox, record->modseq, instance),
		seen_value(record));
	return rc < 0 ? rc
		      : row_check(kv, MAIL_TABLE_SEEN_BY,
				seen_by_key(by, record->mailbox, instance, account),
				bytes_of("", 0));
}
