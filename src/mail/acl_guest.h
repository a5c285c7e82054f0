/*
 * acl_guest: the rights in a copy of another user's account, of which header.writer tells.
 *
 * What its user may do there is one entry of each mailbox, for his name, as everywhere. If he may
 * administer a mailbox, the entries that it has at its owner's node are here, too; they give nobody
 * anything here, and are what he is shown (acl_list()). What he changes of them is noted as an act,
 * to be told to that node; it counts here at once, for him, too, as far as his name and "anyone"
 * go: groups are known there only.
 */
#ifndef CHAPAR_MAIL_ACL_GUEST_H
#define CHAPAR_MAIL_ACL_GUEST_H

#include "mail/acl.h"

/* What can be done in such a copy off line: what is delivered, and annotations of messages, are
 * not told to the owner's node. */
#define ACL_OF_GUEST (ACL_ALL & ~(unsigned)(ACL_POST | ACL_ANNOTATE))

/* ---- what is told to the owner's node ---- */

struct acl_act { /* an entry that is to be so */
	struct id128 mailbox;
	struct bytes identifier;
	unsigned rights; /* 0: it is to go */
	/* Of a mailbox that was made or renamed here, and whose entries may be there since it was
	 * told: what it was before. */
	bool has_was;
	unsigned was;
	struct stamp stamp;
};

/* Calls `function` for each that was not settled, until it returns other than 0. */
typedef int acl_act_function(void *context, const struct acl_act *act);
int acl_guest_each_act(struct kv_txn *kv, uint32_t account, struct arena *arena,
	acl_act_function *function, void *context);
/* It was taken there, or refused: then the entries are to be asked for anew. A later act for the
 * same entry stays. */
int acl_guest_settle(struct mail *mail, uint32_t account, const struct acl_act *act, bool is_taken,
	struct error *error);

/* ---- what is told by it ---- */

struct acl_guest_rights {
	struct id128 mailbox;
	struct bytes user;         /* whose copy it is */
	unsigned rights;           /* his, there */
	const struct acl *entries; /* NULL: as they are here */
};
/* One commit; what acts wait to tell stays. ERR_NOT_FOUND: the mailbox is gone. */
int acl_guest_take(struct mail *mail, uint32_t account, const struct acl_guest_rights *rights,
	struct error *error);

/* Up to where the entries here are those there. Zeroes: nowhere. */
struct acl_guest_point {
	uint64_t node;     /* there */
	uint64_t sequence; /* its */
	uint64_t whole_ms; /* wall clock: when all were asked for last */
};
int acl_guest_point_get(struct kv_txn *kv, uint32_t account, struct acl_guest_point *point_r);
int acl_guest_point_put(struct mail *mail, uint32_t account, const struct acl_guest_point *point,
	struct error *error);

/* ---- for acl_entries.c, within a commit ---- */

/* The entries of the owner's node begin so; no identifier does. */
#define ACL_THERE '/'

struct bytes acl_guest_key(struct arena *arena, struct bytes identifier);
int acl_guest_change(struct account_write *write, struct id128 mailbox, const struct acl *before,
	struct bytes identifier, unsigned rights);

#endif
