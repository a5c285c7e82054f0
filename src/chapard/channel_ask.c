/*
 * What other threads want of a channel: to ask the peer something, or to know that it has an
 * account as it is here. They wait under the channel's lock; the channel's thread does the work.
 */
#include "chapard/channel_private.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

#define WAITERS_CHECKED_MAX 64 /* in one go */

enum question_state { QUESTION_WAITS, QUESTION_SENT, QUESTION_ANSWERED, QUESTION_FAILED };

struct channel_question {
	TAILQ_ENTRY(channel_question) link; /* while it waits */
	struct buffer request, answer;
	enum question_state state;
	bool is_abandoned; /* who asked has gone: the channel's thread frees it */
};

struct channel_waiter {
	TAILQ_ENTRY(channel_waiter) link;
	uint32_t account;
	uint64_t sequence;
	bool is_confirmed;
};

void channel_hold(struct channel *channel)
{
	pthread_mutex_lock(&channel->lock);
	channel->user_count++;
	pthread_mutex_unlock(&channel->lock);
}

void channel_release(struct channel *channel)
{
	pthread_mutex_lock(&channel->lock);
	channel->user_count--;
	pthread_cond_broadcast(&channel->told);
	pthread_mutex_unlock(&channel->lock);
}

static void question_free(struct channel_question *question)
{
	buffer_deinit(&question->request);
	buffer_deinit(&question->answer);
	free(question);
}

/* Under the lock. */
/* A connection that has ended is told of a little later. */
static bool is_up(const struct channel *channel)
{
	return channel->status.is_connected && channel->client != NULL && !channel->is_stopping &&
	       !channel->is_paused;
}

/* ---- for other threads ---- */

/* Under the lock, which is let go meanwhile. */
static void wait_for_answer(
	struct channel *channel, const struct channel_question *question, unsigned timeout_ms)
{
	struct timespec until;
	int rc = 0;

	clock_deadline(timeout_ms, &until);
	while (question->state < QUESTION_ANSWERED && rc == 0 && !channel->is_stopping)
		rc = pthread_cond_timedwait(&channel->told, &channel->lock, &until);
}

/* Under the lock: frees the question, or leaves that to the channel's thread. */
static int take_answer(struct channel *channel, struct channel_question *question,
	struct buffer *answer, struct error *error)
{
	enum question_state state = question->state;

	if (state == QUESTION_WAITS)
		TAILQ_REMOVE(&channel->questions, question, link);
	if (state == QUESTION_ANSWERED)
		buffer_append_bytes(answer, buffer_bytes(&question->answer));
	if (state == QUESTION_SENT)
		question->is_abandoned = true;
	else
		question_free(question);
	switch (state) {
	case QUESTION_ANSWERED:
		return 0;
	case QUESTION_WAITS:
		return error_set(error, ERR_UNAVAILABLE, "the peer was not asked in time");
	case QUESTION_FAILED:
		return error_set(error, ERR_CLOSED, "the connection to the peer broke");
	default:
		return error_set(error, ERR_TIMEOUT, "the peer has not answered in time");
	}
}

int channel_ask(struct channel *channel, struct bytes request, unsigned timeout_ms,
	struct buffer *answer, struct error *error)
{
	struct channel_question *question = mem_zalloc(sizeof(*question));
	int rc;

	buffer_append_bytes(&question->request, request);
	pthread_mutex_lock(&channel->lock);
	if (!is_up(channel)) {
		bool is_paused = channel->is_paused;

		pthread_mutex_unlock(&channel->lock);
		question_free(question);
		return is_paused ? error_set(error, ERR_REFUSED, "the channel is paused")
				 : error_set(error, ERR_UNAVAILABLE,
					   "there is no connection to the peer");
	}
	TAILQ_INSERT_TAIL(&channel->questions, question, link);
	net_client_wake(channel->client);
	wait_for_answer(channel, question, timeout_ms);
	rc = take_answer(channel, question, answer, error);
	pthread_mutex_unlock(&channel->lock);
	return rc;
}

int channel_confirm(struct channel *channel, uint32_t account, uint64_t sequence,
	unsigned timeout_ms, struct error *error)
{
	struct channel_waiter waiter = { .account = account, .sequence = sequence };
	struct timespec until;
	bool was_up;
	int rc = 0;

	clock_deadline(timeout_ms, &until);
	pthread_mutex_lock(&channel->lock);
	TAILQ_INSERT_TAIL(&channel->waiters, &waiter, link);
	was_up = is_up(channel);
	if (was_up)
		net_client_wake(channel->client);
	while (was_up && !waiter.is_confirmed && rc == 0 && !channel->is_stopping)
		rc = pthread_cond_timedwait(&channel->told, &channel->lock, &until);
	TAILQ_REMOVE(&channel->waiters, &waiter, link);
	pthread_mutex_unlock(&channel->lock);
	if (waiter.is_confirmed)
		return 0;
	if (!was_up)
		return error_set(error, ERR_UNAVAILABLE, "there is no connection to %s",
			channel->options.name);
	return error_set(
		error, ERR_TIMEOUT, "%s has not confirmed it in time", channel->options.name);
}

/* ---- for the channel's thread ---- */

int channel_send_questions(struct channel *channel, struct error *error)
{
	int rc = 0;

	for (;;) {
		struct channel_question *question;

		pthread_mutex_lock(&channel->lock);
		question = TAILQ_FIRST(&channel->questions);
		if (question != NULL) {
			TAILQ_REMOVE(&channel->questions, question, link);
			question->state = QUESTION_SENT;
		}
		pthread_mutex_unlock(&channel->lock);
		if (question == NULL)
			return 0;
		channel_push_asked(channel, (struct channel_asked){ .question = question });
		rc = channel_link_request(channel->link, buffer_bytes(&question->request), error);
		if (rc < 0)
			return rc;
	}
}

static void question_end(
	struct channel *channel, struct channel_question *question, enum question_state state)
{
	bool is_abandoned;

	pthread_mutex_lock(&channel->lock);
	question->state = state;
	is_abandoned = question->is_abandoned;
	pthread_cond_broadcast(&channel->told);
	pthread_mutex_unlock(&channel->lock);
	if (is_abandoned)
		question_free(question);
}

void channel_answer_question(
	struct channel *channel, struct channel_question *question, struct bytes answer)
{
	buffer_append_bytes(&question->answer, answer);
	question_end(channel, question, QUESTION_ANSWERED);
}

void channel_fail_question(struct channel *channel, struct channel_question *question)
{
	if (question != NULL)
		question_end(channel, question, QUESTION_FAILED);
}

void channel_tell_confirmed(struct channel *channel, uint32_t account, uint64_t sequence)
{
	struct channel_waiter *waiter;
	bool is_news = false;

	pthread_mutex_lock(&channel->lock);
	TAILQ_FOREACH(waiter, &channel->waiters, link)
	{
		if (waiter->account == account && waiter->sequence <= sequence)
			is_news = waiter->is_confirmed = true;
	}
	if (is_news)
		pthread_cond_broadcast(&channel->told);
	pthread_mutex_unlock(&channel->lock);
}

/*
 * An account under way, or about to be, tells when it is done. Of others the peer may have had all
 * before anyone waited.
 */
void channel_check_waiters(struct channel *channel)
{
	uint32_t accounts[WAITERS_CHECKED_MAX];
	struct channel_waiter *waiter;
	size_t count = 0;

	pthread_mutex_lock(&channel->lock);
	TAILQ_FOREACH(waiter, &channel->waiters, link)
	{
		if (!waiter->is_confirmed && count < WAITERS_CHECKED_MAX)
			accounts[count++] = waiter->account;
	}
	pthread_mutex_unlock(&channel->lock);
	for (size_t i = 0; i < count; i++) {
		struct channel_account *known = channel_find_account(channel, accounts[i]);
		struct channel_account other = { .number = accounts[i] };
		struct channel_account *account = known != NULL ? known : &other;
		struct account_header header;

		if (account->state == CHANNEL_ACCOUNT_IDLE &&
			channel_read_point(channel, account, &header) == 0)
			channel_tell_confirmed(channel, accounts[i], account->point.mine);
	}
}
