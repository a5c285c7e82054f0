#include "chapard/channel_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/pack.h"
#include "mail/tables.h"
#include "sync/account_filter.h"

#include <stdio.h>
#include <stdlib.h>

#define CHANNEL_ROW_VERSION 3
#define CHANNEL_ROW_VERSION_WHOLE 2      /* without filters of mailboxes */
#define CHANNEL_ROW_VERSION_UNFILTERED 1 /* without any filter */

static struct channel_account **bucket_of(struct channel *channel, uint32_t number)
{
	return &channel->buckets[number % CHANNEL_BUCKET_COUNT];
}

struct channel_account *channel_find_account(struct channel *channel, uint32_t number)
{
	struct channel_account *account = *bucket_of(channel, number);

	while (account != NULL && account->number != number)
		account = account->next;
	return account;
}

static struct channel_account *get_account(struct channel *channel, uint32_t number)
{
	struct channel_account **bucket = bucket_of(channel, number);
	struct channel_account *account = channel_find_account(channel, number);

	if (account != NULL)
		return account;
	account = mem_zalloc(sizeof(*account));
	account->number = number;
	account->next = *bucket;
	*bucket = account;
	return account;
}

static struct channel_queue *queue_of(
	struct channel *channel, const struct channel_account *account)
{
	return account->is_backlog ? &channel->backlog : &channel->live;
}

void channel_make_ready(struct channel *channel, struct channel_account *account)
{
	account->state = CHANNEL_ACCOUNT_READY;
	TAILQ_INSERT_TAIL(queue_of(channel, account), account, ready_link);
}

bool channel_has_ready(const struct channel *channel)
{
	return !TAILQ_EMPTY(&channel->live) || !TAILQ_EMPTY(&channel->backlog);
}

struct channel_account *channel_take_ready(struct channel *channel)
{
	struct channel_account *account = TAILQ_FIRST(&channel->live);

	if (account == NULL && channel->bulk_active_count < CHANNEL_BULK_WINDOW)
		account = TAILQ_FIRST(&channel->backlog);
	if (account == NULL)
		return NULL;
	TAILQ_REMOVE(queue_of(channel, account), account, ready_link);
	account->state = CHANNEL_ACCOUNT_IDLE;
	return account;
}

static bool is_served(const struct channel *channel, struct kv_txn *kv, uint32_t number)
{
	struct account_header header;

	/* What cannot be read shows its error in the exchange. */
	return channel->options.accounts == NULL || account_load(kv, number, &header) < 0 ||
	       account_filter_passes(channel->options.accounts, header.name);
}

static void note_dirty(struct channel *channel, uint32_t number, uint64_t sequence, bool is_backlog)
{
	struct channel_account *account = get_account(channel, number);

	account->dirty_at = sequence;
	if (account->state == CHANNEL_ACCOUNT_READY) {
		/* It stands in the queue that is_backlog says. What waits among the live ones stays
		 * there. */
		if (!account->is_backlog || is_backlog)
			return;
		TAILQ_REMOVE(&channel->backlog, account, ready_link);
		account->state = CHANNEL_ACCOUNT_IDLE;
	}
	/* One under way is counted by what it began as. */
	if (account->state != CHANNEL_ACCOUNT_ACTIVE)
		account->is_backlog = is_backlog;
	if (account->state == CHANNEL_ACCOUNT_IDLE)
		channel_make_ready(channel, account);
}

/* Reads entries above *cursor up to `end`. ERR_NOT_FOUND: there are no more. */
static int scan(
	struct channel *channel, struct kv_txn *kv, uint64_t *cursor, uint64_t end, bool is_backlog)
{
	struct buffer key = { 0 };
	int rc = 0;

	for (unsigned count = 0; rc == 0 && count < CHANNEL_SCAN_COUNT; count++) {
		uint64_t sequence;

		buffer_clear(&key);
		rc = feed_next(kv, *cursor, &sequence, &key);
		if (rc == 0 && sequence > end)
			rc = ERR_NOT_FOUND;
		if (rc < 0)
			break;
		*cursor = sequence;
		if (key.len == 4 && is_served(channel, kv, get_u32(key.data)))
			note_dirty(channel, get_u32(key.data), sequence, is_backlog);
	}
	buffer_deinit(&key);
	return rc;
}

/* The backlog is read when the last of it is under way; what changes now, at once. */
int channel_scan(struct channel *channel, struct error *error)
{
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(channel->mail, 0, &kv);

	if (rc == 0 && channel->backlog_end != 0 && TAILQ_EMPTY(&channel->backlog)) {
		rc = scan(channel, kv, &channel->cursor, channel->backlog_end, true);
		if (rc == ERR_NOT_FOUND) {
			channel->cursor = channel->live_cursor;
			channel->backlog_end = 0;
			rc = 0;
		}
	}
	if (rc == 0)
		rc = scan(channel, kv,
			channel->backlog_end != 0 ? &channel->live_cursor : &channel->cursor,
			UINT64_MAX, false);
	mail_read_end(&kv);
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

static struct bytes text_of(const char *patterns)
{
	return bytes_of_string(patterns != NULL ? patterns : "");
}

/* Those of a version that did not have them are empty. */
static int row_filters_decode(struct bytes *value, uint8_t version, struct channel *channel)
{
	struct bytes accounts = { 0 }, mailboxes = { 0 }, limit = { 0 };

	if (version >= CHANNEL_ROW_VERSION_WHOLE && unpack_bytes(value, &accounts) < 0)
		return ERR_CORRUPT;
	if (version >= CHANNEL_ROW_VERSION &&
		(unpack_bytes(value, &mailboxes) < 0 || unpack_bytes(value, &limit) < 0 ||
			limit.len >= sizeof(channel->limit)))
		return ERR_CORRUPT;
	/* What another filter left out may have been passed long ago. */
	if (!bytes_equal(accounts, text_of(channel->options.accounts)) ||
		!bytes_equal(mailboxes, text_of(channel->options.link.mailboxes)))
		channel->saved_cursor = 0;
	snprintf(channel->limit, sizeof(channel->limit), "%.*s", BYTES_ARGS(limit));
	return 0;
}

static int row_decode(struct bytes value, struct channel *channel)
{
	uint8_t version;

	if (unpack_u8(&value, &version) < 0 || version < CHANNEL_ROW_VERSION_UNFILTERED ||
		version > CHANNEL_ROW_VERSION ||
		unpack_varint(&value, &channel->saved_cursor) < 0 ||
		unpack_u64(&value, &channel->saved_peer) < 0 ||
		row_filters_decode(&value, version, channel) < 0 || value.len != 0)
		return ERR_CORRUPT;
	return 0;
}

int channel_load(struct channel *channel, struct error *error)
{
	struct kv_txn *kv = NULL;
	struct bytes value;
	int rc = mail_read_begin(channel->mail, 0, &kv);

	if (rc == 0)
		rc = kv_get(kv, MAIL_TABLE_CHANNEL, row_key(channel), &value);
	if (rc == 0)
		rc = row_decode(value, channel);
	mail_read_end(&kv);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return error_set(error, rc, "the channel's cursor cannot be read");
	channel->cursor = channel->saved_cursor;
	pthread_mutex_lock(&channel->lock);
	channel->served = channel->cursor;
	pthread_mutex_unlock(&channel->lock);
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
				rc = point_put_of(store, account->number, channel->peer,
					view_filter_key(&channel->filter), account->point);
	pack_u8(&value, CHANNEL_ROW_VERSION);
	pack_varint(&value, save->cursor);
	pack_u64(&value, channel->peer);
	pack_bytes(&value, text_of(channel->options.accounts));
	pack_bytes(&value, text_of(channel->options.link.mailboxes));
	pack_bytes(&value, bytes_of_string(channel->limit));
	if (rc == 0)
		rc = store_put(store, MAIL_TABLE_CHANNEL, row_key(channel), buffer_bytes(&value));
	buffer_deinit(&value);
	return rc;
}

uint64_t channel_served(const struct channel *channel)
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
	struct save save = { channel, channel_served(channel) };
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
	TAILQ_INIT(&channel->live);
	TAILQ_INIT(&channel->backlog);
	channel->active_count = channel->bulk_active_count = channel->resting_count = 0;
	channel->asked_count = 0;
	channel_forget_failures(channel);
}

void channel_meet(struct channel *channel, const struct sync_peer *peer)
{
	struct kv_txn *kv = NULL;
	uint64_t last = 0;

	if (peer->node != channel->peer || strcmp(peer->mailboxes, channel->limit) != 0) {
		channel_forget_all(channel);
		channel->peer = peer->node;
		memcpy(channel->limit, peer->mailboxes, sizeof(channel->limit));
		channel->cursor = 0;
		channel->backlog_end = 0;
	}
	channel->puts_packed = peer->takes_packed;
	channel->filter = (struct view_filter){ channel->options.link.mailboxes, channel->limit };
	/* Without it all goes in order, as one. */
	if (channel->backlog_end == 0 && mail_read_begin(channel->mail, 0, &kv) == 0 &&
		feed_last(kv, &last) == 0 && last > channel->cursor) {
		channel->backlog_end = last;
		channel->live_cursor = last;
	}
	mail_read_end(&kv);
}
