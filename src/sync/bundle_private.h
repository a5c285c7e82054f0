/* bundle_private: what bundle*.c share. */
#ifndef CHAPAR_SYNC_BUNDLE_PRIVATE_H
#define CHAPAR_SYNC_BUNDLE_PRIVATE_H

#include "base/arena.h"
#include "sync/bundle.h"
#include "sync/changes.h"

void bundle_about_write(const struct bundle_about *about, struct buffer *out);
int bundle_about_read(struct bytes text, struct bundle_about *about_r, struct error *error);
void bundle_account_write(const struct bundle_account *account, struct buffer *out);
int bundle_account_read(struct bytes text, struct bundle_account *account_r, struct error *error);

/* The changes of one account, being put into a file. */
struct bundle_content {
	struct arena *arena;
	struct change_set changes;
	uint64_t since;
	size_t body_next;   /* messages whose bodies were looked at */
	size_t record_next; /* counted through all kinds */
	uint64_t part_count;
};

/* Reads account->name's changes since account->since, and completes *account. ERR_NOT_FOUND. */
int bundle_content_begin(struct bundle_content *content, struct mail *mail,
	struct bundle_account *account, struct error *error);
/* Puts one frame. BUNDLE_DONE: there is none left. */
int bundle_content_step(struct bundle_content *content, struct mail *mail,
	struct bundle_writer *writer, struct bundle_summary *summary, struct error *error);
void bundle_content_end(struct bundle_content *content);

#endif
