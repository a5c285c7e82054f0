/*
 * The lock of a target that has none of its own: an object in "locks" says who writes, and since
 * when; its name is the time and a random id. Who wants to write puts his, then lists: if there is
 * another that is not stale, he takes his away and gives up. Two that do so at once may both give
 * up; never both go on, since each has put his before he lists, and a listing shows what was put
 * before (so S3 promises since 2020).
 */
#include "backup/object_store.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct others {
	const char *own;
	uint64_t now_ms;
	char found[OBJECT_NAME_SIZE_MAX + 1]; /* one that is alive; "": none */
	char stale[OBJECT_NAME_SIZE_MAX + 1]; /* one that is not */
	bool has_own;
};

static int other_look(void *context, const char *name, uint64_t size)
{
	struct others *others = context;
	uint64_t told_ms = 0;
	bool is_alive;

	(void)size;
	if (others->own != NULL && strcmp(name, others->own) == 0) {
		others->has_own = true;
		return 0;
	}
	is_alive = sscanf(name, "locks/%" SCNu64, &told_ms) != 1 ||
		   told_ms + OBJECT_LOCK_STALE_MS > others->now_ms;
	snprintf(is_alive ? others->found : others->stale, sizeof(others->found), "%s", name);
	return 0;
}

static int refused(struct object_store *store, const char *name, struct error *error)
{
	struct buffer who = { 0 };
	struct error ignored = { 0 };
	int rc;

	if (object_get(store, name, 0, 0, &who, &ignored) < 0)
		buffer_clear(&who);
	rc = error_set(error, ERR_UNAVAILABLE, "the target is being written by %.100s",
		who.len > 0 ? buffer_string(&who) : "another process");
	buffer_deinit(&who);
	return rc;
}

static int lock_tell(struct object_store *store, char **name_r, struct error *error)
{
	struct id128 id = id128_random();
	char host[65] = "", name[OBJECT_NAME_SIZE_MAX + 1];
	struct buffer who = { 0 };
	int rc;

	(void)gethostname(host, sizeof(host) - 1);
	snprintf(name, sizeof(name), "locks/%013" PRIu64 "-%08x", clock_now_ms(clock_system()),
		get_u32(id.bytes));
	buffer_printf(&who, "process %ld on %s", (long)getpid(), host);
	rc = object_put(store, name, buffer_bytes(&who), error);
	buffer_deinit(&who);
	if (rc == 0)
		*name_r = mem_strdup(name);
	return rc;
}

static int others_find(struct object_store *store, struct others *others, struct error *error)
{
	*others = (struct others){ .own = store->own_lock, .now_ms = clock_now_ms(clock_system()) };
	return object_list(store, "locks", other_look, others, error);
}

int object_lock(struct object_store *store, struct error *error)
{
	struct others others;
	int rc;

	if (store->functions->lock != NULL)
		return store->functions->lock(store, error);
	rc = lock_tell(store, &store->own_lock, error);
	store->lock_told_ms = clock_monotonic_ms();
	if (rc == 0)
		rc = others_find(store, &others, error);
	if (rc == 0 && others.found[0] != '\0')
		rc = refused(store, others.found, error);
	if (rc == 0 && others.stale[0] != '\0')
		rc = object_remove(store, others.stale, error);
	return rc;
}

int object_lock_keep(struct object_store *store, struct error *error)
{
	uint64_t now_ms = clock_monotonic_ms();
	struct others others;
	char *before = store->own_lock;
	int rc;

	if (before == NULL || now_ms - store->lock_told_ms < OBJECT_LOCK_TELL_MS)
		return 0;
	rc = others_find(store, &others, error);
	if (rc == 0 && (!others.has_own || others.found[0] != '\0'))
		return error_set(error, ERR_CLOSED,
			"another process took the target over: this one was silent for too long");
	if (rc == 0)
		rc = lock_tell(store, &store->own_lock, error);
	if (rc < 0)
		return rc;
	store->lock_told_ms = now_ms;
	rc = object_remove(store, before, error);
	free(before);
	return rc;
}
