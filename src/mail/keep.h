/*
 * keep: a message that was appended here to another user's mailbox, where its owner's node does not
 * take it: it moves into a mailbox of the one who appended it. For clones (sync/foreign.h).
 */
#ifndef CHAPAR_MAIL_KEEP_H
#define CHAPAR_MAIL_KEEP_H

#include "mail/mail.h"

struct kept_message {
	uint32_t own;          /* the account that it moves to, which holds his \Seen, too */
	uint32_t from;         /* the one that it was appended to, where it is forgotten */
	struct stamp instance; /* there */
	struct bytes name;     /* of the mailbox, which is made if there is none */
};

/* Runs in the same commit, in his own account. */
typedef int keep_function(
	void *context, struct account_write *own, const struct message_record *kept);

/* One commit. Nothing happens to one that is shown no more. ERR_OVERQUOTA, ERR_REPLICA and others
 * of mail_commit(). */
int message_keep(struct mail *mail, const struct kept_message *message, keep_function *also,
	void *context, struct error *error);

#endif
