/*
 * forget: taking things out of this copy of an account as if they had never come here. No tombstone
 * remains, so no peer hears of it, and what is forgotten may come again as it was. For copies of
 * what another server lets a user see (sync/foreign.h), when it lets him see it no more; clients
 * see the messages vanish.
 */
#ifndef CHAPAR_MAIL_FORGET_H
#define CHAPAR_MAIL_FORGET_H

#include "mail/mail.h"

#define FORGET_STEP_COUNT 500u /* messages forgotten in one commit */

/* Those that are not here are passed over. In steps. */
int message_forget(struct mail *mail, uint32_t account, const struct stamp *instances, size_t count,
	struct error *error);
/*
 * The same; but of those that the writer of this copy has flagged, that is still known, as of
 * messages that are shown nowhere: where one is shown again by a merge, its flags are joined. What
 * is not shown then is to be forgotten.
 */
int message_withdraw(struct mail *mail, uint32_t account, const struct stamp *instances,
	size_t count, struct error *error);
/* What is set of a mailbox under a key (annotation.h). */
int metadata_forget(struct mail *mail, uint32_t account, struct id128 mailbox, struct bytes key,
	struct error *error);
/* One, inside a commit. */
int message_forget_in(struct account_write *write, struct stamp instance);
/*
 * With all that it shows, of which flags are kept as message_withdraw() does, its rights and
 * metadata; one that is not here is passed over. INBOX is afterwards as account_create() makes it.
 * In steps. ERR_CHANGED: a message was appended here after the account's sequence `until`, of which
 * nobody else may know yet.
 */
int mailbox_forget(struct mail *mail, uint32_t account, struct id128 mailbox, uint64_t until,
	struct error *error);

#endif
