/*
 * imap_link: a connection to an IMAP server as a client: TLS, login, one command at a time. What
 * the server says is bounded: a response to LINK_RESPONSE_SIZE_MAX bytes.
 *
 * Errors: those of net_client.h; ERR_REFUSED: the login, the certificate, or a command (NO, BAD);
 * ERR_CLOSED: also BYE; ERR_INVALID: what it says is no IMAP.
 */
#ifndef CHAPAR_FOREIGN_IMAP_LINK_H
#define CHAPAR_FOREIGN_IMAP_LINK_H

#include "foreign/imap_answer.h"
#include "net/net_client.h"

#define LINK_RESPONSE_SIZE_MAX ((uint64_t)160 << 20) /* bytes, literals included */
#define LINK_TIMEOUT_MS 60000

enum imap_link_tls { LINK_TLS_IMPLICIT, LINK_TLS_START, LINK_TLS_NONE };

struct imap_link_options { /* all is borrowed */
	const char *host;
	uint16_t port;
	enum imap_link_tls tls;
	struct net_client_tls tls_options;
	const char *user;     /* whose mail it is */
	const char *login;    /* who logs in for him (the SASL authorization identity is `user`);
				 NULL: he himself */
	const char *password; /* of who logs in */
	/* In place of a password: an access token (OAUTHBEARER, RFC 7628, or XOAUTH2). */
	const char *token;
};

struct imap_link;

/* Connects and logs in: with a password by PLAIN, or where it is not offered by SCRAM-SHA-256,
 * SCRAM-SHA-1 or the command LOGIN. */
int imap_link_open(
	const struct imap_link_options *options, struct imap_link **link_r, struct error *error);
/* Says goodbye. Sets *link to NULL. A NULL *link is allowed. */
void imap_link_close(struct imap_link **link);

bool imap_link_offers(const struct imap_link *link, const char *capability);

/* Called for each untagged response to a command; what it borrows stays until the return. A
 * negative return ends the reading, and is returned. */
typedef int imap_link_function(void *context, const struct answer *answer);

/* Runs one command (without its tag and CRLF). `function` may be NULL. */
int imap_link_run(struct imap_link *link, const char *command, imap_link_function *function,
	void *context, struct error *error);

/* Appends a string as a quoted one or a literal... of names and the like; ERR_INVALID: it can be
 * neither. */
int imap_link_quote(struct bytes text, struct buffer *out);

#endif
