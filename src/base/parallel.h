/*
 * parallel: a loop whose rounds do not depend on each other, shared by some threads that live as
 * long as it: for work of some milliseconds or more, such as hashing and compressing a thousand
 * messages.
 */
#ifndef CHAPAR_BASE_PARALLEL_H
#define CHAPAR_BASE_PARALLEL_H

#include <stddef.h>

#define PARALLEL_THREAD_MAX 4 /* the caller's among them */

/*
 * Calls `function` once for each index below `count`, in any order, and returns when all calls have
 * returned. With one processor, few rounds or no threads to be had, the caller does all of it.
 */
void parallel_run(size_t count, void (*function)(void *context, size_t index), void *context);

#endif
