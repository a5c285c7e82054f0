/* Values of fields in the forms that mime_downgrade.c puts together. */
#ifndef CHAPAR_MAIL_MIME_DOWNGRADE_PRIVATE_H
#define CHAPAR_MAIL_MIME_DOWNGRADE_PRIVATE_H

#include "base/buffer.h"
#include "mail/mime_structure.h"

bool mime_is_ascii(struct bytes text);

/*
 * Each appends a value with the blank before it, folded with `line_end`. False: there is no such
 * form of the value; what was appended is then to be cut off.
 */
bool mime_downgrade_text(struct bytes value, const char *line_end, struct buffer *out);
/* A whole phrase, such as a display name, or nothing if it is empty. */
void mime_downgrade_phrase(struct bytes text, const char *line_end, struct buffer *out);
/* `with_names`: of what cannot be said, at least the display name. */
bool mime_downgrade_addresses(
	struct bytes value, bool with_names, const char *line_end, struct buffer *out);
void mime_downgrade_params(
	const struct mime_param *param, const char *line_end, struct buffer *out);

#endif
