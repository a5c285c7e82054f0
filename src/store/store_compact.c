/*
 * Compaction: giving back the space of what is dead in old segments, while the store works.
 *
 * What is live in a segment (bodies that the index finds there, effects that are still so) is
 * written again at the end of the log by ordinary commits, in small steps; then the index is synced
 * past them, and the file is removed.
 *
 * Invariant: the remaining segments, replayed in order, give the index. So a put is written again
 * if the row is still exactly that, and a delete if the row is still absent and an older segment
 * remains that may hold its put.
 */
#include "store/store_private.h"

#include "base/mem.h"
#include "base/pack.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define STEP_BYTES_MAX ((size_t)1 << 18) /* rewritten in one commit, for which others wait */
#define STEP_EFFECT_COUNT_MAX 500
#define COMPACT_INTERVAL_S 10
#define LEFT_SHARE 8 /* one left alone is looked at again when the log has grown by an eighth */
#define LIVE_PERCENT_MAX 50 /* a segment with more than that live is left alone */

struct live_body {
	struct guid guid;
	uint64_t offset;
	uint8_t flags;
	struct buffer payload; /* as stored, with its prefix */
	uint32_t crc;
};

/* A step: what it rewrites, and by that how far it got in the segment. */
struct compact {
	struct store *store;
	uint64_t segment;
	struct log_segment **older; /* with references */
	size_t older_count;
	struct live_body *bodies;
	size_t body_count, body_room;
	struct buffer effects; /* payloads of commits, one after the other */
	size_t effect_count;
	size_t bytes;
	uint64_t live_bytes; /* found live, when measuring */
};

/* 1, 0, or an error, which must not be taken for a no. */
static int body_is_here(struct kv_txn *kv, const struct compact *compact, struct bytes guid,
	uint64_t offset, struct body_row *row_r)
{
	int rc = body_row_get(kv, guid, row_r);

	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	return row_r->segment == compact->segment && row_r->offset == offset;
}

/* 1, 0, or an error, which must not be taken for a no. */
static int effect_is_live(struct kv_txn *kv, const struct effect *effect)
{
	struct bytes value;
	int rc = kv_get(kv, effect->table, effect->key, &value);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (effect->operation == EFFECT_PUT)
		return rc == 0 && bytes_equal(value, effect->value);
	return rc == ERR_NOT_FOUND;
}

/* A segment that cannot be read may hold anything. */
static bool put_may_be_older(const struct compact *compact, const struct effect *effect)
{
	for (size_t i = 0; i < compact->older_count; i++) {
		struct log_segment *segment = compact->older[i];

		if ((segment->filter == NULL &&
			    put_filter_make(&compact->store->log, segment) < 0) ||
			put_filter_may_hold(segment->filter, effect->table, effect->key))
			return true;
	}
	return false;
}

static int rewrite_body(
	struct store_write *write, const struct compact *compact, struct live_body *body)
{
	struct bytes guid = bytes_of(body->guid.bytes, sizeof(body->guid.bytes));
	struct bytes stored = buffer_bytes(&body->payload);
	struct bytes prefix;
	struct body_row row;
	int here = body_is_here(write->kv, compact, guid, body->offset, &row);

	if (here <= 0)
		return here;
	prefix = bytes_take(&stored, FRAME_BODY_PREFIX_SIZE);
	body_frame_add(write, body->flags, body->crc, prefix, stored, &row);
	return body_row_put(write, guid, &row);
}

static int rewrite_effect(struct store_write *write, const struct effect *effect)
{
	int live = effect_is_live(write->kv, effect);

	if (live <= 0)
		return live;
	effect_encode(&write->effects, effect); /* the index is so already */
	return 0;
}

static int step_run(struct store_write *write, void *context)
{
	struct compact *compact = context;
	struct bytes effects = buffer_bytes(&compact->effects);
	int rc = 0;

	for (size_t i = 0; i < compact->body_count && rc == 0; i++)
		rc = rewrite_body(write, compact, &compact->bodies[i]);
	while (effects.len > 0 && rc == 0) {
		struct effect effect;

		rc = effect_decode(&effects, STORE_TABLE_COUNT, &effect);
		if (rc == 0)
			rc = rewrite_effect(write, &effect);
	}
	return rc;
}

static void step_clear(struct compact *compact)
{
	for (size_t i = 0; i < compact->body_count; i++)
		buffer_deinit(&compact->bodies[i].payload);
	compact->body_count = 0;
	buffer_clear(&compact->effects);
	compact->effect_count = 0;
	compact->bytes = 0;
}

static int step_commit(struct compact *compact)
{
	uint64_t position;
	int rc = 0;

	if (compact->body_count > 0 || compact->effects.len > 0)
		rc = store_commit(compact->store, step_run, compact, NULL, &position);
	step_clear(compact);
	return rc;
}

static void step_add_body(
	struct compact *compact, const struct frame *frame, uint64_t offset, struct buffer *payload)
{
	struct live_body *body;

	mem_grow((void **)&compact->bodies, &compact->body_room, compact->body_count + 1,
		sizeof(*compact->bodies));
	body = &compact->bodies[compact->body_count++];
	*body = (struct live_body){
		.offset = offset, .flags = frame->flags, .crc = frame->payload_crc
	};
	memcpy(body->guid.bytes, payload->data, sizeof(body->guid.bytes));
	compact->bytes += payload->len;
	body->payload = *payload;
	*payload = (struct buffer){ 0 };
}

/* Takes what looks live in the snapshot; step_run() looks again. */
static int take_effects(struct compact *compact, struct kv_txn *kv, struct bytes payload)
{
	while (payload.len > 0) {
		struct effect effect;
		size_t before = compact->effects.len;
		int rc = effect_decode(&payload, STORE_TABLE_COUNT, &effect);

		if (rc < 0)
			return rc;
		rc = effect_is_live(kv, &effect);
		if (rc < 0)
			return rc;
		if (rc == 0 ||
			(effect.operation == EFFECT_DELETE && !put_may_be_older(compact, &effect)))
			continue;
		effect_encode(&compact->effects, &effect);
		compact->effect_count++;
		compact->bytes += compact->effects.len - before;
	}
	return 0;
}

/* A dead body is passed over, and a live one read only to be rewritten. */
static int take_body(struct compact *compact, struct kv_txn *kv, struct log_segment *segment,
	uint64_t offset, struct frame *frame, bool rewrite)
{
	struct id128 store = compact->store->log.store;
	struct buffer payload = { 0 };
	struct body_row row;
	struct guid guid;
	int rc;

	if (frame->payload_size < FRAME_BODY_PREFIX_SIZE)
		return ERR_CORRUPT;
	rc = segment_read(segment->fd, offset + FRAME_HEADER_SIZE, guid.bytes, sizeof(guid.bytes));
	if (rc == 0)
		rc = body_is_here(
			kv, compact, bytes_of(guid.bytes, sizeof(guid.bytes)), offset, &row);
	if (rc <= 0)
		return rc;
	rc = 0;
	compact->live_bytes += frame->payload_size;
	if (!rewrite)
		return 0;
	rc = segment_read_frame(segment->fd, store, offset, UINT64_MAX, frame, &payload);
	if (rc == 0)
		step_add_body(compact, frame, offset, &payload);
	buffer_deinit(&payload);
	return rc;
}

/* Goes through the segment; with `rewrite` in steps, else only sums up what is live. */
static int segment_pass(
	struct compact *compact, struct log_segment *segment, uint64_t size, bool rewrite)
{
	struct id128 store = compact->store->log.store;
	struct buffer payload = { 0 };
	uint64_t offset = SEGMENT_HEADER_SIZE;
	int rc = 0;

	while (offset < size && rc == 0) {
		struct kv_txn *kv = NULL;
		struct frame frame;

		rc = segment_read_header(segment->fd, store, offset, size, &frame);
		if (rc == 0 && frame.type == FRAME_COMMIT)
			rc = segment_read_frame(segment->fd, store, offset, size, &frame, &payload);
		if (rc == 0)
			rc = kv_begin_read(compact->store->kv, &kv);
		if (rc < 0)
			break;
		if (frame.type == FRAME_COMMIT)
			rc = take_effects(compact, kv, buffer_bytes(&payload));
		else
			rc = take_body(compact, kv, segment, offset, &frame, rewrite);
		kv_abort(&kv);
		offset += frame_extent(frame.payload_size);
		if (!rewrite) {
			compact->live_bytes += compact->bytes;
			step_clear(compact);
		} else if (rc == 0 && (compact->bytes >= STEP_BYTES_MAX ||
					      compact->effect_count >= STEP_EFFECT_COUNT_MAX)) {
			rc = step_commit(compact);
		}
	}
	if (rc == 0 && rewrite)
		rc = step_commit(compact);
	step_clear(compact);
	buffer_deinit(&payload);
	return rc;
}

static int run_nothing(struct store_write *write, void *context)
{
	(void)write;
	(void)context;
	return 0;
}

/*
 * Whether a look at the segment may be worth it. Of its bodies the live bytes are known; how many
 * effects are live shows only by reading it, which is done again only after the log has grown.
 */
static bool is_candidate(const struct log_files *log, const struct log_segment *segment)
{
	uint64_t last = log->segments[log->count - 1]->number;

	return segment->live_bytes * 100 <= segment->size * LIVE_PERCENT_MAX &&
	       (segment->left_at == 0 || last > segment->left_at + log->count / LEFT_SHARE);
}

/* The first segment above *number that is not being written, with a reference; NULL if there is
 * none. */
static struct log_segment *next_segment(struct store *store, uint64_t *number, bool is_forced)
{
	struct log_segment *segment = NULL;

	pthread_mutex_lock(&store->log.lock);
	for (size_t i = 0; i + 1 < store->log.count && segment == NULL; i++) {
		if (store->log.segments[i]->number <= *number ||
			(!is_forced && !is_candidate(&store->log, store->log.segments[i])))
			continue;
		segment = store->log.segments[i];
		segment->references++;
		*number = segment->number;
	}
	pthread_mutex_unlock(&store->log.lock);
	return segment;
}

static void segment_leave(struct store *store, struct log_segment *segment)
{
	pthread_mutex_lock(&store->log.lock);
	segment->left_at = store->log.segments[store->log.count - 1]->number;
	pthread_mutex_unlock(&store->log.lock);
}

static void older_take(struct compact *compact)
{
	struct log_files *log = &compact->store->log;

	pthread_mutex_lock(&log->lock);
	compact->older = mem_zalloc_array(log->count, sizeof(*compact->older));
	for (size_t i = 0; i < log->count && log->segments[i]->number < compact->segment; i++) {
		log->segments[i]->references++;
		compact->older[compact->older_count++] = log->segments[i];
	}
	pthread_mutex_unlock(&log->lock);
}

static void compact_deinit(struct compact *compact)
{
	for (size_t i = 0; i < compact->older_count; i++)
		log_release(&compact->store->log, compact->older[i]);
	free(compact->older);
	buffer_deinit(&compact->effects);
	free(compact->bodies);
}

static int compact_segment(
	struct store *store, struct log_segment *segment, bool is_forced, uint64_t *freed)
{
	struct compact compact = { .store = store, .segment = segment->number };
	uint64_t size = segment->size;
	int rc;

	older_take(&compact);
	rc = segment_pass(&compact, segment, size, false);
	if (rc == 0 && (compact.live_bytes * 100 <= size * LIVE_PERCENT_MAX ||
			       (is_forced && compact.live_bytes < size - size / 8))) {
		rc = segment_pass(&compact, segment, size, true);
		if (rc == 0)
			rc = index_catch_up(store);
		if (rc == 0)
			rc = log_remove(&store->log, segment->number);
		if (rc == 0)
			*freed += size;
	} else if (rc == 0) {
		segment_leave(store, segment);
	}
	if (rc == ERR_CORRUPT)
		segment_leave(store, segment);
	compact_deinit(&compact);
	return rc;
}

static int compact_all(struct store *store, bool is_forced, uint64_t *freed)
{
	struct log_segment *segment;
	bool is_stopping = false;
	uint64_t number = 0;
	int rc = 0, worst = 0;

	*freed = 0;
	pthread_mutex_lock(&store->compact_lock);
	while (!is_stopping && (rc == 0 || rc == ERR_CORRUPT) &&
		(segment = next_segment(store, &number, is_forced)) != NULL) {
		/* A damaged segment stays as it is, and does not stand in the way of others. */
		rc = compact_segment(store, segment, is_forced, freed);
		log_release(&store->log, segment);
		worst = rc < 0 ? rc : worst;
		pthread_mutex_lock(&store->lock);
		is_stopping = store->is_stopping;
		pthread_mutex_unlock(&store->lock);
	}
	pthread_mutex_unlock(&store->compact_lock);
	return worst;
}

int store_compact(struct store *store, struct error *error, uint64_t *freed_r)
{
	uint64_t position;
	int rc = 0;

	*freed_r = 0;
	if (store->is_memory)
		return 0;
	/* What is in the segment being written can be reclaimed only when it is written no more. */
	pthread_mutex_lock(&store->lock);
	store->must_rotate = true;
	pthread_mutex_unlock(&store->lock);
	rc = store_commit(store, run_nothing, NULL, error, &position);
	if (rc == 0)
		rc = compact_all(store, true, freed_r);
	return rc < 0 ? error_set(error, rc, "compaction: %s", error_name(rc)) : 0;
}

static void *compactor_main(void *context)
{
	struct store *store = context;
	struct timespec until;
	uint64_t freed;

	pthread_mutex_lock(&store->lock);
	while (!store->is_stopping) {
		pthread_mutex_unlock(&store->lock);
		/* What fails is tried again; writers and `chapar verify` tell of the cause. */
		(void)compact_all(store, false, &freed);
		pthread_mutex_lock(&store->lock);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += COMPACT_INTERVAL_S;
		while (!store->is_stopping && pthread_cond_timedwait(&store->compact_wake,
						      &store->lock, &until) != ETIMEDOUT)
			;
	}
	pthread_mutex_unlock(&store->lock);
	return NULL;
}

void compactor_start(struct store *store)
{
	store->has_compactor = pthread_create(&store->compactor, NULL, compactor_main, store) == 0;
}

void compactor_stop(struct store *store)
{
	if (!store->has_compactor)
		return;
	pthread_mutex_lock(&store->lock);
	store->is_stopping = true;
	pthread_cond_broadcast(&store->compact_wake);
	pthread_mutex_unlock(&store->lock);
	pthread_join(store->compactor, NULL);
	store->has_compactor = false;
}
