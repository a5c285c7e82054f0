#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *ptr)
{
	if (ptr == NULL)
		abort();
	return ptr;
}

void *mem_alloc(size_t size)
{
	return checked(malloc(size > 0 ? size : 1));
}

void *mem_zalloc(size_t size)
{
	return checked(calloc(1, size > 0 ? size : 1));
}

void *mem_zalloc_array(size_t count, size_t size)
{
	return checked(calloc(count > 0 ? count : 1, size > 0 ? size : 1));
}

void *mem_realloc(void *ptr, size_t size)
{
	return checked(realloc(ptr, size > 0 ? size : 1));
}

void *mem_dup(const void *ptr, size_t size)
{
	void *copy = mem_alloc(size);

	if (size > 0)
		memcpy(copy, ptr, size);
	return copy;
}

char *mem_strdup(const char *text)
{
	return mem_dup(text, strlen(text) + 1);
}

void mem_grow(void **ptr, size_t *room, size_t wanted, size_t size)
{
	size_t more = *room;

	if (wanted <= *room)
		return;
	if (more < 8)
		more = 8;
	while (more < wanted)
		more *= 2;
	if (size > 0 && more > SIZE_MAX / size)
		abort();
	*ptr = mem_realloc(*ptr, more * size);
	*room = more;
}
