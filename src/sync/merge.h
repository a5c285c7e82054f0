/*
 * merge: bringing two copies of an account together. No I/O, no store, no clock: records go in,
 * records come out; the daemon, bundles and the simulation run this same code.
 *
 * Join, per record (commutative, associative, idempotent): per flag the greater stamp; the greater
 * placement stamp, and with equal placement the greater UID; for mailboxes name and options by the
 * greater stamp, UIDVALIDITY and UIDNEXT the greater, deletion and forward final; registers the
 * greater stamp, with equal stamps the cleared one.
 *
 * Tidy: what is said of a message or mailbox that is gone by the joined records is cleared; of a
 * mailbox that was united with another it first goes to that one, entry by entry.
 *
 * Place, by the one side that integrates, knowing both sides' UIDNEXTs: every live message is shown
 * at a UID that both sides may show. A UID is good for a side that shows this very message there,
 * or whose UIDNEXT is not above it. A message whose UID is not good for both gets the next one
 * above both, in order of instance.
 *
 * Modseq: the greater of both; where content changes on a side and that is not above the highest
 * that either has shown, a fresh tick above both.
 */
#ifndef CHAPAR_SYNC_MERGE_H
#define CHAPAR_SYNC_MERGE_H

#include "sync/changes.h"
#include "sync/view.h"

#include "base/error.h"

/* Join; results borrow from the inputs and `arena`. The two must be the same record. ERR_ILLEGAL:
 * one instance with two GUIDs, one mailbox id with two... (what cannot be joined). */
int merge_message(const struct message_record *a, const struct message_record *b,
	struct arena *arena, struct message_record *joined_r);
void merge_mailbox(const struct mailbox_record *a, const struct mailbox_record *b,
	struct mailbox_record *joined_r);
void merge_register(const struct register_record *a, const struct register_record *b,
	struct register_record *joined_r);

/* The integrating side's own copy, for looking things up. Functions return 0, ERR_NOT_FOUND or
 * worse. */
struct merge_copy {
	void *context;
	int (*message)(void *context, struct stamp instance, struct message_record *message_r);
	int (*mailbox)(void *context, struct id128 id, struct mailbox_record *mailbox_r);
	int (*each_mailbox)(
		void *context, account_mailbox_function *function, void *function_context);
	/* messages now shown in a mailbox */
	int (*each_shown)(void *context, struct id128 mailbox, account_message_function *function,
		void *function_context);
	/* as each_register of one record */
	int (*find_register)(void *context, enum record_kind kind, struct id128 mailbox,
		struct bytes key, struct register_record *record_r);
	/* those of one kind and mailbox whose keys begin with `prefix` */
	int (*each_register)(void *context, enum record_kind kind, struct id128 mailbox,
		struct bytes prefix, account_register_function *function, void *function_context);
};

struct merge_input {
	struct merge_copy mine;
	const struct change_set
		*my_changes; /* since the common point: my_changes->since is its sequence here */
	const struct change_set *their_changes; /* since the common point, on their side */
	/* What both change sets are of, as of my copy; NULL: the whole account. */
	const struct view *view;
	uint64_t node;       /* the integrating node, for stamps it must make */
	uint64_t clock_last; /* its account clock */
	uint64_t now_ms;
	uint64_t my_highest;       /* greatest modseq it has shown */
	uint32_t uidvalidity_last; /* greatest UIDVALIDITY the account used here */
	/*
	 * A repair: both change sets hold all records of the compared ranges, not changes since a
	 * point. A message of mine that they lack and whose placement was common (placed_sequence
	 * <= my_changes->since) was deleted there.
	 */
	bool is_repair;
	bool is_returning; /* my copy was restored, and has taken in no other since (mail/hold.h) */
};

enum merge_conflict_kind {
	MERGE_RENUMBERED,       /* two messages had one UID: both got new ones */
	MERGE_MAILBOXES_UNITED, /* two mailboxes had one name */
	MERGE_MAILBOX_REVIVED,  /* mail arrived in a mailbox deleted elsewhere */
	MERGE_DELETED_LONG_AGO, /* a returning copy held what was deleted and forgotten here */
	MERGE_PLACED_TWICE,     /* moved or expunged on both sides: the later act stays */
	MERGE_RENAMED_TWICE,    /* a mailbox renamed on both sides: the later name stays */
	MERGE_DELETED_RENAMED, /* a mailbox deleted on one side and renamed on the other: deleted */
	MERGE_CHANGED_EXPUNGED, /* flags changed on one side, expunged on the other: gone */
	MERGE_SET_TWICE,        /* a setting changed on both sides: the later change stays */
	MERGE_SCRIPT_KEPT, /* a script edited on both sides: the earlier has a name of its own */
	MERGE_ACCOUNT_REVIVED, /* mail arrived in an account deleted elsewhere */
	MERGE_REPLICA_CHANGED, /* users changed a copy that had a master elsewhere (replica.h) */
	MERGE_GUEST_KEPT,      /* appended off line to another's mailbox, which did not take it */
	MERGE_NAME_TAKEN,      /* by a mailbox that the peer may not see: this has another now */
	MERGE_GUEST_REFUSED    /* arranged off line in another's account, which did not take it */
};

struct merge_conflict {
	enum merge_conflict_kind kind;
	struct id128 mailbox;
	struct stamp instance; /* none for mailboxes */
	uint32_t uid;          /* the retired UID, or 0 */
	struct bytes name;     /* of the setting or script, or the mailbox name that was given up */
	/* The act that lost, or none. As long as the other side tells of it, each merge finds it
	 * again; the journal has it once. */
	struct stamp lost;
};

/* What to write on the integrating side, in this order: mailboxes, messages in (mailbox, UID)
 * order, registers. All modseqs are final. Borrows from `arena` and the inputs. */
struct merge_output {
	struct mailbox_record *mailboxes;
	size_t mailbox_count;
	struct message_record *messages;
	size_t message_count;
	struct register_record *registers;
	size_t register_count;
	uint64_t clock_last; /* the account clock afterwards */
	struct merge_conflict *conflicts;
	size_t conflict_count;
};

/* ERR_ILLEGAL with the reason; else what `mine`'s functions return. */
int merge_integrate(const struct merge_input *input, struct arena *arena, struct error *error,
	struct merge_output *output_r);

/*
 * True if `theirs` knows all that `mine` knows: neither its modseq nor anything that a stamp
 * decides would go back. A peer whose record does not follow ours has forgotten ours, or never
 * heard of it, as tombstones are not in the digest, and heard of an earlier state from a third
 * copy; the two are to be joined.
 */
bool merge_message_follows(const struct message_record *mine, const struct message_record *theirs);
bool merge_mailbox_follows(const struct mailbox_record *mine, const struct mailbox_record *theirs);
bool merge_register_follows(
	const struct register_record *mine, const struct register_record *theirs);

/*
 * Whether this only keeps mailboxes from a UIDVALIDITY that one had and gave up: a deleted mailbox
 * with an id and a name that follow from it. It is in every view (view.h).
 */
bool merge_is_retired(const struct mailbox_record *mailbox);

/*
 * Legality of a change before it replaces `mine` (NULL: new here): ERR_ILLEGAL with the reason if a
 * modseq or UIDVALIDITY decreases, a flag or placement stamp goes back, a modseq is over
 * `modseq_limit` (the skew allowed), a name or value is malformed.
 */
int merge_check_message(const struct message_record *mine, const struct message_record *theirs,
	uint64_t modseq_limit, struct error *error);
int merge_check_mailbox(const struct mailbox_record *mine, const struct mailbox_record *theirs,
	uint64_t modseq_limit, struct error *error);
int merge_check_register(const struct register_record *mine, const struct register_record *theirs,
	uint64_t modseq_limit, struct error *error);

#endif
