/*
 * sim_guest: users who keep clones of what they see of the account (docs/replication.md, Others'
 * mailboxes), for schedules of --guests. A guest's clone is the clone's own code (chapard/origin.h)
 * over a connection that breaks (sim_guest_link.c); his clients act on it off line, and while it
 * syncs. The nodes that hold the account go on as in other schedules.
 *
 *	sim_guest.c        who they are, when they sync, and what must be so in the end
 *	sim_guest_act.c    acts of their clients
 *	sim_guest_link.c   the connection, and the node that answers
 *	sim_guest_watch.c  P9: what a request of theirs changed there, held against their rights
 *	sim_guest_note.c   what their clients were told, and whether it is still so
 */
#ifndef CHAPAR_TESTS_SIM_GUEST_H
#define CHAPAR_TESTS_SIM_GUEST_H

#include "sim.h"

#include "chapard/origin.h"
#include "mail/acl.h"

#define GUEST_USER "guest"
#define GUEST_COUNT_MAX 2
#define GUEST_LATE_COUNT_MAX 24

struct guest_notes;

struct guest_cursor { /* of an account of the clone */
	uint64_t sequence;
	uint64_t clock; /* modseq */
};

struct guest {
	struct sim *sim;
	struct sim_node clone; /* its account is the copy of what he sees; 0: there is none yet */
	uint32_t own;          /* his own account there; 0: none yet */
	struct config_origin config;
	struct origin *origin; /* a sync under way, or NULL */
	bool mishaps;
	bool is_broken;                             /* the connection, by a mishap */
	struct guest_cursor account_seen, own_seen; /* up to where acts are noted */
};

/* A request of a guest that may be delivered once more. */
struct guest_late {
	struct buffer bytes;
	size_t guest;
};

struct guests {
	struct guest list[GUEST_COUNT_MAX];
	size_t count;
	size_t server;  /* the node that they come from */
	bool is_steady; /* their rights stay as they are given in the beginning: all */
	struct guest_late late[GUEST_LATE_COUNT_MAX];
	size_t late_count;
	struct guest_notes *notes;
};

/* ---- sim_guest.c ---- */
struct guests *guests_new(struct sim *sim);
void guests_free(struct guests **guests);
/* Something that has to do with them. */
void guests_step(struct sim *sim);
/* When the nodes are equal: syncs without mishaps until all is at rest; then what must hold. */
void guests_converge(struct sim *sim);
/* Traces their copies. */
void guests_tell(struct sim *sim);
struct sim_node *guests_server(struct sim *sim);
/* His own account at the server. */
uint32_t guests_own_there(struct sim *sim);
/* Who he is to a node where his own account has this number. */
struct identity guest_identity(uint32_t own);

/* ---- sim_guest_act.c ---- */
void guest_act(struct guest *guest);

/* ---- sim_guest_link.c ---- */
/* Whose connection is opened next. */
void guest_link_begin(struct guest *guest);
/* A request of the past comes again. */
void guest_late_deliver(struct sim *sim);

/* ---- sim_guest_watch.c ---- */
struct guest_watch {
	struct kv_txn *before;
	uint64_t sequence;
};
void guest_watch_begin(struct sim *sim, struct guest_watch *watch);
void guest_watch_end(struct sim *sim, struct guest_watch *watch);

/* ---- sim_guest_note.c ---- */
struct guest_notes *guest_notes_new(void);
void guest_notes_free(struct guest_notes **notes);
/* What came by a sync is not an act. */
void guest_note_synced(struct guest *guest);
/* What changed since then was a client's act. */
void guest_note_act(struct guest *guest);
void guest_notes_check(struct sim *sim);

#endif
