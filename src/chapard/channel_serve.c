/*
 * Serving: dirty accounts are exchanged, up to CHANNEL_WINDOW together over one connection. Answers
 * come in the order of requests, so `asked` tells whose each is. Between two steps the thread
 * sleeps until a commit, the peer, or the time for a retry, a save or a keepalive wakes it.
 * Exchanges that send much send only so far ahead of the answers that others need not wait long
 * behind them.
 */
#include "chapard/channel_private.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "mail/hold.h"
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

#define CHANNEL_RATE_MS 20 /* between two looks at what rate_max allows */

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
	status->sent_record_count += result->sent_count;
	status->offered_record_count += result->offered_count;
	if (result->error.code == 0 || is_busy(result) || result->is_postponed ||
		result->away_to != 0)
		status->last_success_ms = clock_now_ms(clock_system());
	else
		memcpy(status->last_error, result->error.text, sizeof(status->last_error));
	pthread_mutex_unlock(&channel->lock);
}

/* ---- one account's exchange ---- */

int channel_read_point(
	struct channel *channel, struct channel_account *account, struct account_header *header_r)
{
	struct common_point saved;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(channel->mail, 0, &kv);

	if (rc == 0)
		rc = account_load(kv, account->number, header_r);
	if (rc == 0)
		rc = point_get_of(kv, account->number, channel->peer,
			view_filter_key(&channel->filter), &saved);
	mail_read_end(&kv);
	if (rc == 0 && common_point_is_later(saved, account->point))
		account->point = saved;
	return rc;
}

/* A first copy that another node brings here is no concern of ours; its end is news again. */
static bool is_others_fill(struct channel *channel, const struct account_header *header)
{
	struct account_fill fill = { 0 };
	struct kv_txn *kv = NULL;
	int rc;

	if (header->hold != ACCOUNT_FILLING)
		return false;
	rc = mail_read_begin(channel->mail, 0, &kv);
	if (rc == 0)
		rc = account_fill_get(kv, header->number, &fill);
	mail_read_end(&kv);
	return rc == 0 && (!fill.is_pulled || fill.source != channel->peer);
}

static void rest(struct channel *channel, struct channel_account *account, uint64_t ms)
{
	account->retry_at_ms = clock_monotonic_ms() + ms;
	account->state = CHANNEL_ACCOUNT_RESTING;
	channel->resting_count++;
}

/* Users change it here and there all the time: most often that is over at once. */
static void rest_busy(struct channel *channel, struct channel_account *account)
{
	uint64_t ms = (uint64_t)CHANNEL_BUSY_FIRST_MS << account->busy_count;

	if (ms < CHANNEL_BUSY_MS)
		account->busy_count++;
	rest(channel, account, ms < CHANNEL_BUSY_MS ? ms : CHANNEL_BUSY_MS);
}

/* Begins the account's exchange, unless its copies are equal already. */
static void start(struct channel *channel, struct channel_account *account)
{
	struct account_header header;
	int rc;

	account->serving = account->dirty_at;
	rc = channel_read_point(channel, account, &header);
	if (rc == 0)
		rc = header.hold == ACCOUNT_AWAY || is_others_fill(channel, &header) ? ERR_NOT_FOUND
										     : 0;
	if (rc == ERR_NOT_FOUND || (rc == 0 && header.hold == ACCOUNT_SERVED &&
					   account->point.mine == header.sequence)) {
		channel_clear_failure(channel, account);
		account->dirty_at = 0;
		note_dirty_point(channel);
		return;
	}
	if (rc < 0) {
		struct error error = { 0 };

		error_set(&error, rc, "the account cannot be read");
		channel_set_aside(channel, account, &error);
		return;
	}
	/* What comes in parts is told when it is whole; its sender need not be told. */
	if (mail_is_partial(channel->mail, account->number)) {
		rest(channel, account, CHANNEL_BUSY_MS);
		return;
	}
	account->exchange =
		exchange_new(channel->mail, account->number, channel->peer, &account->point);
	exchange_set_filter(account->exchange, &channel->filter);
	if (channel->puts_packed)
		exchange_set_packed(account->exchange);
	account->state = CHANNEL_ACCOUNT_ACTIVE;
	account->sent_size = 0;
	channel->bulk_active_count += account->is_backlog;
	channel->active[channel->active_count++] = account;
}

static void finish(struct channel *channel, struct channel_account *account)
{
	const struct exchange_result *result = exchange_result(account->exchange);

	count_result(channel, result);
	if (result->withheld_count + result->withheld_there_count > 0)
		channel_tell_withheld(channel, account, result);
	if (result->repair_count > 0)
		log_event(LOG_LEVEL_WARNING, "channel-repair", "channel", channel->options.name,
			NULL);
	if (result->point.mine != 0) {
		account->point = result->point;
		account->is_unsaved = true;
		note_dirty_point(channel);
		channel_tell_confirmed(channel, account->number, result->point.mine);
	}
	channel->bulk_active_count -= account->is_backlog;
	if (!is_busy(result))
		account->busy_count = 0;
	if (result->is_postponed) {
		rest(channel, account, CHANNEL_POSTPONED_MS);
	} else if (is_busy(result)) {
		rest_busy(channel, account);
	} else if (result->error.code != 0 && !channel_is_elsewhere(channel, account, result)) {
		channel_set_aside(channel, account, &result->error);
	} else {
		channel_clear_failure(channel, account);
		account->state = CHANNEL_ACCOUNT_IDLE;
		if (account->dirty_at == account->serving) {
			account->dirty_at = 0;
		} else {
			account->is_backlog = account->dirty_at <= channel->backlog_end;
			channel_make_ready(channel, account);
		}
	}
	exchange_free(&account->exchange);
}

/* ---- how much may be under way ---- */

static bool sends_much(const struct channel_account *account)
{
	return account->is_backlog || account->sent_size > CHANNEL_BULK_SIZE;
}

/* Reckons the credit of options.rate_max, of at most a second. */
static void earn_credit(struct channel *channel)
{
	uint64_t now = clock_monotonic_ms(), passed = now - channel->rate_at_ms;
	int64_t most = (int64_t)channel->options.rate_max;

	if (passed > 1000)
		passed = 1000;
	channel->rate_credit += most * (int64_t)passed / 1000;
	if (channel->rate_credit > most)
		channel->rate_credit = most;
	channel->rate_at_ms = now;
}

static bool may_send(struct channel *channel, const struct channel_account *account)
{
	if (!sends_much(account))
		return true;
	if (channel->bulk_ahead_size >= CHANNEL_AHEAD_SIZE)
		return false;
	if (channel->options.rate_max == 0)
		return true;
	earn_credit(channel);
	return channel->rate_credit > 0;
}

void channel_push_asked(struct channel *channel, struct channel_asked asked)
{
	if (channel->asked_first > 0 &&
		channel->asked_first + channel->asked_count == channel->asked_room) {
		memmove(channel->asked, channel->asked + channel->asked_first,
			channel->asked_count * sizeof(*channel->asked));
		channel->asked_first = 0;
	}
	mem_grow((void **)&channel->asked, &channel->asked_room,
		channel->asked_first + channel->asked_count + 1, sizeof(*channel->asked));
	channel->asked[channel->asked_first + channel->asked_count++] = asked;
}

static void push_exchange_asked(
	struct channel *channel, struct channel_account *account, size_t size)
{
	size_t bulk_size;

	account->sent_size += size;
	bulk_size = sends_much(account) ? size : 0;
	channel->bulk_ahead_size += bulk_size;
	if (channel->options.rate_max != 0)
		channel->rate_credit -= (int64_t)bulk_size;
	channel_push_asked(
		channel, (struct channel_asked){ .account = account, .bulk_size = bulk_size });
}

/* ---- moving exchanges on ---- */

/* Moves one exchange on until it waits for an answer, must let others go first, or has ended. */
static int move_on(struct channel *channel, struct channel_account *account, struct buffer *request,
	bool *has_ended_r, struct error *error)
{
	*has_ended_r = false;
	while (may_send(channel, account)) {
		enum exchange_step step;
		int rc;

		exchange_hold_staging(
			account->exchange, channel->staging != NULL && channel->staging != account);
		step = exchange_next(account->exchange, request);
		if (exchange_is_staging(account->exchange))
			channel->staging = account;
		else if (channel->staging == account)
			channel->staging = NULL;
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
		push_exchange_asked(channel, account, request->len);
	}
	return 0;
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
	struct channel_asked asked = channel->asked[channel->asked_first];
	struct bytes answer;
	int rc = channel_link_answer(channel->link, &answer, error);

	if (rc < 0)
		return rc;
	channel->bulk_ahead_size -= asked.bulk_size;
	channel->asked_first++;
	if (--channel->asked_count == 0)
		channel->asked_first = 0;
	if (asked.question != NULL)
		channel_answer_question(channel, asked.question, answer);
	else
		exchange_answer(asked.account->exchange, answer);
	return 0;
}

/* All that came together, so that what follows from them goes out together, too. */
static int take_answers(struct channel *channel, struct error *error)
{
	int rc = take_answer(channel, error);

	while (rc == 0 && channel->asked_count > 0 && net_client_has_line(channel->client))
		rc = take_answer(channel, error);
	return rc;
}

/* The link broke: what was under way begins anew with the next one. */
static void abandon_all(struct channel *channel)
{
	for (size_t i = 0; i < channel->active_count; i++) {
		exchange_free(&channel->active[i]->exchange);
		channel_make_ready(channel, channel->active[i]);
	}
	for (size_t i = 0; i < channel->asked_count; i++)
		channel_fail_question(channel, channel->asked[channel->asked_first + i].question);
	channel->active_count = channel->asked_count = channel->asked_first = 0;
	channel->bulk_active_count = 0;
	channel->bulk_ahead_size = 0;
	channel->staging = NULL;
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

		if (!theirs[i].exists || theirs[i].is_returning || mine->hold != ACCOUNT_SERVED ||
			!survey_is_settled(mine, &theirs[i].digest, theirs[i].highest))
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

/* Asks for all accounts of the backlog without a common point. With nothing under way only. */
static int survey_backlog(struct channel *channel, struct error *error)
{
	struct survey *survey = mem_zalloc(sizeof(*survey));
	struct channel_account *account;
	int rc = 0;

	TAILQ_FOREACH(account, &channel->backlog, ready_link)
	{
		struct account_header *header = &survey->headers[survey->count];

		if (survey->count == SURVEY_ACCOUNT_COUNT_MAX)
			break;
		if (account->is_surveyed)
			continue;
		account->is_surveyed = true;
		if (channel_read_point(channel, account, header) < 0 || account->point.mine != 0)
			continue;
		survey->names[survey->count] = bytes_of_string(header->name);
		survey->accounts[survey->count++] = account;
	}
	/* A single one's exchange asks for itself; so does that of a part, which has its own
	 * digest. */
	if (survey->count > 1 && view_filter_is_whole(&channel->filter))
		rc = ask_survey(channel, survey, error);
	free(survey);
	return rc;
}

/* ---- the loop ---- */

static void tell_pending(struct channel *channel)
{
	uint64_t pending = 0, backlog = 0, served = channel_served(channel);

	for (unsigned i = 0; i < CHANNEL_BUCKET_COUNT; i++)
		for (const struct channel_account *account = channel->buckets[i]; account != NULL;
			account = account->next)
			if (account->dirty_at != 0) {
				pending++;
				backlog += account->is_backlog;
			}
	pthread_mutex_lock(&channel->lock);
	if (pending == 0)
		channel->status.pending_since_ms = 0;
	else if (channel->status.pending_since_ms == 0)
		channel->status.pending_since_ms = clock_now_ms(clock_system());
	channel->served = served;
	channel->status.pending_count = pending;
	channel->status.backlog_count = backlog;
	channel->status.failing_count = channel->failing_count;
	pthread_mutex_unlock(&channel->lock);
}

/* When something is to be done although nobody wakes us; monotonic ms. */
static uint64_t next_time(const struct channel *channel, uint64_t now, uint64_t retry_at_ms)
{
	uint64_t until = now + CHANNEL_KEEPALIVE_MS;

	if (retry_at_ms != 0 && retry_at_ms < until)
		until = retry_at_ms;
	if (channel->save_at_ms != 0 && channel->save_at_ms < until)
		until = channel->save_at_ms;
	if (channel->active_count > 0 && channel->asked_count == 0)
		until = now + CHANNEL_RATE_MS; /* only rate_max can hold all of them back */
	return until;
}

/*
 * Sleeps until the peer says something, a commit here wakes us, or it is time. While answers are to
 * come, commits are looked at too: what changes now must not wait for a backlog.
 */
static int sleep_until_needed(struct channel *channel, uint64_t retry_at_ms, struct error *error)
{
	uint64_t now = clock_monotonic_ms(), until = next_time(channel, now, retry_at_ms);
	enum net_wait wait;
	int rc;

	tell_pending(channel);
	rc = net_client_wait(channel->client, &wait, until > now ? (int)(until - now) : 0, error);
	if (rc < 0)
		return rc;
	if (channel->asked_count > 0) {
		/* A silent peer is found out by the answer's own timeout. */
		bool is_late = clock_monotonic_ms() >= now + CHANNEL_KEEPALIVE_MS;

		return wait == NET_WAIT_READABLE || is_late ? take_answers(channel, error) : 0;
	}
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
	if (rc == 0)
		rc = channel_scan(channel, error);
	retry_at_ms = channel_wake_resting(channel, now);
	if (rc == 0 && channel->active_count == 0 && !TAILQ_EMPTY(&channel->backlog))
		rc = survey_backlog(channel, error);
	if (rc < 0)
		return rc;
	channel_check_waiters(channel);
	while (channel->active_count < CHANNEL_WINDOW &&
		(account = channel_take_ready(channel)) != NULL)
		start(channel, account);
	rc = channel_send_questions(channel, error);
	if (rc == 0)
		rc = move_all(channel, error);
	if (rc == 0 && (channel->asked_count > 0 || channel->active_count > 0 ||
			       !channel_has_ready(channel)))
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
