/*
 * mem: small allocations cannot fail.
 * Each aborts the process when memory is out: a crash is safe, the store recovers. Check sizes that
 * come from input before you call. What is returned is the caller's, to be given to free().
 */
#ifndef CHAPAR_BASE_MEM_H
#define CHAPAR_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t size) __attribute__((malloc, returns_nonnull));
/* An array of `count` members of `size` bytes, zeroed; aborts if the product overflows. */
void *mem_zalloc_array(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *ptr, size_t size) __attribute__((returns_nonnull));
void *mem_dup(const void *ptr, size_t size) __attribute__((malloc, returns_nonnull));
char *mem_strdup(const char *text) __attribute__((malloc, returns_nonnull));

/*
 * Makes room for at least `wanted` members of `size` bytes in the array *ptr that has room for
 * *room; the room at least doubles, so that appending one by one is linear.
 */
void mem_grow(void **ptr, size_t *room, size_t wanted, size_t size);

#endif
