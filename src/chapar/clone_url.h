/*
 * clone_url: where the origin of a clone is: an IMAP URL without a mailbox (RFC 5092), such as
 * imaps://anna@mail.example.org/. Pure.
 */
#ifndef CHAPAR_CHAPAR_CLONE_URL_H
#define CHAPAR_CHAPAR_CLONE_URL_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdint.h>

#define CLONE_HOST_SIZE_MAX 255 /* bytes */
#define CLONE_USER_SIZE_MAX 200 /* bytes */

struct clone_url {
	bool is_implicit_tls;               /* imaps: TLS from the first byte; imap: STARTTLS */
	char user[CLONE_USER_SIZE_MAX + 1]; /* "": not given */
	char host[CLONE_HOST_SIZE_MAX + 1]; /* of IPv6 addresses without the brackets */
	uint16_t port;
};

/* ERR_INVALID with the reason; also for a password in it, which has no place on a command line. */
int clone_url_parse(const char *text, struct clone_url *url_r, struct error *error);
/* Appends it in the form that is parsed. */
void clone_url_write(const struct clone_url *url, struct buffer *out);

#endif
