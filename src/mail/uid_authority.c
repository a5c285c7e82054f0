#include "mail/uid_authority.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Two accounts may share a slot: then the one seen last takes it, which costs a conflict at most.
 */
#define SLOT_COUNT 4096u

struct slot {
	uint32_t account;
	uint64_t worker; /* the node that appended last ... */
	uint64_t work_ms;
	uint64_t other_ms; /* ... and when another one did before */
	uint64_t holder;   /* the node it is lent to ... */
	uint64_t lent_until_ms;
	uint64_t borrowed_until_ms;
};

struct uid_authority {
	pthread_mutex_t lock;
	struct slot slots[SLOT_COUNT];
};

struct uid_authority *uid_authority_new(void)
{
	struct uid_authority *authority = mem_zalloc(sizeof(*authority));

	pthread_mutex_init(&authority->lock, NULL);
	return authority;
}

void uid_authority_free(struct uid_authority **authority)
{
	if (*authority == NULL)
		return;
	pthread_mutex_destroy(&(*authority)->lock);
	free(*authority);
	*authority = NULL;
}

static struct slot *slot_of(struct uid_authority *authority, uint32_t account)
{
	struct slot *slot = &authority->slots[account % SLOT_COUNT];

	if (slot->account != account)
		*slot = (struct slot){ .account = account };
	return slot;
}

static void note(struct slot *slot, uint64_t node, uint64_t now_ms)
{
	if (slot->worker != node && slot->worker != 0)
		slot->other_ms = slot->work_ms;
	slot->worker = node;
	slot->work_ms = now_ms;
}

static bool is_lent(const struct slot *slot, uint64_t now_ms)
{
	return slot->holder != 0 && now_ms < slot->lent_until_ms + UID_AUTHORITY_GRACE_MS;
}

static bool is_recent(uint64_t then_ms, uint64_t now_ms)
{
	return then_ms != 0 && now_ms < then_ms + UID_AUTHORITY_IDLE_MS;
}

uint64_t uid_authority_claim(
	struct uid_authority *authority, uint32_t account, uint64_t own_node, uint64_t now_ms)
{
	uint64_t holder = 0;
	struct slot *slot;

	pthread_mutex_lock(&authority->lock);
	slot = slot_of(authority, account);
	if (is_lent(slot, now_ms))
		holder = slot->holder;
	else
		note(slot, own_node, now_ms);
	pthread_mutex_unlock(&authority->lock);
	return holder;
}

uint64_t uid_authority_lend(
	struct uid_authority *authority, uint32_t account, uint64_t node, uint64_t now_ms)
{
	uint64_t lent = 0;
	struct slot *slot;
	bool is_alone;

	pthread_mutex_lock(&authority->lock);
	slot = slot_of(authority, account);
	is_alone = !is_recent(slot->other_ms, now_ms) &&
		   (slot->worker == node || !is_recent(slot->work_ms, now_ms));
	note(slot, node, now_ms);
	if (is_lent(slot, now_ms) ? slot->holder == node : is_alone) {
		slot->holder = node;
		slot->lent_until_ms = now_ms + UID_AUTHORITY_LEASE_MS;
		lent = UID_AUTHORITY_LEASE_MS;
	}
	pthread_mutex_unlock(&authority->lock);
	return lent;
}

void uid_authority_borrow(struct uid_authority *authority, uint32_t account, uint64_t until_ms)
{
	pthread_mutex_lock(&authority->lock);
	slot_of(authority, account)->borrowed_until_ms = until_ms;
	pthread_mutex_unlock(&authority->lock);
}

bool uid_authority_is_borrowed(struct uid_authority *authority, uint32_t account, uint64_t now_ms)
{
	bool is_borrowed;

	pthread_mutex_lock(&authority->lock);
	is_borrowed = now_ms < slot_of(authority, account)->borrowed_until_ms;
	pthread_mutex_unlock(&authority->lock);
	return is_borrowed;
}
