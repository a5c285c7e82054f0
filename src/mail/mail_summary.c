/*
 * Summaries that had to be made while reading, because an index was made anew or their version is
 * an older one. They are stored in batches between snapshots, so that going through a large mailbox
 * reads each body once.
 */
#include "base/error.h"
#include "base/mem.h"
#include "mail/mail_private.h"
#include "mail/tables.h"

#include <pthread.h>
#include <stdlib.h>

#define WAITING_COUNT_MAX 512
#define WAITING_SIZE_MAX (4u * 1024 * 1024) /* bytes of summaries; beyond, none is remembered */

struct waiting {
	struct guid guid;
	struct buffer blob;
};

struct mail_summaries {
	pthread_mutex_t lock;
	struct waiting *waiting; /* WAITING_COUNT_MAX of them, or NULL */
	size_t count;
	size_t size;
};

struct mail_summaries *mail_summaries_new(void)
{
	struct mail_summaries *summaries = mem_zalloc(sizeof(*summaries));

	pthread_mutex_init(&summaries->lock, NULL);
	return summaries;
}

static void waiting_free(struct waiting *waiting, size_t count)
{
	for (size_t i = 0; i < count; i++)
		buffer_deinit(&waiting[i].blob);
	free(waiting);
}

void mail_summaries_free(struct mail_summaries **summaries)
{
	if (*summaries == NULL)
		return;
	waiting_free((*summaries)->waiting, (*summaries)->count);
	pthread_mutex_destroy(&(*summaries)->lock);
	free(*summaries);
	*summaries = NULL;
}

void mail_summary_note(struct mail *mail, const struct guid *guid, struct bytes blob)
{
	struct mail_summaries *summaries = mail_summaries(mail);

	pthread_mutex_lock(&summaries->lock);
	if (summaries->count < WAITING_COUNT_MAX &&
		blob.len <= WAITING_SIZE_MAX - summaries->size) {
		struct waiting *waiting;

		if (summaries->waiting == NULL)
			summaries->waiting = mem_zalloc_array(WAITING_COUNT_MAX, sizeof(*waiting));
		waiting = &summaries->waiting[summaries->count++];
		waiting->guid = *guid;
		buffer_append_bytes(&waiting->blob, blob);
		summaries->size += blob.len;
	}
	pthread_mutex_unlock(&summaries->lock);
}

struct batch {
	struct waiting *waiting;
	size_t count;
};

static int keep_run(struct store_write *write, void *context)
{
	struct batch *batch = context;
	int rc = 0;

	for (size_t i = 0; i < batch->count && rc == 0; i++) {
		const struct guid *guid = &batch->waiting[i].guid;

		/* Its message may be gone since. */
		if (store_body_exists(store_write_kv(write), guid, NULL) < 0)
			continue;
		rc = store_put_unlogged(write, MAIL_TABLE_SUMMARY,
			bytes_of(guid->bytes, sizeof(guid->bytes)),
			buffer_bytes(&batch->waiting[i].blob));
	}
	return rc;
}

void mail_summaries_keep(struct mail *mail)
{
	struct mail_summaries *summaries = mail_summaries(mail);
	struct batch batch;
	uint64_t position;

	pthread_mutex_lock(&summaries->lock);
	batch = (struct batch){ summaries->waiting, summaries->count };
	summaries->waiting = NULL;
	summaries->count = summaries->size = 0;
	pthread_mutex_unlock(&summaries->lock);
	if (batch.count > 0)
		(void)store_commit(mail_store(mail), keep_run, &batch, NULL, &position);
	waiting_free(batch.waiting, batch.count);
}
