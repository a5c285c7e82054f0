/*
 * sim: several nodes in one process, each with the real store (in memory), mail layer and exchange
 *code, over a virtual network and clock. A schedule is a run of random acts of clients, exchanges
 *and mishaps drawn from one seed, which repeats it exactly; while it runs, what the clients of
 *every copy see is held to P2 to P5, and when it is over the copies must become equal (P6) and hold
 *everything that was acknowledged (P1, P7).
 *
 *	sim_schedule.c  what happens next
 *	sim_client.c    acts of clients, through mail.h: mail and mailboxes
 *	sim_settings.c  ... and everything else that an account holds
 *	sim_forward.c   messages that another node is to append
 *	sim_guest*.c    users with clones of what they see of the account (sim_guest.h)
 *	sim_epilogue.c  scenes with a known end, played when all copies are equal
 *	sim_link.c      exchanges over a network that loses, repeats and delays
 *	sim_node.c      nodes: clocks, snapshots, restoring from them
 *	sim_observe.c   what the clients of one copy were told, and whether it was legal
 *	sim_ledger.c    what was acknowledged of messages and settings, and whether it is still
 *there sim_ledger_more.c  ... of mailboxes and scripts
 */
#ifndef CHAPAR_TESTS_SIM_H
#define CHAPAR_TESTS_SIM_H

#include "sync/exchange.h"
#include "sync/responder.h"

#include "base/map.h"
#include "base/random.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define SIM_NODE_COUNT_MAX 6
#define SIM_LINK_COUNT_MAX 32
#define SIM_LATE_COUNT_MAX 64 /* requests kept to be delivered once more */
#define SIM_ROAMER_COUNT 4
#define SIM_START_MS 1700000000000u
#define SIM_ACCOUNT "user@example.org"

struct sim;
struct observer;
struct ledger;
struct ledger_more;
struct guests;

struct sim_clock {
	struct clock clock;
	const struct sim *sim;
	int64_t skew_ms;
};

/* What a node's append router knows. */
struct sim_router {
	struct sim *sim;
	size_t node; /* by index */
};

struct sim_node {
	uint64_t id;
	struct sim_clock clock;
	struct store *store;
	struct mail *mail;
	uint32_t account;  /* 0: it has none yet */
	uint64_t position; /* of the last commit */
	struct observer *observer;
	struct snapshot *snapshot; /* a backup of it, or NULL */
	struct sim_router router;
};

/* Which mailboxes a connection is about: patterns of who begins it, and what the other lets him
 * see; NULL: all. */
struct sim_filter {
	const char *asked;
	const char *allowed;
};

/* A request as it went over the network. */
struct sim_request {
	struct buffer bytes;
	size_t from, to;         /* nodes by index ... */
	uint64_t from_id, to_id; /* ... and by id: a node that was restored is another one */
	bool is_append;          /* comes again as long as its message is known */
	struct sim_filter filter;
};

/* An exchange under way from one node to another. */
struct sim_link {
	size_t from, to;
	struct sim_filter filter;
	struct view_filter view;   /* the same, as the exchange has it */
	struct exchange *exchange; /* NULL: the place is free */
	struct sync_session *session;
	struct buffer requests[8]; /* sent, not yet answered */
	size_t request_count;
};

struct sim {
	struct random random;
	uint64_t seed;
	uint64_t now_ms;
	int64_t earliest_skew_ms;
	uint64_t next_id; /* of a node to come */
	struct sim_node nodes[SIM_NODE_COUNT_MAX];
	size_t node_count;
	struct {
		size_t from, to;
		struct sim_filter filter;
	} pairs[SIM_LINK_COUNT_MAX]; /* the topology: who begins exchanges with whom */
	size_t pair_count;
	const char *topology;
	struct sim_link links[SIM_LINK_COUNT_MAX]; /* by pair */
	struct sim_request late[SIM_LATE_COUNT_MAX];
	size_t late_count;
	struct {
		struct observer *observer;
		uint64_t node_id;    /* where it comes from */
	} roamers[SIM_ROAMER_COUNT]; /* clients that will move to another copy */
	struct ledger *ledger;
	struct {
		unsigned carrying,
			useful; /* exchanges with records, and such that changed a copy */
	} traffic[SIM_NODE_COUNT_MAX][SIM_NODE_COUNT_MAX]; /* by smaller and greater node */
	unsigned race_percent;    /* how often a client acts between two steps of an exchange */
	unsigned tear_percent;    /* how often an exchange is torn, at each of its steps */
	size_t emphasis;          /* which act of clients is frequent in this schedule */
	unsigned forward_percent; /* how often a message is sent to another node to be appended */
	bool is_forwarding, is_routed;
	unsigned append_count; /* makes bodies unique */
	/* Only the first node gives UIDs; the others only change flags and expunge. Then no message
	 * may ever get another UID. */
	bool is_one_writer;
	/* Pairs exchange a part of the account's mailboxes, each its own, and the whole in the end.
	 */
	bool is_filtered;
	/* Users with clones act in the account too (sim_guest.h). */
	bool is_guests;
	struct guests *guests;
	bool is_trace;
	bool has_failed;
	char failure[512];
	struct {
		uint64_t acts, exchanges, failed_exchanges, conflicts, refused, repairs, integrates;
		uint64_t restores, rounds_max;
	} counts;
};

/* Runs one schedule; false if it failed, with the reason in sim->failure. `nodes` 0: 2 to 5. */
bool sim_run(struct sim *sim, uint64_t seed, size_t nodes);

/* Notes the first failure. */
void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints a line if the run is traced. */
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* True `percent` times of 100. */
bool sim_chance(struct sim *sim, unsigned percent);
size_t sim_below(struct sim *sim, size_t limit);

/* ---- sim_schedule.c ---- */
struct account_header header_of(struct sim *sim, struct sim_node *node);
/* Sets it wrong, by what exchanges take. */
void set_clock(struct sim *sim, struct sim_node *node);
/* By their digests. */
bool all_equal(struct sim *sim);
/* Exchanges without mishaps until all are equal, and at rest (P6). */
void converge(struct sim *sim);

/* ---- sim_epilogue.c ---- */
/* One of some scenes, played on copies that are equal and at rest. */
void epilogue(struct sim *sim);

/* ---- sim_node.c ---- */
void node_open(struct sim *sim, struct sim_node *node);
/* One that is no node of sim->nodes: without an account, and without routes to others. */
void node_open_apart(struct sim *sim, struct sim_node *node);
void node_close(struct sim_node *node);
/* Makes the account if the node has none yet. */
void node_need_account(struct sim *sim, struct sim_node *node);
/* Notes that the node may have got the account from a peer. */
void node_find_account(struct sim_node *node);
/* A read snapshot that shows everything. */
struct kv_txn *node_read(struct sim_node *node);
/* Makes a backup of the node, in place of an older one. */
void node_backup(struct sim *sim, struct sim_node *node);
/* The node's disk is lost; a new node takes its place with what the backup holds. */
void node_restore(struct sim *sim, size_t index);
void snapshot_free(struct snapshot **snapshot);
/* Forgets what has been gone for `age_ms`, as the daemon does. */
void node_expire(struct sim *sim, struct sim_node *node, uint64_t age_ms);

/* Traces all records of the node's copy. */
void node_tell(struct sim *sim, struct sim_node *node);

/* ---- sim_client.c ---- */
/* One random act of a client on a node, acknowledged in the ledger. */
void client_act(struct sim *sim, struct sim_node *node);
/* One change that any copy takes: a message, or a setting where mail is refused. */
void client_change_one(struct sim *sim, struct sim_node *node);
/* Draws which act is to be frequent. */
size_t client_emphasis(struct sim *sim);
/* An act in another account of the node, whose messages share bodies with the first one's. */
void neighbour_act(struct sim *sim, struct sim_node *node);

/* ---- sim_forward.c ---- */
/* The node's append router (mail.h): sends some messages to a neighbour that has a smaller id. */
void forward_open(struct sim *sim, struct sim_node *node);

/* ---- sim_link.c ---- */
/* `filter` NULL: all mailboxes. */
struct sync_session *link_connect(struct sim *sim, struct sim_node *from, struct sim_node *to,
	const struct sim_filter *filter);
/* The node answers a request. */
void link_respond(struct sim *sim, struct sync_session *session, struct sim_node *node,
	struct bytes request, struct buffer *answer);
/* A request may be delivered once more. */
void link_keep_for_later(struct sim *sim, size_t from, size_t to, const struct sim_filter *filter,
	bool is_append, struct bytes bytes);
void link_begin(struct sim *sim, struct sim_link *link, size_t from, size_t to,
	const struct sim_filter *filter);
/* Goes on with the exchange by one step. With `mishaps` requests and answers may get lost. */
void link_step(struct sim *sim, struct sim_link *link, bool mishaps);
void link_abort(struct sim_link *link);
/* A whole exchange without mishaps, which is counted in sim->traffic; true if it was done. */
bool link_run(struct sim *sim, size_t from, size_t to);
/* The same about a part of the account. */
bool link_run_filtered(struct sim *sim, size_t from, size_t to, const struct sim_filter *filter);
/* Delivers one request of the past again (P8). */
void late_deliver(struct sim *sim, bool with_appends);
void late_drop(struct sim *sim, uint64_t node_id);

/* ---- sim_observe.c ---- */
struct observer *observer_new(void);
struct observer *observer_copy(const struct observer *observer);
void observer_free(struct observer **observer);
/* Looks at what changed on the node since it was looked at last; an act of a client is
 * acknowledged. */
void observe(struct sim *sim, struct sim_node *node, bool is_client_act);
/* The client's picture, kept by cursors alone, is what the copy shows. */
void observer_check(struct sim *sim, struct sim_node *node);

/* P4: a client of another copy, which had this picture once, goes on at this node with its cursors.
 */
void observer_roam(struct sim *sim, const struct observer *client, struct sim_node *to);

/* ---- sim_ledger.c ---- */
struct ledger *ledger_new(void);
void ledger_free(struct ledger **ledger);
/* A record as an act of a client on this node left it. */
void ledger_acknowledge(struct ledger *ledger, const struct message_record *message);
/* Whether a client was ever told anything of it. */
bool ledger_has(const struct ledger *ledger, struct stamp instance);
/* A node has forgotten that it went. */
bool ledger_has_expired(const struct ledger *ledger, struct stamp instance);
/* By a client: then what is said of it goes nowhere. */
void ledger_note_deleted_mailbox(struct ledger *ledger, struct id128 mailbox);
void ledger_acknowledge_register(struct ledger *ledger, const struct register_record *record);
/* `before`, which is none if there was none, is the version that the client replaced or removed. */
void ledger_acknowledge_script(
	struct ledger *ledger, const struct register_record *record, struct stamp before);
void ledger_acknowledge_mailbox(struct ledger *ledger, const struct mailbox_record *mailbox);
/* Its tombstone was forgotten somewhere: whether it stays is not promised any more. */
void ledger_note_expired(struct ledger *ledger, struct stamp instance);
void ledger_note_expired_register(struct ledger *ledger, const struct register_record *record);
/* A node was lost: only what the others (and what was restored) know can be asked for from now on.
 */
void ledger_lose(struct sim *sim);
/* P1 and P7: the node holds what was acknowledged. */
void ledger_check(struct sim *sim, struct sim_node *node);

/* ---- sim_ledger_more.c ---- */
struct ledger_more *ledger_more_new(void);
void ledger_more_free(struct ledger_more **more);
void ledger_more_script(
	struct ledger_more *more, const struct register_record *record, struct stamp before);
void ledger_more_mailbox(struct ledger_more *more, const struct mailbox_record *mailbox);
/* A node was lost. */
void ledger_more_lose(struct sim *sim, struct ledger_more *more);
/* What was cleared there is forgotten somewhere. */
void ledger_more_expire(struct ledger_more *more, const struct register_record *record);
void ledger_more_check(struct sim *sim, struct ledger_more *more, struct sim_node *node);

#endif
