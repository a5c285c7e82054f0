/*
 * bundle: changes of accounts in a file, for a node without a network (docs/protocol.md, Bundles).
 *
 * A bundle holds, for each account, what changed at the node that made it since a point, and what
 * the account is like afterwards. Applied, it is an exchange whose requests come from the file
 * (responder.h): all or nothing for each account, checked as anything that comes from a peer, and
 * nothing happens if it is applied again or late (P8). Where the copy has changed since the point
 * it is refused, and a reply bundle tells what changed; the maker applies that, which merges it,
 * and makes another one since the reply.
 *
 * A point is a bundle too: one that this node made leads to where it ended; a reply to where the
 * other one was.
 */
#ifndef CHAPAR_SYNC_BUNDLE_H
#define CHAPAR_SYNC_BUNDLE_H

#include "mail/mail.h"
#include "sync/bundle_file.h"

/* ---- what is in it ---- */

struct bundle_about {
	uint64_t node; /* that made it */
	struct node_name name;
	uint64_t created_ms; /* since 1970 */
	bool is_reply;
	uint64_t peer; /* of a reply: the node that it is for */
};

struct bundle_account {
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	uint64_t since;  /* the maker's sequence that the changes are after; 0: all there is */
	uint64_t common; /* of a reply: the reader's sequence when the copies were equal last */
	bool has_from;
	struct digest from; /* of the copy that the changes are for, as it must be */
	bool is_merged;     /* `from` is what the reader told in a reply, which was merged here */
	uint64_t sequence, highest; /* the maker's, afterwards */
	struct digest digest;       /* of its copy, afterwards */
	bool is_changed;            /* changes follow */
};

enum bundle_frame {
	BUNDLE_ABOUT = 'B', /* first */
	BUNDLE_ACCOUNT = 'A',
	BUNDLE_BODIES = 'P',  /* a PUT request */
	BUNDLE_RECORDS = 'S', /* a STAGE request */
	BUNDLE_END = BUNDLE_FRAME_END
};

/* ---- checking ---- */

struct bundle_summary {
	struct bundle_about about;
	bool is_encrypted;
	uint64_t size; /* bytes of the file */
	uint64_t account_count, changed_count, record_count, body_count, body_bytes;
};

/*
 * Reads all of it: every guard, every form, every message's bytes against its GUID. `tell` (may be
 * NULL) is called for each account. Needs no store. Errors: those of bundle_file.h, and
 * ERR_CORRUPT, ERR_INVALID with the reason.
 */
int bundle_check(const char *path, const struct bundle_secret *secret,
	void (*tell)(void *context, const struct bundle_account *account), void *context,
	struct bundle_summary *summary_r, struct error *error);

/* ---- making ---- */

struct bundle_create;

struct bundle_create_options { /* borrowed while it is made */
	const char *path;
	const char *since;           /* the bundle that is the point; NULL: all there is */
	const char *account;         /* this one only; NULL: all */
	struct bundle_secret secret; /* also of `since` */
};

/* ERR_INVALID: `since` is no point of this node; those of bundle_file.h. */
int bundle_create_new(struct mail *mail, const struct bundle_create_options *options,
	struct bundle_create **create_r, struct error *error);
enum bundle_step { BUNDLE_DONE, BUNDLE_MORE };
/* One frame or so. BUNDLE_DONE: the file is whole. */
int bundle_create_step(struct bundle_create *create, struct error *error);
/* Sets *create to NULL. A NULL *create is allowed; an unfinished file is removed. */
void bundle_create_free(struct bundle_create **create);
void bundle_create_count(const struct bundle_create *create, struct bundle_summary *summary_r);

/* ---- applying ---- */

enum bundle_outcome {
	BUNDLE_APPLIED,
	BUNDLE_MERGED,  /* of a reply */
	BUNDLE_HAD,     /* it was here already */
	BUNDLE_NOTHING, /* it holds no changes of this account */
	BUNDLE_REFUSED, /* this copy has changed since the point, or never was there */
	BUNDLE_FAILED   /* the error says why */
};

struct bundle_apply;

struct bundle_apply_options { /* borrowed while it runs */
	const char *path;
	const char *reply;           /* file to make where something is refused; NULL: none */
	struct bundle_secret secret; /* also of the reply */
	/* May be NULL. */
	void (*tell)(void *context, const char *account, enum bundle_outcome outcome,
		const struct error *error);
	void *context;
};

/* Checks the whole file first. ERR_REFUSED: this very node made it, or a reply is for another. */
int bundle_apply_new(struct mail *mail, const struct bundle_apply_options *options,
	struct bundle_apply **apply_r, struct error *error);
/*
 * One frame. BUNDLE_DONE: all was applied, or was here. ERR_CHANGED: something was refused, the
 * reply is there; else the first account's error; the other accounts were applied all the same.
 */
int bundle_apply_step(struct bundle_apply *apply, struct error *error);
void bundle_apply_free(struct bundle_apply **apply);
void bundle_apply_progress(const struct bundle_apply *apply, uint64_t *done_r, uint64_t *total_r);

#endif
