/*
 * guest_acl: who may do what with others' mailboxes, told to a user who may administer them (right
 * "a"), and what he changed of it off line, in his copy, told to the node that holds them (SYNC
 * GETACL and SETACL; docs/replication.md, Others' mailboxes).
 */
#ifndef CHAPAR_SYNC_GUEST_ACL_H
#define CHAPAR_SYNC_GUEST_ACL_H

#include "mail/acl_guest.h"

struct guest_acl {
	struct id128 mailbox;
	struct acl entries;
};
struct guest_acl_list {
	struct guest_acl *list; /* in order of ids */
	size_t count;
	uint64_t sequence; /* the node's, as of which they are so */
	bool has_more;     /* after the last of them */
};

/* Those of mailboxes behind `after` whose entries were changed after the node's sequence `since`;
 * 0: all. */
void guest_acl_request(
	const char *account, uint64_t since, struct id128 after, struct buffer *request);
/* The result is taken from `arena`, and borrows from `answer`. Errors as of
 * guest_append_answer(). */
int guest_acl_answer(struct bytes answer, struct arena *arena, struct guest_acl_list *list_r,
	struct error *error);

/* Told again, it does nothing more. */
void guest_acl_set_request(const char *account, const struct acl_act *act, struct buffer *request);
int guest_acl_set_answer(struct bytes answer, struct error *error);

#endif
