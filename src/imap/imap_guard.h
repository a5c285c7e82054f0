/*
 * imap_guard: slows guessing of one account's password from many addresses (net_penalty slows each
 * address by itself).
 *
 * After GUARD_FREE_COUNT failures with a name, the answers to all further tries with it come one
 * after the other, in time slots that grow with the failures and shrink again with time. Whoever
 * has logged in under the name from his address before is left out of this, so the owner is not
 * locked out where he usually is; elsewhere he waits in the same queue. When the queue is full,
 * tries are answered without telling whether they were right.
 *
 * Two tables of fixed size: of names, and of (name, address) that are known. What meets in one
 * place displaces what was there. Names that do not exist are treated like others. Any thread.
 */
#ifndef CHAPAR_IMAP_IMAP_GUARD_H
#define CHAPAR_IMAP_IMAP_GUARD_H

#include "base/bytes.h"

#include <stdint.h>

#define GUARD_FREE_COUNT 4     /* failures without consequence */
#define GUARD_SLOT_MIN_MS 500  /* doubles with each further failure ... */
#define GUARD_SLOT_MAX_MS 4000 /* ... up to this */
#define GUARD_QUEUE_MS 16000   /* the longest that an answer waits for its slot */
#define GUARD_HALF_LIFE_MS                                                                         \
	120000 /* after so long without a failure, half of them are forgotten                      \
		*/

struct imap_guard;

struct imap_guard *imap_guard_new(void);
/* Sets *guard to NULL. A NULL *guard is allowed. */
void imap_guard_free(struct imap_guard **guard);

/*
 * A password for `name` was tried from `address`: stores in *wait_ms_r how long the answer must
 * wait (0: not at all) and takes the slot. ERR_UNAVAILABLE: the queue is full. `now_ms` is
 * monotonic.
 */
int imap_guard_wait(struct imap_guard *guard, struct bytes name, const char *address,
	uint64_t now_ms, unsigned *wait_ms_r);
void imap_guard_failed(struct imap_guard *guard, struct bytes name, uint64_t now_ms);
void imap_guard_passed(struct imap_guard *guard, struct bytes name, const char *address);

#endif
