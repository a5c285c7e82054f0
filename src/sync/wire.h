/*
 * wire: records, stamps, ids and sets of changes as dlists (docs/protocol.md).
 *
 * Readers judge the form only: lengths, numbers, order and uniqueness of flags, that UID and
 * mailbox come together. Whether a change is legal is for merge_check_*() and account_put_*(). What
 * they return borrows from the dlist (so from the input) and `arena`. Errors: ERR_INVALID,
 * ERR_TOO_LARGE, with the reason.
 */
#ifndef CHAPAR_SYNC_WIRE_H
#define CHAPAR_SYNC_WIRE_H

#include "sync/changes.h"
#include "sync/dlist.h"

/* ---- single values, as `KEY value` in a map ---- */
void wire_put_stamp(struct dlist_writer *writer, struct stamp stamp); /* modseq "." node, no key */
void wire_put_stamp_of(struct dlist_writer *writer, const char *key, struct stamp stamp);
void wire_put_id_of(struct dlist_writer *writer, const char *key, struct id128 id);
void wire_put_digest(struct dlist_writer *writer, struct digest digest); /* no key */
void wire_put_digest_of(struct dlist_writer *writer, const char *key, struct digest digest);
void wire_put_node_of(struct dlist_writer *writer, const char *key, uint64_t node);

int wire_stamp(const struct dlist *value, struct stamp *stamp_r);
int wire_id(const struct dlist *value, struct id128 *id_r);
int wire_guid(const struct dlist *value, struct guid *guid_r);
int wire_digest(const struct dlist *value, struct digest *digest_r);

/* ERR_NOT_FOUND if the key is missing. */
int wire_get_id(const struct dlist *map, const char *key, struct id128 *id_r);
int wire_get_digest(const struct dlist *map, const char *key, struct digest *digest_r);
int wire_get_node(const struct dlist *map, const char *key, uint64_t *node_r);

/* ---- records ---- */
void wire_put_mailbox(struct dlist_writer *writer, const struct mailbox_record *mailbox);
void wire_put_message(struct dlist_writer *writer, const struct message_change *change);
void wire_put_register(struct dlist_writer *writer, const struct register_record *record);

int wire_mailbox(const struct dlist *map, struct mailbox_record *mailbox_r, struct error *error);
int wire_message(const struct dlist *map, struct arena *arena, struct message_change *change_r,
	struct error *error);
int wire_register(const struct dlist *map, struct register_record *record_r, struct error *error);

/* What KIND calls it; "" for kinds that are no registers. */
const char *wire_kind_name(enum record_kind kind);

/* FORGOT, if it is so, and those of MAILBOXES, MESSAGES and REGISTERS that have members. */
void wire_put_changes(struct dlist_writer *writer, const struct change_set *changes);
/* Adds what those keys hold to *changes. */
int wire_get_changes(const struct dlist *map, struct arena *arena, struct change_set *changes,
	struct error *error);

/* ---- messages of the protocol ---- */

/*
 * Parses `VERB %(...)`. *verb_r and *map_r borrow from `text` and `arena`. The map is empty if
 * there is none.
 */
int wire_parse(struct bytes text, struct arena *arena, struct bytes *verb_r,
	const struct dlist **map_r, struct error *error);
/* The same with a smaller limit to the number of values. */
int wire_parse_at_most(struct bytes text, struct arena *arena, size_t value_count_max,
	struct bytes *verb_r, const struct dlist **map_r, struct error *error);
/* Begins `VERB %(`; end it with dlist_end_map(). */
struct dlist_writer wire_begin(struct buffer *out, enum dlist_side side, const char *verb);

/* A whole answer ERROR %(CODE name TEXT text [AWAY node]); `away`: the node that the account was
 * moved to; 0: it was not. */
void wire_put_error(struct buffer *answer, int code, const char *text, uint64_t away);
/* The code that an ERROR answer tells; its text goes to *error, as the peer's words. */
int wire_error(const struct dlist *map, struct error *error);

/*
 * wire_parse() of an answer. What an ERROR tells is the error, as of wire_error(), and then, too,
 * *verb_r and *map_r are what came.
 */
int wire_answer(struct bytes text, struct arena *arena, struct bytes *verb_r,
	const struct dlist **map_r, struct error *error);
/* The same of an answer to `asked` that can have one verb only. */
int wire_answer_as(struct bytes text, const char *asked, const char *verb, struct arena *arena,
	const struct dlist **map_r, struct error *error);
/* Returns ERR_INVALID: what came is no answer to `asked`. */
int wire_unanswered(const char *asked, struct error *error);

#endif
