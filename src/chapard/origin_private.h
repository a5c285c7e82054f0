/* origin_private: the state that a clone keeps of its origin, for origin*.c only. */
#ifndef CHAPAR_CHAPARD_ORIGIN_PRIVATE_H
#define CHAPAR_CHAPARD_ORIGIN_PRIVATE_H

#include "chapard/origin.h"
#include "sync/survey.h"

int origin_state_put(struct mail *mail, const struct origin_state *state, struct error *error);

/*
 * origin_foreign.c: our copy of what the origin lets its user see of another's account. It is an
 * account here, too, so that it is served as there; the user has rights to its mailboxes, and
 * nobody can log in to it.
 */
struct origin_foreign {
	const char *user; /* as account_name_normalize() gives it */
	uint32_t number;  /* of the account here */
	const struct foreign_list *mailboxes;
};

/* Whether the account is such a copy. */
int origin_is_foreign(struct kv_txn *kv, uint32_t account, bool *is_foreign_r);
/* Finds or makes the copy. */
int origin_foreign_open(struct mail *mail, const char *name, bool is_shared, uint32_t *number_r,
	struct error *error);
/* Before an exchange: forgets the mailboxes that he sees no more. *is_anew_r: he sees some that are
 * not here yet. */
int origin_foreign_prepare(struct mail *mail, const struct origin_foreign *foreign, bool *is_anew_r,
	struct error *error);
/* After it: he has the rights that he has there, as far as they can be used here. */
int origin_foreign_grant(
	struct mail *mail, const struct origin_foreign *foreign, struct error *error);
/* Forgets all of it, so that it can be begun anew. */
int origin_foreign_forget(
	struct mail *mail, const struct origin_foreign *foreign, struct error *error);
/* Forgets all such copies but those named. */
int origin_foreign_forget_others(struct mail *mail, const char *user, const char *const *names,
	size_t count, struct error *error);

#endif
