/*
 * sasl_prepare: user names and passwords in the form in which they are compared: SASLprep (RFC
 * 4013), so that a password typed with composed and with decomposed accents is the same, and
 * nothing that cannot be seen can be in one. Characters that Unicode 3.2 did not know are taken as
 * they are.
 */
#ifndef CHAPAR_MAIL_SASL_PREPARE_H
#define CHAPAR_MAIL_SASL_PREPARE_H

#include "base/buffer.h"

#define SASL_PREPARE_SIZE_MAX 4096 /* bytes of what can be prepared */

/*
 * Appends the prepared form. ERR_INVALID (*out is then as before): not UTF-8, prohibited, too long,
 * or nothing is left.
 */
int sasl_prepare(struct bytes in, struct buffer *out);

#endif
