/*
 * identity: who acts: the user of a session, with all that decides what he may do.
 *
 * Whoever authenticates a session fills it in; nothing of it changes until the session ends. Names
 * in `groups` are borrowed.
 */
#ifndef CHAPAR_MAIL_IDENTITY_H
#define CHAPAR_MAIL_IDENTITY_H

#include "mail/account.h"

/* A group of users, as the configuration has it. */
struct identity_group {
	const char *name;
	const char *const *members; /* user names, as account_name_normalize() gives them */
	size_t member_count;
};

struct identity_groups {
	const struct identity_group *groups;
	size_t count;
};

struct identity {
	char name[ACCOUNT_NAME_SIZE_MAX + 1]; /* as whom he acts; "" before the login */
	uint32_t account;                     /* his own account's number; 0: he has none */
	const struct identity_groups *groups; /* all there are; NULL: none */
	bool is_admin;                        /* acts as administrator, not as an ordinary user */
	bool is_read_only;                    /* may change nothing at all */
};

/* Whether he is a member of that group. */
bool identity_is_member(const struct identity *identity, struct bytes group);

#endif
