/*
 * shared: what a user does to messages in mailboxes that may be another account's: with the rights
 * that he has, and with \Seen of his own (mail/seen.h). Each call is as its namesake in mail.h; for
 * a user with all rights in his own account it is that very one.
 *
 * Flags that the rights do not allow are left as they are, or off (RFC 4314, section 4); whether
 * the act itself is allowed is for the caller to check before.
 */
#ifndef CHAPAR_MAIL_SHARED_H
#define CHAPAR_MAIL_SHARED_H

#include "mail/acl.h"

/* A mailbox, with who looks at it. */
struct shared_place {
	uint32_t account;
	struct id128 mailbox;
	unsigned rights;       /* of enum acl_right */
	uint32_t seen_account; /* mail/seen.h; 0 in his own account */
};

/* The right that it takes to set or clear the flag. */
enum acl_right acl_right_for_flag(struct bytes flag);
bool shared_may_set(const struct shared_place *place, struct bytes flag);

int shared_store(struct mail *mail, const struct shared_place *place, const struct uid_set *uids,
	enum flag_operation operation, const struct bytes *flags, size_t flag_count,
	uint64_t unchanged_since, struct error *error, struct uid_set *changed_r,
	struct uid_set *modified_r, uint64_t *position_r);

int shared_append(struct mail *mail, const struct shared_place *place,
	const struct append_message *messages, size_t count, struct error *error,
	uint32_t *uidvalidity_r, uint32_t *uid_r, uint64_t *position_r);

/*
 * Appends a message to mailbox `to` and expunges UID `uid` of mailbox `from`, both or neither.
 * ERR_NOT_FOUND: the mailbox `to` is gone; ERR_CHANGED: the message is.
 */
int shared_replace(struct mail *mail, const struct shared_place *from, uint32_t uid,
	const struct shared_place *to, const struct append_message *message, struct error *error,
	uint32_t *uidvalidity_r, uint32_t *uid_r, uint64_t *position_r);

/*
 * Also between accounts: then each message gets a new instance there, and MOVE expunges it here in
 * the same commit. The body is shared.
 */
int shared_copy(struct mail *mail, const struct shared_place *from, const struct shared_place *to,
	const struct uid_set *uids, bool is_move, struct error *error, struct copy_result *result_r,
	uint64_t *position_r);

#endif
