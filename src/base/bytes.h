/*
 * bytes: a borrowed run of bytes (pointer and length). It never owns what it points to: whoever
 * hands one out says in his header how long it lives. It may hold NUL bytes and need not end in
 * one.
 */
#ifndef CHAPAR_BASE_BYTES_H
#define CHAPAR_BASE_BYTES_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct bytes {
	const unsigned char *ptr;
	size_t len;
};

/* For printf("%.*s"): BYTES_ARGS(b) gives the two arguments. */
#define BYTES_ARGS(b) (int)(b).len, (const char *)(b).ptr
#define BYTES_LITERAL(text) ((struct bytes){ (const unsigned char *)(text), sizeof(text) - 1 })

static inline struct bytes bytes_of(const void *ptr, size_t len)
{
	return (struct bytes){ (const unsigned char *)ptr, len };
}

static inline struct bytes bytes_of_string(const char *text)
{
	return bytes_of(text, strlen(text));
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII letters compare without regard to case. */
static inline bool bytes_equal_nocase(struct bytes a, struct bytes b)
{
	return a.len == b.len &&
	       (a.len == 0 || strncasecmp((const char *)a.ptr, (const char *)b.ptr, a.len) == 0);
}

static inline bool bytes_equal_string(struct bytes a, const char *text)
{
	return bytes_equal(a, bytes_of_string(text));
}

static inline bool bytes_equal_string_nocase(struct bytes a, const char *text)
{
	return bytes_equal_nocase(a, bytes_of_string(text));
}

/* The order of memcmp(), a prefix first. Negative, 0 or positive. */
static inline int bytes_compare(struct bytes a, struct bytes b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int order = len > 0 ? memcmp(a.ptr, b.ptr, len) : 0;

	if (order != 0)
		return order;
	return a.len < b.len ? -1 : a.len > b.len;
}

static inline bool bytes_start_with(struct bytes s, struct bytes prefix)
{
	return s.len >= prefix.len &&
	       (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

/* The next byte, or -1 at the end. */
static inline int bytes_peek(struct bytes s)
{
	return s.len > 0 ? s.ptr[0] : -1;
}

static inline void bytes_skip(struct bytes *s, size_t len)
{
	assert(len <= s->len);
	s->ptr += len;
	s->len -= len;
}

/* Takes `len` bytes off the front of *s; `len` must not be more than there are. */
static inline struct bytes bytes_take(struct bytes *s, size_t len)
{
	struct bytes taken = { s->ptr, len };

	bytes_skip(s, len);
	return taken;
}

/* How many ASCII octets it begins with. */
static inline size_t bytes_ascii_len(struct bytes s)
{
	const uint64_t highs = 0x8080808080808080u;
	uint64_t words[4];
	size_t at = 0;

	for (; at + sizeof(words) <= s.len; at += sizeof(words)) {
		memcpy(words, s.ptr + at, sizeof(words));
		if (((words[0] | words[1] | words[2] | words[3]) & highs) != 0)
			break;
	}
	for (; at + sizeof(words[0]) <= s.len; at += sizeof(words[0])) {
		memcpy(words, s.ptr + at, sizeof(words[0]));
		if ((words[0] & highs) != 0)
			break;
	}
	while (at < s.len && s.ptr[at] < 0x80)
		at++;
	return at;
}

/* Index of the first `byte`, or s.len if there is none. */
static inline size_t bytes_find(struct bytes s, int byte)
{
	const void *found = s.len > 0 ? memchr(s.ptr, byte, s.len) : NULL;

	return found == NULL ? s.len : (size_t)((const unsigned char *)found - s.ptr);
}

#endif
