/* origin_private: a clone's connection with its origin, and what it keeps of it; for origin*.c
 * only.
 */
#ifndef CHAPAR_CHAPARD_ORIGIN_PRIVATE_H
#define CHAPAR_CHAPARD_ORIGIN_PRIVATE_H

#include "chapard/origin.h"
#include "sync/responder.h"
#include "sync/survey.h"

struct origin_account {
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	uint64_t sequence; /* there */
	struct digest digest;
	uint64_t highest;
	/* What is seen of another user's, or nobody's. */
	bool is_foreign, is_shared;
	struct foreign_list mailboxes;
	struct id128 *ids; /* of these */
};

enum origin_phase { PHASE_CONNECT, PHASE_SURVEY, PHASE_EXCHANGE, PHASE_REST, PHASE_PAUSE };

/* How what is seen of another's account is exchanged. */
enum foreign_try { FOREIGN_FIRST, FOREIGN_LISTED, FOREIGN_BEGUN_ANEW };

struct origin {
	struct mail *mail;
	struct origin_options options;
	enum origin_phase phase;
	struct net_client *client;
	struct channel_link *link;
	struct sync_peer peer;
	bool has_connected;
	bool has_notify; /* the origin tells of changes */

	uint64_t cursor; /* where the survey goes on */
	struct origin_account *accounts;
	size_t account_count, account_room, account_next;

	char user[ACCOUNT_NAME_SIZE_MAX +
		  1];                /* whose own account is the clone's, as accounts are named */
	struct view_foreign foreign; /* what is exchanged of the present account ... */
	enum foreign_try foreign_try;
	bool has_unsent;           /* changes of it that are not there yet */
	struct view_filter filter; /* ... if it is a foreign one */
	struct exchange *exchange; /* NULL: none is under way */
	uint32_t number;           /* whose it is */
	bool is_comparing; /* a second exchange of this account: the first could only pull */
	struct buffer request;

	uint64_t request_count, equal_count;
	struct origin_state state;
	bool is_changed;          /* the state, so far as it is worth a commit */
	struct error first_error; /* of an account */
	bool is_loaded, is_over;
	uint64_t wake_at_ms, pause_ms; /* monotonic; of pauses */
};

/* ---- origin_account.c: the account whose turn it is ---- */

/* Begins its exchange, unless there is nothing to bring either way. */
int origin_account_start(struct origin *origin, struct error *error);
/* Sends what can be sent, and takes one answer. */
int origin_account_step(struct origin *origin, struct error *error);

int origin_state_put(struct mail *mail, const struct origin_state *state, struct error *error);

/*
 * origin_foreign.c: our copy of what the origin lets its user see of another's account. It is an
 * account here, too, so that it is served as there; the user has rights to its mailboxes, and
 * nobody can log in to it.
 */
struct origin_foreign {
	const char *user; /* as account_name_normalize() gives it */
	uint32_t number;  /* of the account here */
	const struct foreign_list *mailboxes;
};

/* Whether the account is such a copy. */
int origin_is_foreign(struct kv_txn *kv, uint32_t account, bool *is_foreign_r);
/* Finds or makes the copy. */
int origin_foreign_open(struct mail *mail, const char *name, bool is_shared, uint32_t *number_r,
	struct error *error);
/* Before an exchange: forgets the mailboxes that he sees no more. *is_anew_r: he sees some that are
 * not here yet. */
int origin_foreign_prepare(struct mail *mail, const struct origin_foreign *foreign, bool *is_anew_r,
	struct error *error);
/* After it: he has the rights that he has there, as far as they can be used here. */
int origin_foreign_grant(
	struct mail *mail, const struct origin_foreign *foreign, struct error *error);
/* Forgets all of it, so that it can be begun anew. */
int origin_foreign_forget(
	struct mail *mail, const struct origin_foreign *foreign, struct error *error);
/* Forgets all such copies but those named. */
int origin_foreign_forget_others(struct mail *mail, const char *user, const char *const *names,
	size_t count, struct error *error);

#endif
