/*
 * origin: what a clone does with the node that it came from: it logs in there as an ordinary user,
 * asks which accounts there are for him and how far they are (SYNC POINTS: one round trip), and
 * exchanges those that changed on either side (sync/exchange.h). Both copies are merged as those of
 * two nodes are.
 *
 * It works in steps, each of which waits for one answer at most, so that whoever runs it can tell
 * how far it is, and stop. What is interrupted, at any point, goes on with the next one.
 */
#ifndef CHAPAR_CHAPARD_ORIGIN_H
#define CHAPAR_CHAPARD_ORIGIN_H

#include "chapard/config.h"
#include "mail/mail.h"
#include "sync/exchange.h"

/* While it watches: between two looks at what changed there, if the origin tells of changes by
 * itself, or not. */
#define ORIGIN_LOOK_MS 60000
#define ORIGIN_POLL_MS 5000
#define ORIGIN_PREFIX_SIZE 200 /* bytes, with the NUL */
#define ORIGIN_PAUSE_MIN_MS 1000
#define ORIGIN_PAUSE_MAX_MS 60000 /* between two attempts to reach it */

enum origin_mode {
	ORIGIN_SYNC, /* both ways */
	ORIGIN_PULL, /* nothing is sent */
	ORIGIN_PUSH  /* only accounts that changed here; what changed there is merged first */
};

struct origin_options { /* all is borrowed */
	const struct config_origin *config;
	const char *password;
	enum origin_mode mode;
	bool is_watch; /* goes on for ever, whatever fails, but for a refused login */
	/* Called after each exchange; result->error tells whether it succeeded. May be NULL. */
	void (*tell)(void *context, const char *account, const struct exchange_result *result);
	/* While it watches: the connection failed, or is back (error->code 0). May be NULL. */
	void (*tell_connection)(void *context, const struct error *error);
	/* What was appended here to a mailbox of another user could not be put there, and is in
	 * `kept_in`, a mailbox of his own, now. May be NULL. */
	void (*tell_kept)(void *context, const char *account, const char *mailbox,
		const char *kept_in, const struct error *why);
	void *context;
};

struct origin;

/* `mail` stays borrowed. Does no I/O yet. */
struct origin *origin_new(struct mail *mail, const struct origin_options *options);
/* Sets *origin to NULL. A NULL *origin is allowed. */
void origin_free(struct origin **origin);

enum origin_step { ORIGIN_DONE, ORIGIN_MORE };

/*
 * ORIGIN_MORE: call again. Errors: those of channel_link_open() and the connection; an account's
 * own are told, and the first of them is returned at the end, when all others are done.
 */
int origin_step(struct origin *origin, struct error *error);

struct origin_progress {
	const char *account; /* under way; NULL: none. Borrowed until the next step. */
	struct exchange_progress bodies;
};
void origin_get_progress(const struct origin *origin, struct origin_progress *progress_r);
/* Accounts that were looked at and equal, and requests sent, since the beginning. */
uint64_t origin_account_count(const struct origin *origin);
uint64_t origin_request_count(const struct origin *origin);
/* Whether a connection came up. */
bool origin_has_connected(const struct origin *origin);

/* What is remembered of the last run; all zero if there was none. */
struct origin_state {
	uint64_t peer;                   /* the origin's node id */
	uint64_t attempt_ms, success_ms; /* since 1970; 0: never */
	char error[ERROR_TEXT_SIZE];     /* of the last attempt, "" if it succeeded */
	/* What others' mailboxes are found under there, "" if it did not tell. */
	char other_users_prefix[ORIGIN_PREFIX_SIZE], shared_prefix[ORIGIN_PREFIX_SIZE];
};
int origin_state_get(struct kv_txn *kv, struct origin_state *state_r);

/* Records of an account that changed here since it was last equal to the origin's, and can be
 * brought there; and, of another user's, what was done to mailboxes and rights and is not told. */
int origin_count_pending(struct kv_txn *kv, uint32_t account, uint64_t peer, uint64_t *count_r);

#endif
