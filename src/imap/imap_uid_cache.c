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
	size_t count;
	uint32_t uids[];
};

struct imap_uid_cache {
	pthread_mutex_t lock;
	struct kept *slots[IMAP_UID_CACHE_SLOT_COUNT];
	size_t size;   /* bytes of UIDs */
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
	if (atomic_fetch_sub_explicit(&kept->references, 1, memory_order_acq_rel) == 1)
		free(kept);
}

static void empty(struct imap_uid_cache *cache, struct kept **slot)
{
	if (*slot == NULL)
		return;
	cache->size -= (*slot)->count * sizeof(uint32_t);
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

bool imap_uid_cache_take(struct imap_uid_cache *cache, struct imap_view *view, uint64_t modseq_max)
{
	struct kept *kept = acquire(cache, view, modseq_max);

	if (kept == NULL)
		return false;
	mem_grow((void **)&view->uids, &view->room, kept->count, sizeof(*view->uids));
	memcpy(view->uids, kept->uids, kept->count * sizeof(*view->uids));
	view->count = kept->count;
	view->modseq = kept->modseq;
	kept_release(kept);
	return true;
}

void imap_uid_cache_put(struct imap_uid_cache *cache, const struct imap_view *view)
{
	size_t size = view->count * sizeof(*view->uids);
	struct kept *kept;

	if (view->count == 0 || size > IMAP_UID_CACHE_SIZE_MAX)
		return;
	kept = mem_alloc(sizeof(*kept) + size);
	atomic_init(&kept->references, 1);
	kept->account = view->account;
	kept->uidvalidity = view->uidvalidity;
	kept->mailbox = view->mailbox;
	kept->modseq = view->modseq;
	kept->count = view->count;
	memcpy(kept->uids, view->uids, size);
	pthread_mutex_lock(&cache->lock);
	empty(cache, slot_of(cache, view));
	while (cache->size + size > IMAP_UID_CACHE_SIZE_MAX)
		empty(cache, &cache->slots[cache->hand++ % IMAP_UID_CACHE_SLOT_COUNT]);
	*slot_of(cache, view) = kept;
	cache->size += size;
	pthread_mutex_unlock(&cache->lock);
}
