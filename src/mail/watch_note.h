/*
 * watch_note: how a write tells the watches of what it did: as notes that go with the commit
 * (feed_note()) and reach them when it becomes visible. For this folder only.
 */
#ifndef CHAPAR_MAIL_WATCH_NOTE_H
#define CHAPAR_MAIL_WATCH_NOTE_H

#include "mail/watch.h"
#include "store/store.h"

/* An event of no kind stands for more than any watch keeps: an overflow. */
void watch_note_encode(struct buffer *out, const struct watch_event *event);
/* Borrows from `in`. ERR_CORRUPT. */
int watch_note_decode(struct bytes in, struct watch_event *event_r);
void watch_note_put(struct store_write *write, uint32_t account, const struct watch_event *event);

struct watchers;
struct watchers *watchers_new(void);
/* No set may be left. Sets *watchers to NULL; a NULL *watchers is allowed. */
void watchers_free(struct watchers **watchers);
/* Passes on what became visible. On the committer's thread. */
void watchers_tell(struct watchers *watchers, const struct feed_news *news, size_t count);
/* mail.c */
struct watchers *mail_watchers(struct mail *mail);

/* Of enum watch_change: what differs between a shown message's flags before and now. */
unsigned watch_note_flag_changes(
	const struct message_record *before, const struct message_record *after);

#endif
