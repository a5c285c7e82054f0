/*
 * imap_login: what follows when a client has shown who he is, or failed to: as whom he acts, with
 * which rights, limits, delays and log lines; for LOGIN and AUTHENTICATE alike.
 */
#ifndef CHAPAR_IMAP_IMAP_LOGIN_H
#define CHAPAR_IMAP_IMAP_LOGIN_H

#include "imap/imap_session.h"

/* What the connection brings along for SASL, as of now; borrowed from the session. */
const struct sasl_channel *imap_login_channel(struct imap_session *session);

struct imap_login {
	enum sasl_step step;   /* what came of it: not SASL_CONTINUE */
	struct bytes authcid;  /* who he says he is; may be empty after a failure */
	struct bytes authzid;  /* whom he wants to act for; empty: himself */
	const char *mechanism; /* for the log */
	bool is_guess;         /* it could have been one: by password */
};

/* Ends the command, now or when the answer may be given. Copies what it keeps. */
enum net_result imap_login_end(struct imap_session *session, const struct imap_login *login);

#endif
