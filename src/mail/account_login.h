/*
 * account_login: whether an account's user may log in: a register of the account, replicated like
 * its credentials, so that a user who is disabled on one node is so on all. Mail is still
 * delivered. Any thread; errors of a write are those of mail.h.
 */
#ifndef CHAPAR_MAIL_ACCOUNT_LOGIN_H
#define CHAPAR_MAIL_ACCOUNT_LOGIN_H

#include "mail/mail.h"

/* Durable when it returns. Sets *is_changed_r to whether it was otherwise before. */
int account_login_set(struct mail *mail, uint32_t account, bool is_enabled, bool *is_changed_r,
	struct error *error);

/* 0: he may; ERR_REFUSED: his login is disabled; or why that cannot be read. */
int account_login_check(struct mail *mail, uint32_t account);

#endif
