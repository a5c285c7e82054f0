#include "base/parallel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define ROUNDS_PER_THREAD_MIN 16 /* fewer are not worth a thread */

struct loop {
	atomic_size_t next;
	size_t count;
	void (*function)(void *context, size_t index);
	void *context;
};

static void *rounds_run(void *context)
{
	struct loop *loop = context;

	for (;;) {
		size_t index = atomic_fetch_add(&loop->next, 1);

		if (index >= loop->count)
			return NULL;
		loop->function(loop->context, index);
	}
}

static size_t thread_count_of(size_t count)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	size_t threads = count / ROUNDS_PER_THREAD_MIN;

	if (processors > 0 && threads > (size_t)processors)
		threads = (size_t)processors;
	return threads < PARALLEL_THREAD_MAX ? threads : PARALLEL_THREAD_MAX;
}

void parallel_run(size_t count, void (*function)(void *context, size_t index), void *context)
{
	struct loop loop = { .count = count, .function = function, .context = context };
	pthread_t threads[PARALLEL_THREAD_MAX];
	size_t wanted = thread_count_of(count), begun = 0;

	while (begun + 1 < wanted && pthread_create(&threads[begun], NULL, rounds_run, &loop) == 0)
		begun++;
	rounds_run(&loop);
	while (begun > 0)
		pthread_join(threads[--begun], NULL);
}
