/*
 * imap_body: the body that a session read last, with its structure: clients fetch a message in
 * sections and partials, by one FETCH or by many. It is the message as it is, or as a client that
 * has not enabled UTF-8 is to see it (RFC 6855, RFC 6858).
 */
#ifndef CHAPAR_IMAP_BODY_H
#define CHAPAR_IMAP_BODY_H

#include "mail/mail.h"
#include "mail/mime_section.h"

#define IMAP_BODY_KEEP_MAX (32u * 1024 * 1024) /* bytes that are kept between commands */

struct imap_body { /* zeroed at first */
	bool is_loaded;
	struct guid guid;
	bool is_for_ascii; /* as such a client sees it ... */
	bool is_surrogate; /* ... which is not what the message is */
	struct buffer raw;
	struct arena *arena;          /* of the structure */
	const struct mime_part *root; /* NULL until asked for */
	/* Of the part that was decoded last: its numbers, as bytes, and its content. */
	bool is_decoded;
	struct buffer decoded_numbers;
	struct buffer decoded;
};

/* Makes it the body of `guid`. Errors of message_body(). */
int imap_body_load(
	struct imap_body *body, struct mail *mail, struct kv_txn *kv, const struct guid *guid);
/* The same, if `for_ascii` as a client without UTF-8 is to see it. */
int imap_body_load_for(struct imap_body *body, struct mail *mail, struct kv_txn *kv,
	const struct guid *guid, bool for_ascii);
/* The same with a body that was read elsewhere, which is copied. */
void imap_body_put(
	struct imap_body *body, const struct guid *guid, struct bytes raw, bool for_ascii);
/* Whether it is that of `guid`. */
bool imap_body_has(const struct imap_body *body, const struct guid *guid);
/* Its structure, borrowed until the next load. */
const struct mime_part *imap_body_root(struct imap_body *body);
/*
 * The content of BINARY[numbers], borrowed until the next call. It is kept, so that a client may
 * fetch it in partials. Errors of mime_section_binary().
 */
int imap_body_decode(struct imap_body *body, const uint32_t *numbers, size_t number_count,
	struct bytes *content_r);
void imap_body_deinit(struct imap_body *body);

#endif
