/*
 * channel_private: a channel's state, for channel*.c only.
 *
 * Everything but what stands under `lock` belongs to the channel's thread.
 */
#ifndef CHAPAR_CHAPARD_CHANNEL_PRIVATE_H
#define CHAPAR_CHAPARD_CHANNEL_PRIVATE_H

#include "chapard/channel.h"
#include "sync/exchange.h"

#include <pthread.h>
#include <sys/queue.h>

#define CHANNEL_WINDOW 32u     /* exchanges under way together ... */
#define CHANNEL_BULK_WINDOW 4u /* ... of them for the backlog */
/* Bytes sent and not answered, of all exchanges that send much. A single request may be larger. */
#define CHANNEL_AHEAD_SIZE (4u * 1024 * 1024)
#define CHANNEL_BULK_SIZE (1024u * 1024) /* bytes; an exchange that has sent more sends much */
#define CHANNEL_SCAN_COUNT 500u          /* feed entries looked at together */
#define CHANNEL_SAVE_MS 1000             /* how long after a success its point may be unsaved */
/* Until an account that changed all the time is exchanged again; twice as long each time in a row,
 * up to ... */
#define CHANNEL_BUSY_FIRST_MS 4
#define CHANNEL_BUSY_MS 50
#define CHANNEL_POSTPONED_MS 5000 /* ... and one whose first copy comes from another node */
#define CHANNEL_BUCKET_COUNT 1024u

enum channel_account_state {
	CHANNEL_ACCOUNT_IDLE,
	CHANNEL_ACCOUNT_READY,  /* in one of the ready queues */
	CHANNEL_ACCOUNT_ACTIVE, /* being exchanged */
	CHANNEL_ACCOUNT_RESTING /* set aside until retry_at_ms */
};

/* An account that is dirty, or whose common point is not saved yet. */
struct channel_account {
	struct channel_account *next;            /* in its bucket */
	TAILQ_ENTRY(channel_account) ready_link; /* in a ready queue */
	uint32_t number;
	enum channel_account_state state;
	bool is_backlog;   /* it was dirty before the connection, and has not changed since */
	uint64_t dirty_at; /* feed sequence not dealt with; 0: none */
	uint64_t serving;  /* what dirty_at was when the exchange began */
	bool is_surveyed;  /* the peer was asked whether it differs at all */
	bool is_unsaved;   /* `point` is later than what is saved */
	struct common_point point;
	struct exchange *exchange;
	uint64_t sent_size;        /* bytes, by this exchange */
	unsigned busy_count;       /* exchanges in a row that did not keep up */
	unsigned failure_count;    /* in a row */
	uint64_t failing_since_ms; /* since 1970 */
	uint64_t retry_at_ms;      /* monotonic */
	char failure[ERROR_TEXT_SIZE];
};

TAILQ_HEAD(channel_queue, channel_account);

struct channel_question;
struct channel_waiter;
TAILQ_HEAD(channel_questions, channel_question);
TAILQ_HEAD(channel_waiters, channel_waiter);

/* A request whose answer is to come. */
struct channel_asked {
	struct channel_account *account;   /* whose exchange sent it, or NULL and ... */
	struct channel_question *question; /* ... who asked */
	size_t bulk_size;                  /* bytes; 0: its exchange does not send much */
};

struct channel {
	struct channel_options options; /* strings are our own */
	struct mail *mail;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t stopped; /* or paused, or resumed */
	bool is_stopping, is_paused;
	struct channel_failure *failures;
	size_t failure_count;
	pthread_cond_t told;                /* to those who hold the channel, and to who stops it */
	unsigned user_count;                /* that hold it */
	struct channel_questions questions; /* not sent yet */
	struct channel_waiters waiters;
	struct net_client *client; /* while there is a connection or an attempt */
	struct channel_status status;

	struct channel_link *link;
	uint64_t peer;    /* node id; 0: never met */
	bool puts_packed; /* it takes bodies so */
	/* Patterns of the mailboxes that the peer lets us see; "": all. Met, and as in the store.
	 */
	char limit[ACCOUNT_FILTER_SIZE_MAX + 1];
	struct view_filter filter; /* what is exchanged: the options' mailboxes, and these */
	uint64_t cursor;           /* feed sequence looked at, of the backlog if there is one */
	uint64_t backlog_end;      /* feed sequence where the backlog ends; 0: there is none */
	uint64_t live_cursor;      /* feed sequence looked at beyond the backlog */
	uint64_t saved_cursor;     /* as in the store */
	uint64_t served;           /* what channel_served() told last; under `lock` */
	uint64_t saved_peer;
	uint64_t save_at_ms; /* monotonic; 0: nothing to save */

	struct channel_account *buckets[CHANNEL_BUCKET_COUNT];
	struct channel_queue live, backlog; /* ready ones */
	struct channel_account *active[CHANNEL_WINDOW];
	size_t active_count, bulk_active_count, resting_count, failing_count;
	struct channel_account
		*staging;            /* active; the parts of its request are under way; or NULL */
	struct channel_asked *asked; /* oldest first */
	size_t asked_first, asked_count, asked_room;
	uint64_t bulk_ahead_size; /* bytes sent by exchanges that send much, and not answered */
	int64_t rate_credit;      /* bytes that options.rate_max allows now */
	uint64_t rate_at_ms;      /* monotonic: when it was reckoned */
};

/* channel_queue.c: which accounts are dirty */
/* The feed is served up to here without a gap. */
uint64_t channel_served(const struct channel *channel);
/* Reads feed entries after the cursor into the ready queue. */
int channel_scan(struct channel *channel, struct error *error);
void channel_make_ready(struct channel *channel, struct channel_account *account);
/* Takes the first that is ready, live ones before the backlog, of which no more than
 * CHANNEL_BULK_WINDOW are under way together; or NULL. */
struct channel_account *channel_take_ready(struct channel *channel);
bool channel_has_ready(const struct channel *channel);
/* Makes those ready whose rest is over. Returns when the next one's is (monotonic ms), or 0. */
uint64_t channel_wake_resting(struct channel *channel, uint64_t now_ms);
/* Reads the durable cursor and peer. */
int channel_load(struct channel *channel, struct error *error);
/* Saves common points and how far the feed was served without a gap. */
int channel_save(struct channel *channel, struct error *error);
/* A connection has come up. If the peer is another node than before, all accounts are dirty towards
 * it, as if it shows us other mailboxes. What is dirty now is the backlog. */
void channel_meet(struct channel *channel, const struct sync_peer *peer);
void channel_forget_all(struct channel *channel);

/* channel_failure.c: accounts set aside */
/* Sets the account aside, for longer with each failure in a row. */
void channel_set_aside(
	struct channel *channel, struct channel_account *account, const struct error *error);
/* Logs that bytes of messages turned out to be damaged (withheld.h); `chapar status` lists them on
 * the node that has them. */
void channel_tell_withheld(struct channel *channel, const struct channel_account *account,
	const struct exchange_result *result);
/*
 * Whether the exchange failed because the peer gave its copy up, when the account was moved to a
 * node that hears of changes from us: then nothing is to be done. Forgets what was common.
 */
bool channel_is_elsewhere(struct channel *channel, struct channel_account *account,
	const struct exchange_result *result);
/* Its exchange succeeded. */
void channel_clear_failure(struct channel *channel, struct channel_account *account);
void channel_forget_failures(struct channel *channel);

/* channel_ask.c: what other threads want of the channel */
/* Sends what is asked. */
int channel_send_questions(struct channel *channel, struct error *error);
void channel_answer_question(
	struct channel *channel, struct channel_question *question, struct bytes answer);
/* The link broke, with this one under way; NULL is allowed. */
void channel_fail_question(struct channel *channel, struct channel_question *question);
/* The peer has the account as it was at `sequence`. */
void channel_tell_confirmed(struct channel *channel, uint32_t account, uint64_t sequence);
/* Looks for those who wait for what the peer has already. */
void channel_check_waiters(struct channel *channel);

/* The account's latest common point, in account->point, and its header. */
int channel_read_point(
	struct channel *channel, struct channel_account *account, struct account_header *header_r);
/* The account if it is known to be dirty or unsaved, or NULL. */
struct channel_account *channel_find_account(struct channel *channel, uint32_t number);

/* channel_serve.c: exchanges over a link */
/* Notes that an answer is to come. */
void channel_push_asked(struct channel *channel, struct channel_asked asked);
/* Serves until the link breaks or the channel stops; the reason is in *error. */
void channel_serve(struct channel *channel, struct error *error);
bool channel_is_stopping(struct channel *channel);

#endif
