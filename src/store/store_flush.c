/*
 * Bringing the index on disk up to what was committed.
 *
 * Commits are in memory above the index (kv/kv_layers.h) until the committer seals them, when they
 * are many, old, or somebody asks for it; the flusher thread then moves them down in one
 * transaction while new commits go on. The log position goes with them: sealed are whole commits,
 * up to the end of the log at that time. Until it is done the log behind that position is kept, and
 * redone after a crash.
 *
 * When the index cannot be written, what is sealed stays sealed and is tried again each second and
 * whenever somebody would commit; so memory holds at most two times index_lag_max and a batch.
 */
#include "store/store_private.h"

#include "kv/kv_layers.h"

#include <time.h>

#define CATCH_UP_MS_MAX 30000 /* for the index to be written; else it is in trouble */

static struct timespec monotonic_time(uint64_t at_ms)
{
	return (struct timespec){ (time_t)(at_ms / 1000), (long)(at_ms % 1000) * 1000000 };
}

/* ---- the committer's part ---- */

bool flush_due(const struct store *store, uint64_t *at_ms_r)
{
	uint64_t at_ms = store->unsealed_since_ms + store->index_lag_ms_max;
	bool is_wanted = store->flush_wanted > store->seal_count;

	if (store->seal_count > store->flush_count)
		return false; /* the flusher will wake the committer */
	if (is_wanted || kv_layers_size(store->kv) >= store->index_lag_max ||
		store->unsealed_log_bytes >= LAG_LOG_BYTES_MAX)
		at_ms = 0;
	*at_ms_r = at_ms > store->seal_not_before_ms ? at_ms : store->seal_not_before_ms;
	return is_wanted || store->is_unsealed;
}

static bool is_due(struct store *store)
{
	uint64_t at_ms;
	bool is_due;

	pthread_mutex_lock(&store->lock);
	is_due = flush_due(store, &at_ms) && at_ms <= clock_monotonic_ms();
	pthread_mutex_unlock(&store->lock);
	return is_due;
}

/* What goes with the commits: where the log was, and what each segment held. */
static int marks_put(struct store *store)
{
	struct kv_txn *txn = NULL;
	int rc = kv_begin_write(store->kv, &txn);

	if (rc == 0)
		rc = position_put(txn, &store->log.end);
	if (rc == 0)
		rc = segment_rows_put(store, txn);
	if (rc == 0)
		rc = kv_commit(&txn);
	kv_abort(&txn);
	return rc;
}

static void seal(struct store *store)
{
	if (marks_put(store) < 0) {
		store->seal_not_before_ms = clock_monotonic_ms() + FLUSH_RETRY_MS;
		return;
	}
	kv_layers_seal(store->kv);
	store->is_unsealed = false;
	store->unsealed_log_bytes = 0;
	pthread_mutex_lock(&store->lock);
	store->seal_count++;
	store->sealed = store->log.end.sequence;
	pthread_cond_signal(&store->flush);
	pthread_mutex_unlock(&store->lock);
}

/* Waits for what is sealed. When an attempt had failed before, for one more. */
static int wait_flushed(struct store *store)
{
	uint64_t attempts;
	int rc = 0;

	pthread_mutex_lock(&store->lock);
	attempts = store->attempt_count;
	store->is_attempt_wanted = true;
	pthread_cond_signal(&store->flush);
	while (store->flush_count < store->seal_count && store->attempt_count == attempts)
		pthread_cond_wait(&store->flush_over, &store->lock);
	if (store->flush_count < store->seal_count)
		rc = store->failure;
	pthread_mutex_unlock(&store->lock);
	return rc;
}

void seal_if_due(struct store *store, bool is_last)
{
	if (is_last) {
		if (store->is_unsealed && wait_flushed(store) == 0)
			seal(store);
		(void)wait_flushed(store); /* if it fails, the log has it */
	} else if (is_due(store)) {
		seal(store);
	}
}

int flush_make_room(struct store *store)
{
	bool is_behind;

	pthread_mutex_lock(&store->lock);
	is_behind = store->flush_count < store->seal_count &&
		    (store->failure < 0 || kv_layers_size(store->kv) >= store->index_lag_max);
	pthread_mutex_unlock(&store->lock);
	return is_behind ? wait_flushed(store) : 0;
}

/* ---- the flusher's thread ---- */

static void wait_sealed(struct store *store)
{
	struct timespec until = monotonic_time(clock_monotonic_ms() + FLUSH_RETRY_MS);
	int rc = 0;

	while (!store->is_flusher_stopping && store->flush_count == store->seal_count)
		pthread_cond_wait(&store->flush, &store->lock);
	while (!store->is_flusher_stopping && store->failure < 0 && !store->is_attempt_wanted &&
		rc == 0)
		rc = pthread_cond_timedwait(&store->flush, &store->lock, &until);
}

static void *flusher_main(void *context)
{
	struct store *store = context;

	pthread_mutex_lock(&store->lock);
	for (;;) {
		int rc;

		wait_sealed(store);
		if (store->is_flusher_stopping)
			break;
		store->is_attempt_wanted = false;
		pthread_mutex_unlock(&store->lock);
		rc = kv_layers_flush(store->kv);
		pthread_mutex_lock(&store->lock);
		store->attempt_count++;
		if (rc == 0) {
			store->flush_count++;
			store->flushed = store->sealed;
		}
		store->failure = store->failure == ERR_IO ? ERR_IO : rc;
		pthread_cond_broadcast(&store->flush_over);
		pthread_cond_signal(&store->wake);
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

int flusher_start(struct store *store)
{
	if (pthread_create(&store->flusher, NULL, flusher_main, store) != 0)
		return ERR_UNAVAILABLE;
	store->has_flusher = true;
	return 0;
}

void flusher_stop(struct store *store)
{
	if (!store->has_flusher)
		return;
	pthread_mutex_lock(&store->lock);
	store->is_flusher_stopping = true;
	pthread_cond_signal(&store->flush);
	pthread_mutex_unlock(&store->lock);
	pthread_join(store->flusher, NULL);
	store->has_flusher = false;
}

/* ---- whoever needs the index on disk ---- */

int index_catch_up(struct store *store)
{
	struct timespec until = monotonic_time(clock_monotonic_ms() + CATCH_UP_MS_MAX);
	uint64_t target;
	int rc = 0;

	pthread_mutex_lock(&store->lock);
	/* A seal made earlier will not do, even with nothing committed since: its log position may
	 * lie in a segment to be removed. */
	target = store->seal_count + 1;
	if (store->flush_wanted < target)
		store->flush_wanted = target;
	pthread_cond_signal(&store->wake);
	while (store->flush_count < target && rc == 0)
		rc = pthread_cond_timedwait(&store->flush_over, &store->lock, &until);
	pthread_mutex_unlock(&store->lock);
	return rc != 0 ? ERR_UNAVAILABLE : kv_sync(store->kv);
}
