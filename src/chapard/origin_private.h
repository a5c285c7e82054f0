/* origin_private: a clone's connection with its origin, and what it keeps of it; for origin*.c
 * only.
 */
#ifndef CHAPAR_CHAPARD_ORIGIN_PRIVATE_H
#define CHAPAR_CHAPARD_ORIGIN_PRIVATE_H

#include "chapard/origin.h"
#include "mail/acl_guest.h"
#include "sync/guest_acl.h"
#include "sync/responder.h"
#include "sync/survey.h"

#include "base/map.h"

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

enum origin_phase {
	PHASE_CONNECT,
	PHASE_HAND,
	PHASE_SURVEY,
	PHASE_EXCHANGE,
	PHASE_REST,
	PHASE_PAUSE
};

/* How what is seen of another's account is exchanged. */
enum foreign_try { FOREIGN_FIRST, FOREIGN_LISTED, FOREIGN_BEGUN_ANEW, FOREIGN_GIVEN_UP };

#define HAND_COUNT_MAX 100 /* messages looked up at once */

struct origin_act { /* a mailbox made, renamed or deleted here ... */
	struct stamp stamp;
	struct id128 mailbox;
	struct acl_act entry; /* ... or, if it has an identifier, who may do what with it */
};
struct origin_united { /* made here, under a name that another has there */
	struct id128 from, to;
};

/* What is on its way to others' mailboxes (origin_hand.c). */
struct origin_hand {
	struct account_header account; /* the one whose turn it is; number 0: none yet */
	uint64_t after;                /* our sequence, up to which it was looked through */
	struct stamp instances[HAND_COUNT_MAX]; /* to be told next */
	size_t count, next;
	bool has_acts; /* those of this account are listed */
	struct origin_act *acts;
	size_t act_count, act_next, act_room;
	struct origin_united *united;
	size_t united_count, united_room;
	struct map told; /* instances that the origin has, of this round */
	struct arena *arena;
};

struct origin {
	struct mail *mail;
	struct origin_options options;
	enum origin_phase phase;
	struct net_client *client;
	struct channel_link *link;
	struct sync_peer peer;
	bool has_connected;
	bool has_notify; /* the origin tells of changes */

	struct origin_hand hand;
	uint64_t cursor; /* where the survey goes on */
	struct origin_account *accounts;
	size_t account_count, account_room, account_next;

	char user[ACCOUNT_NAME_SIZE_MAX +
		  1];                /* whose own account is the clone's, as accounts are named */
	struct view_foreign foreign; /* what is exchanged of the present account ... */
	enum foreign_try foreign_try;
	unsigned
		given_up_tries; /* of the present account, where the origin named what it refused */
	uint64_t foreign_since; /* the common point before it, as our sequence */
	bool has_unsent;        /* changes of it that are not there yet */
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

/*
 * origin_hand.c: what was appended here to others' mailboxes is told to the origin, which gives it
 * its place, one message for each step, before anything else of a round. What it does not take
 * moves into a mailbox of the user's own.
 */
void origin_hand_begin(struct origin *origin);
int origin_hand_step(struct origin *origin, struct error *error);
void origin_hand_deinit(struct origin *origin);
/* The same of one mailbox that is to be forgotten, without asking the origin. *until_r: the
 * account's sequence up to which nothing of it is left here alone. */
int origin_hand_keep_all(struct origin *origin, uint32_t account, struct id128 mailbox,
	uint64_t *until_r, struct error *error);

/* What is left of this account's waits; told as an error. */
void origin_hand_put_off(struct origin *origin, int rc, struct error *why);

/* ---- origin_arrange.c ---- */

struct origin_act *origin_act_add(
	struct origin_hand *hand, struct stamp stamp, struct id128 mailbox);
/* Tells the user what the origin did not take, and notes it in his journal. */
int origin_act_refused(struct origin *origin, const struct mailbox_record *mailbox,
	struct stamp act, const struct error *why, struct error *error);
/* Whether the origin is to hear of its name, or that it is deleted. */
bool origin_arrange_is_pending(uint64_t writer, const struct mailbox_record *mailbox);
/* The acts of hand->account. Errors of reading. */
int origin_arrange_list(struct origin *origin, struct kv_txn *kv);
/* Tells the next of them. */
int origin_arrange_step(struct origin *origin, struct error *error);
/* How many acts an account has, whoever is to have a turn: 0 of one that is the user's own. */
int origin_arrange_count(struct kv_txn *kv, uint32_t account, uint64_t *count_r);
/* 1 if an account has such acts of mailboxes, 0 if not, or an error of reading. */
int origin_arrange_waits(struct origin *origin, uint32_t account);
/* Where what is in a mailbox here goes there. */
struct id128 origin_arrange_home(const struct origin_hand *hand, struct id128 mailbox);

/* ---- origin_acl.c ---- */

/* Adds the changed entries of hand->account to its acts. Errors of reading. */
int origin_acl_list(struct origin *origin, struct kv_txn *kv);
/* Tells one of them. */
int origin_acl_step(struct origin *origin, const struct acl_act *act, struct error *error);

/* origin.c: one request, and its answer, which is borrowed until the next. */
int origin_ask(struct origin *origin, struct bytes *answer_r, struct error *error);

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

struct origin_acl { /* what the origin told of entries */
	struct arena *arena;
	struct guest_acl_list list;
	struct acl_guest_point point;
	bool is_told;
};
/* origin_acl.c: asks for those that were changed since they were told; `lacks_any`: for all. */
int origin_acl_ask(struct origin *origin, const struct origin_foreign *foreign, bool lacks_any,
	struct origin_acl *acl_r, struct error *error);
/* NULL: nothing was told of it. */
const struct acl *origin_acl_of(const struct origin_acl *acl, struct id128 mailbox);

/* origin_state.c: what origin_count_pending() counts, as far as exchanges bring it. */
int origin_count_unsent(struct kv_txn *kv, uint32_t account, uint64_t peer, uint64_t *count_r);

/* Whether the account is such a copy. */
int origin_is_foreign(struct kv_txn *kv, uint32_t account, bool *is_foreign_r);
/* Finds or makes the copy of an account that the origin tells of. */
int origin_foreign_open(struct origin *origin, const struct origin_account *theirs,
	uint32_t *number_r, struct error *error);
/* Before an exchange: forgets the mailboxes that he sees no more. *is_anew_r: he sees some that are
 * not here yet. */
int origin_foreign_prepare(struct origin *origin, const struct origin_foreign *foreign,
	bool *is_anew_r, struct error *error);
/* After it: he has the rights that he has there, as far as they can be used here, and sees who else
 * has which where he may administer. */
int origin_foreign_grant(
	struct origin *origin, const struct origin_foreign *foreign, struct error *error);
/* What was withdrawn (mail/forget.h) since our sequence, and is not shown again. */
int origin_foreign_tidy(
	struct origin *origin, uint32_t account, uint64_t since, struct error *error);
/* Forgets all of it, so that it can be begun anew; with what he flagged, or without
 * (mail/forget.h).
 */
int origin_foreign_forget(struct origin *origin, const struct origin_foreign *foreign,
	bool keeps_flags, struct error *error);
/* Forgets all such copies but those named. */
int origin_foreign_forget_others(
	struct origin *origin, const char *const *names, size_t count, struct error *error);

#endif
