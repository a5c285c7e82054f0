/*
 * imap_frame: where a command ends. A command is a line, and where a line ends in "{5}" or "{5+}"
 * the 5 bytes of a literal and one more line (RFC 3501, section 4.3; RFC 7888).
 *
 * Input is looked at once, however it is split. What is too large is refused as soon as its size is
 * known: the command up to there is handed out with `refusal` set, so that it can be answered; what
 * the client sends of it all the same (he does, with "{n+}") is dropped unseen. Pure.
 */
#ifndef CHAPAR_IMAP_FRAME_H
#define CHAPAR_IMAP_FRAME_H

#include "net/net_protocol.h"

#define IMAP_LINE_SIZE_MAX (64u * 1024)    /* bytes of one command outside of literals */
#define IMAP_LITERAL_SIZE_MAX (64u * 1024) /* bytes of a literal that is no message */
/* The same before the login, where nothing is long. */
#define IMAP_PREAUTH_SIZE_MAX (16u * 1024)
/* A refused literal longer than this is not waited for: the connection is closed. */
#define IMAP_DROP_SIZE_MAX ((uint64_t)4 << 30)

enum imap_refusal {
	IMAP_REFUSED_NOT,
	IMAP_REFUSED_LINE,   /* the line is too long */
	IMAP_REFUSED_LITERAL /* a literal is */
};

struct imap_frame_limits {
	bool is_line_only; /* the next unit is a bare line: an answer to "+", or DONE */
	bool is_authenticated;
	size_t append_size_max; /* a literal of APPEND or REPLACE */
	size_t sync_size_max;   /* a literal of SYNC, for who may have such */
	size_t unit_size_max;   /* a command with all its literals */
};

struct imap_frame {        /* zeroed at first */
	size_t line_start; /* of the piece of line being looked for, from the unit's first byte */
	size_t scanned;    /* bytes known to hold no end of that piece */
	size_t text_size;  /* of the pieces before it */

	/* What to drop after a refusal: so many bytes, then a piece of line. */
	uint64_t drop_size;
	bool is_dropping;

	/* Of the unit that was handed out last. */
	enum imap_refusal refusal;
	/* Continuations asked for too late to be a `reply`: the literal was there already. */
	unsigned late_prompt_count;
};

#define IMAP_PROMPT "+ OK\r\n"

enum net_frame imap_frame_next(struct imap_frame *frame, const struct imap_frame_limits *limits,
	struct bytes input, struct net_unit *unit_r);

#endif
