/*
 * imap_update: telling the client what changed in the selected mailbox: VANISHED or EXPUNGE,
 * EXISTS, RECENT, then FETCH with flags. At the end of each command, and during IDLE.
 *
 * Rules kept here: no EXPUNGE while a command with message numbers runs (RFC 3501, 7.4.1); a
 * HIGHESTMODSEQ or tagged response comes after all that it covers; what the client did himself with
 * .SILENT is not told again, unless someone else changed the message too (RFC 7162, 3.1.3).
 */
#ifndef CHAPAR_IMAP_UPDATE_H
#define CHAPAR_IMAP_UPDATE_H

#include "imap/imap_session.h"

/* Tells all that may be told, then sends session->ending (nothing if it is empty). */
enum net_result imap_update_begin(struct imap_session *session);

/* Whether unasked FETCH responses name the UID (RFC 7162, 3.2.4, and RFC 5465, 5.1). */
bool imap_tells_uid(const struct imap_session *session);
/* What a CONDSTORE enabling command does (RFC 7162, 3.1); the first one tells HIGHESTMODSEQ of the
 * selected mailbox. */
void imap_enable_condstore(struct imap_session *session);
/* Brings a view up to date, in a snapshot of its own. Errors of imap_view_gather(). */
int imap_update_gather(struct imap_session *session, struct imap_view *view);

/* "FLAGS (\Seen foo)". */
void imap_put_flags(struct imap_session *session, const struct message_record *message);
/* Sends FLAGS and PERMANENTFLAGS if the message has keywords that they did not name before. */
void imap_tell_keywords(struct imap_session *session, const struct message_record *message);
/* The FLAGS response and the code PERMANENTFLAGS. */
void imap_put_mailbox_flags(struct imap_session *session);

#endif
