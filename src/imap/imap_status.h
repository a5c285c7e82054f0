/* imap_status: STATUS data items (RFC 3501, 7162, 8438, 8474, 7889, 9051), for STATUS and
 * LIST-STATUS. */
#ifndef CHAPAR_IMAP_STATUS_H
#define CHAPAR_IMAP_STATUS_H

#include "imap/imap_target.h"

/* A parenthesised list of items, as a set of bits. */
int imap_parse_status_items(struct imap_parser *args, unsigned *items_r);
/* Whether the items contain HIGHESTMODSEQ, by which a client enables CONDSTORE. */
bool imap_status_has_modseq(unsigned items);
/* What NOTIFY tells of a mailbox (RFC 5465, section 5); `with_modseq`: whether or not CONDSTORE was
 * enabled. */
unsigned imap_status_brief(const struct imap_session *session, bool with_modseq);
/* Before HIGHESTMODSEQ is told: see mail/seen.h, (3). */
int imap_status_settle(struct imap_session *session, const struct imap_target *target);
/* Sends the STATUS response; `name` is the client's for it. */
int imap_put_status(struct imap_session *session, struct kv_txn *kv, struct bytes name,
	const struct imap_target *target, unsigned items);

#endif
