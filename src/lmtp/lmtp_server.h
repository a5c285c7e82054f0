/*
 * lmtp_server: mail delivery by LMTP (RFC 2033), as a net_protocol for any number of listeners,
 * with PIPELINING, 8BITMIME, SMTPUTF8, SIZE, ENHANCEDSTATUSCODES and, where the listener offers it,
 * STARTTLS.
 *
 * What is stored is what was sent, with dots unstuffed and a bare LF made CRLF, after two headers
 * of ours: Return-Path with the sender of the envelope, and Received (RFC 5321, section 4.4). They
 * hold nothing about recipients, so that one transaction's message is the same bytes for all of
 * them and is stored once. A message with NUL bytes is refused (554 5.6.0): IMAP could not show it.
 *
 * The end of the data is CRLF "." CRLF and nothing else, and only after CRLF is a dot unstuffed: a
 * bare LF that a sender smuggled in never begins a command.
 *
 * A 250 after the data means that deliver() has said so, which is to say: durable (P1). Each
 * delivery and each refused recipient is logged as one line.
 */
#ifndef CHAPAR_LMTP_LMTP_SERVER_H
#define CHAPAR_LMTP_LMTP_SERVER_H

#include "base/buffer.h"
#include "base/error.h"
#include "net/net_protocol.h"

#include <stdint.h>

#define LMTP_LINE_SIZE_MAX 4096       /* bytes of a command, with its CRLF */
#define LMTP_RECIPIENT_COUNT_MAX 1000 /* of a transaction; further ones get 452 4.5.3 */
#define LMTP_LOCAL_PART_SIZE_MAX 255  /* bytes, unquoted */
#define LMTP_DOMAIN_SIZE_MAX 255      /* bytes */
#define LMTP_BAD_COMMAND_COUNT_MAX 50 /* then the connection is closed */

struct lmtp_recipient {
	struct bytes address; /* as given, without the angle brackets */
	struct bytes account; /* the account's name as account_name() gave it */
	struct bytes detail; /* what followed the first separator in the local part; may be empty */
	uint32_t handle;     /* what recipient_check() stored */
};

/* All functions are called on workers, for several sessions at once; they may block on the disk. */
struct lmtp_backend {
	void *context;

	/*
	 * Whether mail for the account can be taken, of that many bytes as far as the sender said
	 * (RFC 1870; 0: he did not). 0, or ERR_NOT_FOUND (550 5.1.1), ERR_REFUSED
	 * (550 5.7.1), ERR_INVALID (553 5.1.3), ERR_OVERQUOTA (452 4.2.2, or 552 5.2.2 if
	 * quota_is_permanent); any other error is temporary (4xx).
	 */
	int (*recipient_check)(
		void *context, struct bytes account, uint64_t size, uint32_t *handle_r);

	/*
	 * Stores `message` for all recipients, no two of which have the same account and detail,
	 * and returns when that is durable. On 0, results_r[i] is 0 or the error of recipient i; a
	 * negative return is the error of all. ERR_FULL 452 4.3.1, ERR_TOO_LARGE 552 5.2.3,
	 * ERR_NOT_FOUND 550 5.1.1, ERR_REFUSED 550 5.7.1, ERR_INVALID and ERR_ILLEGAL 554 5.6.0,
	 * ERR_OVERQUOTA as above, others 451.
	 */
	int (*deliver)(void *context, struct bytes message, const struct lmtp_recipient *recipients,
		size_t count, int *results_r);

	/*
	 * Appends the name of the account for an address to *account; `local_part` is without
	 * quotes and detail, `domain` may be empty. ERR_NOT_FOUND, ERR_INVALID as above. NULL: the
	 * local part.
	 */
	int (*account_name)(void *context, struct bytes local_part, struct bytes domain,
		struct buffer *account);
};

struct lmtp_options { /* 0 or NULL: the default */
	struct lmtp_backend backend;
	const char *host_name;        /* for the greeting and Received; this machine's */
	size_t message_size_max;      /* bytes; 64 MiB */
	const char *detail_separator; /* one byte; "+"; "" for none */
	bool quota_is_permanent;      /* mail over a quota goes back to its sender at once */
	unsigned idle_timeout_s;      /* 300 (RFC 5321, section 4.5.3.2.7) */
};

struct lmtp_server;

/* The options are copied, but for the backend's context. Never fails. */
struct lmtp_server *lmtp_server_new(const struct lmtp_options *options);
/* After net_server_stop(). Sets *server to NULL. A NULL *server is allowed. */
void lmtp_server_free(struct lmtp_server **server);

/* For net_listener_options: the protocol, with the server itself as `context`. */
const struct net_protocol *lmtp_server_protocol(const struct lmtp_server *server);

#endif
