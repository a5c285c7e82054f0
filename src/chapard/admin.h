/*
 * admin: what operators do with a node: commands that the daemon runs for the tool, over the
 * control socket, and that the tool runs by itself while the daemon is stopped.
 *
 * A request is one line: the command and its arguments, separated by blanks; bytes up to the blank,
 * '%' and DEL are written as %XX. A call works in steps, so that whoever runs it can send on what
 * it put out and see to others; each step is short (one account, some dozen commits). Output is
 * text for people, or one JSON value if the argument --json is given. A line that begins with a CR
 * tells how far the command is (admin_progress()); it is for who waits, and no part of the output.
 */
#ifndef CHAPAR_CHAPARD_ADMIN_H
#define CHAPAR_CHAPARD_ADMIN_H

#include "base/buffer.h"
#include "base/error.h"

#include "mail/mail.h"
#include "mail/password.h"

#define ADMIN_REQUEST_SIZE_MAX (1024 * 1024) /* bytes */
#define ADMIN_ARGUMENT_COUNT_MAX 4096

/* A node that an account can be given to. */
struct admin_node {
	uint64_t node;
	struct node_name name;
};

enum admin_channel_act {
	ADMIN_CHANNEL_ADD,    /* words: KEY=VALUE as in a peer's section */
	ADMIN_CHANNEL_REMOVE, /* forgets its cursor, too */
	ADMIN_CHANNEL_PAUSE,
	ADMIN_CHANNEL_RESUME
};

/* What of the channels needs attention. */
struct admin_health {
	uint64_t down_count;    /* channels without a connection; paused ones do not count */
	uint64_t failing_count; /* accounts set aside, of all channels */
};

/* What only a running daemon can tell or do. The first two append a JSON value or lines of text. */
struct admin_live {
	void *context;
	struct trace *trace; /* of all SYNC sessions and channels */
	void (*status)(void *context, bool is_json, struct buffer *out);
	void (*channels)(void *context, bool is_json, struct buffer *out);
	void (*health)(void *context, struct admin_health *health_r);
	/* The daemon waits for running commands to end it: long ones give up. */
	bool (*is_stopping)(void *context);
	/* The node that a channel of that name leads to. ERR_NOT_FOUND, ERR_UNAVAILABLE. */
	int (*peer_find)(
		void *context, const char *name, struct admin_node *node_r, struct error *error);
	/*
	 * Waits until that node has the account as the header tells. ERR_TIMEOUT: not yet;
	 * ERR_UNAVAILABLE: it is not reached, or the account cannot be synced; ERR_REFUSED: the
	 * channel leaves it, or some of it, out; ERR_NOT_FOUND.
	 */
	int (*peer_confirm)(void *context, const char *name, const struct account_header *account,
		unsigned timeout_ms, struct error *error);
	/* Has the peer of that channel answer a SYNC request. As channel_ask(). */
	int (*peer_ask)(void *context, const char *name, struct bytes request,
		struct buffer *answer, struct error *error);
	/* Durable. ERR_NOT_FOUND, ERR_EXISTS, ERR_INVALID, ERR_REFUSED: it is the configuration
	 * file's. */
	int (*channel_change)(void *context, enum admin_channel_act act, const char *name,
		const char *const *words, size_t count, struct error *error);
};

struct config_origin; /* chapard/config.h */

struct admin {
	struct mail *mail;
	const char *node_name;
	bool new_accounts_have_master;        /* this node */
	struct password_parameters passwords; /* how new ones are stored */
	const struct config_origin *origin;   /* of a clone; NULL: it is none */
	const struct admin_live
		*live; /* NULL: the daemon is stopped, the tool has opened the store */
};

struct admin_call;

/* Appends the request's line, without its end. */
void admin_request_encode(const char *const *words, size_t count, struct buffer *request);

/* `admin` stays borrowed. ERR_INVALID: no such command, or arguments that it does not take. */
int admin_call_new(
	struct admin *admin, struct bytes request, struct admin_call **call_r, struct error *error);
/* Frees it, also before it is done. Sets *call to NULL. A NULL *call is allowed. */
void admin_call_free(struct admin_call **call);

enum admin_step { ADMIN_DONE, ADMIN_MORE, ADMIN_WAIT };

/* Calls that wait for something to happen (ADMIN_WAIT) call this then, from any thread; it must not
 * block. Before the first step; without it they are refused. */
void admin_call_on_news(struct admin_call *call, void (*wake)(void *context), void *context);

/*
 * Goes on; what it has to say is appended to *out in whole lines. ADMIN_MORE: call again.
 * ADMIN_WAIT: call again when it is woken. A negative code ends the call: ERR_CORRUPT (verify found
 * damage: told in *out), ERR_NOT_FOUND, ERR_EXISTS, ERR_INVALID, and those of mail.h.
 */
int admin_call_step(struct admin_call *call, struct buffer *out, struct error *error);

/* One such line: "\r DONE TOTAL UNIT WHAT"; UNIT is "bytes" or a word for what is counted. */
void admin_progress(
	struct buffer *out, uint64_t done, uint64_t total, const char *unit, const char *what);

#endif
