/*
 * withheld: messages that a peer has not got because their bytes cannot be read here.
 *
 * A message is never shown without its body (P1), and one damaged body must not keep the rest of an
 * account from being exchanged. So a message whose body a peer needs, and which turns out to be
 * damaged or lost here, is withheld from that peer: a row of the store names both, and until that
 * is gone the message is in no change, digest or comparison towards that peer (view.h). All else of
 * the account is exchanged, and the copies have a common point, as if the message were not here.
 *
 * It ends in one of these ways:
 * (1) The peer shows the message: it came there from another copy. The row goes with the commit
 *     that takes in what the peer tells.
 * (2) The body can be read again. The message gets a new UID here, for the peer may have shown
 *     others above its present one (P3), and counts as placed anew, for it was part of no common
 *     point: so it is told as one that is new, and nobody can take it for deleted.
 * (3) The message is not shown any more. The row means nothing then.
 *
 * Peers that got the message before it was damaged have no row: with them all goes on as ever.
 */
#ifndef CHAPAR_SYNC_WITHHELD_H
#define CHAPAR_SYNC_WITHHELD_H

#include "mail/mail.h"
#include "sync/changes.h"

#include "base/error.h"

#define WITHHELD_COUNT_MAX 10000u /* messages of an account, each as often as there are peers */

struct withheld {
	struct stamp instance;
	struct id128 mailbox; /* where it is shown */
	uint32_t uid;
	struct digest term;
};

/* Those of the account's shown messages that are withheld from the peer. *list_r is the caller's
 * to free. */
int withheld_load(struct kv_txn *kv, uint32_t account, uint64_t peer, struct withheld **list_r,
	size_t *count_r);
/*
 * They are, from now on. Durable when it returns. `common`: our sequence at the last common point
 * with the peer. With nothing noted, ERR_CORRUPT: one of them came before that, so the peer has it
 * (to withhold it would look like a deletion); ERR_TOO_LARGE: more than WITHHELD_COUNT_MAX.
 */
int withheld_note(struct mail *mail, uint32_t account, uint64_t peer, uint64_t common,
	const struct stamp *instances, size_t count, struct error *error);
/* Within a commit: ends it for those that the peer shows. */
int withheld_drop(struct account_write *write, uint64_t peer, const struct change_set *theirs);
/*
 * Ends it for those messages of the account whose bodies can be read again, towards all peers.
 * *count_r: how many there were. Costs nothing where nothing is withheld.
 */
int withheld_release(struct mail *mail, uint32_t account, size_t *count_r, struct error *error);

/* For people: one message that is withheld. */
struct withheld_report {
	uint32_t account;
	uint64_t peer;
	struct stamp instance;
	struct guid guid;
	struct bytes mailbox_name; /* borrowed from the arena */
	uint32_t uid;
};
typedef int withheld_function(void *context, const struct withheld_report *report);
/* All of the store, of shown messages, until the callback returns other than 0, which it returns.
 */
int withheld_each(
	struct kv_txn *kv, struct arena *arena, withheld_function *function, void *context);

#endif
