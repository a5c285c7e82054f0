/*
 * acl: what users may do with a mailbox (RFC 4314).
 *
 * A mailbox has entries, identifier -> rights; each is a register of kind RECORD_ACL, whose key is
 * the identifier and whose value is the rights' letters. Identifiers: a user's name, "group:NAME",
 * "anyone", and any of these with "-" before it, which takes rights away (RFC 4314, section 2).
 *
 * A user has what the entries for his name, his groups and "anyone" give, less what the negative
 * ones for the same take. The owner of an account has all rights in its mailboxes, unless an entry
 * for his own name says less; lookup and administration he always keeps. An administrator may
 * always look up, create, delete and administer (l, k, x, a), and so give himself the rest. Who may
 * change nothing has at most lookup and reading.
 */
#ifndef CHAPAR_MAIL_ACL_H
#define CHAPAR_MAIL_ACL_H

#include "mail/identity.h"
#include "mail/mail.h"

enum acl_right {               /* a set of bits */
	ACL_LOOKUP = 1,        /* l: sees that the mailbox exists */
	ACL_READ = 2,          /* r */
	ACL_SEEN = 4,          /* s: keeps \Seen */
	ACL_WRITE = 8,         /* w: flags other than \Seen and \Deleted */
	ACL_INSERT = 16,       /* i: APPEND, COPY */
	ACL_POST = 32,         /* p: mail may be delivered there */
	ACL_CREATE = 64,       /* k: mailboxes below it */
	ACL_DELETE = 128,      /* x: the mailbox itself */
	ACL_MARK = 256,        /* t: \Deleted */
	ACL_EXPUNGE = 512,     /* e */
	ACL_ADMINISTER = 1024, /* a */
	ACL_ANNOTATE = 2048    /* n: shared annotations of messages (RFC 5257, section 3.4) */
};
#define ACL_ALL 4095u
#define ACL_IDENTIFIER_SIZE_MAX (ACCOUNT_NAME_SIZE_MAX + 7) /* bytes: "-group:" before a name */
#define ACL_ENTRY_COUNT_MAX 1000                            /* of one mailbox */

/* ---- pure ---- */

/*
 * Letters, each any number of times; "c" means k and x, "d" means t and e (RFC 4314, 2.1.1).
 * ERR_INVALID: there is another one.
 */
int acl_parse_rights(struct bytes letters, unsigned *rights_r);
/* As they are stored. */
void acl_write_rights(struct buffer *out, unsigned rights);
/* With "c" and "d" added where one of their members is there, as clients are to be told. */
void acl_tell_rights(struct buffer *out, unsigned rights);

/* The form in which an identifier is kept: prepared (RFC 4013), lower case. ERR_INVALID. */
int acl_identifier_normalize(struct bytes identifier, char normal_r[ACL_IDENTIFIER_SIZE_MAX + 1]);

struct acl_entry {
	struct bytes identifier;
	unsigned rights;
};

unsigned acl_effective(const struct identity *identity, bool is_owner,
	const struct acl_entry *entries, size_t count);

/* Whether an entry for that identifier gives or takes the user anything. */
bool acl_concerns(const struct identity *identity, struct bytes identifier);

/* ---- of a mailbox ---- */

struct acl {
	struct acl_entry *entries; /* in bytewise order of identifiers */
	size_t count;
};
/* The entries, taken from `arena`. Errors of reading. */
int acl_read(struct kv_txn *kv, uint32_t account, struct id128 mailbox, struct arena *arena,
	struct acl *acl_r);
/* The same, to be shown: in a copy of another's account those of its owner's node, as far as they
 * are known (mail/acl_guest.h). */
int acl_list(struct kv_txn *kv, uint32_t account, struct id128 mailbox, struct arena *arena,
	struct acl *acl_r);
/*
 * What the user may do with a mailbox of an account: of any account, his own or another's. For
 * every protocol to ask. Does not look whether the mailbox is there.
 */
int acl_rights(struct kv_txn *kv, const struct identity *identity, uint32_t account,
	struct id128 mailbox, unsigned *rights_r);

enum acl_change { ACL_SET, ACL_ADD, ACL_REMOVE };
/*
 * Changes one entry; one that is left without rights is removed. `identifier` is normalized.
 * ERR_NOT_FOUND: the mailbox is gone; ERR_TOO_LARGE: there are too many entries.
 */
int acl_change(struct mail *mail, uint32_t account, struct id128 mailbox, struct bytes identifier,
	enum acl_change change, unsigned rights, struct error *error, uint64_t *position_r);

/* Inside a commit: one entry, as it is kept; without rights it goes. */
int acl_put(struct account_write *write, struct id128 mailbox, struct bytes identifier,
	unsigned rights);
/* Inside a commit: gives the mailbox the entries of `from`; and takes all away from it. */
int acl_inherit(struct account_write *write, struct id128 mailbox, struct id128 from);
int acl_clear(struct account_write *write, struct id128 mailbox);

/*
 * Calls `function` for each mailbox, in any account, that has an entry for the user's name, one of
 * his groups or "anyone"; for one that has several of them, several times; also for one that is
 * deleted by now. Costs what is found, whatever other accounts there are.
 */
typedef int acl_grant_function(void *context, uint32_t account, struct id128 mailbox);
int acl_each_grant(struct kv_txn *kv, const struct identity *identity, acl_grant_function *function,
	void *context);

#endif
