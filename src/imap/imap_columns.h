/*
 * imap_columns: of the messages of a mailbox one property each, side by side in memory, by which a
 * search passes over messages that surely do not match: their system flags, or one header field as
 * searches compare it.
 *
 * Invariants:
 * (1) A column says of a message what it was at the column's modseq or later. Header fields never
 *     change (P2); who asks for flags looks again at what changed since.
 * (2) A message that a column does not have may match.
 * So a column that is old, or has only some of the messages, costs time and is never wrong.
 *
 * A column is filled by the first search that has to read all that; it is kept in memory only. What
 * is kept is bounded: those that were kept first go when all are over the limit. Of two that fall
 * into one slot the later stays. Once it is kept a column is never changed, so that it is read
 * without a lock. The cache may be used by any thread.
 */
#ifndef CHAPAR_IMAP_COLUMNS_H
#define CHAPAR_IMAP_COLUMNS_H

#include "imap/imap_view.h"

#include "mail/mime_text.h"

#define IMAP_COLUMN_NAME_SIZE_MAX 64 /* bytes of a field's name; longer ones have no column */

struct imap_columns; /* the cache */
struct imap_column;

/* `size_max`: bytes of all columns. */
struct imap_columns *imap_columns_new(size_t size_max);
/* Sets *columns to NULL. A NULL *columns is allowed. */
void imap_columns_free(struct imap_columns **columns);

/*
 * The column of the view's mailbox for the field, or of flags if the name is empty; NULL if none is
 * kept. To be released.
 */
struct imap_column *imap_columns_take(
	struct imap_columns *columns, const struct imap_view *view, struct bytes name);
/* Keeps a column that is filled. Takes it over and sets *column to NULL. */
void imap_columns_keep(struct imap_columns *columns, struct imap_column **column);

/* An empty one, for what the view's mailbox has from `modseq` on. NULL: the name is too long. */
struct imap_column *imap_column_new(const struct imap_columns *columns,
	const struct imap_view *view, struct bytes name, uint64_t modseq);
/* Sets *column to NULL. A NULL *column is allowed. */
void imap_column_release(struct imap_column **column);

/* Fill it, in order of UIDs. What is too much for the cache is left out. */
void imap_column_add_flags(struct imap_column *column, const struct message_record *message);
/*
 * `message`: what mime_search_header() would be given. False if the field surely does not have the
 * needle, which may be NULL: it may.
 */
bool imap_column_add_field(struct imap_column *column, uint32_t uid, struct bytes message,
	const struct mime_needle *needle);

/* The same with what mime_search_fold() made of the field. */
bool imap_column_add_folded(struct imap_column *column, uint32_t uid, struct bytes folded,
	const struct mime_needle *needle);

uint64_t imap_column_modseq(const struct imap_column *column);
size_t imap_column_count(const struct imap_column *column);
/* The UIDs that it has, ascending. */
const uint32_t *imap_column_uids(const struct imap_column *column);

/* Whether there is a column of flags that tells of this one. */
bool imap_column_has_flag(struct bytes flag);
/* Sets may[i] where message i has the flag or, if not `is_set`, has it not. */
void imap_column_find_flag(
	const struct imap_column *column, struct bytes flag, bool is_set, bool *may);
/* Sets may[i] where the field of message i may have the needle, which is not empty. */
void imap_column_find_text(
	const struct imap_column *column, const struct mime_needle *needle, bool *may);

#endif
