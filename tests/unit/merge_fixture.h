/*
 * merge_fixture: copies of one account as plain arrays, with the acts of clients and exchanges
 * between them; for tests of merging that need no store. Every write is held to P2 to P5 and fails
 * the test otherwise.
 */
#ifndef CHAPAR_TESTS_MERGE_FIXTURE_H
#define CHAPAR_TESTS_MERGE_FIXTURE_H

#include "sync/merge.h"

struct shown_uid { /* what clients of a copy were told */
	struct id128 mailbox;
	uint32_t uid;
	struct stamp instance;
};

struct copy {
	uint64_t node;
	uint64_t clock;
	uint64_t sequence;
	uint64_t highest;
	struct arena *arena;
	struct mailbox_record *mailboxes;
	size_t mailbox_count, mailbox_room;
	struct message_record *messages;
	size_t message_count, message_room;
	struct register_record *registers;
	size_t register_count, register_room;
	struct shown_uid *shown;
	size_t shown_count, shown_room;
};

/* Both sides' sequences when they were equal last; zeroed: never. */
struct common {
	uint64_t mine;
	uint64_t theirs;
};

extern const struct id128 inbox_id; /* the same in all copies */

void copy_init(struct copy *copy, uint64_t node);
void copy_deinit(struct copy *copy);

/* The acts of clients. */
struct id128 copy_create(struct copy *copy, const char *name);
void copy_rename(struct copy *copy, struct id128 mailbox, const char *name);
void copy_delete(struct copy *copy, struct id128 mailbox); /* and expunges what it shows */
struct stamp copy_append(struct copy *copy, struct id128 mailbox);
void copy_flag(struct copy *copy, struct stamp instance, const char *flag, bool is_set);
void copy_move(struct copy *copy, struct stamp instance, struct id128 mailbox);
void copy_expunge(struct copy *copy, struct stamp instance);
void copy_set_register(struct copy *copy, enum record_kind kind, struct id128 mailbox,
	const char *key, const char *value);
/* A shared comment of a message. */
void copy_annotate(struct copy *copy, struct stamp instance, const char *value);
/* Forgets all tombstones of messages. */
void copy_expire(struct copy *copy);

/* NULL if there is none. Borrowed until the next write. */
struct message_record *copy_message(struct copy *copy, struct stamp instance);
struct mailbox_record *copy_mailbox(struct copy *copy, struct id128 id);
struct mailbox_record *copy_live_mailbox(struct copy *copy, const char *name);
struct register_record *copy_register(
	struct copy *copy, enum record_kind kind, struct id128 mailbox, const char *key);
/* The instance shown at a UID, or none. */
struct stamp copy_shown_at(struct copy *copy, struct id128 mailbox, uint32_t uid);

/* How a merge looks things up in the copy. */
struct merge_copy copy_callbacks(struct copy *copy);
/* Everything after `since`, sorted; borrowed from the copy's arena. */
void copy_changes(struct copy *copy, uint64_t since, struct change_set *changes_r);
/* Integrates `theirs` and writes what comes out; fails the test on an error. Number of conflicts.
 */
size_t copy_integrate(
	struct copy *copy, const struct change_set *theirs, uint64_t since, bool is_repair);
/* Takes the records as they are. */
void copy_apply(struct copy *copy, const struct change_set *theirs);
/* `a` integrates b's changes and pushes; *common (of a's side) is brought up to date. Number of
 * conflicts. */
size_t copy_exchange(struct copy *a, struct copy *b, struct common *common);
/* The same live content, names of messages and modseqs included. */
bool copy_same(struct copy *a, struct copy *b);

#endif
