#include "base/log.h"

#include "base/buffer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

static _Atomic int lowest_level = LOG_LEVEL_INFO;

void log_level_set(enum log_level level)
{
	atomic_store(&lowest_level, level);
}

static bool is_plain(const char *value)
{
	if (*value == '\0')
		return false;
	for (; *value != '\0'; value++) {
		unsigned char byte = (unsigned char)*value;

		if (byte <= ' ' || byte == '"' || byte == '=' || byte == 0x7f)
			return false;
	}
	return true;
}

static void append_value(struct buffer *line, const char *value)
{
	if (is_plain(value)) {
		buffer_append_string(line, value);
		return;
	}
	buffer_append_byte(line, '"');
	for (; *value != '\0'; value++) {
		unsigned char byte = (unsigned char)*value;

		if (byte == '"' || byte == '\\')
			buffer_printf(line, "\\%c", byte);
		else if (byte < ' ' || byte == 0x7f)
			buffer_printf(line, "\\x%02x", byte);
		else
			buffer_append_byte(line, byte);
	}
	buffer_append_byte(line, '"');
}

static void append_time(struct buffer *line)
{
	struct timespec now;
	struct tm utc;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	buffer_printf(line, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", utc.tm_year + 1900,
		utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
		now.tv_nsec / 1000000);
}

void log_event(enum log_level level, const char *event, ...)
{
	static const char *const names[] = { "debug", "info", "warning", "error" };
	struct buffer line = { 0 };
	const char *key, *value;
	va_list fields;

	if ((int)level < atomic_load(&lowest_level))
		return;
	append_time(&line);
	buffer_printf(&line, " %s %s", names[level], event);
	va_start(fields, event);
	while ((key = va_arg(fields, const char *)) != NULL &&
		(value = va_arg(fields, const char *)) != NULL) {
		buffer_printf(&line, " %s=", key);
		append_value(&line, value);
	}
	va_end(fields);
	buffer_append_byte(&line, '\n');
	/* One write, so that lines of several threads do not mix; there is nobody to tell of a
	 * failure. */
	while (write(STDERR_FILENO, line.data, line.len) < 0 && errno == EINTR)
		;
	buffer_deinit(&line);
}
