/*
 * sasl: logins by SASL. The server's side of PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256, SCRAM-SHA-1
 * and their -PLUS forms (RFC 5802, RFC 7677, RFC 9266), EXTERNAL (RFC 4422), GSSAPI (RFC 4752),
 * OAUTHBEARER (RFC 7628) and XOAUTH2; and the client's side of PLAIN, SCRAM-SHA-256(-PLUS) and
 * EXTERNAL for replication channels, for imports also of SCRAM-SHA-1. The mechanisms are GNU
 * SASL's, but for LOGIN and the two with tokens, which it has no server for; see
 * docs/dependencies.md.
 *
 * All data here are decoded: base64 and the framing of IMAP or another protocol are the caller's.
 * It says who somebody is (authentication identity) and whom he wants to act for (authorization
 * identity); whether he may is the caller's to decide.
 *
 * Unknown accounts and accounts without usable credentials take the same steps and the same work as
 * wrong passwords, with a salt that is always the same for the same name.
 */
#ifndef CHAPAR_MAIL_SASL_H
#define CHAPAR_MAIL_SASL_H

#include "mail/password.h"

#define SASL_MESSAGE_SIZE_MAX 4096 /* bytes of one message of either side */
#define SASL_NAME_SIZE_MAX 512     /* bytes of an identity */

enum sasl_step {
	SASL_CONTINUE,   /* send the challenge, feed the answer to the next step */
	SASL_DONE,       /* authenticated: see sasl_server_authcid() */
	SASL_FAILED,     /* wrong name or password */
	SASL_MALFORMED,  /* the client does not keep to the mechanism */
	SASL_UNAVAILABLE /* the credentials could not be looked up now */
};

/*
 * What all sessions share. Callbacks are called by the thread that calls the step, which they may
 * hold up for a bounded time.
 */
struct sasl_options {
	/*
	 * Appends the blob of the account `name` (prepared, as the client wrote it) to *blob: 0,
	 * ERR_NOT_FOUND if there is no such account or no password, or another error, which makes
	 * the step SASL_UNAVAILABLE.
	 */
	int (*lookup)(void *context, struct bytes name, struct buffer *blob);
	/*
	 * Checks a password elsewhere, for names that lookup() does not find: 0, ERR_REFUSED, or
	 * another error, which makes the step SASL_UNAVAILABLE. NULL: such names are unknown.
	 */
	int (*password_check)(void *context, struct bytes name, struct bytes password);
	/*
	 * Appends the name of the user whom a bearer token stands for: 0, ERR_REFUSED, or another
	 * error, as above. NULL: no OAUTHBEARER and XOAUTH2.
	 */
	int (*token_check)(void *context, struct bytes token, struct buffer *name);
	/*
	 * Whether a name is known by lookup() and by its certificate only, whatever
	 * password_check(), token_check() and Kerberos say of somebody who is called so. NULL: none
	 * is.
	 */
	bool (*is_reserved)(void *context, struct bytes name);
	void *context;                /* of all of these */
	struct password_cache *cache; /* may be NULL */
	/* As new passwords are made: what unknown accounts look like, and whether SCRAM-SHA-1 is
	 * offered. */
	struct password_parameters parameters;
	/* At least 16 bytes that stay the same over restarts, for the salts of unknown accounts; or
	 * none. */
	struct bytes secret;
	/* The only mechanisms that are offered, separated by spaces; NULL: all that can work. */
	const char *mechanisms;
	const char *token_scope; /* told to clients whose token was refused; may be NULL */
	/*
	 * GSSAPI for the principals of `gssapi_realm` who have a ticket for imap/`gssapi_host`; the
	 * keytab is the process's (KRB5_KTNAME). NULL: none.
	 */
	const char *gssapi_host, *gssapi_realm;
};

struct sasl_authority;

/* The options are copied, but for context and cache, which must outlive it. */
struct sasl_authority *sasl_authority_new(const struct sasl_options *options);
/* Sets *authority to NULL. A NULL *authority is allowed. */
void sasl_authority_free(struct sasl_authority **authority);

/*
 * For commands that bring name and password at once, such as LOGIN of IMAP: SASL_DONE, SASL_FAILED
 * or SASL_UNAVAILABLE. Any thread.
 */
enum sasl_step sasl_password_check(
	struct sasl_authority *authority, struct bytes name, struct bytes password);

/* What a connection brings along; must outlive the servers that are made for it. */
struct sasl_channel {
	bool is_private; /* passwords and tokens may be shown on it */
	/*
	 * Appends the channel binding of `type` ("tls-exporter", "tls-unique"): 0, or
	 * ERR_NOT_FOUND. NULL: there is no TLS.
	 */
	int (*binding)(void *context, const char *type, struct buffer *out);
	void *context;
	struct bytes certificate_name; /* from the client's verified certificate; empty: none */
};

/*
 * Appends the names of the mechanisms that can work on the channel, the strongest first, each after
 * `separator`.
 */
void sasl_mechanisms(const struct sasl_authority *authority, const struct sasl_channel *channel,
	const char *separator, struct buffer *out);

struct sasl_server;

/* ERR_NOT_FOUND: no such mechanism, or not on this channel; ERR_UNAVAILABLE: it cannot start now
 * (GSSAPI without a usable keytab). */
int sasl_server_new(struct sasl_authority *authority, struct bytes mechanism,
	const struct sasl_channel *channel, struct sasl_server **server_r);
/* Sets *server to NULL. A NULL *server is allowed. */
void sasl_server_free(struct sasl_server **server);

/*
 * One step. `input` is the client's message; for the first step the initial response, whose ptr is
 * NULL if the client sent none (an empty one has a ptr that is not NULL). On SASL_CONTINUE the
 * challenge was appended to *challenge; it may be empty. After any other answer no more steps may
 * follow.
 */
enum sasl_step sasl_server_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge);

/* After SASL_DONE (or SASL_FAILED, for the log; may then be empty). Borrowed from the server. */
struct bytes sasl_server_authcid(const struct sasl_server *server);
/* Whom he wants to be; empty: himself. */
struct bytes sasl_server_authzid(const struct sasl_server *server);
/* Whether a password was tried, which may have been guessed. */
bool sasl_server_is_guess(const struct sasl_server *server);
/* Whether the client may speak first. */
bool sasl_server_takes_initial(const struct sasl_server *server);
/* "SCRAM-SHA-256", for the log. */
const char *sasl_server_mechanism(const struct sasl_server *server);

/* ---- The client's side ---- */

struct sasl_client_options {
	/* "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1", "EXTERNAL" */
	const char *mechanism;
	const char *authzid;  /* NULL: none */
	const char *authcid;  /* NULL for EXTERNAL */
	const char *password; /* likewise */
	struct bytes binding; /* tls-exporter, for -PLUS */
};

struct sasl_client;

/* Copies the options. ERR_NOT_FOUND: no such mechanism; ERR_INVALID: name or password not
 * preparable. */
int sasl_client_new(const struct sasl_client_options *options, struct sasl_client **client_r);
/* Sets *client to NULL. A NULL *client is allowed. */
void sasl_client_free(struct sasl_client **client);

/*
 * Answers a challenge (for the first step, which makes the initial response, an empty one). 0, or
 * ERR_INVALID: the server does not keep to the mechanism, asks for more than
 * SCRAM_ITERATION_COUNT_MAX or less than SCRAM_ITERATION_COUNT_MIN; ERR_REFUSED: it refused us, or
 * does not know our password itself, so it is not who it says it is.
 */
int sasl_client_step(struct sasl_client *client, struct bytes challenge, struct buffer *response);

/*
 * Whether the server has shown, as far as the mechanism can, that it knows the password. To be
 * asked when it says that all is well.
 */
bool sasl_client_is_done(const struct sasl_client *client);

#endif
