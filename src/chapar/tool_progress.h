/*
 * tool_progress: how far a long command is, as one line at the bottom of a terminal; nothing where
 * there is none. Takes the output of admin commands (chapard/admin.h).
 */
#ifndef CHAPAR_CHAPAR_TOOL_PROGRESS_H
#define CHAPAR_CHAPAR_TOOL_PROGRESS_H

#include "base/bytes.h"

#include <stdint.h>
#include <stdio.h>

#define PROGRESS_LINE_SIZE_MAX 256 /* bytes */

struct tool_progress {
	FILE *out;                     /* where output goes */
	FILE *terminal;                /* NULL: there is none */
	uint64_t begin_ms, first_done; /* monotonic; since the present line's subject is the same */
	char subject[64];
	bool is_shown;
};

/* `out` stays the caller's. Shows progress if standard error is a terminal. */
void progress_begin(struct tool_progress *progress, FILE *out);
/* One line of a command's output, without its end: is put out, or tells how far it is. */
void progress_line(struct tool_progress *progress, struct bytes line);
/* Wipes the line. */
void progress_end(struct tool_progress *progress);

/*
 * The text of one line. Pure. `elapsed_ms` and `since` count from when the subject began: the rate
 * is of what was done since then.
 */
void progress_text(const char *subject, const char *unit, uint64_t done, uint64_t total,
	uint64_t since, uint64_t elapsed_ms, char text_r[PROGRESS_LINE_SIZE_MAX]);

#endif
