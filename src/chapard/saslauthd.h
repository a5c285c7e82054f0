/*
 * saslauthd: asks saslauthd(8) whether a password is right, so that PAM, LDAP and whatever else it
 * knows can be used. Its socket takes name, password, service and realm, each with its length
 * before it, and answers in the same form, beginning with "OK" or "NO".
 *
 * A question takes SASLAUTHD_TIMEOUT_MS at most. Any thread.
 */
#ifndef CHAPAR_CHAPARD_SASLAUTHD_H
#define CHAPAR_CHAPARD_SASLAUTHD_H

#include "base/bytes.h"
#include "base/error.h"

#define SASLAUTHD_TIMEOUT_MS 10000
#define SASLAUTHD_SERVICE "imap" /* as PAM knows us */

/* 0: it is right; ERR_REFUSED: it is not; ERR_UNAVAILABLE with the reason. */
int saslauthd_check(
	const char *socket_path, struct bytes name, struct bytes password, struct error *error);

#endif
