#include "imap/imap_guard.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>

#define NAME_COUNT 16384u
#define KNOWN_COUNT 65536u
#define FAILURE_COUNT_MAX 64

struct name_place {
	uint64_t key; /* 0: empty */
	uint64_t at_ms;
	uint64_t free_at_ms; /* when the next slot begins */
	unsigned failure_count;
};

struct imap_guard {
	uint64_t seed;
	pthread_mutex_t mutex;
	struct name_place *names;
	uint64_t *known;
};

struct imap_guard *imap_guard_new(void)
{
	struct imap_guard *guard = mem_zalloc(sizeof(*guard));

	random_bytes(&guard->seed, sizeof(guard->seed));
	pthread_mutex_init(&guard->mutex, NULL);
	guard->names = mem_zalloc_array(NAME_COUNT, sizeof(*guard->names));
	guard->known = mem_zalloc_array(KNOWN_COUNT, sizeof(*guard->known));
	return guard;
}

void imap_guard_free(struct imap_guard **guard)
{
	struct imap_guard *old = *guard;

	*guard = NULL;
	if (old == NULL)
		return;
	pthread_mutex_destroy(&old->mutex);
	free(old->names);
	free(old->known);
	free(old);
}

/* Names are the same in any case, as account_name_normalize() has it. */
static uint64_t key_of(const struct imap_guard *guard, struct bytes name, const char *address)
{
	struct buffer text = { 0 };
	uint64_t key;

	for (size_t i = 0; i < name.len; i++)
		buffer_append_byte(&text, tolower(name.ptr[i]));
	if (address != NULL) {
		buffer_append_byte(&text, '\0');
		buffer_append_string(&text, address);
	}
	key = hash64(buffer_bytes(&text), guard->seed) | 1;
	buffer_deinit(&text);
	return key;
}

/* The name's place, emptied if it was another's, and as it is after the time that has passed. */
static struct name_place *place_of(struct imap_guard *guard, uint64_t key, uint64_t now_ms)
{
	struct name_place *place = &guard->names[(key >> 32) % NAME_COUNT];
	uint64_t halvings = (now_ms - place->at_ms) / GUARD_HALF_LIFE_MS;

	if (place->key != key)
		*place = (struct name_place){ .key = key, .at_ms = now_ms };
	else if (halvings > 0) {
		place->failure_count = halvings > 16 ? 0 : place->failure_count >> halvings;
		place->at_ms = now_ms;
	}
	return place;
}

static uint64_t *known_of(struct imap_guard *guard, uint64_t key)
{
	return &guard->known[(key >> 32) % KNOWN_COUNT];
}

static unsigned slot_of(const struct name_place *place)
{
	unsigned slot_ms = GUARD_SLOT_MIN_MS;

	if (place->failure_count < GUARD_FREE_COUNT)
		return 0;
	for (unsigned i = GUARD_FREE_COUNT; i < place->failure_count; i++)
		if (slot_ms < GUARD_SLOT_MAX_MS)
			slot_ms *= 2;
	return slot_ms;
}

int imap_guard_wait(struct imap_guard *guard, struct bytes name, const char *address,
	uint64_t now_ms, unsigned *wait_ms_r)
{
	uint64_t key = key_of(guard, name, NULL), known_key = key_of(guard, name, address);
	struct name_place *place;
	unsigned slot_ms = 0;
	int rc = 0;

	*wait_ms_r = 0;
	pthread_mutex_lock(&guard->mutex);
	if (*known_of(guard, known_key) != known_key) {
		place = place_of(guard, key, now_ms);
		slot_ms = slot_of(place);
		if (place->free_at_ms < now_ms)
			place->free_at_ms = now_ms;
		if (slot_ms > 0 && place->free_at_ms + slot_ms - now_ms > GUARD_QUEUE_MS)
			rc = ERR_UNAVAILABLE;
	}
	if (slot_ms > 0 && rc == 0) {
		place->free_at_ms += slot_ms;
		*wait_ms_r = (unsigned)(place->free_at_ms - now_ms);
	}
	pthread_mutex_unlock(&guard->mutex);
	return rc;
}

void imap_guard_failed(struct imap_guard *guard, struct bytes name, uint64_t now_ms)
{
	uint64_t key = key_of(guard, name, NULL);
	struct name_place *place;

	pthread_mutex_lock(&guard->mutex);
	place = place_of(guard, key, now_ms);
	if (place->failure_count < FAILURE_COUNT_MAX)
		place->failure_count++;
	place->at_ms = now_ms;
	pthread_mutex_unlock(&guard->mutex);
}

void imap_guard_passed(struct imap_guard *guard, struct bytes name, const char *address)
{
	uint64_t key = key_of(guard, name, address);

	pthread_mutex_lock(&guard->mutex);
	*known_of(guard, key) = key;
	pthread_mutex_unlock(&guard->mutex);
}
