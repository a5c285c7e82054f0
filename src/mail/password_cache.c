#include "base/clock.h"
#include "base/mem.h"
#include "base/pack.h"
#include "base/random.h"
#include "mail/password.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>

#define WAY_COUNT 4 /* places where an entry may be */
#define ENTRY_COUNT_MAX (1u << 20)

struct entry {
	unsigned char mac[SCRAM_KEY_SIZE];
	uint64_t until_ms; /* monotonic; 0: empty */
};

struct password_cache {
	unsigned char key[SCRAM_KEY_SIZE];
	uint64_t life_ms;
	size_t set_count; /* a power of two */
	pthread_mutex_t mutex;
	struct entry *entries; /* set_count sets of WAY_COUNT */
};

struct password_cache *password_cache_new(unsigned entry_count_max, unsigned life_s)
{
	struct password_cache *cache = mem_zalloc(sizeof(*cache));

	random_bytes(cache->key, sizeof(cache->key));
	cache->life_ms = life_s * 1000ull;
	cache->set_count = 1;
	while (cache->set_count * WAY_COUNT < entry_count_max &&
		cache->set_count * WAY_COUNT < ENTRY_COUNT_MAX)
		cache->set_count *= 2;
	cache->entries = mem_zalloc_array(cache->set_count * WAY_COUNT, sizeof(*cache->entries));
	pthread_mutex_init(&cache->mutex, NULL);
	return cache;
}

void password_cache_free(struct password_cache **cache)
{
	struct password_cache *old = *cache;

	*cache = NULL;
	if (old == NULL)
		return;
	pthread_mutex_destroy(&old->mutex);
	OPENSSL_cleanse(old->key, sizeof(old->key));
	free(old->entries);
	free(old);
}

static void entry_name(const struct password_cache *cache, struct bytes account, struct bytes blob,
	struct bytes password, unsigned char mac_r[SCRAM_KEY_SIZE])
{
	struct buffer text = { 0 };

	/* Room for all at once, so that no copy of the password is left behind by growing. */
	buffer_reserve(&text, account.len + blob.len + password.len + 64);
	pack_bytes(&text, account);
	pack_bytes(&text, blob);
	pack_bytes(&text, password);
	password_hmac(bytes_of(cache->key, sizeof(cache->key)), buffer_bytes(&text), mac_r);
	OPENSSL_cleanse(text.data, text.room);
	buffer_deinit(&text);
}

static struct entry *set_of(struct password_cache *cache, const unsigned char *mac)
{
	return &cache->entries[(get_u64(mac) & (cache->set_count - 1)) * WAY_COUNT];
}

static bool entry_find(struct password_cache *cache, const unsigned char *mac)
{
	struct entry *set = set_of(cache, mac);
	uint64_t now_ms = clock_monotonic_ms();
	bool is_found = false;

	pthread_mutex_lock(&cache->mutex);
	for (size_t i = 0; i < WAY_COUNT; i++)
		if (set[i].until_ms > now_ms && CRYPTO_memcmp(set[i].mac, mac, SCRAM_KEY_SIZE) == 0)
			is_found = true;
	pthread_mutex_unlock(&cache->mutex);
	return is_found;
}

static void entry_add(struct password_cache *cache, const unsigned char *mac)
{
	struct entry *set = set_of(cache, mac), *oldest = set;

	pthread_mutex_lock(&cache->mutex);
	for (size_t i = 1; i < WAY_COUNT; i++)
		if (set[i].until_ms < oldest->until_ms)
			oldest = &set[i];
	memcpy(oldest->mac, mac, SCRAM_KEY_SIZE);
	oldest->until_ms = clock_monotonic_ms() + cache->life_ms;
	pthread_mutex_unlock(&cache->mutex);
}

int password_cache_check(struct password_cache *cache, struct bytes account, struct bytes blob,
	struct bytes password)
{
	unsigned char mac[SCRAM_KEY_SIZE];
	int rc;

	if (cache == NULL)
		return credentials_check(blob, password);
	if (password.len > PASSWORD_SIZE_MAX || blob.len > CREDENTIALS_SIZE_MAX)
		return credentials_check(blob, password);
	entry_name(cache, account, blob, password, mac);
	if (entry_find(cache, mac))
		return 0;
	rc = credentials_check(blob, password);
	if (rc == 0)
		entry_add(cache, mac);
	return rc;
}
