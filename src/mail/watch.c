#include "mail/watch.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/pack.h"
#include "mail/acl.h"
#include "mail/watch_note.h"

#include <pthread.h>
#include <stdlib.h>

#define BUCKET_COUNT_MIN 64 /* a power of two, as all counts of buckets */

#define APART_COUNT_MAX 64 /* events that wait; from then on those of one mailbox are united */

/* An event that waits to be looked at; its name and value follow it. */
struct waiting {
	struct waiting *next;
	struct watch_event event;
	unsigned char data[];
};

struct watch {
	struct watch *next, **link; /* in the bucket of its account */
	struct watch_set *set;
	struct watch *set_next, **set_link;
	struct watch *ready_next; /* in the set's list of those with news */
	struct id128 mailbox;
	const struct identity *identity; /* of WATCH_GRANTS */
	uint32_t account;
	enum watch_kind kind;
	bool is_ready;
	bool is_overflow;
	size_t waiting_count;
	struct waiting *first, **last;
};

struct watch_set {
	struct watchers *watchers;
	void (*function)(void *context);
	void *context;
	struct watch *watches;
	struct watch *ready, **ready_last;
	uint64_t since; /* events of commits up to this one are not kept */
	bool is_woken;  /* and has not yet looked at everything */
};

struct watchers {
	pthread_mutex_t lock; /* of all sets and watches; held while functions are called */
	struct watch **buckets;
	size_t bucket_count, watch_count;
};

struct watchers *watchers_new(void)
{
	struct watchers *watchers = mem_zalloc(sizeof(*watchers));

	pthread_mutex_init(&watchers->lock, NULL);
	watchers->bucket_count = BUCKET_COUNT_MIN;
	watchers->buckets = mem_zalloc_array(watchers->bucket_count, sizeof(*watchers->buckets));
	return watchers;
}

void watchers_free(struct watchers **watchers)
{
	if (*watchers == NULL)
		return;
	assert((*watchers)->watch_count == 0);
	pthread_mutex_destroy(&(*watchers)->lock);
	free((*watchers)->buckets);
	free(*watchers);
	*watchers = NULL;
}

/* ---- the table of accounts ---- */

/* Numbers of accounts are given one after the other, so they spread by themselves. */
static struct watch **bucket_of(struct watchers *watchers, uint32_t account)
{
	return &watchers->buckets[account & (watchers->bucket_count - 1)];
}

static void bucket_put(struct watchers *watchers, struct watch *watch)
{
	struct watch **bucket = bucket_of(watchers, watch->account);

	watch->next = *bucket;
	watch->link = bucket;
	if (watch->next != NULL)
		watch->next->link = &watch->next;
	*bucket = watch;
}

static void buckets_grow(struct watchers *watchers)
{
	struct watch **old = watchers->buckets;
	size_t old_count = watchers->bucket_count;

	watchers->bucket_count *= 2;
	watchers->buckets = mem_zalloc_array(watchers->bucket_count, sizeof(*watchers->buckets));
	for (size_t i = 0; i < old_count; i++) {
		struct watch *next;

		for (struct watch *watch = old[i]; watch != NULL; watch = next) {
			next = watch->next;
			bucket_put(watchers, watch);
		}
	}
	free(old);
}

/* ---- telling: with the lock held, on the committer's thread ---- */

static void watch_ready(struct watch *watch)
{
	struct watch_set *set = watch->set;

	if (!watch->is_ready) {
		watch->is_ready = true;
		watch->ready_next = NULL;
		*set->ready_last = watch;
		set->ready_last = &watch->ready_next;
	}
	if (!set->is_woken) {
		set->is_woken = true;
		set->function(set->context);
	}
}

static bool is_same(const struct watch_event *a, const struct watch_event *b)
{
	return a->account == b->account && a->kind == b->kind &&
	       id128_equal(a->mailbox, b->mailbox) &&
	       (a->kind == RECORD_MAILBOX || bytes_equal(a->name, b->name));
}

static struct bytes keep(unsigned char *at, struct bytes bytes)
{
	if (bytes.len > 0)
		memcpy(at, bytes.ptr, bytes.len);
	return bytes_of(at, bytes.len);
}

static void event_unite(struct watch_event *earlier, const struct watch_event *event)
{
	earlier->changes |= event->changes;
	if (earlier->position != event->position)
		earlier->position = 0;
}

static void event_append(struct watch *watch, const struct watch_event *event)
{
	struct waiting *waiting = mem_alloc(sizeof(*waiting) + event->name.len + event->value.len);

	waiting->next = NULL;
	waiting->event = *event;
	waiting->event.name = keep(waiting->data, event->name);
	waiting->event.value = keep(waiting->data + event->name.len, event->value);
	*watch->last = waiting;
	watch->last = &waiting->next;
	watch->waiting_count++;
}

/* Few events are kept apart by commit, so that those of the session itself can be left out. */
static void event_keep(struct watch *watch, const struct watch_event *event)
{
	bool is_apart = watch->waiting_count < APART_COUNT_MAX;

	if (event->kind == 0) {
		watch->is_overflow = true;
		return;
	}
	for (struct waiting *waiting = watch->first; waiting != NULL; waiting = waiting->next) {
		if (is_same(&waiting->event, event) &&
			(!is_apart || waiting->event.position == event->position)) {
			event_unite(&waiting->event, event);
			return;
		}
	}
	if (watch->waiting_count == WATCH_EVENT_COUNT_MAX)
		watch->is_overflow = true;
	else
		event_append(watch, event);
}

static bool is_known(const struct watch *watch, const struct watch_event *event)
{
	return event != NULL && event->position != 0 && event->position <= watch->set->since;
}

static bool concerns(const struct watch *watch, const struct watch_event *event)
{
	switch (watch->kind) {
	case WATCH_ANY:
		return event == NULL;
	case WATCH_MAILBOX:
		return event != NULL &&
		       (event->kind == 0 || id128_equal(watch->mailbox, event->mailbox));
	case WATCH_EVENTS:
		return event != NULL && !is_known(watch, event) &&
		       (event->kind != RECORD_MAILBOX || event->changes != 0);
	case WATCH_GRANTS:
		return event != NULL && !is_known(watch, event) && event->kind == RECORD_ACL &&
		       acl_concerns(watch->identity, event->name);
	}
	return false;
}

/* `account` 0: those that watch all. `event` NULL: the account was marked. */
static void account_tell(
	struct watchers *watchers, uint32_t account, const struct watch_event *event)
{
	for (struct watch *watch = *bucket_of(watchers, account); watch != NULL;
		watch = watch->next) {
		if (watch->account != account || !concerns(watch, event))
			continue;
		if (watch->kind == WATCH_EVENTS || watch->kind == WATCH_GRANTS)
			event_keep(watch, event);
		watch_ready(watch);
	}
}

void watchers_tell(struct watchers *watchers, const struct feed_news *news, size_t count)
{
	struct watch_event event;

	pthread_mutex_lock(&watchers->lock);
	for (size_t i = 0; i < count && watchers->watch_count > 0; i++) {
		uint32_t account;

		if (news[i].key.len != 4)
			continue;
		account = get_u32(news[i].key.ptr);
		if (news[i].note.ptr == NULL) {
			account_tell(watchers, account, NULL);
			account_tell(watchers, WATCH_ALL_ACCOUNTS, NULL);
		} else if (watch_note_decode(news[i].note, &event) == 0) {
			event.account = account;
			account_tell(watchers, account, &event);
			if (event.kind == RECORD_ACL)
				account_tell(watchers, 0, &event);
		}
	}
	pthread_mutex_unlock(&watchers->lock);
}

/* ---- for sessions ---- */

struct watch_set *watch_set_new(struct mail *mail, void (*function)(void *context), void *context)
{
	struct watch_set *set = mem_zalloc(sizeof(*set));

	set->watchers = mail_watchers(mail);
	set->function = function;
	set->context = context;
	set->ready_last = &set->ready;
	return set;
}

void watch_set_since(struct watch_set *set, uint64_t position)
{
	assert(set->watches == NULL);
	set->since = position;
}

static struct watch *set_add(struct watch_set *set, uint32_t account, enum watch_kind kind,
	struct id128 mailbox, const struct identity *identity)
{
	struct watchers *watchers = set->watchers;
	struct watch *watch = mem_zalloc(sizeof(*watch));

	watch->set = set;
	watch->account = account;
	watch->kind = kind;
	watch->mailbox = mailbox;
	watch->identity = identity;
	watch->last = &watch->first;
	pthread_mutex_lock(&watchers->lock);
	if (++watchers->watch_count > watchers->bucket_count)
		buckets_grow(watchers);
	bucket_put(watchers, watch);
	watch->set_next = set->watches;
	watch->set_link = &set->watches;
	if (watch->set_next != NULL)
		watch->set_next->set_link = &watch->set_next;
	set->watches = watch;
	pthread_mutex_unlock(&watchers->lock);
	return watch;
}

struct watch *watch_add(
	struct watch_set *set, uint32_t account, enum watch_kind kind, struct id128 mailbox)
{
	return set_add(set, account, kind, mailbox, NULL);
}

struct watch *watch_add_grants(struct watch_set *set, const struct identity *identity)
{
	return set_add(set, 0, WATCH_GRANTS, (struct id128){ { 0 } }, identity);
}

bool watch_set_has(const struct watch_set *set, uint32_t account, enum watch_kind kind)
{
	for (const struct watch *watch = set->watches; watch != NULL; watch = watch->set_next) {
		if (watch->account == account && watch->kind == kind)
			return true;
	}
	return false;
}

static void ready_remove(struct watch *watch)
{
	struct watch_set *set = watch->set;
	struct watch **at = &set->ready;

	if (!watch->is_ready)
		return;
	while (*at != watch)
		at = &(*at)->ready_next;
	*at = watch->ready_next;
	if (set->ready_last == &watch->ready_next)
		set->ready_last = at;
	watch->is_ready = false;
}

static void waiting_free(struct waiting *waiting)
{
	while (waiting != NULL) {
		struct waiting *next = waiting->next;

		free(waiting);
		waiting = next;
	}
}

void watch_remove(struct watch **watch)
{
	struct watch *old = *watch;
	struct watchers *watchers;

	*watch = NULL;
	if (old == NULL)
		return;
	watchers = old->set->watchers;
	pthread_mutex_lock(&watchers->lock);
	ready_remove(old);
	*old->link = old->next;
	if (old->next != NULL)
		old->next->link = old->link;
	*old->set_link = old->set_next;
	if (old->set_next != NULL)
		old->set_next->set_link = old->set_link;
	watchers->watch_count--;
	pthread_mutex_unlock(&watchers->lock);
	waiting_free(old->first);
	free(old);
}

void watch_set_free(struct watch_set **set)
{
	if (*set == NULL)
		return;
	while ((*set)->watches != NULL) {
		struct watch *watch = (*set)->watches;

		watch_remove(&watch);
	}
	free(*set);
	*set = NULL;
}

void watch_own_add(struct watch_own *own, uint64_t position)
{
	own->positions[own->next++ % WATCH_OWN_COUNT] = position;
}

static bool is_own(const struct watch_own *own, const struct watch_event *event)
{
	for (size_t i = 0; own != NULL && event->position != 0 && i < WATCH_OWN_COUNT; i++) {
		if (own->positions[i] == event->position)
			return true;
	}
	return false;
}

static void news_add(struct watch_news *news, struct arena *arena, const struct watch_event *event)
{
	for (size_t i = 0; i < news->count; i++) {
		if (is_same(&news->events[i], event)) {
			event_unite(&news->events[i], event);
			return;
		}
	}
	news->events[news->count] = *event;
	news->events[news->count].name = arena_copy(arena, event->name);
	news->events[news->count++].value = arena_copy(arena, event->value);
}

struct watch *watch_next(struct watch_set *set, struct arena *arena, const struct watch_own *own,
	struct watch_news *news_r)
{
	struct watch_news news = { 0 };
	struct waiting *waiting = NULL;
	struct watch *watch;
	size_t count = 0;

	pthread_mutex_lock(&set->watchers->lock);
	watch = set->ready;
	if (watch == NULL) {
		set->is_woken = false;
	} else {
		ready_remove(watch);
		waiting = watch->first;
		count = watch->waiting_count;
		news.is_overflow = watch->is_overflow;
		watch->first = NULL;
		watch->last = &watch->first;
		watch->waiting_count = 0;
		watch->is_overflow = false;
	}
	pthread_mutex_unlock(&set->watchers->lock);
	news.events = arena_alloc(arena, (count + 1) * sizeof(*news.events));
	for (struct waiting *one = waiting; one != NULL; one = one->next) {
		if (!is_own(own, &one->event))
			news_add(&news, arena, &one->event);
	}
	waiting_free(waiting);
	*news_r = news;
	return watch;
}

uint32_t watch_account(const struct watch *watch)
{
	return watch->account;
}
