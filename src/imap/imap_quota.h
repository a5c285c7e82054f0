/* imap_quota: telling clients of quotas (RFC 9208). */
#ifndef CHAPAR_IMAP_QUOTA_H
#define CHAPAR_IMAP_QUOTA_H

#include "imap/imap_session.h"

/*
 * "* NO [OVERQUOTA] ..." if so much of the account's quota is used that the options ask for a
 * warning (RFC 9208, section 4.3.1).
 */
void imap_quota_warn(struct imap_session *session, struct kv_txn *kv, uint32_t account);

#endif
