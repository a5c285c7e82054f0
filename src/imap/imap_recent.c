#include "imap/imap_recent.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>

#define SLOT_COUNT                                                                                 \
	(2u * IMAP_RECENT_MAILBOX_MAX) /* a power of two: open addressing stays short              \
					*/

struct slot {
	struct id128 mailbox; /* none: free */
	uint32_t uidnext;     /* the first UID that nobody was told of */
};

struct imap_recent {
	pthread_mutex_t lock;
	struct slot *slots; /* NULL until first used */
	size_t count;
};

struct imap_recent *imap_recent_new(void)
{
	struct imap_recent *recent = mem_zalloc(sizeof(*recent));

	pthread_mutex_init(&recent->lock, NULL);
	return recent;
}

void imap_recent_free(struct imap_recent **recent)
{
	if (*recent == NULL)
		return;
	pthread_mutex_destroy(&(*recent)->lock);
	free((*recent)->slots);
	free(*recent);
	*recent = NULL;
}

/* The mailbox's slot, or the free one where it belongs. */
static struct slot *slot_find(struct imap_recent *recent, struct id128 mailbox)
{
	size_t at = (size_t)hash64(bytes_of(&mailbox, sizeof(mailbox)), 0);

	for (;; at++) {
		struct slot *slot = &recent->slots[at % SLOT_COUNT];

		if (id128_is_none(slot->mailbox) || id128_equal(slot->mailbox, mailbox))
			return slot;
	}
}

uint32_t imap_recent_first(
	struct imap_recent *recent, struct id128 mailbox, uint32_t uidnext, bool claim)
{
	uint32_t first = uidnext;
	struct slot *slot;

	pthread_mutex_lock(&recent->lock);
	if (recent->slots == NULL)
		recent->slots = mem_zalloc_array(SLOT_COUNT, sizeof(*recent->slots));
	if (recent->count == IMAP_RECENT_MAILBOX_MAX) {
		memset(recent->slots, 0, SLOT_COUNT * sizeof(*recent->slots));
		recent->count = 0;
	}
	slot = slot_find(recent, mailbox);
	if (id128_is_none(slot->mailbox)) {
		*slot = (struct slot){ mailbox, uidnext };
		recent->count++;
	}
	if (slot->uidnext < first)
		first = slot->uidnext;
	if (claim && slot->uidnext < uidnext)
		slot->uidnext = uidnext;
	pthread_mutex_unlock(&recent->lock);
	return first;
}
