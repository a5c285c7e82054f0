/* imap_select_set: from what a client writes to UIDs of the selected mailbox. */
#ifndef CHAPAR_IMAP_SELECT_SET_H
#define CHAPAR_IMAP_SELECT_SET_H

#include "imap/imap_sequence.h"
#include "imap/imap_session.h"

/*
 * Adds the UIDs named by the sequence, of messages that the client knows of. Message numbers that
 * are not there are ERR_INVALID (RFC 3501, section 9: seq-number); UIDs that are not there are
 * fine.
 */
int imap_select_uids(const struct imap_session *session, struct imap_sequence *sequence,
	bool is_uid, struct uid_set *uids);

/* The same for a search key: message numbers that are not there are left out. */
void imap_search_uids(const struct imap_view *view, struct imap_sequence *sequence, bool is_uid,
	struct uid_set *uids);

/* The message numbers of the UIDs, those that are there. */
void imap_set_to_numbers(
	const struct imap_view *view, const struct uid_set *uids, struct uid_set *numbers);
/* How many messages of the view are in the set. */
size_t imap_view_count_in(const struct imap_view *view, const struct uid_set *uids);

#endif
