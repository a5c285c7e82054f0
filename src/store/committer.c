/*
 * Commits: one thread at a time changes the store.
 *
 * That is who commits while nobody else does, for his own commit, or the committer thread: it takes
 * all commits that wait, runs them in one index transaction, writes their frames with one write and
 * one sync of the log, makes them visible and acknowledges them. A thread that leads a group
 * (store_group.c) holds the transaction open over several commits of its own. It is one
 * of the layers in memory (kv/kv_layers.h), which store_flush.c moves down to the disk.
 *
 * When the log cannot be written the transaction, which then holds what must not be, is aborted. So
 * nothing acknowledged depends on the index, and nothing that was not acknowledged is seen.
 */
#include "store/store_private.h"

#include "base/mem.h"
#include "base/pack.h"

#include <stdlib.h>
#include <time.h>

void listeners_call(struct store *store, struct bytes fed)
{
	struct feed_news *news = NULL;
	size_t count = 0, room = 0;
	struct feed_news one;
	uint8_t has_note;

	while (fed.len > 0) {
		one.note = (struct bytes){ NULL, 0 };
		if (unpack_bytes(&fed, &one.key) < 0 || unpack_u8(&fed, &has_note) < 0 ||
			(has_note != 0 && unpack_bytes(&fed, &one.note) < 0))
			break;
		mem_grow((void **)&news, &room, count + 1, sizeof(*news));
		news[count++] = one;
	}
	pthread_mutex_lock(&store->listener_lock);
	for (struct listener *listener = store->listeners; listener != NULL && count > 0;
		listener = listener->next)
		listener->function(listener->context, news, count);
	pthread_mutex_unlock(&store->listener_lock);
	free(news);
}

/* ---- batches ---- */

static void request_fail(struct request *request, int code, const char *text)
{
	request->rc = code;
	error_set(request->error, code, "%s: %s", text, error_name(code));
}

/* What `run` wrote about its failure stays. */
static void request_describe(struct request *request)
{
	if (request->error == NULL || request->error->code != request->rc)
		error_set(request->error, request->rc, "%s", error_name(request->rc));
}

void requests_fail(struct request *request, int code, const char *text)
{
	for (; request != NULL; request = request->next)
		request_fail(request, code, text);
}

/* Who waits is woken without the lock, or all of them would wake up to wait for that. */
void requests_acknowledge(struct store *store, struct request *request)
{
	pthread_mutex_lock(&store->lock);
	store->durable = store->log.end.sequence;
	buffer_append_bytes(&store->heard, buffer_bytes(&store->fed));
	buffer_clear(&store->fed);
	pthread_mutex_unlock(&store->lock);
	while (request != NULL) {
		struct request *next = request->next;

		if (request->is_waited_for)
			sem_post(&request->done); /* and it may be gone */
		request = next;
	}
}

bool batch_run(
	struct store *store, struct request *first, uint64_t *sequence, struct request **left_r)
{
	struct store_write *write = &store->write;

	write->kv = store->txn;
	write->batch = &store->batch;
	for (struct request *request = first; request != NULL; request = request->next) {
		uint64_t size = store->batch.size;

		if (request->next != NULL && size >= BATCH_BYTES_MAX) {
			*left_r = request->next;
			request->next = NULL;
		}

		write->sequence = *sequence + 1;
		request->rc = write_run(write, request->run, request->context);
		if (write->is_broken) {
			requests_fail(first, request->rc, "the index cannot be written");
			return false;
		}
		if (request->rc < 0) {
			request_describe(request);
			continue;
		}
		request->rc = 0;
		if (store->batch.size > size)
			++*sequence;
		request->position = *sequence;
		request->effect_bytes = write->effects.len;
		buffer_append_bytes(&store->fed, buffer_bytes(&write->fed));
	}
	return true;
}

static int segment_begin(struct store *store)
{
	bool must_rotate;
	int rc;

	pthread_mutex_lock(&store->lock);
	must_rotate = store->must_rotate;
	pthread_mutex_unlock(&store->lock);
	rc = log_rotate(&store->log, must_rotate ? SEGMENT_HEADER_SIZE + 1 : store->segment_size);
	if (rc == 0 && must_rotate) {
		pthread_mutex_lock(&store->lock);
		store->must_rotate = false;
		pthread_mutex_unlock(&store->lock);
	}
	return rc;
}

static bool has_stopped(struct store *store)
{
	bool has_stopped;

	pthread_mutex_lock(&store->lock);
	has_stopped = store->failure == ERR_IO;
	pthread_mutex_unlock(&store->lock);
	return has_stopped;
}

int batch_begin(struct store *store, const char **problem_r)
{
	int rc;

	*problem_r = "writing has stopped after an error of the disk";
	if (has_stopped(store))
		return ERR_IO;
	*problem_r = "the store cannot be written";
	batch_clear(&store->batch);
	buffer_clear(&store->fed);
	/* While the index cannot be written nothing more is taken, or memory would have no bound.
	 */
	rc = flush_make_room(store);
	if (rc == 0)
		rc = segment_begin(store);
	return rc < 0 ? rc : kv_begin_write(store->kv, &store->txn);
}

int batch_end(struct store *store, bool is_good, uint64_t sequence)
{
	int rc = 0;

	if (is_good && store->batch.size > 0) {
		rc = log_append(&store->log, &store->batch, sequence);
		is_good = rc == 0;
	}
	live_changes_settle(store, is_good);
	if (is_good) {
		kv_commit(&store->txn); /* in memory: it cannot fail */
		store->feed_applied = store->feed_sequence;
		if (!store->is_unsealed)
			store->unsealed_since_ms = clock_monotonic_ms();
		store->is_unsealed = true;
		store->unsealed_log_bytes += store->batch.size;
		flush_note_waiting(store);
		return 0;
	}
	kv_abort(&store->txn);
	buffer_clear(&store->fed);
	if (rc == ERR_IO) {
		pthread_mutex_lock(&store->lock);
		store->failure = ERR_IO;
		pthread_mutex_unlock(&store->lock);
	}
	return rc;
}

/* Requests that did not fit are left over in *left_r. */
static void batch_commit(struct store *store, struct request *first, struct request **left_r)
{
	uint64_t sequence = store->log.end.sequence;
	const char *problem;
	bool is_good;
	int rc = batch_begin(store, &problem);

	*left_r = NULL;
	if (rc < 0) {
		requests_fail(first, rc, problem);
		return;
	}
	is_good = batch_run(store, first, &sequence, left_r);
	rc = batch_end(store, is_good, sequence);
	if (rc < 0)
		requests_fail(first, rc, "the log cannot be written");
}

/* ---- the thread ---- */

struct request *queue_take(struct store *store)
{
	struct request *first = store->queue_first;

	store->queue_first = NULL;
	store->queue_last = &store->queue_first;
	return first;
}

/* With the lock. Only who has set is_committing changes the store. Groups that wait for that take
 * the queue along. */
static bool commits_wait(const struct store *store)
{
	return store->queue_first != NULL && !store->is_committing && store->leaders_waiting == 0;
}

static bool is_seal_due(const struct store *store, uint64_t *at_ms_r)
{
	return !store->is_committing && flush_due(store, at_ms_r);
}

static void wait_for_work(struct store *store)
{
	while (!commits_wait(store) && (store->heard.len == 0 || store->is_telling) &&
		(!store->is_stopping || store->is_committing)) {
		struct timespec until;
		uint64_t at_ms;

		if (!is_seal_due(store, &at_ms)) {
			store->sleeps_until_ms = UINT64_MAX;
			pthread_cond_wait(&store->wake, &store->lock);
			continue;
		}
		if (at_ms <= clock_monotonic_ms())
			break;
		until.tv_sec = (time_t)(at_ms / 1000);
		until.tv_nsec = (long)(at_ms % 1000) * 1000000;
		store->sleeps_until_ms = at_ms;
		pthread_cond_timedwait(&store->wake, &store->lock, &until);
	}
	store->sleeps_until_ms = 0;
}

void queue_commit(struct store *store, struct request *first)
{
	while (first != NULL) {
		struct request *left;

		batch_commit(store, first, &left);
		requests_acknowledge(store, first);
		first = left;
	}
}

/* Commits what waits, and seals if that is due. Called and returns with the lock. */
static void commit_waiting(struct store *store, bool is_last)
{
	struct request *first = queue_take(store);

	store->is_committing = true;
	pthread_mutex_unlock(&store->lock);
	queue_commit(store, first);
	seal_if_due(store, is_last);
	pthread_mutex_lock(&store->lock);
	store->is_committing = false;
	if (store->leaders_waiting > 0)
		pthread_cond_signal(&store->lead);
}

/*
 * One thread at a time, so that news are told in the order of the commits; what comes meanwhile is
 * left to the committer, as a client waits for the others. With the lock, which is given up
 * meanwhile.
 */
static void listeners_tell(struct store *store)
{
	struct buffer heard = store->heard;

	if (store->is_telling || heard.len == 0)
		return;
	store->is_telling = true;
	store->heard = (struct buffer){ 0 };
	pthread_mutex_unlock(&store->lock);
	listeners_call(store, buffer_bytes(&heard));
	buffer_deinit(&heard);
	pthread_mutex_lock(&store->lock);
	store->is_telling = false;
	if (store->heard.len > 0)
		pthread_cond_signal(&store->wake);
}

static void *committer_main(void *context)
{
	struct store *store = context;
	bool is_last = false;

	pthread_mutex_lock(&store->lock);
	while (!is_last) {
		wait_for_work(store);
		listeners_tell(store);
		if (store->is_committing)
			continue;
		is_last = store->queue_first == NULL && store->is_stopping;
		commit_waiting(store, is_last);
		listeners_tell(store);
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

int committer_start(struct store *store)
{
	if (pthread_create(&store->committer, NULL, committer_main, store) != 0)
		return ERR_UNAVAILABLE;
	store->has_committer = true;
	return 0;
}

void committer_stop(struct store *store)
{
	if (!store->has_committer)
		return;
	pthread_mutex_lock(&store->lock);
	store->is_stopping = true;
	pthread_cond_signal(&store->wake);
	pthread_mutex_unlock(&store->lock);
	pthread_join(store->committer, NULL);
	store->has_committer = false;
}

/* ---- callers ---- */

/* A store in memory: the commit runs here, and is visible at once. */
static int commit_in_memory(struct store *store, store_run *run, void *context, struct error *error,
	uint64_t *position_r)
{
	struct store_write *write = &store->write;
	int rc;

	pthread_mutex_lock(&store->lock);
	rc = kv_begin_write(store->kv, &store->txn);
	if (rc == 0) {
		write->kv = store->txn;
		rc = write_run(write, run, context);
	}
	if (rc < 0) {
		kv_abort(&store->txn);
		pthread_mutex_unlock(&store->lock);
		return error == NULL || error->code == rc
			       ? rc
			       : error_set(error, rc, "%s", error_name(rc));
	}
	kv_commit(&store->txn);
	store->feed_applied = store->feed_sequence;
	*position_r = ++store->durable;
	listeners_call(store, buffer_bytes(&write->fed));
	pthread_mutex_unlock(&store->lock);
	return 0;
}

/* Whether the committer, which may sleep, has something to do, or must sleep less long. */
static bool is_committer_wanted(const struct store *store)
{
	uint64_t at_ms;

	return store->queue_first != NULL || store->is_stopping ||
	       (flush_due(store, &at_ms) && at_ms < store->sleeps_until_ms);
}

int lead_begin(struct store *store)
{
	int rc;

	pthread_mutex_lock(&store->lock);
	store->leaders_waiting++;
	while (store->is_committing)
		pthread_cond_wait(&store->lead, &store->lock);
	store->leaders_waiting--;
	rc = store->is_stopping ? ERR_CLOSED : 0;
	store->is_committing = rc == 0;
	if (rc < 0)
		pthread_cond_signal(&store->wake);
	pthread_mutex_unlock(&store->lock);
	return rc;
}

/* With the lock. */
static void lead_pass_on(struct store *store)
{
	store->is_committing = false;
	if (store->leaders_waiting > 0)
		pthread_cond_signal(&store->lead);
	else if (is_committer_wanted(store))
		pthread_cond_signal(&store->wake);
	listeners_tell(store);
}

void lead_end(struct store *store)
{
	pthread_mutex_lock(&store->lock);
	lead_pass_on(store);
	pthread_mutex_unlock(&store->lock);
}

/*
 * Nobody else commits: it is done on the caller's thread, which spares it to be put to sleep and
 * woken, and the committer, too. Those who come meanwhile are the committer's, together. With the
 * lock.
 */
static void commit_alone(struct store *store, struct request *request)
{
	store->is_committing = true;
	pthread_mutex_unlock(&store->lock);
	queue_commit(store, request);
	pthread_mutex_lock(&store->lock);
	lead_pass_on(store);
}

int store_commit(struct store *store, store_run *run, void *context, struct error *error,
	uint64_t *position_r)
{
	struct request request = { .run = run, .context = context, .error = error };

	if (error != NULL)
		error->code = 0;
	if (store->is_memory)
		return commit_in_memory(store, run, context, error, position_r);
	if (group_is_mine(store))
		return group_commit(store, &request, position_r);
	pthread_mutex_lock(&store->lock);
	if (store->is_stopping) {
		request.rc = error_set(error, ERR_CLOSED, "the store is being closed");
	} else if (!store->is_committing && store->queue_first == NULL &&
		   store->leaders_waiting == 0) {
		commit_alone(store, &request);
	} else {
		sem_init(&request.done, 0, 0);
		request.is_waited_for = true;
		*store->queue_last = &request;
		store->queue_last = &request.next;
		/* Who commits looks at the queue afterwards. */
		if (!store->is_committing)
			pthread_cond_signal(&store->wake);
	}
	pthread_mutex_unlock(&store->lock);
	if (request.is_waited_for) {
		while (sem_wait(&request.done) < 0)
			continue; /* a signal came */
		sem_destroy(&request.done);
	}
	if (request.rc == 0) {
		*position_r = request.position;
		flush_brake(store, request.effect_bytes);
	}
	return request.rc;
}

int store_read_begin(struct store *store, uint64_t position, struct kv_txn **txn_r)
{
	(void)position; /* acknowledged: then it has been visible */
	if (group_is_mine(store) && group_txn() != NULL) {
		*txn_r = group_txn();
		return 0;
	}
	return kv_begin_read(store->kv, txn_r);
}

void store_read_end(struct kv_txn **txn)
{
	if (*txn != NULL && *txn == group_txn())
		*txn = NULL;
	kv_abort(txn);
}
