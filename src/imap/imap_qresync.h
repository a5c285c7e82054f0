/*
 * imap_qresync: what vanished and changed since a modseq (RFC 7162, 3.2).
 *
 * Of UIDs that vanished all are told that the mailbox still remembers with a later modseq. What it
 * remembers it never forgets, so the client's sequence match data (a help for servers that do) are
 * read and not used.
 */
#ifndef CHAPAR_IMAP_QRESYNC_H
#define CHAPAR_IMAP_QRESYNC_H

#include "imap/imap_sequence.h"
#include "imap/imap_session.h"

struct imap_qresync {
	uint32_t uidvalidity;
	uint64_t modseq;
	bool has_known;
	bool has_numbers;
	/* message sequence match data were given; they are not needed */ /* only these UIDs
									     are of interest
									   */
	struct uid_set known;
};

/* "(67890007 20050715194045000 41,43:211 (1,2 100,105))" after "QRESYNC ". */
int imap_parse_qresync(struct imap_parser *args, struct imap_qresync *qresync_r);
void imap_qresync_deinit(struct imap_qresync *qresync);

/*
 * Looks for what happened after `modseq` to UIDs of the set (to all, if NULL): adds those that
 * changed to *changed; `tells`: sends VANISHED (EARLIER) for those that vanished.
 */
int imap_find_earlier(struct imap_session *session, struct kv_txn *kv, uint64_t modseq,
	const struct uid_set *known, bool tells, struct uid_set *changed);

#endif
