/*
 * channel_private: a channel's state, for channel*.c only.
 *
 * Everything but what stands under `lock` belongs to the channel's thread.
 */
#ifndef CHAPAR_CHAPARD_CHANNEL_PRIVATE_H
#define CHAPAR_CHAPARD_CHANNEL_PRIVATE_H

#include "chapard/channel_link.h"
#include "sync/exchange.h"

#include <pthread.h>

#define CHANNEL_WINDOW 8u       /* exchanges under way together */
#define CHANNEL_SCAN_COUNT 500u /* feed entries looked at together */
#define CHANNEL_SAVE_MS 1000    /* how long after a success its point may be unsaved */
#define CHANNEL_BUSY_MS 50      /* until an account that changed all the time is exchanged again */
#define CHANNEL_BUCKET_COUNT 1024u

enum channel_account_state {
	CHANNEL_ACCOUNT_IDLE,
	CHANNEL_ACCOUNT_READY,  /* in the ready queue */
	CHANNEL_ACCOUNT_ACTIVE, /* being exchanged */
	CHANNEL_ACCOUNT_RESTING /* set aside until retry_at_ms */
};

/* An account that is dirty, or whose common point is not saved yet. */
struct channel_account {
	struct channel_account *next;       /* in its bucket */
	struct channel_account *ready_next; /* in the ready queue */
	uint32_t number;
	enum channel_account_state state;
	uint64_t dirty_at; /* feed sequence not dealt with; 0: none */
	uint64_t serving;  /* what dirty_at was when the exchange began */
	bool is_surveyed;  /* the peer was asked whether it differs at all */
	bool is_unsaved;   /* `point` is later than what is saved */
	struct common_point point;
	struct exchange *exchange;
	unsigned failure_count; /* in a row */
	uint64_t retry_at_ms;   /* monotonic */
};

struct channel {
	struct channel_options options; /* strings are our own */
	struct mail *mail;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t stopped;
	bool is_stopping;
	struct net_client *client; /* while there is a connection or an attempt */
	struct channel_status status;

	struct channel_link *link;
	uint64_t peer;         /* node id; 0: never met */
	uint64_t cursor;       /* feed sequence looked at */
	uint64_t saved_cursor; /* as in the store */
	uint64_t saved_peer;
	uint64_t save_at_ms; /* monotonic; 0: nothing to save */

	struct channel_account *buckets[CHANNEL_BUCKET_COUNT];
	struct channel_account *ready, **ready_end;
	struct channel_account *active[CHANNEL_WINDOW];
	size_t active_count, resting_count;
	struct channel_account **asked; /* whose answers are to come, oldest first */
	size_t asked_first, asked_count, asked_room;
};

/* channel_queue.c: which accounts are dirty */
/* Reads feed entries after the cursor into the ready queue. */
int channel_scan(struct channel *channel, struct error *error);
void channel_make_ready(struct channel *channel, struct channel_account *account);
/* Takes the first of the ready queue, or NULL. */
struct channel_account *channel_take_ready(struct channel *channel);
/* Makes those ready whose rest is over. Returns when the next one's is (monotonic ms), or 0. */
uint64_t channel_wake_resting(struct channel *channel, uint64_t now_ms);
/* Reads the durable cursor and peer. */
int channel_load(struct channel *channel, struct error *error);
/* Saves common points and how far the feed was served without a gap. */
int channel_save(struct channel *channel, struct error *error);
/* The peer is another node than before: all accounts are dirty towards it. */
void channel_meet(struct channel *channel, uint64_t peer);
void channel_forget_all(struct channel *channel);

/* channel_serve.c: exchanges over a link */
/* Serves until the link breaks or the channel stops; the reason is in *error. */
void channel_serve(struct channel *channel, struct error *error);
bool channel_is_stopping(struct channel *channel);

#endif
