/*
 * script: Sieve scripts as records (kind RECORD_SCRIPT), by name; and which of them is active, in
 * the register with the empty name.
 *
 * A script is kept by value: scripts are small, and a value needs no body to travel ahead of it.
 * With the text each holds the stamps of the versions that it was made from. So merging can tell an
 * edit of what the other side had (the later stays) from edits made on both sides at once: then the
 * later stays under the name, the other as "NAME (conflict DATE NODE)" (sync/merge_registers.c).
 */
#ifndef CHAPAR_MAIL_SCRIPT_H
#define CHAPAR_MAIL_SCRIPT_H

#include "mail/mail.h"

#define SCRIPT_NAME_SIZE_MAX 255 /* bytes of UTF-8 */
#define SCRIPT_SIZE_MAX (60 * 1024)
#define SCRIPT_ANCESTOR_COUNT_MAX 16

/* The text in a register's value; empty if it is malformed. */
struct bytes script_text(struct bytes value);
/* Whether the version in `value` was made, perhaps by way of others, from the one with this stamp.
 */
bool script_is_made_from(struct bytes value, struct stamp stamp);

/* The value of a version that replaces `before` (whose stamp is none: nothing), in `arena`. */
struct bytes script_version_value(
	const struct register_record *before, struct bytes text, struct arena *arena);
/* The value of a version that replaces `before` with the same text, in `arena`; that of a register
 * that is no script is as it was. */
struct bytes script_next_value(const struct register_record *before, struct arena *arena);

/* ERR_INVALID: empty, too long, or it holds a control character. */
int script_name_check(struct bytes name, struct error *error);

/* Errors: ERR_INVALID (a name that is empty, too long, or holds a control character),
 * ERR_TOO_LARGE, ERR_NOT_FOUND. */
int mail_script_put(struct mail *mail, uint32_t account, struct bytes name, struct bytes text,
	struct error *error);
/* Appends the text to *text_r. */
int mail_script_get(struct mail *mail, uint32_t account, struct bytes name, struct buffer *text_r,
	struct error *error);
/* ERR_REFUSED: it is active. */
int mail_script_delete(struct mail *mail, uint32_t account, struct bytes name, struct error *error);
/* Makes it the active one; an empty name: none. */
int mail_script_activate(
	struct mail *mail, uint32_t account, struct bytes name, struct error *error);
/* Calls `function` for each script, by name, until it returns other than 0, which is returned. */
int mail_script_each(struct mail *mail, uint32_t account,
	int (*function)(void *context, struct bytes name, struct bytes text, bool is_active),
	void *context, struct error *error);

#endif
