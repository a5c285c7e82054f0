/*
 * exchange_private: the initiator's state, shared by the files that make its steps.
 *
 * An exchange is always in one phase. A phase gives requests until it has none left, takes the
 * answers in order, and when all have come its finish() chooses the next phase. An error keeps the
 * exchange waiting until all answers under way have come, so that the connection stays usable.
 */
#ifndef CHAPAR_SYNC_EXCHANGE_PRIVATE_H
#define CHAPAR_SYNC_EXCHANGE_PRIVATE_H

#include "sync/body_set.h"
#include "sync/changes.h"
#include "sync/exchange.h"
#include "sync/responder.h"
#include "sync/survey.h"
#include "sync/sync_limits.h"
#include "sync/wire.h"

#include "base/map.h"

#define EXCHANGE_REFUSED_MAX 4   /* refusals in a row before the peer is asked to merge */
#define EXCHANGE_INTEGRATE_MAX 2 /* times it is asked before we give up for now */

struct exchange;

struct exchange_phase {
	/* 1: *request is to be sent; 0: there is none now. */
	int (*send)(struct exchange *exchange, struct buffer *request);
	/* `text` is the whole answer, which lives as long as `map`: until take() returns. */
	int (*take)(struct exchange *exchange, struct bytes verb, const struct dlist *map,
		struct bytes text);
	/* No request is left and no answer is missing: goes to another phase, or ends. */
	int (*finish)(struct exchange *exchange);
};

struct queued_answer {
	struct queued_answer *next;
	struct buffer text;
};

struct push_body {
	struct guid guid;
	uint64_t size;
	struct stamp instance; /* of a message that shows it */
};

struct exchange_push {
	struct arena *arena;
	struct change_set changes;    /* to be sent, or parts of it that were sent already */
	struct account_header header; /* as we were when `changes` was read ... */
	struct digest digest;         /* ... of what is exchanged ... */
	struct view view;             /* ... which was this */
	struct push_body *bodies;     /* to be put */
	struct change_set whole; /* what is applied in parts, each `changes` in turn; by modseq */
	size_t *part_ends;       /* in whole.messages, of all parts but the last */
	size_t part_end_count, part_next;
	bool is_part; /* `changes` is a part, and not the last */
	size_t body_count, body_room, body_next;
	size_t asked_count; /* bodies asked about with LACKS */
	size_t record_next; /* records already sent, counted through all kinds */
	bool is_integrate;  /* the peer is to merge them; else to apply them */
	bool is_sent;
	bool has_changed; /* the peer's answer: it is not where we expect it */
	bool has_applied, has_differed, has_integrated, has_filled;
	bool is_fill;        /* `changes` is a part of a first copy ... */
	bool is_last;        /* ... the last one */
	uint64_t reached;    /* where the peer says its first copy is ... */
	bool is_whole;       /* ... and that it is whole */
	uint64_t sequence;   /* the peer's, after it applied */
	unsigned part_count; /* STAGEs sent */
	struct map put;      /* GUIDs put since `changes` was read */
	bool is_asked_for;   /* the peer said that it lacks the bodies to be put */
	bool has_withheld;   /* some of them turned out to be damaged, and are withheld now */
	bool is_outdated; /* a body to be put was gone: its message was expunged here meanwhile */
	bool is_missing_again; /* all that the peer misses was put before */
};

/* A first copy in parts (fill.h). `reached` and `mailboxes` are sequences of the source. */
struct exchange_fill {
	bool is_on;         /* the peer's copy is being filled by us, ... */
	bool is_pull;       /* ... or ours from it */
	uint64_t reached;   /* what the receiver has */
	uint64_t mailboxes; /* up to which it has all mailboxes */
	uint64_t told;      /* of a pull: at which the part in `theirs` was read */
	size_t part_size;   /* records in one part */
};

struct exchange_repair;

struct exchange {
	struct mail *mail;
	uint32_t account;
	uint64_t peer;
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	struct exchange_result result;
	const struct exchange_phase *phase; /* NULL: before the first step */
	bool is_done;
	bool is_pull;                 /* nothing of ours is sent */
	bool is_restricted;           /* the peer does not merge for us */
	bool is_anew;                 /* no common point is looked for */
	const struct map *told_there; /* exchange_set_told(), or NULL */
	bool is_lossy;                /* what a repair finds missing was lost, not deleted */
	bool puts_packed;             /* bodies go as they are stored */
	struct exchange_progress progress;

	struct queued_answer *answers, **answers_end;
	bool is_staging_held; /* exchange_hold_staging() */
	unsigned awaiting;    /* requests not answered yet, counting queued answers */
	struct arena *scratch;

	const struct view_filter *filter;
	struct id128 *told; /* mailboxes that the peer told of */
	size_t told_count, told_room;
	struct view_also also; /* what we tell the peer of: as of the last exchange_view() */
	bool tells_all;        /* all of the view: the sides may not agree on what it is */
	struct common_point known, point; /* `point` is the one this exchange starts from */
	uint64_t
		integrated_at; /* our sequence that the peer has merged in this exchange; 0: none */
	uint64_t expect;       /* the peer's sequence, as far as we know */
	uint64_t position;     /* of our last commit */
	unsigned refused_in_row, illegal_count;

	struct arena *their_arena;
	struct change_set theirs; /* what the peer has changed since the common point */
	struct digest their_digest;
	uint64_t their_highest; /* as POINTS told it */
	bool has_theirs;
	bool has_more; /* the peer's changes go on after theirs.sequence */
	bool is_asked; /* one CHANGES or POINTS is under way */
	bool exists_there;
	uint64_t conflicts_since; /* our clock before the first merge that noted what the peer has
				     not been told; 0: none did */
	uint64_t behind;   /* where the peer knew our copy, which was restored; 0: it was not */
	bool has_surveyed; /* the peer was asked where its copy is */
	bool is_refused_by_peer; /* the error is its own */
	struct error setback;    /* before it was asked so */
	struct body_set bodies;
	struct stamp *wanted; /* messages whose bodies are to be got */
	uint64_t *wanted_sizes;
	size_t wanted_count, wanted_next;
	bool has_got;           /* at least one body came in this round */
	bool is_withheld_there; /* the peer could not read one that we asked for */
	bool asks_first;        /* a body that the peer may not need at all is damaged here */

	struct exchange_push push;
	struct exchange_repair *repair;
	struct exchange_fill fill;
	struct account_header own;          /* as we began */
	struct survey_account their_survey; /* what POINTS told, but for the name */
};

/* Each makes `*this` phase the present one. */
/* Ask for theirs since what is known of them, in this exchange or from the common point. */
int exchange_begin_changes(struct exchange *exchange);
int exchange_begin_bodies(struct exchange *exchange); /* get what `theirs` lacks here, then merge */
int exchange_begin_push(struct exchange *exchange);
int exchange_begin_integrate(struct exchange *exchange); /* push, for the peer to merge */
int exchange_begin_repair(struct exchange *exchange);

/* Adds an answer's changes to `theirs`; `text` is copied. */
int exchange_take_changes(struct exchange *exchange, const struct dlist *map, struct bytes text);
void exchange_forget_theirs(struct exchange *exchange);
/* The peer has told of these mailboxes: they are in the view from now on. */
void exchange_note_told(struct exchange *exchange, const struct change_set *theirs);
/* Tells the peer of mailboxes that are in the view and would not be by their names. */
void exchange_put_also(const struct exchange *exchange, struct dlist_writer *writer);
/* What is exchanged, as of a snapshot. view_close() it, also after errors. */
int exchange_view(struct exchange *exchange, struct kv_txn *kv, struct view *view_r);
/* `theirs` is all that changed there since the common point (and not what a repair compared). */
bool exchange_knows_theirs(const struct exchange *exchange);
/* The peer was elsewhere once more; ERR_UNAVAILABLE if that was too often. */
int exchange_count_refusal(struct exchange *exchange);
/* Merges theirs into our copy; compared is not NULL in a repair (see integrate.h). */
int exchange_merge(struct exchange *exchange, const struct change_set *compared, uint64_t expect);

/*
 * exchange_withheld.c (withheld.h). release: where what was withheld from anyone can be read again.
 * take: what an answer to GET says of bodies that are damaged there. note: bodies that were to be
 * put are damaged here; they are withheld from now on, or, if the peer has not said that it lacks
 * them, it is asked first. Then all is read anew.
 */
int exchange_release(struct exchange *exchange);
int exchange_take_withheld(struct exchange *exchange, const struct dlist *map);
int exchange_withhold(struct exchange *exchange, const struct stamp *instances, size_t count);

/* exchange_foreign.c: of what we see of another's account. */
/* Undoes here what an ERROR names as refused: it is forgotten, to come anew. */
int exchange_give_up(struct exchange *exchange, const struct dlist *map);
static inline bool exchange_is_foreign(const struct exchange *exchange)
{
	return exchange->filter != NULL && exchange->filter->foreign != NULL;
}
/* Where all that there is was listed anew, without a common point: what is not there is dropped
 * here. Does nothing otherwise. */
int exchange_forget_unlisted(struct exchange *exchange);
/* Whether push.changes hold what was appended here and has to be told otherwise (guest.h). */
bool exchange_has_unsent(const struct exchange *exchange);

/* In place of a push, of an exchange that only pulls. */
int exchange_finish_pull(struct exchange *exchange);

/* Sends `changes`, which were read at `header`; takes both over. */
int exchange_push_prepared(struct exchange *exchange);
/* Whether the next request would be the first of several parts. */
bool exchange_push_would_stage(const struct exchange *exchange);
void exchange_push_reset(struct exchange_push *push);
/* Begins a new one: a snapshot of our copy, to be ended also after errors, and the push's arena,
 * header, view and digest as of that. */
int exchange_push_open(struct exchange *exchange, struct kv_txn **kv_r);
/* Of the bodies that may have to be put: one more, and then each once. */
void exchange_push_add_body(struct exchange_push *push, const struct message_record *message);
void exchange_push_unique_bodies(struct exchange_push *push);

/*
 * exchange_parts.c: a large push is applied in parts. begin: push.changes, which is to be applied,
 * may become the first of them. next: that was applied, and the next is sent.
 */
void exchange_parts_begin(struct exchange *exchange);
int exchange_parts_next(struct exchange *exchange);

/* Puts the bodies that push.changes needs, then sends it. */
int exchange_push_begin(struct exchange *exchange);

/*
 * exchange_fill.c. begin: POINTS was answered; 1 if a first copy is to come in parts, which is the
 * present phase then, 0 if not.
 */
int exchange_fill_begin(struct exchange *exchange);
/* The present part is to be read anew and sent. */
int exchange_fill_send(struct exchange *exchange);
/* The peer has answered it. */
int exchange_fill_sent(struct exchange *exchange);
/* Adds the keys by which CHANGES asks for a part; looks whether the answer is one. */
void exchange_fill_ask(struct exchange *exchange, struct dlist_writer *writer);
int exchange_fill_look(struct exchange *exchange, const struct dlist *map);
/* Whether `theirs` is a part to be taken by itself, although there may be more. */
bool exchange_fill_is_part(const struct exchange *exchange);
/* Takes it; all bodies are here. */
int exchange_fill_take(struct exchange *exchange);
/* The peer knew our copy at a sequence `behind`: if it is not there, it was restored, and returns.
 */
int exchange_return(struct exchange *exchange, uint64_t behind);
/* Our copy is as the peer's, or has all of it: users are served from now on, if they were not. */
int exchange_end_hold(struct exchange *exchange);

/* In a repair: all bodies are here; merges, and goes on to push. */
int exchange_repair_merge(struct exchange *exchange);
/* In a repair: adds to *changes what all compared records are here now, so that the push holds
 * them. */
int exchange_repair_list(struct exchange *exchange, struct kv_txn *kv, struct arena *arena,
	struct change_set *changes);
void exchange_repair_free(struct exchange_repair **repair);
/* A repair compares the copies: what the peer sends is not all that it changed. */
bool exchange_is_comparing(const struct exchange *exchange);

#endif
