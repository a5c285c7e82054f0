#include "base/buffer.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

void buffer_deinit(struct buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct buffer){ 0 };
}

void buffer_grow(struct buffer *buffer, size_t len)
{
	void *data = buffer->data;

	if (buffer->room == 0)
		buffer->room = 56;
	mem_grow(&data, &buffer->room, buffer->len + len + 1, 1);
	buffer->data = data;
	if (buffer->data == NULL)
		buffer->data = mem_alloc(buffer->room);
}

unsigned char *buffer_extend(struct buffer *buffer, size_t len)
{
	unsigned char *start;

	buffer_reserve(buffer, len);
	start = buffer->data + buffer->len;
	buffer->len += len;
	buffer->data[buffer->len] = '\0';
	return start;
}

void buffer_append(struct buffer *buffer, const void *ptr, size_t len)
{
	unsigned char *start = buffer_extend(buffer, len);

	if (len > 0)
		memcpy(start, ptr, len);
}

void buffer_append_bytes(struct buffer *buffer, struct bytes bytes)
{
	buffer_append(buffer, bytes.ptr, bytes.len);
}

void buffer_append_string(struct buffer *buffer, const char *text)
{
	buffer_append(buffer, text, strlen(text));
}

void buffer_append_byte(struct buffer *buffer, int byte)
{
	*buffer_extend(buffer, 1) = (unsigned char)byte;
}

void buffer_vprintf(struct buffer *buffer, const char *format, va_list args)
{
	va_list again;
	int len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (len < 0)
		abort();
	vsnprintf((char *)buffer_extend(buffer, (size_t)len), (size_t)len + 1, format, args);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	buffer_vprintf(buffer, format, args);
	va_end(args);
}

void buffer_truncate(struct buffer *buffer, size_t len)
{
	assert(len <= buffer->len);
	buffer->len = len;
	if (buffer->data != NULL)
		buffer->data[len] = '\0';
}

void buffer_consume(struct buffer *buffer, size_t len)
{
	assert(len <= buffer->len);
	if (len == 0)
		return;
	buffer->len -= len;
	memmove(buffer->data, buffer->data + len, buffer->len + 1);
}
