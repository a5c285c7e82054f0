#include "sync/body_set.h"

#include "base/mem.h"
#include "base/parallel.h"
#include "mail/mime_summary.h"
#include "mail/tables.h"
#include "sync/responder.h"
#include "sync/sync_limits.h"

#include <stdlib.h>

struct waiting_body {
	struct guid guid;
	uint64_t size;
	unsigned char *raw;     /* NULL: it is held on disk */
	struct mail_body *body; /* likewise */
};

void body_set_deinit(struct body_set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		mail_body_free(&set->bodies[i]->body);
		free(set->bodies[i]->raw);
		free(set->bodies[i]);
	}
	free(set->bodies);
	map_deinit(&set->by_guid);
	*set = (struct body_set){ 0 };
}

static struct bytes guid_key(const struct guid *guid)
{
	return bytes_of(guid->bytes, sizeof(guid->bytes));
}

static bool is_in_memory(const struct body_set *set, const struct guid *guid)
{
	const struct waiting_body *waiting = map_get(&set->by_guid, guid_key(guid));

	return waiting != NULL && waiting->body != NULL;
}

/* One held on disk is gone if another commit has referenced and released it meanwhile. */
bool body_set_has(const struct body_set *set, struct kv_txn *kv, const struct guid *guid)
{
	const struct waiting_body *waiting = map_get(&set->by_guid, guid_key(guid));

	if (waiting == NULL)
		return false;
	return waiting->body != NULL || store_body_exists(kv, guid, NULL) == 0;
}

int body_set_find(
	const struct body_set *set, struct kv_txn *kv, const struct guid *guid, uint64_t *size_r)
{
	const struct waiting_body *waiting = map_get(&set->by_guid, guid_key(guid));

	if (waiting == NULL || waiting->body == NULL)
		return store_body_exists(kv, guid, size_r);
	*size_r = waiting->size;
	return 0;
}

/* Takes over `raw` and `body`. */
static void add(struct body_set *set, const struct body_item *item, unsigned char *raw,
	struct mail_body *body)
{
	struct waiting_body *waiting = mem_zalloc(sizeof(*waiting));

	*waiting = (struct waiting_body){ item->guid, item->raw.len, raw, body };
	mem_grow((void **)&set->bodies, &set->room, set->count + 1, sizeof(struct waiting_body *));
	set->bodies[set->count++] = waiting;
	map_put(&set->by_guid, guid_key(&waiting->guid), waiting);
}

static int check_guid(const struct guid *told, const struct guid *found, struct error *error)
{
	return guid_equal(told, found)
		       ? 0
		       : error_set(error, ERR_ILLEGAL, "a message's bytes do not match its GUID");
}

static int keep_in_memory(
	struct body_set *set, struct mail *mail, const struct body_item *item, struct error *error)
{
	unsigned char *raw = mem_dup(item->raw.ptr, item->raw.len);
	struct mail_body *body = NULL;
	int rc = mail_body_prepare_packed(mail, bytes_of(raw, item->raw.len), item->packed, &body);

	if (rc < 0)
		error_set(error, rc, "a message's body cannot be made ready");
	else
		rc = check_guid(&item->guid, mail_body_guid(body), error);
	if (rc < 0) {
		mail_body_free(&body);
		free(raw);
		return rc;
	}
	add(set, item, raw, body);
	set->memory_size += item->raw.len;
	set->memory_count++;
	return 0;
}

/* A batch on its way to disk. */
struct hold {
	struct store *store;
	const struct body_item *items;
	size_t count;
	struct store_body **bodies;
	struct buffer *summaries;
	int *results;      /* of preparing each; ERR_ILLEGAL: its GUID is another */
	size_t begin, end; /* of the present commit */
};

static int hold_run(struct store_write *write, void *context)
{
	const struct hold *hold = context;
	int rc = 0;

	for (size_t i = hold->begin; i < hold->end && rc == 0; i++) {
		rc = store_body_hold(write, hold->bodies[i]);
		if (rc == 0)
			rc = store_put_unlogged(write, MAIL_TABLE_SUMMARY,
				guid_key(&hold->items[i].guid), buffer_bytes(&hold->summaries[i]));
	}
	return rc;
}

static void prepare_one(void *context, size_t index)
{
	struct hold *hold = context;
	const struct body_item *item = &hold->items[index];
	int rc = item->packed.len > 0
			 ? store_body_prepare_packed(
				   hold->store, item->raw, item->packed, &hold->bodies[index])
			 : store_body_prepare(hold->store, item->raw, &hold->bodies[index]);

	if (rc == 0)
		rc = check_guid(&item->guid, store_body_guid(hold->bodies[index]), NULL);
	if (rc == 0)
		mime_summary_make(item->raw, &hold->summaries[index]);
	hold->results[index] = rc;
}

/* Hashing and compressing is most of what a first copy costs. */
static int prepare_held(struct hold *hold, struct error *error)
{
	parallel_run(hold->count, prepare_one, hold);
	for (size_t i = 0; i < hold->count; i++)
		if (hold->results[i] == ERR_ILLEGAL)
			return check_guid(
				&hold->items[i].guid, store_body_guid(hold->bodies[i]), error);
		else if (hold->results[i] < 0)
			return error_set(
				error, hold->results[i], "a message's body cannot be made ready");
	return 0;
}

/* In several commits: each body is held for itself, and others wait for a commit. */
static int hold_prepared(struct hold *hold, struct error *error)
{
	uint64_t position;
	int rc = 0;

	for (hold->begin = 0; hold->begin < hold->count && rc == 0; hold->begin = hold->end) {
		size_t size = 0;

		hold->end = hold->begin;
		while (hold->end < hold->count && size < BODY_SET_COMMIT_SIZE_MAX)
			size += hold->items[hold->end++].raw.len;
		rc = store_commit(hold->store, hold_run, hold, error, &position);
	}
	return rc;
}

static int hold_on_disk(struct body_set *set, struct mail *mail, const struct body_item *items,
	size_t count, struct error *error)
{
	struct hold hold = { .store = mail_store(mail),
		.items = items,
		.count = count,
		.bodies = mem_zalloc_array(count, sizeof(struct store_body *)),
		.summaries = mem_zalloc_array(count, sizeof(struct buffer)),
		.results = mem_zalloc_array(count, sizeof(int)) };
	int rc = prepare_held(&hold, error);

	if (rc == 0)
		rc = hold_prepared(&hold, error);
	for (size_t i = 0; i < count; i++) {
		store_body_free(&hold.bodies[i]);
		buffer_deinit(&hold.summaries[i]);
		if (rc == 0 && map_get(&set->by_guid, guid_key(&items[i].guid)) == NULL)
			add(set, &items[i], NULL, NULL);
	}
	free(hold.bodies);
	free(hold.summaries);
	free(hold.results);
	return rc;
}

int body_set_add(struct body_set *set, struct mail *mail, const struct body_item *items,
	size_t count, struct error *error)
{
	uint64_t size = 0;
	int rc = 0;

	for (size_t i = 0; i < count; i++) {
		if (items[i].raw.len == 0 || items[i].raw.len > SYNC_BODY_SIZE_MAX)
			return error_set(error, ERR_TOO_LARGE, "a message is empty or too large");
		size += items[i].raw.len;
	}
	if (set->memory_size + size > BODY_SET_MEMORY_SIZE_MAX ||
		set->memory_count + count > BODY_SET_MEMORY_COUNT_MAX)
		return hold_on_disk(set, mail, items, count, error);
	for (size_t i = 0; i < count && rc == 0; i++)
		if (!is_in_memory(set, &items[i].guid))
			rc = keep_in_memory(set, mail, &items[i], error);
	return rc;
}

void body_set_offer(const struct body_set *set, struct account_write *write)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->bodies[i]->body != NULL)
			mail_body_add(write, set->bodies[i]->body);
}
