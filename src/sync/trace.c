#include "sync/trace.h"

#include "sync/wire.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct trace {
	pthread_mutex_t lock; /* of all readers */
	struct trace_reader *readers;
	atomic_uint reader_count;
};

struct trace_reader {
	struct trace *trace;
	struct trace_reader *next;
	char *subject; /* or NULL */
	void (*wake)(void *context);
	void *context;
	struct buffer lines; /* that wait */
	size_t line_count;
	uint64_t lost_count;
};

struct trace *trace_new(void)
{
	struct trace *trace = mem_zalloc(sizeof(*trace));

	pthread_mutex_init(&trace->lock, NULL);
	return trace;
}

void trace_free(struct trace **trace)
{
	if (*trace == NULL)
		return;
	assert((*trace)->readers == NULL);
	pthread_mutex_destroy(&(*trace)->lock);
	free(*trace);
	*trace = NULL;
}

bool trace_is_read(const struct trace *trace)
{
	return trace != NULL && atomic_load_explicit(&((struct trace *)trace)->reader_count,
					memory_order_relaxed) > 0;
}

/* ---- what is told of a message ---- */

enum form { FORM_NUMBER, FORM_HEX, FORM_WORD };

/* Values of these keys are told as they are if they have the form; of all others, only how much
 * there is. */
static const struct known_key {
	const char *key;
	enum form form;
} known_keys[] = {
	{ "ALL", FORM_NUMBER },
	{ "BODIES", FORM_NUMBER },
	{ "BODYMAX", FORM_NUMBER },
	{ "CODE", FORM_WORD },
	{ "COMMON", FORM_NUMBER },
	{ "COUNT", FORM_NUMBER },
	{ "CURSOR", FORM_NUMBER },
	{ "DIGEST", FORM_HEX },
	{ "EXPECT", FORM_NUMBER },
	{ "FORGOT", FORM_NUMBER },
	{ "FULL", FORM_NUMBER },
	{ "GONE", FORM_NUMBER },
	{ "HIGHEST", FORM_NUMBER },
	{ "HOPS", FORM_NUMBER },
	{ "LAST", FORM_NUMBER },
	{ "MAILBOX", FORM_HEX },
	{ "MORE", FORM_NUMBER },
	{ "MS", FORM_NUMBER },
	{ "NODE", FORM_HEX },
	{ "NONE", FORM_NUMBER },
	{ "OFFSET", FORM_NUMBER },
	{ "PACKED", FORM_NUMBER },
	{ "PART", FORM_NUMBER },
	{ "PARTS", FORM_NUMBER },
	{ "RECORDS", FORM_NUMBER },
	{ "REGISTERCOUNT", FORM_NUMBER },
	{ "REGISTERDIGEST", FORM_HEX },
	{ "REGISTERS", FORM_NUMBER },
	{ "RESET", FORM_NUMBER },
	{ "RESULT", FORM_HEX },
	{ "SEQUENCE", FORM_NUMBER },
	{ "SINCE", FORM_NUMBER },
	{ "SIZE", FORM_NUMBER },
	{ "VERSION", FORM_NUMBER },
};

#define PLAIN_SIZE_MAX 32 /* bytes of a value that is told */

static bool is_of_form(int byte, enum form form)
{
	switch (form) {
	case FORM_NUMBER:
		return byte >= '0' && byte <= '9';
	case FORM_HEX:
		return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
	default:
		return byte >= 'A' && byte <= 'Z';
	}
}

static bool is_plain(struct bytes key, struct bytes value)
{
	const struct known_key *known = NULL;

	for (size_t i = 0; i < sizeof(known_keys) / sizeof(known_keys[0]) && known == NULL; i++)
		if (bytes_equal_string(key, known_keys[i].key))
			known = &known_keys[i];
	if (known == NULL || value.len == 0 || value.len > PLAIN_SIZE_MAX)
		return false;
	for (size_t i = 0; i < value.len; i++)
		if (!is_of_form(value.ptr[i], known->form))
			return false;
	return true;
}

/* Names of accounts have neither blanks nor control characters. */
static void put_account(struct buffer *out, struct bytes name)
{
	char normal[ACCOUNT_NAME_SIZE_MAX + 1];

	if (account_name_normalize(name, normal) < 0)
		buffer_append_string(out, "?");
	else
		buffer_append_string(out, normal);
}

/* Records: how many, and the greatest modseq among them. */
static void put_list(struct buffer *out, const struct dlist *list)
{
	uint64_t highest = 0;

	buffer_printf(out, "(%zu)", list->count);
	for (const struct dlist *at = list->first; at != NULL; at = at->next) {
		uint64_t modseq;

		if (at->kind == DLIST_MAP &&
			dlist_get_number(at, "MODSEQ", MODSEQ_MAX, &modseq) == 0 &&
			modseq > highest)
			highest = modseq;
	}
	if (highest > 0)
		buffer_printf(out, "<=%llu", (unsigned long long)highest);
}

static bool is_key(struct bytes key)
{
	for (size_t i = 0; i < key.len; i++)
		if (!is_of_form(key.ptr[i], FORM_WORD))
			return false;
	return key.len > 0 && key.len <= PLAIN_SIZE_MAX;
}

static void put_pair(struct buffer *out, const struct dlist *key, const struct dlist *value)
{
	if (!is_key(key->text)) {
		buffer_append_string(out, " ?");
		return;
	}
	buffer_printf(out, " %.*s=", BYTES_ARGS(key->text));
	if (value->kind == DLIST_LIST)
		put_list(out, value);
	else if (value->kind == DLIST_MAP)
		buffer_printf(out, "{%zu}", value->count);
	else if (bytes_equal_string(key->text, "ACCOUNT"))
		put_account(out, value->text);
	else if (is_plain(key->text, value->text))
		buffer_append_bytes(out, value->text);
	else
		buffer_printf(out, "[%zu bytes]", value->text.len);
}

/* As sync_respond() takes it: a long one is a literal. */
static int parse(
	struct bytes text, struct arena *arena, struct bytes *verb_r, const struct dlist **map_r)
{
	const struct dlist *whole;
	struct bytes in = text;

	if (bytes_peek(text) == '{' && dlist_parse(&in, arena, &whole, NULL) == 0 && in.len == 0 &&
		whole->kind == DLIST_STRING)
		text = whole->text;
	return wire_parse(text, arena, verb_r, map_r, NULL);
}

void trace_describe(struct bytes text, struct buffer *out)
{
	struct arena *arena = arena_new();
	const struct dlist *map;
	struct bytes verb;
	size_t begin = out->len;

	if (parse(text, arena, &verb, &map) < 0 || !is_key(verb)) {
		buffer_append_string(out, "malformed");
	} else {
		buffer_append_bytes(out, verb);
		for (const struct dlist *at = map->first;
			at != NULL && at->next != NULL &&
			out->len - begin < TRACE_LINE_SIZE_MAX / 2;
			at = at->next->next)
			put_pair(out, at, at->next);
	}
	arena_free(&arena);
}

struct bytes trace_account(struct bytes text)
{
	struct arena *arena = arena_new();
	struct bytes verb, account = { 0 };
	const struct dlist *map;

	if (parse(text, arena, &verb, &map) < 0 || dlist_get_text(map, "ACCOUNT", &account) < 0 ||
		account.ptr < text.ptr || account.ptr >= text.ptr + text.len)
		account = bytes_of(NULL, 0); /* one with escapes lies in the arena: not told */
	arena_free(&arena);
	return account;
}

/* ---- readers ---- */

static void put_time(struct buffer *out)
{
	uint64_t now_ms = clock_now_ms(clock_system());
	time_t seconds = (time_t)(now_ms / 1000);
	struct tm parts;
	char text[32];

	if (gmtime_r(&seconds, &parts) == NULL ||
		strftime(text, sizeof(text), "%H:%M:%S", &parts) == 0)
		text[0] = '\0';
	buffer_printf(out, "%s.%03u", text, (unsigned)(now_ms % 1000));
}

static bool concerns(const struct trace_reader *reader, const struct trace_message *message,
	struct bytes account)
{
	char normal[ACCOUNT_NAME_SIZE_MAX + 1];

	return reader->subject == NULL || strcmp(reader->subject, message->who) == 0 ||
	       (account_name_normalize(account, normal) == 0 &&
		       strcmp(reader->subject, normal) == 0);
}

static void line_make(const struct trace_message *message, struct buffer *line)
{
	put_time(line);
	buffer_printf(line, " %s %s %c ", message->who, message->where,
		message->side == TRACE_RECEIVED ? '<' : '>');
	trace_describe(message->text, line);
	buffer_printf(line, " %zu bytes", message->text.len);
	if (message->duration_us != TRACE_UNTIMED)
		buffer_printf(line, " %llu.%03llu ms",
			(unsigned long long)(message->duration_us / 1000),
			(unsigned long long)(message->duration_us % 1000));
	buffer_truncate(line, line->len < TRACE_LINE_SIZE_MAX ? line->len : TRACE_LINE_SIZE_MAX);
	buffer_append_string(line, "\n");
}

void trace_tell(struct trace *trace, const struct trace_message *message)
{
	struct buffer line = { 0 };
	struct bytes account;

	if (!trace_is_read(trace))
		return;
	account = message->account.len > 0 ? message->account : trace_account(message->text);
	line_make(message, &line);
	pthread_mutex_lock(&trace->lock);
	for (struct trace_reader *reader = trace->readers; reader != NULL; reader = reader->next) {
		if (!concerns(reader, message, account))
			continue;
		if (reader->line_count == TRACE_LINE_COUNT_MAX) {
			reader->lost_count++;
			continue;
		}
		buffer_append_bytes(&reader->lines, buffer_bytes(&line));
		if (reader->line_count++ == 0)
			reader->wake(reader->context);
	}
	pthread_mutex_unlock(&trace->lock);
	buffer_deinit(&line);
}

struct trace_reader *trace_reader_new(
	struct trace *trace, const char *subject, void (*wake)(void *context), void *context)
{
	struct trace_reader *reader = mem_zalloc(sizeof(*reader));

	*reader = (struct trace_reader){ .trace = trace,
		.subject = subject != NULL ? mem_strdup(subject) : NULL,
		.wake = wake,
		.context = context };
	pthread_mutex_lock(&trace->lock);
	reader->next = trace->readers;
	trace->readers = reader;
	atomic_fetch_add(&trace->reader_count, 1);
	pthread_mutex_unlock(&trace->lock);
	return reader;
}

void trace_reader_free(struct trace_reader **reader)
{
	struct trace_reader *old = *reader, **at;

	*reader = NULL;
	if (old == NULL)
		return;
	pthread_mutex_lock(&old->trace->lock);
	for (at = &old->trace->readers; *at != old; at = &(*at)->next)
		;
	*at = old->next;
	atomic_fetch_sub(&old->trace->reader_count, 1);
	pthread_mutex_unlock(&old->trace->lock);
	buffer_deinit(&old->lines);
	free(old->subject);
	free(old);
}

void trace_read(struct trace_reader *reader, struct buffer *out)
{
	pthread_mutex_lock(&reader->trace->lock);
	buffer_append_bytes(out, buffer_bytes(&reader->lines));
	if (reader->lost_count > 0)
		buffer_printf(out, "%llu lines are lost: this reader is too slow\n",
			(unsigned long long)reader->lost_count);
	buffer_clear(&reader->lines);
	reader->line_count = 0;
	reader->lost_count = 0;
	pthread_mutex_unlock(&reader->trace->lock);
}
