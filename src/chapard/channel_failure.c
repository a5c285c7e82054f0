/*
 * Accounts set aside: one that cannot be exchanged rests, for longer with each failure in a row,
 * while the others go on. What is told of them is kept under the channel's lock.
 */
#include "chapard/channel_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

static void read_name(
	struct channel *channel, uint32_t number, char name[ACCOUNT_NAME_SIZE_MAX + 1])
{
	struct account_header header;
	struct kv_txn *kv = NULL;

	name[0] = '?';
	name[1] = '\0';
	if (mail_read_begin(channel->mail, 0, &kv) == 0 && account_load(kv, number, &header) == 0)
		memcpy(name, header.name, sizeof(header.name));
	mail_read_end(&kv);
}

static struct channel_failure *failure_find(struct channel *channel, const char *name)
{
	for (size_t i = 0; i < channel->failure_count; i++)
		if (strcmp(channel->failures[i].account, name) == 0)
			return &channel->failures[i];
	return NULL;
}

static void failure_tell(
	struct channel *channel, const char *name, const struct channel_account *account)
{
	struct channel_failure *failure;

	pthread_mutex_lock(&channel->lock);
	failure = failure_find(channel, name);
	if (failure == NULL && channel->failure_count < CHANNEL_FAILURE_COUNT_MAX) {
		if (channel->failures == NULL)
			channel->failures = mem_zalloc_array(
				CHANNEL_FAILURE_COUNT_MAX, sizeof(*channel->failures));
		failure = &channel->failures[channel->failure_count++];
		memcpy(failure->account, name, sizeof(failure->account));
	}
	if (failure != NULL) {
		memcpy(failure->text, account->failure, sizeof(failure->text));
		failure->count = account->failure_count;
		failure->since_ms = account->failing_since_ms;
		failure->retry_at_ms = account->retry_at_ms;
	}
	pthread_mutex_unlock(&channel->lock);
}

void channel_set_aside(
	struct channel *channel, struct channel_account *account, const struct error *error)
{
	unsigned doublings = account->failure_count < 9 ? account->failure_count : 9;
	uint64_t pause = (uint64_t)CHANNEL_RETRY_MIN_MS << doublings;
	char name[ACCOUNT_NAME_SIZE_MAX + 1];

	if (pause > CHANNEL_RETRY_MAX_MS)
		pause = CHANNEL_RETRY_MAX_MS;
	if (account->failure_count++ == 0) {
		account->failing_since_ms = clock_now_ms(clock_system());
		channel->failing_count++;
	}
	account->retry_at_ms = clock_monotonic_ms() + pause;
	account->state = CHANNEL_ACCOUNT_RESTING;
	memcpy(account->failure, error->text, sizeof(account->failure));
	channel->resting_count++;
	read_name(channel, account->number, name);
	failure_tell(channel, name, account);
	log_event(LOG_LEVEL_WARNING, "channel-account-failed", "channel", channel->options.name,
		"account", name, "error", error_name(error->code), "text", error->text, NULL);
}

void channel_tell_withheld(struct channel *channel, const struct channel_account *account,
	const struct exchange_result *result)
{
	char name[ACCOUNT_NAME_SIZE_MAX + 1], here[24], there[24];

	read_name(channel, account->number, name);
	snprintf(here, sizeof(here), "%u", result->withheld_count);
	snprintf(there, sizeof(there), "%u", result->withheld_there_count);
	log_event(LOG_LEVEL_ERROR, "messages-damaged", "channel", channel->options.name, "account",
		name, "here", here, "there", there, NULL);
}

struct forgetting {
	const struct channel *channel;
	const struct channel_account *account;
};

static int forget_run(struct store_write *store, void *context)
{
	const struct forgetting *forgetting = context;
	const struct channel *channel = forgetting->channel;

	return point_forget_of(store, forgetting->account->number, channel->peer,
		view_filter_key(&channel->filter));
}

/* So the next exchange asks first, and does not send bodies to be refused. */
bool channel_is_elsewhere(struct channel *channel, struct channel_account *account,
	const struct exchange_result *result)
{
	const struct channel_options *options = &channel->options;
	struct forgetting forgetting = { channel, account };
	uint64_t position;

	if (result->away_to == 0)
		return false;
	account->point = (struct common_point){ 0 };
	account->is_unsaved = false;
	/* If it stays, the next exchange costs more. */
	(void)store_commit(mail_store(channel->mail), forget_run, &forgetting, NULL, &position);
	return result->away_to == mail_node(channel->mail) ||
	       (options->reaches != NULL && options->reaches(options->context, result->away_to));
}

void channel_clear_failure(struct channel *channel, struct channel_account *account)
{
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	struct channel_failure *failure;

	if (account->failure_count == 0)
		return;
	account->failure_count = 0;
	channel->failing_count--;
	read_name(channel, account->number, name);
	pthread_mutex_lock(&channel->lock);
	failure = failure_find(channel, name);
	if (failure != NULL)
		*failure = channel->failures[--channel->failure_count];
	pthread_mutex_unlock(&channel->lock);
}

void channel_forget_failures(struct channel *channel)
{
	channel->failing_count = 0;
	pthread_mutex_lock(&channel->lock);
	channel->failure_count = 0;
	pthread_mutex_unlock(&channel->lock);
}

size_t channel_get_failures(struct channel *channel, struct channel_failure **failures_r)
{
	size_t count;

	pthread_mutex_lock(&channel->lock);
	count = channel->failure_count;
	*failures_r = mem_zalloc_array(count + 1, sizeof(**failures_r));
	if (count > 0)
		memcpy(*failures_r, channel->failures, count * sizeof(**failures_r));
	pthread_mutex_unlock(&channel->lock);
	return count;
}
