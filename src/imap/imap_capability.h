/* imap_capability: what the server announces, by state (RFC 3501, 6.1.1). */
#ifndef CHAPAR_IMAP_CAPABILITY_H
#define CHAPAR_IMAP_CAPABILITY_H

#include "imap/imap_session.h"

/* Appends the list to session->out: "IMAP4rev1 LITERAL+ ...". */
void imap_put_capabilities(struct imap_session *session);

#endif
