#include "chapard/channel_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/pack.h"
#include "mail/tables.h"

#include <stdlib.h>

#define CHANNEL_ROW_VERSION 1

static struct channel_account **bucket_of(struct channel *channel, uint32_t number)
{
	return &channel->buckets[number % CHANNEL_BUCKET_COUNT];
}

static struct channel_account *get_account(struct channel *channel, uint32_t number)
{
	struct channel_account **bucket = bucket_of(channel, number), *account;

	for (account = *bucket; account != NULL; account = account->next)
		if (account->number == number)
			return account;
	account = mem_zalloc(sizeof(*account));
	account->number = number;
	account->next = *bucket;
	*bucket = account;
	return account;
}

void channel_make_ready(struct channel *channel, struct channel_account *account)
{
	account->state = CHANNEL_ACCOUNT_READY;
	account->ready_next = NULL;
	*channel->ready_end = account;
	channel->ready_end = &account->ready_next;
}

struct channel_account *channel_take_ready(struct channel *channel)
{
	struct channel_account *account = channel->ready;

	if (account == NULL)
		return NULL;
	channel->ready = account->ready_next;
	if (channel->ready == NULL)
		channel->ready_end = &channel->ready;
	account->state = CHANNEL_ACCOUNT_IDLE;
	return account;
}

int channel_scan(struct channel *channel, struct error *error)
{
	struct buffer key = { 0 };
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(channel->mail, 0, &kv);

	for (unsigned count = 0; rc == 0 && count < CHANNEL_SCAN_COUNT; count++) {
		struct channel_account *account;
		uint64_t sequence;

		buffer_clear(&key);
		rc = feed_next(kv, channel->cursor, &sequence, &key);
		if (rc < 0)
			break;
		channel->cursor = sequence;
		if (key.len != 4)
			continue;
		account = get_account(channel, get_u32(key.data));
		account->dirty_at = sequence;
		if (account->state == CHANNEL_ACCOUNT_IDLE)
			channel_make_ready(channel, account);
	}
	mail_read_end(&kv);
	buffer_deinit(&key);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return error_set(error, rc, "the feed of changes cannot be read");
	return 0;
}

uint64_t channel_wake_resting(struct channel *channel, uint64_t now_ms)
{
	uint64_t next = 0;

	if (channel->resting_count == 0)
		return 0;
	for (unsigned i = 0; i < CHANNEL_BUCKET_COUNT; i++) {
		for (struct channel_account *account = channel->buckets[i]; account != NULL;
			account = account->next) {
			if (account->state != CHANNEL_ACCOUNT_RESTING)
				continue;
			if (account->retry_at_ms <= now_ms) {
				channel->resting_count--;
				channel_make_ready(channel, account);
			} else if (next == 0 || account->retry_at_ms < next) {
				next = account->retry_at_ms;
			}
		}
	}
	return next;
}

/* ---- what is durable ---- */

static struct bytes row_key(const struct channel *channel)
{
	return bytes_of_string(channel->options.name);
}

int channel_load(struct channel *channel, struct error *error)
{
	struct kv_txn *kv = NULL;
	struct bytes value;
	uint8_t version;
	int rc = mail_read_begin(channel->mail, 0, &kv);

	if (rc == 0)
		rc = kv_get(kv, MAIL_TABLE_CHANNEL, row_key(channel), &value);
	if (rc == 0 && (unpack_u8(&value, &version) < 0 || version != CHANNEL_ROW_VERSION ||
			       unpack_varint(&value, &channel->saved_cursor) < 0 ||
			       unpack_u64(&value, &channel->saved_peer) < 0 || value.len != 0))
		rc = ERR_CORRUPT;
	mail_read_end(&kv);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return error_set(error, rc, "the channel's cursor cannot be read");
	channel->cursor = channel->saved_cursor;
	channel->peer = channel->saved_peer;
	return 0;
}

struct save {
	struct channel *channel;
	uint64_t cursor;
};

static int save_run(struct store_write *store, void *context)
{
	struct save *save = context;
	struct channel *channel = save->channel;
	struct buffer value = { 0 };
	int rc = 0;

	for (unsigned i = 0; i < CHANNEL_BUCKET_COUNT && rc == 0; i++)
		for (struct channel_account *account = channel->buckets[i];
			account != NULL && rc == 0; account = account->next)
			if (account->is_unsaved)
				rc = point_put(
					store, account->number, channel->peer, account->point);
	pack_u8(&value, CHANNEL_ROW_VERSION);
	pack_varint(&value, save->cursor);
	pack_u64(&value, channel->peer);
	if (rc == 0)
		rc = store_put(store, MAIL_TABLE_CHANNEL, row_key(channel), buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

/* The feed is served up to here without a gap. */
static uint64_t served_cursor(const struct channel *channel)
{
	uint64_t cursor = channel->cursor;

	for (unsigned i = 0; i < CHANNEL_BUCKET_COUNT; i++)
		for (const struct channel_account *account = channel->buckets[i]; account != NULL;
			account = account->next)
			if (account->dirty_at != 0 && account->dirty_at <= cursor)
				cursor = account->dirty_at - 1;
	return cursor;
}

/* Forgets accounts about which nothing is to be remembered. */
static void drop_idle(struct channel *channel)
{
	for (unsigned i = 0; i < CHANNEL_BUCKET_COUNT; i++) {
		struct channel_account **link = &channel->buckets[i];

		while (*link != NULL) {
			struct channel_account *account = *link;

			account->is_unsaved = false;
			if (account->state == CHANNEL_ACCOUNT_IDLE && account->dirty_at == 0) {
				*link = account->next;
				free(account);
			} else {
				link = &account->next;
			}
		}
	}
}

int channel_save(struct channel *channel, struct error *error)
{
	struct save save = { channel, served_cursor(channel) };
	uint64_t position;
	int rc;

	channel->save_at_ms = 0;
	if (channel->peer == 0)
		return 0;
	rc = store_commit(mail_store(channel->mail), save_run, &save, error, &position);
	if (rc < 0)
		return error_prefix(error, "the channel's cursor cannot be saved");
	channel->saved_cursor = save.cursor;
	channel->saved_peer = channel->peer;
	drop_idle(channel);
	return 0;
}

void channel_forget_all(struct channel *channel)
{
	for (unsigned i = 0; i < CHANNEL_BUCKET_COUNT; i++) {
		while (channel->buckets[i] != NULL) {
			struct channel_account *account = channel->buckets[i];

			channel->buckets[i] = account->next;
			exchange_free(&account->exchange);
			free(account);
		}
	}
	channel->ready = NULL;
	channel->ready_end = &channel->ready;
	channel->active_count = channel->resting_count = channel->asked_count = 0;
}

void channel_meet(struct channel *channel, uint64_t peer)
{
	if (peer == channel->peer)
		return;
	channel_forget_all(channel);
	channel->peer = peer;
	channel->cursor = 0;
}
