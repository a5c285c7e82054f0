/*
 * mime_params: values of structured MIME fields (RFC 2045, 5.1), read leniently: what does not fit
 * is passed over up to the next semicolon. For mime_structure.c. Pure; any thread.
 */
#ifndef CHAPAR_MAIL_MIME_PARAMS_H
#define CHAPAR_MAIL_MIME_PARAMS_H

#include "mail/mime_structure.h"

/* "type/subtype; name=value...". False, with nothing stored, if there are no type and subtype. */
bool mime_content_type_parse(struct bytes value, struct arena *arena, struct mime_part *part);

/* "token; name=value...": an empty token if there is none. */
struct bytes mime_disposition_parse(
	struct bytes value, struct arena *arena, struct mime_param **params_r);

/* Content-Language: "en, de". */
struct mime_param *mime_languages_parse(struct bytes value, struct arena *arena);

/* The first token, without comments. */
struct bytes mime_token_parse(struct bytes value);

#endif
