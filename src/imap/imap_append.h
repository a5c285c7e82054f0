/*
 * imap_append: what APPEND and REPLACE say of a new message (RFC 3501, 6.3.11; RFC 3516; RFC 4469;
 * RFC 6855, section 4), and the message made from it.
 */
#ifndef CHAPAR_IMAP_IMAP_APPEND_H
#define CHAPAR_IMAP_IMAP_APPEND_H

#include "imap/imap_target.h"

#define IMAP_APPEND_PART_MAX 1000 /* pieces of one CATENATE */

struct imap_append_part {
	struct bytes text; /* octets, or the URL */
	bool is_url;
};

/* Zeroed at first; imap_append_deinit() in any case. Borrows from the command. */
struct imap_append {
	struct append_message message;  /* its body is ours */
	struct annotation *annotations; /* RFC 5257, 4.7 */
	struct imap_append_part *parts;
	size_t part_count;
	size_t part_room;
	bool is_catenated;
	bool is_binary;       /* some of it came as "~{}": it may hold NUL */
	struct buffer joined; /* the message, where it is not one literal */
	struct bytes raw;     /* the message, borrowed from `joined` or the command */
	struct mail_body *body;
};

/* SP [flags SP] [date-time SP] append-data. Errors as in imap_parse.h. */
int imap_parse_append(struct imap_parser *args, struct imap_append *append);

/*
 * Puts the message together. On an error *answer_r is the code and text that says why it cannot be
 * ("[BADURL ...] ..."), in the session's arena, or NULL for errors of ours (imap_fail()).
 */
int imap_append_join(
	struct imap_session *session, struct imap_append *append, const char **answer_r);
/* Then makes it ready for the store: hashes and compresses it. Any thread. */
int imap_append_prepare(struct mail *mail, struct imap_append *append);

void imap_append_deinit(struct imap_append *append);

/* Whether the annotations may be given to a message in that mailbox; else the answer's text. */
const char *imap_append_refusal(const struct imap_append *append, const struct imap_target *target);

#endif
