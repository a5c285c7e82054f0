/*
 * arena: memory that is freed all at once, for the scratch needs of one command. Allocations cannot
 * fail (see mem.h), are aligned for any type, and live until arena_reset() or arena_free().
 * Not safe for use by several threads at once.
 */
#ifndef CHAPAR_BASE_ARENA_H
#define CHAPAR_BASE_ARENA_H

#include "base/bytes.h"

struct arena;

struct arena *arena_new(void);
/* Frees all and sets *arena to NULL. A NULL *arena is allowed. */
void arena_free(struct arena **arena);
/* Forgets all that was allocated, and keeps one block for the next use. */
void arena_reset(struct arena *arena);
/* Forgets all, and gives all memory back but for some bytes. */
void arena_clear(struct arena *arena);

void *arena_alloc(struct arena *arena, size_t size) __attribute__((returns_nonnull));
void *arena_zalloc(struct arena *arena, size_t size) __attribute__((returns_nonnull));
struct bytes arena_copy(struct arena *arena, struct bytes bytes);
/* A NUL-terminated copy. */
char *arena_string(struct arena *arena, struct bytes bytes);
char *arena_printf(struct arena *arena, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
