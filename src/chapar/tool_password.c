#include "chapar/tool_password.h"

#include <errno.h>
#include <termios.h>
#include <unistd.h>

int input_open(const char *file, FILE **in_r, struct error *error)
{
	if (strcmp(file, "-") == 0) {
		*in_r = stdin;
		return 0;
	}
	*in_r = fopen(file, "re");
	if (*in_r == NULL)
		return error_set_errno(
			error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "%s", file);
	return 0;
}

void input_close(FILE **in)
{
	if (*in != NULL && *in != stdin)
		fclose(*in);
	*in = NULL;
}

int line_read(FILE *in, struct buffer *line, struct error *error)
{
	int byte;

	buffer_clear(line);
	while ((byte = getc(in)) != EOF && byte != '\n') {
		if (byte == '\0' || line->len == PASSWORD_LINE_SIZE_MAX)
			return error_set(error, ERR_INVALID,
				"a line is longer than %d bytes or holds a NUL",
				PASSWORD_LINE_SIZE_MAX);
		buffer_append_byte(line, byte);
	}
	if (ferror(in))
		return error_set_errno(error, ERR_IO, errno, "reading");
	if (byte == EOF && line->len == 0)
		return error_set(error, ERR_NOT_FOUND, "the input has ended");
	if (line->len > 0 && line->data[line->len - 1] == '\r')
		line->data[--line->len] = '\0';
	return 0;
}

/* Without showing what is typed. */
int password_ask(const char *question, struct buffer *password, struct error *error)
{
	struct termios shown, hidden;
	bool is_terminal = tcgetattr(STDIN_FILENO, &shown) == 0;
	int rc;

	if (!is_terminal)
		return error_set(error, ERR_INVALID,
			"no terminal to ask for the password: "
			"use --password-file");
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	fprintf(stderr, "%s: ", question);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
	rc = line_read(stdin, password, error);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
	fputc('\n', stderr);
	if (rc == ERR_NOT_FOUND || (rc == 0 && password->len == 0))
		rc = error_set(error, ERR_INVALID, "no password");
	return rc;
}

static int password_ask_twice(struct buffer *password, struct error *error)
{
	struct buffer again = { 0 };
	int rc = password_ask("Password", password, error);

	if (rc == 0)
		rc = password_ask("Password again", &again, error);
	if (rc == 0 && !bytes_equal(buffer_bytes(password), buffer_bytes(&again)))
		rc = error_set(error, ERR_INVALID, "the passwords are not the same");
	if (again.data != NULL)
		explicit_bzero(again.data, again.room);
	buffer_deinit(&again);
	return rc;
}

int password_read(const char *file, struct buffer *password, struct error *error)
{
	FILE *in = NULL;
	int rc;

	if (file == NULL)
		return password_ask_twice(password, error);
	rc = input_open(file, &in, error);
	if (rc == 0)
		rc = line_read(in, password, error);
	input_close(&in);
	if ((rc == 0 && password->len == 0) || rc == ERR_NOT_FOUND)
		return error_set(error, rc == 0 ? ERR_INVALID : rc, "%s: no password", file);
	return rc;
}
