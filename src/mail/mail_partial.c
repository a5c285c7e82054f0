/* Accounts whose changes a peer sends in parts just now; few at a time. */
#include "mail/mail_private.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>

struct partial {
	uint32_t account;
	uint64_t until_ms; /* by the monotonic clock */
};

struct mail_partials {
	pthread_mutex_t lock;
	struct partial *list;
	size_t count, room;
};

struct mail_partials *mail_partials_new(void)
{
	struct mail_partials *partials = mem_zalloc(sizeof(*partials));

	pthread_mutex_init(&partials->lock, NULL);
	return partials;
}

void mail_partials_free(struct mail_partials **partials)
{
	pthread_mutex_destroy(&(*partials)->lock);
	free((*partials)->list);
	free(*partials);
	*partials = NULL;
}

/* With the lock: forgets this account, if it is not 0, and those that nothing was heard of. */
static void drop(struct mail_partials *partials, uint32_t account)
{
	uint64_t now_ms = clock_monotonic_ms();
	size_t kept = 0;

	for (size_t i = 0; i < partials->count; i++)
		if (partials->list[i].account != account && partials->list[i].until_ms > now_ms)
			partials->list[kept++] = partials->list[i];
	partials->count = kept;
}

void mail_partial_note(struct mail *mail, uint32_t account)
{
	struct mail_partials *partials = mail_partials(mail);
	struct partial partial = { account, clock_monotonic_ms() + MAIL_PARTIAL_MS_MAX };

	pthread_mutex_lock(&partials->lock);
	drop(partials, account);
	mem_grow((void **)&partials->list, &partials->room, partials->count + 1,
		sizeof(*partials->list));
	partials->list[partials->count++] = partial;
	pthread_mutex_unlock(&partials->lock);
}

void mail_partial_end(struct mail *mail, uint32_t account)
{
	struct mail_partials *partials = mail_partials(mail);

	pthread_mutex_lock(&partials->lock);
	drop(partials, account);
	pthread_mutex_unlock(&partials->lock);
}

bool mail_is_partial(struct mail *mail, uint32_t account)
{
	struct mail_partials *partials = mail_partials(mail);
	bool is_partial = false;

	pthread_mutex_lock(&partials->lock);
	drop(partials, 0);
	for (size_t i = 0; i < partials->count; i++)
		is_partial = is_partial || partials->list[i].account == account;
	pthread_mutex_unlock(&partials->lock);
	return is_partial;
}
