/*
 * merge_private: the working state of one merge_integrate(), shared by its parts.
 *
 * Only what the change touches is in it: the records of both change sets, the mailboxes they name,
 * and the messages shown in mailboxes that this merge closes. All names of the account are read
 * only if a name can have come into conflict.
 */
#ifndef CHAPAR_SYNC_MERGE_PRIVATE_H
#define CHAPAR_SYNC_MERGE_PRIVATE_H

#include "sync/merge.h"

#include "base/map.h"

struct work_mailbox {
	struct mailbox_record joined;        /* as it will be */
	struct mailbox_record mine;          /* valid if has_mine */
	const struct mailbox_record *theirs; /* NULL: not among their changes */
	bool has_mine;
	bool is_mine_changed; /* among my changes */
	bool is_scanned; /* the messages that I show where it led before are in the working state */
	uint32_t next;   /* the next UID above both sides' UIDNEXT */
	uint64_t walk;   /* number of the last walk along forwards that came by */
};

struct work_message {
	struct message_record joined;
	struct message_record mine;          /* valid if has_mine */
	const struct message_change *theirs; /* NULL: not among their changes */
	bool has_mine;
	bool is_mine_changed;
};

struct merge_state {
	const struct merge_input *input;
	struct arena *arena;
	struct error *error;
	struct map mailboxes; /* id -> struct work_mailbox */
	struct work_mailbox **mailbox_list;
	size_t mailbox_count, mailbox_room;
	struct map messages; /* instance -> struct work_message */
	struct work_message **message_list;
	size_t message_count, message_room;
	struct map names; /* name -> live struct work_mailbox; valid if has_names */
	bool has_names;
	uint64_t clock;
	uint32_t uidvalidity_last; /* greatest that any mailbox has; valid if has_names */
	struct map written;        /* key of a register -> its place in the output, from 1 */
	size_t register_room;      /* in the output */
	struct stamp act;          /* of what this merge decides itself; none until it is needed */
	uint64_t walk;
	bool have_i_acted, have_they_acted; /* on mailboxes or messages, since the common point */
	bool is_equal_changed; /* both have changed a mailbox since then, to the same */
	struct merge_conflict *conflicts;
	size_t conflict_count, conflict_room;
};

/*
 * INBOX is made with its name and never gets it by a rename, so its name has no stamp; another
 * mailbox that a broken peer named so is as good as any other.
 */
static inline bool merge_is_inbox(const struct mailbox_record *mailbox)
{
	return stamp_is_none(mailbox->name_stamp) && bytes_equal_string(mailbox->name, "INBOX");
}

/* The next clock value. */
uint64_t merge_tick(struct merge_state *state);
/* The stamp of this merge's own acts: above all that either side knows. */
struct stamp merge_act(struct merge_state *state);
void merge_note_conflict(struct merge_state *state, enum merge_conflict_kind kind,
	struct id128 mailbox, struct stamp instance, uint32_t uid);
/* Of the conflict noted last: the earlier of these two acts lost. */
void merge_note_lost(struct merge_state *state, struct stamp a, struct stamp b);
/* merge_note_conflict() of what has a name and is no message. */
void merge_note_named(struct merge_state *state, enum merge_conflict_kind kind,
	struct id128 mailbox, struct bytes name);
/*
 * The modseq of what a record becomes: the greater of both, unless it changes the content on a side
 * that has already shown as much (P4).
 */
uint64_t merge_result_modseq(
	struct merge_state *state, uint64_t greatest, bool changes_mine, bool changes_theirs);
/* Joins the registers of both sides (merge_registers.c). */
int merge_put_registers(struct merge_state *state, struct merge_output *output);
/* Among the registers to write: the one of this key, or a new one that has only its key. */
struct register_record *merge_output_register(
	struct merge_state *state, struct merge_output *output, const struct register_record *key);
/* As it will be here. ERR_NOT_FOUND, or what finding mine returns. */
int merge_find_register(struct merge_state *state, const struct merge_output *output,
	const struct register_record *key, struct register_record *record_r);
/* Clears or hands over the registers of messages and mailboxes that are gone (merge_tidy.c). */
int merge_tidy(struct merge_state *state, struct merge_output *output);

/* The mailbox as this merge sees it; ERR_NOT_FOUND if neither side has told of it. */
int merge_find_mailbox(struct merge_state *state, struct id128 id, struct work_mailbox **mailbox_r);
struct work_mailbox *merge_new_mailbox(
	struct merge_state *state, const struct mailbox_record *mailbox);
/* Takes a record of mine (not yet there) into the working state. */
struct work_message *merge_take_mine(struct merge_state *state, const struct message_record *mine);
/* Makes a tombstone of it. */
void merge_expunge(struct merge_state *state, struct work_message *message);

/*
 * The mailbox that a placed message belongs in now: the end of the forwards from where it was
 * placed. If they run in a circle (two copies forwarded to each other's mailbox), the greatest of
 * the circle is the end; it is not live then. Tombstones of mailboxes may be unknown here, as they
 * are not in the digest: then what is known counts, down to the mailbox that the message is shown
 * in. ERR_NOT_FOUND if that is unknown too, or nothing: ERR_ILLEGAL then, unless it is not shown.
 */
int merge_home(struct merge_state *state, const struct message_record *message,
	struct work_mailbox **home_r);
/* The same of what was in that mailbox; it may not be live. Errors of reading. */
int merge_follow_forwards(
	struct merge_state *state, struct work_mailbox *at, struct work_mailbox **home_r);
/* "NAME (conflict DATE NODE)": a name that every copy gives the same version, and no other. */
struct bytes merge_conflict_name(struct merge_state *state, struct bytes name, struct stamp stamp);
/* The id of the mailbox that takes the mail of a deleted one, where none of its name is there. */
struct id128 merge_successor_id(struct id128 deleted);
/* See view.h; true for all mailboxes where the whole account is exchanged. */
bool merge_is_in_view(const struct merge_state *state, struct id128 mailbox);
/* All that came to it up to the common point was part of that. */
bool merge_was_in_view(const struct merge_state *state, struct id128 mailbox);
/* Unites mailboxes of one name, and gives mail in deleted ones a live home. */
int merge_settle_mailboxes(struct merge_state *state);
/* Gives every message of the working state a UID that both sides may show. */
int merge_place(struct merge_state *state);

#endif
