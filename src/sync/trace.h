/*
 * trace: reading live SYNC sessions, for operators: which requests and answers pass, with their
 * sizes, sequences and modseqs, and how long they take.
 *
 * What is told of a message is what this module knows to be harmless: its verb, the account,
 * numbers, digests, ids and how many members lists have. Never: text of messages or headers, names
 * of mailboxes, flags or settings, values of registers (so no credentials), nor what it does not
 * know.
 *
 * A reader has room for TRACE_LINE_COUNT_MAX lines. One that does not keep up loses lines, and is
 * told how many; who tells is never held up. If nobody reads, telling costs one look at a counter.
 * All functions but trace_free() may be called by any thread; a reader is used by one at a time.
 */
#ifndef CHAPAR_SYNC_TRACE_H
#define CHAPAR_SYNC_TRACE_H

#include "base/buffer.h"

#include <stdint.h>

#define TRACE_LINE_SIZE_MAX 1000 /* bytes */
#define TRACE_LINE_COUNT_MAX 1000
#define TRACE_UNTIMED UINT64_MAX

struct trace;
struct trace_reader;

struct trace *trace_new(void);
/* When it has no readers any more. Sets *trace to NULL; a NULL *trace is allowed. */
void trace_free(struct trace **trace);

enum trace_side { TRACE_RECEIVED, TRACE_SENT };

struct trace_message {
	enum trace_side side;
	const char *who;      /* the user who is logged in here, or the channel's name */
	const char *where;    /* address of the other end */
	struct bytes text;    /* `VERB %(...)` */
	struct bytes account; /* that it is about, if the text does not say so; or empty */
	uint64_t duration_us; /* of an answer: since its request; TRACE_UNTIMED */
};

/* Whether anybody reads. A NULL trace is read by nobody. */
bool trace_is_read(const struct trace *trace);
/* Does nothing if nobody reads. */
void trace_tell(struct trace *trace, const struct trace_message *message);

/* The account that a request names; empty if it names none, or several. Borrows from `text`. */
struct bytes trace_account(struct bytes text);
/* What is told of the text, without line end. Pure. */
void trace_describe(struct bytes text, struct buffer *out);

/*
 * `subject`: an account, user or channel; what does not concern it is left out. NULL: all is told.
 * `wake` is called when there are lines, after there were none; it must not block or call this
 * module.
 */
struct trace_reader *trace_reader_new(
	struct trace *trace, const char *subject, void (*wake)(void *context), void *context);
/* After it returns, `wake` is not called any more. Sets *reader to NULL; a NULL *reader is allowed.
 */
void trace_reader_free(struct trace_reader **reader);
/* Appends the lines that wait. */
void trace_read(struct trace_reader *reader, struct buffer *out);

#endif
