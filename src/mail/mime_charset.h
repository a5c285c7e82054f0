/*
 * mime_charset: conversion to UTF-8 with libc's iconv. For mime_text. Pure; any thread.
 */
#ifndef CHAPAR_MAIL_MIME_CHARSET_H
#define CHAPAR_MAIL_MIME_CHARSET_H

#include "base/buffer.h"

/*
 * Takes one character off the front; -1, and one octet taken, if it is no UTF-8 (RFC 3629: shortest
 * form, no surrogates). `text` is not empty.
 */
int mime_utf8_take(struct bytes *text);
bool mime_utf8_is_valid(struct bytes text);
void mime_utf8_append(struct buffer *out, int character);

/* Appends text of unknown charset: as it is if it is UTF-8, else as Windows-1252. */
void mime_guess_utf8(struct bytes text, struct buffer *out);

/*
 * As mime_to_utf8(), but fails on the first octet that is not of the charset, too: ERR_INVALID,
 * with what came before appended.
 */
int mime_to_utf8_strictly(struct bytes text, struct bytes charset, struct buffer *out);

/* Whether it is a usual name of UTF-8. */
bool mime_charset_is_utf8(struct bytes charset);

/* True if each octet below 0x80 in text of that charset is that ASCII character. */
bool mime_charset_extends_ascii(struct bytes charset);

#endif
