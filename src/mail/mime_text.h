/*
 * mime_text: what a message says: header fields and text parts as UTF-8, and searching in them (RFC
 * 3501, 6.4.4: substrings, without regard to case).
 *
 * Text is compared in the form of i;unicode-casemap (RFC 5051, as RFC 5255 asks for). Damaged or
 * undeclared 8-bit text is read as UTF-8 if it is that, else as Windows-1252; what cannot be
 * converted becomes U+FFFD. Pure; any thread.
 */
#ifndef CHAPAR_MAIL_MIME_TEXT_H
#define CHAPAR_MAIL_MIME_TEXT_H

#include "base/buffer.h"
#include "mail/mime_needle.h"
#include "mail/mime_structure.h"

#define MIME_CHARSET_NAME_SIZE_MAX 64 /* bytes of a charset's name; longer ones are unknown */

/* Appends `text` in `charset` as UTF-8. ERR_INVALID, and nothing appended, if the charset is not
 * known. */
int mime_to_utf8(struct bytes text, struct bytes charset, struct buffer *out);

/* Appends an unstructured field value as UTF-8, unfolded, encoded words (RFC 2047) decoded, as one
 * line. */
void mime_header_decode(struct bytes value, struct buffer *out);
/*
 * The same for ordering (RFC 5255, 4.6): if an encoded word has a charset that is not known, or
 * octets that are not of it, false, and what is appended is the value with the encoding removed and
 * no charset converted.
 */
bool mime_header_decode_strictly(struct bytes value, struct buffer *out);

/*
 * Appends UTF-8 text as i;unicode-casemap compares it (RFC 5051): equal, ordered and contained are
 * then questions about octets. Octets that are no UTF-8 become U+FFFD.
 */
void mime_casemap(struct bytes utf8, struct buffer *out);

/* The same, for many short texts one after the other: what characters become is looked up once. */
#define MIME_FOLDER_COUNT 32u
struct mime_folded_character { /* private */
	int character;
	uint8_t size; /* 0: none, or too long */
	unsigned char octets[7];
};
struct mime_folder { /* zeroed at first */
	struct mime_folded_character known[MIME_FOLDER_COUNT];
};
void mime_fold(struct mime_folder *folder, struct bytes utf8, struct buffer *out);

/* The same of ASCII text: copies `size` octets with small ASCII letters as capital ones. */
void mime_upper_copy(unsigned char *to, const unsigned char *from, size_t size);

/*
 * Appends the parameters of a Content-Type or Content-Disposition as "; name=value" each, RFC 2231
 * forms put together and all in UTF-8. Nothing if none has such a form.
 */
void mime_params_decode(struct bytes value, struct buffer *out);

/* Appends the body of a part with its transfer encoding removed. False: unknown encoding, appended
 * as it is. */
bool mime_transfer_decode(struct bytes body, struct bytes encoding, struct buffer *out);

/* An empty needle is in every field that exists and in every text. */

/* The raw header may be a whole message's start, or the `fields` of a summary that has the name. */
bool mime_search_header(
	struct bytes message, struct bytes field_name, const struct mime_needle *needle);
/*
 * Appends all that mime_search_header() would look in, folded, and an LF, so that no needle is
 * found by that which is not in this.
 */
void mime_search_fold(struct bytes message, struct bytes field_name, struct buffer *out);
/* Text parts and the headers of attached messages, decoded. */
bool mime_search_body(struct bytes message, const struct mime_needle *needle);
/* The header too. */
bool mime_search_text(struct bytes message, const struct mime_needle *needle);

#endif
