/* responder_private: a session, shared by the files that answer its requests. */
#ifndef CHAPAR_SYNC_RESPONDER_PRIVATE_H
#define CHAPAR_SYNC_RESPONDER_PRIVATE_H

#include "sync/body_set.h"
#include "sync/changes.h"
#include "sync/foreign.h"
#include "sync/responder.h"
#include "sync/sync_limits.h"
#include "sync/trace.h"
#include "sync/view.h"
#include "sync/wire.h"

#define INSTANCE_COUNT_MAX 10000u        /* instances or GUIDs named in one request */
#define ALSO_COUNT_MAX 10000u            /* mailboxes told of in one request */
#define RANGE_COUNT_MAX 4096u            /* UID ranges in one request */
#define RECORDS_MESSAGE_COUNT_MAX 20000u /* messages in one answer to RECORDS */

struct sync_session {
	struct mail *mail;
	struct sync_rights rights;
	bool has_peer;
	uint64_t peer;             /* its node id, once HELLO came */
	struct view_filter filter; /* what of accounts it is about; `theirs` is our own copy */
	struct body_set bodies;
	uint64_t put_size; /* bytes put since the last APPLY */
	struct change_set staged;
	struct arena *stage_arena;   /* what staged records borrow from; NULL: nothing staged */
	uint64_t staged_size;        /* bytes of request text */
	uint64_t part_count;         /* STAGEs that came */
	struct sync_notify *notify;  /* what is watched, or NULL */
	void (*wake)(void *context); /* when there is news; NULL: nobody can be told */
	void *wake_context;
	sync_divert_function *divert; /* who answers all but HELLO; NULL: we do */
	void *divert_context;
	struct trace *trace; /* NULL: none */
	char *who, *where;   /* for it */
};

/* One request being answered. */
/* What of another's account his rights do not let a user change; of the call's arena. */
struct foreign_refused {
	struct stamp *instances;
	struct register_record *settings;
	size_t instance_count, setting_count;
};

struct sync_call {
	struct sync_session *session;
	struct arena *arena;
	const struct dlist *map; /* its arguments */
	struct view_also also;   /* ALSO; of the arena */
	struct foreign_refused refused;
	struct bytes text; /* the whole request */
	struct buffer *answer;
	struct error *error;
};

#define RIGHTS_NO_DELETE "no-delete" /* as the configuration calls it, for operators */

/* responder_rights.c: what the peer's rights say; pure */

bool rights_sees_account(const struct sync_rights *rights, const char *name);
/* Whether the peer may be told of any body that is here, or only of those he has brought. */
bool rights_sees_bodies(const struct sync_rights *rights);
/* 0, or ERR_REFUSED: `theirs` would take away what `mine` (NULL: none) shows. */
int rights_check_message(const struct sync_rights *rights, const struct message_record *mine,
	const struct message_record *theirs, struct error *error);
int rights_check_mailbox(const struct sync_rights *rights, const struct mailbox_record *mine,
	const struct mailbox_record *theirs, struct error *error);
int rights_check_register(const struct sync_rights *rights, const struct register_record *mine,
	const struct register_record *theirs, struct error *error);
/* These, for all records of a set, in a commit. */
int rights_check_changes(const struct sync_rights *rights, struct account_write *write,
	const struct change_set *theirs, struct error *error);

/* Each answers one verb, or returns an error, for which an ERROR answer is made. */
int respond_points(struct sync_call *call);
int respond_changes(struct sync_call *call);
int respond_lacks(struct sync_call *call);
int respond_get(struct sync_call *call);
int respond_put(struct sync_call *call);
int respond_stage(struct sync_call *call);
int respond_arrange(struct sync_call *call); /* guest_arrange.c; of a user, in another's account */
int respond_getacl(struct sync_call *call);  /* guest_acl.c; the same */
int respond_setacl(struct sync_call *call);
int respond_append(struct sync_call *call);       /* forward.c */
int respond_guest_append(struct sync_call *call); /* guest.c; of a user, to another's mailbox */
int respond_apply(struct sync_call *call);
int respond_fill(struct sync_call *call);
int respond_integrate(struct sync_call *call);
int respond_range(struct sync_call *call);
int respond_records(struct sync_call *call);
int respond_notify(struct sync_call *call);
int respond_admit(struct sync_call *call);

/* responder_away.c */

/* Where an account is that was moved away from here; 0: it was not, or nobody knows. */
int away_node(struct kv_txn *kv, const struct account_header *header, uint64_t *node_r);
/* The same of the account that the request names, for its ERROR. */
uint64_t call_away_node(struct sync_call *call);

/* The peer's own changes took the account from one sequence to another: they are no news to it. */
void notify_own(struct sync_session *session, uint32_t account, uint64_t from, uint64_t to);
/* Ends watching. Sets *notify to NULL. A NULL *notify is allowed. */
void notify_free(struct sync_notify **notify);

/* The request's ACCOUNT, normalized and allowed. ERR_INVALID, ERR_REFUSED. */
int call_account_name(struct sync_call *call, char name_r[ACCOUNT_NAME_SIZE_MAX + 1]);
/* The same or, for a user, one in which he may see something; and its header as of `kv`. Also
 * ERR_NOT_FOUND. */
int call_any_account(struct sync_call *call, struct kv_txn *kv, struct account_header *header_r);
/* The same; ERR_UNAVAILABLE: it is being filled by another (mail/hold.h); ERR_REPLICA: it is away
 * (mail/away.h). */
int call_account(struct sync_call *call, struct kv_txn *kv, struct account_header *header_r);
/* 0, or ERR_UNAVAILABLE: the account is being filled, and not by this peer; ERR_REPLICA: it is
 * away.
 */
int session_check_fill(const struct sync_session *session, struct kv_txn *kv,
	const struct account_header *header, struct error *error);
/* call_account(), but none of another user. */
int call_whole_account(struct sync_call *call, struct kv_txn *kv, struct account_header *header_r);
/* Finds an account of the session by its normal name, if it may be told of: ERR_NOT_FOUND,
 * ERR_REFUSED with its text. */
int call_find(struct sync_call *call, struct kv_txn *kv, const char *name, uint32_t *number_r);
/* A number that must be there. ERR_INVALID. */
int call_number(struct sync_call *call, const char *key, uint64_t max, uint64_t *number_r);
/* Our sequence at the common point; 0 if the request names none. ERR_INVALID. */
int call_common(struct sync_call *call, uint64_t *common_r);
/* Reads the records of the request into *set_r, normalized. It is the caller's to deinit. */
int call_changes(struct sync_call *call, struct change_set *set_r);

/* What the session's user sees in an account that is not his own (0: in any). Also after errors
 * foreign_list_deinit() it. */
int session_foreign(const struct sync_session *session, struct kv_txn *kv, uint32_t account,
	struct foreign_list *list_r);
/* Whether that is all that he may see of it: 1, 0, or an error of reading. */
int session_is_foreign(const struct sync_session *session, struct kv_txn *kv, uint32_t account);
/* As HIGHEST tells it: of a foreign view, of the mailboxes in it. Stored in *header. */
int session_highest(struct kv_txn *kv, const struct view *view, struct arena *arena,
	struct account_header *header);
/*
 * responder_foreign.c: applies what he pushes of it, within a commit. `view` is his. ERR_REFUSED,
 * with the first reason, and all that his rights do not let him change in call->refused; or
 * ERR_ILLEGAL, with the reason.
 */
int foreign_apply(struct sync_call *call, struct account_write *write, const struct view *view,
	const struct change_set *changes, struct error *error);
/* A whole answer ERROR that names these. */
void foreign_put_refused(
	struct buffer *answer, const char *text, const struct foreign_refused *refused);
/* From whom messages are withheld in its own account. What node an ordinary user says he is proves
 * nothing: he is never taken for a peer. */
uint64_t session_withheld_as(const struct sync_session *session);
/* The view of the session, as of `kv`. view_close() it, also after errors. */
int session_view(const struct sync_session *session, struct kv_txn *kv, uint32_t account,
	struct view *view_r);
/*
 * The same with the mailboxes that the request tells of (ALSO); then also with one more, or with
 * those that its changes name. A peer whose mailboxes are limited cannot widen the view so:
 * ERR_REFUSED if the changes name others.
 */
int call_view(
	const struct sync_call *call, struct kv_txn *kv, uint32_t account, struct view *view_r);
int call_view_of(const struct sync_call *call, struct kv_txn *kv, uint32_t account,
	struct id128 mailbox, struct view *view_r);
int call_view_told(const struct sync_call *call, struct kv_txn *kv, uint32_t account,
	struct change_set *changes, struct view *view_r, struct error *error);
/* Reads ALSO. ERR_INVALID, ERR_TOO_LARGE. */
int call_read_also(struct sync_call *call);
/* Whether the peer may be told of nothing outside of what our configuration lets it see. */
bool session_is_limited(const struct sync_session *session);
/* Whether the peer may see the mailbox (1 or 0); what he does not look at, he may ask for. */
int session_may_see(const struct sync_session *session, struct kv_txn *kv, const struct view *view,
	struct id128 mailbox, struct arena *arena);
/* If it is traced; `account`: that an answer is about. */
void session_tell_trace(const struct sync_session *session, enum trace_side side, struct bytes text,
	struct bytes account, uint64_t duration_us);
/* Forgets staged records. */
void session_unstage(struct sync_session *session);
/* The body is here, or was put in this session; a restricted peer is only told of what he put. */
bool session_has_body(
	const struct sync_session *session, struct kv_txn *kv, const struct guid *guid);

/* The keys of a set of changes in an answer; `set` is not complete if it does not reach
 * header->sequence. */
void answer_changes(struct dlist_writer *writer, const struct account_header *header,
	struct digest digest, const struct change_set *set);

#endif
