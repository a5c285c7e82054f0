/*
 * A user with sessions has an entry, with one watch on his account: when the account changes, by
 * whomever, the next sweep hears of it and looks whether he may still be logged in.
 */
#include "imap/imap_registry.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "mail/account_login.h"
#include "mail/watch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define BUCKET_COUNT 4096u

struct user_entry {
	struct user_entry *next; /* in the bucket */
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	uint32_t account;
	unsigned count;
	struct imap_registration *first;
	struct watch *watch; /* NULL: he has no account */
};

struct imap_registration {
	struct imap_registration *previous, *next; /* of the same user */
	struct user_entry *entry;
	struct net_connection *connection;
	bool is_kept; /* when the login is disabled */
};

struct imap_registry {
	struct mail *mail;
	uint64_t seed;
	atomic_bool is_changed; /* some account is */
	pthread_mutex_t mutex;  /* for all that follows, and the entries */
	struct watch_set *watches;
	struct user_entry *buckets[BUCKET_COUNT];
};

/* On the committer's thread. */
static void account_changed(void *context)
{
	struct imap_registry *registry = context;

	atomic_store(&registry->is_changed, true);
}

struct imap_registry *imap_registry_new(struct mail *mail)
{
	struct imap_registry *registry = mem_zalloc(sizeof(*registry));

	registry->mail = mail;
	random_bytes(&registry->seed, sizeof(registry->seed));
	pthread_mutex_init(&registry->mutex, NULL);
	registry->watches = watch_set_new(mail, account_changed, registry);
	return registry;
}

void imap_registry_free(struct imap_registry **registry)
{
	struct imap_registry *old = *registry;

	*registry = NULL;
	if (old == NULL)
		return;
	for (size_t i = 0; i < BUCKET_COUNT; i++)
		assert(old->buckets[i] == NULL);
	watch_set_free(&old->watches);
	pthread_mutex_destroy(&old->mutex);
	free(old);
}

static struct user_entry **bucket_of(
	struct imap_registry *registry, const char *user, uint32_t account)
{
	uint64_t number = account != 0 ? account : hash64(bytes_of_string(user), registry->seed);

	return &registry->buckets[number % BUCKET_COUNT];
}

static struct user_entry *entry_find(
	struct imap_registry *registry, const char *user, uint32_t account)
{
	struct user_entry *entry = *bucket_of(registry, user, account);

	while (entry != NULL && (entry->account != account || strcmp(entry->name, user) != 0))
		entry = entry->next;
	return entry;
}

static struct user_entry *entry_new(
	struct imap_registry *registry, const char *user, uint32_t account)
{
	struct user_entry *entry = mem_zalloc(sizeof(*entry));
	struct user_entry **bucket = bucket_of(registry, user, account);

	entry->account = account;
	memcpy(entry->name, user, strlen(user) + 1);
	entry->next = *bucket;
	*bucket = entry;
	if (account != 0)
		entry->watch =
			watch_add(registry->watches, account, WATCH_ANY, (struct id128){ { 0 } });
	return entry;
}

static void entry_free(struct imap_registry *registry, struct user_entry *entry)
{
	struct user_entry **at = bucket_of(registry, entry->name, entry->account);

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	watch_remove(&entry->watch);
	free(entry);
}

int imap_registry_add(struct imap_registry *registry, const char *user, uint32_t account,
	struct net_connection *connection, bool is_kept, unsigned count_max,
	struct imap_registration **registration_r)
{
	struct imap_registration *registration;
	struct user_entry *entry;

	pthread_mutex_lock(&registry->mutex);
	entry = entry_find(registry, user, account);
	if (entry != NULL && count_max > 0 && entry->count >= count_max) {
		pthread_mutex_unlock(&registry->mutex);
		return ERR_TOO_LARGE;
	}
	if (entry == NULL)
		entry = entry_new(registry, user, account);
	registration = mem_zalloc(sizeof(*registration));
	registration->entry = entry;
	registration->is_kept = is_kept;
	registration->connection = net_connection_ref(connection);
	registration->next = entry->first;
	if (entry->first != NULL)
		entry->first->previous = registration;
	entry->first = registration;
	entry->count++;
	pthread_mutex_unlock(&registry->mutex);
	*registration_r = registration;
	return 0;
}

void imap_registry_remove(struct imap_registry *registry, struct imap_registration **registration)
{
	struct imap_registration *old = *registration;
	struct user_entry *entry;

	*registration = NULL;
	if (old == NULL)
		return;
	entry = old->entry;
	pthread_mutex_lock(&registry->mutex);
	if (old->next != NULL)
		old->next->previous = old->previous;
	if (old->previous != NULL)
		old->previous->next = old->next;
	else
		entry->first = old->next;
	if (--entry->count == 0)
		entry_free(registry, entry);
	pthread_mutex_unlock(&registry->mutex);
	net_connection_unref(&old->connection);
	free(old);
}

static void entry_close(const struct user_entry *entry)
{
	log_event(LOG_LEVEL_INFO, "sessions-closed", "protocol", "imap", "account", entry->name,
		"reason", "the login was disabled", NULL);
	for (struct imap_registration *at = entry->first; at != NULL; at = at->next)
		if (!at->is_kept)
			net_connection_close(at->connection);
}

static void account_look(struct imap_registry *registry, uint32_t account)
{
	if (account_login_check(registry->mail, account) != ERR_REFUSED)
		return;
	for (struct user_entry *entry = registry->buckets[account % BUCKET_COUNT]; entry != NULL;
		entry = entry->next)
		if (entry->account == account)
			entry_close(entry);
}

/* Reading an account's register under the mutex is a look into memory: microseconds. */
void imap_registry_sweep(struct imap_registry *registry)
{
	struct watch_news news;
	struct watch *watch;
	struct arena *arena;

	if (!atomic_exchange(&registry->is_changed, false))
		return;
	arena = arena_new();
	pthread_mutex_lock(&registry->mutex);
	while ((watch = watch_next(registry->watches, arena, NULL, &news)) != NULL)
		account_look(registry, watch_account(watch));
	pthread_mutex_unlock(&registry->mutex);
	arena_free(&arena);
}
