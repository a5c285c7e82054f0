#include "base/buffer.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define PRINT_ROOM 64

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

void buffer_append_number(struct buffer *buffer, uint64_t number)
{
	unsigned char digits[20], *at = digits + sizeof(digits);

	do {
		*--at = (unsigned char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	buffer_append(buffer, at, (size_t)(digits + sizeof(digits) - at));
}

/* Most fits into the room that there is, and is printed once. */
void buffer_vprintf(struct buffer *buffer, const char *format, va_list args)
{
	va_list again;
	size_t room;
	int len;

	buffer_reserve(buffer, PRINT_ROOM);
	room = buffer->room - buffer->len;
	va_copy(again, args);
	len = vsnprintf((char *)buffer->data + buffer->len, room, format, again);
	va_end(again);
	if (len < 0)
		abort();
	if ((size_t)len < room) {
		buffer->len += (size_t)len;
		return;
	}
	buffer->data[buffer->len] = '\0';
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
