/*
 * The committer: the one thread that changes the store.
 *
 * It takes all commits that wait, runs them in the open index transaction, writes their frames with
 * one write and one sync of the log, and acknowledges them. The index transaction is committed when
 * a reader asks for it, when nothing came for APPLY_IDLE_MS, or under load after APPLY_AGE_MS_MAX
 * or APPLY_BYTES_MAX.
 *
 * When the log cannot be written, the transaction, which then holds what must not be, is aborted;
 * the next one begins with what the index lacks redone from the log. So nothing acknowledged
 * depends on the index, and nothing that was not acknowledged is seen.
 */
#include "store/store_private.h"

#include "base/mem.h"
#include "base/pack.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* ---- the index transaction ---- */

static int redo_commit(void *context, const struct frame *frame, struct bytes payload)
{
	struct store *store = context;

	(void)frame;
	return write_replay(store, store->txn, payload);
}

int txn_open(struct store *store, bool repair, struct error *error)
{
	struct log_position position;
	int rc = kv_begin_write(store->kv, &store->txn);

	if (rc < 0)
		return error_set(error, rc, "cannot write the index: %s", error_name(rc));
	store->txn_since_ms = clock_monotonic_ms();
	store->txn_bytes = 0;
	rc = position_get(store->txn, &position);
	if (rc < 0)
		rc = error_set(error, rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc,
			"the index does not say where it is in the log; it can be made anew with "
			"`chapar rebuild`");
	if (rc == 0 && (repair || store->is_txn_lost)) {
		rc = segment_rows_get(store, store->txn);
		if (rc == 0)
			rc = log_replay(&store->log, &position, repair, redo_commit, store, error);
		if (rc == 0)
			store->log.end = position;
	}
	store->is_txn_lost = rc < 0;
	if (rc < 0)
		kv_abort(&store->txn);
	return rc;
}

void txn_abandon(struct store *store)
{
	kv_abort(&store->txn);
	store->is_txn_lost = true;
}

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

int txn_apply(struct store *store)
{
	uint64_t sequence = store->log.end.sequence;
	int rc = position_put(store->txn, &store->log.end);

	if (rc == 0)
		rc = segment_rows_put(store, store->txn);
	if (rc == 0)
		rc = kv_commit(&store->txn);
	if (rc < 0)
		txn_abandon(store);
	else
		store->feed_applied = store->feed_sequence;
	store->is_behind = rc < 0;
	pthread_mutex_lock(&store->lock);
	if (rc == 0) {
		store->applied = sequence;
		store->apply_count++;
	}
	store->failure = store->failure == ERR_IO ? ERR_IO : rc;
	pthread_cond_broadcast(&store->applied_more);
	pthread_mutex_unlock(&store->lock);
	if (rc < 0)
		return rc;
	listeners_call(store, buffer_bytes(&store->fed));
	buffer_clear(&store->fed);
	return 0;
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

static void fail_from(struct request *request, int code, const char *text)
{
	for (; request != NULL; request = request->next)
		request_fail(request, code, text);
}

static void acknowledge(struct store *store, struct request *request)
{
	pthread_mutex_lock(&store->lock);
	store->durable = store->log.end.sequence;
	while (request != NULL) {
		struct request *next = request->next;

		request->is_done = true;
		pthread_cond_signal(&request->done);
		request = next;
	}
	pthread_mutex_unlock(&store->lock);
}

/* Runs commits until the batch is full, and cuts off those that are left. False when the
 * transaction had to be given up. */
static bool batch_run(
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
			fail_from(first, request->rc, "the index cannot be written");
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

/* While the index cannot be committed nothing more is taken, or what is to be redone would grow
 * without bound. */
static int txn_ready(struct store *store)
{
	int rc = store->txn == NULL ? txn_open(store, false, NULL) : 0;

	if (rc == 0 && store->is_behind) {
		rc = txn_apply(store);
		if (rc == 0)
			rc = txn_open(store, false, NULL);
	}
	return rc;
}

/* Requests that did not fit are left over in *left_r. */
static void batch_commit(struct store *store, struct request *first, struct request **left_r)
{
	uint64_t sequence = store->log.end.sequence;
	size_t fed;
	int rc;

	*left_r = NULL;
	batch_clear(&store->batch);
	rc = txn_ready(store);
	if (rc == 0)
		rc = segment_begin(store);
	if (rc < 0) {
		fail_from(first, rc, "the store cannot be written");
		return;
	}
	fed = store->fed.len;
	if (batch_run(store, first, &sequence, left_r)) {
		if (store->batch.size == 0)
			return;
		rc = log_append(&store->log, &store->batch, sequence);
		if (rc == 0) {
			store->txn_bytes += store->batch.size;
			return;
		}
		fail_from(first, rc, "the log cannot be written");
	}
	/* Nothing of this batch is in the log. */
	txn_abandon(store);
	buffer_truncate(&store->fed, fed);
	if (rc == ERR_IO) {
		pthread_mutex_lock(&store->lock);
		store->failure = ERR_IO;
		pthread_mutex_unlock(&store->lock);
	}
}

/* ---- the thread ---- */

static struct request *queue_take(struct store *store)
{
	struct request *first = store->queue_first;

	store->queue_first = NULL;
	store->queue_last = &store->queue_first;
	return first;
}

static bool must_apply(const struct store *store, bool is_idle)
{
	if (store->txn == NULL)
		return store->wanted > store->applied && store->durable > store->applied;
	return is_idle || store->wanted > store->applied || store->is_stopping ||
	       store->txn_bytes >= APPLY_BYTES_MAX ||
	       clock_monotonic_ms() - store->txn_since_ms >= APPLY_AGE_MS_MAX;
}

/* Waits for work, at most APPLY_IDLE_MS while the index is behind. Returns true if that time
 * passed. */
static bool wait_for_work(struct store *store)
{
	struct timespec until;
	int rc = 0;

	if (store->txn == NULL) {
		while (store->queue_first == NULL && !store->is_stopping &&
			!must_apply(store, false))
			pthread_cond_wait(&store->wake, &store->lock);
		return false;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += APPLY_IDLE_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	while (store->queue_first == NULL && !store->is_stopping &&
		store->wanted <= store->applied && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&store->wake, &store->lock, &until);
	return store->queue_first == NULL;
}

static void apply_now(struct store *store)
{
	uint64_t wanted;
	int rc = store->txn == NULL ? txn_open(store, false, NULL) : 0;

	if (rc == 0)
		rc = txn_apply(store);
	if (rc == 0)
		return;
	/* Readers that wait are told, and may ask again: the log has everything. */
	pthread_mutex_lock(&store->lock);
	wanted = store->applied;
	store->failure = store->failure == ERR_IO ? ERR_IO : rc;
	store->wanted = wanted;
	pthread_cond_broadcast(&store->applied_more);
	pthread_mutex_unlock(&store->lock);
}

static void *committer_main(void *context)
{
	struct store *store = context;

	for (;;) {
		struct request *first;
		bool is_idle, apply;

		pthread_mutex_lock(&store->lock);
		is_idle = wait_for_work(store);
		first = queue_take(store);
		if (first == NULL && store->is_stopping && store->txn == NULL) {
			pthread_mutex_unlock(&store->lock);
			return NULL;
		}
		if (first != NULL && store->failure == ERR_IO) {
			fail_from(first, ERR_IO, "writing has stopped after an error of the disk");
			pthread_mutex_unlock(&store->lock);
			acknowledge(store, first);
			continue;
		}
		pthread_mutex_unlock(&store->lock);
		while (first != NULL) {
			struct request *left;

			batch_commit(store, first, &left);
			acknowledge(store, first);
			first = left;
			is_idle = false;
		}
		pthread_mutex_lock(&store->lock);
		apply = must_apply(store, is_idle);
		pthread_mutex_unlock(&store->lock);
		if (apply)
			apply_now(store);
	}
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
	*position_r = ++store->applied;
	listeners_call(store, buffer_bytes(&write->fed));
	pthread_mutex_unlock(&store->lock);
	return 0;
}

int store_commit(struct store *store, store_run *run, void *context, struct error *error,
	uint64_t *position_r)
{
	struct request request = { .run = run, .context = context, .error = error };

	if (error != NULL)
		error->code = 0;
	if (store->is_memory)
		return commit_in_memory(store, run, context, error, position_r);
	pthread_cond_init(&request.done, NULL);
	pthread_mutex_lock(&store->lock);
	if (store->is_stopping) {
		request.rc = error_set(error, ERR_CLOSED, "the store is being closed");
	} else {
		*store->queue_last = &request;
		store->queue_last = &request.next;
		pthread_cond_signal(&store->wake);
		while (!request.is_done)
			pthread_cond_wait(&request.done, &store->lock);
	}
	pthread_mutex_unlock(&store->lock);
	pthread_cond_destroy(&request.done);
	if (request.rc == 0)
		*position_r = request.position;
	return request.rc;
}

int store_read_begin(struct store *store, uint64_t position, struct kv_txn **txn_r)
{
	int rc = 0;

	if (store->is_memory || position == 0)
		return kv_begin_read(store->kv, txn_r);
	pthread_mutex_lock(&store->lock);
	if (store->applied < position && store->wanted < position) {
		store->wanted = position;
		pthread_cond_signal(&store->wake);
	}
	while (store->applied < position && rc == 0) {
		pthread_cond_wait(&store->applied_more, &store->lock);
		if (store->applied < position && store->wanted < position)
			rc = store->failure < 0 ? store->failure : ERR_UNAVAILABLE;
	}
	pthread_mutex_unlock(&store->lock);
	return rc < 0 ? rc : kv_begin_read(store->kv, txn_r);
}

void store_read_end(struct kv_txn **txn)
{
	kv_abort(txn);
}
