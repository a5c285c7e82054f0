/* imap_store: the parts of STORE, which sets flags or annotations. */
#ifndef CHAPAR_IMAP_STORE_H
#define CHAPAR_IMAP_STORE_H

#include "imap/imap_annotation.h"

/* cmd_annotate.c: STORE ANNOTATION from when it is read. */
enum net_result imap_store_annotations(struct imap_session *session, const struct uid_set *uids,
	const struct annotation *changes, size_t count, uint64_t unchanged_since);
/* cmd_store.c: the tagged response, with MODIFIED if need be (RFC 7162, 3.1.3). */
enum net_result imap_store_done(struct imap_session *session, const struct uid_set *modified);

#endif
