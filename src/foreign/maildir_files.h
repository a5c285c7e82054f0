/*
 * maildir_files: the names and small files of which a Maildir consists, as Dovecot and Courier
 * write them. Pure; what is read borrows from the input or lives in `arena`. What is not understood
 * is left out: such files are written by many programs.
 */
#ifndef CHAPAR_FOREIGN_MAILDIR_FILES_H
#define CHAPAR_FOREIGN_MAILDIR_FILES_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/map.h"

#include <stdint.h>

#define MAILDIR_KEYWORD_COUNT 26                  /* that letters in file names can tell: a to z */
#define MAILDIR_LINE_SIZE_MAX 8192                /* bytes; longer lines of files are left out */
#define MAILDIR_FILE_SIZE_MAX ((uint64_t)1 << 30) /* bytes of one of these files */

/* "1276528487.M364P9.host,S=1355,W=1394:2,FSab". */
struct maildir_name {
	struct bytes base;    /* up to the colon: the message's name for ever */
	uint64_t size;        /* W=, bytes with CRLF; 0: it does not say */
	struct bytes letters; /* of flags */
};
struct maildir_name maildir_name_parse(struct bytes name);

/* The names of keywords that letters stand for; empty: none. */
struct maildir_keywords {
	struct bytes names[MAILDIR_KEYWORD_COUNT];
};
/* dovecot-keywords: lines "INDEX NAME". */
void maildir_keywords_parse(struct bytes text, struct maildir_keywords *keywords_r);

/* Courier's courierimapkeywords/:list: names, an empty line, then BASE:INDEX INDEX ... */
struct courier_keywords {
	struct bytes *names;
	size_t count;
	struct map messages; /* by base: struct bytes, the indexes as text */
};
/* Release the map with map_deinit(). */
void courier_keywords_parse(
	struct bytes text, struct arena *arena, struct courier_keywords *keywords_r);

/* Appends to flags[] (room for SOURCE_FLAG_COUNT_MAX) those that it does not hold yet. */
void maildir_flags_of_letters(struct bytes letters, const struct maildir_keywords *keywords,
	struct bytes *flags, size_t *count);
void maildir_flags_of_courier(const struct courier_keywords *keywords, struct bytes base,
	struct bytes *flags, size_t *count);
/* Names, one on a line: such as a file of Courier's for one message. */
void maildir_flags_of_lines(struct bytes text, struct bytes *flags, size_t *count);

struct maildir_uid {
	uint32_t uid;
	uint64_t size; /* with CRLF; 0: it does not say */
};
struct maildir_uids {
	uint32_t uidvalidity, uidnext;
	struct map of; /* by base: struct maildir_uid */
};
/* dovecot-uidlist, versions 1 and 3, and courierimapuiddb. ERR_INVALID: it is none of these, or has
 * damage that makes UIDs doubtful. Release the map with map_deinit(). */
int maildir_uids_parse(struct bytes text, struct arena *arena, struct maildir_uids *uids_r);

/* A file name of a level, or of several with '.' between them, as UTF-8 with '/'. */
struct bytes maildir_folder_decode(struct bytes name, int separator, struct arena *arena);
/* The contrary; what would be no file name, or a separator inside a level, is encoded too. */
void maildir_folder_encode(struct bytes name, int separator, struct buffer *out);

/* Calls `function` for each name in a `subscriptions` file (Dovecot's, both versions; the older
 * with `separator` between levels) or in courierimapsubscribed, where all begin with "INBOX.". */
void maildir_subscriptions_parse(struct bytes text, int separator, bool is_courier,
	struct arena *arena, void (*function)(void *context, struct bytes name), void *context);

#endif
