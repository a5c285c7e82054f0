/*
 * splitbrain: what both sides of a cut may change, and what must be left after healing.
 */
#ifndef CHAPAR_BENCH_SPLITBRAIN_H
#define CHAPAR_BENCH_SPLITBRAIN_H

#include "snapshot.h"

#define SHARED_MESSAGES 20 /* S01 to S20, in both INBOXes before the cut */

/* A view of each side. */
struct both_sides {
	struct snapshot a, b;
};

/* Judges every message of the run and prints the verdicts and the summary. `before` is what clients
 * saw before healing, `after` what they see when all is quiet. */
void splitbrain_judge(const struct options *options, const char *user,
	const struct both_sides *before, const struct both_sides *after);

#endif
