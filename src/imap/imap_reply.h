/*
 * imap_reply: what is sent. Output is gathered in session->out and given to the connection when it
 * has grown, and when a callback ends.
 *
 * imap_ok(), imap_no() and imap_fail() end a command: changes of the selected mailbox are told
 * first (imap_update.h), then the tagged response is sent. Handlers return what they return.
 */
#ifndef CHAPAR_IMAP_REPLY_H
#define CHAPAR_IMAP_REPLY_H

#include "imap/imap_session.h"

void imap_put(struct imap_session *session, const char *text);
void imap_put_bytes(struct imap_session *session, struct bytes bytes);
void imap_put_number(struct imap_session *session, uint64_t number);
void imap_printf(struct imap_session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* An astring as short as can be: an atom, a quoted string or a literal. */
void imap_put_astring(struct buffer *out, struct bytes string);
void imap_put_literal(struct buffer *out, struct bytes octets);
/* A quoted string, or a literal where it must be one. */
void imap_put_string(struct buffer *out, struct bytes string);
/* A mailbox name as an astring, in modified UTF-7 or as the client has enabled it. */
void imap_put_mailbox(struct imap_session *session, struct bytes name);
/* "* 3 FETCH (", or "* 42 UIDFETCH (" for a client that takes no message numbers. */
void imap_put_fetch(struct imap_session *session, size_t index, uint32_t uid);

/* Gives what was gathered to the connection. */
void imap_flush(struct imap_session *session);
/* Flushes, and says whether to stop with NET_AGAIN, as the client is slow. */
bool imap_is_full(struct imap_session *session);

/* `format` is the response code, if any, and the text: "[APPENDUID 1 2] Done". */
enum net_result imap_ok(struct imap_session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* With the code HIGHESTMODSEQ, of what was told up to then. */
enum net_result imap_ok_highestmodseq(struct imap_session *session, const char *text);
enum net_result imap_no(struct imap_session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The command is malformed or out of place. Nothing else is told. */
enum net_result imap_bad(struct imap_session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The same with the parser's problem. */
enum net_result imap_bad_args(struct imap_session *session, const struct imap_parser *args);
/*
 * NO, with the response code of RFC 5530 that fits error code `rc`; logged if the fault is ours.
 * `error` may be NULL or empty.
 */
/* How a user is told where his account was moved to (RFC 2221), of an error of mail_hold_check():
 * the response code and text. In the session's arena. */
const char *imap_referral(
	struct imap_session *session, const char *user, const struct error *error);
enum net_result imap_fail(struct imap_session *session, int rc, const struct error *error);

/* The selected mailbox is no more: says BYE, after which clients connect again and look anew. */
enum net_result imap_bye(struct imap_session *session, const char *text);

/* Logs an internal error of the running command. */
void imap_log_failure(struct imap_session *session, int rc, const struct error *error);

#endif
