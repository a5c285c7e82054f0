/*
 * quota: what an account may hold (RFC 9208). An account is one quota root; its name is the
 * account's.
 *
 * Limits are account-level registers, one for each resource, so they replicate and the later change
 * of each wins. A resource without a register has the limit that this node's configuration gives to
 * all. Usage is what this copy's header counts: reading it costs nothing.
 *
 * Limits bind users' acts only, inside the commit that makes them (quota_enforce()): of two appends
 * at once the second sees the first. What a merge brings is never refused: two copies that were
 * apart may together be over the limit (P1).
 */
#ifndef CHAPAR_MAIL_QUOTA_H
#define CHAPAR_MAIL_QUOTA_H

#include "mail/mail.h"

enum quota_resource {
	QUOTA_STORAGE,            /* of messages; unit: 1,024 bytes */
	QUOTA_MESSAGE,            /* messages */
	QUOTA_MAILBOX,            /* mailboxes, INBOX among them */
	QUOTA_ANNOTATION_STORAGE, /* of annotations of messages (RFC 5257); unit: 1,024 bytes */
	QUOTA_RESOURCE_COUNT
};

#define QUOTA_UNLIMITED UINT64_MAX
#define QUOTA_LIMIT_MAX INT64_MAX /* RFC 9208: 63 bits */

struct quota_limits { /* by enum quota_resource, in its unit; QUOTA_UNLIMITED: none */
	uint64_t of[QUOTA_RESOURCE_COUNT];
};

struct quota {
	struct quota_limits limits;
	bool is_default[QUOTA_RESOURCE_COUNT]; /* the limit is the configuration's */
	uint64_t usage[QUOTA_RESOURCE_COUNT];  /* in the resource's unit, rounded up */
	uint64_t byte_count;                   /* of messages, exactly */
};

/* "STORAGE"; the names of RFC 9208, section 5. */
const char *quota_resource_name(enum quota_resource resource);
/* In any case; QUOTA_RESOURCE_COUNT if there is none of that name. */
enum quota_resource quota_resource_find(struct bytes name);

/* The register that keeps a limit: its key, and its value in `arena`. */
struct bytes quota_register_key(enum quota_resource resource);
struct bytes quota_register_value(uint64_t limit, struct arena *arena);

/* The limits of accounts that have none of their own; unlimited at first. Before clients are
 * served. */
void mail_quota_configure(struct mail *mail, const struct quota_limits *defaults);

int quota_read(struct mail *mail, struct kv_txn *kv, uint32_t account, struct quota *quota_r);
/* Whether so much more has room. */
bool quota_has_room(const struct quota *quota, uint64_t message_count, uint64_t byte_count);
/* The greatest part of a limit that is used, in percent; 0 if there are no limits. */
unsigned quota_percent(const struct quota *quota);

enum quota_change { QUOTA_KEEP, QUOTA_SET, QUOTA_RESET /* to the configuration's */ };
struct quota_changes {
	enum quota_change change[QUOTA_RESOURCE_COUNT];
	struct quota_limits limits;
};
/* One durable commit. A limit below the usage is legal: it stops growth. */
int quota_set(struct mail *mail, uint32_t account, const struct quota_changes *changes,
	struct error *error, uint64_t *position_r);

/*
 * At the end of a user's act, inside its commit; mail_commit() and its like call it. ERR_OVERQUOTA
 * if the account holds more of something than before, and more than its limit. Acts that only
 * shrink or move always pass.
 */
int quota_enforce(struct account_write *write);

#endif
