/*
 * acl: what users may do to a mailbox (RFC 4314). Pure functions, apart from acl_rights_of().
 *
 * A mailbox has entries, identifier -> rights; each is a register of kind RECORD_ACL, whose key is
 * the identifier and whose value is the rights' letters. Identifiers: a user's name, "group:NAME",
 * "anyone", and any of these with "-" before it, which takes rights away (RFC 4314, section 2).
 *
 * A user has what the entries for his name, his groups and "anyone" give, less what negative ones
 * of the same take. The owner of an account has all rights in its mailboxes, unless an entry for
 * his name says less; lookup and administration he always keeps. An administrator may always look
 * up, create, delete and administer (l, k, x, a), and so give himself the rest.
 */
#ifndef CHAPAR_MAIL_ACL_H
#define CHAPAR_MAIL_ACL_H

#include "mail/identity.h"

enum acl_right {              /* a set of bits */
	ACL_LOOKUP = 1,       /* l: sees that the mailbox exists */
	ACL_READ = 2,         /* r */
	ACL_SEEN = 4,         /* s: keeps \Seen */
	ACL_WRITE = 8,        /* w: flags other than \Seen and \Deleted */
	ACL_INSERT = 16,      /* i: APPEND, COPY */
	ACL_POST = 32,        /* p: mail may be delivered there */
	ACL_CREATE = 64,      /* k: mailboxes below it */
	ACL_DELETE = 128,     /* x: the mailbox itself */
	ACL_MARK = 256,       /* t: \Deleted */
	ACL_EXPUNGE = 512,    /* e */
	ACL_ADMINISTER = 1024 /* a */
};
#define ACL_ALL 2047u

#endif
