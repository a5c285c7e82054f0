/*
 * mime_syntax: checks that strings are IMAP's envelope and body of RFC 3501, section 9, exactly. It
 * shares no code with what writes them. For tests and fuzzing.
 */
#ifndef CHAPAR_TESTS_MIME_SYNTAX_H
#define CHAPAR_TESTS_MIME_SYNTAX_H

#include "base/bytes.h"

bool mime_syntax_is_envelope(struct bytes text);
bool mime_syntax_is_body(struct bytes text, bool extended);

#endif
