/*
 * imap_group: commands that a client sends without waiting for answers share one sync of the log.
 *
 * The commits of such a command need not be on disk when it ends; its answer, and those of the
 * commands after it, are kept back until they are (store_group_begin()). So an OK still means that
 * it is done for good, and no other session sees anything before. Only this session's commands read
 * what is not on disk yet.
 */
#ifndef CHAPAR_IMAP_IMAP_GROUP_H
#define CHAPAR_IMAP_IMAP_GROUP_H

#include "imap/imap_session.h"

#define IMAP_GROUP_MESSAGE_COUNT_MAX                                                               \
	64 /* a command about more leaves the group, lest others wait */
#define IMAP_GROUP_REQUEST_SIZE_MAX ((size_t)256 * 1024) /* bytes, likewise */
#define IMAP_GROUP_LOST_TEXT "[UNAVAILABLE] What was pipelined could not be stored"

/*
 * For a command that is short and writes: it need not wait for the disk, if the client has sent
 * something behind it. Negative if what went before could not be stored: as imap_group_leave().
 */
int imap_group_join(struct imap_session *session);
/*
 * Waits until all that was done is on disk, and lets the answers out. Negative: it could not be
 * stored; the answers are dropped, and the session must end with IMAP_GROUP_LOST_TEXT.
 */
int imap_group_leave(struct imap_session *session);

#endif
