/*
 * channel: brings what changes here to one peer, and merges what changed there, continuously.
 *
 * A thread of its own keeps a connection (IMAP, SYNC command) and serves the store's dirty feed
 * from a durable cursor: every account that changed is exchanged (sync/exchange.h), several at a
 * time. It is woken by commits, not by a clock. It never gives up: a lost connection is made anew
 * after a pause that grows to CHANNEL_PAUSE_MAX_MS; an account that cannot be exchanged is set
 * aside and tried again after a pause that grows to CHANNEL_RETRY_MAX_MS, while the others go on.
 * What was dirty when the connection came up (the backlog: all accounts, if the peer is new) is
 * worked off beside what changes now, which goes first; the bytes of the backlog that may be under
 * way are bounded, so that live changes wait for little.
 * What is left when the process ends is found again in the feed. What comes from the peer is left
 * out of the feed's service by the common point, so nothing echoes.
 *
 * Logs: channel-up, channel-down, channel-account-failed, channel-repair.
 */
#ifndef CHAPAR_CHAPARD_CHANNEL_H
#define CHAPAR_CHAPARD_CHANNEL_H

#include "base/error.h"
#include "chapard/channel_link.h"
#include "mail/mail.h"

#define CHANNEL_PAUSE_MIN_MS 200
#define CHANNEL_PAUSE_MAX_MS 2000
#define CHANNEL_RETRY_MIN_MS 1000
#define CHANNEL_RETRY_MAX_MS 300000
#define CHANNEL_KEEPALIVE_MS 15000     /* an idle connection is tried out after this */
#define CHANNEL_FAILURE_COUNT_MAX 1000 /* accounts set aside whose errors are told */

struct channel_options {  /* all is copied */
	const char *name; /* also of its durable cursor */
	struct channel_link_options link;
	const char *accounts; /* which are served (sync/account_filter.h); NULL: all */
	uint64_t rate_max;    /* bytes per second for backlogs; 0: unlimited */
	bool is_paused;       /* at first */
	/* Whether a channel of this node leads to that one; from the channel's thread, must not
	 * wait for it. NULL: none does. */
	bool (*reaches)(void *context, uint64_t node);
	void *context;
};

/* An account that is set aside. */
struct channel_failure {
	char account[ACCOUNT_NAME_SIZE_MAX + 1];
	char text[ERROR_TEXT_SIZE];
	unsigned count;       /* failures in a row */
	uint64_t since_ms;    /* since 1970: of the first of them */
	uint64_t retry_at_ms; /* monotonic */
};

struct channel_status {
	bool is_paused;
	bool is_connected;
	bool is_partial;    /* some mailboxes are not exchanged, because of us or of the peer */
	char peer[64];      /* address, or "" */
	uint64_t peer_node; /* 0: not met since the start, as the following */
	struct node_name peer_name;
	uint64_t last_success_ms; /* since 1970: when an exchange or a keepalive succeeded; 0: never
				   */
	char last_error[ERROR_TEXT_SIZE]; /* of the connection, or of the account that failed last;
					     "" */
	uint64_t pending_count;           /* accounts that wait, those set aside included */
	uint64_t pending_since_ms; /* since 1970: since when some have waited; 0: none does */
	uint64_t failing_count;    /* accounts set aside */
	uint64_t backlog_count;    /* of those that wait, how many were there at the start */
	uint64_t sent_size;        /* bytes since the start */
	uint64_t exchange_count;   /* since the start, as all of the following */
	uint64_t refused_count;
	uint64_t repair_count;
	uint64_t conflict_count;
	uint64_t sent_record_count;    /* that the peer has taken */
	uint64_t offered_record_count; /* sent, taken or not: the peer may have had them from
					  another */
	uint64_t connect_count;
};

struct channel;

/* Starts the channel's thread. `mail` stays borrowed until channel_stop(). */
struct channel *channel_start(struct mail *mail, const struct channel_options *options);
/* Ends it within moments, saves what it has reached, and sets *channel to NULL. A NULL *channel is
 * allowed. */
void channel_stop(struct channel **channel);

/*
 * Who uses the following two functions must hold the channel: channel_stop() waits until all have
 * let it go, and they return at once then.
 */
void channel_hold(struct channel *channel);
void channel_release(struct channel *channel);
/*
 * Has the peer answer one SYNC request, between those of the exchanges. ERR_UNAVAILABLE: there is
 * no connection, the request was not sent; ERR_REFUSED: the same, as it is paused; ERR_TIMEOUT,
 * ERR_CLOSED: it may have been carried out.
 */
int channel_ask(struct channel *channel, struct bytes request, unsigned timeout_ms,
	struct buffer *answer, struct error *error);
/*
 * Waits until the peer has the account as it was here at `sequence`, on its disk. ERR_UNAVAILABLE:
 * there is no connection; ERR_TIMEOUT.
 */
int channel_confirm(struct channel *channel, uint32_t account, uint64_t sequence,
	unsigned timeout_ms, struct error *error);

/* Any thread. A paused channel has no connection and keeps its cursor. */
void channel_set_paused(struct channel *channel, bool is_paused);
/*
 * The accounts that are set aside, at most CHANNEL_FAILURE_COUNT_MAX of them; returns how many,
 * *failures_r is the caller's to free. Any thread.
 */
size_t channel_get_failures(struct channel *channel, struct channel_failure **failures_r);
/* Any thread. */
void channel_get_status(struct channel *channel, struct channel_status *status_r);
/* How many changes were made here since the first that the peer may lack, whatever the account. */
uint64_t channel_lag_changes(struct channel *channel);
const char *channel_name(const struct channel *channel);

#endif
