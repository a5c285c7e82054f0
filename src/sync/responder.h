/*
 * responder: the other half of an exchange: answers SYNC requests, whoever carries them
 * (docs/protocol.md).
 *
 * A session is one authenticated connection. It remembers the peer's node id (SYNC HELLO), message
 * bodies that were put for the next APPLY, and records that were staged for it; nothing of it
 * outlives the session. Each request is answered by exactly one line of data, in order. Not safe
 * for use by several threads at once; sessions are independent of each other.
 */
#ifndef CHAPAR_SYNC_RESPONDER_H
#define CHAPAR_SYNC_RESPONDER_H

#include "mail/identity.h"
#include "mail/mail.h"
#include "sync/account_filter.h"

#include "base/error.h"

struct dlist; /* dlist.h */

#define SYNC_VERSION 1
#define SYNC_BODY_SIZE_MAX (128u * 1024 * 1024) /* bytes of one message */
/* Bytes of one request; also what an answer stays below. A single message can fill one. */
#define SYNC_REQUEST_SIZE_MAX (SYNC_BODY_SIZE_MAX + 1024 * 1024)
#define SYNC_STAGE_SIZE_MAX (512u * 1024 * 1024) /* bytes of records staged by one session */
/* The same of users, of the bodies that they put for one APPLY, and the number of values (words,
 * numbers, lists) in one request of theirs. */
#define SYNC_USER_STAGE_SIZE_MAX (64u * 1024 * 1024)
#define SYNC_USER_PUT_SIZE_MAX (1024u * 1024 * 1024)
#define SYNC_USER_VALUE_COUNT_MAX (1u << 20)
#define SYNC_SKEW_MS_DEFAULT (24u * 3600 * 1000)

/* What the authenticated user of a connection may do (P9). */
struct sync_rights {
	bool is_full; /* a peer node: every account, and stamps of others */
	/* Of a peer node: which accounts there are for it (account_filter.h); NULL: all. Borrowed.
	 */
	const char *accounts;
	/* Of a peer node: which mailboxes (view.h); NULL: all. Borrowed. */
	const char *mailboxes;
	bool is_read_only; /* takes, and changes nothing */
	bool no_delete;    /* its changes expunge nothing and delete no mailbox */
	/* Else: his own account, as account_name_normalize() gives it ... */
	char account[ACCOUNT_NAME_SIZE_MAX + 1];
	/* ... and who he is, by whom others may have given him rights; zeroed: nobody has. What it
	 * borrows must outlive the session. */
	struct identity identity;
	/* Not for accounts, but to keep a backup's objects in this folder (backup/object_serve.h).
	 * Borrowed; NULL: for accounts. */
	const char *backup_folder;
	bool may_prune; /* ... and to take objects away again */
	/* What he finds others' mailboxes under (RFC 2342), for him to find them so elsewhere;
	 * NULL: not told. Borrowed. */
	const char *other_users_prefix, *shared_prefix;
	uint64_t skew_ms; /* how far in the future a modseq may lie; 0: SYNC_SKEW_MS_DEFAULT */
};

/* Who the other side is. */
struct sync_peer {
	uint64_t node;
	struct node_name name; /* so far as it told */
	bool is_full;          /* it takes us for a peer node */
	bool takes_packed;     /* PUT may bring bodies compressed, as they are stored */
	/* Of a responder: the mailboxes that it lets us see: a part of what we asked for; "": all.
	 */
	char mailboxes[ACCOUNT_FILTER_SIZE_MAX + 1];
};

struct sync_session;
struct trace; /* trace.h */

/* `mail` stays borrowed, `rights` is copied. */
struct sync_session *sync_session_new(struct mail *mail, const struct sync_rights *rights);
/* Sets *session to NULL. A NULL *session is allowed. */
void sync_session_free(struct sync_session **session);

/* Whether the request is PUT or APPLY, of which a peer sends many together: short commits of single
 * accounts. */
bool sync_is_push(struct bytes request);

/*
 * Answers `request` (the arguments of one SYNC command: a verb, a blank, a dlist; literals
 * included). Exactly one answer without CRLF at its end is appended to *answer, also on errors
 * (then `ERROR %(CODE ... TEXT ...)`). Returns 0, or the error's code with its text in *error, for
 * the tagged NO; ERR_INVALID: the request was malformed (tagged BAD). The session stays usable
 * after all of them.
 */
int sync_respond(struct sync_session *session, struct bytes request, struct buffer *answer,
	struct error *error);

/* Tells a trace of all that passes: `who` it is, from `where`; both are copied. `trace` stays
 * borrowed. */
void sync_session_trace(
	struct sync_session *session, struct trace *trace, const char *who, const char *where);

/*
 * Gives all requests but HELLO to somebody else, who answers them in this module's stead: appends
 * one answer, or returns an error with its text, for which an ERROR answer is made. For logins that
 * are not about accounts at all. Set it before the first request.
 */
typedef int sync_divert_function(void *context, struct bytes verb, const struct dlist *map,
	struct buffer *answer, struct error *error);
void sync_session_divert(
	struct sync_session *session, sync_divert_function *function, void *context);

/*
 * Who carries a session can tell what happens without being asked (NOTIFY) if he gives a function
 * that is called once there is news, from any thread; it must not block or call this module. Then
 * he calls sync_news() until it returns 0, in his own time; the function is called again after that
 * only. Set it before the first request, or never.
 */
void sync_session_on_news(
	struct sync_session *session, void (*function)(void *context), void *context);
/* Whether anything is watched. A NULL session watches nothing. */
bool sync_is_watching(const struct sync_session *session);
/* Appends one line of news, as sync_respond() does, and returns 1; or 0: there is none now. Errors
 * of reading; then it may be called again. */
int sync_news(struct sync_session *session, struct buffer *answer);

/*
 * HELLO, by which both ends learn each other's node id before anything else. The initiator sends
 * the request, and gives the answer to sync_hello_check(): ERR_REFUSED if both stores have the same
 * node id (one was copied), ERR_VERSION, ERR_INVALID. `mailboxes`: the connection is only about the
 * mailboxes that these patterns name (view.h); NULL: all.
 */
void sync_hello_request(struct mail *mail, const char *mailboxes, struct buffer *request);
int sync_hello_check(struct mail *mail, const char *mailboxes, struct bytes answer,
	struct sync_peer *peer_r, struct error *error);

/* The same of who has no store, such as a backup. */
struct sync_self {
	uint64_t node; /* not 0 */
	struct node_name name;
};
void sync_hello_request_as(
	const struct sync_self *self, const char *mailboxes, struct buffer *request);
int sync_hello_check_as(const struct sync_self *self, const char *mailboxes, struct bytes answer,
	struct sync_peer *peer_r, struct error *error);

#endif
