/*
 * sasl_private: between the mechanisms, for sasl*.c only.
 */
#ifndef CHAPAR_MAIL_SASL_PRIVATE_H
#define CHAPAR_MAIL_SASL_PRIVATE_H

#include "mail/sasl.h"

#include <gsasl.h>

#define SASL_STEP_COUNT_MAX 12 /* GSSAPI needs the most: four or five */

struct sasl_authority {
	struct sasl_options options;
	struct buffer secret;
	char *mechanisms, *token_scope, *gssapi_host, *gssapi_realm;
	Gsasl *library;
};

struct sasl_server {
	struct sasl_authority *authority;
	const struct sasl_channel *channel;
	const struct sasl_mechanism *mechanism;
	unsigned step_count;
	bool is_over;
	struct buffer authcid, authzid; /* prepared */
	Gsasl_session *session;         /* NULL: the mechanism is our own */
	bool is_unavailable;            /* a callback could not tell */
	bool is_refused;                /* the token was; the client is being told why */
	bool has_begun;                 /* the client's first message came */
	bool is_proven;                 /* all is said but the client's last empty message */
	struct scram_keys keys;         /* of SCRAM; */
	bool has_keys, is_known;        /* looked up; or else they belong to nobody */
};

enum sasl_need { /* a set of bits: without which a mechanism is not offered */
	SASL_NEEDS_PRIVACY = 1,
	SASL_NEEDS_BINDING = 2,
	SASL_NEEDS_SHA_1 = 4,
	SASL_NEEDS_CERTIFICATE = 8,
	SASL_NEEDS_GSSAPI = 16,
	SASL_NEEDS_TOKENS = 32
};

struct sasl_mechanism {
	const char *name;
	unsigned needs;
	enum scram_hash hash; /* of SCRAM */
	bool has_prompt;      /* of its own, before the first message of the client */
	bool begins_empty;    /* the client's first message may be empty */
	enum sasl_step (*step)(
		struct sasl_server *server, struct bytes input, struct buffer *challenge);
};

/* sasl_library.c: the mechanisms of GNU SASL. */
Gsasl *sasl_library_new(struct sasl_authority *authority);
int sasl_library_start(struct sasl_server *server);
enum sasl_step sasl_library_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge);

/* sasl_token.c */
enum sasl_step sasl_oauthbearer_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge);
enum sasl_step sasl_xoauth2_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge);

/* Whether a -PLUS mechanism was offered on the server's channel. */
bool sasl_binding_is_offered(const struct sasl_server *server);
/* Whether only our own credentials tell who `name`, prepared, is. */
bool sasl_is_reserved(const struct sasl_authority *authority, struct bytes name);
/* `name` is prepared. */
enum sasl_step sasl_name_check(
	struct sasl_authority *authority, struct bytes name, struct bytes password);
/*
 * Looks up `name`, or makes up the keys of an account that there is not: 0, or the error of the
 * lookup.
 */
int sasl_scram_keys(struct sasl_authority *authority, struct bytes name, enum scram_hash hash,
	struct scram_keys *keys_r, bool *is_known_r);

#endif
