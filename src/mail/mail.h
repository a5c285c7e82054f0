/*
 * mail: what the fronts (IMAP, LMTP, tool) do with accounts, each call one or a few durable
 * commits. Every write function blocks until it is on disk and then stores in *position_r the
 * position that mail_read_begin() takes to see it. Any thread. Errors of all: ERR_FULL, ERR_IO,
 * ERR_CLOSED and those named.
 */
#ifndef CHAPAR_MAIL_MAIL_H
#define CHAPAR_MAIL_MAIL_H

#include "mail/account.h"
#include "mail/account_mode.h"
#include "mail/mime_summary.h"

struct store_stream; /* store/store_stream.h */
struct mail;

/* Keeps `store` and `clock` borrowed until mail_close(). */
int mail_open(struct store *store, const struct clock *clock, struct mail **mail_r);
void mail_close(struct mail **mail);
struct store *mail_store(struct mail *mail);
const struct clock *mail_clock(const struct mail *mail);
uint64_t mail_node(const struct mail *mail);

/* A read snapshot of everything that was acknowledged to anyone, thus up to `position`. Keep it
 * short: never across a network write, never for more than some thousand records. */
int mail_read_begin(struct mail *mail, uint64_t position, struct kv_txn **kv_r);
void mail_read_end(struct kv_txn **kv);
/* The position at which everything is seen that was acknowledged to anyone until now. */
uint64_t mail_position(struct mail *mail);

/*
 * What peers and clients know this node by. Before any other thread uses `mail`; copied.
 */
void mail_set_node_name(struct mail *mail, const struct node_name *name);
const struct node_name *mail_node_name(const struct mail *mail);

/* Runs `run` on the account as one durable commit; a negative return undoes all of it. */
typedef int mail_run(struct account_write *write, void *context);
/*
 * For what users do; fronts use the calls below, which do. ERR_REPLICA: they may not, on this node
 * (mail/account_mode.h). Waits for what mail_set_acknowledger() asks for.
 */
int mail_commit(struct mail *mail, uint32_t account, mail_run *run, void *context,
	struct error *error, uint64_t *position_r);
/* For what the node itself does, or its operator, or what comes from peers. */
int mail_node_commit(struct mail *mail, uint32_t account, mail_run *run, void *context,
	struct error *error, uint64_t *position_r);

/*
 * Called after each commit of users is durable here and before it is acknowledged, on their
 * thread, with the account and its sequence: may wait until a peer has it, too. What it returns
 * is told to the user; the change stays. Before any other thread uses `mail`; NULL: none.
 */
typedef int mail_acknowledger(
	void *context, uint32_t account, uint64_t sequence, struct error *error);
void mail_set_acknowledger(struct mail *mail, mail_acknowledger *function, void *context);
/*
 * Whether it is called, as at first if there is one; any thread. While it is, users' commits must
 * not be a group (store_group_begin()): it would wait for what nobody sees yet.
 */
void mail_set_acknowledging(struct mail *mail, bool is_on);
bool mail_is_acknowledging(const struct mail *mail);
/*
 * A peer sends the account's changes in parts, and has sent one just now: the copy is between two
 * states of the peer's. Forgotten when it ends, or when the next part does not come for
 * MAIL_PARTIAL_MS_MAX. In memory only; any thread.
 */
#define MAIL_PARTIAL_MS_MAX 10000
void mail_partial_note(struct mail *mail, uint32_t account);
void mail_partial_end(struct mail *mail, uint32_t account);
bool mail_is_partial(struct mail *mail, uint32_t account);

/* For commits of users that go to the store directly (of several accounts): what mail_commit()
 * does afterwards. */
int mail_acknowledge(struct mail *mail, uint32_t account, uint64_t sequence, struct error *error);

/* ---- accounts ---- */
/* Finds the account, or makes it (with INBOX); one that is deleted is as if it was not there.
 * `name` as account_name_normalize() gives it. */
int mail_account_open(
	struct mail *mail, struct bytes name, bool create, struct error *error, uint32_t *number_r);
/* The encoded credentials (mail/password.h), replicated with the account; ERR_NOT_FOUND if none. */
int mail_credentials_get(struct mail *mail, uint32_t account, struct buffer *blob_r);
int mail_credentials_set(
	struct mail *mail, uint32_t account, struct bytes blob, struct error *error);

/*
 * A shared account belongs to no user: nobody can log in to it, and its mailboxes are for those
 * whom their entries of rights name. It is made with mail_account_open(), then marked so.
 */
int mail_account_mark_shared(struct mail *mail, uint32_t account, struct error *error);
int account_is_shared(struct kv_txn *kv, uint32_t account, bool *is_shared_r);
/* Whether it belongs to a user, who may log in: it is not shared, deleted, or the server's own. */
int account_has_user(struct kv_txn *kv, uint32_t account, bool *has_user_r);
/* Whether users may see its mailboxes: it is not deleted, held back, or the server's own. */
bool account_is_visible(const struct account_header *header);

/* ---- mailboxes ---- names are UTF-8; parents that are missing are made by create and rename */
int mailbox_create(struct mail *mail, uint32_t account, struct bytes name, struct bytes special_use,
	struct error *error, struct id128 *id_r,
	uint64_t *position_r); /* ERR_EXISTS, ERR_INVALID */
/* Expunges exactly what it shows now. ERR_NOT_FOUND; ERR_REFUSED for INBOX. Children stay. */
int mailbox_delete(struct mail *mail, uint32_t account, struct bytes name, struct error *error,
	uint64_t *position_r);
/*
 * Children follow, also of a name that is no mailbox itself. INBOX: its messages are moved to the
 * new mailbox (RFC 3501, 6.3.5).
 */
int mailbox_rename(struct mail *mail, uint32_t account, struct bytes from, struct bytes to,
	struct error *error, uint64_t *position_r);
/* `special_use` is canonical, or empty for none. ERR_EXISTS: another mailbox has it; ERR_NOT_FOUND.
 */
int mailbox_set_special_use(struct mail *mail, uint32_t account, struct id128 mailbox,
	struct bytes special_use, struct error *error, uint64_t *position_r);
int mailbox_subscribe(struct mail *mail, uint32_t account, struct bytes name, bool subscribed,
	struct error *error, uint64_t *position_r);
/* 0, or ERR_INVALID with the reason: empty, too long, empty level, control characters, not UTF-8.
 */
int mailbox_name_check(struct bytes name, struct error *error);

/* ---- messages ---- */

/* A message's bytes made ready for the store (GUID, stored form, prepared summary). */
struct mail_body;
/* `raw` stays borrowed until mail_body_free(). */
int mail_body_prepare(struct mail *mail, struct bytes raw, struct mail_body **body_r);
/* The same, if `raw` came compressed; see store_body_prepare_packed(). */
int mail_body_prepare_packed(
	struct mail *mail, struct bytes raw, struct bytes packed, struct mail_body **body_r);
void mail_body_free(struct mail_body **body);
const struct guid *mail_body_guid(const struct mail_body *body);
uint64_t mail_body_size(const struct mail_body *body); /* bytes, as received */
/*
 * The thread that it belongs to by what it says itself: derived from the first id of its
 * References, else of its In-Reply-To, else its own; none if it has none. So all nodes agree.
 */
struct id128 mail_body_thread(const struct mail_body *body);
struct bytes mail_body_raw(const struct mail_body *body);
/* Inside a commit: makes the body known to it, so that account_put_message() stores it with the
 * first message that shows it. A body that no message comes to show is not stored. `body` must
 * outlive the commit. */
void mail_body_add(struct account_write *write, const struct mail_body *body);
/* Inside a commit: account_put_message()'s part: counts one reference more (fewer) to the body. */
int mail_body_reference(struct account_write *write, const struct guid *guid);
int mail_body_release(struct account_write *write, const struct guid *guid);

struct annotation; /* mail/annotation.h */

struct append_message {
	const struct mail_body *body;
	const struct bytes *flags;
	size_t flag_count;
	int64_t internaldate;      /* seconds since 1970 UTC */
	int32_t internaldate_zone; /* minutes east */
	const struct annotation *annotations;
	size_t annotation_count;
	struct stamp instance; /* given already by the node that it came to, or none ... */
	bool is_of_guest;      /* ... whose clock is not to be trusted: stamps lie behind now */
	unsigned hop_count;    /* nodes that have passed it on to us */
};

/* Appends all or none; UIDs are consecutive from *uid_r. ERR_NOT_FOUND: the mailbox is gone. */
int mailbox_append(struct mail *mail, uint32_t account, struct id128 mailbox,
	const struct append_message *messages, size_t count, struct error *error,
	uint32_t *uidvalidity_r, uint32_t *uid_r, uint64_t *position_r);
/*
 * Asked before a single message is appended: may have another node append it, which then gives its
 * UID (mail/uid_authority.h). 0: it is there, and shown here by now, with the place in *placed_r.
 * ERR_UNAVAILABLE: it is to be appended here; as *instance, if that was set, for it may be
 * there already. ERR_TIMEOUT: it would have to wait, and the caller's commits are a group
 * (store_group_begin()), which must not: to be asked again when that has ended. Runs on the
 * caller's thread and may wait else. Before any other thread uses `mail`.
 */
struct message_place {
	uint32_t uidvalidity;
	uint32_t uid;
};
typedef int mail_append_router(void *context, uint32_t account, struct id128 mailbox,
	const struct append_message *message, struct stamp *instance,
	struct message_place *place_r);
void mail_set_append_router(struct mail *mail, mail_append_router *function, void *context);
struct uid_authority *mail_uid_authority(struct mail *mail);
/* A stamp that no commit of this node gives, nor gave, for a message on its way elsewhere. */
struct stamp mail_stamp_new(struct mail *mail, uint64_t clock_last);
/* Waits until the message is shown here. ERR_TIMEOUT, and the errors of reading. */
int mail_wait_shown(struct mail *mail, uint32_t account, struct stamp instance, unsigned timeout_ms,
	struct message_place *place_r);

/* One commit for all recipients of a delivery, into each one's INBOX; results_r[i] per account. */
int mail_deliver(struct mail *mail, const uint32_t *accounts, size_t count,
	const struct mail_body *body, struct error *error, int *results_r);

struct uid_range {
	uint32_t first;
	uint32_t last; /* inclusive; UINT32_MAX for "*" is resolved by the caller */
};
struct uid_set { /* sorted, not overlapping; a zeroed one is empty */
	struct uid_range *ranges;
	size_t count;
	size_t room;
};
void uid_set_add(struct uid_set *set, uint32_t first, uint32_t last); /* any order */
bool uid_set_has(const struct uid_set *set, uint32_t uid);
uint64_t uid_set_size(const struct uid_set *set); /* how many UIDs */
void uid_set_deinit(struct uid_set *set);

enum flag_operation { FLAGS_ADD, FLAGS_REMOVE, FLAGS_REPLACE };

/*
 * Changes flags of those UIDs of the set that are shown, in steps of at most 1,000 messages, each
 * step one commit. Messages with a modseq above `unchanged_since` are left alone and put in
 * *modified_r (RFC 7162). *changed_r gets the UIDs written; unchanged messages are not written.
 * Both sets are added to.
 */
int message_store(struct mail *mail, uint32_t account, struct id128 mailbox,
	const struct uid_set *uids, enum flag_operation operation, const struct bytes *flags,
	size_t flag_count, uint64_t unchanged_since, struct error *error, struct uid_set *changed_r,
	struct uid_set *modified_r, uint64_t *position_r);

/* Pairs of a COPYUID answer, in order of the source UID. */
struct uid_pair {
	uint32_t from;
	uint32_t to;
};
struct copy_result {
	uint32_t uidvalidity;   /* of the target */
	struct uid_pair *pairs; /* the caller's to free */
	size_t count;
};
/*
 * Copies or (is_move) moves the shown UIDs of the set into mailbox `to` of the same account. COPY
 * is all or nothing; MOVE keeps each message's instance and works in steps like message_store().
 */
int message_copy(struct mail *mail, uint32_t account, struct id128 from, struct id128 to,
	const struct uid_set *uids, bool is_move, struct error *error, struct copy_result *result_r,
	uint64_t *position_r);
/* Expunges the shown UIDs with \Deleted (of the set, or all if NULL), in steps; adds them to
 * *expunged_r. */
int message_expunge(struct mail *mail, uint32_t account, struct id128 mailbox,
	const struct uid_set *uids, struct error *error, struct uid_set *expunged_r,
	uint64_t *position_r);

/* Reads a body (not decoded). ERR_NOT_FOUND, ERR_CORRUPT. Appends to *out. */
int message_body(struct mail *mail, struct kv_txn *kv, const struct guid *guid, struct buffer *out);
/* The same, but perhaps no more of it than the message's header. */
int message_header(
	struct mail *mail, struct kv_txn *kv, const struct guid *guid, struct buffer *out);
/* Reads a body in pieces. Errors as above, and those of store_stream_open(). */
int message_stream(struct mail *mail, struct kv_txn *kv, const struct guid *guid,
	struct store_stream **stream_r);
/*
 * The prepared summary, borrowed from the snapshot; or, if it is not there or of an older version,
 * made from the body, appended to *made and borrowed from there until its next change.
 */
int message_summary(struct mail *mail, struct kv_txn *kv, const struct guid *guid,
	struct buffer *made, struct mime_summary *summary_r);
/* The same if it can be had without the body; else ERR_NOT_FOUND. */
int message_summary_ready(
	struct kv_txn *kv, const struct guid *guid, struct mime_summary *summary_r);
/*
 * Stores the summaries that message_summary() had to make of late, so that each is made once. Not
 * while the caller has a snapshot. Failing is no harm: they will be made again.
 */
void mail_summaries_keep(struct mail *mail);

/* ---- checking ---- */
/* Recomputes digests, counts and indexes of an account from its records and calls `report` per
 * finding. */
int account_verify(struct mail *mail, uint32_t account, bool check_bodies,
	void (*report)(void *context, const char *text), void *context);

#endif
