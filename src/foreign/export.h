/*
 * export: writes all of an account into a store of another kind, and at the next run what changed
 * since. In steps of some hundred messages. What is written is what this copy shows at that time;
 * nothing here changes.
 */
#ifndef CHAPAR_FOREIGN_EXPORT_H
#define CHAPAR_FOREIGN_EXPORT_H

#include "mail/mail.h"

struct export_counts {
	uint64_t message_count; /* in the mailbox */
	uint64_t new_count, new_bytes;
	uint64_t changed_count; /* flags */
	uint64_t removed_count; /* they are no more here */
	uint64_t unnamed_count; /* keywords that the format has no room for */
};

/* Reads the body of the message that is being written. */
struct export_body {
	int (*read)(void *context, struct buffer *out, struct error *error);
	void *context;
};

struct target;
struct target_class {
	/* Once, before all else. */
	int (*open)(struct target *target, struct error *error);
	int (*mailbox_begin)(
		struct target *target, const struct mailbox_record *mailbox, struct error *error);
	/* In order of UID. */
	int (*message)(struct target *target, const struct message_record *message,
		const struct export_body *body, struct export_counts *counts, struct error *error);
	int (*mailbox_end)(
		struct target *target, struct export_counts *counts, struct error *error);
	/* Once, after all mailboxes. */
	int (*finish)(struct target *target, const struct bytes *subscriptions, size_t count,
		struct error *error);
	void (*free)(struct target *target);
};

struct target {
	const struct target_class *class;
};

/* Sets *target to NULL. A NULL *target is allowed. */
static inline void target_free(struct target **target)
{
	if (*target != NULL)
		(*target)->class->free(*target);
	*target = NULL;
}

struct export_options {
	struct mail *mail;
	uint32_t account;
	struct bytes mailbox; /* this one only, borrowed; empty: all */
	/* This message only, borrowed; NULL: all. ERR_NOT_FOUND if it is not shown. */
	const struct stamp *instance;
	/* After each mailbox. */
	void (*tell)(void *context, struct bytes name, const struct export_counts *counts);
	void *context;
};

struct export;

/* The target is the export's from here on. */
struct export *export_new(const struct export_options *options, struct target *target);
void export_free(struct export **export); /* Sets *export to NULL. A NULL *export is allowed. */

enum export_step { EXPORT_DONE, EXPORT_MORE };
/* EXPORT_MORE: call again. ERR_IO, ERR_FULL, and those of the target. */
int export_step(struct export *export, struct error *error);

struct export_progress {
	struct bytes mailbox; /* under way; empty: none */
	uint64_t done, total; /* messages of it */
};
void export_get_progress(const struct export *export, struct export_progress *progress_r);

#endif
