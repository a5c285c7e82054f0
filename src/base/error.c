#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *error, int code, const char *format, ...)
{
	va_list args;

	if (error == NULL)
		return code;
	error->code = code;
	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return code;
}

int error_set_errno(struct error *error, int code, int number, const char *format, ...)
{
	char reason[96];
	va_list args;
	size_t len;

	if (error == NULL)
		return code;
	error->code = code;
	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	len = strlen(error->text);
	snprintf(error->text + len, sizeof(error->text) - len, ": %s",
		strerror_r(number, reason, sizeof(reason)));
	return code;
}

int error_prefix(struct error *error, const char *format, ...)
{
	char text[ERROR_TEXT_SIZE];
	va_list args;
	size_t len;

	if (error == NULL)
		return 0;
	memcpy(text, error->text, sizeof(text));
	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	len = strlen(error->text);
	snprintf(error->text + len, sizeof(error->text) - len, ": %s", text);
	return error->code;
}

const char *error_name(int code)
{
	switch (code) {
	case 0:
		return "no error";
	case ERR_IO:
		return "input/output error";
	case ERR_FULL:
		return "no space left";
	case ERR_CORRUPT:
		return "damaged data";
	case ERR_VERSION:
		return "unknown version";
	case ERR_NOT_FOUND:
		return "not found";
	case ERR_EXISTS:
		return "exists already";
	case ERR_INVALID:
		return "invalid input";
	case ERR_TOO_LARGE:
		return "too large";
	case ERR_ILLEGAL:
		return "illegal change";
	case ERR_CHANGED:
		return "changed meanwhile";
	case ERR_REFUSED:
		return "not allowed";
	case ERR_TIMEOUT:
		return "timed out";
	case ERR_CLOSED:
		return "closed";
	case ERR_UNAVAILABLE:
		return "temporarily unavailable";
	case ERR_REPLICA:
		return "this copy is a replica";
	case ERR_OVERQUOTA:
		return "over quota";
	default:
		return "unknown error";
	}
}

int error_from_errno(int number)
{
	return number == ENOSPC || number == EDQUOT ? ERR_FULL : ERR_IO;
}
