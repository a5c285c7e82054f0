/* Private \Seen that came by replication, and that of messages that are gone (mail/seen.h). */
#include "mail/seen.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/pack.h"
#include "mail/account_mode.h"
#include "mail/mail_private.h"
#include "mail/tables.h"

#include <stdlib.h>

#define SETTLE_COUNT_MAX 1000 /* in one commit */

/* ---- (3) ---- */

/* One that came and is to be settled. */
struct arrival {
	struct stamp instance;
	struct id128 mailbox; /* where its message is shown */
	bool is_news;
};

struct arrivals {
	uint32_t seen_account;
	uint32_t account;
	struct id128 owner;
	struct arrival *list;
	size_t count, room, count_max;
	bool is_more;
};

/* Reads those whose message is shown here, up to `count_max`. */
static int arrivals_read(struct kv_txn *kv, struct arrivals *arrivals)
{
	unsigned char at[SEEN_KEY_SIZE];
	struct bytes prefix = seen_key(
		at, arrivals->seen_account, arrivals->owner, SEEN_ARRIVED, (struct stamp){ 0, 0 });
	struct kv_cursor *cursor = NULL;
	int rc = kv_cursor_open(kv, MAIL_TABLE_SEEN, &cursor);

	prefix.len = MAILBOX_KEY_SIZE + 8;
	if (rc == 0)
		rc = kv_cursor_seek(cursor, prefix);
	for (; rc == 0 && bytes_start_with(kv_cursor_key(cursor), prefix);
		rc = kv_cursor_next(cursor)) {
		struct bytes key = kv_cursor_key(cursor);
		struct arrival found = { .is_news = bytes_peek(kv_cursor_value(cursor)) == '+' };
		uint32_t uid;

		bytes_skip(&key, prefix.len);
		found.instance = (struct stamp){ get_u64(key.ptr), get_u64(key.ptr + 8) };
		rc = account_find_shown(
			kv, arrivals->account, found.instance, &found.mailbox, &uid);
		if (rc == ERR_NOT_FOUND)
			continue;
		arrivals->is_more = arrivals->count == arrivals->count_max;
		if (rc < 0 || arrivals->is_more)
			break;
		mem_grow((void **)&arrivals->list, &arrivals->room, arrivals->count + 1,
			sizeof(*arrivals->list));
		arrivals->list[arrivals->count++] = found;
	}
	kv_cursor_close(&cursor);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int find_owner(struct kv_txn *kv, struct arrivals *arrivals)
{
	struct account_header header;
	int rc = account_load(kv, arrivals->account, &header);

	arrivals->owner = header.id;
	return rc;
}

static struct bytes told_key(unsigned char at[SEEN_KEY_SIZE], const struct arrivals *arrivals)
{
	return seen_key(at, arrivals->seen_account, arrivals->owner, 0, (struct stamp){ 0, 0 });
}

/* 1 if users may change nothing in one of the accounts. */
static int is_replica(struct kv_txn *kv, const struct arrivals *arrivals, uint64_t node)
{
	struct account_mode owner = { 0 }, own = { 0 };
	int rc = account_mode_get(kv, arrivals->account, &owner);

	if (rc == 0)
		rc = account_mode_get(kv, arrivals->seen_account, &own);
	return rc < 0 ? rc
		      : account_mode_is_replica(&owner, node) ||
				account_mode_is_replica(&own, node);
}

int seen_is_ahead(struct mail *mail, struct kv_txn *kv, uint32_t seen_account, uint32_t account)
{
	struct arrivals arrivals = { .seen_account = seen_account, .account = account };
	unsigned char at[SEEN_KEY_SIZE];
	struct bytes told;
	int rc;

	if (seen_account == 0)
		return 0;
	rc = find_owner(kv, &arrivals);
	if (rc == 0)
		rc = kv_get(kv, MAIL_TABLE_SEEN, told_key(at, &arrivals), &told);
	if (rc == ERR_NOT_FOUND)
		return 1;
	if (rc == 0)
		rc = arrivals_read(kv, &arrivals);
	if (rc < 0 || !arrivals.is_more)
		return rc;
	rc = is_replica(kv, &arrivals, mail_node(mail));
	return rc < 0 ? rc : rc == 0;
}

static int settle_one(struct account_write *own, struct account_write *write, struct id128 owner,
	const struct arrival *arrival)
{
	unsigned char at[SEEN_KEY_SIZE], key[SEEN_REGISTER_KEY_SIZE];
	struct register_record record;
	struct mailbox_record mailbox;
	int rc = account_get_register(own->kv, own->header.number, RECORD_SEEN, owner,
		seen_register_key(key, arrival->instance), own->arena, &record);

	if (rc == 0)
		rc = account_get_mailbox(
			write->kv, write->header.number, arrival->mailbox, write->arena, &mailbox);
	if (rc == 0 && arrival->is_news && record.modseq <= mailbox.highestmodseq) {
		record.modseq = account_tick(write, own->header.clock_last);
		rc = account_put_register(own, &record);
	}
	if (rc == 0)
		rc = account_announce(write, arrival->mailbox, record.modseq);
	if (rc == 0)
		rc = store_delete(own->store, MAIL_TABLE_SEEN,
			seen_key(at, own->header.number, owner, SEEN_ARRIVED, arrival->instance));
	return rc;
}

static int settle_run(struct accounts_write *accounts, void *context)
{
	struct arrivals *arrivals = context;
	unsigned char at[SEEN_KEY_SIZE], number[4];
	struct account_write *own, *write;
	int rc = accounts_write_get(accounts, arrivals->seen_account, &own);

	arrivals->count = 0;
	if (rc == 0)
		rc = accounts_write_get(accounts, arrivals->account, &write);
	if (rc < 0)
		return rc;
	arrivals->owner = write->header.id;
	rc = store_put(own->store, MAIL_TABLE_SEEN, told_key(at, arrivals),
		account_key(number, arrivals->account));
	if (rc == 0)
		rc = is_replica(own->kv, arrivals, own->node);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = arrivals_read(own->kv, arrivals);
	for (size_t i = 0; i < arrivals->count && rc == 0; i++)
		rc = settle_one(own, write, arrivals->owner, &arrivals->list[i]);
	return rc;
}

int seen_settle(struct mail *mail, uint32_t seen_account, uint32_t account, struct error *error,
	uint64_t *position_r)
{
	struct arrivals arrivals = {
		.seen_account = seen_account, .account = account, .count_max = SETTLE_COUNT_MAX
	};
	int rc = accounts_commit(mail, settle_run, &arrivals, error, position_r);

	free(arrivals.list);
	return rc;
}

/* ---- (4) ---- */

/* Who has a register of a message that is about to be forgotten. */
struct holder {
	uint32_t account;
	struct stamp instance;
};

struct holders {
	struct id128 owner;
	struct holder *list;
	size_t count, room;
	const struct holder *first; /* of the account being worked on ... */
	size_t part;                /* ... and how many it has */
};

static int add_holders(struct kv_txn *kv, struct stamp instance, struct holders *holders)
{
	unsigned char at[SEEN_BY_KEY_SIZE];
	struct bytes prefix = seen_by_key(at, holders->owner, instance, 0);
	struct kv_cursor *cursor = NULL;
	int rc = kv_cursor_open(kv, MAIL_TABLE_SEEN_BY, &cursor);

	prefix.len = SEEN_BY_KEY_SIZE - 4;
	if (rc == 0)
		rc = kv_cursor_seek(cursor, prefix);
	for (; rc == 0 && bytes_start_with(kv_cursor_key(cursor), prefix);
		rc = kv_cursor_next(cursor)) {
		mem_grow((void **)&holders->list, &holders->room, holders->count + 1,
			sizeof(*holders->list));
		holders->list[holders->count++] =
			(struct holder){ get_u32(kv_cursor_key(cursor).ptr + prefix.len),
				instance };
	}
	kv_cursor_close(&cursor);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int forget_run(struct account_write *write, void *context)
{
	const struct holders *holders = context;
	struct account_mode mode = { 0 };
	struct stamp stamp = account_stamp(write);
	int rc = account_mode_get(write->kv, write->header.number, &mode);

	/* A replica hears of it from its master. */
	if (rc < 0 || account_mode_is_replica(&mode, write->node))
		return rc;
	for (size_t i = 0; i < holders->part && rc == 0; i++) {
		unsigned char key[SEEN_REGISTER_KEY_SIZE];
		struct register_record record = { .kind = RECORD_SEEN,
			.mailbox = holders->owner,
			.key = seen_register_key(key, holders->first[i].instance),
			.stamp = stamp,
			.value = BYTES_LITERAL("gone"),
			.modseq = stamp.modseq };

		rc = account_put_register(write, &record);
	}
	return rc;
}

static int compare_holders(const void *a, const void *b)
{
	const struct holder *left = a, *right = b;

	if (left->account != right->account)
		return left->account < right->account ? -1 : 1;
	return stamp_compare(left->instance, right->instance);
}

int seen_forget(struct mail *mail, uint32_t account, const struct stamp *instances, size_t count,
	struct error *error)
{
	struct holders holders = { 0 };
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, mail_position(mail), &kv);

	if (rc == 0)
		rc = account_load(kv, account, &header);
	holders.owner = header.id;
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = add_holders(kv, instances[i], &holders);
	mail_read_end(&kv);
	if (holders.count > 0)
		qsort(holders.list, holders.count, sizeof(*holders.list), compare_holders);
	for (size_t at = 0; at < holders.count && rc == 0; at += holders.part) {
		holders.first = &holders.list[at];
		holders.part = 1;
		while (at + holders.part < holders.count &&
			holders.list[at + holders.part].account == holders.first->account)
			holders.part++;
		rc = mail_node_commit(
			mail, holders.first->account, forget_run, &holders, error, NULL);
	}
	free(holders.list);
	return rc;
}
