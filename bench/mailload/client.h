/*
 * client: blocking LMTP and IMAP connections with pipelining.
 * One thread uses a connection. Whatever the server does against the protocol ends the program.
 */
#ifndef CHAPAR_BENCH_CLIENT_H
#define CHAPAR_BENCH_CLIENT_H

#include "util.h"

#include "base/buffer.h"

#include <stdarg.h>
#include <stdint.h>

#define USER_NAME_SIZE 32

struct connection {
	const struct options *options; /* --quickack, --pass, --userfmt */
	const char *server;            /* HOST:PORT, borrowed */
	int fd;
	char *data; /* received and not yet consumed: from `begin` up to `end` */
	size_t room, begin, end;
	uint64_t bytes_in;
	unsigned tag;          /* the last one sent: "a%u" */
	bool has_literal_plus; /* LMTP: PIPELINING */
	bool has_condstore;
	bool expects_bye;
	char last[1024]; /* the text of the last tagged answer */
};

/* One untagged response, NUL-terminated and writable; gone after the call. */
typedef void response_handler(char *line, size_t len, void *context);

/* Connects, without reading the greeting. `server` is ADDRESS:PORT and must outlive it. */
void connection_open(
	struct connection *connection_r, const struct options *options, const char *server);
void connection_close(struct connection *connection);
void connection_send(struct connection *connection, const void *data, size_t len);
/* Frees receive memory of an idle connection. */
void connection_shrink(struct connection *connection);
/* Whether something can be read within `wait_ms`. */
bool connection_has_input(struct connection *connection, int wait_ms);

/* The name of user number `number`, after --userfmt. */
void user_name(const struct options *options, long number, char name_r[USER_NAME_SIZE]);

/* The last line's code of one LMTP reply; the line itself in text_r unless NULL. */
int lmtp_reply(struct connection *connection, char *text_r, size_t text_size);

/* Opens a connection and logs in with --pass. */
void imap_login(struct connection *connection_r, const struct options *options, const char *server,
	const char *user);
void imap_logout(struct connection *connection);

/* The next response with its literals inline, valid until the next call. */
char *imap_response(struct connection *connection, size_t *len_r);
/* Sends one command and returns its tag number. */
unsigned imap_send(struct connection *connection, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Waits for this tag's answer: 0 for OK, 1 for NO, 2 for BAD; untagged ones go to `handler`. */
int imap_wait(
	struct connection *connection, unsigned tag, response_handler *handler, void *context);
int imap_command(struct connection *connection, response_handler *handler, void *context,
	const char *format, ...) __attribute__((format(printf, 4, 5)));
/* A command that must succeed. */
void imap_must(struct connection *connection, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

struct mailbox_state { /* what SELECT tells */
	uint32_t exists;
	uint32_t uidvalidity;
	uint32_t uidnext;
	uint64_t highestmodseq;
};

/* `verb` is SELECT or EXAMINE. Returns as imap_command(); state_r may be NULL. */
int imap_select(struct connection *connection, const char *verb, const char *mailbox,
	struct mailbox_state *state_r);
/* Leaves the selected mailbox without expunging. */
void imap_unselect(struct connection *connection);
/* Sends APPEND (`flags` with parentheses, or NULL) and returns its tag number. */
unsigned imap_append_send(struct connection *connection, const char *mailbox, const char *flags,
	struct bytes message);
/* APPEND that must succeed; the UID, or 0 if the server does not tell it. */
uint32_t imap_append(struct connection *connection, const char *mailbox, const char *flags,
	struct bytes message);
/* Sends IDLE and waits for the continuation. */
void imap_idle(struct connection *connection);

#endif
