/*
 * imap_url: IMAP URLs (RFC 5092) that name a message, or a piece of one, on this server: the
 * absolute-path form "/Drafts;UIDVALIDITY=385759045/;UID=20/;SECTION=1.2/;PARTIAL=0.1024", and
 * ";UID=20/;SECTION=1.2" of the selected mailbox. Pure.
 */
#ifndef CHAPAR_IMAP_IMAP_URL_H
#define CHAPAR_IMAP_IMAP_URL_H

#include "base/arena.h"
#include "mail/mime_section.h"

#include <stdint.h>

struct imap_url {
	struct bytes mailbox; /* UTF-8; empty: the selected one */
	uint32_t uidvalidity; /* 0: not given */
	uint32_t uid;
	bool has_section;
	struct mime_section section;
	bool is_partial;
	uint32_t offset;   /* bytes */
	uint32_t size_max; /* bytes; UINT32_MAX: to the end */
};

/*
 * Lives in `arena` and `text`. ERR_INVALID: malformed, of another server, or of a kind that is not
 * a message's (URLAUTH, a search, a mailbox alone).
 */
int imap_url_parse(struct bytes text, struct arena *arena, struct imap_url *url_r);

#endif
