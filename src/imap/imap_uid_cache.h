/*
 * imap_uid_cache: the UIDs of mailboxes as some session knew them last, and what SELECT tells of
 * their first messages, so that to select one again costs what changed since and not what is in it.
 *
 * Kept in memory only, and bounded: of mailboxes that fall into one slot the one selected last
 * stays, and others go when all take over IMAP_UID_CACHE_SIZE_MAX. What is kept is only where to
 * begin: whoever takes it goes on with the changes after its modseq. Any thread.
 */
#ifndef CHAPAR_IMAP_UID_CACHE_H
#define CHAPAR_IMAP_UID_CACHE_H

#include "imap/imap_view.h"

#define IMAP_UID_CACHE_SLOT_COUNT 4096u
#define IMAP_UID_CACHE_SIZE_MAX (8u * 1024 * 1024) /* bytes of all that is kept */

struct imap_uid_cache;

struct imap_uid_cache *imap_uid_cache_new(void);
/* Sets *cache to NULL. A NULL *cache is allowed. */
void imap_uid_cache_free(struct imap_uid_cache **cache);

/*
 * Gives an empty view the UIDs that are kept of its mailbox and their modseq, for
 * imap_view_renew(); where nothing changed since, its keywords and what else SELECT looked for,
 * too. False: none are, or they are later than `modseq_max`, which the reader's snapshot shows.
 */
bool imap_uid_cache_take(struct imap_uid_cache *cache, struct imap_view *view, uint64_t modseq_max);
/* Keeps what the view shows, which is all of the mailbox up to its modseq unless something vanished
 * of which the client was not told: then nothing is kept, as when that much is known already. */
void imap_uid_cache_put(struct imap_uid_cache *cache, const struct imap_view *view);

#endif
