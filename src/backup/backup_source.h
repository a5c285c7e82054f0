/*
 * backup_source: the node that a backup takes from, or a restore brings to: SYNC requests and their
 * answers (docs/protocol.md), whoever carries them. HELLO was said before.
 */
#ifndef CHAPAR_BACKUP_BACKUP_SOURCE_H
#define CHAPAR_BACKUP_BACKUP_SOURCE_H

#include "base/arena.h"
#include "sync/changes.h"
#include "sync/responder.h"
#include "sync/survey.h"

struct dlist; /* sync/dlist.h */

struct backup_source {
	/* The answer is borrowed until the next call. Errors of the connection; an ERROR that the
	 * node answers is no error here. */
	int (*ask)(
		void *context, struct bytes request, struct bytes *answer_r, struct error *error);
	void *context;
	struct sync_peer peer; /* who it is */
	uint64_t request_count;
	bool is_refusal; /* the last answer was an ERROR: the connection is well */
};

/*
 * Asks, and parses the answer, which lives in `arena`. ERR_INVALID: it is of another verb than
 * `wanted`; the node's error, if it answers one.
 */
int backup_ask(struct backup_source *source, struct bytes request, const char *wanted,
	struct arena *arena, const struct dlist **map_r, struct error *error);
/* The same with any verb. */
int backup_ask_any(struct backup_source *source, struct bytes request, struct arena *arena,
	struct bytes *verb_r, const struct dlist **map_r, struct error *error);

/* A page of all accounts; *cursor is 0 at first, and at the end again. */
int backup_ask_points(struct backup_source *source, uint64_t *cursor, struct arena *arena,
	struct survey_account **accounts_r, size_t *count_r, struct error *error);

/* A page of an account's changes. */
struct backup_changes {
	struct change_set records; /* borrows from the arena; not normalized */
	uint64_t sequence, highest;
	struct digest digest;
	bool has_more, is_reset;
};
int backup_ask_changes(struct backup_source *source, const char *account, uint64_t since,
	struct arena *arena, struct backup_changes *changes_r, struct error *error);

/* Messages by what shows them; calls for each that came, checked against its GUID. */
typedef int backup_body_function(
	void *context, const struct guid *guid, struct bytes raw, struct error *error);
int backup_ask_bodies(struct backup_source *source, const char *account,
	const struct stamp *instances, size_t count, backup_body_function *function, void *context,
	struct error *error);

#endif
