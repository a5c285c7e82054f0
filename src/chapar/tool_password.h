/*
 * tool_password: where passwords come from: a file, standard input, or a person at a terminal.
 */
#ifndef CHAPAR_CHAPAR_TOOL_PASSWORD_H
#define CHAPAR_CHAPAR_TOOL_PASSWORD_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdio.h>

#define PASSWORD_LINE_SIZE_MAX 8192 /* bytes; tokens are longer than passwords */

/*
 * Reads the first line of `file` ("-": standard input), or, if it is NULL, asks twice at the
 * terminal. ERR_INVALID: empty, too long, not the same twice; ERR_NOT_FOUND, ERR_IO.
 */
int password_read(const char *file, struct buffer *password, struct error *error);

/* Asks once at the terminal: of a password that another knows. ERR_INVALID: there is no terminal,
 * or it is empty. */
int password_ask(const char *question, struct buffer *password, struct error *error);

/* Opens `file` for reading; "-" is standard input. */
int input_open(const char *file, FILE **in_r, struct error *error);
void input_close(FILE **in); /* Sets *in to NULL. A NULL *in is allowed. */

/*
 * The next line, without its end. ERR_NOT_FOUND at the end of the file; ERR_INVALID: longer than
 * PASSWORD_LINE_SIZE_MAX, or it holds a NUL; ERR_IO.
 */
int line_read(FILE *in, struct buffer *line, struct error *error);

#endif
