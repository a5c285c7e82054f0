#include "base/arena.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define ARENA_BLOCK_SIZE ((size_t)4000) /* bytes of the first block; later ones double */
#define ARENA_BLOCK_SIZE_MAX ((size_t)1 << 20)

struct arena_block {
	struct arena_block *next;
	size_t used;
	size_t size;
	max_align_t data[];
};

struct arena {
	struct arena_block *head; /* the block that is being filled */
	size_t block_size;        /* of the next block */
};

struct arena *arena_new(void)
{
	struct arena *arena = mem_zalloc(sizeof(*arena));

	arena->block_size = ARENA_BLOCK_SIZE;
	return arena;
}

static void blocks_free(struct arena_block *block)
{
	while (block != NULL) {
		struct arena_block *next = block->next;

		free(block);
		block = next;
	}
}

void arena_free(struct arena **arena)
{
	if (*arena == NULL)
		return;
	blocks_free((*arena)->head);
	free(*arena);
	*arena = NULL;
}

void arena_reset(struct arena *arena)
{
	struct arena_block *keep = arena->head;

	arena->block_size = ARENA_BLOCK_SIZE;
	if (keep == NULL)
		return;
	blocks_free(keep->next);
	keep->next = NULL;
	keep->used = 0;
	if (keep->size > ARENA_BLOCK_SIZE_MAX) {
		free(keep);
		arena->head = NULL;
	}
}

void arena_clear(struct arena *arena)
{
	blocks_free(arena->head);
	arena->head = NULL;
	arena->block_size = ARENA_BLOCK_SIZE;
}

static void block_add(struct arena *arena, size_t wanted)
{
	size_t size = arena->block_size > wanted ? arena->block_size : wanted;
	struct arena_block *block = mem_alloc(sizeof(*block) + size);

	block->next = arena->head;
	block->used = 0;
	block->size = size;
	arena->head = block;
	if (arena->block_size < ARENA_BLOCK_SIZE_MAX)
		arena->block_size *= 2;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	void *ptr;

	if (size > SIZE_MAX / 2)
		abort();
	size = (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
	if (arena->head == NULL || arena->head->size - arena->head->used < size)
		block_add(arena, size);
	ptr = (unsigned char *)arena->head->data + arena->head->used;
	arena->head->used += size;
	return ptr;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
	return memset(arena_alloc(arena, size), 0, size);
}

struct bytes arena_copy(struct arena *arena, struct bytes bytes)
{
	return bytes_of(arena_string(arena, bytes), bytes.len);
}

char *arena_string(struct arena *arena, struct bytes bytes)
{
	char *copy = arena_alloc(arena, bytes.len + 1);

	if (bytes.len > 0)
		memcpy(copy, bytes.ptr, bytes.len);
	copy[bytes.len] = '\0';
	return copy;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list args;
	char *text;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		abort();
	text = arena_alloc(arena, (size_t)len + 1);
	va_start(args, format);
	vsnprintf(text, (size_t)len + 1, format, args);
	va_end(args);
	return text;
}
