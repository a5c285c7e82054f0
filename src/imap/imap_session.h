/*
 * imap_session: one client's connection. Callbacks of net_protocol run one at a time, so nothing
 * here is locked.
 *
 * A command runs in `arena`, which is reset when it is complete. A command that cannot complete at
 * once leaves `resume` (called when output has drained) or `answer` (called with the client's next
 * line), and keeps what it needs in `work`.
 */
#ifndef CHAPAR_IMAP_SESSION_H
#define CHAPAR_IMAP_SESSION_H

#include "imap/imap_body.h"
#include "imap/imap_frame.h"
#include "imap/imap_large.h"
#include "imap/imap_parse.h"
#include "imap/imap_server.h"
#include "imap/imap_view.h"

#include "base/error.h"
#include "mail/identity.h"
#include "mail/watch.h"
#include "sync/responder.h"

#define IMAP_TAG_SIZE_MAX 256               /* bytes; longer tags are refused */
#define IMAP_LOGIN_FAILURE_MAX 3            /* then the connection is closed */
#define IMAP_BAD_COMMAND_MAX 20             /* in a row; then the connection is closed */
#define IMAP_UNIT_SIZE_SLACK (1024u * 1024) /* what a command may be over its largest literals */

enum imap_state { /* a set of bits */
	IMAP_NOT_AUTHENTICATED = 1,
	IMAP_AUTHENTICATED = 2,
	IMAP_SELECTED = 4
};

struct imap_session;

typedef enum net_result imap_run(struct imap_session *session, struct imap_parser *args);

struct imap_command {
	const char *name; /* "UID FETCH" has a blank */
	unsigned states;  /* of enum imap_state: where it is allowed */
	unsigned flags;   /* of enum imap_command_flag */
	imap_run *run;
};

enum imap_command_flag {
	COMMAND_USES_SEQ = 1, /* EXPUNGE must not be sent meanwhile (RFC 3501, 7.4.1) */
	COMMAND_WRITES = 2,   /* not in a mailbox opened by EXAMINE */
	COMMAND_IS_UID = 4,   /* numbers are UIDs; responses tell the UID */
	COMMAND_SECRET = 8,   /* needs a protected connection */
	COMMAND_NUMBERS = 16, /* its arguments are message numbers, as they are with USES_SEQ */
	/* For who may change nothing, too. SELECT opens as EXAMINE does for him, and what SYNC may
	 * do its own rights say. */
	COMMAND_HARMLESS = 32,
	COMMAND_ASKS_NEWS = 64, /* for nothing else */
	COMMAND_JOINS = 128,    /* it sees to imap_group.h itself */
	COMMAND_NAMES_MESSAGES = COMMAND_USES_SEQ | COMMAND_IS_UID | COMMAND_NUMBERS
};

struct imap_session {
	const struct imap_server *server;
	const struct imap_server_options *options; /* the server's */
	struct mail *mail;
	struct net_connection *connection;
	enum imap_state state;

	struct identity identity; /* of the user; without a name before the login */
	bool is_peer;
	struct sync_rights sync_rights; /* of a peer */
	bool is_condstore;              /* MODSEQ is told with all changes of flags */
	bool is_qresync;                /* VANISHED takes the place of EXPUNGE */
	bool is_rev2;                   /* IMAP4rev2 is enabled (RFC 9051) */
	bool is_utf8_only;   /* UTF8=ACCEPT is enabled: SEARCH takes no charset (RFC 6855) */
	bool is_utf8;        /* either: names and strings are UTF-8 on the wire */
	bool tells_metadata; /* unasked: ENABLE METADATA (RFC 5464, 4.4) */
	bool is_uidonly;     /* no message numbers, in either direction (RFC 9586) */
	uint64_t position;   /* of the last own write: what reads must show */

	struct imap_frame frame;
	struct arena *arena;
	struct buffer out;       /* output not yet given to the connection */
	struct buffer ending;    /* the tagged response, until the updates before it are told */
	size_t ending_modseq_at; /* where in it the code HIGHESTMODSEQ is to be put; 0: nowhere */
	char tag[IMAP_TAG_SIZE_MAX + 1];
	const struct imap_command *command; /* running; NULL in between */
	struct imap_view *view;             /* the selected mailbox, or NULL */
	bool is_idling;                     /* between IDLE and DONE */
	bool holds_expunges;                /* the command names message numbers after all */

	struct imap_notify *notify;   /* what NOTIFY asked for, or NULL */
	struct watch_set *watches;    /* what wakes the session, or NULL */
	struct watch *seen_watch;     /* of them: that of \Seen kept elsewhere, or NULL */
	struct watch *selected_watch; /* of them: the selected mailbox's, or NULL ... */
	struct id128 watched_mailbox; /* ... which was this one ... */
	uint32_t watched_account;     /* ... of this account */
	struct watch_own own;         /* the last own writes, not to be told of; with NOTIFY only */

	enum net_result (*resume)(struct imap_session *session);
	enum net_result (*answer)(struct imap_session *session, struct bytes line);
	void *work;                    /* of the running command ... */
	void (*work_free)(void *work); /* ... and how to end it early */

	struct imap_body body;          /* read last; kept between FETCHes of partials only */
	struct imap_large large;        /* what is sent in pieces */
	struct sasl_channel channel;    /* see imap_login_channel() */
	struct buffer certificate_name; /* the channel's */
	struct sasl_server *sasl;       /* during AUTHENTICATE */
	struct imap_registration *registration; /* after the login */
	struct sync_session *sync;
	struct object_server *objects; /* that `sync` is about, if not about accounts; or NULL */
	unsigned login_failure_count;
	unsigned bad_command_count;
	uint64_t input_size; /* bytes, for the log */
	uint64_t output_size;
};

/* Tells what SYNC NOTIFY asked for, as far as the client reads; whether that was all. */
bool imap_sync_tell(struct imap_session *session);

/* Finds and runs the command in `unit`. */
enum net_result imap_dispatch(struct imap_session *session, struct bytes unit);
/* Ends `work` and empties the arena: the command is complete. */
void imap_command_end(struct imap_session *session);

/* Whether a password may be sent now. */
bool imap_session_is_private(const struct imap_session *session);
/* To the state before the login, as UNAUTHENTICATE wants it (RFC 8437): nothing of the user, or of
 * what he enabled, is left. */
void imap_session_forget_user(struct imap_session *session);
/* Leaves the selected mailbox, if any. */
void imap_session_unselect(struct imap_session *session);

/*
 * What was acknowledged to anyone before this command is to be seen in it and later: mail that came
 * by LMTP, and what other sessions did.
 */
void imap_catch_up(struct imap_session *session);
/* Why his login is over, or NULL: the user's account was deleted, by this or another node, is held
 * back (mail/hold.h), or was moved away. Lives as long as the command. */
const char *imap_login_is_over(struct imap_session *session);
#define IMAP_MAILBOX_GONE_TEXT "The selected mailbox is gone, connect again"
/* A snapshot that shows our own writes. Errors are those of mail_read_begin(). */
int imap_read_begin(struct imap_session *session, struct kv_txn **kv_r);
/* Remembers that a write of our own ended at `position`. */
void imap_wrote(struct imap_session *session, uint64_t position);

#endif
