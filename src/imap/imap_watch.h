/*
 * imap_watch: what a session is woken for: changes of its selected mailbox during IDLE, or as
 * NOTIFY asked for it, and of metadata after ENABLE METADATA. Other sessions watch nothing.
 */
#ifndef CHAPAR_IMAP_WATCH_H
#define CHAPAR_IMAP_WATCH_H

#include "imap/imap_session.h"

/* Watches what the session's present state asks for; after each command. */
void imap_watch_adjust(struct imap_session *session);
/* The session's set of watches, made if there is none. */
struct watch_set *imap_watch_set(struct imap_session *session);
void imap_watch_end(struct imap_session *session);

#endif
