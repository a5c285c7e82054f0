/* imap_acl: the responses of the ACL extension (RFC 4314) that other commands send too. */
#ifndef CHAPAR_IMAP_ACL_H
#define CHAPAR_IMAP_ACL_H

#include "imap/imap_session.h"

/* "* MYRIGHTS INBOX lrs" */
void imap_put_my_rights(struct imap_session *session, struct bytes mailbox, unsigned rights);

#endif
