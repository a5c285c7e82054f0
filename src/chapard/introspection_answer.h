/*
 * introspection_answer: reads the JSON with which an authorization server tells of a token (RFC
 * 7662, section 2.2), and judges whether the token may log in here. Pure.
 */
#ifndef CHAPAR_CHAPARD_INTROSPECTION_ANSWER_H
#define CHAPAR_CHAPARD_INTROSPECTION_ANSWER_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdint.h>

#define INTROSPECTION_ANSWER_SIZE_MAX (64u * 1024) /* bytes */
#define INTROSPECTION_NAME_SIZE_MAX 512            /* bytes */

struct introspection_rules {
	const char *scope;      /* words, all of which the token must have; NULL: none */
	const char *audience;   /* whom it must be meant for; NULL: not looked at */
	const char *name_claim; /* the member that holds the user's name: "username", "sub", ... */
};

/*
 * Appends the user's name to *name and stores until when the token is good, in seconds since 1970
 * (UINT64_MAX: not told). ERR_REFUSED with the reason: it is not active, expired, not valid yet,
 * without the scope, for another audience, or without a name. ERR_INVALID: no such answer.
 */
int introspection_answer(struct bytes json, const struct introspection_rules *rules, uint64_t now_s,
	struct buffer *name, uint64_t *until_s_r, struct error *error);

#endif
