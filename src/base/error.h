/*
 * error: the one error type.
 *
 * A function that can fail returns 0 (or a documented count) or a negative code of enum error_code.
 * Where a person will have to know more than the code says, it also takes a `struct error *` (which
 * may be NULL) and describes there what was wrong and where. Nothing here logs: the caller that
 * knows user and session does, once.
 */
#ifndef CHAPAR_BASE_ERROR_H
#define CHAPAR_BASE_ERROR_H

enum error_code {
	ERR_IO = -1,           /* the system failed: disk, descriptor, memory map */
	ERR_FULL = -2,         /* no space left: nothing was changed */
	ERR_CORRUPT = -3,      /* our own stored data are damaged */
	ERR_VERSION = -4,      /* data of a version that this program does not know */
	ERR_NOT_FOUND = -5,    /* no such record, mailbox, account, body */
	ERR_EXISTS = -6,       /* it is there already */
	ERR_INVALID = -7,      /* bad input: not of the form asked for */
	ERR_TOO_LARGE = -8,    /* over a named limit */
	ERR_ILLEGAL = -9,      /* a change that breaks a promise (P2 to P5), from whoever it came */
	ERR_CHANGED = -10,     /* the other side is not at the point that was expected */
	ERR_REFUSED = -11,     /* not allowed for this user or peer */
	ERR_TIMEOUT = -12,     /* no answer in time */
	ERR_CLOSED = -13,      /* the connection ended, or the store stopped */
	ERR_UNAVAILABLE = -14, /* cannot be done now, can be tried again later */
	ERR_REPLICA = -15,     /* this copy is read-only for users: another node takes changes */
	ERR_OVERQUOTA = -16    /* the account would be over its quota: nothing was changed */
};

#define ERROR_TEXT_SIZE 256 /* bytes, with the closing NUL; longer texts are cut */

struct error {
	int code; /* of enum error_code; 0: none */
	char text[ERROR_TEXT_SIZE];
};

/* Describes `code` in *error (if not NULL) and returns `code`, so that it can be returned on. */
int error_set(struct error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* As error_set(), followed by ": " and the text of the errno value `number`. */
int error_set_errno(struct error *error, int code, int number, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Puts "CONTEXT: " before the text that is there. Returns error->code. */
int error_prefix(struct error *error, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A constant English phrase for the code, for people. */
const char *error_name(int code);

/* ENOSPC and EDQUOT are ERR_FULL, all others ERR_IO. */
int error_from_errno(int number);

#endif
