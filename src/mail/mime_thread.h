/*
 * mime_thread: putting messages into threads (RFC 5256, 3): REFERENCES, ORDEREDSUBJECT, and REFS,
 * which is REFERENCES without gathering by subject and with threads in the order of their latest
 * arrivals. Pure; time is that of sorting, whatever the messages say.
 */
#ifndef CHAPAR_MAIL_MIME_THREAD_H
#define CHAPAR_MAIL_MIME_THREAD_H

#include "base/arena.h"
#include "base/hash.h"

#include <stdint.h>

enum mime_thread_algorithm { MIME_THREAD_ORDEREDSUBJECT, MIME_THREAD_REFERENCES, MIME_THREAD_REFS };

struct mime_thread_message {
	uint32_t number;      /* any, for the caller */
	int64_t sent_date;    /* seconds since 1970; of the Date field, or else as it arrived */
	int64_t arrived;      /* seconds since 1970 */
	struct bytes subject; /* base subject as mime_casemap() has it */
	bool is_reply;        /* mime_base_subject()'s answer */
	bool has_id;
	struct digest id;                /* of the Message-ID */
	const struct digest *references; /* oldest first */
	size_t reference_count;
};

struct mime_thread {
	const struct mime_thread_message *message; /* NULL: none here, only answers to it */
	struct mime_thread *parent;                /* NULL: the thread's first */
	struct mime_thread *children;              /* in their order; more than one if no message */
	struct mime_thread *next;                  /* child of the same parent, or thread */
	/* Private: */
	struct mime_thread *previous;
	struct mime_thread *set;
	size_t index;
	int64_t latest;
};

/*
 * The first thread, NULL if there are no messages, which are given in the mailbox's order. The
 * threads live in `arena` and borrow from the messages.
 */
struct mime_thread *mime_thread_build(enum mime_thread_algorithm algorithm,
	const struct mime_thread_message *messages, size_t count, struct arena *arena);

#endif
