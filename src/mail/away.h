/*
 * away: an account that was moved to another node, and whose copy here was given up.
 *
 * Of it remain its header, so that its name is known, and those registers by which a user who logs
 * in here is told where it is: who its master is, and by what he proves who he is (as of when it
 * went; a password that he changed since is not known here). All else goes, without a tombstone:
 * (1) Nothing of it is told to peers, so that nobody takes it for deleted.
 * (2) Nothing of it is taken from anybody (account_put_*() refuse), so no channel brings it back.
 * (3) It comes back by account_away_admit() only: then a first copy comes from the node that asked
 *     for that, as to a node that never had it (sync/fill.h).
 * (4) The header's `begun` is above every sequence that a peer remembers of what was here, and UIDs
 *     and modseqs that clients of this node were told are not given again: the copy that comes has
 *     them, or is above them, for it was equal to ours when ours went.
 *
 * That some other node has all of it is the caller's business: see chapard/admin_remove.c.
 */
#ifndef CHAPAR_MAIL_AWAY_H
#define CHAPAR_MAIL_AWAY_H

#include "kv/kv.h"
#include "mail/mail.h"

/*
 * Gives the account up: from now on it is away. In one durable commit, and only if it is at
 * `sequence` as yet. What was its copy is cleared away afterwards, by account_clearing_step().
 * ERR_CHANGED: it is elsewhere; ERR_REFUSED: this node takes its changes; ERR_EXISTS: it is away
 * already; ERR_UNAVAILABLE: it is held back.
 */
int account_away_begin(struct mail *mail, uint32_t account, uint64_t sequence, struct error *error);

/* Where the clearing of accounts that are away stands; zeroed at first. */
struct account_clearing {
	uint32_t account;
	bool is_whole; /* takes the registers that remain, too */
	unsigned table_index;
	unsigned char after[KV_KEY_SIZE_MAX];
	size_t after_len;
	uint64_t row_count; /* deleted */
};
/* One short commit. 1: there is more; 0: nothing of the account is left. An account that is not
 * away is left alone. */
int account_clearing_step(
	struct mail *mail, struct account_clearing *clearing, struct error *error);
/* The same, of one account after the other, each to its end: for the start of a daemon, as a
 * clearing may have been cut short. 0: that was the last. */
int account_clearing_next(
	struct mail *mail, struct account_clearing *clearing, struct error *error);

/* It is to come again, from that node: it is being filled from now on (mail/hold.h). All of it was
 * cleared away, with is_whole. Nothing happens if it is not away. */
int account_away_admit(struct mail *mail, uint32_t account, uint64_t source, struct error *error);
/*
 * It is here again, as a new account with an empty INBOX: for operators, when the node that had it
 * is lost. All of it was cleared away, with is_whole. ERR_NOT_FOUND: it is not away.
 */
int account_away_end(struct mail *mail, uint32_t account, struct error *error);

/* Says in *error where the account is, as account_mode_refuse() does. Returns ERR_REPLICA, or an
 * error of reading. */
int account_away_refuse(
	struct kv_txn *kv, const struct account_header *header, struct error *error);

#endif
