/* imap_parse_private: character classes of RFC 3501, section 9, and what the parser's files share.
 */
#ifndef CHAPAR_IMAP_PARSE_PRIVATE_H
#define CHAPAR_IMAP_PARSE_PRIVATE_H

#include "imap/imap_parse.h"

enum imap_class {
	CLASS_ATOM = 1,
	CLASS_RESP_SPECIAL = 2, /* ']' */
	CLASS_WILDCARD = 4,     /* '%' and '*' */
	CLASS_PLUS = 8,
	CLASS_BACKSLASH = 16
};

#define CLASS_ASTRING (CLASS_ATOM | CLASS_PLUS | CLASS_RESP_SPECIAL)
#define CLASS_PATTERN (CLASS_ASTRING | CLASS_WILDCARD)

/* The class of one byte, or 0 for those that belong to no atom. */
unsigned imap_class_of(int byte);
/* Takes the longest run of bytes of these classes. */
struct bytes imap_parse_run(struct imap_parser *parser, unsigned classes);

#endif
