/* Taking over what a mailbox has besides its messages, and an account besides its mailboxes. */
#include "foreign/import_private.h"

static int extras_set(struct import *import, const struct source_mailbox *mailbox,
	struct import_extra_counts *counts, struct error *error)
{
	struct source_extras extras = { 0 };
	int rc = 0;

	if (import->source->class->extras != NULL)
		rc = import->source->class->extras(
			import->source, mailbox, import->arena, &extras, error);
	for (int i = 0; i <= IMPORT_LIMITS && rc == 0; i++)
		if (extras.of[i].is_told)
			rc = import_extra_set(&import->target, (enum import_extra)i,
				extras.of[i].entries, extras.of[i].count,
				import->options.is_dry_run, counts, error);
	return rc;
}

int import_extra_step(struct import *import, struct error *error)
{
	int rc = 0;

	if (!import->is_lost)
		rc = extras_set(
			import, import_mailbox_now(import), &import->result.extra_counts, error);
	import->phase = PHASE_FINISH;
	return rc < 0 ? import_mailbox_failed(import, rc, error) : IMPORT_MORE;
}

int import_account_step(struct import *import, struct error *error)
{
	int rc = extras_set(import, NULL, &import->account_counts, error);

	arena_clear(import->arena);
	import->phase = PHASE_SUBSCRIBE;
	return rc < 0 ? rc : IMPORT_MORE;
}
