/*
 * rights: what other servers say about who may do what with a mailbox, as RFC 4314 has it here:
 * their own kinds of identifiers, and rights that have names or older letters. Pure. What is said
 * of the owner himself is left out: here he may do everything in his mailboxes.
 */
#ifndef CHAPAR_FOREIGN_RIGHTS_H
#define CHAPAR_FOREIGN_RIGHTS_H

#include "base/arena.h"

struct rights_entry {
	struct bytes identifier;
	struct bytes letters; /* each of RFC 4314's, and n of RFC 5257 */
};

/*
 * An entry of an ACL response, of Cyrus or of Dovecot ("$NAME" is a group there). `owner` is the
 * name of whose mailbox it is. False: it says nothing that there is here.
 */
bool rights_of_acl(struct bytes identifier, struct bytes letters, struct bytes owner,
	struct arena *arena, struct rights_entry *entry_r);

/* A line of Dovecot's file dovecot-acl: "user=bob lrw", "anyone lr :insert", "-group=x w". */
bool rights_of_line(struct bytes line, struct arena *arena, struct rights_entry *entry_r);

#endif
