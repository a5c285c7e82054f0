/*
 * imap_metadata: metadata of mailboxes and of the server (RFC 5464), for GETMETADATA, SETMETADATA
 * and LIST (RFC 9590); and the form that values have there and in annotations of messages (RFC
 * 5257).
 */
#ifndef CHAPAR_IMAP_METADATA_H
#define CHAPAR_IMAP_METADATA_H

#include "imap/imap_target.h"

#include "mail/annotation.h"

#define IMAP_METADATA_NAME_MAX 100 /* entries of one command */

/* "/private/comment": a scope and "/comment"; "" for the whole scope. */
struct imap_metadata_name {
	enum annotation_scope scope;
	struct bytes entry;
};

struct imap_metadata { /* lives in an arena */
	struct imap_metadata_name *names;
	size_t name_count;
	unsigned depth;    /* 0, 1, or UINT_MAX for all */
	uint64_t size_max; /* bytes; larger values are left out ... */
	uint64_t longest;  /* ... and the greatest of them noted here; 0: none */
};

/* The name of one entry. */
int imap_parse_metadata_name(struct imap_parser *args, struct imap_metadata_name *name_r);
/* One name, or a list of them in parentheses; depth and size_max become 0 and unlimited. */
int imap_parse_metadata_names(struct imap_parser *args, struct imap_metadata *metadata_r);
/*
 * Appends the METADATA response of a mailbox (`name` as the client has it), or of the server
 * (`target` NULL); none if nothing is to be told, or nothing may be.
 */
int imap_put_metadata(struct imap_session *session, struct kv_txn *kv, struct bytes name,
	const struct imap_target *target, struct imap_metadata *metadata);

/* RFC 5464, section 3.3: whether the user may see its entries. */
bool imap_metadata_is_readable(const struct imap_target *target);

/* NIL, a string, or a literal8, which may hold NUL; *is_nil_r tells the first. */
int imap_parse_value(struct imap_parser *args, struct bytes *value_r, bool *is_nil_r);
void imap_put_value(struct buffer *out, struct bytes value);

#endif
