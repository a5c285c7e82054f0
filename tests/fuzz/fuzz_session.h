/*
 * fuzz_session: IMAP sessions over connections that are not there, on a store in memory. The user
 * is alice, her password secret. What is not as it must be ends the process. One thread only.
 */
#ifndef CHAPAR_TESTS_FUZZ_SESSION_H
#define CHAPAR_TESTS_FUZZ_SESSION_H

#include "base/buffer.h"

struct fuzz_server;
struct fuzz_session;

struct fuzz_server *fuzz_server_new(void);
/* After its sessions. */
void fuzz_server_free(struct fuzz_server **server);

/* `slow`: at every so manieth look the client has not read yet what was sent; 0: never. */
struct fuzz_session *fuzz_session_new(struct fuzz_server *server, unsigned slow);
void fuzz_session_free(struct fuzz_session **session);

/* Sends in pieces of that size. Returns all that is answered, borrowed until the next call. */
struct bytes fuzz_session_send(struct fuzz_session *session, struct bytes data, size_t piece_size);

/* Whether the server has closed the connection. */
bool fuzz_session_is_over(const struct fuzz_session *session);

/* Answers must be lines, with literals of the size they announce, and begin as answers do. */
void fuzz_check_answers(struct bytes output);

/* Whether `text` is one command with its line end, neither less nor more. */
bool fuzz_is_command(struct bytes text);

/* Whether the command with that tag ended in OK. */
bool fuzz_is_ok(struct bytes answer, const char *tag);

#endif
