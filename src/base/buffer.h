/*
 * buffer: the one growable run of bytes. It owns its memory; a zeroed struct is an empty buffer.
 * Not safe for use by several threads at once.
 */
#ifndef CHAPAR_BASE_BUFFER_H
#define CHAPAR_BASE_BUFFER_H

#include "base/bytes.h"

#include <stdarg.h>

struct buffer {
	unsigned char *data; /* NULL while nothing was appended; else data[len] is NUL */
	size_t len;
	size_t room;
};

/* Frees the memory; the buffer is empty and usable again. */
void buffer_deinit(struct buffer *buffer);

/* Empties it and keeps the memory. */
static inline void buffer_clear(struct buffer *buffer)
{
	buffer->len = 0;
	if (buffer->data != NULL)
		buffer->data[0] = '\0';
}

/* What buffer_reserve() does when there is no room yet. */
void buffer_grow(struct buffer *buffer, size_t len);

static inline void buffer_reserve(struct buffer *buffer, size_t len)
{
	if (buffer->len + len + 1 > buffer->room)
		buffer_grow(buffer, len);
}

/* Room for `len` more bytes, uninitialised, counted as appended; valid until the next append. */
static inline unsigned char *buffer_extend(struct buffer *buffer, size_t len)
{
	unsigned char *start;

	buffer_reserve(buffer, len);
	start = buffer->data + buffer->len;
	buffer->len += len;
	buffer->data[buffer->len] = '\0';
	return start;
}

static inline void buffer_append(struct buffer *buffer, const void *ptr, size_t len)
{
	unsigned char *start = buffer_extend(buffer, len);

	if (len > 0)
		memcpy(start, ptr, len);
}

static inline void buffer_append_bytes(struct buffer *buffer, struct bytes bytes)
{
	buffer_append(buffer, bytes.ptr, bytes.len);
}

static inline void buffer_append_string(struct buffer *buffer, const char *text)
{
	buffer_append(buffer, text, strlen(text));
}

static inline void buffer_append_byte(struct buffer *buffer, int byte)
{
	*buffer_extend(buffer, 1) = (unsigned char)byte;
}

/* In decimal. Much faster than printing, which matters where each message of a list has some. */
void buffer_append_number(struct buffer *buffer, uint64_t number);
void buffer_printf(struct buffer *buffer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void buffer_vprintf(struct buffer *buffer, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));

/* Cuts off what is behind the first `len` bytes. */
void buffer_truncate(struct buffer *buffer, size_t len);
/* Cuts `len` bytes off the front. */
void buffer_consume(struct buffer *buffer, size_t len);

/* What is in it, borrowed until the next change. */
static inline struct bytes buffer_bytes(const struct buffer *buffer)
{
	return bytes_of(buffer->data, buffer->len);
}

/* As a C string, borrowed until the next change; "" if empty. */
static inline const char *buffer_string(const struct buffer *buffer)
{
	return buffer->data == NULL || buffer->len == 0 ? "" : (const char *)buffer->data;
}

#endif
