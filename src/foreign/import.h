/*
 * import: takes everything in that a source holds, and at the next run what changed there since
 * (mail/import.h). In steps, each of which is a commit, or an answer of the source, or some
 * thousand records looked at; what is interrupted goes on with the next run.
 *
 * A run asks for what is there first and only then compares: messages that come in meanwhile are
 * left to the next one.
 */
#ifndef CHAPAR_FOREIGN_IMPORT_H
#define CHAPAR_FOREIGN_IMPORT_H

#include "foreign/source.h"
#include "mail/import.h"

struct import_result {     /* of one mailbox */
	struct bytes name; /* borrowed for the call */
	struct import_counts counts;
	uint64_t message_count;                  /* there */
	uint64_t left_out_count;                 /* they could not be read, or are too large */
	uint64_t deleted_count;                  /* deleted here, and left so */
	struct import_extra_counts extra_counts; /* rights and metadata */
	bool is_deleted_here;                    /* a user has deleted it; nothing was done */
	bool is_gone_there;                      /* the source has it no more */
	bool has_other_uidvalidity;
	uint32_t uidvalidity; /* there, and ... */
	uint32_t uidvalidity_here;
	struct error error; /* code 0: all was done */
};

struct import_options {
	struct mail *mail;
	struct bytes account; /* normalized; made if it is not there */
	bool is_dry_run;      /* only tells what it would do */
	bool is_over_quota;
	bool keeps_gone; /* what is gone at the source stays here */
	void (*tell)(void *context, const struct import_result *result); /* after each mailbox */
	void *context;
};

struct import;

/* `mail` and `account` stay borrowed; the source is the import's from here on. */
struct import *import_new(const struct import_options *options, struct source *source);
void import_free(struct import **import); /* Sets *import to NULL. A NULL *import is allowed. */

enum import_step { IMPORT_DONE, IMPORT_MORE };

/*
 * IMPORT_MORE: call again. Errors: those of the source and of mail.h; a mailbox's own are told, and
 * the first of them is returned at the end, when all others are done.
 */
int import_step(struct import *import, struct error *error);

struct import_progress {
	struct bytes mailbox; /* under way; empty: none. Borrowed until the next step. */
	uint64_t done, total; /* messages of it that are new */
	uint64_t mailbox_count, subscription_count;
	struct import_extra_counts account_counts; /* scripts and limits of the account */
};
void import_get_progress(const struct import *import, struct import_progress *progress_r);

#endif
