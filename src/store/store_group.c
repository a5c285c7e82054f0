/*
 * A group: several commits of one thread in one transaction, which it holds open between them. The
 * thread leads from the first of them on. At the end it takes those along who came meanwhile.
 */
#include "store/store_private.h"

struct group {
	struct store *store; /* NULL: there is none */
	bool is_open;        /* the transaction is */
	bool is_broken;      /* it must be given up */
	uint64_t sequence;   /* of its last commit */
	uint64_t begin_ms;   /* monotonic */
	size_t effect_bytes; /* what its commits wrote */
	struct error error;  /* of what failed for all of them */
};

static _Thread_local struct group own;

void store_group_begin(struct store *store)
{
	if (store->is_memory || own.store != NULL)
		return;
	own = (struct group){ .store = store };
}

bool group_is_mine(const struct store *store)
{
	return own.store == store;
}

bool store_group_is_on(const struct store *store)
{
	return group_is_mine(store);
}

void store_group_get_extent(const struct store *store, uint64_t *age_ms_r, uint64_t *size_r)
{
	bool is_open = group_is_mine(store) && own.is_open;

	*age_ms_r = is_open ? clock_monotonic_ms() - own.begin_ms : 0;
	*size_r = is_open ? store->batch.size : 0;
}

struct kv_txn *group_txn(void)
{
	return own.is_open ? own.store->txn : NULL;
}

static int group_open(struct store *store)
{
	const char *problem = "the store is being closed";
	int rc = lead_begin(store);

	if (rc == 0) {
		rc = batch_begin(store, &problem);
		if (rc < 0)
			lead_end(store);
	}
	if (rc < 0)
		return error_set(&own.error, rc, "%s: %s", problem, error_name(rc));
	own.is_open = true;
	own.sequence = store->log.end.sequence;
	own.begin_ms = clock_monotonic_ms();
	store->write.keeps_bodies = true;
	return 0;
}

int group_commit(struct store *store, struct request *request, uint64_t *position_r)
{
	struct request *left;

	if (own.error.code == 0 && !own.is_open)
		(void)group_open(store);
	if (own.error.code != 0) {
		if (request->error != NULL)
			*request->error = own.error;
		return own.error.code;
	}
	if (!batch_run(store, request, &own.sequence, &left)) {
		own.is_broken = true;
		error_set(&own.error, request->rc, "the index cannot be written: %s",
			error_name(request->rc));
	}
	own.effect_bytes += request->effect_bytes;
	if (request->rc == 0)
		*position_r = request->position;
	return request->rc;
}

/* Brings the open transaction to an end, with what others wait for. */
static void group_close(struct store *store)
{
	struct request *others = NULL, *left = NULL;
	int rc;

	store->write.keeps_bodies = false;
	pthread_mutex_lock(&store->lock);
	if (!own.is_broken)
		others = queue_take(store);
	pthread_mutex_unlock(&store->lock);
	if (others != NULL && !batch_run(store, others, &own.sequence, &left)) {
		own.is_broken = true;
		error_set(&own.error, others->rc, "the index cannot be written: %s",
			error_name(others->rc));
	}
	own.is_open = false;
	rc = batch_end(store, !own.is_broken, own.sequence);
	if (rc < 0) {
		requests_fail(others, rc, "the log cannot be written");
		error_set(&own.error, rc, "the log cannot be written: %s", error_name(rc));
	}
	requests_acknowledge(store, others);
	queue_commit(store, left);
	lead_end(store);
}

int store_group_end(struct store *store, struct error *error)
{
	int rc;

	if (!group_is_mine(store))
		return 0;
	if (own.is_open)
		group_close(store);
	rc = own.error.code;
	if (rc < 0 && error != NULL)
		*error = own.error;
	if (rc == 0)
		flush_brake(store, own.effect_bytes);
	own = (struct group){ .store = NULL };
	return rc;
}
