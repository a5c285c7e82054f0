/*
 * imap_narrow: leaves out of what a search looks at the messages that columns (imap_columns.h) say
 * do not match, and has the columns that are missing filled by the search.
 */
#ifndef CHAPAR_IMAP_NARROW_H
#define CHAPAR_IMAP_NARROW_H

#include "imap/imap_columns.h"
#include "imap/imap_search.h"

/*
 * Takes messages out of *scope that cannot match; what is left still has to be looked at. The keys
 * of the search that have a column to fill have it in `column` afterwards: imap_narrow_end() takes
 * them. Costs some nanoseconds a message, and what changed since the columns were filled.
 */
int imap_narrow(struct imap_search *search, struct uid_set *scope, bool is_whole);
/* Notes what the columns that are being filled have of the record. */
void imap_narrow_note(struct imap_search *search, const struct message_record *message);
/* After the last message the columns are kept; before that they are given up. */
void imap_narrow_end(struct imap_search *search, bool is_done);

/*
 * What a FETCH that goes through all of a mailbox notes for the searches to come, as it has read it
 * anyway: flags and, if it tells of them, subjects; each unless a column has them.
 */
struct imap_noting { /* zeroed at first */
	struct imap_column *flags;
	struct imap_column *subjects;
};
/* `kv`: the snapshot with the first messages. */
void imap_noting_begin(struct imap_noting *noting, const struct imap_session *session,
	struct kv_txn *kv, bool with_subjects);
/* Keeps what was noted if all of it was; else forgets it. */
void imap_noting_end(struct imap_noting *noting, const struct imap_session *session, bool is_done);

#endif
