/*
 * sasl_prepare: user names and passwords in the form in which they are compared.
 *
 * It does the parts of SASLprep (RFC 4013) that need no tables of all of Unicode: the input must be
 * UTF-8; what is commonly mapped to nothing is left out, non-ASCII spaces become U+0020, control
 * characters, private use, non-characters and characters that change display are refused. It does
 * not apply NFKC: who types an accented password on systems that compose differently may be
 * refused, but nobody is let in who should not be.
 */
#ifndef CHAPAR_MAIL_SASL_PREPARE_H
#define CHAPAR_MAIL_SASL_PREPARE_H

#include "base/buffer.h"

/* Appends the prepared form. ERR_INVALID (*out is then as before): prohibited, or nothing is left.
 */
int sasl_prepare(struct bytes in, struct buffer *out);

#endif
