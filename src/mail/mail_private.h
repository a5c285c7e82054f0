/* mail_private: what the mail layer's own files share and no front needs. */
#ifndef CHAPAR_MAIL_MAIL_PRIVATE_H
#define CHAPAR_MAIL_MAIL_PRIVATE_H

#include "mail/mail.h"

#include "base/error.h"

/* Messages changed in one commit, so that a large change does not stall other writers. */
#define MAIL_STEP_COUNT_MAX 250

uint64_t mail_now_ms(const struct mail *mail);
/* The limits of accounts that have none of their own; the mail's. */
const struct quota_limits *mail_quota_defaults(const struct mail *mail);

/* Summaries that were made of late and are not stored yet (mail_summary.c). */
struct mail_summaries;
struct mail_summaries *mail_summaries_new(void);
void mail_summaries_free(struct mail_summaries **summaries);
struct mail_summaries *mail_summaries(struct mail *mail);
/* Remembers one for mail_summaries_keep(), if there is room. */
void mail_summary_note(struct mail *mail, const struct guid *guid, struct bytes blob);

/* Accounts of which a part came (mail_partial.c). */
struct mail_partials;
struct mail_partials *mail_partials_new(void);
void mail_partials_free(struct mail_partials **partials);
struct mail_partials *mail_partials(struct mail *mail);

/* Writes one account-wide register with a fresh stamp. */
int register_write(struct account_write *write, enum record_kind kind, struct bytes key,
	bool is_set, struct bytes value);

/* "\seen" becomes "\Seen"; keywords stay as they are. Borrowed from constants or `name`. */
struct bytes flag_canonical(struct bytes name);

/* A mailbox to put something into: the live one of that id, or where a united one's mail went. */
int message_target_find(
	struct account_write *write, struct id128 id, struct mailbox_record *mailbox_r);

/* An append of several messages; a mail_run. */
struct message_appending {
	struct id128 mailbox; /* afterwards: the one they went to */
	const struct append_message *messages;
	size_t count;
	uint32_t uidvalidity; /* results */
	uint32_t uid;         /* of the first; the others follow */
};
int message_append_run(struct account_write *write, void *context);

/* A set of messages, taken in steps. */
struct message_step {
	struct id128 mailbox;
	const struct uid_set *uids; /* NULL: all */
	size_t range_index;         /* where the next step goes on ... */
	uint32_t next_uid;          /* ... and at which UID of that range, or 0 for its first */
	struct message_record *messages; /* of this step; the array is the caller's to free */
	size_t count, room;
	bool is_done;
};
/* Reads the next messages of the set, at most MAIL_STEP_COUNT_MAX; is_done when there are no more
 * after them. */
int message_step_read(struct account_write *write, struct message_step *step);

/* A change of flags. */
struct flag_edit {
	enum flag_operation operation;
	const struct bytes *flags;
	size_t flag_count;
	/* Which flags may be touched; NULL: all. */
	bool (*may_change)(void *context, struct bytes name);
	void *context;
	uint64_t clock_floor; /* stamps are above it */
};
bool flag_is_named(const struct flag_edit *edit, struct bytes name);
/*
 * Whether none of the flags that the edit names changed after the modseq `since` in the eyes of a
 * client of whatever copy, though the message may have (RFC 7162, 3.1.3: UNCHANGEDSINCE). False
 * where that cannot be told.
 */
bool message_flags_stayed(const struct account_write *write, const struct flag_edit *edit,
	const struct message_record *message, uint64_t since);
/* Makes the change in `message`, without writing it. *stamp: none as long as nothing changed. */
int message_flags_edit(struct account_write *write, const struct flag_edit *edit,
	struct message_record *message, struct stamp *stamp);

/* Several accounts written in one commit. */
#define ACCOUNTS_WRITE_MAX 3
struct accounts_write {
	struct mail *mail;
	struct store_write *store;
	struct account_write writes[ACCOUNTS_WRITE_MAX];
	size_t count;
	struct error refusal; /* see account_write's user_error */
};
/* The write of one of them, begun when it is first asked for. */
int accounts_write_get(
	struct accounts_write *accounts, uint32_t account, struct account_write **write_r);
typedef int accounts_run(struct accounts_write *accounts, void *context);
/* As mail_commit(). */
int accounts_commit(struct mail *mail, accounts_run *run, void *context, struct error *error,
	uint64_t *position_r);

/* Random, of this opening of the store. */
uint64_t mail_run_id(const struct mail *mail);

bool mail_has_append_router(const struct mail *mail);
/* Asks the append router; ERR_UNAVAILABLE if there is none. May set message->instance. */
int mail_append_route(struct mail *mail, uint32_t account, struct id128 mailbox,
	struct append_message *message, struct message_place *place_r);

/* Adds `message` to the mailbox as an append or copy made now: fills stamp, placement, UID, modseq,
 * and writes it. `message` brings guid, size, dates, and flags (names; stamps are set here). */
int message_append(
	struct account_write *write, struct id128 mailbox, struct message_record *message);
/* The same, as the instance given. */
int message_append_as(struct account_write *write, struct id128 mailbox, struct stamp instance,
	struct message_record *message);
/* Expunges a shown message; its record remains as a tombstone. */
int message_remove(struct account_write *write, const struct message_record *message);
/* The same by an act that has a stamp already, made in this commit. */
int message_remove_at(
	struct account_write *write, const struct message_record *message, struct stamp stamp);
/* The same by an act that began in a commit before, told under this one's modseq. */
int message_remove_as(struct account_write *write, const struct message_record *message,
	struct stamp stamp, uint64_t modseq);
/* Makes a mailbox, and those above it that are missing. */
int mailbox_make_path(struct account_write *write, struct bytes name, struct bytes special_use,
	struct id128 *id_r);
/* Makes that one only, of a record that has its id, name, stamps and, unless 0, UIDVALIDITY; fills
 * in the rest. */
int mailbox_make_as(struct account_write *write, struct mailbox_record *mailbox);
/* Deletes a live mailbox that shows nothing. */
int mailbox_remove_at(struct account_write *write, struct mailbox_record *mailbox,
	struct stamp stamp, uint64_t modseq);

/* Within a commit, as mailbox_set_special_use(); without texts. */
int mailbox_put_special_use(
	struct account_write *write, struct id128 mailbox, struct bytes special_use);

/* deletion.c: the register that says that an account is being deleted. */
bool deletion_is_mark(const struct register_record *record);

#endif
