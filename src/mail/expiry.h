/*
 * expiry: forgetting what has been gone for longer than the horizon: tombstones of messages with
 * the bodies kept for them, cleared registers, notes of vanished UIDs. Deleted mailboxes stay for
 * ever: their UIDVALIDITY and UIDs must never mean anything else (P2).
 *
 * Everything that goes is in one index by time, so forgetting costs what is forgotten, whatever
 * else there is; and it is done in steps, each a few short commits. Forgetting changes no digest
 * and is no news for peers; what it means when a copy returns that still knows is in
 * docs/replication.md.
 */
#ifndef CHAPAR_MAIL_EXPIRY_H
#define CHAPAR_MAIL_EXPIRY_H

#include "mail/mail.h"

#define EXPIRY_STEP_COUNT 200 /* what is forgotten in one step */

/* One step: forgets the oldest of what was gone by `before_ms` (ms since 1970, this node's clock).
 * 1: there may be more; 0: done; or an error. */
int mail_expire(struct mail *mail, uint64_t before_ms, struct error *error);

/* One step of expunging what a COPY left that was cut short when the process ended. Returns as
 * mail_expire(). */
int mail_undo_copies(struct mail *mail, struct error *error);

/*
 * One step of giving up bodies of messages that clients of this node expunged before `before_ms`,
 * while their tombstones stay. Goes on after the row whose key is in *after, which it moves on;
 * begin with an empty one. Returns as mail_expire().
 */
int mail_expire_local_bodies(
	struct mail *mail, uint64_t before_ms, struct buffer *after, struct error *error);

#endif
