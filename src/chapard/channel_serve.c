/*
 * Serving: dirty accounts are exchanged, up to CHANNEL_WINDOW together over one connection. Answers
 * come in the order of requests, so `asked` tells whose each is. When nothing is left, the thread
 * sleeps until a commit, the peer, or the time for a retry, a save or a keepalive wakes it.
 */
#include "chapard/channel_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "sync/survey.h"

#include <stdio.h>
#include <stdlib.h>

bool channel_is_stopping(struct channel *channel)
{
	bool is_stopping;

	pthread_mutex_lock(&channel->lock);
	is_stopping = channel->is_stopping;
	pthread_mutex_unlock(&channel->lock);
	return is_stopping;
}

static void note_dirty_point(struct channel *channel)
{
	if (channel->save_at_ms == 0)
		channel->save_at_ms = clock_monotonic_ms() + CHANNEL_SAVE_MS;
}

static void note_success(struct channel *channel)
{
	pthread_mutex_lock(&channel->lock);
	channel->status.last_success_ms = clock_now_ms(clock_system());
	pthread_mutex_unlock(&channel->lock);
}

/* Both copies have what the other had when the exchange began, and were changed since. */
static bool is_busy(const struct exchange_result *result)
{
	return result->error.code == ERR_UNAVAILABLE && result->integrate_count > 0;
}

static void count_result(struct channel *channel, const struct exchange_result *result)
{
	struct channel_status *status = &channel->status;

	pthread_mutex_lock(&channel->lock);
	status->exchange_count++;
	status->refused_count += result->refused_count;
	status->repair_count += result->repair_count;
	status->conflict_count += result->conflict_count;
	if (result->error.code == 0 || is_busy(result))
		status->last_success_ms = clock_now_ms(clock_system());
	else
		memcpy(status->last_error, result->error.text, sizeof(status->last_error));
	pthread_mutex_unlock(&channel->lock);
}

/* ---- one account's exchange ---- */

static int read_point(
	struct channel *channel, struct channel_account *account, struct account_header *header_r)
{
	struct common_point saved;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(channel->mail, 0, &kv);

	if (rc == 0)
		rc = account_load(kv, account->number, header_r);
	if (rc == 0)
		rc = point_get(kv, account->number, channel->peer, &saved);
	mail_read_end(&kv);
	if (rc == 0 && common_point_is_later(saved, account->point))
		account->point = saved;
	return rc;
}

static void rest(struct channel *channel, struct channel_account *account)
{
	unsigned doublings = account->failure_count < 9 ? account->failure_count : 9;
	uint64_t pause = (uint64_t)CHANNEL_RETRY_MIN_MS << doublings;

	if (pause > CHANNEL_RETRY_MAX_MS)
		pause = CHANNEL_RETRY_MAX_MS;
	account->failure_count++;
	account->retry_at_ms = clock_monotonic_ms() + pause;
	account->state = CHANNEL_ACCOUNT_RESTING;
	channel->resting_count++;
}

/* Begins the account's exchange, unless its copies are equal already. */
static void start(struct channel *channel, struct channel_account *account)
{
	struct account_header header;
	int rc;

	account->serving = account->dirty_at;
	rc = read_point(channel, account, &header);
	if (rc == ERR_NOT_FOUND || (rc == 0 && account->point.mine == header.sequence)) {
		account->dirty_at = 0;
		note_dirty_point(channel);
		return;
	}
	if (rc < 0) {
		rest(channel, account);
		return;
	}
	account->exchange =
		exchange_new(channel->mail, account->number, channel->peer, &account->point);
	account->state = CHANNEL_ACCOUNT_ACTIVE;
	channel->active[channel->active_count++] = account;
}

static void log_failure(
	struct channel *channel, const struct channel_account *account, const struct error *error)
{
	char name[ACCOUNT_NAME_SIZE_MAX + 1] = "?";
	struct account_header header;
	struct kv_txn *kv = NULL;

	if (mail_read_begin(channel->mail, 0, &kv) == 0 &&
		account_load(kv, account->number, &header) == 0)
		memcpy(name, header.name, sizeof(name));
	mail_read_end(&kv);
	log_event(LOG_LEVEL_WARNING, "channel-account-failed", "channel", channel->options.name,
		"account", name, "error", error_name(error->code), "text", error->text, NULL);
}

static void finish(struct channel *channel, struct channel_account *account)
{
	const struct exchange_result *result = exchange_result(account->exchange);

	count_result(channel, result);
	if (result->repair_count > 0)
		log_event(LOG_LEVEL_WARNING, "channel-repair", "channel", channel->options.name,
			NULL);
	if (result->point.mine != 0) {
		account->point = result->point;
		account->is_unsaved = true;
		note_dirty_point(channel);
	}
	if (is_busy(result)) {
		account->retry_at_ms = clock_monotonic_ms() + CHANNEL_BUSY_MS;
		account->state = CHANNEL_ACCOUNT_RESTING;
		channel->resting_count++;
	} else if (result->error.code != 0) {
		log_failure(channel, account, &result->error);
		rest(channel, account);
	} else {
		account->failure_count = 0;
		account->state = CHANNEL_ACCOUNT_IDLE;
		if (account->dirty_at == account->serving)
			account->dirty_at = 0;
		else
			channel_make_ready(channel, account);
	}
	exchange_free(&account->exchange);
}

static void push_asked(struct channel *channel, struct channel_account *account)
{
	if (channel->asked_first > 0 &&
		channel->asked_first + channel->asked_count == channel->asked_room) {
		memmove(channel->asked, channel->asked + channel->asked_first,
			channel->asked_count * sizeof(struct channel_account *));
		channel->asked_first = 0;
	}
	mem_grow((void **)&channel->asked, &channel->asked_room,
		channel->asked_first + channel->asked_count + 1, sizeof(struct channel_account *));
	channel->asked[channel->asked_first + channel->asked_count++] = account;
}

/* Moves one exchange on until it waits for an answer or has ended. */
static int move_on(struct channel *channel, struct channel_account *account, struct buffer *request,
	bool *has_ended_r, struct error *error)
{
	*has_ended_r = false;
	for (;;) {
		enum exchange_step step = exchange_next(account->exchange, request);
		int rc;

		if (step == EXCHANGE_WAIT)
			return 0;
		if (step != EXCHANGE_SEND) {
			finish(channel, account);
			*has_ended_r = true;
			return 0;
		}
		rc = channel_link_request(channel->link, buffer_bytes(request), error);
		if (rc < 0)
			return rc;
		push_asked(channel, account);
	}
}

static int move_all(struct channel *channel, struct error *error)
{
	struct buffer request = { 0 };
	size_t kept = 0;
	int rc = 0;

	for (size_t i = 0; i < channel->active_count; i++) {
		struct channel_account *account = channel->active[i];
		bool has_ended = false;

		if (rc == 0)
			rc = move_on(channel, account, &request, &has_ended, error);
		if (!has_ended)
			channel->active[kept++] = account;
	}
	channel->active_count = kept;
	buffer_deinit(&request);
	return rc < 0 ? rc : channel_link_flush(channel->link, error);
}

static int take_answer(struct channel *channel, struct error *error)
{
	struct channel_account *account = channel->asked[channel->asked_first];
	struct bytes answer;
	int rc = channel_link_answer(channel->link, &answer, error);

	if (rc < 0)
		return rc;
	channel->asked_first++;
	if (--channel->asked_count == 0)
		channel->asked_first = 0;
	exchange_answer(account->exchange, answer);
	return 0;
}

/* The link broke: what was under way begins anew with the next one. */
static void abandon_all(struct channel *channel)
{
	for (size_t i = 0; i < channel->active_count; i++) {
		exchange_free(&channel->active[i]->exchange);
		channel_make_ready(channel, channel->active[i]);
	}
	channel->active_count = channel->asked_count = channel->asked_first = 0;
}

/* ---- the survey: most accounts of a peer never met, or long not seen, are equal ---- */

struct survey {
	struct channel_account *accounts[SURVEY_ACCOUNT_COUNT_MAX];
	struct account_header headers[SURVEY_ACCOUNT_COUNT_MAX];
	struct bytes names[SURVEY_ACCOUNT_COUNT_MAX];
	size_t count;
};

static void take_survey(struct channel *channel, const struct survey *survey,
	const struct survey_account *theirs, size_t count)
{
	for (size_t i = 0; i < count && i < survey->count; i++) {
		struct channel_account *account = survey->accounts[i];
		const struct account_header *mine = &survey->headers[i];

		if (!theirs[i].exists || !digest_equal(theirs[i].digest, mine->digest))
			continue;
		account->point = (struct common_point){ mine->sequence, theirs[i].sequence };
		account->is_unsaved = true;
		note_dirty_point(channel);
	}
}

static int ask_survey(struct channel *channel, struct survey *survey, struct error *error)
{
	struct arena *arena = arena_new();
	struct survey_account *theirs;
	struct buffer request = { 0 };
	struct bytes answer;
	uint64_t cursor;
	size_t count;
	int rc;

	survey_request(survey->names, survey->count, &request);
	rc = channel_link_request(channel->link, buffer_bytes(&request), error);
	if (rc == 0)
		rc = channel_link_flush(channel->link, error);
	if (rc == 0)
		rc = channel_link_answer(channel->link, &answer, error);
	if (rc == 0 && survey_answer(answer, arena, &theirs, &count, &cursor, NULL) == 0)
		take_survey(channel, survey, theirs, count);
	buffer_deinit(&request);
	arena_free(&arena);
	return rc;
}

/* Asks for all ready accounts without a common point. With nothing under way only. */
static int survey_ready(struct channel *channel, struct error *error)
{
	struct survey *survey = mem_zalloc(sizeof(*survey));
	int rc = 0;

	for (struct channel_account *account = channel->ready;
		account != NULL && survey->count < SURVEY_ACCOUNT_COUNT_MAX;
		account = account->ready_next) {
		struct account_header *header = &survey->headers[survey->count];

		if (account->is_surveyed)
			continue;
		account->is_surveyed = true;
		if (read_point(channel, account, header) < 0 || account->point.mine != 0)
			continue;
		survey->names[survey->count] = bytes_of_string(header->name);
		survey->accounts[survey->count++] = account;
	}
	/* A single one's exchange asks for itself. */
	if (survey->count > 1)
		rc = ask_survey(channel, survey, error);
	free(survey);
	return rc;
}

/* ---- the loop ---- */

static void tell_pending(struct channel *channel)
{
	uint64_t pending = 0;

	for (unsigned i = 0; i < CHANNEL_BUCKET_COUNT; i++)
		for (const struct channel_account *account = channel->buckets[i]; account != NULL;
			account = account->next)
			if (account->dirty_at != 0)
				pending++;
	pthread_mutex_lock(&channel->lock);
	channel->status.pending_count = pending;
	channel->status.failing_count = channel->resting_count;
	pthread_mutex_unlock(&channel->lock);
}

static int sleep_until_needed(struct channel *channel, uint64_t retry_at_ms, struct error *error)
{
	uint64_t now = clock_monotonic_ms(), until = now + CHANNEL_KEEPALIVE_MS;
	enum net_wait wait;
	int rc;

	if (retry_at_ms != 0 && retry_at_ms < until)
		until = retry_at_ms;
	if (channel->save_at_ms != 0 && channel->save_at_ms < until)
		until = channel->save_at_ms;
	tell_pending(channel);
	rc = net_client_wait(channel->client, &wait, until > now ? (int)(until - now) : 0, error);
	if (rc < 0)
		return rc;
	if (wait == NET_WAIT_READABLE)
		return channel_link_listen(channel->link, error);
	if (wait == NET_WAIT_TIMEOUT && clock_monotonic_ms() >= now + CHANNEL_KEEPALIVE_MS) {
		rc = channel_link_try(channel->link, error);
		if (rc == 0)
			note_success(channel);
	}
	return rc;
}

static int serve_once(struct channel *channel, struct error *error)
{
	struct channel_account *account;
	uint64_t now = clock_monotonic_ms(), retry_at_ms;
	int rc = 0;

	if (channel->save_at_ms != 0 && now >= channel->save_at_ms)
		rc = channel_save(channel, error);
	if (rc == 0 && channel->ready == NULL)
		rc = channel_scan(channel, error);
	retry_at_ms = channel_wake_resting(channel, now);
	if (rc == 0 && channel->active_count == 0 && channel->ready != NULL)
		rc = survey_ready(channel, error);
	if (rc < 0)
		return rc;
	while (channel->active_count < CHANNEL_WINDOW &&
		(account = channel_take_ready(channel)) != NULL)
		start(channel, account);
	rc = move_all(channel, error);
	if (rc == 0 && channel->asked_count > 0)
		return take_answer(channel, error);
	if (rc == 0 && channel->ready == NULL && channel->active_count == 0)
		rc = sleep_until_needed(channel, retry_at_ms, error);
	return rc;
}

void channel_serve(struct channel *channel, struct error *error)
{
	int rc = 0;

	while (rc == 0 && !channel_is_stopping(channel))
		rc = serve_once(channel, error);
	abandon_all(channel);
	tell_pending(channel);
}
