/*
 * imap_extra: what an IMAP server tells besides messages, where it offers the extension and lets us
 * see it: rights (ACL, RFC 4314), metadata (METADATA, RFC 5464), limits (QUOTA, RFC 9208). What it
 * refuses is not told. Errors: those of imap_link.h, ERR_REFUSED apart.
 */
#ifndef CHAPAR_FOREIGN_IMAP_EXTRA_H
#define CHAPAR_FOREIGN_IMAP_EXTRA_H

#include "foreign/imap_link.h"
#include "foreign/source.h"

/* Of a mailbox: `place` is its name there, `owner` the user's. */
int imap_extra_of_mailbox(struct imap_link *link, struct bytes place, struct bytes owner,
	struct arena *arena, struct source_extras *extras_r, struct error *error);
/* Of the account: the limits of the first root of INBOX. */
int imap_extra_of_account(struct imap_link *link, struct arena *arena,
	struct source_extras *extras_r, struct error *error);

#endif
