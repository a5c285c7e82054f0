/*
 * mime_address: address lists (RFC 5322, 3.4 and 4.4), read leniently. Pure; any thread.
 */
#ifndef CHAPAR_MAIL_MIME_ADDRESS_H
#define CHAPAR_MAIL_MIME_ADDRESS_H

#include "base/buffer.h"

enum mime_address_kind {
	MIME_ADDRESS,
	MIME_ADDRESS_GROUP,    /* `name` begins a group */
	MIME_ADDRESS_GROUP_END /* no texts */
};

struct mime_address {
	enum mime_address_kind kind;
	struct bytes name;    /* phrase, or else the comment; .ptr is NULL if neither */
	struct bytes route;   /* "@a,@b" of the obsolete form, .ptr is NULL if none */
	struct bytes mailbox; /* without quotes */
	struct bytes host;    /* empty if none is there */
};

struct mime_address_reader {
	struct bytes rest;
	bool is_in_group;
	struct buffer name, comment, mailbox, route, host; /* what the last address borrows */
};

/* `value` stays borrowed; the reader is the caller's until mime_address_deinit(). */
void mime_address_init(struct mime_address_reader *reader, struct bytes value);

/* False at the end. The address is borrowed until the next call. */
bool mime_address_next(struct mime_address_reader *reader, struct mime_address *address_r);
void mime_address_deinit(struct mime_address_reader *reader);

#endif
