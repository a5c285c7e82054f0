/*
 * Bringing the index on disk up to what was committed.
 *
 * Commits are in memory above the index (kv/kv_layers.h) until the committer seals them, when they
 * are many, old, or somebody asks for it; the flusher thread then moves them down while new commits
 * go on. The log position goes with them: sealed are whole commits, up to the end of the log at
 * that time. Until it is done the log behind that position is kept, and redone after a crash.
 *
 * They go down in pieces of some hundred pages, each on disk before the next. So the log, whose
 * syncs everybody waits for, finds a disk that has little else to do. The position comes with the
 * last. After a crash between the log is redone over rows some of which are later already, and
 * gives the same: what it says of each row is absolute, and what follows from rows is right in each
 * piece: segments' live bytes change in the same one as the bodies' rows, and the feed's entries
 * are moved before the keys that say which of them counts (TABLE_FEED is before TABLE_FEED_KEY).
 *
 * Who writes more than goes down is held up: first each by as much as he wrote, after his commit,
 * then, when memory holds LAG_COUNT_MAX times index_lag_max, all. When the index cannot be written,
 * what is sealed stays sealed and is tried again each second and whenever somebody would commit.
 */
#include "store/store_private.h"

#include "kv/kv_layers.h"

#include <stdlib.h>
#include <time.h>

#define CATCH_UP_MS_MAX 30000 /* for the index to be written; else it is in trouble */
#define PIECE_SHARE 8 /* of index_lag_max is written at a time: some milliseconds of a disk */
/* Who wrote LAG_BYTES_MAX waits so long when twice index_lag_max waits in memory. */
#define BRAKE_US 1000000
#define BRAKE_US_MIN 1000  /* less is not worth a sleep */
#define BRAKE_US_MAX 20000 /* in one: a channel that waits holds up other accounts' changes */

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

/* What goes with the commits: where the log was. */
static int mark_put(struct store *store)
{
	struct kv_txn *txn = NULL;
	int rc = kv_begin_write(store->kv, &txn);

	if (rc == 0)
		rc = position_put(txn, &store->log.end);
	if (rc == 0)
		rc = kv_commit(&txn);
	kv_abort(&txn);
	return rc;
}

static void seal(struct store *store)
{
	if (mark_put(store) < 0) {
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
		    (store->failure < 0 ||
			    kv_layers_size(store->kv) / LAG_COUNT_MAX >= store->index_lag_max);
	pthread_mutex_unlock(&store->lock);
	return is_behind ? wait_flushed(store) : 0;
}

void flush_note_waiting(struct store *store)
{
	atomic_store_explicit(
		&store->waiting_bytes, kv_layers_size(store->kv), memory_order_relaxed);
}

/* How long who wrote so much waits: nothing while there is room, then soon as long as it takes to
 * write it down, even if each row is a page. */
static uint64_t brake_us(const struct store *store, size_t bytes)
{
	uint64_t waiting = atomic_load_explicit(&store->waiting_bytes, memory_order_relaxed);
	double over = (double)waiting / (double)store->index_lag_max - 1.0, us;

	if (over <= 0.0)
		return 0;
	us = BRAKE_US * over * over * (double)bytes / (double)LAG_BYTES_MAX;
	return us < BRAKE_US_MAX ? (uint64_t)us : BRAKE_US_MAX;
}

void flush_brake(struct store *store, size_t bytes)
{
	uint64_t us = brake_us(store, bytes), until_ms;
	struct timespec until;

	if (us < BRAKE_US_MIN)
		return;
	until_ms = clock_monotonic_ms() + us / 1000;
	until = monotonic_time(until_ms);
	pthread_mutex_lock(&store->lock);
	while (store->flush_count < store->seal_count && store->failure == 0 &&
		clock_monotonic_ms() < until_ms)
		pthread_cond_timedwait(&store->flush_over, &store->lock, &until);
	pthread_mutex_unlock(&store->lock);
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

static int body_follow(
	void *context, struct kv_txn *below, unsigned table, struct bytes key, struct bytes value)
{
	struct bytes before = { NULL, 0 };
	int rc = 0;

	if (table != TABLE_BODY)
		return 0;
	rc = kv_get(below, table, key, &before);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	live_changes_add(context, before, -1);
	live_changes_add(context, value, 1);
	return 0;
}

static int bodies_end(void *context, struct kv_txn *below)
{
	return live_changes_put(context, below);
}

static int flush(struct store *store)
{
	struct live_changes changes = { NULL, 0, 0 };
	struct kv_pieces pieces = {
		.size_max = store->index_lag_max / PIECE_SHARE,
		.row = body_follow,
		.end = bodies_end,
		.context = &changes,
	};
	int rc = kv_layers_flush(store->kv, &pieces);

	free(changes.list);
	return rc;
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
		rc = flush(store);
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
