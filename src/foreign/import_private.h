/* import_private: a running import, for import*.c only. */
#ifndef CHAPAR_FOREIGN_IMPORT_PRIVATE_H
#define CHAPAR_FOREIGN_IMPORT_PRIVATE_H

#include "foreign/import.h"

enum phase {
	PHASE_OPEN,
	PHASE_LIST,
	PHASE_MAILBOX,
	PHASE_LOOK,
	PHASE_COPY,
	PHASE_CHANGE,
	PHASE_GONE_LOOK,
	PHASE_GONE,
	PHASE_EXTRA,
	PHASE_FINISH,
	PHASE_ACCOUNT,
	PHASE_SUBSCRIBE,
	PHASE_LOST,
	PHASE_END
};

struct numbers { /* indexes of messages, or keys */
	uint64_t *list;
	size_t count, room;
};

struct import {
	struct import_options options;
	struct source *source;
	enum phase phase;

	struct arena *list_arena;
	struct source_list list;
	size_t index; /* the mailbox under way */

	/* Of the mailbox under way. */
	struct arena *arena, *scratch;
	struct import_target target;
	struct import_point before;
	struct source_state state;
	struct import_result result;
	struct numbers keys;           /* of all messages at the source, sorted */
	struct numbers fresh, changed; /* indexes into state.messages */
	struct numbers gone;           /* keys */
	size_t look_next, copy_next, change_next, gone_next;
	uint32_t gone_uid;
	bool is_other_gone; /* those of an earlier UIDVALIDITY are looked for, which are all gone */

	/* Mailboxes that were taken in before, and are not listed now. */
	struct source_mailbox *lost;
	struct import_point *lost_points;
	size_t lost_count, lost_room, lost_point_room, lost_next;
	bool is_lost;
	struct bytes *unlisted; /* names that were subscribed to */
	size_t unlisted_count, unlisted_room;

	uint64_t mailbox_count, subscription_count;
	struct import_extra_counts account_counts;
	struct error first_error;
};

void import_number_add(struct numbers *numbers, uint64_t number);
/* For qsort() and bsearch(). */
int import_number_order(const void *left, const void *right);

/* A snapshot in which everything is seen; end it with mail_read_end(). */
int import_read_begin(struct import *import, struct kv_txn **kv_r);

/* import_mailbox.c: the mailbox under way. */
void import_mailbox_reset(struct import *import);
const struct source_mailbox *import_mailbox_now(const struct import *import);
void import_mailbox_next(struct import *import);
void import_mailbox_tell(struct import *import);
/* Tells the error; returns it if it ends all, else IMPORT_MORE. */
int import_mailbox_failed(struct import *import, int rc, struct error *error);
struct import_message import_message_of(const struct source_message *from);
int import_mailbox_step(struct import *import, struct error *error);
int import_look_step(struct import *import, struct error *error);

/* import_write.c */
int import_copy_step(struct import *import, struct error *error);
int import_change_step(struct import *import, struct error *error);
int import_gone_look_step(struct import *import, struct error *error);
int import_gone_step(struct import *import, struct error *error);
int import_finish_step(struct import *import, struct error *error);

/* import_extra.c: rights and metadata of the mailbox; scripts and limits of the account. */
int import_extra_step(struct import *import, struct error *error);
int import_account_step(struct import *import, struct error *error);

#endif
