/*
 * peer_definition: what the store remembers of a channel beside its cursor: that an operator paused
 * it, and, of one that was added while the daemon ran, its peer's section.
 */
#ifndef CHAPAR_CHAPARD_PEER_DEFINITION_H
#define CHAPAR_CHAPARD_PEER_DEFINITION_H

#include "base/arena.h"
#include "base/error.h"
#include "mail/mail.h"

struct peer_definition {
	const char *name;
	bool is_paused;
	bool is_added;            /* with `words`; else the configuration file has it */
	const char *const *words; /* KEY=VALUE */
	size_t word_count;
};

/* Stores it, or, if there is nothing to remember, removes it. */
int peer_definition_put(
	struct mail *mail, const struct peer_definition *definition, struct error *error);
/* Removes it, and with it the channel's cursor. */
int peer_definition_forget(struct mail *mail, const char *name, struct error *error);
/* ERR_NOT_FOUND; texts are the arena's. */
int peer_definition_get(struct mail *mail, const char *name, struct arena *arena,
	struct peer_definition *definition_r, struct error *error);
/* All that were added, in the arena. */
int peer_definition_list(struct mail *mail, struct arena *arena,
	struct peer_definition **definitions_r, size_t *count_r, struct error *error);

#endif
