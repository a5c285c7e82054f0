/*
 * snapshot: all that a client can see of an account, and the differences of two such views.
 */
#ifndef CHAPAR_BENCH_SNAPSHOT_H
#define CHAPAR_BENCH_SNAPSHOT_H

#include "util.h"

#include "base/buffer.h"
#include "base/hash.h"

enum snapshot_depth {
	SNAPSHOT_FLAGS,      /* UIDs and flags */
	SNAPSHOT_BODIES,     /* the digest of every whole message */
	SNAPSHOT_MESSAGE_IDS /* Message-ID, date and size, not the bodies */
};

struct seen_message {
	uint32_t uid;
	uint32_t size;
	char flags[200]; /* sorted, without \Recent */
	char internaldate[40];
	char message_id[96];
	struct guid guid; /* of what was fetched */
};

struct seen_mailbox {
	char name[200];
	uint32_t uidvalidity;
	uint32_t uidnext;
	uint64_t highestmodseq;
	struct seen_message *messages; /* by UID */
	size_t count;
	size_t room;
};

struct snapshot {
	struct seen_mailbox *mailboxes; /* by name */
	size_t count;
	struct buffer subscriptions;
};

void snapshot_take(struct snapshot *snapshot_r, const struct options *options, const char *server,
	const char *user, enum snapshot_depth depth);
void snapshot_deinit(struct snapshot *snapshot);
/* NULL if there is none of this name. */
const struct seen_mailbox *snapshot_find(const struct snapshot *snapshot, const char *name);

/* The number of differences, of which the first `show` are printed. */
int snapshot_compare(
	const struct snapshot *a, const struct snapshot *b, int show, bool with_modseq);
void snapshot_print(const struct snapshot *snapshot, const char *prefix);

/* Seconds until the copies of `user` on --imap-a and --imap-b are equal, or -1 after `limit`;
 * *left_r is the last number of differences. */
double snapshot_wait_equal(const struct options *options, const char *user,
	enum snapshot_depth depth, double limit, int *left_r);

#endif
