/* mail_private: what the mail layer's own files share and no front needs. */
#ifndef CHAPAR_MAIL_MAIL_PRIVATE_H
#define CHAPAR_MAIL_MAIL_PRIVATE_H

#include "mail/mail.h"

/* Messages changed in one commit, so that a large change does not stall other writers. */
#define MAIL_STEP_COUNT_MAX 1000

uint64_t mail_now_ms(const struct mail *mail);

/* Writes one account-wide register with a fresh stamp. */
int register_write(struct account_write *write, enum record_kind kind, struct bytes key,
	bool is_set, struct bytes value);

/* "\seen" becomes "\Seen"; keywords stay as they are. Borrowed from constants or `name`. */
struct bytes flag_canonical(struct bytes name);

/* Adds `message` to the mailbox as an append or copy made now: fills stamp, placement, UID, modseq,
 * and writes it. `message` brings guid, size, dates, and flags (names; stamps are set here). */
int message_append(
	struct account_write *write, struct id128 mailbox, struct message_record *message);
/* Expunges a shown message; its record remains as a tombstone. */
int message_remove(struct account_write *write, const struct message_record *message);

#endif
