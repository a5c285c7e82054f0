/*
 * introspection: whom a bearer token stands for, asked of the authorization server that issued it
 * (RFC 7662) over HTTPS.
 *
 * An answer is believed for a short time, at most until the token expires; refusals are not kept.
 * A question takes INTROSPECTION_TIMEOUT_MS at most, and no more than INTROSPECTION_CALL_MAX are
 * asked at a time, so that a server that hangs does not keep all workers. Any thread.
 */
#ifndef CHAPAR_CHAPARD_INTROSPECTION_H
#define CHAPAR_CHAPARD_INTROSPECTION_H

#include "chapard/introspection_answer.h"

#define INTROSPECTION_TIMEOUT_MS 5000
#define INTROSPECTION_CALL_MAX 8

struct introspection;

struct introspection_options { /* strings are copied */
	const char *url;
	const char *client_id;     /* NULL: we need not say who asks */
	const char *client_secret; /* with client_id */
	const char *ca_path;       /* PEM; NULL: the system's authorities */
	unsigned cache_s;          /* 0: every login asks */
	struct introspection_rules rules;
};

/* Once or more in a process, before it has other threads. */
struct introspection *introspection_new(const struct introspection_options *options);
/* Sets *introspection to NULL. A NULL *introspection is allowed. */
void introspection_free(struct introspection **introspection);

/*
 * Appends the user's name to *name. ERR_REFUSED: the token is not good, or not good for us;
 * ERR_UNAVAILABLE: the server cannot be asked, or does not answer as it should; logged.
 */
int introspection_check(
	struct introspection *introspection, struct bytes token, struct buffer *name);

#endif
