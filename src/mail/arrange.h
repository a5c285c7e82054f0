/*
 * arrange: mailboxes made, renamed and deleted inside a commit that looks itself whether that may
 * be; by their ids, for another may have got the name since somebody looked before.
 */
#ifndef CHAPAR_MAIL_ARRANGE_H
#define CHAPAR_MAIL_ARRANGE_H

#include "mail/mail.h"

/* As mailbox_create(), with the id *id: one that was made elsewhere already, in a copy that had to
 * tell of it first. If the account has or had another of that id it is a fresh one, stored there.
 * ERR_EXISTS, without its text. */
int mailbox_create_in(struct account_write *write, struct bytes name, struct id128 *id);

/* As mailbox_rename(), of a live mailbox as it is in this commit; not for INBOX. */
int mailbox_rename_in(struct account_write *write, const struct mailbox_record *mailbox,
	struct bytes to, struct error *error);

/*
 * As mailbox_delete(), which works in steps, each a commit; not for INBOX. All steps are one act,
 * of the first one's stamp: so it can be undone as one.
 */
struct mailbox_deletion {
	struct id128 id;
	/* If there is one: asked of each message before it is expunged. A negative return ends the
	 * step, and is returned by it. */
	int (*check)(void *context, const struct message_record *message);
	void *context;
	struct stamp act; /* zeroed before the first step */
	bool is_done;     /* the mailbox is deleted */
};
/* ERR_NOT_FOUND: there never was one of that id. */
int mailbox_delete_step(struct account_write *write, struct mailbox_deletion *deletion);

#endif
