/*
 * copying: COPY of many messages in several commits, and nevertheless all or nothing (RFC 3501,
 * section 6.4.7).
 *
 * Each step but the last leaves a note, in the same commit, of the UIDs that it gave; the last
 * drops the notes. What is noted is expunged when a later step fails, and when it was another
 * process that noted it, which ended in between. As a UID never means two messages (P2), that finds
 * the copies, or nothing.
 */
#ifndef CHAPAR_MAIL_COPYING_H
#define CHAPAR_MAIL_COPYING_H

#include "mail/mail_private.h"

struct copying {
	uint32_t account; /* of the copies */
	uint64_t id;      /* unique in that account; 0: nothing was noted */
	uint64_t run;     /* mail_run_id() */
};

/* In a step that is not the last: its copies are those UIDs. */
int copying_note(struct copying *copying, struct account_write *target, struct id128 mailbox,
	uint32_t first, uint32_t last);
/* In the last. */
int copying_end(const struct copying *copying, struct account_write *target);
/* After a failure. What it cannot undo is left for the next start. */
void copying_undo(const struct copying *copying, struct mail *mail, uint64_t *position_r);

#endif
