/*
 * imap_parse: the arguments of one complete command (RFC 3501, section 9), read from the front.
 *
 * Each function takes one element off `rest` or fails with ERR_INVALID (ERR_TOO_LARGE for a named
 * limit), with `problem` saying in words what was wrong; the parser is then in no particular state.
 * What is returned borrows from the command or from `arena`. Pure; cannot overrun.
 */
#ifndef CHAPAR_IMAP_PARSE_H
#define CHAPAR_IMAP_PARSE_H

#include "base/arena.h"

#include <stdint.h>

#define IMAP_LIST_DEPTH_MAX 50  /* parentheses and search keys inside each other */
#define IMAP_LIST_COUNT_MAX 512 /* members of one list: flags, header fields, patterns */

struct imap_parser {
	struct bytes rest;
	struct arena *arena;
	const char *problem; /* a constant text; set on errors only */
	bool is_over_limit;  /* well-formed, but more than there can be: NO [LIMIT] (RFC 5530) */
	unsigned depth;      /* of what is being read, for imap_parse_enter() */
	bool is_utf8;        /* the client has enabled UTF-8: names and quoted strings are that */
};

/* Describes the problem and returns `code`. */
int imap_parse_fail(struct imap_parser *parser, int code, const char *problem);

/* Takes `byte` if it comes next. */
bool imap_parse_take(struct imap_parser *parser, int byte);
/* Takes `byte`, or fails. */
int imap_parse_expect(struct imap_parser *parser, int byte);
int imap_parse_space(struct imap_parser *parser);
/* The end of the command: CRLF, or LF alone. */
bool imap_parse_at_end(const struct imap_parser *parser);
int imap_parse_end(struct imap_parser *parser);
/* Takes `word` (letters in any case) if it comes next and no letter, digit, '.', '-' or '_' follows
 * it. */
bool imap_parse_take_word(struct imap_parser *parser, const char *word);

/* Counts one more level of nesting; ERR_TOO_LARGE over IMAP_LIST_DEPTH_MAX. */
int imap_parse_enter(struct imap_parser *parser);
void imap_parse_leave(struct imap_parser *parser);

int imap_parse_atom(struct imap_parser *parser, struct bytes *atom_r);
/* A tag: an atom that may hold ']' and not '+'. */
int imap_parse_tag(struct imap_parser *parser, struct bytes *tag_r);
/* Quoted or literal. No NUL inside; CR and LF in literals only; with is_utf8, quoted ones
 * are valid UTF-8. */
int imap_parse_string(struct imap_parser *parser, struct bytes *string_r);
/* A literal alone; its bytes may be anything. */
int imap_parse_literal(struct imap_parser *parser, struct bytes *literal_r);
/* "{5}", or "~{5}" of data that may hold NUL (RFC 3516, RFC 6855). */
int imap_parse_literal8(struct imap_parser *parser, struct bytes *literal_r, bool *is_binary_r);
int imap_parse_astring(struct imap_parser *parser, struct bytes *string_r);
/* An astring that may hold the wildcards '%' and '*'. */
int imap_parse_pattern(struct imap_parser *parser, struct bytes *pattern_r);
/*
 * A mailbox name, as UTF-8; INBOX (and a first level of that name) in capitals. On the wire it is
 * modified UTF-7, or UTF-8 with is_utf8.
 */
int imap_parse_mailbox(struct imap_parser *parser, struct bytes *name_r);
/* The name, or pattern of names, that was read as a string. ERR_INVALID: not of that form. */
int imap_name_decode(struct imap_parser *parser, struct bytes wire, struct bytes *name_r);

int imap_parse_number(struct imap_parser *parser, uint64_t max, uint64_t *number_r);
int imap_parse_number32(struct imap_parser *parser, uint32_t *number_r);
/* A mod-sequence: 0 to 2^63 - 1 (RFC 7162). */
int imap_parse_modseq(struct imap_parser *parser, uint64_t *modseq_r);

/* Flag names; system flags come out in their canonical spelling. \Recent is left out. */
struct imap_flags {
	struct bytes *names;
	size_t count;
};
int imap_parse_flag(struct imap_parser *parser, struct bytes *flag_r);
/* "(\Seen foo)". A flag given twice comes once. */
int imap_parse_flag_list(struct imap_parser *parser, struct imap_flags *flags_r);
/* With or without parentheses, as STORE has it. */
int imap_parse_store_flags(struct imap_parser *parser, struct imap_flags *flags_r);

/* A parenthesised list of at least one astring. */
int imap_parse_astring_list(struct imap_parser *parser, struct bytes **strings_r, size_t *count_r);

/* "d-Mon-yyyy", quoted or not: days since 1970. */
int imap_parse_date(struct imap_parser *parser, int64_t *day_r);
/* "dd-Mon-yyyy hh:mm:ss +zzzz", quoted: seconds since 1970 UTC, and minutes east. */
int imap_parse_date_time(struct imap_parser *parser, int64_t *seconds_r, int32_t *zone_r);

#endif
