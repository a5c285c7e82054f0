/*
 * log: one line per event on standard error: time, level, event and KEY=VALUE fields. The one call
 * for logging; used by the fronts, the daemon and the tool, not below src/net. Never pass message
 * text or passwords. Values with spaces, quotes or control characters are quoted and escaped, so
 * that a line is always one event. Any thread.
 */
#ifndef CHAPAR_BASE_LOG_H
#define CHAPAR_BASE_LOG_H

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

/*
 * Logs `event` (a constant word such as "login") with fields given as pairs of `const char *` key
 *and `const char *` value, closed by NULL: log_event(LOG_LEVEL_INFO, "login", "account", name,
 *"session", id, NULL); A pair whose value is NULL is closing too, so omit what is unknown.
 */
void log_event(enum log_level level, const char *event, ...) __attribute__((sentinel));

/* Events below `level` are dropped; the default is LOG_LEVEL_INFO. Set once, before threads start.
 */
void log_level_set(enum log_level level);

#endif
