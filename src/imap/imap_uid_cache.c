#include "imap/imap_uid_cache.h"

#include "base/hash.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Never changed once it is there, so that it is copied without the lock. */
struct kept {
	_Atomic unsigned references;
	uint32_t account;
	uint32_t uidvalidity;
	struct id128 mailbox;
	uint64_t modseq;
	bool is_looked; /* what SELECT looks for is kept as well */
	uint32_t unseen_first;
	struct buffer keywords; /* each with a NUL behind it */
	size_t count;
	uint32_t uids[];
};

struct imap_uid_cache {
	pthread_mutex_t lock;
	struct kept *slots[IMAP_UID_CACHE_SLOT_COUNT];
	size_t size;   /* bytes of UIDs and keywords */
	unsigned hand; /* the slot that is emptied next */
};

struct imap_uid_cache *imap_uid_cache_new(void)
{
	struct imap_uid_cache *cache = mem_zalloc(sizeof(*cache));

	pthread_mutex_init(&cache->lock, NULL);
	return cache;
}

static void kept_release(struct kept *kept)
{
	if (atomic_fetch_sub_explicit(&kept->references, 1, memory_order_acq_rel) > 1)
		return;
	buffer_deinit(&kept->keywords);
	free(kept);
}

static size_t size_of(const struct kept *kept)
{
	return kept->count * sizeof(*kept->uids) + kept->keywords.len;
}

static void empty(struct imap_uid_cache *cache, struct kept **slot)
{
	if (*slot == NULL)
		return;
	cache->size -= size_of(*slot);
	kept_release(*slot);
	*slot = NULL;
}

void imap_uid_cache_free(struct imap_uid_cache **cache)
{
	if (*cache == NULL)
		return;
	for (unsigned i = 0; i < IMAP_UID_CACHE_SLOT_COUNT; i++)
		empty(*cache, &(*cache)->slots[i]);
	pthread_mutex_destroy(&(*cache)->lock);
	free(*cache);
	*cache = NULL;
}

static struct kept **slot_of(struct imap_uid_cache *cache, const struct imap_view *view)
{
	uint64_t hash = hash64(bytes_of(&view->mailbox, sizeof(view->mailbox)), view->account);

	return &cache->slots[hash % IMAP_UID_CACHE_SLOT_COUNT];
}

static bool is_of(const struct kept *kept, const struct imap_view *view)
{
	return kept->account == view->account && kept->uidvalidity == view->uidvalidity &&
	       id128_equal(kept->mailbox, view->mailbox);
}

/* To be released; NULL if there is none. */
static struct kept *acquire(
	struct imap_uid_cache *cache, const struct imap_view *view, uint64_t modseq_max)
{
	struct kept *kept;

	pthread_mutex_lock(&cache->lock);
	kept = *slot_of(cache, view);
	if (kept != NULL && is_of(kept, view) && kept->modseq <= modseq_max)
		atomic_fetch_add_explicit(&kept->references, 1, memory_order_relaxed);
	else
		kept = NULL;
	pthread_mutex_unlock(&cache->lock);
	return kept;
}

static void take_looked(const struct kept *kept, struct imap_view *view)
{
	struct bytes rest = buffer_bytes(&kept->keywords);

	view->looked_modseq = kept->modseq;
	view->unseen_first = kept->unseen_first;
	while (rest.len > 0) {
		struct bytes name = bytes_of(rest.ptr, bytes_find(rest, '\0'));

		imap_view_add_keyword(view, name);
		bytes_skip(&rest, name.len + 1);
	}
}

bool imap_uid_cache_take(struct imap_uid_cache *cache, struct imap_view *view, uint64_t modseq_max)
{
	struct kept *kept = acquire(cache, view, modseq_max);

	if (kept == NULL)
		return false;
	mem_grow((void **)&view->uids, &view->room, kept->count, sizeof(*view->uids));
	memcpy(view->uids, kept->uids, kept->count * sizeof(*view->uids));
	view->count = kept->count;
	view->modseq = kept->modseq;
	if (kept->is_looked && kept->modseq == modseq_max && view->seen_account == 0)
		take_looked(kept, view);
	kept_release(kept);
	return true;
}

static bool is_looked(const struct imap_view *view)
{
	return view->looked_modseq == view->modseq && view->looked_modseq != 0;
}

/* Whether what the view knows is kept already, or something later. */
static bool is_known(struct imap_uid_cache *cache, const struct imap_view *view)
{
	const struct kept *kept;
	bool is_known;

	pthread_mutex_lock(&cache->lock);
	kept = *slot_of(cache, view);
	is_known = kept != NULL && is_of(kept, view) &&
		   (kept->modseq > view->modseq ||
			   (kept->modseq == view->modseq && kept->is_looked >= is_looked(view)));
	pthread_mutex_unlock(&cache->lock);
	return is_known;
}

static struct kept *kept_of(const struct imap_view *view)
{
	size_t size = view->count * sizeof(*view->uids);
	struct kept *kept = mem_alloc(sizeof(*kept) + size);

	*kept = (struct kept){ .account = view->account,
		.uidvalidity = view->uidvalidity,
		.mailbox = view->mailbox,
		.modseq = view->modseq,
		.is_looked = is_looked(view),
		.unseen_first = view->unseen_first,
		.count = view->count };
	atomic_init(&kept->references, 1);
	memcpy(kept->uids, view->uids, size);
	for (size_t i = 0; kept->is_looked && i < view->keyword_count; i++)
		buffer_append(&kept->keywords, view->keywords[i], strlen(view->keywords[i]) + 1);
	return kept;
}

void imap_uid_cache_put(struct imap_uid_cache *cache, const struct imap_view *view)
{
	struct kept *kept;
	size_t size;

	if (view->count == 0 || view->count > IMAP_UID_CACHE_SIZE_MAX / sizeof(*view->uids) ||
		view->vanished.count > 0 || is_known(cache, view))
		return;
	kept = kept_of(view);
	size = size_of(kept);
	if (size > IMAP_UID_CACHE_SIZE_MAX) {
		kept_release(kept);
		return;
	}
	pthread_mutex_lock(&cache->lock);
	empty(cache, slot_of(cache, view));
	while (cache->size + size > IMAP_UID_CACHE_SIZE_MAX)
		empty(cache, &cache->slots[cache->hand++ % IMAP_UID_CACHE_SLOT_COUNT]);
	*slot_of(cache, view) = kept;
	cache->size += size;
	pthread_mutex_unlock(&cache->lock);
}
