/*
 * backup_restore: brings an account, or some of it, as it was at a point, to a node.
 *
 * Where the node does not have the account (or has only an INBOX that was never used) and all of it
 * is asked for, it is made as it was: the same UIDs, flags and ids. Clients that know the account
 * may have seen more than the backup has: so UIDNEXT is raised, and all modseqs, that no UID comes
 * to mean two messages to them, and that they read flags anew that went back (P2, P4). Or, if it
 * is wanted, modseqs and UIDNEXT are as they were, too, and with them the digest. Else
 * nothing that is there is touched: what is not there any more comes as new messages, with new
 * UIDs, which then are merged and replicated as any others. Done twice, it does nothing the second
 * time: a message that was brought back is known by the one that it was.
 */
#ifndef CHAPAR_BACKUP_BACKUP_RESTORE_H
#define CHAPAR_BACKUP_BACKUP_RESTORE_H

#include "backup/backup_part.h"
#include "backup/backup_source.h"

struct backup_selection {    /* all is borrowed */
	const char *mailbox; /* what was shown in it; NULL: all */
	const struct stamp *instances;
	size_t instance_count; /* 0: all */
	bool with_expunged;    /* also what had been expunged by then */
};

struct backup_restore_options { /* all is borrowed */
	const char *account;    /* at the node; NULL: as in the backup */
	const char *to;         /* into this mailbox; NULL: where it was */
	struct backup_selection selection;
	uint64_t self; /* the node id that HELLO told */
	/* The node is a store that was made for this: what is selected (of a mailbox, or all; there
	 * is no `to`) comes as it was, with its UIDs, or it fails. */
	bool is_exact;
	/* UIDNEXT and modseqs, too, stay as they were (implied by is_exact). */
	bool keeps_cursors;
	uint64_t made_ms; /* when the point was made; milliseconds since 1970 */
	/* How far it is; may be NULL. */
	void (*progress)(void *context, const char *account, uint64_t done, uint64_t total);
	void *context;
};

/*
 * UIDs of a mailbox that may have been given after the point: so many, and one for each second
 * since then. So who restores the same point once more does not give again what came between.
 */
#define BACKUP_UID_GAP 100000u

struct backup_restore_result {
	bool is_exact; /* the account is as it was */
	uint64_t message_count, mailbox_count;
	uint64_t there_count;   /* messages that are there already */
	uint64_t missing_count; /* that the backup has no body of, or a damaged one: left out */
	struct error missing;   /* why, of the first of them */
};

/* ERR_NOT_FOUND: nothing of that kind in the backup; errors of the target, the connection, and what
 * the node answers. */
int backup_restore(struct backup_repository *repository, const struct backup_account *account,
	struct backup_source *node, const struct backup_restore_options *options,
	struct backup_restore_result *result_r, struct error *error);

/* Whether the message is asked for. A selection of a mailbox that is not in the state: none is. */
bool backup_is_selected(const struct backup_state *state, const struct backup_selection *selection,
	const struct message_record *message);

#endif
